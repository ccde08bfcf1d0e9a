/* SPDX-License-Identifier: Apache-2.0 */
/* apply - which entry is about what; what a VMM said, and what becomes of its domain. */
#include "ha/core/apply/apply_int.h"

#include <stdio.h>
#include <string.h>

/*
 * The owner's VMM is certainly gone. Decide what becomes of the domain.
 * A first failure is answered at once; from the second in a row on it pauses.
 */
void ha_apply_unown(struct ha_domain *d, bool failed, const char *why)
{
	/* An operator ordered a start while it was being stopped. */
	bool ordered = d->phase == HA_STOPPING && d->wanted;

	ha_move_drop(d, "");
	d->owner = 0;
	d->force_stop = d->paused = false; /* they were about the VMM that is gone */
	ha_copy(d->reason, sizeof(d->reason), why);
	if (failed)
		d->failures++;
	if (!d->wanted) {
		d->phase = HA_STOPPED;
	} else if (!d->ha && !ordered) {
		d->phase = HA_STOPPED;
		d->wanted = false;
	} else {
		d->phase = failed && d->failures > 1 && !MUTANT(M_NO_BACKOFF) ? HA_BACKOFF : HA_WAITING;
	}
}

void ha_apply_disown(struct ha_record *r, uint32_t node, const char *why)
{
	for (uint32_t i = 0; i < r->n_domains; i++)
		if (r->index.seat[i].owner == node)
			ha_apply_unown(ha_record_edit(r, i), false, why);
	ha_index_follow(r);
}

/*
 * It failed on @node. Each such host is remembered, so that of five hosts two that are unfit
 * are each tried once; when no other is left (@except is no candidate: a migration's source)
 * only the last one counts, and all are tried again in turn. A minute of running, an
 * operator's start or clear, or a migration to it makes the domain forget.
 */
void ha_apply_failed(const struct ha_record *r, struct ha_domain *d, uint32_t node, uint32_t except)
{
	int slot = ha_record_slot(r, node);
	bool other = false;

	if (slot < 0)
		return;
	d->avoid |= ha_set_of(slot);
	for (int i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++)
		other |= r->nodes[i].id != except && !ha_set_has(d->avoid, i) &&
			 !ha_place_why_not(r, d, r->nodes[i].id);
	if (!other || MUTANT(M_AVOID_LAST))
		d->avoid = ha_set_of(slot);
}

/* Give the domain to @node: a new incarnation, never used before (rule H). */
void ha_apply_start(struct ha_domain *d, uint32_t node)
{
	d->owner = node;
	d->incarnation = ++d->last_incarnation;
	d->phase = HA_STARTING;
	d->moves++;
}

/* Place what waits for a host. */
static void settle(struct ha_record *r)
{
	const struct ha_bits *waiting = &r->index.waiting;

	ha_index_follow(r);
	for (uint32_t i = ha_bits_next(waiting, 0); i != HA_BITS_END; i = ha_bits_next(waiting, i + 1)) {
		uint32_t node;

		if (ha_bits_has(&r->index.tried, i))
			continue;
		node = ha_place(r, &r->domains[i], 0);
		if (!node) {
			ha_bits_add(&r->index.tried, i);
			continue;
		}
		ha_apply_start(ha_record_edit(r, i), node);
		ha_index_follow(r);
	}
}

/* Which domains does it name, as an owner's and as a destination's? */
static void named(const struct ha_record *r, const struct ha_entry *e, struct ha_bits *owned, struct ha_bits *received)
{
	memset(owned, 0, sizeof(*owned));
	memset(received, 0, sizeof(*received));
	for (uint32_t i = 0; i < e->n_items; i++) {
		int d = ha_record_find(r, e->items[i].name);

		if (d >= 0 && r->domains[d].incarnation == e->items[i].incarnation)
			ha_bits_add(owned, (uint32_t)d);
		if (d >= 0 && r->domains[d].target_incarnation == e->items[i].incarnation)
			ha_bits_add(received, (uint32_t)d);
	}
}

/* A host that came back: what the record gives to it and does not run there, runs nowhere. */
static void apply_report(struct ha_record *r, const struct ha_entry *e)
{
	int slot = ha_record_slot(r, e->origin);
	struct ha_bits owned, received;

	/* The next part, and no other: one that is missing, or was heard before, would leave a gap. */
	if (slot < 0 || !r->nodes[slot].report_due || e->from != r->nodes[slot].reported)
		return;
	r->nodes[slot].report_due = e->to != HA_REPORT_END;
	r->nodes[slot].reported = e->to != HA_REPORT_END ? e->to : 0;
	named(r, e, &owned, &received);
	for (uint32_t i = e->from; i < r->n_domains && i < e->to; i++) {
		if (r->index.seat[i].owner == e->origin && !ha_bits_has(&owned, i))
			ha_apply_unown(ha_record_edit(r, i), false, "its host came back without it");
		/* Nor is a destination started a second time under its number. */
		if (r->index.seat[i].target == e->origin && !ha_bits_has(&received, i) && !MUTANT(M_DOUBLE_RECEIVE))
			ha_move_drop(ha_record_edit(r, i), "the destination's host came back without it");
	}
}

static void apply_exited(struct ha_record *r, struct ha_domain *d, const struct ha_entry *e)
{
	char why[HA_TEXT_MAX + 32];

	if (d->phase == HA_STOPPING) {
		ha_apply_unown(d, false, "");
		return;
	}
	/* Only the guest's own wish is one; whatever else ended its VMM, the domain is still wanted. */
	if (e->end == HA_END_POWEROFF && !MUTANT(M_OFF_FAILS)) {
		d->wanted = false;
		ha_apply_unown(d, false, "powered off by its guest");
		return;
	}
	ha_apply_failed(r, d, d->owner, 0);
	d->exit_code = e->rc;
	snprintf(why, sizeof(why), "%s%s%s", ha_end_str(e->end), e->text[0] ? ": " : "", e->text);
	ha_apply_unown(d, true, why);
}

static void apply_domain(struct ha_record *r, const struct ha_entry *e)
{
	int i = ha_record_find(r, e->domain);
	struct ha_domain *d;

	if (i < 0)
		return;
	if (r->domains[i].incarnation != e->incarnation)
		return;
	d = ha_record_edit(r, (uint32_t)i);
	if (e->kind == HA_E_RETRY) {
		if (d->phase == HA_BACKOFF)
			d->phase = HA_WAITING;
		return;
	}
	/* The owner alone can speak for its VMM. */
	if (d->owner != e->origin)
		return;
	switch (e->kind) {
	case HA_E_RUNNING:
		if (d->phase == HA_STARTING) {
			d->phase = HA_RUNNING;
			d->reason[0] = 0;
			d->exit_code = 0;
		}
		break;
	case HA_E_STABLE:
		d->failures = 0;
		d->avoid = 0;
		break;
	case HA_E_EXITED:
		apply_exited(r, d, e);
		break;
	default:
		break;
	}
}

/* Then no host and no group is another one than before, and who waited for one does so still. */
static bool about_a_domain(const struct ha_entry *e)
{
	switch (e->kind) {
	case HA_E_RUNNING:
	case HA_E_STABLE:
	case HA_E_EXITED:
	case HA_E_RETRY:
	case HA_E_READY:
	case HA_E_COMMIT:
	case HA_E_ABORT:
		return true;
	case HA_E_OP:
		return e->op != HA_OP_GROUP_SET && e->op != HA_OP_GROUP_REMOVE && e->op != HA_OP_FENCE &&
		       e->op != HA_OP_CONFIRM && e->op != HA_OP_MAINTENANCE;
	default:
		return false;
	}
}

void ha_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	bool votes = e->kind == HA_E_VOTES && ha_votes_follow(&r->voters, e);
	int slot = ha_record_slot(r, e->origin);

	ha_outcome_clear(o);
	/* It was in force before (rule L), and is so even where it is a copy of one. */
	if (votes)
		ha_votes_apply(r, e, o);
	/* Some member cannot read it; what only some replicas do makes them differ. */
	if (e->level > r->level)
		return;
	if (e->kind != HA_E_NEW_EPOCH) {
		/* A second copy of a proposal changes nothing: each node's serials only grow. */
		if (slot < 0 || e->serial <= r->nodes[slot].last_op) {
			o->applied = votes;
			return;
		}
		r->nodes[slot].last_op = e->serial;
	}
	o->applied = true;
	switch (e->kind) {
	case HA_E_NEW_EPOCH:
		ha_epoch_apply(r, e, o);
		break;
	case HA_E_REPORT:
		apply_report(r, e);
		break;
	case HA_E_RUNNING:
	case HA_E_STABLE:
	case HA_E_EXITED:
	case HA_E_RETRY:
		apply_domain(r, e);
		break;
	case HA_E_READY:
	case HA_E_COMMIT:
	case HA_E_ABORT:
		ha_move_apply(r, e);
		ha_index_follow(r);
		ha_debt_needless(r);
		break;
	case HA_E_PASSED:
	case HA_E_FENCING:
	case HA_E_FENCED:
	case HA_E_FENCE_FAILED:
		ha_debt_apply(r, e, o);
		break;
	case HA_E_OP:
		ha_operator_apply(r, e, o);
		break;
	case HA_E_LEASE:
		ha_leased_apply(r, e, o);
		break;
	case HA_E_TIMING:
		ha_token_apply(r, e, o);
		break;
	case HA_E_VOTES:
	case HA_E_KINDS:
		break;
	}
	if (!about_a_domain(e))
		ha_index_retry(r);
	settle(r);
}
