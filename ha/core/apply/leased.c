/* SPDX-License-Identifier: Apache-2.0 */
/* leased - LEASE: a member has one now, or has none, or what it ran can write no more.  When it says so: ha/core/standing.c. */
#include "ha/core/apply/apply_int.h"

void ha_leased_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	int slot = ha_record_slot(r, e->origin);

	if (slot < 0 || !ha_set_has(r->members, slot))
		return;
	r->nodes[slot].leased = e->has_lease && !e->leaving;
	r->nodes[slot].parted |= e->leaving;
	if (!e->over)
		return;
	ha_apply_disown(r, e->origin, "its host has no lease");
	ha_outcome_note(o, HA_WARNING, "%s has no lease: what it ran starts elsewhere",
			NODE(e->origin));
}
