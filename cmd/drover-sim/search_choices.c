/* SPDX-License-Identifier: Apache-2.0 */
/* search_choices - see search_int.h: what can happen next, and how it happens. */
#include "cmd/drover-sim/search_int.h"

#include <stdlib.h>
#include <string.h>

bool search_whole(const struct world *w)
{
	for (uint32_t h = 1; h < w->n; h++)
		if (w->host[h].ring != w->host[0].ring)
			return false;
	return true;
}

/* The furthest that a member of @group has come in its ring. */
static uint32_t furthest(const struct world *w, uint32_t group)
{
	uint32_t max = 0;

	for (uint32_t h = 0; h < w->n; h++)
		if ((group >> h & 1) && w->host[h].next > max)
			max = w->host[h].next;
	return max;
}

static void add(struct choice *out, uint32_t *n, enum search_act act, uint32_t h, uint32_t a, uint32_t b)
{
	out[(*n)++] = (struct choice){ act, h, a, b };
}

/* The ring breaks: one side is a set with host 0 in it; each side has any share. */
static void breaks(const struct search *s, struct choice *out, uint32_t *n)
{
	const struct world *w = &s->w;
	uint32_t all = (1u << w->n) - 1, items = w->ring[w->host[0].ring].n;

	for (uint32_t side = 1; side < all; side += 2)
		for (uint32_t k = furthest(w, side); k <= items; k++)
			for (uint32_t m = furthest(w, all & ~side); m <= items; m++)
				add(out, n, BREAK, side, k, m);
}

uint32_t search_choices(const struct search *s, struct choice *out)
{
	const struct world *w = &s->w;
	uint32_t n = 0;

	for (uint32_t h = 0; h < w->n; h++) {
		const struct host *x = &w->host[h];

		if (!x->up) {
			add(out, &n, START, h, 0, 0);
			continue;
		}
		if (x->next < w->ring[x->ring].n)
			add(out, &n, DELIVER, h, 0, 0);
		if (x->n_send)
			add(out, &n, ORDER, h, 0, 0);
		if (x->durable < x->n_disk)
			add(out, &n, PERSIST, h, 0, 0);
		if (x->claim_step)
			add(out, &n, CLAIM, h, 0, 0);
		if (w->crashes < s->o.crashes) {
			add(out, &n, CRASH, h, 1, 0);
			if (x->durable < x->n_disk || x->claim_step == 2)
				add(out, &n, CRASH, h, 0, 0);
		}
	}
	if ((w->asks & 2) && w->host[1].up)
		add(out, &n, ASK_COMMIT, 1, 0, 0);
	if ((w->asks & 1) && w->host[0].up)
		add(out, &n, ASK_ABORT, 0, 0, 0);
	if (search_whole(w) && w->breaks < s->o.breaks)
		breaks(s, out, &n);
	else if (!search_whole(w) && w->breaks < s->o.breaks + 1)
		add(out, &n, BREAK, 0, 0, 0);
	return n;
}

/* Rings that meet again: nothing is lost inside either. */
void search_meet(struct search *s)
{
	struct world *w = &s->w;
	uint32_t r = w->n_rings++;

	w->ring[r].n = 0;
	w->ring[r].members = (1u << w->n) - 1;
	w->ring[r].hash = 7;
	for (uint32_t h = 0; h < w->n; h++) {
		struct host *x = &w->host[h];

		for (; x->up && x->next < w->ring[x->ring].n; x->next++)
			search_give_item(s, h, &w->ring[x->ring].items[x->next]);
		x->ring = r;
		x->next = 0;
	}
	search_append_view(w, r);
}

void search_take(struct search *s, const struct choice *c)
{
	struct world *w = &s->w;
	struct host *x = &w->host[c->h % HOSTS];
	struct ring *r = &w->ring[x->ring];
	uint32_t all = (1u << w->n) - 1;

	switch (c->act) {
	case DELIVER:
		search_give_item(s, c->h, &r->items[x->next++]);
		break;
	case ORDER:
		r->items[r->n++] = (struct item){ (int)x->sendq[0], 0 };
		r->hash = search_mix(r->hash, w->msgs[x->sendq[0]].hash);
		memmove(x->sendq, x->sendq + 1, --x->n_send * sizeof(x->sendq[0]));
		break;
	case PERSIST:
		search_persist(s, c->h);
		break;
	case ASK_COMMIT:
		w->asks &= ~2u;
		search_vmm(s, 1, w->to_incarnation, HA_VMM_ASK_COMMIT);
		break;
	case ASK_ABORT:
		w->asks &= ~1u;
		search_vmm(s, 0, w->incarnation, HA_VMM_ASK_ABORT);
		break;
	case BREAK:
		w->breaks++;
		if (!c->h) {
			search_meet(s);
			break;
		}
		search_regroup(s, c->h, c->a);
		search_regroup(s, all & ~c->h, c->b);
		break;
	case CRASH:
		w->crashes++;
		search_crash(s, c->h, c->a);
		break;
	case START:
		search_start(s, c->h);
		break;
	case CLAIM:
		search_claim(s, c->h);
		break;
	}
}
