/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets the witness's vote: what is judged, and every order in which two hosts can ask at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ha/core/claim.h"

#include <string.h>

#define CLUSTER 77

static enum claim_verdict judge(uint32_t me, uint64_t epoch, uint64_t log, const uint32_t *nodes, size_t n,
				const struct claim_slots *s)
{
	struct claim c = { .me = me, .cluster = CLUSTER, .epoch = epoch, .log = log, .nodes = nodes, .n = n };
	uint64_t seen = 0;
	uint32_t by = 0;

	return claim_judge(&c, s, &by, &seen);
}

static void whoever_knows_what_was_claimed_before_may(void **state)
{
	static const uint32_t one[] = { 1 }, two[] = { 2 }, both[] = { 1, 2 };
	struct claim_slots s = { 0 };

	(void)state;
	assert_int_equal(judge(1, 5, 4, one, 1, &s), CLAIM_MAY); /* nobody ever claimed */
	s.of[1] = (struct claim_slot){ CLUSTER, 6 };
	assert_int_equal(judge(2, 7, 5, two, 1, &s), CLAIM_TAKEN);
	assert_int_equal(judge(2, 7, 6, two, 1, &s), CLAIM_MAY);    /* its log is of that epoch */
	assert_int_equal(judge(2, 9, 8, two, 1, &s), CLAIM_MAY);    /* ... or of a later one */
	assert_int_equal(judge(1, 7, 5, one, 1, &s), CLAIM_MAY);    /* its own, in which it did nothing */
	assert_int_equal(judge(2, 7, 5, both, 2, &s), CLAIM_MAY);   /* ... and with it here */
	assert_int_equal(judge(1, 7, 5, NULL, 0, &s), CLAIM_TAKEN); /* it has forgotten what it did */
	assert_int_equal(judge(1, 6, 5, one, 1, &s), CLAIM_TAKEN);  /* no number twice */
}

/* A claim that was disturbed and not taken back hides none that was granted. */
static void every_slot_counts(void **state)
{
	static const uint32_t two[] = { 2 };
	struct claim_slots s = { 0 };

	(void)state;
	s.of[1] = (struct claim_slot){ CLUSTER, 6 };
	s.of[2] = (struct claim_slot){ CLUSTER, 7 };
	assert_int_equal(judge(2, 8, 5, two, 1, &s), CLAIM_TAKEN);
	assert_int_equal(judge(2, 8, 6, two, 1, &s), CLAIM_MAY);
}

static void another_clusters_witness_is_refused(void **state)
{
	static const uint32_t one[] = { 1 };
	struct claim_slots s = { 0 };

	(void)state;
	s.of[9] = (struct claim_slot){ CLUSTER + 1, 1 };
	assert_int_equal(judge(1, 5, 4, one, 1, &s), CLAIM_FOREIGN);
	s.of[9] = (struct claim_slot){ 0 };
	assert_int_equal(judge(1, 5, 4, one, 1, &s), CLAIM_MAY);
}

/* One host's claim, a step at a time. */
struct asker {
	struct claim c;
	uint32_t node;
	int step; /* 4 = done */
	bool granted;
	struct claim_slots before;
};

static void go_on(struct asker *a, struct claim_slots *disk)
{
	uint64_t seen;
	uint32_t by;

	switch (a->step++) {
	case 0:
		a->before = *disk;
		if (claim_judge(&a->c, disk, &by, &seen) != CLAIM_MAY)
			a->step = 4;
		break;
	case 1:
		disk->of[a->c.me] = (struct claim_slot){ CLUSTER, a->c.epoch };
		break;
	case 2:
		a->granted = claim_undisturbed(&a->c, &a->before, disk);
		if (a->granted)
			a->step = 4;
		break;
	default:
		disk->of[a->c.me] = a->before.of[a->c.me];
		break;
	}
}

static struct asker asker(uint32_t me, uint64_t epoch)
{
	struct asker a = { .c = { .me = me, .cluster = CLUSTER, .epoch = epoch, .log = 4, .n = 1 }, .node = me };

	return a;
}

/* @order: whose turn it is at each step, a bit each. */
static int grants(uint32_t order, uint64_t first, uint64_t second)
{
	struct asker a[2] = { asker(1, first), asker(2, second) };
	struct claim_slots disk = { 0 };

	for (int i = 0; i < 2; i++)
		a[i].c.nodes = &a[i].node;
	disk.of[3] = (struct claim_slot){ CLUSTER, 4 };
	for (int i = 0; i < 12; i++) {
		struct asker *turn = &a[order >> i & 1];

		if (turn->step < 4)
			go_on(turn, &disk);
	}
	return a[0].granted + a[1].granted;
}

static void of_two_who_ask_at_once_one_at_most_is_granted(void **state)
{
	uint32_t none = 0, one = 0;

	(void)state;
	for (uint32_t order = 0; order < 1u << 12; order++)
		for (uint64_t second = 5; second <= 7; second++) {
			int n = grants(order, 6, second);

			assert_true(n <= 1);
			none += n == 0;
			one += n == 1;
		}
	assert_true(one > none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whoever_knows_what_was_claimed_before_may),
		cmocka_unit_test(every_slot_counts),
		cmocka_unit_test(another_clusters_witness_is_refused),
		cmocka_unit_test(of_two_who_ask_at_once_one_at_most_is_granted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
