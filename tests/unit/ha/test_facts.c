/* SPDX-License-Identifier: Apache-2.0 */
/* facts: what one host tells of itself, another keeps; whoever does not know it passes over it. */
#include "ha/shell/facts.h"
#include "ha/shell/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct two {
	struct facts *us, *them;
	char message[FACTS_MESSAGE_MAX];
	size_t n;
};

static int setup(void **state)
{
	struct two *t = calloc(1, sizeof(*t));

	t->us = facts_open();
	t->them = facts_open();
	*state = t;
	return t->us && t->them ? 0 : -1;
}

static int teardown(void **state)
{
	struct two *t = *state;

	facts_close(t->us);
	facts_close(t->them);
	free(t);
	return 0;
}

static json_t *cpu_of(const char *vendor, const char *feature)
{
	return json_pack("{s:s, s:s, s:i, s:[s, s]}", "vendor", vendor, "name", "Xeon", "address_bits", 46, "features", "sse2", feature);
}

static void tell(struct two *t, const char *vendor, const char *feature)
{
	json_t *cpu = cpu_of(vendor, feature);

	t->n = facts_note(t->us, 7, cpu, t->message);
	json_decref(cpu);
	assert_true(t->n > 0 && facts_is(t->message, t->n));
	facts_take(t->them, 7, t->message, t->n);
}

static const char *feature_of(const struct facts *f, uint32_t node, size_t i)
{
	return json_string_value(json_array_get(json_object_get(facts_cpu(f, node), "features"), i));
}

static void the_last_that_a_host_told_is_kept(void **state)
{
	struct two *t = *state;

	assert_null(facts_cpu(t->them, 7));
	tell(t, "Intel", "avx");
	assert_string_equal(feature_of(t->them, 7, 1), "avx");
	assert_true(json_equal(facts_cpu(t->us, 7), facts_cpu(t->them, 7)));
	tell(t, "Intel", "a_feature_of_tomorrow");
	assert_string_equal(feature_of(t->them, 7, 1), "a_feature_of_tomorrow");
	assert_int_equal(json_integer_value(json_object_get(facts_cpu(t->them, 7), "address_bits")), 46);
	assert_null(facts_cpu(t->them, 8));
}

static void who_knows_nothing_says_nothing(void **state)
{
	struct two *t = *state;
	json_t *empty = json_object();

	assert_int_equal(facts_note(t->us, 7, NULL, t->message), 0);
	assert_int_equal(facts_note(t->us, 7, empty, t->message), 0);
	assert_null(facts_cpu(t->us, 7));
	json_decref(empty);
}

/* All features that there are, and more: it fits. */
static void the_largest_message_fits(void **state)
{
	struct two *t = *state;
	json_t *cpu = cpu_of("Intel", "x"), *list = json_object_get(cpu, "features");
	char name[FACTS_NAME_MAX + 1];

	for (int i = 2; i < FACTS_FEATURES_MAX; i++) {
		snprintf(name, sizeof(name), "feature_%020d", i);
		json_array_append_new(list, json_string(name));
	}
	t->n = facts_note(t->us, 7, cpu, t->message);
	assert_true(t->n > 0);
	facts_take(t->them, 7, t->message, t->n);
	assert_int_equal(json_array_size(json_object_get(facts_cpu(t->them, 7), "features")), FACTS_FEATURES_MAX);
	json_decref(cpu);
}

static bool any_domain(void *arg, const char *name)
{
	return true;
}

/* What droverd of before this was made does with it, and what we do with theirs. */
static void older_versions_pass_over_it(void **state)
{
	struct two *t = *state;
	struct progress *older = progress_open();

	tell(t, "Intel", "avx");
	assert_true(progress_is(t->message, t->n));
	progress_take(older, t->message, t->n, any_domain, NULL);
	assert_null(progress_get(older, "web", 0, 0));
	assert_false(facts_is("{\"progress\":{}}", 15));
	progress_close(older);
}

static void what_is_malformed_is_dropped(void **state)
{
	static const char *const bad[] = {
		"{\"host\":",
		"{\"host\":}",
		"{\"host\":{}}",
		"{\"host\":{\"cpu\":7}}",
		"{\"host\":{\"cpu\":{\"vendor\":\"Intel\"}}}",
		"{\"host\":{\"cpu\":{\"vendor\":\"I\",\"name\":\"\",\"address_bits\":-1,\"features\":[]}}}",
		"{\"host\":{\"cpu\":{\"vendor\":\"I\",\"name\":\"\",\"address_bits\":4000,\"features\":[]}}}",
		"{\"host\":{\"cpu\":{\"vendor\":\"I\",\"name\":\"\",\"features\":{}}}}",
		"{\"host\":{\"cpu\":{\"vendor\":\"I\",\"name\":\"\",\"features\":[]}},\"host\":1}",
	};
	static const char odd[] = "{\"host\":{\"cpu\":{\"vendor\":\"a\\u001b[2J\",\"name\":\"b\\n\",\"address_bits\":1,"
				  "\"features\":[\"avx\",7,\"\",\"Q W\",\"\\u001b\",\"aaaaaaaaaabbbbbbbbbbccccccccccdd\"]}}}";
	struct two *t = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		facts_take(t->them, 7, bad[i], strlen(bad[i]));
		assert_null(facts_cpu(t->them, 7));
	}
	facts_take(t->them, 7, odd, strlen(odd));
	assert_int_equal(json_array_size(json_object_get(facts_cpu(t->them, 7), "features")), 1);
	assert_null(strchr(json_string_value(json_object_get(facts_cpu(t->them, 7), "vendor")), 0x1b));
	assert_null(strchr(json_string_value(json_object_get(facts_cpu(t->them, 7), "name")), '\n'));
}

/* Numbers of hosts are corosync's, and may be any. */
static void more_hosts_than_there_is_room_for_harm_nothing(void **state)
{
	struct two *t = *state;

	tell(t, "Intel", "avx");
	for (uint32_t node = 1000; node < 2000; node++)
		facts_take(t->them, node, t->message, t->n);
	assert_non_null(facts_cpu(t->them, 7));
	assert_null(facts_cpu(t->them, 1999));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_last_that_a_host_told_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(who_knows_nothing_says_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_largest_message_fits, setup, teardown),
		cmocka_unit_test_setup_teardown(older_versions_pass_over_it, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_malformed_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(more_hosts_than_there_is_room_for_harm_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
