/* SPDX-License-Identifier: Apache-2.0 */
/* progress: what one host notes of a migration, another shows. */
#include "ha/shell/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct pair {
	struct progress *source, *third;
	char message[PROGRESS_MESSAGE_MAX];
};

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	p->source = progress_open();
	p->third = progress_open();
	*state = p;
	return p->source && p->third ? 0 : -1;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	progress_close(p->source);
	progress_close(p->third);
	free(p);
	return 0;
}

static bool knows_web(void *arg, const char *name)
{
	return strcmp(name, "web") == 0;
}

static size_t note(struct pair *p, const char *role, const char *phase, int sent, uint64_t now_ms)
{
	json_t *m = json_pack("{s:s, s:s, s:i}", "role", role, "phase", phase, "sent", sent);
	size_t n = progress_note(p->source, "web", 3, m, now_ms, p->message);

	json_decref(m);
	return n;
}

static void hear(struct pair *p, const char *message)
{
	progress_take(p->third, message, strlen(message), knows_web, NULL);
}

static void sent_is(const struct progress *p, uint64_t a, uint64_t b, int sent)
{
	json_t *m = progress_get(p, "web", a, b);

	assert_non_null(m);
	assert_int_equal(json_integer_value(json_object_get(m, "sent")), sent);
}

static void test_a_third_host_knows_what_the_source_told(void **state)
{
	struct pair *p = *state;
	size_t n = note(p, "source", "precopy", 7, 1000);

	assert_true(n > 0);
	assert_true(progress_is(p->message, n));
	progress_take(p->third, p->message, n, knows_web, NULL);
	sent_is(p->third, 3, 0, 7);
	sent_is(p->third, 4, 3, 7); /* after it moved */
	sent_is(p->source, 3, 0, 7);
}

static void test_it_is_told_now_and_then_and_when_the_phase_changes(void **state)
{
	struct pair *p = *state;

	assert_true(note(p, "source", "precopy", 1, 1000) > 0);
	assert_true(note(p, "source", "precopy", 2, 1000 + PROGRESS_EVERY_MS - 1) == 0);
	sent_is(p->source, 3, 0, 2); /* but known here */
	assert_true(note(p, "source", "precopy", 3, 1000 + PROGRESS_EVERY_MS) > 0);
	assert_true(note(p, "source", "stop", 4, 1001 + PROGRESS_EVERY_MS) > 0);
	assert_true(note(p, "source", "stop", 5, 1002 + PROGRESS_EVERY_MS) == 0);
}

static void test_an_earlier_migration_is_not_shown_for_this_one(void **state)
{
	struct pair *p = *state;

	progress_take(p->third, p->message, note(p, "source", "done", 7, 1000), knows_web, NULL);
	assert_null(progress_get(p->third, "web", 5, 4));
	assert_null(progress_get(p->third, "mail", 3, 3));
}

static void test_a_destination_tells_nothing(void **state)
{
	struct pair *p = *state;

	assert_true(note(p, "destination", "precopy", 7, 1000) == 0);
	assert_null(progress_get(p->source, "web", 3, 3));
}

static void test_what_does_not_fit_is_not_told(void **state)
{
	struct pair *p = *state;
	char error[PROGRESS_MESSAGE_MAX];
	json_t *m;

	memset(error, 'x', sizeof(error));
	error[sizeof(error) - 1] = '\0';
	m = json_pack("{s:s, s:s}", "role", "source", "error", error);
	assert_true(progress_note(p->source, "web", 3, m, 1000, p->message) == 0);
	json_decref(m);
}

static void test_nonsense_from_the_wire_is_ignored(void **state)
{
	static const char *const nonsense[] = {
		"",
		"{",
		"{}",
		"[]",
		"{\"progress\": 1}",
		"{\"progress\": {\"name\": \"web\"}}",
		"{\"progress\": {\"name\": 1, \"incarnation\": 3, \"migration\": {\"role\": \"source\"}}}",
		"{\"progress\": {\"name\": \"web\", \"incarnation\": \"3\", \"migration\": {\"role\": \"source\"}}}",
		"{\"progress\": {\"name\": \"web\", \"incarnation\": 3, \"migration\": []}}",
		"{\"progress\": {\"name\": \"web\", \"incarnation\": 3, \"migration\": {}}}",
		"{\"progress\": {\"name\": \"mail\", \"incarnation\": 3, \"migration\": {\"role\": \"source\"}}}",
	};
	static char endless[2 * PROGRESS_MESSAGE_MAX];
	struct pair *p = *state;
	size_t i;

	for (i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++)
		hear(p, nonsense[i]);
	memset(endless, '{', sizeof(endless) - 1);
	hear(p, endless);
	assert_null(progress_get(p->third, "web", 3, 3));
	assert_null(progress_get(p->third, "mail", 3, 3));
	hear(p, "{\"progress\": {\"name\": \"web\", \"incarnation\": 3, \"migration\": {\"role\": \"source\"}}}");
	assert_non_null(progress_get(p->third, "web", 3, 3));
}

static void test_the_cores_messages_are_not_ours(void **state)
{
	assert_false(progress_is("\1\4....", 6)); /* version, kind: ha/core/msg.c */
	assert_false(progress_is("", 0));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_third_host_knows_what_the_source_told),
		T(test_it_is_told_now_and_then_and_when_the_phase_changes),
		T(test_an_earlier_migration_is_not_shown_for_this_one),
		T(test_a_destination_tells_nothing),
		T(test_what_does_not_fit_is_not_told),
		T(test_nonsense_from_the_wire_is_ignored),
		T(test_the_cores_messages_are_not_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
