/* SPDX-License-Identifier: Apache-2.0 */
/* Whose votes make a majority: the list, its steps, and how it comes to say what corosync.conf does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ha/core/core_int.h"
#include "tests/unit/ha/core_bed.h"

#include <stdlib.h>
#include <string.h>

#define HOSTS 4

static uint64_t votes_of(const struct ha_voters *l, uint32_t hosts)
{
	uint64_t votes = 0;

	for (uint32_t i = 0; i < HOSTS; i++)
		if (hosts >> i & 1)
			votes += ha_voters_of(l, i + 1);
	return votes;
}

static void no_two_majorities_apart(const struct ha_voters *a, const struct ha_voters *b)
{
	uint32_t all = (1u << HOSTS) - 1;

	for (uint32_t hosts = 0; hosts <= all; hosts++)
		if (votes_of(a, hosts) >= ha_voters_majority(a))
			assert_true(votes_of(b, all & ~hosts) < ha_voters_majority(b));
}

/* All lists of four hosts with up to three votes each, and each step from there. */
static void lists_that_follow_each_other_have_no_two_majorities_apart(void **state)
{
	uint32_t steps = 0;

	(void)state;
	for (uint32_t k = 1; k < 1u << 2 * HOSTS; k++) {
		struct ha_voters l = { 0 };

		for (uint32_t i = 0; i < HOSTS; i++)
			ha_voters_set(&l, i + 1, k >> 2 * i & 3);
		no_two_majorities_apart(&l, &l);
		for (uint32_t i = 0; i < 2 * HOSTS; i++) {
			struct ha_voters next = l;

			if (!ha_voters_step(&next, i / 2 + 1, i & 1))
				continue;
			steps++;
			assert_int_equal(ha_voters_total(&next), ha_voters_total(&l) + (i & 1 ? 1 : -1));
			no_two_majorities_apart(&l, &next);
		}
	}
	assert_true(steps > 1000);
}

/* The witness's vote is one more; what comes or goes with it are two lists that follow each other. */
static void a_witness_has_one_vote_beside_those_of_hosts(void **state)
{
	struct ha_voters l = { 0 }, next;

	(void)state;
	assert_false(ha_voters_witness(&l, 5, true)); /* it alone decides nothing */
	for (uint32_t k = 1; k < 1u << 2 * HOSTS; k++) {
		l = (struct ha_voters){ 0 };
		for (uint32_t i = 0; i < HOSTS; i++)
			ha_voters_set(&l, i + 1, k >> 2 * i & 3);
		next = l;
		assert_true(ha_voters_witness(&next, 5, true));
		assert_int_equal(ha_voters_total(&next), ha_voters_total(&l) + 1);
		assert_int_equal(ha_voters_hosts(&next), ha_voters_hosts(&l));
		assert_false(ha_voters_same(&next, &l));
		no_two_majorities_apart(&l, &next);
		assert_false(ha_voters_witness(&next, 6, true)); /* one at a time */
		assert_false(ha_voters_witness(&next, 6, false));
		assert_true(ha_voters_witness(&next, 5, false));
		assert_true(ha_voters_same(&next, &l));
	}
}

static void a_list_is_sorted_and_has_nobody_without_a_vote(void **state)
{
	struct ha_voters l = { 0 }, copy;
	uint8_t bytes[64];
	struct ha_writer w = { .p = bytes, .size = sizeof(bytes) };
	struct ha_reader r = { .p = bytes };

	(void)state;
	ha_voters_set(&l, 7, 2);
	ha_voters_set(&l, 3, 1);
	ha_voters_set(&l, 5, 1);
	ha_voters_set(&l, 9, 0);
	ha_voters_set(&l, 5, 0);
	assert_int_equal(l.n, 2);
	assert_int_equal(l.of[0].id, 3);
	assert_int_equal(ha_voters_of(&l, 7), 2);
	assert_int_equal(ha_voters_of(&l, 5), 0);
	ha_voters_put(&w, &l);
	r.len = w.len;
	ha_voters_get(&r, &copy);
	assert_true(ha_get_end(&r));
	assert_true(ha_voters_same(&l, &copy));
	assert_int_equal(ha_voters_hash(&l), ha_voters_hash(&copy));
	/* Out of order, or without a vote: no list. */
	bytes[12] = 8;
	r = (struct ha_reader){ .p = bytes, .len = w.len };
	ha_voters_get(&r, &copy);
	assert_true(r.bad);
	bytes[12] = 3;
	bytes[16] = 0;
	r = (struct ha_reader){ .p = bytes, .len = w.len };
	ha_voters_get(&r, &copy);
	assert_true(r.bad);
	assert_int_equal(copy.n, 0);
}

static void a_step_is_about_one_list_and_the_last_vote_stays(void **state)
{
	struct ha_entry *e = calloc(1, sizeof(*e));
	struct ha_voters l = { .version = 4 };

	(void)state;
	ha_voters_set(&l, 1, 1);
	e->kind = HA_E_VOTES;
	e->node = 2;
	e->more = true;
	e->version = 4;
	assert_false(ha_votes_follow(&l, e));
	e->version = 6;
	assert_false(ha_votes_follow(&l, e));
	e->version = 5;
	assert_true(ha_votes_follow(&l, e));
	assert_int_equal(l.version, 5);
	assert_int_equal(l.n, 2);
	assert_false(ha_votes_follow(&l, e)); /* a copy of it */
	e->more = false;
	e->version = 6;
	assert_true(ha_votes_follow(&l, e));
	e->node = 1;
	e->version = 7;
	assert_false(ha_votes_follow(&l, e));
	assert_int_equal(l.version, 6);
	assert_int_equal(l.n, 1);
	free(e);
}

/* Nothing is counted by a log that does not say by what: whoever sends one, or has it on disk. */
static void a_log_that_does_not_say_who_votes_is_none(void **state)
{
	struct ha_core *c = reserve_make(ha_core_size());
	struct ha_effects *fx = malloc(sizeof(*fx));
	struct ha_entry *e = calloc(1, sizeof(*e));
	uint8_t bytes[1024], snap[4096];
	struct ha_state end;
	size_t n;

	(void)state;
	ha_core_init(c);
	fx->n = fx->used = 0;
	c->out = fx;
	e->kind = HA_E_NEW_EPOCH;
	e->epoch = e->n_members = e->members[0] = 1;
	n = ha_entry_encode(e, bytes, sizeof(bytes));
	ha_log_append(c, 1, bytes, n, false);
	n = ha_snapshot_encode(c, snap, sizeof(snap));
	assert_int_not_equal(n, 0);
	assert_false(ha_snapshot_check(&c->seen, snap, n, &end));
	ha_log_clear_tail(c);
	c->log.seq = c->log.epoch = 0;
	ha_voters_set(&e->voters, 1, 1);
	n = ha_entry_encode(e, bytes, sizeof(bytes));
	ha_log_append(c, 1, bytes, n, false);
	assert_int_equal(c->log.voters.version, 1);
	n = ha_snapshot_encode(c, snap, sizeof(snap));
	assert_true(ha_snapshot_check(&c->seen, snap, n, &end));
	reserve_free(c, ha_core_size());
	free(fx);
	free(e);
}

/* corosync.conf on the hosts of @on (a set) gives those of @hosts a vote each. */
static void configure(struct bed *b, uint32_t on, uint32_t hosts)
{
	struct ha_node_conf nodes[BED_MAX] = { 0 };
	struct ha_event ev = { .kind = HA_EV_CONFIG };

	for (uint32_t i = 0; i < BED_MAX; i++) {
		if (!(hosts >> i & 1))
			continue;
		nodes[ev.config.n].id = i + 1;
		nodes[ev.config.n].votes = 1;
		snprintf(nodes[ev.config.n++].name, sizeof(nodes[0].name), "n%u", i + 1);
	}
	ev.config.nodes = nodes;
	for (uint32_t i = 0; i < b->n; i++)
		if (on >> i & 1)
			bed_step(b, i, &ev);
	bed_settle(b);
	bed_pass(b, 2000);
}

static uint64_t needed(struct bed *b, uint32_t node)
{
	struct ha_status st;

	ha_core_status(b->core[node - 1], &st);
	return st.needed;
}

static void a_change_counts_when_it_stands_on_all(void **state)
{
	struct bed *b = bed_new(5);
	struct ha_node_status n;

	(void)state;
	assert_int_equal(needed(b, 1), 3);
	configure(b, 0x0f, 0x07);
	assert_int_equal(needed(b, 1), 3);
	assert_true(ha_core_node(b->core[0], 4, &n));
	assert_non_null(strstr(n.why, "its corosync.conf has other hosts or votes"));
	configure(b, 0x10, 0x07);
	for (uint32_t i = 1; i <= 5; i++)
		assert_int_equal(needed(b, i), 2);
	assert_true(ha_core_node(b->core[0], 4, &n));
	assert_string_equal(n.why, "");
	assert_int_equal(n.votes, 0);
	configure(b, 0x1f, 0x1f);
	assert_int_equal(needed(b, 4), 3);
	bed_free(b);
}

/* Who is not here gets no vote: the log would have to wait for it. */
static void a_host_that_was_never_here_has_no_vote(void **state)
{
	struct bed *b = bed_new(3);
	struct ha_node_status n;

	(void)state;
	configure(b, 0x7, 0x1f);
	assert_int_equal(needed(b, 1), 2);
	assert_true(ha_core_node(b->core[0], 4, &n));
	assert_int_equal(n.votes, 0);
	assert_non_null(strstr(n.why, "its votes: 1 by corosync.conf"));
	bed_free(b);
}

/* n4 and n5 are away; to take out n2 and n3 as well would leave n1 without a majority of what is left, for ever. */
static void nobody_votes_himself_out_of_a_majority(void **state)
{
	struct bed *b = bed_new(5);

	(void)state;
	b->cut = 0x18;
	bed_view(b);
	bed_pass(b, 2000);
	configure(b, 0x07, 0x19);
	assert_int_equal(needed(b, 1), 3);
	assert_int_equal(ha_core_record(b->core[0])->voters.version, 1);
	/* They come back: now it can be done. */
	b->cut = 0;
	bed_view(b);
	configure(b, 0x18, 0x19);
	assert_int_equal(needed(b, 1), 2);
	assert_int_equal(ha_core_record(b->core[0])->voters.version, 3);
	bed_free(b);
}

/* quorum_votes: 1000000000, a slip: it is followed, one by one, and the end of that is in sight. */
static void votes_beyond_all_measure_do_not_count(void **state)
{
	struct ha_node_conf nodes[3] = { { .id = 1, .votes = 1000000000 }, { .id = 2, .votes = 1 }, { .id = 3, .votes = 1 } };
	struct ha_event ev = { .kind = HA_EV_CONFIG };
	struct bed *b = bed_new(3);

	(void)state;
	ev.config.nodes = nodes;
	ev.config.n = 3;
	for (uint32_t i = 0; i < 3; i++)
		bed_step(b, i, &ev);
	bed_pass(b, 10000);
	assert_int_equal(needed(b, 2), (HA_VOTES_MAX + 2) / 2 + 1);
	bed_free(b);
}

/* Three hosts that were never together before. */
static void a_cluster_begins_when_corosync_conf_is_the_same_on_all(void **state)
{
	struct bed *b = bed_new(3);
	struct ha_status st;
	char why[256];

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		bed_boot(b, i); /* no disk: nobody has a log */
	configure(b, 0x4, 0xf);
	bed_view(b);
	bed_pass(b, 5000);
	for (uint32_t i = 0; i < 3; i++) {
		ha_core_status(b->core[i], &st);
		assert_int_equal(st.standing, HA_FORMING);
		ha_why_no_view(b->core[i], why, sizeof(why));
		assert_non_null(strstr(why, "other hosts or votes on some hosts"));
	}
	configure(b, 0x4, 0x7);
	for (uint32_t i = 0; i < 3; i++) {
		ha_core_status(b->core[i], &st);
		assert_int_equal(st.standing, HA_STANDS);
	}
	bed_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_that_follow_each_other_have_no_two_majorities_apart),
		cmocka_unit_test(a_witness_has_one_vote_beside_those_of_hosts),
		cmocka_unit_test(a_list_is_sorted_and_has_nobody_without_a_vote),
		cmocka_unit_test(a_step_is_about_one_list_and_the_last_vote_stays),
		cmocka_unit_test(a_log_that_does_not_say_who_votes_is_none),
		cmocka_unit_test(a_change_counts_when_it_stands_on_all),
		cmocka_unit_test(a_host_that_was_never_here_has_no_vote),
		cmocka_unit_test(nobody_votes_himself_out_of_a_majority),
		cmocka_unit_test(votes_beyond_all_measure_do_not_count),
		cmocka_unit_test(a_cluster_begins_when_corosync_conf_is_the_same_on_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
