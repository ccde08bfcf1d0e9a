/* SPDX-License-Identifier: Apache-2.0 */
/* A vote that holds no log: when the witness gets it, when it is asked for, and what is made of the answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ha/core/core_int.h"
#include "tests/unit/ha/core_bed.h"

#define ID 5

/* cluster.yaml of the hosts in the set @on says this of the witness now, and corosync.conf what it said. */
static void configure(struct bed *b, uint32_t on, uint64_t witness)
{
	struct ha_node_conf nodes[BED_MAX] = { 0 };

	for (uint32_t j = 0; j < b->n; j++) {
		nodes[j] = (struct ha_node_conf){ .id = j + 1, .votes = 1 };
		snprintf(nodes[j].name, sizeof(nodes[j].name), "n%u", j + 1);
	}
	for (uint32_t i = 0; i < b->n; i++) {
		struct ha_event ev = { .kind = HA_EV_CONFIG, .config = { .nodes = nodes, .n = b->n, .witness = witness } };

		if (on >> i & 1)
			bed_step(b, i, &ev);
	}
	bed_settle(b);
}

static void answer(struct bed *b, uint32_t node, uint64_t claim, bool ok, uint64_t seen)
{
	struct ha_event ev = { .kind = HA_EV_WITNESS,
			       .witness = { .claim = claim, .ok = ok, .seen = seen, .text = ok ? "" : "no" } };

	bed_step(b, node - 1, &ev);
	bed_settle(b);
}

/* @node sees there the daemons of the hosts in the set @live. */
static void sees(struct bed *b, uint32_t node, uint32_t live, uint64_t newest)
{
	struct ha_event ev = { .kind = HA_EV_WITNESS, .witness = { .ok = live != 0, .seen = newest, .live.bits[0] = live << 1 } };

	bed_step(b, node - 1, &ev);
	bed_settle(b);
}

static struct ha_status status(struct bed *b, uint32_t node)
{
	struct ha_status st;

	ha_core_status(b->core[node - 1], &st);
	return st;
}

/* Two hosts and a witness that has its vote. */
static struct bed *two(void)
{
	struct bed *b = bed_new(2);

	configure(b, 3, ID);
	sees(b, 1, 3, 0);
	sees(b, 2, 3, 0);
	bed_pass(b, 2000);
	assert_true(status(b, 1).witness == ID && status(b, 2).witness == ID);
	assert_int_equal(status(b, 1).needed, 2);
	b->n_fx = 0;
	return b;
}

/* How often n1 has claimed something, and *@last what it claimed last. */
static uint32_t claims(struct bed *b, uint64_t *last)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->n_fx; i++) {
		if (b->seen[i].kind != HA_FX_CLAIM || b->seen[i].node != 1)
			continue;
		n++;
		*last = b->seen[i].arg;
	}
	return n;
}

/* n2 is silent, and gone: what n1 claims. */
static uint64_t alone(struct bed *b)
{
	uint64_t epoch = 0;

	b->n_fx = 0;
	bed_crash(b, 2);
	bed_pass(b, 50);
	assert_int_equal(claims(b, &epoch), 1);
	return epoch;
}

static void it_gets_its_vote_when_all_name_it_and_see_the_same_there(void **state)
{
	struct bed *b = bed_new(2);
	uint64_t last;
	char why[256];

	(void)state;
	configure(b, 1, ID);
	sees(b, 1, 3, 0);
	sees(b, 2, 3, 0);
	bed_pass(b, 2000);
	assert_true(status(b, 1).witness == 0); /* n2 does not name it */
	configure(b, 2, ID);
	sees(b, 2, 2, 0);
	bed_pass(b, 2000);
	assert_true(status(b, 1).witness == 0); /* n2's path leads elsewhere */
	ha_core_witness_why(b->core[0], why, sizeof(why));
	assert_string_equal(why, "n2 does not see that all hosts write there (yet)");
	sees(b, 2, 0, 0);
	bed_pass(b, 2000);
	assert_true(status(b, 1).witness == 0); /* ... or nowhere */
	sees(b, 1, 1, 0);                       /* so n1 does not see it write, and does not see all either: it is n2 that is named */
	ha_core_witness_why(b->core[0], why, sizeof(why));
	assert_string_equal(why, "n2 is not seen to write there (yet)");
	sees(b, 2, 3, 0);
	sees(b, 1, 3, 1000);
	bed_pass(b, 2000);
	assert_true(status(b, 1).witness == 0); /* it would never grant what we claim */
	sees(b, 1, 3, 0);
	bed_pass(b, 2000);
	assert_true(status(b, 1).witness == ID && status(b, 2).witness == ID);
	/* Another one: the old one goes first, also where nobody reads it any more. */
	sees(b, 1, 0, 0);
	configure(b, 3, ID + 1);
	bed_pass(b, 2000);
	assert_true(status(b, 1).witness == 0);
	sees(b, 1, 3, 0);
	bed_pass(b, 2000);
	assert_true(status(b, 1).witness == ID + 1);
	configure(b, 3, 0);
	bed_pass(b, 2000);
	assert_true(status(b, 2).witness == 0);
	assert_int_equal(claims(b, &last), 0); /* and nobody ever needed it */
	bed_free(b);
}

/* Of three hosts two are a majority, and with a witness they would need it. */
static void hosts_that_cannot_be_halved_do_without(void **state)
{
	struct bed *b = bed_new(3);
	char why[256];

	(void)state;
	configure(b, 7, ID);
	for (uint32_t i = 1; i <= 3; i++)
		sees(b, i, 7, 0);
	bed_pass(b, 2000);
	assert_true(status(b, 1).witness == 0 && status(b, 1).needed == 2);
	ha_core_witness_why(b->core[0], why, sizeof(why));
	assert_string_equal(why, "the hosts have 3 votes together, an odd number: they cannot be halved, and do without it");
	bed_free(b);
}

static void it_is_asked_when_nothing_else_is_missing(void **state)
{
	struct bed *b = two();
	uint64_t before = status(b, 1).epoch, epoch = alone(b), last;

	(void)state;
	assert_true(epoch > before);
	assert_int_equal(status(b, 1).standing, HA_FORMING);
	answer(b, 1, epoch, true, 0);
	assert_int_equal(status(b, 1).standing, HA_STANDS);
	assert_true(status(b, 1).epoch == epoch && status(b, 1).leans);
	assert_int_equal(status(b, 1).votes, 2);
	assert_true(ha_core_record(b->core[0])->leaned == epoch);
	bed_pass(b, 500);
	assert_true(status(b, 1).lease_until_ms > b->now);
	assert_int_equal(claims(b, &last), 1);
	/* With n2 back the two are a majority, and nobody asks. */
	b->n_fx = 0;
	b->cut = 0;
	bed_view(b);
	bed_pass(b, 1000);
	assert_true(status(b, 1).standing == HA_STANDS && !status(b, 1).leans && status(b, 2).epoch > epoch);
	assert_int_equal(claims(b, &last), 0);
	bed_free(b);
}

static void a_claim_that_is_refused_is_made_again_after_a_while(void **state)
{
	struct bed *b = two();
	uint64_t epoch = alone(b), last;
	char why[256];

	(void)state;
	answer(b, 1, epoch - 1, true, 0); /* about nothing that was asked */
	assert_int_equal(status(b, 1).standing, HA_FORMING);
	answer(b, 1, epoch, false, epoch - 1);
	ha_why_no_view(b->core[0], why, sizeof(why));
	assert_string_equal(why, "the hosts here are a majority with the witness's vote alone: no");
	bed_pass(b, 200);
	assert_int_equal(claims(b, &last), 1);
	bed_pass(b, 2000);
	assert_int_equal(claims(b, &last), 2);
	bed_pass(b, 5000);
	assert_int_equal(claims(b, &last), 2); /* one at a time */
	answer(b, 1, epoch, true, 0);
	assert_int_equal(status(b, 1).standing, HA_STANDS);
	bed_free(b);
}

static void a_number_that_the_witness_knows_is_not_claimed_again(void **state)
{
	struct bed *b = two();
	uint64_t epoch = alone(b), last = 0;

	(void)state;
	answer(b, 1, epoch, false, epoch + 7);
	bed_pass(b, 3000);
	claims(b, &last);
	assert_true(last == epoch + 8);
	answer(b, 1, epoch + 8, false, UINT64_MAX); /* nonsense */
	bed_pass(b, 3000);
	claims(b, &last);
	assert_true(last == epoch + 8);
	answer(b, 1, epoch + 8, true, 0);
	assert_true(status(b, 1).epoch == epoch + 8);
	bed_free(b);
}

/* What was granted for one view is nothing in the next. */
static void an_answer_that_comes_too_late_counts_for_nothing(void **state)
{
	struct bed *b = two();
	uint64_t epoch = alone(b), last = 0;

	(void)state;
	b->n_fx = 0;
	bed_view(b);
	answer(b, 1, epoch, true, 0);
	assert_int_equal(status(b, 1).standing, HA_FORMING);
	bed_pass(b, 100);
	claims(b, &last);
	assert_true(last > epoch);
	bed_free(b);
}

/* Better with a member that says nothing than without an epoch. */
static void nobody_is_voted_out_for_a_witness_that_cannot_be_read(void **state)
{
	struct bed *b = two();

	(void)state;
	sees(b, 1, 0, 0);
	b->cut = 2; /* n1 still has it in its view */
	bed_pass(b, 10000);
	assert_int_equal(status(b, 1).standing, HA_STANDS);
	sees(b, 1, 3, 0);
	bed_pass(b, 1000);
	assert_int_equal(status(b, 1).standing, HA_FORMING);
	bed_free(b);
}

/* A vote on which nobody can rely is a burden: with it the hosts alone need more. */
static void who_is_two_loses_its_vote_and_who_is_reached_by_one_does_not(void **state)
{
	struct bed *b = two();

	(void)state;
	/* n2 does not reach it: n1 can still go on with it. */
	sees(b, 2, 0, 0);
	sees(b, 1, 1, 0);
	bed_pass(b, 200000);
	assert_true(status(b, 1).witness == ID && status(b, 2).witness == ID);
	/* It reaches one, but no beat of n1 is there, and n1 sees none of it. */
	sees(b, 2, 2, 0);
	bed_pass(b, 50000);
	assert_true(status(b, 1).witness == ID);
	sees(b, 2, 3, 0);
	sees(b, 1, 3, 0);
	bed_pass(b, 50000);
	sees(b, 2, 2, 0);
	bed_pass(b, 50000);
	assert_true(status(b, 1).witness == ID);
	bed_pass(b, 15000);
	assert_true(status(b, 1).witness == 0 && status(b, 2).witness == 0);
	sees(b, 2, 3, 0);
	bed_pass(b, 2000);
	assert_true(status(b, 2).witness == ID);
	bed_free(b);
}

static void view(struct bed *b, uint32_t node, uint32_t hosts)
{
	struct ha_event ev = { .kind = HA_EV_VIEW };
	uint32_t ids[2];

	for (uint32_t i = 0; i < 2; i++)
		if (hosts >> i & 1)
			ids[ev.view.n++] = i + 1;
	ev.view.nodes = ids;
	bed_step(b, node - 1, &ev);
}

/*
 * n1's word that its claim is granted is delivered in the next view, in which n2 has promised that very
 * number, and n1 promises more: n2 alone would agree on what n1 has claimed, and n1 would not know.
 */
static void a_grant_is_for_who_claimed_it(void **state)
{
	struct bed *b = two();
	struct ha_event ev = { .kind = HA_EV_WITNESS, .witness.ok = true };
	struct ha_status st;

	(void)state;
	b->cut = 2;
	view(b, 1, 1);
	bed_settle(b);
	ev.witness.claim = b->core[0]->asking.claim;
	assert_true(ev.witness.claim);
	b->cut = 0;
	view(b, 2, 3); /* its STATE is on its way */
	bed_step(b, 0, &ev);
	view(b, 1, 3);
	b->core[0]->form.said_state = true; /* its disk is slow, and nothing is heard of it any more */
	for (size_t i = b->head; i < b->tail; i++)
		if (b->queue[i].from == 0 && b->queue[i].bytes[1] == MSG_STATE)
			b->queue[i].bytes[0] = 0;
	bed_settle(b);
	b->cut = 1;
	for (uint32_t i = 0; i < 100; i++) {
		struct ha_event tick = { .kind = HA_EV_TICK };

		b->now += 50;
		bed_step(b, 1, &tick);
		bed_settle(b);
	}
	ha_core_status(b->core[1], &st);
	assert_int_equal(st.standing, HA_FORMING);
	assert_true(b->core[1]->asking.claim);
	bed_free(b);
}

/* n2's disk is new, and all are there: what n1 claims. */
static uint64_t with_a_new_disk(struct bed *b)
{
	uint64_t epoch = 0;

	b->n_fx = 0;
	bed_boot(b, 1);
	configure(b, 2, ID);
	bed_view(b);
	bed_pass(b, 50);
	assert_int_equal(status(b, 1).standing, HA_FORMING);
	assert_int_equal(claims(b, &epoch), 1);
	return epoch;
}

/* Hosts' cluster.yaml name the witness, and it has no vote yet: who has forgotten may have been given it, and gone on. */
static void it_is_asked_about_who_has_forgotten_also_without_a_vote(void **state)
{
	struct bed *b = bed_new(2);
	uint64_t epoch;

	(void)state;
	configure(b, 3, ID);
	bed_pass(b, 2000);
	assert_true(status(b, 1).witness == 0);
	epoch = with_a_new_disk(b);
	answer(b, 1, epoch, true, 0);
	assert_true(status(b, 1).standing == HA_STANDS && status(b, 2).standing == HA_STANDS);
	assert_true(!status(b, 1).leans && status(b, 1).epoch == epoch);
	bed_free(b);
}

/* An epoch leans for n2, whose disk is new; the next one, as n2 knows all, need not. */
static void who_had_forgotten_is_leaned_for_once(void **state)
{
	struct bed *b = two();
	uint64_t epoch = with_a_new_disk(b), last;

	(void)state;
	answer(b, 1, epoch, true, 0);
	bed_pass(b, 1000);
	assert_true(status(b, 1).standing == HA_STANDS && status(b, 2).standing == HA_STANDS);
	assert_true(status(b, 1).epoch == epoch + 1 && !status(b, 1).leans && !status(b, 2).leans);
	assert_true(ha_core_record(b->core[1])->leaned == epoch);
	assert_int_equal(claims(b, &last), 1);
	bed_free(b);
}

/* Whom each hears, where not all are in one view. */
static uint32_t hears[BED_MAX];

static void deliver_next(struct bed *b)
{
	struct bed_msg m = b->queue[b->head++];

	for (uint32_t i = 0; i < b->n; i++) {
		struct ha_event ev = { .kind = HA_EV_DELIVER, .deliver = { .from = m.from + 1, .bytes = m.bytes, .len = m.len } };

		if (hears[i] >> m.from & 1)
			bed_step(b, i, &ev);
	}
	free(m.bytes);
}

/* The first start is interrupted: what n1 wrote of it is not committed, n2 wrote nothing. */
static void who_was_interrupted_at_the_first_start_asks_too(void **state)
{
	struct bed *b = bed_new(2);

	(void)state;
	bed_boot(b, 0);
	bed_boot(b, 1);
	configure(b, 3, ID);
	view(b, 1, 3);
	view(b, 2, 3);
	hears[0] = hears[1] = 3;
	while (!b->core[0]->log.seq)
		deliver_next(b);
	assert_true(ha_core_record(b->core[0])->cluster == 0);
	b->cut = 2;
	bed_settle(b); /* what was on its way to the other is lost */
	b->cut = 0;
	answer(b, 1, with_a_new_disk(b), true, 0);
	assert_true(status(b, 1).standing == HA_STANDS && status(b, 2).standing == HA_STANDS);
	bed_free(b);
}

static void tick_all(struct bed *b)
{
	struct ha_event ev = { .kind = HA_EV_TICK };

	b->now += 50;
	for (uint32_t i = 0; i < b->n; i++)
		bed_step(b, i, &ev);
}

/* What @node claims is granted; whoever else claims has no answer. */
static void pass_apart(struct bed *b, uint64_t ms, uint32_t node)
{
	for (uint64_t end = b->now + ms; b->now < end;) {
		struct ha_event ev = { .kind = HA_EV_WITNESS, .witness = { .ok = true, .claim = b->core[node - 1]->asking.claim } };

		tick_all(b);
		if (ev.witness.claim)
			bed_step(b, node - 1, &ev);
		while (b->head < b->tail)
			deliver_next(b);
		b->head = b->tail = 0;
	}
}

static void view_apart(struct bed *b, uint32_t set)
{
	struct ha_event ev = { .kind = HA_EV_VIEW }, quorum = { .kind = HA_EV_QUORUM };
	uint32_t ids[BED_MAX];

	for (uint32_t i = 0; i < b->n; i++)
		if (set >> i & 1)
			ids[ev.view.n++] = i + 1;
	ev.view.nodes = quorum.quorum.nodes = ids;
	ev.view.ring = HA_RING_SILENT;
	quorum.quorum.n = ev.view.n;
	for (uint32_t i = 0; i < b->n; i++) {
		if (!(set >> i & 1))
			continue;
		hears[i] = set;
		bed_step(b, i, &ev);
		bed_step(b, i, &quorum);
	}
}

/* Four hosts, the witness has its vote, and n3 has a domain. */
static struct bed *four(void)
{
	static const char conf[] = "name: test\nmemory: 1 GiB\n";
	struct bed *b = bed_new(4);

	configure(b, 0xf, ID);
	for (uint32_t i = 1; i <= 4; i++)
		sees(b, i, 0xf, 0);
	bed_pass(b, 2000);
	assert_true(status(b, 3).witness == ID);
	for (uint32_t i = 0; i < 4; i++) {
		char name[] = { 'd', (char)('0' + i), 0 };

		bed_command(b, 1, (struct ha_command){ .op = HA_OP_ADD, .domain = name, .conf = conf, .conf_len = sizeof(conf) - 1, .ha = true, .started = true });
	}
	bed_obey(b);
	assert_true(ha_record_may_run(ha_core_record(b->core[0]), 3));
	return b;
}

/*
 * n1 is to have three votes.  n3 lags and is cut off before it hears of a step; by its list it and n2 and n4 are three
 * of five, and by one with both steps n1 and the witness would be four of seven.  So there is no second while n3 has not the first.
 */
static void a_list_is_changed_when_all_have_the_change_before(void **state)
{
	struct ha_node_conf nodes[4] = { { .id = 1, .votes = 3 }, { .id = 2, .votes = 1 }, { .id = 3, .votes = 1 }, { .id = 4, .votes = 1 } };
	struct ha_event ev = { .kind = HA_EV_CONFIG, .config = { .nodes = nodes, .n = 4, .witness = ID } };
	struct bed *b = four();
	struct ha_core **c = b->core;
	uint64_t version = c[0]->log.voters.version;

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", i + 1);
		hears[i] = 0xf;
	}
	for (uint32_t i = 0; i < 4; i++)
		bed_step(b, i, &ev);
	for (uint32_t k = 0; k < 30 && c[0]->log.voters.version < version + 2; k++) {
		tick_all(b);
		while (b->head < b->tail && c[0]->log.voters.version < version + 2) {
			if (b->queue[b->head].bytes[1] == MSG_ENTRY)
				hears[2] = 0;
			deliver_next(b);
		}
	}
	assert_true(c[1]->log.voters.version > version && c[2]->log.voters.version == version && !c[2]->leans);
	for (; b->head < b->tail; b->head++)
		free(b->queue[b->head].bytes); /* the ring broke before they were ordered */
	b->head = b->tail = 0;
	view_apart(b, 1 << 0);
	view_apart(b, 1 << 2);
	view_apart(b, 1 << 1 | 1 << 3);
	pass_apart(b, 100, 1);
	view_apart(b, 1 << 1 | 1 << 2 | 1 << 3);
	pass_apart(b, 20000, 1);
	/* Nobody has what n3 runs while it may run it. */
	assert_true(ha_record_may_run(ha_core_record(c[0]), 3) || status(b, 3).lease_until_ms <= b->now);
	view_apart(b, 0xf);
	pass_apart(b, 5000, 1);
	assert_true(status(b, 3).standing == HA_STANDS && c[2]->log.voters.version == version + 2);
	bed_free(b);
}

/* n3's corosync.conf gives nobody a vote, a slip: n3 says what it has all the same, and is a member. */
static void who_has_a_witness_and_no_hosts_is_heard(void **state)
{
	struct ha_node_conf nodes[3] = { { .id = 1 }, { .id = 2 }, { .id = 3 } };
	struct ha_event ev = { .kind = HA_EV_CONFIG, .config = { .nodes = nodes, .n = 3, .witness = ID } };
	struct bed *b = bed_new(3);

	(void)state;
	configure(b, 7, ID);
	bed_step(b, 2, &ev);
	bed_view(b);
	bed_pass(b, 10000);
	for (uint32_t i = 1; i <= 3; i++)
		assert_int_equal(status(b, i).standing, HA_STANDS);
	bed_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_gets_its_vote_when_all_name_it_and_see_the_same_there),
		cmocka_unit_test(hosts_that_cannot_be_halved_do_without),
		cmocka_unit_test(it_is_asked_when_nothing_else_is_missing),
		cmocka_unit_test(a_claim_that_is_refused_is_made_again_after_a_while),
		cmocka_unit_test(a_number_that_the_witness_knows_is_not_claimed_again),
		cmocka_unit_test(an_answer_that_comes_too_late_counts_for_nothing),
		cmocka_unit_test(who_is_two_loses_its_vote_and_who_is_reached_by_one_does_not),
		cmocka_unit_test(a_grant_is_for_who_claimed_it),
		cmocka_unit_test(it_is_asked_about_who_has_forgotten_also_without_a_vote),
		cmocka_unit_test(who_had_forgotten_is_leaned_for_once),
		cmocka_unit_test(who_was_interrupted_at_the_first_start_asks_too),
		cmocka_unit_test(a_list_is_changed_when_all_have_the_change_before),
		cmocka_unit_test(who_has_a_witness_and_no_hosts_is_heard),
		cmocka_unit_test(nobody_is_voted_out_for_a_witness_that_cannot_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
