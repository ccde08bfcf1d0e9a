/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agreed - the one token from which every member derives its times (rule T).
 *
 * corosync.conf is local: hosts may have different tokens, for a while (a change that is
 * half rolled out) or for good (a slip).  So the record holds what each host's corosync
 * says, and the token in force is the largest of the members'.  It is told in STATE and
 * stands in NEW_EPOCH; a change while the epoch stands is an entry, TIMING.
 *
 * Why P is long enough whatever changes.  A host derives its lease from the token in the
 * record it has applied, and from no other.  What it applied is committed, so it stands
 * before the NEW_EPOCH of any epoch without that host: who says PASSED has applied it too.
 * The record remembers for each host the largest token it may still use (uses): it grows
 * with each agreement that the host takes part in and shrinks only when the host itself
 * says that its older leases are over.  P comes from that, not from the token in force,
 * and a daemon that was restarted reads it like any other.
 *
 * "Settled" names the agreement it is about: said before the token rose and fell again,
 * it means nothing.
 */
#include "ha/core/core_int.h"

#include <assert.h>
#include <stdio.h>

size_t ha_core_token_differs(const struct ha_core *c, char *buf, size_t size)
{
	char marked[256];

	ha_token_differs(&c->rec, marked, sizeof(marked));
	return ha_core_speak(c, marked, buf, size);
}

void ha_agreed_follow(struct ha_core *c)
{
	uint32_t token = c->rec.token && !MUTANT(M_LOCAL_TOKEN) ? c->rec.token : c->token;
	uint32_t before = c->t.token;

	if (before == token)
		return;
	ha_timing_derive(token, &c->t);
	assert(c->t.token == token || token < HA_TOKEN_MIN || token > HA_TOKEN_MAX);
	if (before != c->t.token)
		c->token_ms = c->now;
}

void ha_agreed_of(const struct ha_core *c, uint32_t node, struct ha_timing *t)
{
	int slot = ha_record_slot(&c->rec, node);
	uint32_t uses = slot < 0 ? 0 : c->rec.nodes[slot].uses;

	if (uses <= c->t.token || MUTANT(M_LOCAL_TOKEN) || MUTANT(M_FORGET_TOKEN))
		*t = c->t;
	else
		ha_timing_derive(uses, t);
	assert(t->lease >= c->t.lease && t->proof >= c->t.proof);
}

/* Nobody is away who might have a larger one. */
static bool all_are_here(const struct ha_core *c)
{
	for (uint32_t i = 0; i < c->n_peers; i++)
		if (c->peers[i].configured && !ha_record_is_member(&c->rec, c->peers[i].conf.id))
			return false;
	return true;
}

/*
 * Say what the record does not know: our token, or that what we used before is over.
 * P is longer than L + W, so after it neither a lease that we published nor one of a
 * daemon that ran here before us can be in force.
 */
void ha_agreed_tick(struct ha_core *c)
{
	int me = ha_record_slot(&c->rec, c->me);
	struct ha_entry *e;
	struct ha_timing old;
	uint64_t due = c->token_ms > c->boot_ms ? c->token_ms : c->boot_ms;
	bool settled = false;

	if (!c->hosts_looked_at)
		c->largest_token = ha_token_largest(&c->rec);
	if (c->form.stage != ST_STANDS || !ha_record_is_member(&c->rec, c->me))
		return;
	if (c->rec.nodes[me].uses > c->rec.token) {
		ha_timing_derive(c->rec.nodes[me].uses, &old);
		settled = c->now >= due + old.proof;
		if (!settled)
			ha_wake_at(c, due + old.proof);
	}
	if (c->rec.nodes[me].token == c->token && !settled &&
	    !(c->largest_token < c->rec.token && all_are_here(c)))
		return;
	e = ha_log_prepare(c, HA_E_TIMING, "", 0);
	if (!e)
		return;
	e->token = c->token;
	e->settled = settled;
	e->token_changes = c->rec.token_changes;
	ha_log_propose(c, e);
}
