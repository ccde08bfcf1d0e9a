/* SPDX-License-Identifier: Apache-2.0 */
/*
 * first - the first entry of an epoch, NEW_EPOCH, made from what those who agree said of
 * themselves in STATE (membership.c).  Everybody makes it for himself, and all the same.
 */
#include "ha/core/core_int.h"

#include <string.h>

/* Hosts may have different tokens (agreed.c); silence is noticed by whoever has the shortest. */
static uint32_t shortest_token(const struct ha_core *c, uint64_t hosts)
{
	uint32_t token = c->token;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		int slot = ha_record_slot(&c->rec, c->peers[i].conf.id);
		uint32_t said = c->peers[i].state.token, now = slot < 0 ? 0 : c->rec.nodes[slot].token;

		if (!(hosts >> i & 1) || MUTANT(M_OWN_SILENCE))
			continue;
		token = said && said < token ? said : token;
		token = now && now < token ? now : token;
	}
	return token;
}

/*
 * How a host went is seen by those who are in the group with it at that moment.  Who decides
 * later whether to fence it may not be one of them: its own corosync was away.  So all say
 * what they saw, and NEW_EPOCH puts it into the record.
 *
 *   left     it said so, or its process ended: CPG tells
 *   sudden   it said nothing, but it cannot have crashed either: the ring notices silence after
 *            a token, and this one was heard less than a token ago.  Most likely it left in
 *            order while the ring was forming anew, when nobody can say good-bye
 *
 * What was seen is about one loss: whoever tells it may have been away since, while the host
 * came back to the others and was lost again.  So it goes with the epoch of that time: the
 * newest of our log, or what the host itself had promised then.  In each later view it promises
 * more, so an epoch that has it as a member again is above both.
 */
void ha_first_lost(struct ha_core *c, uint64_t were)
{
	uint32_t token = shortest_token(c, were);

	for (uint32_t i = 0; i < c->n_peers; i++) {
		struct ha_peer *p = &c->peers[i];

		if ((were >> i & 1) && !p->in_group && p->heard_ms && c->now - p->heard_ms < token &&
		    !MUTANT(M_SUDDEN_CRASH))
			p->sudden = true;
		if ((were >> i & 1) && !p->in_group)
			p->gone_epoch = p->state.promised > c->log.epoch ? p->state.promised : c->log.epoch;
	}
}

static void put_ids(const struct ha_core *c, struct ha_writer *w, bool sudden)
{
	uint64_t set = 0;

	for (uint32_t i = 0; i < c->n_peers; i++)
		if (sudden ? c->peers[i].sudden : c->peers[i].left && !MUTANT(M_LEFT_UNTOLD))
			set |= 1ull << i;
	ha_put_u32(w, (uint32_t)__builtin_popcountll(set));
	for (uint32_t i = 0; i < c->n_peers; i++) {
		if (!(set >> i & 1))
			continue;
		ha_put_u32(w, c->peers[i].conf.id);
		ha_put_u64(w, c->peers[i].gone_epoch);
	}
}

void ha_first_put(const struct ha_core *c, struct ha_writer *w)
{
	put_ids(c, w, false);
	put_ids(c, w, true);
}

static void get_ids(struct ha_reader *r, struct ha_ids *ids)
{
	ids->n = ha_get_u32(r);
	if (ids->n > HA_NODES_MAX)
		r->bad = true;
	for (uint32_t i = 0; i < ids->n && !r->bad; i++) {
		ids->id[i] = ha_get_u32(r);
		ids->epoch[i] = ha_get_u64(r);
	}
}

void ha_first_get(struct ha_reader *r, struct ha_state *s)
{
	get_ids(r, &s->left);
	get_ids(r, &s->sudden);
}

static const struct ha_ids *told(const struct ha_state *s, bool sudden)
{
	return sudden ? &s->sudden : &s->left;
}

static bool among(const uint32_t *ids, uint32_t n, uint32_t id)
{
	for (uint32_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* The lowest id above @last that one of those who agree told, 0 = none. */
static uint32_t next_told(const struct ha_core *c, bool sudden, uint32_t last)
{
	uint32_t next = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_ids *ids = told(&c->peers[i].state, sudden);

		for (uint32_t k = 0; (c->form.parts >> i & 1) && k < ids->n; k++)
			if (ids->id[k] > last && (!next || ids->id[k] < next))
				next = ids->id[k];
	}
	return next;
}

/* The newest epoch in which one of those who agree saw @id go. */
static uint64_t newest_told(const struct ha_core *c, bool sudden, uint32_t id)
{
	uint64_t newest = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_ids *ids = told(&c->peers[i].state, sudden);

		for (uint32_t k = 0; (c->form.parts >> i & 1) && k < ids->n; k++)
			if (ids->id[k] == id && ids->epoch[k] > newest)
				newest = ids->epoch[k];
	}
	return newest;
}

/* Who is absent and was seen to go; by rising id, for all must write the same. */
static void gather_told(const struct ha_core *c, const struct ha_entry *e, bool sudden, struct ha_ids *out)
{
	uint32_t id = 0;

	out->n = 0;
	while ((id = next_told(c, sudden, id)) && out->n < HA_NODES_MAX) {
		if (among(e->members, e->n_members, id))
			continue;
		out->epoch[out->n] = newest_told(c, sudden, id);
		out->id[out->n++] = id;
	}
}

/* The first entry of the epoch: its members by rising node id. */
void ha_first_make(struct ha_core *c)
{
	struct ha_entry *e = &c->form.first;
	uint32_t last = 0;

	memset(e, 0, offsetof(struct ha_entry, members));
	e->kind = HA_E_NEW_EPOCH;
	e->epoch = c->form.target;
	e->cluster = ha_foreign_home(c, c->form.parts);
	for (;;) {
		const struct ha_peer *next = NULL;

		for (uint32_t i = 0; i < c->n_peers; i++) {
			const struct ha_peer *p = &c->peers[i];

			if ((c->form.parts >> i & 1) && p->conf.id > last &&
			    (!next || p->conf.id < next->conf.id))
				next = p;
		}
		if (!next)
			break;
		if (!e->cluster)
			e->cluster = next->state.draw;
		e->members[e->n_members] = last = next->conf.id;
		e->tokens[e->n_members] = next->state.token;
		e->levels[e->n_members] = next->state.level;
		e->fresh[e->n_members++] = next->state.fresh;
	}
	gather_told(c, e, false, &e->left);
	gather_told(c, e, true, &e->sudden);
}
