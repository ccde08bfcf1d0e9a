/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring - how corosync's rings break, share out what was on its way, form and merge
 * (net.c tells what the members see).
 */
#include "cmd/drover-sim/net.h"

#include <stdlib.h>

void ring_break(struct sim *s, struct sim_ring *r)
{
	uint32_t all = r->members;

	if (!r->live)
		return;
	r->live = false;
	for (uint32_t i = 0; i < r->n; i++) {
		struct sim_item *it = &r->items[i];

		it->got = it->from < SIM_HOSTS ? 1u << it->from : all;
		for (uint32_t h = 0; h < s->o.hosts; h++)
			if ((all >> h & 1) && s->host[h].ring == r &&
			    (s->host[h].next > i || sim_chance(s, 50)))
				it->got |= 1u << h;
	}
}

/* The rest of the old ring, for those who leave it together (@group). */
static void recover(struct sim *s, uint32_t h, uint32_t group)
{
	struct sim_host *x = &s->host[h];
	struct sim_ring *r = x->ring;
	bool hole = false;

	for (uint32_t i = 0; r && i < r->n; i++) {
		const struct sim_item *it = &r->items[i];
		bool have = (it->got & group) != 0;

		hole |= !have;
		if (i < x->next || !have)
			continue;
		if (hole && !(it->from < SIM_HOSTS && (group >> it->from & 1)))
			continue;
		if (i >= x->join_at)
			net_give_item(s, h, it);
	}
}

/*
 * Votequorum and CPG tell the same thing on two ways, and either may be seconds behind the
 * other (2.7 s were measured): a notice comes late, or comes before all that CPG delivers.
 */
static void quorum_notices(struct sim *s, struct sim_ring *r)
{
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		bool odd = !s->script && !s->quiet_world;
		uint64_t late = 10 * MS;

		if (!(r->members >> h & 1))
			continue;
		if (odd && sim_chance(s, 10))
			late = sim_chance(s, 30) ? 2700 * MS : 1000 * MS;
		sim_at(s, sim_range(s, 0, late), EV_QUORUM, h, r->id, s->host[h].gen, 0);
	}
}

static void slow_cpg(struct sim *s, struct sim_ring *r)
{
	for (uint32_t h = 0; h < s->o.hosts; h++)
		if ((r->members >> h & 1) && !s->script && !s->quiet_world && sim_chance(s, 3))
			s->host[h].pump_at = s->now + sim_range(s, 0, 2700 * MS);
}

/*
 * Of those who waited for a token longer than it may take, one has missed it and called the others
 * (who then do not), even where a host that comes has a new ring formed before they would have.
 */
static void miss_token(struct sim *s, uint32_t set)
{
	uint64_t token = sim_token(s);

	for (uint32_t h = 0; h < s->o.hosts; h++) {
		struct sim_host *x = &s->host[h];
		bool told = false;

		if (!(set >> h & 1) || !x->ring || !x->silent_us || s->now - x->silent_us < token)
			continue;
		for (uint32_t i = 0; i < s->o.hosts; i++)
			told |= s->host[i].ring == x->ring && s->host[i].missed;
		x->missed |= !told;
	}
	for (uint32_t h = 0; h < s->o.hosts; h++)
		if (set >> h & 1)
			s->host[h].silent_us = 0;
}

/* Who was in the old ring, is not in the new one and did not say that he leaves was waited for. */
static void wait_in_vain(struct sim *s, uint32_t set)
{
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		struct sim_host *x = &s->host[h];

		for (uint32_t j = 0; j < s->o.hosts && (set >> h & 1) && x->ring; j++)
			x->waited |= (x->ring->members & ~set) >> j & 1 && !s->host[j].said_leave;
	}
}

void ring_form(struct sim *s, uint32_t first)
{
	uint32_t set = 1u << first, ghost = 0;
	struct sim_ring *r;

	/* Whoever is without a ring and reaches all who are in already; lower ids first, or higher
	 * ones. */
	bool up = sim_chance(s, 50);

	for (uint32_t k = 0; k < s->o.hosts; k++) {
		uint32_t j = up ? k : s->o.hosts - 1 - k;
		bool ok = net_lives(s, j) && (!s->host[j].ring || !s->host[j].ring->live);

		for (uint32_t i = 0; i < s->o.hosts; i++)
			if ((set >> i & 1) && !net_linked(s, i, j))
				ok = false;
		if (ok)
			set |= 1u << j;
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		abort();
	r->id = ++s->ring_seq;
	r->members = set;
	r->live = true;
	miss_token(s, set);
	wait_in_vain(s, set);
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		struct sim_host *x = &s->host[h];
		uint32_t group = 0;

		if (!(set >> h & 1))
			continue;
		for (uint32_t j = 0; j < s->o.hosts; j++)
			if ((set >> j & 1) && s->host[j].ring == x->ring && x->ring)
				group |= 1u << j;
		x->reform_due = false;
		recover(s, h, group);
	}
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		struct sim_host *x = &s->host[h];

		if (!(set >> h & 1))
			continue;
		net_ring_put(x->ring);
		x->ring = r;
		r->refs++;
		x->next = x->join_at = 0;
		x->sendq_due = 0;
		x->pump_at = x->order_at = s->now;
		/* recover() ran daemons, which may have left: that is seen in the first view */
	}
	if (!s->quiet_world && sim_chance(s, 3)) {
		uint32_t g = (uint32_t)sim_range(s, 0, s->o.hosts - 1);

		if (!(set >> g & 1))
			ghost = 1u << g;
	}
	sim_trace(s, "ring %llu: hosts %x ghost %x", (unsigned long long)r->id, set, ghost);
	slow_cpg(s, r);
	net_append_view(s, r, ghost, 0);
	quorum_notices(s, r);
	if (!s->script && sim_chance(s, 30))
		sim_at(s, sim_range(s, 100 * MS, sim_token(s) * 6), EV_FLUX, first, r->id, 0, 0);
	for (uint32_t h = 0; h < s->o.hosts; h++)
		if (set >> h & 1)
			net_schedule_send(s, h);
	net_changed(s);
}

static bool ring_whole(const struct sim *s, const struct sim_ring *r)
{
	for (uint32_t i = 0; i < s->o.hosts; i++) {
		if (!(r->members >> i & 1))
			continue;
		if (!net_lives(s, i) || s->host[i].ring != r)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if ((r->members >> j & 1) && !net_linked(s, i, j))
				return false;
	}
	return true;
}

/* Two live rings whose members all reach each other will find each other. */
static bool can_merge(const struct sim *s)
{
	for (uint32_t i = 0; i < s->o.hosts; i++)
		for (uint32_t j = 0; j < i; j++)
			if (net_lives(s, i) && net_lives(s, j) && net_linked(s, i, j) &&
			    s->host[i].ring != s->host[j].ring && s->host[i].ring &&
			    s->host[j].ring && s->host[i].ring->live && s->host[j].ring->live)
				return true;
	return false;
}

/*
 * How long until @h gives its ring up (measured: detection is token + 1.2 token): who no longer hears a
 * member after 2.0 to 2.3 token; who hears everybody, but is not heard, after up to 5.
 */
static uint64_t gives_up(struct sim *s, uint32_t h)
{
	const struct sim_ring *r = s->host[h].ring;
	uint64_t token = sim_token(s);
	bool deaf = false, unheard = false;

	if (!r)
		return sim_range(s, 50 * MS, 400 * MS);
	for (uint32_t j = 0; j < s->o.hosts; j++) {
		if (!(r->members >> j & 1) || j == h)
			continue;
		deaf |= !net_lives(s, j) || s->host[j].ring != r || !s->link[j][h];
		unheard |= !s->link[h][j];
	}
	if (!deaf && unheard && !s->script)
		return sim_range(s, token * 23 / 10, token * 5);
	return sim_range(s, token * 2, token * (!s->script && sim_chance(s, 10) ? 40 : 23) / 10);
}

/* Somebody is heard who cannot hear us: its joins disturb the ring again and again. */
static bool disturbed(const struct sim *s, const struct sim_ring *r)
{
	for (uint32_t i = 0; i < s->o.hosts; i++)
		for (uint32_t j = 0; j < s->o.hosts; j++)
			if ((r->members >> i & 1) && !(r->members >> j & 1) && net_lives(s, j) &&
			    s->link[j][i] && !s->link[i][j])
				return true;
	return false;
}

void ring_flux(struct sim *s, uint32_t h, uint64_t id)
{
	struct sim_ring *r = s->host[h].ring;

	if (!r || r->id != id || !r->live || s->quiet_world || !disturbed(s, r))
		return;
	sim_trace(s, "ring %llu is disturbed by one that does not hear it", (unsigned long long)id);
	ring_break(s, r);
	for (uint32_t k = 0; k < r->n; k++)
		r->items[k].got = r->members;
	for (uint32_t i = 0; i < s->o.hosts; i++) {
		if (s->host[i].ring != r || !net_lives(s, i) || s->host[i].reform_due)
			continue;
		s->host[i].reform_due = true;
		sim_at(s, sim_range(s, 20 * MS, sim_token(s) * 13 / 10), EV_REFORM, i, 0, 0, 0);
	}
}

void net_changed(struct sim *s)
{
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		struct sim_host *x = &s->host[h];

		if (x->ring && x->ring->live && !ring_whole(s, x->ring))
			ring_break(s, x->ring);
	}
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		struct sim_host *x = &s->host[h];

		if (!net_lives(s, h) || x->reform_due || (x->ring && x->ring->live))
			continue;
		x->reform_due = true;
		x->silent_us = x->ring ? s->now : 0;
		sim_at(s, gives_up(s, h), EV_REFORM, h, 1 /* it missed its token */, 0, 0);
	}
	if (can_merge(s))
		sim_at(s, sim_range(s, 20 * MS, sim_token(s) * 14 / 10), EV_MERGE, 0,
		       ++s->merge_gen, 0, 0);
}

void net_heal(struct sim *s)
{
	for (int i = 0; i < SIM_HOSTS; i++)
		for (int j = 0; j < SIM_HOSTS; j++)
			s->link[i][j] = true;
	net_changed(s);
}

void net_cut(struct sim *s, uint32_t side, bool one_way)
{
	for (uint32_t i = 0; i < s->o.hosts; i++)
		for (uint32_t j = 0; j < s->o.hosts; j++)
			if ((side >> i & 1) != (side >> j & 1) && (!one_way || (side >> i & 1)))
				s->link[i][j] = false;
	net_changed(s);
}

void ring_merge(struct sim *s)
{
	bool broke = false;

	if (!can_merge(s))
		return;
	for (uint32_t i = 0; i < s->o.hosts; i++) {
		for (uint32_t j = 0; j < s->o.hosts; j++) {
			struct sim_ring *a = s->host[i].ring, *b = s->host[j].ring;

			if (net_lives(s, i) && net_lives(s, j) && net_linked(s, i, j) && a != b && a && b) {
				/* Members of both go on together: nothing is lost inside either. */
				if (a->live) {
					ring_break(s, a);
					for (uint32_t k = 0; k < a->n; k++)
						a->items[k].got = a->members;
				}
				broke = true;
			}
		}
	}
	for (uint32_t h = 0; broke && h < s->o.hosts; h++) {
		if (!net_lives(s, h) || (s->host[h].ring && s->host[h].ring->live))
			continue;
		s->host[h].reform_due = true;
		sim_at(s, sim_range(s, 5 * MS, 60 * MS), EV_REFORM, h, 0, 0, 0);
	}
}
