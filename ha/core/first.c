/* SPDX-License-Identifier: Apache-2.0 */
/*
 * first - the first entry of an epoch, NEW_EPOCH, made from what those who agree said of
 * themselves in STATE (membership.c).  Everybody makes it for himself, and all the same.
 */
#include "ha/core/core_int.h"

#include <string.h>

/*
 * A host that leaves in order is seen to do so by those who are in the group with it at that
 * moment.  Who decides later whether to fence it may not be one of them: its own corosync was
 * away.  So all say what they saw, and NEW_EPOCH puts it into the record.
 */
void ha_first_put_left(const struct ha_core *c, struct ha_writer *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->n_peers; i++)
		n += c->peers[i].left && !MUTANT(M_LEFT_UNTOLD);
	ha_put_u32(w, n);
	for (uint32_t i = 0; n && i < c->n_peers; i++)
		if (c->peers[i].left)
			ha_put_u32(w, c->peers[i].conf.id);
}

void ha_first_get_left(struct ha_reader *r, struct ha_state *s)
{
	s->n_left = ha_get_u32(r);
	if (s->n_left > HA_NODES_MAX)
		r->bad = true;
	for (uint32_t i = 0; i < s->n_left && !r->bad; i++)
		s->left[i] = ha_get_u32(r);
}

static bool among(const uint32_t *ids, uint32_t n, uint32_t id)
{
	for (uint32_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* The lowest id above @last that one of those who agree saw leave, 0 = none. */
static uint32_t next_left(const struct ha_core *c, uint32_t last)
{
	uint32_t next = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_state *s = &c->peers[i].state;

		for (uint32_t k = 0; (c->form.parts >> i & 1) && k < s->n_left; k++)
			if (s->left[k] > last && (!next || s->left[k] < next))
				next = s->left[k];
	}
	return next;
}

/* Who is absent and was seen to leave; by rising id, for all must write the same. */
static void first_left(const struct ha_core *c, struct ha_entry *e)
{
	uint32_t id = 0;

	while ((id = next_left(c, id)) && e->n_left < HA_NODES_MAX)
		if (!among(e->members, e->n_members, id))
			e->left[e->n_left++] = id;
}

/* The first entry of the epoch: its members by rising node id. */
void ha_first_make(struct ha_core *c)
{
	struct ha_entry *e = &c->form.first;
	uint32_t last = 0;

	memset(e, 0, offsetof(struct ha_entry, members));
	e->n_left = 0;
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
	first_left(c, e);
}
