/* SPDX-License-Identifier: Apache-2.0 */
/* check - see check.h. */
#include "ha/core/record/check.h"

#include "ha/core/record/mutants.h"

#include <stdlib.h>

#define HOLDS(what)                   \
	do {                          \
		if (!(what))          \
			return #what; \
	} while (0)

static bool has_owner(enum ha_phase p)
{
	switch (p) {
	case HA_STARTING:
	case HA_RUNNING:
	case HA_STOPPING:
	case HA_MIGRATING:
		return true;
	case HA_STOPPED:
	case HA_WAITING:
	case HA_BACKOFF:
		return false;
	}
	abort(); /* a phase is one of these: readers refuse others, nobody computes one */
}

/* The destination, and all that is about it, is there while it migrates and at no other time. */
static const char *move_wrong(const struct ha_domain *d)
{
	bool moving = d->phase == HA_MIGRATING;

	HOLDS((d->move != HA_MOVE_NONE) == moving);
	HOLDS((d->target != 0) == moving);
	HOLDS((d->target_incarnation != 0) == moving);
	HOLDS(!moving || d->target != d->owner);
	HOLDS(!moving || d->target_incarnation > d->incarnation);
	HOLDS(moving || !d->dry_run);
	HOLDS(d->move == HA_MOVE_READY || !d->addr[0]);
	return NULL;
}

const char *ha_domain_wrong(const struct ha_domain *d)
{
	HOLDS(d->used);
	HOLDS(d->name[0]);
	HOLDS((d->owner != 0) == has_owner(d->phase));
	/* rule H: the number of a VMM that may run was given out, and none larger was */
	HOLDS(!d->owner || d->incarnation);
	HOLDS(d->incarnation <= d->last_incarnation);
	HOLDS(d->target_incarnation <= d->last_incarnation);
	HOLDS(d->moved_incarnation <= d->last_incarnation);
	HOLDS(!d->moved_from || (d->moved_incarnation && d->incarnation));
	HOLDS(d->phase != HA_STOPPED || !d->wanted);
	HOLDS((d->phase != HA_WAITING && d->phase != HA_BACKOFF) || d->wanted);
	HOLDS(d->phase != HA_BACKOFF || d->ha);
	/* an operator's wishes about a VMM end with it */
	HOLDS(!d->paused || d->phase == HA_RUNNING || d->phase == HA_MIGRATING || d->phase == HA_STOPPING);
	HOLDS(!d->force_stop || d->phase == HA_STOPPING || MUTANT(M_STOP_FORGOTTEN));
	HOLDS(d->n_claims <= HA_CLAIMS_MAX);
	HOLDS(d->conf_len <= HA_CONF_MAX);
	return move_wrong(d);
}

const char *ha_node_wrong(const struct ha_node_rec *n, bool member, uint32_t token)
{
	HOLDS(n->id);
	/* nobody fences a member, and no member is lost (rule F) */
	HOLDS(!member || !n->debt);
	HOLDS(!member || (!n->left && !n->grace));
	HOLDS(n->report_due || !n->reported);
	HOLDS(n->debt || !n->passed);
	HOLDS(n->debt || !n->fence_attempts);
	HOLDS(n->debt || !n->fence_ordered);
	HOLDS(member || !n->leased);
	HOLDS(!member || !n->apart);
	/* rule T: all times come from the largest token of all, and each member may still use that */
	HOLDS(!member || n->token <= token);
	HOLDS(!member || n->uses >= token);
	return NULL;
}

const char *ha_nodes_wrong(const struct ha_node_rec *nodes, ha_set members, uint64_t epoch, uint32_t token)
{
	ha_set used = 0;
	const char *wrong;

	for (uint32_t i = 0; i < HA_NODES_MAX; i++)
		used |= (ha_set)(nodes[i].id != 0) << i;
	HOLDS(!(used & (used + 1))); /* no hole */
	HOLDS(!(members & ~used));
	HOLDS(epoch || !used);
	for (uint32_t i = 0; i < HA_NODES_MAX && nodes[i].id; i++) {
		HOLDS(!(nodes[i].passed & ~used));
		for (uint32_t j = 0; j < i; j++)
			HOLDS(nodes[j].id != nodes[i].id);
		wrong = ha_node_wrong(&nodes[i], ha_set_has(members, i), token);
		if (wrong)
			return wrong;
	}
	return NULL;
}

const char *ha_record_wrong_at(const struct ha_record *r, uint32_t i)
{
	const struct ha_domain *d = &r->domains[i];

	HOLDS(i < r->n_domains && r->n_domains <= HA_DOMAINS_MAX);
	if (!d->used)
		return NULL;
	HOLDS(ha_record_find(r, d->name) == (int)i);
	HOLDS(!d->owner || ha_record_slot(r, d->owner) >= 0);
	HOLDS(!d->target || ha_record_slot(r, d->target) >= 0);
	return ha_domain_wrong(d);
}

const char *ha_record_wrong(const struct ha_record *r)
{
	const char *wrong = ha_nodes_wrong(r->nodes, r->members, r->epoch, r->token);

	HOLDS(!r->epoch == !r->voters.n); /* rule L: the first epoch says who votes */
	HOLDS(!r->epoch == !r->voters.version);

	HOLDS(r->n_domains <= HA_DOMAINS_MAX);
	for (uint32_t i = 0; i < HA_GROUPS_MAX; i++)
		HOLDS(!r->groups[i].used || (r->groups[i].name[0] && r->groups[i].n_hosts <= HA_NODES_MAX));
	for (uint32_t i = 0; i < r->n_domains && !wrong; i++)
		wrong = ha_record_wrong_at(r, i);
	return wrong;
}
