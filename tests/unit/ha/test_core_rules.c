/* SPDX-License-Identifier: Apache-2.0 */
/* The record's rules, entry by entry: placement, migration, proof, operators. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/ha/core_three.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A part of a report that names nothing. */
static void report(uint32_t origin, uint32_t from, uint32_t to)
{
	struct ha_entry *e = entry(HA_E_REPORT, origin);

	e->from = from;
	e->to = to;
	ha_applied(c, e);
}

static void about(enum ha_entry_kind kind, uint32_t origin, uint64_t inc, int rc)
{
	struct ha_entry *e = entry(kind, origin);

	strcpy(e->domain, "d0");
	e->incarnation = inc;
	e->rc = rc;
	e->end = rc ? HA_END_FAILED : HA_END_POWEROFF;
	ha_applied(c, e);
}

static enum ha_code op(enum ha_op what, uint32_t node)
{
	struct ha_entry *e = entry(HA_E_OP, 1);
	char text[256];

	e->op = what;
	e->node = node;
	strcpy(e->domain, "d0");
	e->conf = (const uint8_t *)"x";
	e->conf_len = 1;
	e->ha = true;
	return judged(e, text);
}

static struct ha_domain *running_on(uint32_t node)
{
	struct ha_domain *d;

	op(HA_OP_ADD, 0);
	op(HA_OP_START, node);
	d = &c->rec.domains[ha_record_find(&c->rec, "d0")];
	about(HA_E_RUNNING, node, d->incarnation, 0);
	assert_int_equal(d->phase, HA_RUNNING);
	return d;
}

static void the_highest_priority_wins_then_the_emptiest_then_the_lowest(void **state)
{
	struct ha_domain *d = running_on(1), other = *d;
	struct ha_group *g = &c->rec.groups[0];

	(void)state;
	other.avoid = 0;
	assert_int_equal(ha_place(&c->rec, &other, 0), 2);
	g->used = true;
	strcpy(g->name, "g");
	strcpy(other.group, "g");
	g->n_hosts = 2;
	g->hosts[0] = (struct ha_group_host){ 1, 10 };
	g->hosts[1] = (struct ha_group_host){ 3, 20 };
	assert_int_equal(ha_place(&c->rec, &other, 0), 3);
	assert_int_equal(ha_place(&c->rec, &other, 3), 1);
	other.avoid = 1 << 2; /* node 3 */
	assert_int_equal(ha_place(&c->rec, &other, 0), 1);
}

static void each_host_it_failed_on_is_remembered_until_none_is_left(void **state)
{
	struct ha_domain *d = running_on(1);

	(void)state;
	about(HA_E_EXITED, 1, d->incarnation, 1);
	assert_int_equal(d->owner, 2);
	about(HA_E_EXITED, 2, d->incarnation, 1);
	about(HA_E_RETRY, 1, d->incarnation, 0);
	assert_int_equal(d->owner, 3);
	about(HA_E_EXITED, 3, d->incarnation, 1);
	about(HA_E_RETRY, 1, d->incarnation, 0);
	assert_int_not_equal(d->owner, 3);
	about(HA_E_RUNNING, d->owner, d->incarnation, 0);
	about(HA_E_STABLE, d->owner, d->incarnation, 0);
	assert_int_equal(d->avoid, 0);
}

static void a_failed_migration_makes_another_destination_come_first(void **state)
{
	struct ha_domain *d = running_on(1);

	(void)state;
	op(HA_OP_MIGRATE, 0);
	assert_int_equal(d->target, 2);
	about(HA_E_ABORT, 2, d->target_incarnation, 1);
	op(HA_OP_MIGRATE, 0);
	assert_int_equal(d->target, 3);
	about(HA_E_ABORT, 1, d->target_incarnation, 1);
	op(HA_OP_MIGRATE, 0);
	assert_int_equal(d->target, 2);
}

static void a_member_without_a_lease_gets_nothing_and_gives_up_what_it_had(void **state)
{
	struct ha_domain *d = running_on(1);
	struct ha_entry *e = entry(HA_E_LEASE, 1);
	char why[HA_REASON_MAX + 1];

	(void)state;
	ha_applied(c, e);
	assert_false(c->rec.nodes[0].leased);
	ha_why_node(c, 0, 0, why, sizeof(why));
	assert_non_null(strstr(why, "its lease")); /* and not as if all were well */
	ha_why_node(c, 1, 0, why, sizeof(why));
	assert_string_equal(why, "");
	assert_int_equal(d->owner, 1);
	assert_string_equal(ha_place_why_not(&c->rec, d, 1), "without a lease");
	assert_int_equal(ha_record_workers(&c->rec), 6);
	e = entry(HA_E_LEASE, 1);
	e->over = true;
	ha_applied(c, e);
	assert_int_equal(d->owner, 2);
	e = entry(HA_E_LEASE, 1);
	e->has_lease = true;
	ha_applied(c, e);
	assert_null(ha_place_why_not(&c->rec, d, 1));
}

static void the_largest_token_of_the_members_is_used_and_remembered_until_it_is_over(void **state)
{
	struct ha_timing t;
	struct ha_entry *e;

	(void)state;
	for (uint32_t i = 1; i <= 3; i++) {
		e = entry(HA_E_TIMING, i);
		e->token = i == 2 ? 3000 : 1000;
		ha_applied(c, e);
		ha_agreed_follow(c);
	}
	assert_int_equal(c->t.token, 3000);
	e = entry(HA_E_TIMING, 2);
	e->token = 1000;
	ha_applied(c, e);
	ha_agreed_follow(c);
	assert_int_equal(c->t.token, 1000);
	ha_agreed_of(c, 3, &t); /* it may not have heard of that */
	assert_int_equal(t.token, 3000);
	e = entry(HA_E_TIMING, 3);
	e->token = 1000;
	e->settled = true;
	e->token_changes = c->rec.token_changes - 1; /* about an agreement before */
	ha_applied(c, e);
	ha_agreed_of(c, 3, &t);
	assert_int_equal(t.token, 3000);
	e = entry(HA_E_TIMING, 3);
	e->token = 1000;
	e->settled = true;
	e->token_changes = c->rec.token_changes;
	ha_applied(c, e);
	ha_agreed_of(c, 3, &t);
	assert_int_equal(t.token, 1000);
}

static void an_entry_above_the_level_of_a_member_changes_nothing(void **state)
{
	struct ha_domain *d = running_on(1);
	uint64_t before = ha_record_hash(&c->rec);
	struct ha_entry *e = entry(HA_E_LEASE, 1);

	(void)state;
	e->level = (uint8_t)(c->rec.level + 1);
	e->over = true;
	ha_applied(c, e);
	assert_int_equal(d->owner, 1);
	assert_int_equal(ha_record_hash(&c->rec), before);
	e = entry(HA_E_NEW_EPOCH, 0);
	e->epoch = 6;
	e->n_members = 3;
	for (uint32_t i = 0; i < 3; i++) {
		e->members[i] = i + 1;
		e->levels[i] = (uint8_t)(i == 1 ? 3 : 5);
	}
	ha_applied(c, e);
	assert_int_equal(c->rec.level, 3); /* the lowest */
}

static void a_restricted_group_holds(void **state)
{
	struct ha_domain *d = running_on(1), other = *d;
	struct ha_group *g = &c->rec.groups[0];

	(void)state;
	g->used = true;
	strcpy(g->name, "g");
	strcpy(other.group, "g");
	g->n_hosts = 1;
	g->hosts[0] = (struct ha_group_host){ 3, 1 };
	assert_int_equal(ha_place(&c->rec, &other, 3), 2);
	g->restricted = true;
	assert_int_equal(ha_place(&c->rec, &other, 3), 0);
}

static void nothing_is_placed_on_a_host_with_a_debt_a_report_due_or_in_maintenance(void **state)
{
	struct ha_domain d = { .used = true };

	(void)state;
	c->rec.nodes[0].debt = 4;
	c->rec.nodes[1].report_due = true;
	c->rec.nodes[2].maintenance = true;
	assert_int_equal(ha_place(&c->rec, &d, 0), 0);
	c->rec.nodes[2].maintenance = false;
	assert_int_equal(ha_place(&c->rec, &d, 0), 3);
	c->rec.members = 3;
	assert_int_equal(ha_place(&c->rec, &d, 0), 0);
}

static void the_first_of_commit_and_abort_wins(void **state)
{
	struct ha_domain *d = running_on(1);
	uint64_t inc = d->incarnation, target;

	(void)state;
	assert_int_equal(op(HA_OP_MIGRATE, 2), HA_OK);
	target = d->target_incarnation;
	assert_true(target > inc);
	about(HA_E_COMMIT, 2, target, 0);
	assert_int_equal(d->owner, 1); /* not before READY */
	about(HA_E_READY, 2, target, 0);
	about(HA_E_COMMIT, 3, target, 0);
	assert_int_equal(d->owner, 1); /* only the destination can ask for it */
	about(HA_E_COMMIT, 2, target, 0);
	about(HA_E_ABORT, 1, target, 0);
	assert_int_equal(d->owner, 2);
	assert_int_equal(d->incarnation, target);
	assert_int_equal(d->phase, HA_RUNNING);

	assert_int_equal(op(HA_OP_MIGRATE, 3), HA_OK);
	target = d->target_incarnation;
	about(HA_E_READY, 3, target, 0);
	about(HA_E_ABORT, 2, target, 0);
	about(HA_E_COMMIT, 3, target, 0);
	assert_int_equal(d->owner, 2);
}

static enum ha_code pause_op(bool on)
{
	struct ha_entry *e = entry(HA_E_OP, 1);
	char text[256];

	e->op = HA_OP_PAUSE;
	e->on = on;
	strcpy(e->domain, "d0");
	return judged(e, text);
}

static void a_pause_is_in_the_record_until_its_vmm_ends(void **state)
{
	struct ha_domain *d = running_on(1);

	(void)state;
	assert_int_equal(pause_op(true), HA_OK);
	assert_true(d->paused);
	op(HA_OP_MIGRATE, 2);
	assert_int_equal(pause_op(false), HA_REFUSED); /* it is on its way with it */
	about(HA_E_READY, 2, d->target_incarnation, 0);
	about(HA_E_COMMIT, 2, d->target_incarnation, 0);
	assert_int_equal(d->owner, 2);
	assert_true(d->paused);
	assert_int_equal(op(HA_OP_START, 0), HA_REFUSED); /* it runs, and stands still */
	about(HA_E_EXITED, 2, d->incarnation, 1);
	assert_false(d->paused);
}

static void a_dry_run_moves_nothing_and_counts_against_nobody(void **state)
{
	struct ha_domain *d = running_on(1);
	struct ha_entry *e = entry(HA_E_OP, 1);
	char text[256];

	(void)state;
	e->op = HA_OP_MIGRATE;
	e->node = 2;
	e->on = true;
	strcpy(e->domain, "d0");
	assert_int_equal(judged(e, text), HA_OK);
	assert_true(d->dry_run);
	about(HA_E_READY, 2, d->target_incarnation, 0);
	about(HA_E_COMMIT, 2, d->target_incarnation, 0);
	assert_int_equal(d->owner, 1);
	about(HA_E_ABORT, 1, d->target_incarnation, 0);
	assert_int_equal(d->phase, HA_RUNNING);
	assert_false(d->dry_run);
	assert_int_equal(d->avoid, 0);
	assert_string_equal(d->reason, "");
}

static void an_incarnation_is_never_used_twice(void **state)
{
	struct ha_domain *d = running_on(1);
	uint64_t last;

	(void)state;
	op(HA_OP_MIGRATE, 2);
	last = d->target_incarnation;
	op(HA_OP_CANCEL, 0);
	op(HA_OP_STOP, 0);
	about(HA_E_EXITED, 1, d->incarnation, 0);
	assert_int_equal(d->phase, HA_STOPPED);
	assert_int_equal(op(HA_OP_REMOVE, 0), HA_OK);
	op(HA_OP_ADD, 0);
	op(HA_OP_START, 0);
	d = &c->rec.domains[ha_record_find(&c->rec, "d0")];
	assert_true(d->incarnation > last);
}

static void new_epoch(uint64_t epoch, uint32_t a, uint32_t b)
{
	struct ha_entry *e = entry(HA_E_NEW_EPOCH, 0);

	e->epoch = epoch;
	e->n_members = 2;
	e->members[0] = a;
	e->members[1] = b;
	ha_applied(c, e);
}

/* Over the years a cluster has more hosts than the record holds, one after the other. */
static void a_host_that_is_gone_and_owed_nothing_makes_room(void **state)
{
	struct ha_domain *d = running_on(1);
	uint32_t free_at = 40;

	(void)state;
	for (uint32_t i = 1; i < HA_NODES_MAX; i++) {
		if (i > 2)
			c->rec.nodes[i].id = 100 + i;
		c->rec.nodes[i].maintenance = i != free_at; /* something an operator said */
	}
	d->avoid = 1ull << free_at;
	c->rec.nodes[5].passed = 1ull << free_at;
	c->rec.members |= 1ull << free_at; /* it leaves in the same epoch in which another one comes */
	new_epoch(6, 1, 500);
	assert_int_equal(ha_record_slot(&c->rec, 500), free_at);
	assert_int_equal(ha_record_slot(&c->rec, 100 + free_at), -1);
	assert_int_equal(c->rec.members, 1 | 1ull << free_at);
	assert_true(c->rec.nodes[free_at].report_due); /* what is said of the old one is not of it */
	assert_false(c->rec.nodes[free_at].leased);
	assert_int_equal(d->avoid, 0);
	assert_int_equal(c->rec.nodes[5].passed, 0);
	new_epoch(7, 1, 501);
	assert_int_equal(ha_record_slot(&c->rec, 501), free_at);
	/* Two at once: the second one finds no room, for the host that is away owns a domain. */
	new_epoch(8, 501, 502);
	assert_int_equal(ha_record_slot(&c->rec, 502), -1);
	assert_int_equal(ha_record_slot(&c->rec, 1), 0);
	assert_int_equal(d->owner, 1);
}

static void say(enum ha_entry_kind kind, uint32_t origin, uint32_t node, uint64_t debt)
{
	struct ha_entry *e = entry(kind, origin);

	e->node = node;
	e->debt = debt;
	e->version = c->rec.voters.version;
	ha_applied(c, e);
}

/* A snapshot may bring it all at once: the host is back, is gone again, and another one has its slot. */
static void a_fencing_ends_under_the_number_it_began_with(void **state)
{
	(void)state;
	c->rec.nodes[2].debt = 5;
	ha_proof_tick(c);
	c->fencing[2].running = true;
	c->rec.nodes[2].id = 500;
	c->rec.nodes[2].debt = 0;
	c->out->n = 0;
	ha_proof_tick(c);
	assert_int_equal(c->out->n, 1);
	assert_int_equal(c->out->fx[0].kind, HA_FX_FENCE_CANCEL);
	assert_int_equal(c->out->fx[0].fence.node, 3);
}

static void a_domain_on_a_lost_host_is_not_said_to_run(void **state)
{
	struct ha_domain *d = running_on(1);

	(void)state;
	new_epoch(6, 2, 3);
	assert_int_not_equal(c->rec.nodes[0].debt, 0);
	assert_int_equal(op(HA_OP_START, 0), HA_REFUSED);
	assert_int_equal(op(HA_OP_PAUSE, 0), HA_REFUSED);
	assert_int_equal(d->owner, 1);
	/* A stop is taken at its word as soon as the host is proved dead; so is a start behind it. */
	assert_int_equal(op(HA_OP_STOP, 0), HA_OK);
	assert_int_equal(op(HA_OP_START, 0), HA_OK);
	say(HA_E_FENCED, 2, 1, c->rec.nodes[0].debt);
	assert_int_equal(d->phase, HA_STARTING);
	assert_int_not_equal(d->owner, 1);
}

/* Stop and start in one breath: what was answered with "starts again after that" does, protected or not. */
static void a_start_while_it_is_being_stopped_is_carried_out(void **state)
{
	struct ha_domain *d = running_on(1);
	uint64_t first = d->incarnation;

	(void)state;
	d->ha = false;
	assert_int_equal(op(HA_OP_STOP, 0), HA_OK);
	assert_int_equal(op(HA_OP_START, 2), HA_REFUSED); /* a host is obeyed or refused, not forgotten */
	assert_int_equal(op(HA_OP_START, 0), HA_OK);
	assert_int_equal(d->phase, HA_STOPPING);
	about(HA_E_EXITED, 1, first, 0);
	assert_int_equal(d->phase, HA_STARTING);
	assert_true(d->wanted);
	assert_true(d->incarnation > first);
	/* And a stop after the start is the last word. */
	assert_int_equal(op(HA_OP_STOP, 0), HA_OK);
	assert_int_equal(op(HA_OP_START, 0), HA_OK);
	assert_int_equal(op(HA_OP_STOP, 0), HA_OK);
	about(HA_E_EXITED, d->owner, d->incarnation, 0);
	assert_int_equal(d->phase, HA_STOPPED);
}

static void a_lost_host_keeps_its_domains_until_all_members_waited(void **state)
{
	struct ha_domain *d = running_on(1);

	(void)state;
	new_epoch(6, 2, 3);
	assert_int_equal(c->rec.nodes[0].debt, 6);
	assert_int_equal(d->owner, 1);
	say(HA_E_PASSED, 2, 1, 6);
	assert_int_equal(d->owner, 1);
	say(HA_E_PASSED, 2, 1, 6);
	assert_int_equal(d->owner, 1);
	say(HA_E_PASSED, 3, 1, 6);
	assert_int_not_equal(d->owner, 1);
	assert_int_equal(d->phase, HA_STARTING);
	assert_int_equal(c->rec.nodes[0].debt, 0);
}

/* By another list those who are left need not have one among them who heard it last. */
static void what_was_said_before_the_votes_changed_is_no_proof(void **state)
{
	struct ha_domain *d = running_on(1);
	struct ha_entry *e;

	(void)state;
	new_epoch(6, 2, 3);
	say(HA_E_PASSED, 2, 1, 6);
	e = entry(HA_E_VOTES, 2);
	e->node = 3;
	e->more = true;
	e->version = c->rec.voters.version + 1;
	ha_applied(c, e);
	say(HA_E_PASSED, 3, 1, 6);
	assert_int_equal(d->owner, 1);
	/* Said before, and on its way meanwhile. */
	e = entry(HA_E_PASSED, 2);
	e->node = 1;
	e->debt = 6;
	e->version = c->rec.voters.version - 1;
	ha_applied(c, e);
	assert_int_equal(d->owner, 1);
	say(HA_E_PASSED, 2, 1, 6);
	assert_int_not_equal(d->owner, 1);
}

static void a_proof_counts_for_its_own_debt_only(void **state)
{
	struct ha_domain *d = running_on(1);

	(void)state;
	new_epoch(6, 2, 3);
	new_epoch(7, 1, 2);
	assert_int_equal(c->rec.nodes[0].debt, 0);
	assert_true(c->rec.nodes[0].report_due);
	new_epoch(8, 2, 3);
	assert_int_equal(c->rec.nodes[0].debt, 8);
	say(HA_E_FENCED, 2, 1, 6);
	assert_int_equal(d->owner, 1);
	say(HA_E_FENCED, 2, 1, 8);
	assert_int_not_equal(d->owner, 1);
}

/* An operator's word waits for a view that stands; the host may come and go again meanwhile. */
static void a_word_about_a_host_is_for_the_loss_it_was_given_for(void **state)
{
	struct ha_entry *e;
	char text[256];

	(void)state;
	running_on(1);
	new_epoch(6, 2, 3);
	new_epoch(7, 1, 2);
	new_epoch(8, 2, 3);
	assert_int_equal(c->rec.nodes[0].debt, 8);
	for (int i = 0; i < 2; i++) {
		e = entry(HA_E_OP, 2);
		e->op = i ? HA_OP_FENCE : HA_OP_CONFIRM;
		e->node = 1;
		e->debt = 6;
		assert_int_equal(judged(e, text), HA_REFUSED);
		assert_int_equal(c->rec.nodes[0].debt, 8);
		assert_false(c->rec.nodes[0].fence_ordered);
	}
	e = entry(HA_E_OP, 2);
	e->op = HA_OP_CONFIRM;
	e->node = 1;
	assert_int_equal(judged(e, text), HA_REFUSED); /* no loss was known then */
	assert_non_null(strstr(text, "look again"));
	assert_int_equal(c->rec.nodes[0].debt, 8);
	e = entry(HA_E_OP, 2);
	e->op = HA_OP_CONFIRM;
	e->node = 1;
	e->debt = 8;
	assert_int_equal(judged(e, text), HA_OK);
	assert_int_equal(c->rec.nodes[0].debt, 0);
}

static void a_host_that_owned_nothing_is_no_debt(void **state)
{
	(void)state;
	running_on(1);
	new_epoch(6, 1, 2);
	assert_int_equal(c->rec.nodes[2].debt, 0);
}

static void a_host_that_comes_back_without_its_domain_loses_it(void **state)
{
	struct ha_domain *d = running_on(1);
	uint64_t inc = d->incarnation;

	(void)state;
	new_epoch(6, 2, 3);
	new_epoch(7, 1, 2);
	report(1, 0, HA_REPORT_END);
	assert_int_equal(d->phase, HA_STARTING);
	assert_true(d->incarnation > inc);
	assert_false(c->rec.nodes[0].report_due);
}

static void failures_back_off_and_never_give_up(void **state)
{
	struct ha_domain *d = running_on(1);

	(void)state;
	about(HA_E_EXITED, 1, d->incarnation, 9);
	assert_int_equal(d->phase, HA_STARTING); /* at once, elsewhere */
	assert_int_not_equal(d->owner, 1);
	about(HA_E_EXITED, d->owner, d->incarnation, 9);
	assert_int_equal(d->phase, HA_BACKOFF);
	about(HA_E_RETRY, 2, d->incarnation, 0);
	assert_int_equal(d->phase, HA_STARTING);
	about(HA_E_RUNNING, d->owner, d->incarnation, 0);
	about(HA_E_STABLE, d->owner, d->incarnation, 0);
	assert_int_equal(d->failures, 0);
}

static void a_guest_that_powers_off_stays_off(void **state)
{
	struct ha_domain *d = running_on(1);

	(void)state;
	about(HA_E_EXITED, 1, d->incarnation, 0);
	assert_int_equal(d->phase, HA_STOPPED);
	assert_false(d->wanted);
}

/* A VMM that had to be killed, was told to end by somebody, or is simply not there: its domain is still wanted. */
static void only_the_guest_itself_can_want_to_stay_off(void **state)
{
	static const enum ha_end ends[] = { HA_END_FAILED, HA_END_ASKED, HA_END_KILLED, HA_END_ABSENT };

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct ha_domain *d = running_on(1);
		struct ha_entry *e = entry(HA_E_EXITED, 1);

		strcpy(e->domain, "d0");
		e->incarnation = d->incarnation;
		e->end = ends[i];
		strcpy(e->text, "it did not stop");
		ha_applied(c, e);
		assert_int_equal(d->phase, HA_STARTING); /* elsewhere */
		assert_int_not_equal(d->owner, 1);
		assert_true(d->wanted);
		assert_non_null(strstr(d->reason, ha_end_str(ends[i])));
		memset(d, 0, sizeof(*d));
		c->rec.n_domains = 0;
		ha_index_build(&c->rec);
	}
}

static void a_second_copy_of_an_entry_changes_nothing(void **state)
{
	struct ha_entry *e;
	uint64_t hash;

	(void)state;
	running_on(1);
	e = entry(HA_E_OP, 2);
	e->op = HA_OP_STOP;
	strcpy(e->domain, "d0");
	ha_applied(c, e);
	hash = ha_record_hash(&c->rec);
	ha_applied(c, e);
	assert_int_equal(ha_record_hash(&c->rec), hash);
}

static void a_member_is_never_fenced(void **state)
{
	(void)state;
	assert_int_equal(op(HA_OP_FENCE, 2), HA_REFUSED);
	assert_int_equal(op(HA_OP_CONFIRM, 2), HA_REFUSED);
	assert_int_equal(op(HA_OP_FENCE, 9), HA_NOT_FOUND);
}

/* Those who are left have all waited, and freed what ran there: that is not what an order to fence waits for. */
static void an_order_that_no_device_carries_out_says_what_ends_it(void **state)
{
	char why[256];

	(void)state;
	running_on(1);
	new_epoch(8, 2, 3);
	assert_int_equal(op(HA_OP_FENCE, 1), HA_OK);
	say(HA_E_PASSED, 2, 1, 8);
	ha_why_node(c, 0, c->now, why, sizeof(why));
	assert_non_null(strstr(why, "or 1 of 2 hosts that have waited its lease out"));
	say(HA_E_PASSED, 3, 1, 8);
	assert_true(c->rec.nodes[0].debt && !ha_record_may_run(&c->rec, 1));
	ha_why_node(c, 0, c->now, why, sizeof(why));
	assert_non_null(strstr(why, "an operator's order to fence it"));
}

/* As after a restart of droverd: the record has the host, corosync.conf and so its name does not. */
static void a_host_that_only_the_record_knows_is_found_by_its_number(void **state)
{
	uint32_t slot = 0;

	(void)state;
	while (c->rec.nodes[slot].id)
		slot++;
	assert_int_equal(ha_core_node_id(c, "77"), 0);
	c->rec.nodes[slot].id = 77;
	assert_int_equal(ha_core_node_id(c, "77"), 77);
	assert_int_equal(ha_core_node_id(c, "node 77"), 77);
	assert_int_equal(ha_core_node_id(c, "7"), 0);
	assert_int_equal(op(HA_OP_CONFIRM, 77), HA_OK);
}

static void a_running_domain_is_not_removed(void **state)
{
	(void)state;
	running_on(1);
	assert_int_equal(op(HA_OP_REMOVE, 0), HA_REFUSED);
	assert_int_equal(op(HA_OP_ADD, 0), HA_REFUSED);
	assert_int_equal(op(HA_OP_START, 2), HA_REFUSED);
	assert_int_equal(op(HA_OP_START, 0), HA_OK);
}

static enum ha_code add(const char *name, uint32_t node, const struct ha_claim *a, char *text)
{
	struct ha_entry *e = entry(HA_E_OP, 1);

	e->op = HA_OP_ADD;
	strcpy(e->domain, name);
	e->conf = (const uint8_t *)"x";
	e->conf_len = e->n_claims = 1;
	e->claims[0] = *a;
	e->node = node;
	e->started = node;
	return judged(e, text);
}

static void remove_domain(const char *name)
{
	struct ha_entry *e = entry(HA_E_OP, 1);
	char text[256];

	e->op = HA_OP_REMOVE;
	strcpy(e->domain, name);
	assert_int_equal(judged(e, text), HA_OK);
}

static void what_a_domain_has_for_itself_no_other_is_defined_with(void **state)
{
	static const struct ha_claim uuid = { HA_CLAIM_UUID, false, 7 }, mac = { HA_CLAIM_MAC, false, 7 };
	static const struct ha_claim disk = { HA_CLAIM_DISK, false, 9 }, iso = { HA_CLAIM_DISK, true, 9 };
	static const struct ha_claim base = { HA_CLAIM_PARENT, true, 9 }, own = { HA_CLAIM_DISK, false, 10 };
	static const struct ha_claim upon = { HA_CLAIM_PARENT, true, 10 };
	char text[256];

	(void)state;
	assert_int_equal(add("a", 0, &uuid, text), HA_OK);
	assert_int_equal(add("b", 0, &uuid, text), HA_REFUSED);
	assert_string_equal(text, "b cannot be defined: its uuid is that of a");
	assert_int_equal(ha_record_find(&c->rec, "b"), -1);
	assert_int_equal(add("b", 0, &mac, text), HA_OK); /* another kind */
	assert_int_equal(add("c", 0, &mac, text), HA_REFUSED);
	assert_int_equal(add("c", 0, &iso, text), HA_OK);
	assert_int_equal(add("d", 0, &iso, text), HA_OK); /* both read it only */
	assert_int_equal(add("e", 0, &disk, text), HA_REFUSED);
	assert_string_equal(text, "e cannot be defined: its disks[0].path is that of c");
	assert_int_equal(add("f", 0, &base, text), HA_OK); /* a parent is a disk that is read */
	assert_int_equal(add("g", 0, &own, text), HA_OK);
	assert_int_equal(add("h", 0, &upon, text), HA_REFUSED);
	assert_string_equal(text, "h cannot be defined: its disks[].parents[0] is that of g");
	/* Who is forgotten has nothing any more. */
	remove_domain("a");
	assert_int_equal(add("b2", 0, &uuid, text), HA_OK);
}

static void why_it_waits_is_said_in_whole_sentences(void **state)
{
	char why[HA_REASON_MAX + 1];
	struct ha_domain *d;

	(void)state;
	op(HA_OP_ADD, 0);
	d = &c->rec.domains[0];
	d->phase = HA_WAITING;
	c->form.stage = ST_STANDS;
	c->rec.nodes[0].report_due = true;
	c->rec.nodes[1].maintenance = true;
	c->rec.members = 3;
	ha_core_why(c, "d0", 0, why, sizeof(why));
	assert_string_equal(why, "a host: node 1 has not yet told what it runs; node 2 is in maintenance; "
				 "node 3 is not a member of the cluster view");
}

/* two_node: corosync calls a host quorate that is alone; what is said must not be "no quorum" beside that. */
static void votes_that_are_missing_are_counted(void **state)
{
	struct ha_event ev = {
		.kind = HA_EV_OPERATOR,
		.op.cmd = { .op = HA_OP_CLEAR, .domain = "d0", .actor = "root", .access = HA_ACCESS_ADMIN },
	};
	struct ha_status st;

	(void)state;
	c->n_peers = 2;
	for (uint32_t i = 0; i < 2; i++) {
		c->peers[i] = (struct ha_peer){ .conf = { .id = i + 1 } };
		c->peers[i].in_group = i == 0;
	}
	ha_votes_count(c);
	c->quorate = true;
	c->form.stage = ST_GATHER;
	ha_op_event(c, &ev);
	assert_int_equal(c->out->fx[0].reply.code, HA_REFUSED);
	assert_string_equal(c->out->fx[0].reply.text, "droverd runs on hosts with 1 vote here, a majority is 2; "
						      "corosync's quorum alone is not enough");
	ha_core_status(c, &st);
	assert_int_equal(st.votes, 1);
	assert_int_equal(st.needed, 2);
}

static void a_group_has_each_host_once(void **state)
{
	static const struct ha_group_host hosts[] = { { 1, 20 }, { 2, 5 }, { 1, 10 } };
	struct ha_event ev = {
		.kind = HA_EV_OPERATOR,
		.op.cmd = { .op = HA_OP_GROUP_SET, .group = "g", .hosts = hosts, .n_hosts = 3, .actor = "root", .access = HA_ACCESS_ADMIN },
	};

	(void)state;
	ha_op_event(c, &ev);
	assert_int_equal(c->out->n, 1);
	assert_int_equal(c->out->fx[0].reply.code, HA_USAGE);
	assert_string_equal(c->out->fx[0].reply.text, "a host is in the list twice");
}

static void a_file_is_started_on_the_host_that_was_named_or_not_taken_in(void **state)
{
	static const struct ha_claim uuid = { HA_CLAIM_UUID, false, 7 };
	const struct ha_domain *d;
	char text[256];

	(void)state;
	c->rec.nodes[1].maintenance = true;
	assert_int_equal(add("a", 2, &uuid, text), HA_REFUSED);
	assert_non_null(strstr(text, "it is in maintenance"));
	assert_int_equal(c->rec.n_domains, 0);
	assert_int_equal(add("a", 3, &uuid, text), HA_OK);
	d = &c->rec.domains[0];
	assert_int_equal(d->phase, HA_STARTING);
	assert_int_equal(d->owner, 3);
}

#define RULE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

static void the_first_epoch_names_the_cluster(void **state)
{
	struct ha_entry *e;

	(void)state;
	for (uint64_t i = 1; i < 4; i++) {
		e = entry(HA_E_NEW_EPOCH, 0);
		e->epoch = 5 + i;
		e->cluster = 0xc0 + i;
		ha_applied(c, e);
		assert_int_equal(c->rec.cluster, 0xc1);
	}
}

static void hosts_are_numbers_in_the_record_and_names_for_people(void **state)
{
	char text[32];

	(void)state;
	ha_peer_get(c, 2);
	strcpy(ha_peer_find(c, 2)->conf.name, "beta");
	assert_int_equal(ha_core_speak(c, "a \0162\017, \0163\017.", text, sizeof(text)), strlen("a beta, node 3."));
	assert_string_equal(text, "a beta, node 3.");
	ha_core_speak(c, "cut off at \0162", text, sizeof(text));
	assert_string_equal(text, "cut off at ");
	ha_core_speak(c, "no room for \0162\017", text, 15);
	assert_string_equal(text, "no room for be");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RULE(the_highest_priority_wins_then_the_emptiest_then_the_lowest),
		RULE(each_host_it_failed_on_is_remembered_until_none_is_left),
		RULE(a_failed_migration_makes_another_destination_come_first),
		RULE(a_member_without_a_lease_gets_nothing_and_gives_up_what_it_had),
		RULE(the_largest_token_of_the_members_is_used_and_remembered_until_it_is_over),
		RULE(an_entry_above_the_level_of_a_member_changes_nothing),
		RULE(a_restricted_group_holds),
		RULE(the_first_epoch_names_the_cluster),
		RULE(what_a_domain_has_for_itself_no_other_is_defined_with),
		RULE(votes_that_are_missing_are_counted),
		RULE(a_group_has_each_host_once),
		RULE(why_it_waits_is_said_in_whole_sentences),
		RULE(a_file_is_started_on_the_host_that_was_named_or_not_taken_in),
		RULE(nothing_is_placed_on_a_host_with_a_debt_a_report_due_or_in_maintenance),
		RULE(the_first_of_commit_and_abort_wins),
		RULE(a_pause_is_in_the_record_until_its_vmm_ends),
		RULE(a_dry_run_moves_nothing_and_counts_against_nobody),
		RULE(an_incarnation_is_never_used_twice),
		RULE(a_host_that_is_gone_and_owed_nothing_makes_room),
		RULE(a_fencing_ends_under_the_number_it_began_with),
		RULE(a_start_while_it_is_being_stopped_is_carried_out),
		RULE(a_domain_on_a_lost_host_is_not_said_to_run),
		RULE(a_lost_host_keeps_its_domains_until_all_members_waited),
		RULE(what_was_said_before_the_votes_changed_is_no_proof),
		RULE(a_proof_counts_for_its_own_debt_only),
		RULE(a_word_about_a_host_is_for_the_loss_it_was_given_for),
		RULE(a_host_that_owned_nothing_is_no_debt),
		RULE(a_host_that_comes_back_without_its_domain_loses_it),
		RULE(failures_back_off_and_never_give_up),
		RULE(a_guest_that_powers_off_stays_off),
		RULE(only_the_guest_itself_can_want_to_stay_off),
		RULE(a_second_copy_of_an_entry_changes_nothing),
		RULE(a_member_is_never_fenced),
		RULE(an_order_that_no_device_carries_out_says_what_ends_it),
		RULE(a_host_that_only_the_record_knows_is_found_by_its_number),
		RULE(a_running_domain_is_not_removed),
		RULE(hosts_are_numbers_in_the_record_and_names_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
