/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply - committed entries change the record; nothing else does.
 *
 * Everything here is a function of the record and the entry alone: no clock, no
 * peers, no VMMs.  So every replica has the same record after the same entry.
 * What needs a clock (a pause that is over, a wait that has passed) is noticed
 * by somebody and proposed as an entry.
 */
#include "ha/core/core_int.h"

#include <stdio.h>
#include <string.h>

/* May @id still run or be starting something? Then its loss is a debt (rule F). */
bool ha_node_may_run(const struct ha_record *r, uint32_t id)
{
	for (uint32_t i = 0; i < r->n_domains; i++)
		if (r->domains[i].used && r->domains[i].owner == id)
			return true;
	return false;
}

/*
 * The owner's VMM is certainly gone. Decide what becomes of the domain.
 * A first failure is answered at once; from the second in a row on it pauses.
 */
void ha_apply_unown(struct ha_core *c, struct ha_domain *d, bool failed, const char *why)
{
	/* An operator ordered a start while it was being stopped. */
	bool ordered = d->phase == HA_STOPPING && d->wanted;

	(void)c;
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

/* Place what waits for a host. */
void ha_apply_settle(struct ha_core *c)
{
	struct ha_record *r = &c->rec;
	struct ha_loads loads;
	bool counted = false;

	for (uint32_t i = 0; i < r->n_domains; i++) {
		struct ha_domain *d = &r->domains[i];
		uint32_t node;

		if (!d->used || d->phase != HA_WAITING)
			continue;
		if (!counted)
			ha_loads(r, &loads);
		counted = true;
		node = ha_place_among(r, d, 0, &loads);
		if (!node)
			continue;
		ha_place_start(d, node);
		ha_loads_add(r, &loads, node);
	}
}

void ha_apply_prove(struct ha_core *c, uint32_t slot, const char *how)
{
	struct ha_node_rec *n = &c->rec.nodes[slot];
	char why[HA_TEXT_MAX + 1];

	snprintf(why, sizeof(why), "node %u is dead: %s", n->id, how);
	n->debt = 0;
	n->passed = 0;
	n->fence_attempts = 0;
	n->fence_ordered = false;
	ha_apply_free(c, slot, why);
	ha_out_note(c, HA_INFO, "%s is dead: %s", ha_core_node_name(c, n->id), how);
}

/* Its domains are certainly gone: nobody owns them. */
void ha_apply_free(struct ha_core *c, uint32_t slot, const char *why)
{
	struct ha_node_rec *n = &c->rec.nodes[slot];

	n->report_due = false;
	for (uint32_t i = 0; i < c->rec.n_domains; i++) {
		struct ha_domain *d = &c->rec.domains[i];

		if (d->used && d->owner == n->id)
			ha_apply_unown(c, d, false, why);
	}
}

/* Nothing in the record is about this host any more: it is away, and nobody waits for it or names it. */
static bool forgettable(const struct ha_record *r, const struct ha_entry *e, const struct ha_node_rec *n)
{
	if (ha_entry_has_member(e, n->id) || n->debt || n->maintenance || ha_node_may_run(r, n->id))
		return false;
	for (uint32_t i = 0; i < r->n_domains; i++)
		if (r->domains[i].used && r->domains[i].phase == HA_MIGRATING && r->domains[i].target == n->id)
			return false;
	for (uint32_t g = 0; g < HA_GROUPS_MAX; g++)
		for (uint32_t i = 0; r->groups[g].used && i < r->groups[g].n_hosts; i++)
			if (r->groups[g].hosts[i].node == n->id)
				return false;
	return true;
}

/*
 * Hosts that are taken out stay in the record, for something may be owed to them.  A cluster that
 * has had more than it holds, over the years and one after the other, forgets one of which nothing
 * is left.
 */
static int free_slot(struct ha_record *r, const struct ha_entry *e)
{
	for (int i = 0; i < HA_NODES_MAX; i++) {
		if (r->nodes[i].id && !forgettable(r, e, &r->nodes[i]))
			continue;
		/* Prefer room that was never used: it is behind all others. */
		if (r->nodes[i].id && !r->nodes[HA_NODES_MAX - 1].id)
			continue;
		for (uint32_t k = 0; k < r->n_domains; k++)
			r->domains[k].avoid &= ~(1ull << i);
		for (int k = 0; k < HA_NODES_MAX; k++)
			r->nodes[k].passed &= ~(1ull << i);
		return i;
	}
	return -1;
}

static int add_node(struct ha_record *r, const struct ha_entry *e, uint32_t id)
{
	int slot = ha_record_slot(r, id);

	if (slot >= 0)
		return slot;
	slot = free_slot(r, e);
	if (slot < 0)
		return slot;
	memset(&r->nodes[slot], 0, sizeof(r->nodes[slot]));
	r->nodes[slot].id = id;
	return slot;
}

/* The record's slots of those hosts that were seen to go since they were members last. */
static uint64_t slots(const struct ha_record *r, const struct ha_ids *ids)
{
	uint64_t set = 0;

	for (uint32_t i = 0; i < ids->n; i++) {
		int slot = ha_record_slot(r, ids->id[i]);

		if (slot >= 0 && (ids->epoch[i] >= r->nodes[slot].last_in || MUTANT(M_OLD_SIGHT)))
			set |= 1ull << slot;
	}
	return set;
}

static bool several(uint64_t set)
{
	return (set & (set - 1)) != 0;
}

static void apply_epoch(struct ha_core *c, const struct ha_entry *e)
{
	struct ha_record *r = &c->rec;
	uint64_t before = r->members, fresh = 0, left, sudden;
	bool company;

	r->epoch = e->epoch;
	if (!r->cluster)
		r->cluster = e->cluster;
	r->members = 0;
	r->level = e->n_members ? UINT8_MAX : 0;
	for (uint32_t i = 0; i < e->n_members; i++) {
		bool known = ha_record_slot(r, e->members[i]) >= 0;
		int slot = add_node(r, e, e->members[i]);

		if (slot < 0) {
			ha_out_note(c, HA_ALARM, "%s cannot take part: the record has room for %d hosts, and something is owed "
				    "to each", ha_core_node_name(c, e->members[i]), HA_NODES_MAX);
			continue;
		}
		if (!known)
			before &= ~(1ull << slot); /* another's, in whose place it stands */
		r->members |= 1ull << slot;
		if (e->levels[i] < r->level)
			r->level = e->levels[i];
		if (e->fresh[i])
			fresh |= 1ull << slot;
	}
	ha_agreed_epoch(c, e);
	left = slots(r, &e->left);
	sudden = slots(r, &e->sudden);
	company = several(before & ~r->members);
	for (uint32_t i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++) {
		struct ha_node_rec *n = &r->nodes[i];

		if (r->members >> i & 1) {
			/* It is back: it will say itself what it runs. Nobody fences a member. */
			n->report_due |= !MUTANT(M_NO_REPORT) && (!(before >> i & 1) || (fresh >> i & 1));
			n->leased &= !n->report_due;
			n->parted &= !n->report_due;
			n->left = n->grace = false;
			n->last_in = e->epoch;
			n->debt = n->passed = 0;
			n->fence_attempts = 0;
			n->fence_ordered = false;
			continue;
		}
		n->leased = false;
		n->left |= left >> i & 1;
		if (before >> i & 1)
			n->grace = company;
		n->grace |= sudden >> i & 1;
		if (!n->debt && (MUTANT(M_DEBT_FOR_ALL) || ha_node_may_run(r, n->id))) {
			n->debt = r->epoch;
			n->passed = 0;
			n->fence_attempts = 0;
			ha_out_note(c, HA_WARNING,
				    "%s was lost and may still run domains: proof of death needed",
				    ha_core_node_name(c, n->id));
		}
		if (MUTANT(M_NO_PROOF) && n->debt)
			ha_apply_prove(c, i, "mutant");
	}
	for (uint32_t i = 0; i < r->n_domains; i++) {
		struct ha_domain *d = &r->domains[i];
		int slot = ha_record_slot(r, d->target);

		/* A destination without COMMIT may not run, wherever it is: dropping it needs no
		 * proof. */
		if (d->used && d->phase == HA_MIGRATING && (slot < 0 || !(r->members >> slot & 1)) &&
		    !MUTANT(M_KEEP_MOVE))
			ha_move_drop(d, "the migration's destination left the cluster view");
	}
	/* The view may have shrunk to those who have all said PASSED already. */
	for (uint32_t i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++)
		if (r->nodes[i].debt)
			ha_proof_check(c, i);
}

static bool in_report(const struct ha_entry *e, const struct ha_domain *d, uint64_t incarnation)
{
	for (uint32_t i = 0; i < e->n_items; i++)
		if (e->items[i].incarnation == incarnation && !strcmp(e->items[i].name, d->name))
			return true;
	return false;
}

/* A host that came back: what the record gives to it and does not run there, runs nowhere. */
static void apply_report(struct ha_core *c, const struct ha_entry *e)
{
	int slot = ha_record_slot(&c->rec, e->origin);

	if (slot < 0 || !c->rec.nodes[slot].report_due)
		return;
	c->rec.nodes[slot].report_due = false;
	for (uint32_t i = 0; i < c->rec.n_domains; i++) {
		struct ha_domain *d = &c->rec.domains[i];

		if (d->used && d->owner == e->origin && !in_report(e, d, d->incarnation))
			ha_apply_unown(c, d, false, "its host came back without it");
		/* Nor is a destination started a second time under its number. */
		if (d->used && d->phase == HA_MIGRATING && d->target == e->origin &&
		    !in_report(e, d, d->target_incarnation) && !MUTANT(M_DOUBLE_RECEIVE))
			ha_move_drop(d, "the destination's host came back without it");
	}
}

static void apply_exited(struct ha_core *c, struct ha_domain *d, const struct ha_entry *e)
{
	char why[HA_TEXT_MAX + 32];

	if (d->phase == HA_STOPPING) {
		ha_apply_unown(c, d, false, "");
		return;
	}
	/* Only the guest's own wish is one; whatever else ended its VMM, the domain is still wanted. */
	if (e->end == HA_END_POWEROFF && !MUTANT(M_OFF_FAILS)) {
		d->wanted = false;
		ha_apply_unown(c, d, false, "powered off by its guest");
		return;
	}
	ha_place_failed(&c->rec, d, d->owner, 0);
	d->exit_code = e->rc;
	snprintf(why, sizeof(why), "%s%s%s", ha_end_str(e->end), e->text[0] ? ": " : "", e->text);
	ha_apply_unown(c, d, true, why);
}

static void apply_domain(struct ha_core *c, const struct ha_entry *e)
{
	int i = ha_record_find(&c->rec, e->domain);
	struct ha_domain *d;

	if (i < 0)
		return;
	d = &c->rec.domains[i];
	if (d->incarnation != e->incarnation)
		return;
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
		apply_exited(c, d, e);
		break;
	default:
		break;
	}
}

void ha_apply(struct ha_core *c, const struct ha_entry *e)
{
	char text[HA_REASON_MAX + 1] = "";
	enum ha_code code = HA_OK;
	int slot = ha_record_slot(&c->rec, e->origin);

	/* Some member cannot read it; what only some replicas do makes them differ. */
	if (e->level > c->rec.level)
		return;
	if (e->kind != HA_E_NEW_EPOCH) {
		/* A second copy of a proposal changes nothing: each node's serials only grow. */
		if (slot < 0 || e->serial <= c->rec.nodes[slot].last_op)
			return;
		c->rec.nodes[slot].last_op = e->serial;
	}
	c->rec_hash = 0;
	switch (e->kind) {
	case HA_E_NEW_EPOCH:
		apply_epoch(c, e);
		break;
	case HA_E_REPORT:
		apply_report(c, e);
		break;
	case HA_E_RUNNING:
	case HA_E_STABLE:
	case HA_E_EXITED:
	case HA_E_RETRY:
		apply_domain(c, e);
		break;
	case HA_E_READY:
	case HA_E_COMMIT:
	case HA_E_ABORT:
		ha_move_apply(c, e);
		ha_proof_needless(c);
		break;
	case HA_E_PASSED:
	case HA_E_FENCING:
	case HA_E_FENCED:
	case HA_E_FENCE_FAILED:
		ha_proof_apply(c, e);
		break;
	case HA_E_OP:
		code = ha_op_apply(c, e, text, sizeof(text));
		break;
	case HA_E_LEASE:
		ha_standing_apply(c, e);
		break;
	case HA_E_TIMING:
		ha_agreed_apply(c, e);
		break;
	case HA_E_KINDS:
		break;
	}
	ha_apply_settle(c);
	if (e->origin != c->me || e->kind == HA_E_NEW_EPOCH)
		return;
	for (uint32_t i = 0; i < PROPS_MAX; i++)
		if (c->props[i].used && c->props[i].serial == e->serial)
			c->props[i].used = false;
	if (e->kind == HA_E_OP)
		ha_op_applied(c, e, code, text);
}
