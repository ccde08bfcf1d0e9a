/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules - what a host may order, checked against the record it acts on and against what
 * is true (check.c has the rules about state):
 *
 *   I7   our own move never breaks a hard rule: a host that is placed on is a member, has
 *        told what it runs, carries no debt, is not in maintenance, and is in the group
 *   I9   no storm: what fails is not started again and again without a pause
 *   I11  nobody is fenced needlessly: no member of the view, nobody who owns nothing, nobody who is back among others
 *        unless an operator ordered it
 *   ONCE an incarnation is started once, wherever
 *   STOP what an operator stopped stays stopped
 */
#include "cmd/drover-sim/sim.h"

#include <string.h>

#define STORM_US (6 * SEC)

static bool in_restricted_group(const struct ha_record *r, const struct ha_domain *d, uint32_t node)
{
	int g = d->group[0] ? ha_record_find_group(r, d->group) : -1;

	if (g < 0 || !r->groups[g].restricted)
		return true;
	for (uint32_t i = 0; i < r->groups[g].n_hosts; i++)
		if (r->groups[g].hosts[i].node == node)
			return true;
	return false;
}

static const char *unfit(const struct ha_record *r, const struct ha_domain *d, uint32_t node)
{
	int slot = ha_record_slot(r, node);

	if (slot < 0 || !ha_set_has(r->members, (uint32_t)slot))
		return "is no member of the view";
	if (r->nodes[slot].debt)
		return "carries a debt";
	if (r->nodes[slot].report_due)
		return "has not told what it runs";
	if (r->nodes[slot].maintenance)
		return "is in maintenance";
	return in_restricted_group(r, d, node) ? NULL : "is outside the domain's restricted group";
}

/* One entry was applied: whoever was placed by it, was placed by this very record. */
void rules_placed(struct sim *s, uint32_t h, bool by_one_entry)
{
	const struct ha_record *r = ha_core_record(s->host[h].core);

	for (uint32_t i = 0; i < r->n_domains; i++) {
		const struct ha_domain *d = &r->domains[i];
		uint32_t n, node;
		uint64_t inc;
		const char *no;

		if (!d->used || (d->phase != HA_STARTING && d->phase != HA_MIGRATING))
			continue;
		node = d->phase == HA_STARTING ? d->owner : d->target;
		inc = d->phase == HA_STARTING ? d->incarnation : d->target_incarnation;
		n = sim_dom(d->name);
		if (inc <= s->host[h].placed[n])
			continue;
		s->host[h].placed[n] = inc;
		no = by_one_entry ? unfit(r, d, node) : NULL;
		if (no)
			sim_fail(s, "I7", "%s.%llu is placed on n%u, which %s", d->name,
				 (unsigned long long)inc, node, no);
	}
}

static void started(struct sim *s, uint32_t h, const struct ha_effect *fx)
{
	uint32_t d = sim_dom(fx->vmm.name);
	uint64_t inc = fx->vmm.incarnation, since, *once = &s->once[d][inc % ONCE_MAX];
	struct sim_starts *st = &s->starts[d];
	struct ha_status status;

	if (*once == inc)
		sim_fail(s, "ONCE", "n%u starts %s.%llu, which was started before", h + 1, fx->vmm.name,
			 (unsigned long long)inc);
	*once = inc;
	if (fx->kind != HA_FX_START)
		return;
	ha_core_status(s->host[h].core, &status);
	if (operator_keeps_stopped(s, d, &since) && status.committed >= since)
		sim_fail(s, "STOP", "n%u starts %s.%llu, which an operator stopped at entry %llu", h + 1,
			 fx->vmm.name, (unsigned long long)inc, (unsigned long long)since);
	if (st->asked != s->asked[d])
		st->n = 0;
	st->asked = s->asked[d];
	st->at[st->n++ % STORM_MAX] = s->now;
	if (st->n > STORM_MAX && s->now - st->at[st->n % STORM_MAX] < STORM_US)
		sim_fail(s, "I9", "%s was started %u times in %llu s, and nobody asked for it", fx->vmm.name,
			 STORM_MAX, (unsigned long long)(STORM_US / SEC));
}

/*
 * It lives, and one of those who decide saw its corosync being stopped in order, this time.  Who had not
 * heard from it since the last epoch in which it was cannot know that: it may have been an earlier loss.
 */
static bool left_in_order(const struct sim *s, const struct ha_record *r, uint32_t target)
{
	const struct sim_host *t = &s->host[target];
	int its = ha_record_slot(r, t->id);

	for (uint32_t i = 0; its >= 0 && t->left && t->up && !t->paused && i < s->o.hosts; i++) {
		const struct sim_host *m = &s->host[i];
		int slot = ha_record_slot(r, m->id);

		if (slot >= 0 && ha_set_has(r->members, (uint32_t)slot) && m->daemon && m->saw_left[target].gen == m->gen &&
		    m->saw_left[target].leave == t->leaves && m->saw_left[target].epoch >= r->nodes[its].last_in)
			return true;
	}
	return false;
}

/* It was lost by the record of whoever fences it, and it works among others since. */
static bool back_elsewhere(const struct sim *s, const struct ha_record *r, uint32_t target)
{
	const struct sim_host *t = &s->host[target];
	struct ha_status st;

	if (!t->up || t->paused || !t->daemon || t->daemon_paused)
		return false;
	ha_core_status(t->core, &st);
	return st.standing == HA_STANDS && st.epoch > r->epoch && host_now(s, target) < st.lease_until_ms;
}

static void fences(struct sim *s, uint32_t h, const struct ha_effect *fx)
{
	const struct ha_record *r = ha_core_record(s->host[h].core);
	int slot = ha_record_slot(r, fx->fence.node);
	bool owns = false;

	for (uint32_t i = 0; i < r->n_domains; i++)
		owns |= r->domains[i].used && r->domains[i].owner == fx->fence.node;
	if (slot >= 0 && ha_set_has(r->members, (uint32_t)slot))
		sim_fail(s, "I11", "n%u fences n%u, a member of the view", h + 1, fx->fence.node);
	if (!owns && !s->fence_asked[fx->fence.node - 1])
		sim_fail(s, "I11", "n%u fences n%u, which owns nothing", h + 1, fx->fence.node);
	if (!s->fence_asked[fx->fence.node - 1] && back_elsewhere(s, r, fx->fence.node - 1))
		sim_fail(s, "I11", "n%u fences n%u, which holds a lease in a newer epoch", h + 1, fx->fence.node);
	if (!s->fence_asked[fx->fence.node - 1] && left_in_order(s, r, fx->fence.node - 1))
		sim_fail(s, "I11", "n%u fences n%u, which left in order", h + 1, fx->fence.node);
}

void rules_effect(struct sim *s, uint32_t h, const struct ha_effect *fx)
{
	if (fx->kind == HA_FX_START || fx->kind == HA_FX_RECEIVE)
		started(s, h, fx);
	else if (fx->kind == HA_FX_FENCE)
		fences(s, h, fx);
}
