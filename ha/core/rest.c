/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rest - which VMMs and domains a step may pass over.
 *
 * What this host does for a VMM or a domain depends on the two, on the time, the lease, what is on
 * its way.  Most of them run, and there is nothing to do whatever time it is: they rest.  Rest is
 * judged by what the record and the VMM say alone, so it ends with a change of one of these and
 * with nothing else; whoever changes them wakes those it is about, and reconcile.c puts to rest
 * who it has looked at.  After the loss of a host many are to start here; they stand in a queue,
 * which is looked at when one more may start.  So a step costs what is going on, not what there is.
 */
#include "ha/core/core_int.h"

#include <string.h>

void ha_rest_wake(struct ha_core *c, const char *name)
{
	const struct ha_vmm *v = ha_vmm_find(c, name);
	int i = ha_record_find(&c->rec, name);

	if (v)
		ha_bits_add(&c->awake_vmms, (uint32_t)(v - c->vmms));
	if (i >= 0)
		ha_bits_add(&c->awake_domains, (uint32_t)i);
}

void ha_rest_changed(struct ha_core *c)
{
	int i;

	for (; c->n_known < c->rec.n_domains; c->n_known++)
		c->backoff_ms[c->n_known] = c->declined[c->n_known] = 0;
	while ((i = ha_index_next_news(&c->rec)) >= 0) {
		const struct ha_vmm *v = ha_vmm_find(c, c->rec.domains[i].name);

		if (MUTANT(M_NO_WAKE))
			continue;
		ha_bits_add(&c->awake_domains, (uint32_t)i);
		if (v)
			ha_bits_add(&c->awake_vmms, (uint32_t)(v - c->vmms));
	}
}

bool ha_rest_vmm(const struct ha_core *c, const struct ha_vmm *v)
{
	struct ha_domain *d;

	if (v->state != V_UP || !v->seen_up || v->admission != A_YES || v->ask_abort || v->sending)
		return false;
	if (ha_vmm_role(c, v, &d) != R_RUNNER || d->phase != HA_RUNNING)
		return false;
	return v->held == d->paused && v->avoid == d->avoid && !d->avoid && !d->failures;
}

bool ha_rest_domain(const struct ha_core *c, uint32_t i)
{
	const struct ha_domain *d = &c->rec.domains[i];

	if (c->backoff_ms[i] || (d->used && d->phase == HA_BACKOFF))
		return false;
	if (!d->used)
		return true;
	if (d->owner == c->me)
		return d->phase != HA_STARTING && ha_vmm_find((struct ha_core *)c, d->name);
	return d->phase != HA_MIGRATING || d->target != c->me || d->move != HA_MOVE_INTENT;
}

bool ha_rest_queued(const struct ha_core *c, uint32_t i)
{
	const struct ha_domain *d = &c->rec.domains[i];

	return d->used && d->owner == c->me && d->phase == HA_STARTING && c->declined[i] != d->incarnation &&
	       !c->backoff_ms[i] && !ha_vmm_find((struct ha_core *)c, d->name);
}

const char *ha_core_wrong(const struct ha_core *c)
{
	uint32_t launching = 0, used = 0;

	for (uint32_t i = 0; i < c->n_vmms; i++) {
		const struct ha_vmm *v = &c->vmms[i];

		if (v->used && !ha_bits_has(&c->awake_vmms, i) && !ha_rest_vmm(c, v))
			return "a VMM that is passed over rests";
		used += v->used;
		launching += v->used && ha_vmm_comes_up(v);
	}
	for (uint32_t i = 0; i < c->rec.n_domains; i++)
		if (!ha_bits_has(&c->awake_domains, i) && !ha_rest_domain(c, i) &&
		    !(ha_bits_has(&c->queue, i) && ha_rest_queued(c, i)))
			return "a domain that is passed over rests, or waits for its turn";
	if (launching != c->n_launching || used != c->used_vmms)
		return "VMMs are counted";
	return ha_index_wrong(&c->rec);
}
