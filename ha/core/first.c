/* SPDX-License-Identifier: Apache-2.0 */
/*
 * first - the first entry of an epoch, NEW_EPOCH, made from what those who agree said of
 * themselves in STATE (membership.c).  Everybody makes it for himself, and all the same.
 */
#include "ha/core/core_int.h"

#include <string.h>

/*
 * How a host went is seen by those who are in the group with it at that moment.  Who decides
 * later whether to fence it may not be one of them: its own corosync was away.  So all say
 * what they saw, and NEW_EPOCH puts it into the record.
 *
 *   left     it said so, or its process ended: CPG tells
 *   silent   it said nothing, and the ring had fallen silent: a token did not come, which is how
 *            corosync notices a crash
 *   sudden   it said nothing, and nobody missed a token: the ring was formed anew because somebody
 *            wanted it to be.  Most likely it left in order while that was going on, when nobody
 *            can say good-bye
 *
 * One member misses the token first and calls the others together, who then do not miss it: so a
 * host is sudden if no member says silent of that loss.
 *
 * What was seen is about one loss: whoever tells it may have been away since, while the host
 * came back to the others and was lost again.  So it goes with the epoch of that time: the
 * newest of our log, or what the host itself had promised then.  In each later view it promises
 * more, so an epoch that has it as a member again is above both.
 */
void ha_first_lost(struct ha_core *c, uint64_t were, bool silence)
{
	for (uint32_t i = 0; i < c->n_peers; i++) {
		struct ha_peer *p = &c->peers[i];

		if (!(were >> i & 1) || p->in_group)
			continue;
		p->silent = silence;
		p->sudden = !silence && !MUTANT(M_SUDDEN_CRASH);
		p->gone_epoch = p->state.promised > c->log.epoch ? p->state.promised : c->log.epoch;
	}
}

enum sight { SIGHT_LEFT, SIGHT_SUDDEN, SIGHT_SILENT };

static bool seen(const struct ha_peer *p, enum sight sight)
{
	switch (sight) {
	case SIGHT_LEFT:
		return p->left && !MUTANT(M_LEFT_UNTOLD);
	case SIGHT_SUDDEN:
		return p->sudden;
	case SIGHT_SILENT:
		return p->silent;
	}
	return false;
}

static void put_ids(const struct ha_core *c, struct ha_writer *w, enum sight sight)
{
	uint64_t set = 0;

	for (uint32_t i = 0; i < c->n_peers; i++)
		if (seen(&c->peers[i], sight))
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
	put_ids(c, w, SIGHT_LEFT);
	put_ids(c, w, SIGHT_SUDDEN);
	put_ids(c, w, SIGHT_SILENT);
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
	get_ids(r, &s->silent);
}

static const struct ha_ids *told(const struct ha_state *s, enum sight sight)
{
	return sight == SIGHT_LEFT ? &s->left : sight == SIGHT_SUDDEN ? &s->sudden : &s->silent;
}

/* The lowest id above @last that one of those who agree told, 0 = none. */
static uint32_t next_told(const struct ha_core *c, enum sight sight, uint32_t last)
{
	uint32_t next = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_ids *ids = told(&c->peers[i].state, sight);

		for (uint32_t k = 0; (c->form.parts >> i & 1) && k < ids->n; k++)
			if (ids->id[k] > last && (!next || ids->id[k] < next))
				next = ids->id[k];
	}
	return next;
}

/* The newest epoch in which one of those who agree saw @id go. */
static uint64_t newest_told(const struct ha_core *c, enum sight sight, uint32_t id)
{
	uint64_t newest = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_ids *ids = told(&c->peers[i].state, sight);

		for (uint32_t k = 0; (c->form.parts >> i & 1) && k < ids->n; k++)
			if (ids->id[k] == id && ids->epoch[k] > newest)
				newest = ids->epoch[k];
	}
	return newest;
}

/* Who is absent and was seen to go; by rising id, for all must write the same. */
static void gather_told(const struct ha_core *c, const struct ha_entry *e, enum sight sight, struct ha_ids *out)
{
	uint32_t id = 0;

	out->n = 0;
	while ((id = next_told(c, sight, id)) && out->n < HA_NODES_MAX) {
		uint64_t newest = newest_told(c, sight, id);

		if (ha_entry_has_member(e, id))
			continue;
		if (sight == SIGHT_SUDDEN && newest_told(c, SIGHT_SILENT, id) >= newest && !MUTANT(M_OWN_SILENCE))
			continue;
		out->epoch[out->n] = newest;
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
	gather_told(c, e, SIGHT_LEFT, &e->left);
	gather_told(c, e, SIGHT_SUDDEN, &e->sudden);
}
