/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net - corosync as the cores see it.
 *
 * A ring is a set of hosts with one total order of items: messages, and views of
 * the CPG group.  Each member takes the items one by one, at its own pace.  When
 * a member dies or a link fails, the ring stands still (no token, no messages).
 * After about 2.2 token its members form new rings with whom they reach.  What
 * was on its way is then shared out as extended virtual synchrony promises
 * (Moser et al. 1994), and no better:
 *
 *   - each item not yet delivered everywhere was physically received by a random
 *     set of members, its sender always among them;
 *   - members that go to the same new ring deliver the same items before it:
 *     those that any one of them has, up to the first hole; behind a hole only
 *     what one of them sent.
 *
 * So a sender that ends up alone delivers its own last messages, and nobody else
 * ever sees them.  What was not yet ordered stays in the sender's queue and is
 * ordered in its next ring, whatever that is.
 */
#include "cmd/drover-sim/net.h"

#include "ha/core/record/codec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void msg_put(struct sim_msg *m)
{
	assert(!m || m->refs);
	if (m && !--m->refs)
		free(m);
}

void net_ring_put(struct sim_ring *r)
{
	assert(!r || r->refs);
	if (!r || --r->refs)
		return;
	for (uint32_t i = 0; i < r->n; i++)
		msg_put(r->items[i].msg);
	free(r->items);
	free(r);
}

bool net_lives(const struct sim *s, uint32_t h)
{
	return s->host[h].up && !s->host[h].paused && s->host[h].corosync;
}

bool net_linked(const struct sim *s, uint32_t a, uint32_t b)
{
	return a == b || (s->link[a][b] && s->link[b][a]);
}

void net_init(struct sim *s)
{
	for (int i = 0; i < SIM_HOSTS; i++)
		for (int j = 0; j < SIM_HOSTS; j++)
			s->link[i][j] = true;
}

static void sendq_clear(struct sim_host *x)
{
	for (uint32_t i = 0; i < x->sendq_n; i++)
		msg_put(x->sendq[i]);
	x->sendq_n = 0;
	x->sendq_due = 0;
}

void net_free(struct sim *s)
{
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		struct sim_host *x = &s->host[h];

		sendq_clear(x);
		free(x->sendq);
		x->sendq = NULL;
		x->sendq_size = 0;
		net_ring_put(x->ring);
		x->ring = NULL;
	}
}

static struct sim_item *append(struct sim_ring *r)
{
	if (r->n == r->size) {
		r->size = r->size ? r->size * 2 : 64;
		r->items = realloc(r->items, r->size * sizeof(*r->items));
		if (!r->items)
			abort();
	}
	assert(r->live && r->n < r->size); /* a ring that broke has its last item */
	memset(&r->items[r->n], 0, sizeof(*r->items));
	return &r->items[r->n++];
}

/* Each member will take the newest item some time soon, in order. */
static void pump_all(struct sim *s, struct sim_ring *r)
{
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		struct sim_host *x = &s->host[h];
		uint64_t at = s->now + sim_range(s, 50, sim_chance(s, 3) ? 30 * MS : 1000);

		if (x->ring != r)
			continue;
		if (at < x->pump_at)
			at = x->pump_at;
		x->pump_at = at;
		sim_at(s, at - s->now, EV_PUMP, h, r->id, 0, 0);
	}
}

/* @left: who left the group by its own will, one host at most */
void net_append_view(struct sim *s, struct sim_ring *r, uint32_t ghost, uint32_t left)
{
	struct sim_item *it = append(r);

	assert(!(left & (left - 1))); /* one at a time */
	it->from = SIM_HOSTS;
	it->ghost = ghost;
	it->left = left;
	it->leave = left ? s->host[__builtin_ctz(left)].leaves : 0;
	for (uint32_t h = 0; h < s->o.hosts; h++)
		if ((r->members >> h & 1) && s->host[h].joined)
			it->view |= 1u << h;
	pump_all(s, r);
}

/* RENEW, as a host with another record would say it (msg.c). */
static struct sim_msg *spoil(const struct sim_msg *m)
{
	static const uint32_t digest = 2 + 3 * 8;
	struct sim_msg *n = malloc(sizeof(*n) + m->len);

	if (!n)
		abort();
	memcpy(n, m, sizeof(*n) + m->len);
	n->refs = 1;
	if (n->len > digest && n->bytes[1] == 6 /* RENEW */)
		n->bytes[digest] ^= 1;
	return n;
}

/* STATE (msg.c) begins with what its host promised. */
static void note_promise(struct sim_host *x, const struct sim_item *it)
{
	const struct sim_msg *m = it->msg;
	uint64_t epoch = 0;

	if (m->len < 2 + 8 || m->bytes[1] != 1 /* STATE */)
		return;
	for (int i = 7; i >= 0; i--)
		epoch = epoch << 8 | m->bytes[2 + i];
	x->promise[it->from].gen = x->gen;
	x->promise[it->from].epoch = epoch;
}

static void note_left(struct sim_host *x, const struct sim_item *it, uint32_t j)
{
	bool left = it->left >> j & 1;
	uint64_t known = ha_core_record(x->core)->epoch;

	if (x->promise[j].gen == x->gen && x->promise[j].epoch > known)
		known = x->promise[j].epoch;
	x->saw_left[j].gen = left ? x->gen : 0;
	x->saw_left[j].leave = it->leave;
	x->saw_left[j].epoch = known;
}

void net_give_item(struct sim *s, uint32_t h, const struct sim_item *it)
{
	struct sim_in in = { 0 };
	bool spoiled;

	if (!s->host[h].daemon || !s->host[h].joined)
		return;
	if (it->msg) {
		note_promise(&s->host[h], it);
		in.kind = HA_EV_DELIVER;
		in.msg = s->host[it->from].spoiled != s->host[h].spoiled ? spoil(it->msg) : it->msg;
		in.node = it->from;
	} else {
		if (!(it->view >> h & 1))
			return;
		in.kind = HA_EV_VIEW;
		in.mask = it->view;
		in.ghost = it->ghost;
		in.left = it->left;
		in.ring_went = s->host[h].missed ? HA_RING_SILENT : s->host[h].waited ? HA_RING_STALLED :
											HA_RING_CALLED;
		s->host[h].missed = s->host[h].waited = false;
		for (uint32_t j = 0; j < s->o.hosts; j++)
			if ((it->left | it->view) >> j & 1)
				note_left(&s->host[h], it, j);
	}
	spoiled = in.msg != it->msg;
	host_give(s, h, &in); /* the ring may grow: @it is not to be looked at any more */
	if (spoiled)
		msg_put(in.msg);
}

static void pump(struct sim *s, uint32_t h, uint64_t ring)
{
	struct sim_host *x = &s->host[h];

	if (!x->ring || x->ring->id != ring || !x->ring->live || x->next >= x->ring->n)
		return;
	x->next++;
	assert(x->next <= x->ring->n && x->join_at <= x->ring->n);
	if (x->next > x->join_at)
		net_give_item(s, h, &x->ring->items[x->next - 1]);
}

void net_schedule_send(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	if (!x->ring || !x->ring->live)
		return;
	for (; x->sendq_due < x->sendq_n; x->sendq_due++) {
		uint64_t at = s->now + sim_range(s, 100, sim_chance(s, 3) ? 20 * MS : 1500);

		if (at < x->order_at)
			at = x->order_at;
		x->order_at = at;
		sim_at(s, at - s->now, EV_ORDER, h, x->ring->id, x->gen, 0);
	}
}

void net_send(struct sim *s, uint32_t h, const uint8_t *p, size_t len)
{
	struct sim_host *x = &s->host[h];
	struct sim_msg *m;

	if (!x->joined)
		return;
	m = malloc(sizeof(*m) + len);
	if (!m)
		abort();
	assert(x->sendq_due <= x->sendq_n && x->sendq_n <= x->sendq_size);
	m->refs = 1;
	m->from = h;
	m->len = (uint32_t)len;
	memcpy(m->bytes, p, len);
	if (x->sendq_n == x->sendq_size) {
		x->sendq_size = x->sendq_size ? x->sendq_size * 2 : 16;
		x->sendq = realloc(x->sendq, x->sendq_size * sizeof(*x->sendq));
		if (!x->sendq)
			abort();
	}
	x->sendq[x->sendq_n++] = m;
	net_schedule_send(s, h);
}

/* An entry of a kind that nobody here knows, as a daemon of a newer version may propose it. */
void net_send_unknown(struct sim *s, uint32_t h)
{
	uint8_t bytes[2 + 8 + 4 + 4] = { HA_MSG_VERSION, 4 /* ENTRY */ };
	struct ha_status st;

	ha_core_status(s->host[h].core, &st);
	memcpy(bytes + 2, &st.epoch, 8); /* the simulator runs on little-endian machines */
	bytes[10] = 4;
	memcpy(bytes + 14, (uint8_t[]){ HA_ENTRY_VERSION, 200, 9, 0 }, 4);
	net_send(s, h, bytes, sizeof(bytes));
}

static void order(struct sim *s, uint32_t h, uint64_t ring, uint64_t gen)
{
	struct sim_host *x = &s->host[h];
	struct sim_item *it;

	if (!x->ring || x->ring->id != ring || !x->ring->live || x->gen != gen || !x->sendq_n ||
	    !x->joined)
		return;
	it = append(x->ring);
	assert(x->sendq[0]->from == h && x->ring->members >> h & 1);
	it->msg = x->sendq[0];
	it->from = h;
	memmove(x->sendq, x->sendq + 1, (x->sendq_n - 1) * sizeof(*x->sendq));
	x->sendq_n--;
	if (x->sendq_due)
		x->sendq_due--;
	pump_all(s, x->ring);
}

static void join(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	if (!x->daemon || x->joined || !net_lives(s, h))
		return;
	x->joined = true;
	x->left = false;
	if (!x->ring || !x->ring->live)
		return;
	x->join_at = x->ring->n;
	net_append_view(s, x->ring, 0, 0);
	sim_at(s, sim_range(s, 0, 5 * MS), EV_QUORUM, h, x->ring->id, x->gen, 0);
}

void net_leave(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	if (!x->joined)
		return;
	x->joined = false;
	x->leaves++;
	sendq_clear(x);
	if (x->ring && x->ring->live)
		net_append_view(s, x->ring, 0, 1u << h);
}

/* Whatever corosync had in memory goes with it: what was not ordered yet, and its place in the ring. */
void net_gone(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	x->corosync = x->joined = false;
	sendq_clear(x);
	net_changed(s);
	net_ring_put(x->ring);
	x->ring = NULL;
	x->reform_due = false;
	x->silent_us = 0;
}

void net_corosync_crash(struct sim *s, uint32_t h, uint64_t away_us)
{
	struct sim_host *x = &s->host[h];
	struct sim_in in = { .kind = HA_EV_CPG_LOST };

	if (!x->up || !x->corosync)
		return;
	sim_trace(s, "n%u: corosync dies", x->id);
	net_gone(s, h);
	if (x->daemon)
		host_give(s, h, &in);
	sim_at(s, away_us ? away_us : sim_range(s, 300 * MS, 3000 * MS), EV_COROSYNC_UP, h, 0, 0, 0);
}

/* Whoever waits for a token of @r that will not come stops waiting for it, as it is to form a new ring now. */
static void leave_cuts_in(struct sim *s, const struct sim_ring *r)
{
	for (uint32_t i = 0; i < s->o.hosts; i++)
		if (r && s->host[i].ring == r && s->now - s->host[i].silent_us < sim_token(s))
			s->host[i].silent_us = 0;
}

/*
 * SIGTERM: the group hears that the process ended, the ring hears a leave, and the others
 * form a new one at once, without waiting for a token (measured: 3 to 40 ms).  While a ring is
 * forming (another host has just come or gone) the first of the two is lost, and what forms may
 * take its time (2 s were measured with a token of 1 s): @heard is false.
 */
void net_corosync_stop(struct sim *s, uint32_t h, uint64_t away_us, bool heard)
{
	struct sim_host *x = &s->host[h];
	struct sim_ring *r = x->ring;

	if (!net_lives(s, h))
		return;
	x->left = x->joined && heard;
	x->said_leave = true;
	if (heard)
		net_leave(s, h);
	leave_cuts_in(s, r);
	if (r && r->live) {
		ring_break(s, r);
		for (uint32_t i = 0; i < r->n; i++)
			r->items[i].got = r->members;
		for (uint32_t j = 0; j < s->o.hosts; j++) {
			if (j == h || s->host[j].ring != r || !net_lives(s, j))
				continue;
			s->host[j].reform_due = true;
			sim_at(s, sim_range(s, 3 * MS, heard ? 40 * MS : sim_token(s) * 25 / 10), EV_REFORM, j, 0, 0, 0);
		}
	}
	net_corosync_crash(s, h, away_us);
}

static void quorum(struct sim *s, const struct sim_ev *ev)
{
	struct sim_host *x = &s->host[ev->h];
	struct sim_in in = { .kind = HA_EV_QUORUM };

	if (!x->daemon || x->gen != ev->b || !x->ring || x->ring->id != ev->a)
		return;
	in.mask = x->ring->members;
	in.quorate = conf_majority(&x->conf, in.mask);
	in.ring = x->ring->id;
	host_give(s, ev->h, &in);
}

void net_event(struct sim *s, const struct sim_ev *ev)
{
	struct sim_host *x = &s->host[ev->h];

	switch (ev->kind) {
	case EV_ORDER:
		order(s, ev->h, ev->a, ev->b);
		break;
	case EV_PUMP:
		pump(s, ev->h, ev->a);
		break;
	case EV_REFORM:
		if (!x->reform_due)
			break;
		x->reform_due = false;
		x->missed |= ev->a && x->silent_us;
		if (net_lives(s, ev->h) && (!x->ring || !x->ring->live))
			ring_form(s, ev->h);
		break;
	case EV_MERGE:
		if (ev->a == s->merge_gen)
			ring_merge(s);
		break;
	case EV_FLUX:
		ring_flux(s, ev->h, ev->a);
		break;
	case EV_QUORUM:
		quorum(s, ev);
		break;
	case EV_JOIN:
		if (x->gen == ev->a) {
			join(s, ev->h);
			if (x->daemon && !x->joined) /* corosync is away: try again */
				sim_at(s, 100 * MS, EV_JOIN, ev->h, x->gen, 0, 0);
		}
		break;
	case EV_COROSYNC_UP:
		if (!x->up || x->corosync)
			break;
		x->corosync = true;
		x->said_leave = false;
		net_changed(s);
		if (x->daemon)
			sim_at(s, 20 * MS, EV_JOIN, ev->h, x->gen, 0, 0);
		break;
	default:
		break;
	}
}
