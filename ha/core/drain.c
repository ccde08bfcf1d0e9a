/* SPDX-License-Identifier: Apache-2.0 */
/* drain - maintenance: the owner moves its domains away, one after the other. */
#include "ha/core/core_int.h"

/*
 * The domain to move next: one after the other, in turn, so that one that cannot move
 * keeps none of the others here. NULL: nothing to move now.
 */
static const struct ha_domain *next_to_move(struct ha_core *c)
{
	const struct ha_domain *next = NULL;
	uint32_t n = ha_record_may_run(&c->rec, c->me) ? c->rec.n_domains : 0, left = 0, at = 0;

	for (uint32_t k = 1; k <= n; k++) {
		uint32_t i = (c->drain_at + k) % n;
		const struct ha_domain *d = &c->rec.domains[i];

		if (!d->used || d->owner != c->me)
			continue;
		left++;
		if (d->phase == HA_MIGRATING)
			return NULL;
		if (d->phase == HA_RUNNING && !next && ha_place(&c->rec, d, c->me)) {
			next = d;
			at = i;
		}
	}
	/* Once round and nothing went: the pause doubles. */
	if (left != c->drain_left)
		c->drain_round = 0;
	else if (next && at <= c->drain_at && c->now >= c->drain_ms)
		c->drain_round++;
	c->drain_left = left;
	if (next && c->now >= c->drain_ms)
		c->drain_at = at;
	return next;
}

void ha_drain(struct ha_core *c)
{
	int slot = ha_record_slot(&c->rec, c->me);
	const struct ha_domain *next;
	uint64_t pause = c->t.fence_retry;
	struct ha_entry *e;

	if (slot < 0 || !c->rec.nodes[slot].maintenance || !ha_reported(c)) {
		c->drain_left = c->drain_round = 0;
		return;
	}
	next = next_to_move(c);
	if (!next)
		return;
	if (c->now < c->drain_ms) {
		ha_wake_at(c, c->drain_ms);
		return;
	}
	e = ha_log_prepare(c, HA_E_OP, next->name, 0);
	if (!e)
		return;
	e->op = HA_OP_MIGRATE;
	ha_copy(e->actor, sizeof(e->actor), "maintenance");
	e->access = HA_ACCESS_OPERATOR;
	for (uint32_t i = 0; i < c->drain_round && pause < c->t.retry_max; i++)
		pause *= 2;
	if (ha_log_propose(c, e))
		c->drain_ms = c->now + (pause < c->t.retry_max ? pause : c->t.retry_max);
}
