/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_handover - after GRANT something does not go as it should, at one side: the
 * domain runs at exactly one place afterwards, and what is said is true (rule H).
 */
#include "tests/unit/migrate/move.h"

#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <unistd.h>

#define FOR_EVER 1000000

static const uint64_t small[] = { MB };

static void init(struct move *m, unsigned int seed, enum move_arbiter arbiter)
{
	move_init_sized(m, seed, arbiter, small, 1, false);
}

/* It is the source's, runs, and everybody says so. */
static void assert_stayed(struct move *m)
{
	assert_int_not_equal(m->rc[1], 0);
	assert_int_equal(m->stats[0].phase, MIGRATE_FAILED);
	assert_int_equal(m->stats[1].phase, MIGRATE_FAILED);
	move_check(m);
	assert_true(m->world.running[0]);
	assert_false(m->world.running[1]);
}

static void what_cannot_be_prepared_is_given_back_whoever_decides(void **state)
{
	static struct move m;
	int arbiter;

	for (arbiter = BY_DISK; arbiter <= BY_NOBODY; arbiter++) {
		init(&m, 1, (enum move_arbiter)arbiter);
		m.guest[1].fail_prepare = FOR_EVER;
		move_run(&m);
		assert_int_equal(m.rc[1], -EIO);
		assert_int_equal(m.rc[0], -ECANCELED);
		assert_string_equal(m.err[0].text,
				    "the destination could not take the domain over: the domain stays here");
		assert_stayed(&m);
		assert_true(m.guest[1].fail_prepare > FOR_EVER - 100); /* tried with pauses */
		assert_int_equal(m.world.disk_holder, 0);
		/* Rule H: no COMMIT before it can run. */
		if (arbiter == BY_CLUSTER)
			assert_int_equal(m.world.decided, OUTCOME_ABORT);
		move_free(&m);
	}
}

static void what_passes_is_waited_for(void **state)
{
	static struct move m;

	init(&m, 2, BY_CLUSTER);
	m.guest[1].fail_prepare = 5;
	m.guest[1].fail_commit = 5;
	move_run(&m);
	assert_int_equal(m.rc[0], 0);
	assert_int_equal(m.rc[1], 0);
	move_check(&m);
	assert_true(m.world.running[1]);
	move_free(&m);
}

static void a_committed_destination_that_cannot_run_is_told_as_that(void **state)
{
	static struct move m;

	init(&m, 3, BY_CLUSTER);
	m.guest[1].fail_commit = FOR_EVER;
	move_run(&m);
	assert_int_equal(m.rc[1], -EIO);
	assert_int_equal(m.rc[0], 0);
	assert_int_equal(m.stats[0].phase, MIGRATE_DONE);
	assert_int_equal(m.stats[0].error, -EIO);
	assert_string_equal(m.stats[0].text, "destination: the domain belongs here now, but cannot run: "
					     "no room for the record");
	assert_int_equal(move_runs(&m), 0);
	move_free(&m);
}

static void a_record_that_cannot_be_written_leaves_the_domain_at_the_source(void **state)
{
	static struct move m;

	init(&m, 4, BY_DISK);
	m.guest[1].fail_commit = FOR_EVER;
	move_run(&m);
	assert_stayed(&m);
	assert_int_equal(m.world.disk_incarnation, 6);
	move_free(&m);
}

/* --- S3: late --- */

static void sleep_in_grant(void *arg, enum migrate_role role, enum migrate_phase phase, bool before)
{
	struct move *m = arg;
	struct err e;

	if (role != MIGRATE_DESTINATION || phase != MIGRATE_GRANT)
		return;
	/* As if frozen: the source takes it back meanwhile, and then the domain ends there. */
	assert_true(move_ended(m, 0, 20000));
	m->guest[0].world->running[0] = false;
	fake_guest_ops(&m->guest[0]).ops->release(&m->guest[0], &e);
}

static void a_destination_that_comes_late_is_refused_though_nobody_has_the_disk(void **state)
{
	static struct move m;

	init(&m, 5, BY_DISK);
	m.params[1].at_step = sleep_in_grant;
	move_begin(&m);
	assert_true(move_ended(&m, 1, 40000));
	move_end(&m);
	assert_int_equal(m.world.disk_incarnation, 6); /* never that which was granted */
	assert_int_equal(m.rc[1], -EPERM);
	assert_false(m.world.double_run);
	assert_false(m.world.running[1]);
	move_free(&m);
}

/* --- S8: taken back --- */

static void break_the_sources_disk(void *arg, enum migrate_role role, enum migrate_phase phase,
				   bool before)
{
	struct move *m = arg;

	if (role == MIGRATE_SOURCE && phase == MIGRATE_GRANT && before)
		m->guest[0].fail_prepare = 15;
}

static void a_take_back_that_fails_is_tried_again_and_says_why_it_stands(void **state)
{
	struct migrate_stats st;
	static struct move m;

	init(&m, 6, BY_CLUSTER);
	m.params[0].at_step = break_the_sources_disk;
	m.guest[1].fail_prepare = FOR_EVER;
	move_begin(&m);
	do {
		usleep(5000);
		source_stats(m.source, &st);
	} while (st.phase < MIGRATE_DONE);
	assert_int_equal(st.phase, MIGRATE_TAKE_BACK);
	assert_string_equal(st.text, "the domain stays here, but cannot go on: disk is broken");
	assert_int_equal(move_runs(&m), 0);
	move_end(&m);
	assert_stayed(&m);
	move_free(&m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest mutant_tests[] = {
		MOVE_TEST(what_cannot_be_prepared_is_given_back_whoever_decides),
	};
	const struct CMUnitTest tests[] = {
		MOVE_TEST(what_cannot_be_prepared_is_given_back_whoever_decides),
		MOVE_TEST(what_passes_is_waited_for),
		MOVE_TEST(a_committed_destination_that_cannot_run_is_told_as_that),
		MOVE_TEST(a_record_that_cannot_be_written_leaves_the_domain_at_the_source),
		MOVE_TEST(a_destination_that_comes_late_is_refused_though_nobody_has_the_disk),
		MOVE_TEST(a_take_back_that_fails_is_tried_again_and_says_why_it_stands),
	};

	if (argc > 1 && !strcmp(argv[1], "mutant"))
		return cmocka_run_group_tests(mutant_tests, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
