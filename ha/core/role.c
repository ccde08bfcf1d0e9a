/* SPDX-License-Identifier: Apache-2.0 */
/*
 * role - what a VMM of this host is by the record, and so whether the lease is its own too.
 *
 *   runner     owner is me, same incarnation
 *   incoming   destination of a migration that is not decided, and waits for that
 *   moved      I was the source of the last committed migration: it stands still until it is told
 *   stale      anything else: it is killed (reconcile.c). Also a destination that runs where the record
 *              knows of no decision: the record is older than the VMM, since a majority's disks were
 *              set back (docs/ha.md), and its next entry may give the domain to another host
 *
 * A lease page knows no incarnations, so each VMM has one of its own, and only what is
 * admitted gets the host's lease written there (rules G and H): runners and those that
 * receive.  A VMM that nobody can kill, because its storage hangs, keeps what stood in its
 * page, which ends by itself, and is no reason to gate the rest of the host.
 *
 * A daemon that was restarted admits nobody before its list is complete and an epoch
 * stands: what its disk says of owners may be old.  Until that moment the pages say what the
 * daemon before wrote.  Nor is anything decided while a new epoch is agreed: the record may be
 * a donor's that is behind our own; nothing is published by it if it does not fit.
 */
#include "ha/core/core_int.h"

#include <assert.h>

enum ha_role ha_vmm_role(const struct ha_core *c, const struct ha_vmm *v, struct ha_domain **dom)
{
	int i = ha_record_find(&c->rec, v->name);
	struct ha_domain *d = i < 0 ? NULL : (struct ha_domain *)&c->rec.domains[i];

	*dom = d;
	if (!d)
		return R_STALE;
	if (d->owner == c->me && d->incarnation == v->incarnation)
		return R_RUNNER;
	if (d->phase == HA_MIGRATING && d->target == c->me &&
	    d->target_incarnation == v->incarnation)
		return v->seen_up && !MUTANT(M_RAN_UNDECIDED) ? R_STALE : R_INCOMING;
	if (d->moved_from == c->me && d->moved_incarnation == v->incarnation)
		return R_MOVED;
	if (MUTANT(M_IGNORE_INCARNATION) && d->owner == c->me)
		return R_RUNNER;
	return R_STALE;
}

static bool admit(struct ha_core *c, struct ha_vmm *v, enum ha_admission to)
{
	struct ha_effect *fx;

	assert(v->used && to != A_UNDECIDED);
	if (v->admission == to)
		return true;
	if (c->form.stage != ST_STANDS)
		return to == A_YES || v->admission == A_UNDECIDED; /* its page gets nothing */
	if (!ha_out_room(c, 1, sizeof(v->name))) {
		ha_wake_at(c, c->now);
		return false;
	}
	fx = ha_out_vmm(c, HA_FX_ADMIT, v->name, v->incarnation);
	if (!fx)
		return false;
	fx->vmm.admit = to == A_YES;
	v->admission = to;
	return true;
}

void ha_vmm_admit_found(struct ha_core *c)
{
	const struct ha_bits *awake = &c->awake_vmms; /* who rests was admitted */

	if (c->form.stage != ST_STANDS)
		return;
	for (uint32_t i = ha_bits_next(awake, 0); i < c->n_vmms; i = ha_bits_next(awake, i + 1))
		if (c->vmms[i].used && c->vmms[i].admission == A_UNDECIDED) {
			ha_vmm_admit(c);
			return;
		}
}

bool ha_vmm_admit(struct ha_core *c)
{
	const struct ha_bits *awake = &c->awake_vmms; /* who rests was admitted, and is what it was */
	bool all = true;                              /* no short cut: each is looked at */

	if (!c->listed)
		return false;
	for (uint32_t i = ha_bits_next(awake, 0); i < c->n_vmms; i = ha_bits_next(awake, i + 1)) {
		struct ha_vmm *v = &c->vmms[i];
		struct ha_domain *d;

		if (!v->used || v->state == V_GONE)
			continue;
		switch (MUTANT(M_ADMIT_STALE) ? R_RUNNER : ha_vmm_role(c, v, &d)) {
		case R_RUNNER:
		case R_INCOMING:
			all &= admit(c, v, A_YES);
			break;
		case R_MOVED: /* it sent GRANT, else there were no COMMIT */
			break;
		case R_STALE:
			all &= admit(c, v, A_NO);
			break;
		}
	}
	return all;
}
