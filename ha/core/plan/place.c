/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place - the one function that chooses a host, for start, recovery, migration
 * without a named target, and maintenance.
 *
 * A pure function of the record: every replica chooses alike.  Hard filters
 * first (member, leased, reported, no debt, no maintenance, group), then a host it
 * did not fail on lately, the highest priority, the fewest domains, the lowest id.
 */
#include "ha/core/plan/place.h"

#include "ha/core/record/mutants.h"

#include <assert.h>
#include <string.h>

/* The group of @d, NULL = any host. */
static const struct ha_group *group_of(const struct ha_record *r, const struct ha_domain *d)
{
	int g = d->group[0] ? ha_record_find_group(r, d->group) : -1;

	return g < 0 ? NULL : &r->groups[g];
}

/* In that group? *@priority is 0 for hosts outside an unrestricted group. */
static bool in_group(const struct ha_group *g, uint32_t id, int64_t *priority)
{
	*priority = 0;
	if (!g)
		return true;
	for (uint32_t i = 0; i < g->n_hosts; i++) {
		if (g->hosts[i].node == id) {
			*priority = g->hosts[i].priority;
			return true;
		}
	}
	*priority = (int64_t)INT32_MIN - 1; /* outside: after every host that is named */
	return !g->restricted;
}

/* What keeps anything from the host in @slot; NULL: nothing. */
static const char *host_why_not(const struct ha_record *r, int slot)
{
	if (slot < 0 || !ha_set_has(r->members, slot))
		return "is not a member of the cluster view";
	if (r->nodes[slot].debt)
		return "is lost and not proved dead";
	if (r->nodes[slot].report_due)
		return "has not yet told what it runs";
	if (!r->nodes[slot].leased && !MUTANT(M_LEASELESS))
		return "without a lease";
	if (r->nodes[slot].maintenance && !MUTANT(M_UNFIT))
		return "is in maintenance";
	return NULL;
}

const char *ha_place_why_not(const struct ha_record *r, const struct ha_domain *d, uint32_t id)
{
	const char *no = host_why_not(r, ha_record_slot(r, id));
	int64_t priority;

	if (!no && !in_group(group_of(r, d), id, &priority))
		return "is not in the domain's group";
	return no;
}

uint32_t ha_place(const struct ha_record *r, const struct ha_domain *d, uint32_t except)
{
	const struct ha_group *group = group_of(r, d);
	uint32_t best = 0, best_load = 0;
	int64_t best_priority = 0;
	bool best_avoid = false;

	for (int i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++) {
		uint32_t id = r->nodes[i].id, n = r->index.load[i];
		bool avoid = ha_set_has(d->avoid, i);
		int64_t priority;

		if (id == except || host_why_not(r, i) || !in_group(group, id, &priority))
			continue;
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
	assert(!best || !ha_place_why_not(r, d, best));
	assert(!best || best != except);
	return best;
}
