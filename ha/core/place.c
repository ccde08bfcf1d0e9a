/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place - the one function that chooses a host, for start, recovery, migration
 * without a named target, and maintenance.
 *
 * A pure function of the record: every replica chooses alike.  Hard filters
 * first (member, leased, reported, no debt, no maintenance, group), then a host it
 * did not fail on lately, the highest priority, the fewest domains, the lowest id.
 */
#include "ha/core/core_int.h"

#include <string.h>

void ha_loads(const struct ha_record *r, struct ha_loads *l)
{
	memset(l, 0, sizeof(*l));
	for (uint32_t i = 0; i < r->n_domains; i++) {
		const struct ha_domain *d = &r->domains[i];

		if (!d->used)
			continue;
		ha_loads_add(r, l, d->owner);
		if (d->phase == HA_MIGRATING && d->target != d->owner)
			ha_loads_add(r, l, d->target);
	}
}

void ha_loads_add(const struct ha_record *r, struct ha_loads *l, uint32_t id)
{
	int slot = ha_record_slot(r, id);

	if (slot >= 0)
		l->n[slot]++;
}

/* In the domain's group? *@priority is 0 for hosts outside an unrestricted group. */
static bool in_group(const struct ha_record *r, const struct ha_domain *d, uint32_t id,
		     int64_t *priority)
{
	int g = d->group[0] ? ha_record_find_group(r, d->group) : -1;

	*priority = INT32_MIN; /* outside: after every host that is named */
	if (g < 0) {
		*priority = 0;
		return true;
	}
	for (uint32_t i = 0; i < r->groups[g].n_hosts; i++) {
		if (r->groups[g].hosts[i].node == id) {
			*priority = r->groups[g].hosts[i].priority;
			return true;
		}
	}
	*priority -= 1;
	return !r->groups[g].restricted;
}

const char *ha_place_why_not(const struct ha_record *r, const struct ha_domain *d, uint32_t id)
{
	int slot = ha_record_slot(r, id);
	int64_t priority;

	if (slot < 0 || !(r->members >> slot & 1))
		return "is not a member of the cluster view";
	if (r->nodes[slot].debt)
		return "is lost and not proved dead";
	if (r->nodes[slot].report_due)
		return "has not yet told what it runs";
	if (!r->nodes[slot].leased && !MUTANT(M_LEASELESS))
		return "without a lease";
	if (r->nodes[slot].maintenance && !MUTANT(M_UNFIT))
		return "is in maintenance";
	if (!in_group(r, d, id, &priority))
		return "is not in the domain's group";
	return NULL;
}

uint32_t ha_place(const struct ha_record *r, const struct ha_domain *d, uint32_t except)
{
	struct ha_loads l;

	ha_loads(r, &l);
	return ha_place_among(r, d, except, &l);
}

uint32_t ha_place_among(const struct ha_record *r, const struct ha_domain *d, uint32_t except,
			const struct ha_loads *l)
{
	uint32_t best = 0, best_load = 0;
	int64_t best_priority = 0;
	bool best_avoid = false;

	for (int i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++) {
		uint32_t id = r->nodes[i].id, n;
		bool avoid = d->avoid >> i & 1;
		int64_t priority;

		if (id == except || ha_place_why_not(r, d, id))
			continue;
		in_group(r, d, id, &priority);
		n = l->n[i];
		if (best) {
			if (avoid != best_avoid) {
				if (avoid)
					continue;
			} else if (priority != best_priority) {
				if (priority < best_priority)
					continue;
			} else if (n != best_load) {
				if (n > best_load)
					continue;
			} else if (id > best) {
				continue;
			}
		}
		best = id;
		best_load = n;
		best_priority = priority;
		best_avoid = avoid;
	}
	return best;
}

/*
 * It failed on @node. Each such host is remembered, so that of five hosts two that are unfit
 * are each tried once; when no other is left (@except is no candidate: a migration's source)
 * only the last one counts, and all are tried again in turn. A minute of running, an
 * operator's start or clear, or a migration to it makes the domain forget.
 */
void ha_place_failed(const struct ha_record *r, struct ha_domain *d, uint32_t node, uint32_t except)
{
	int slot = ha_record_slot(r, node);
	bool other = false;

	if (slot < 0)
		return;
	d->avoid |= 1ull << slot;
	for (int i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++)
		other |= r->nodes[i].id != except && !(d->avoid >> i & 1) &&
			 !ha_place_why_not(r, d, r->nodes[i].id);
	if (!other || MUTANT(M_AVOID_LAST))
		d->avoid = 1ull << slot;
}

/* Give the domain to @node: a new incarnation, never used before (rule H). */
void ha_place_start(struct ha_domain *d, uint32_t node)
{
	d->owner = node;
	d->incarnation = ++d->last_incarnation;
	d->phase = HA_STARTING;
	d->moves++;
}
