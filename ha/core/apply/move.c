/* SPDX-License-Identifier: Apache-2.0 */
/*
 * move - live migration in the record (rule H).
 *
 *   OP MIGRATE   RUNNING -> MIGRATING intent     owner may run
 *   READY        the destination listens         owner may run
 *   (the VMMs stream; the source pauses; GRANT: from now on both must ask)
 *   COMMIT       RUNNING, owner = destination, its incarnation
 *   ABORT        RUNNING, owner as before
 *
 * COMMIT and ABORT both hold only while the domain is MIGRATING with this very
 * destination incarnation, so the first in the log wins and the other changes
 * nothing.  Whatever else ends a migration (the destination left the view, the
 * source is proved dead, the source's VMM exited, the operator stops the domain)
 * is an entry too, and so takes part in the same race.
 *
 * The destination's incarnation is drawn at the beginning and never used again,
 * so that a VMM that still waits somewhere cannot be mistaken for another.
 */
#include "ha/core/apply/apply_int.h"

void ha_move_intent(struct ha_domain *d, uint32_t target)
{
	d->phase = HA_MIGRATING;
	d->move = HA_MOVE_INTENT;
	d->target = target;
	d->target_incarnation = ++d->last_incarnation;
	d->addr[0] = 0;
	d->reason[0] = 0;
	d->dry_run = false;
}

/* Without judging who may run: that stays with the owner. */
void ha_move_drop(struct ha_domain *d, const char *why)
{
	if (d->phase != HA_MIGRATING)
		return;
	d->phase = HA_RUNNING;
	d->move = HA_MOVE_NONE;
	d->target = 0;
	d->target_incarnation = 0;
	d->addr[0] = 0;
	d->dry_run = false;
	ha_copy(d->reason, sizeof(d->reason), why);
}

static void commit(const struct ha_record *r, struct ha_domain *d)
{
	int slot = ha_record_slot(r, d->target);
	uint32_t target = d->target;
	uint64_t incarnation = d->target_incarnation;

	ha_move_drop(d, "");
	d->moved_from = d->owner;
	d->moved_incarnation = d->incarnation;
	d->owner = target;
	d->incarnation = incarnation;
	if (slot >= 0)
		d->avoid &= ~ha_set_of(slot);
	d->moves++;
}

void ha_move_apply(struct ha_record *r, const struct ha_entry *e)
{
	int i = ha_record_find(r, e->domain);
	struct ha_domain *d;

	if (i < 0)
		return;
	d = ha_record_edit(r, (uint32_t)i);
	if (MUTANT(M_ABORT_AFTER_COMMIT) && e->kind == HA_E_ABORT && d->phase == HA_RUNNING &&
	    d->moved_from && d->incarnation == e->incarnation) {
		d->owner = d->moved_from;
		d->incarnation = d->moved_incarnation;
		return;
	}
	if (d->phase != HA_MIGRATING || d->target_incarnation != e->incarnation)
		return;
	switch (e->kind) {
	case HA_E_READY:
		if (e->origin != d->target || d->move != HA_MOVE_INTENT)
			return;
		d->move = HA_MOVE_READY;
		ha_copy(d->addr, sizeof(d->addr), e->text);
		break;
	case HA_E_COMMIT:
		if (e->origin == d->target && d->move == HA_MOVE_READY && !d->dry_run)
			commit(r, d);
		break;
	case HA_E_ABORT:
		if (e->origin != d->target && e->origin != d->owner)
			break;
		/* A VMM of either end failed: another destination is tried first. A question fails nobody. */
		if (!d->dry_run)
			ha_apply_failed(r, d, d->target, d->owner);
		ha_move_drop(d, e->text);
		break;
	default:
		break;
	}
}
