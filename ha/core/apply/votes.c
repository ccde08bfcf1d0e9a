/* SPDX-License-Identifier: Apache-2.0 */
/*
 * votes - rule L in the record: who has how many votes.
 *
 * A list is in force where it stands in the log, applied or not (ha/core/votes.c), so what an entry
 * makes of it depends on the entries before it and on nothing else.  Its version is the condition
 * under which it holds: of two that were proposed for one list the first counts.
 */
#include "ha/core/apply/apply_int.h"

static bool follow(struct ha_voters *l, const struct ha_entry *e)
{
	uint64_t version = l->version;

	switch (e->kind) {
	case HA_E_NEW_EPOCH:
		if (!e->voters.n)
			return false;
		*l = e->voters;
		l->version = version;
		return true;
	case HA_E_VOTES:
		if (e->version != version + 1)
			return false;
		return e->node ? ha_voters_step(l, e->node, e->more) : ha_voters_witness(l, e->witness, e->more);
	default:
		return false;
	}
}

bool ha_votes_follow(struct ha_voters *l, const struct ha_entry *e)
{
	if (!follow(l, e))
		return false;
	l->version++;
	return true;
}

void ha_votes_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	uint32_t votes = ha_voters_of(&r->voters, e->node);
	unsigned long long need = ha_voters_majority(&r->voters), all = ha_voters_total(&r->voters);

	ha_debt_unproved(r);
	if (e->node)
		ha_outcome_note(o, HA_INFO, "%s has %u vote%s now: a majority is %llu of %llu", NODE(e->node), votes,
				votes == 1 ? "" : "s", need, all);
	else
		ha_outcome_note(o, HA_INFO, "witness %016llx has %s now: a majority is %llu of %llu",
				(unsigned long long)e->witness, e->more ? "a vote" : "no vote", need, all);
}
