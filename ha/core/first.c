/* SPDX-License-Identifier: Apache-2.0 */
/*
 * first - the first entry of an epoch, NEW_EPOCH, made from what those who agree said of
 * themselves in STATE (membership.c).  Everybody makes it for himself, and all the same.
 */
#include "ha/core/core_int.h"

#include <assert.h>
#include <string.h>

/*
 * How a host went is seen by those who are in the group with it at that moment.  Who decides
 * later whether to fence it may not be one of them: its own corosync was away.  So all say
 * what they saw, and NEW_EPOCH puts it into the record.
 *
 *   left     it said so, or its process ended: CPG tells
 *   called   it said nothing, but nobody missed it: the ring was formed anew because somebody wanted
 *            it to be, and all whom corosync asked have answered.  It left in order: corosync does not
 *            wait until its good-bye is heard, and while a ring forms nobody can say one
 *   stalled  it said nothing, and corosync waited for an answer when it formed the ring anew: for its,
 *            which then has crashed, or for another's
 *   silent   it said nothing, and the token did not come, which is how corosync notices a crash
 *
 * One member misses the token first and calls the others together, who then do not miss it, but
 * they all wait for the answer of one that crashed.  So the gravest counts that any of them saw.
 *
 * What was seen is about one loss: whoever tells it may have been away since, while the host
 * came back to the others and was lost again.  So it goes with the epoch of that time: the
 * newest of our log, or what the host itself had promised then, which is heard by who was voted out
 * too.  In each later view it promises more, so an epoch that has it as a member again is above both.
 */
void ha_first_lost(struct ha_core *c, ha_set were, ha_set left, enum ha_ring ring)
{
	static const enum ha_sight without_a_word[] = {
		[HA_RING_CALLED] = HA_SIGHT_CALLED,
		[HA_RING_STALLED] = HA_SIGHT_STALLED,
		[HA_RING_SILENT] = HA_SIGHT_SILENT,
	};

	for (uint32_t i = 0; i < c->n_peers; i++) {
		struct ha_peer *p = &c->peers[i];

		/* Who leaves while we are on our way out ourselves, voted out, is no member of our view, and leaves all the same. */
		if (!ha_set_has(were | left, i) || p->in_group)
			continue;
		/* It had gone and never spoke since: CPG listed it all the same (corosync #828), and stops. */
		if (p->sight != HA_SIGHT_NONE && !ha_set_has(left, i))
			continue;
		p->sight = ha_set_has(left, i) ? HA_SIGHT_LEFT : without_a_word[ring];
		p->gone_epoch = p->state.promised > c->log.epoch ? p->state.promised : c->log.epoch;
	}
}

static enum ha_sight seen(const struct ha_peer *p)
{
	if ((p->sight == HA_SIGHT_LEFT && MUTANT(M_LEFT_UNTOLD)) || (p->sight == HA_SIGHT_CALLED && MUTANT(M_CALLED_CRASH)))
		return HA_SIGHT_NONE;
	return p->sight == HA_SIGHT_STALLED && MUTANT(M_STALL_LEFT) ? HA_SIGHT_CALLED : p->sight;
}

void ha_first_put(const struct ha_core *c, struct ha_writer *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->n_peers; i++)
		n += seen(&c->peers[i]) != HA_SIGHT_NONE;
	ha_put_u32(w, n);
	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_peer *p = &c->peers[i];

		if (seen(p) == HA_SIGHT_NONE)
			continue;
		ha_put_u32(w, p->conf.id);
		ha_put_u64(w, p->gone_epoch);
		ha_put_u8(w, (uint8_t)seen(p));
	}
}

void ha_first_get(struct ha_reader *r, struct ha_state *s)
{
	s->gone.n = ha_get_u32(r);
	if (s->gone.n > HA_NODES_MAX)
		r->bad = true;
	for (uint32_t i = 0; i < s->gone.n && !r->bad; i++) {
		uint8_t sight;

		s->gone.id[i] = ha_get_u32(r);
		s->gone.epoch[i] = ha_get_u64(r);
		sight = ha_get_u8(r);
		if (sight == HA_SIGHT_NONE || sight >= HA_SIGHTS)
			r->bad = true;
		s->gone.sight[i] = (enum ha_sight)sight;
	}
}

/* The lowest id above @last that one of those who agree saw go, 0 = none. */
static uint32_t next_gone(const struct ha_core *c, uint32_t last)
{
	uint32_t next = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_state *s = &c->peers[i].state;

		for (uint32_t k = 0; ha_set_has(c->form.parts, i) && k < s->gone.n; k++)
			if (s->gone.id[k] > last && (!next || s->gone.id[k] < next))
				next = s->gone.id[k];
	}
	return next;
}

/* The newest epoch in which one of those who agree saw @id go like that, 0 = nobody did. */
static uint64_t newest(const struct ha_core *c, enum ha_sight sight, uint32_t id)
{
	uint64_t epoch = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_state *s = &c->peers[i].state;

		for (uint32_t k = 0; ha_set_has(c->form.parts, i) && k < s->gone.n; k++)
			if (s->gone.id[k] == id && s->gone.sight[k] == sight && s->gone.epoch[k] > epoch)
				epoch = s->gone.epoch[k];
	}
	return epoch;
}

static void ids_add(struct ha_ids *ids, uint32_t id, uint64_t epoch)
{
	if (!epoch)
		return;
	assert(ids->n < HA_NODES_MAX);
	ids->epoch[ids->n] = epoch;
	ids->id[ids->n++] = id;
}

/* What all sights of @id together say; by the newest of them, as each is about one loss. */
static void gather_sights(const struct ha_core *c, struct ha_entry *e, uint32_t id)
{
	uint64_t left = newest(c, HA_SIGHT_LEFT, id), called = newest(c, HA_SIGHT_CALLED, id);
	uint64_t stalled = newest(c, HA_SIGHT_STALLED, id), silent = newest(c, HA_SIGHT_SILENT, id);

	if (MUTANT(M_OWN_SILENCE) && (called || stalled))
		silent = 0;
	if (called > stalled && called > silent && called > left)
		left = called;
	ids_add(&e->left, id, left);
	ids_add(&e->unsure, id, stalled > silent ? stalled : 0);
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
	e->voters.n = 0;
	if (c->form.brings)
		e->voters = c->form.voters;
	e->leans = c->form.leans;
	for (;;) {
		const struct ha_peer *next = NULL;

		for (uint32_t i = 0; i < c->n_peers; i++) {
			const struct ha_peer *p = &c->peers[i];

			if (ha_set_has(c->form.parts, i) && p->conf.id > last &&
			    (!next || p->conf.id < next->conf.id))
				next = p;
		}
		if (!next)
			break;
		if (!e->cluster)
			e->cluster = next->state.draw;
		assert(e->n_members < HA_NODES_MAX && next->state.have);
		assert(next->state.promised == c->form.target);
		e->members[e->n_members] = last = next->conf.id;
		e->tokens[e->n_members] = next->state.token;
		e->levels[e->n_members] = next->state.level;
		e->sizes[e->n_members] = next->state.size;
		e->fresh[e->n_members++] = next->state.fresh;
	}
	assert(ha_entry_has_member(e, c->me));
	e->left.n = e->unsure.n = 0;
	for (uint32_t id = next_gone(c, 0), n = 0; id && n < HA_NODES_MAX; id = next_gone(c, id)) {
		if (ha_entry_has_member(e, id))
			continue;
		gather_sights(c, e, id);
		n++;
	}
}
