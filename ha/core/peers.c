/* SPDX-License-Identifier: Apache-2.0 */
/* peers - the table of hosts that this daemon knows of. */
#include "ha/core/core_int.h"

#include <assert.h>
#include <string.h>

struct ha_peer *ha_peer_find(struct ha_core *c, uint32_t id)
{
	uint32_t first = c->peer_at[id % sizeof(c->peer_at)];

	if (first < c->n_peers && c->peers[first].conf.id == id)
		return &c->peers[first];
	for (uint32_t i = 0; i < c->n_peers; i++)
		if (c->peers[i].conf.id == id)
			return &c->peers[i];
	return NULL;
}

/*
 * When it was heard last is what its proof of death counts from (rule F).  Our record may not know
 * yet what a host was given that we heard a moment ago; until its lease is over that is kept.
 */
static bool may_hold_a_lease(const struct ha_core *c, const struct ha_peer *p)
{
	return p->heard_ms && c->now < ha_proof_passed_at(c, p->conf.id);
}

/*
 * One that is in no list of corosync's any more and was in no agreement that counts, NULL = none.
 * Nor one whose proof of death may be sought.
 */
static struct ha_peer *forgettable(struct ha_core *c)
{
	for (uint32_t i = 0; i < c->n_peers; i++) {
		struct ha_peer *p = &c->peers[i];
		int slot = ha_record_slot(&c->rec, p->conf.id);

		if (p->configured || p->in_group || p->alive || p->conf.id == c->me || ha_set_has(c->form.parts, i) ||
		    may_hold_a_lease(c, p))
			continue;
		if ((slot < 0 || !c->rec.nodes[slot].debt) && !ha_record_may_run(&c->rec, p->conf.id))
			return p;
	}
	return NULL;
}

static void sort(struct ha_core *c)
{
	for (uint32_t i = 0; i < c->n_peers; i++) {
		uint32_t k = i;

		for (; k > 0 && c->peers[c->by_id[k - 1]].conf.id > c->peers[i].conf.id; k--)
			c->by_id[k] = c->by_id[k - 1];
		c->by_id[k] = (uint8_t)i;
	}
}

struct ha_peer *ha_peer_get(struct ha_core *c, uint32_t id)
{
	struct ha_peer *p = ha_peer_find(c, id);

	if (p || !id)
		return p;
	assert(c->n_peers <= HA_NODES_MAX);
	p = c->n_peers < HA_NODES_MAX ? &c->peers[c->n_peers++] : forgettable(c);
	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	p->conf.id = id;
	p->votes = ha_voters_of(ha_votes_list(c), id);
	c->peer_at[id % sizeof(c->peer_at)] = (uint8_t)(p - c->peers);
	sort(c);
	return p;
}
