/* SPDX-License-Identifier: Apache-2.0 */
/* What may be said, how often, and in which characters. */
#include "base/log_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char last[1024];
static unsigned int lines;

static void sink(enum log_level level, const char *line)
{
	(void)level;
	snprintf(last, sizeof(last), "%s", line);
	lines++;
}

/* A hundred thousand of a guest's doings are a handful of lines, and the next that passes says so. */
static void a_guest_cannot_flood_a_log(void **state)
{
	struct log_limit l = LOG_LIMIT_INIT;
	unsigned int i;

	(void)state;
	lines = 0;
	for (i = 0; i < 100000; i++)
		log_limited(&l, LOG_LEVEL_WARN, "queue %u: broken", i);
	assert_in_range(lines, LOG_LIMIT_BURST, LOG_LIMIT_BURST + 2);
	l.full_ms = 0; /* as after a long silence */
	lines = 0;
	log_limited(&l, LOG_LEVEL_WARN, "once more");
	assert_int_equal(lines, 1);
	assert_non_null(strstr(last, "once more ("));
	assert_non_null(strstr(last, "more left out)"));
	log_limited(&l, LOG_LEVEL_WARN, "and again");
	assert_string_equal(last, "and again");
}

/* Nobody writes lines of his own into a log, or to a terminal that shows one. */
static void control_characters_are_not_passed_on(void **state)
{
	(void)state;
	log_line(LOG_LEVEL_WARN, "name %s", "a\ndrover: error: fake\033[2J\r\177\303\244");
	assert_string_equal(last, "name a?drover: error: fake?[2J??\303\244");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_cannot_flood_a_log),
		cmocka_unit_test(control_characters_are_not_passed_on),
	};

	log_set_sink(sink);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
