/* SPDX-License-Identifier: Apache-2.0 */
/* epoch - NEW_EPOCH: who is in the view, who was lost and owes a proof, whose place in the record is free again. */
#include "ha/core/apply/apply_int.h"

#include <string.h>

/* Nothing in the record is about this host any more: it is away, and nobody waits for it or names it. */
static bool forgettable(const struct ha_record *r, const struct ha_entry *e, const struct ha_node_rec *n)
{
	if (ha_entry_has_member(e, n->id) || n->debt || n->maintenance || ha_record_may_run(r, n->id))
		return false;
	for (uint32_t i = 0; i < r->n_domains; i++)
		if (r->index.seat[i].target == n->id)
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
			if (r->domains[k].used && ha_set_has(r->domains[k].avoid, i))
				ha_record_edit(r, k)->avoid &= ~ha_set_of(i);
		ha_index_follow(r);
		for (int k = 0; k < HA_NODES_MAX; k++)
			r->nodes[k].passed &= ~ha_set_of(i);
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
static ha_set slots(const struct ha_record *r, const struct ha_ids *ids)
{
	ha_set set = 0;

	for (uint32_t i = 0; i < ids->n; i++) {
		int slot = ha_record_slot(r, ids->id[i]);

		if (slot >= 0 && (ids->epoch[i] >= r->nodes[slot].last_in || MUTANT(M_OLD_SIGHT)))
			set |= ha_set_of(slot);
	}
	return set;
}

static bool several(ha_set set)
{
	return (set & (set - 1)) != 0;
}

void ha_epoch_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	ha_set before = r->members, fresh = 0, left, unsure;
	bool company, apart = r->voters.n && e->voters.n;

	r->epoch = e->epoch;
	if (e->leans)
		r->leaned = e->epoch;
	if (ha_votes_follow(&r->voters, e))
		ha_debt_unproved(r);
	if (!r->cluster)
		r->cluster = e->cluster;
	r->members = 0;
	r->level = e->n_members ? UINT8_MAX : 0;
	for (uint32_t i = 0; i < e->n_members; i++) {
		bool known = ha_record_slot(r, e->members[i]) >= 0;
		int slot = add_node(r, e, e->members[i]);

		if (slot < 0) {
			ha_outcome_note(o, HA_ALARM, "%s cannot take part: the record has room for %d hosts, and something is owed "
						     "to each",
					NODE(e->members[i]), HA_NODES_MAX);
			continue;
		}
		if (!known)
			before &= ~ha_set_of(slot); /* another's, in whose place it stands */
		r->members |= ha_set_of(slot);
		r->nodes[slot].size = e->sizes[i];
		if (e->levels[i] < r->level)
			r->level = e->levels[i];
		if (e->fresh[i])
			fresh |= ha_set_of(slot);
	}
	ha_token_epoch(r, e, o);
	left = slots(r, &e->left);
	unsure = slots(r, &e->unsure);
	company = several(before & ~r->members);
	for (uint32_t i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++) {
		struct ha_node_rec *n = &r->nodes[i];

		if (ha_set_has(r->members, i)) {
			/* It is back: it will say itself what it runs. Nobody fences a member. */
			if ((!ha_set_has(before, i) || ha_set_has(fresh, i)) && !MUTANT(M_NO_REPORT)) {
				n->report_due = true;
				n->reported = 0; /* from the beginning, whatever it had said */
			}
			n->leased &= !n->report_due;
			n->parted &= !n->report_due;
			n->left = n->grace = n->apart = false;
			n->last_in = e->epoch;
			n->debt = n->passed = 0;
			n->fence_attempts = 0;
			n->fence_ordered = false;
			continue;
		}
		n->leased = false;
		n->apart |= apart && !MUTANT(M_APART);
		n->left |= ha_set_has(left, i);
		if (ha_set_has(before, i))
			n->grace = company;
		n->grace |= ha_set_has(unsure, i);
		if (!n->debt && (MUTANT(M_DEBT_FOR_ALL) || ha_record_may_run(r, n->id))) {
			n->debt = r->epoch;
			n->passed = 0;
			n->fence_attempts = 0;
			ha_outcome_note(o, HA_WARNING,
					"%s was lost and may still run domains: proof of death needed",
					NODE(n->id));
		}
		if (MUTANT(M_NO_PROOF) && n->debt)
			ha_debt_proved(r, i, "mutant", o);
	}
	for (uint32_t i = 0; i < r->n_domains; i++) {
		int slot;

		if (!r->index.seat[i].moving)
			continue;
		slot = ha_record_slot(r, r->domains[i].target);
		/* A destination without COMMIT may not run, wherever it is: dropping it needs no
		 * proof. */
		if ((slot < 0 || !ha_set_has(r->members, slot)) && !MUTANT(M_KEEP_MOVE))
			ha_move_drop(ha_record_edit(r, i), "the migration's destination left the cluster view");
	}
	ha_index_follow(r);
	/* The view may have shrunk to those who have all said PASSED already. */
	for (uint32_t i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++)
		if (r->nodes[i].debt)
			ha_debt_check(r, i, o);
}
