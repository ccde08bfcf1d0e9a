/* SPDX-License-Identifier: Apache-2.0 */
/*
 * standing - whether a member holds a lease, as a fact that all know.
 *
 * A member can be alive, talk, vote and hold the log, and yet be unable to run anything: its
 * list of VMMs is not complete, or its record cannot be trusted, so it publishes no lease
 * (rule H).  Nothing may be placed there and no turn may be its own, or all would wait for
 * it without a bound.  So each member tells by LEASE when it gets a lease and when it has
 * been without one for a while.
 *
 * What it owned is not lost: when its last lease has been over for W none of its VMMs can
 * write any more (rule G), on the very clock that the VMMs look at.  It says so (over), and
 * its domains start elsewhere.  No other member's clock is needed for that, and no fencing:
 * who could not say it is mute, is voted out, and is proved dead like anybody (rule F).
 *
 * Between "over" and its commit (of the last copy, if one is sent again) the host publishes
 * nothing.  The entry is in the log before the next epoch or is lost for ever, so also a daemon
 * that is restarted meanwhile has applied it, if it counts, before its first lease.
 */
#include "ha/core/core_int.h"

#define HESITATE 2 /* renewals without a lease before it is told */

void ha_standing_told(struct ha_core *c, const struct ha_entry *e)
{
	if (ha_record_is_member(&c->rec, c->me) && e->serial >= c->lease.over_serial)
		c->lease.over_serial = 0;
}

/* When the last lease of this host ended, whoever published it: us, or a daemon before us. */
static uint64_t lease_ended(const struct ha_core *c, const struct ha_timing *t)
{
	uint64_t before = c->boot_ms + t->lease;

	return c->lease.published_ms > before ? c->lease.published_ms : before;
}

/*
 * This daemon is being stopped in order.  Its VMMs run on under the lease there is, then
 * they gate themselves; so there is nothing to fence, and nothing is given to us any more.
 */
static void leave(struct ha_core *c, const struct ha_node_rec *me)
{
	struct ha_entry *e;

	if (me->parted)
		return;
	e = ha_log_prepare(c, HA_E_LEASE, "", 0);
	if (!e)
		return;
	e->has_lease = e->over = false;
	e->leaving = true;
	ha_log_propose(c, e);
}

void ha_standing_tick(struct ha_core *c)
{
	int me = ha_record_slot(&c->rec, c->me);
	bool has = c->now < c->lease.published_ms, over;
	uint64_t due, gone;
	struct ha_timing t;
	struct ha_entry *e;

	if (c->form.stage != ST_STANDS || me < 0 || !ha_set_has(c->rec.members, me))
		return;
	if (c->leaving) {
		leave(c, &c->rec.nodes[me]);
		return;
	}
	ha_agreed_of(c, c->me, &t);
	due = c->lease.stands_ms + HESITATE * t.renew;
	if (c->lease.published_ms + HESITATE * t.renew > due)
		due = c->lease.published_ms + HESITATE * t.renew;
	gone = MUTANT(M_YIELD_EARLY) ? due : lease_ended(c, &t) + t.gate;
	if (gone < due)
		gone = due;
	over = !has && c->now >= gone &&
	       (ha_record_may_run(&c->rec, c->me) || c->lease.over_serial);
	if (!has) {
		ha_wake_at(c, c->now < due ? due : c->now < gone ? gone :
								   UINT64_MAX);
		if (!over && (!c->rec.nodes[me].leased || c->now < due))
			return;
	} else if (c->rec.nodes[me].leased) {
		return;
	}
	e = ha_log_prepare(c, HA_E_LEASE, "", 0);
	if (!e)
		return;
	e->has_lease = has;
	e->over = over;
	e->leaving = false;
	if (ha_log_propose(c, e) && over)
		c->lease.over_serial = e->serial;
}
