/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cluster at rest costs does not grow with its domains: each message makes every
 * host hold its record against its VMMs, and that must not be a search of the one in the other.
 * Counted, not timed: this program is linked with --wrap=strcmp (tests/perf/plan has the times).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/ha/core_bed.h"

static uint64_t compared;

int __real_strcmp(const char *a, const char *b);
int __wrap_strcmp(const char *a, const char *b);

int __wrap_strcmp(const char *a, const char *b)
{
	compared++;
	return __real_strcmp(a, b);
}

static void define(struct bed *b, uint32_t d)
{
	char name[32];
	struct ha_command cmd = { .op = HA_OP_ADD, .domain = name, .conf = "x", .conf_len = 1, .started = true };

	snprintf(name, sizeof(name), "domain-%u", d);
	b->n_fx = 0;
	assert_int_equal(bed_command(b, 1, cmd)->code, HA_OK);
	bed_obey(b);
}

/* Names compared by one host for one message, with @domains that run on three hosts. */
static double compared_at_rest(uint32_t domains)
{
	struct bed *b = bed_new(3);
	uint64_t delivered;
	double each;

	for (uint32_t d = 0; d < domains; d++)
		define(b, d);
	for (uint32_t k = 0; k < 100; k++) {
		bed_pass(b, 50);
		bed_obey(b);
	}
	for (uint32_t d = 0; d < domains; d++) {
		char name[32];

		snprintf(name, sizeof(name), "domain-%u", d);
		assert_int_equal(bed_domain(b, 1, name)->phase, HA_RUNNING);
	}
	bed_pass(b, 60000); /* what failed before is forgiven, and whatever else takes its time */
	delivered = b->delivered;
	compared = 0;
	bed_pass(b, 5000);
	assert_true(b->delivered > delivered);
	each = (double)compared / (double)(b->delivered - delivered);
	for (uint32_t i = 0; i < b->n; i++)
		assert_null(ha_core_wrong(b->core[i]));
	bed_free(b);
	return each;
}

static void a_message_at_rest_costs_as_many_comparisons_as_there_are_vmms(void **state)
{
	double few = compared_at_rest(60), many = compared_at_rest(240);

	(void)state;
	print_message("    60 domains: %.1f, 240 domains: %.1f comparisons for each message\n", few, many);
	/* Ticks between messages are counted in; a bucket holds more than one name now and then. */
	assert_true(few <= 6 * 60 / 3.0);
	assert_true(many <= 6 * 240 / 3.0);
	/* Those that run and are to run are at rest: nobody looks at them (rest.c). */
	assert_true(many < 2);
}

static void names_come_and_go_and_come_back(void **state)
{
	struct bed *b = bed_new(3);
	struct ha_command cmd = { .op = HA_OP_REMOVE };
	char name[32];

	(void)state;
	cmd.domain = name;
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t d = 0; d < 200; d++) {
			struct ha_command add = { .op = HA_OP_ADD, .domain = name, .conf = "x", .conf_len = 1 };

			snprintf(name, sizeof(name), "domain-%u", (d * 7 + round) % 200);
			b->n_fx = 0;
			assert_int_equal(bed_command(b, 1 + d % 3, add)->code, HA_OK);
			b->n_fx = 0;
			assert_int_equal(bed_command(b, 1 + d % 3, add)->code, HA_REFUSED);
		}
		for (uint32_t d = 0; d < 200; d++) {
			snprintf(name, sizeof(name), "domain-%u", (d * 11 + round) % 200);
			b->n_fx = 0;
			assert_int_equal(bed_command(b, 1, cmd)->code, HA_OK);
			assert_null(bed_domain(b, 2, name));
			b->n_fx = 0;
			assert_int_equal(bed_command(b, 2, cmd)->code, HA_NOT_FOUND);
		}
	}
	bed_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_at_rest_costs_as_many_comparisons_as_there_are_vmms),
		cmocka_unit_test(names_come_and_go_and_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
