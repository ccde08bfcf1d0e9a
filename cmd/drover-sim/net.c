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
#include "cmd/drover-sim/sim.h"

#include <stdlib.h>
#include <string.h>

static void msg_put(struct sim_msg *m)
{
	if (m && !--m->refs)
		free(m);
}

static void ring_put(struct sim_ring *r)
{
	if (!r || --r->refs)
		return;
	for (uint32_t i = 0; i < r->n; i++)
		msg_put(r->items[i].msg);
	free(r->items);
	free(r);
}

static bool lives(const struct sim *s, uint32_t h)
{
	return s->host[h].up && !s->host[h].paused && s->host[h].corosync;
}

static bool linked(const struct sim *s, uint32_t a, uint32_t b)
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
		ring_put(x->ring);
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

/* @left: who left the group by its own will */
static void append_view(struct sim *s, struct sim_ring *r, uint32_t ghost, uint32_t left)
{
	struct sim_item *it = append(r);

	it->from = SIM_HOSTS;
	it->ghost = ghost;
	it->left = left;
	for (uint32_t h = 0; h < s->o.hosts; h++)
		if ((r->members >> h & 1) && s->host[h].joined)
			it->view |= 1u << h;
	pump_all(s, r);
}

static void give_item(struct sim *s, uint32_t h, const struct sim_item *it)
{
	struct sim_in in = { 0 };

	if (!s->host[h].daemon || !s->host[h].joined)
		return;
	if (it->msg) {
		in.kind = HA_EV_DELIVER;
		in.msg = it->msg;
		in.node = it->from;
	} else {
		if (!(it->view >> h & 1))
			return;
		in.kind = HA_EV_VIEW;
		in.mask = it->view;
		in.ghost = it->ghost;
		in.left = it->left;
	}
	host_give(s, h, &in);
}

static void pump(struct sim *s, uint32_t h, uint64_t ring)
{
	struct sim_host *x = &s->host[h];

	if (!x->ring || x->ring->id != ring || !x->ring->live || x->next >= x->ring->n)
		return;
	x->next++;
	if (x->next > x->join_at)
		give_item(s, h, &x->ring->items[x->next - 1]);
}

static void schedule_send(struct sim *s, uint32_t h)
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
	schedule_send(s, h);
}

static void order(struct sim *s, uint32_t h, uint64_t ring, uint64_t gen)
{
	struct sim_host *x = &s->host[h];
	struct sim_item *it;

	if (!x->ring || x->ring->id != ring || !x->ring->live || x->gen != gen || !x->sendq_n ||
	    !x->joined)
		return;
	it = append(x->ring);
	it->msg = x->sendq[0];
	it->from = h;
	memmove(x->sendq, x->sendq + 1, (x->sendq_n - 1) * sizeof(*x->sendq));
	x->sendq_n--;
	if (x->sendq_due)
		x->sendq_due--;
	pump_all(s, x->ring);
}

/* ------------------------------------------------------------- break and form */

static void ring_break(struct sim *s, struct sim_ring *r)
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
			give_item(s, h, it);
	}
}

static void quorum_notices(struct sim *s, struct sim_ring *r)
{
	for (uint32_t h = 0; h < s->o.hosts; h++)
		if (r->members >> h & 1)
			sim_at(s,
			       sim_range(s, 0,
					 !s->script && sim_chance(s, 10) ? 1000 * MS : 10 * MS),
			       EV_QUORUM, h, r->id, s->host[h].gen, 0);
}

static void form(struct sim *s, uint32_t first)
{
	uint32_t set = 1u << first, ghost = 0;
	struct sim_ring *r;

	/* Whoever is without a ring and reaches all who are in already; lower ids first, or higher
	 * ones. */
	bool up = sim_chance(s, 50);

	for (uint32_t k = 0; k < s->o.hosts; k++) {
		uint32_t j = up ? k : s->o.hosts - 1 - k;
		bool ok = lives(s, j) && (!s->host[j].ring || !s->host[j].ring->live);

		for (uint32_t i = 0; i < s->o.hosts; i++)
			if ((set >> i & 1) && !linked(s, i, j))
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
		ring_put(x->ring);
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
	append_view(s, r, ghost, 0);
	quorum_notices(s, r);
	for (uint32_t h = 0; h < s->o.hosts; h++)
		if (set >> h & 1)
			schedule_send(s, h);
	net_changed(s);
}

static bool ring_whole(const struct sim *s, const struct sim_ring *r)
{
	for (uint32_t i = 0; i < s->o.hosts; i++) {
		if (!(r->members >> i & 1))
			continue;
		if (!lives(s, i) || s->host[i].ring != r)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if ((r->members >> j & 1) && !linked(s, i, j))
				return false;
	}
	return true;
}

/* Two live rings whose members all reach each other will find each other. */
static bool can_merge(const struct sim *s)
{
	for (uint32_t i = 0; i < s->o.hosts; i++)
		for (uint32_t j = 0; j < i; j++)
			if (lives(s, i) && lives(s, j) && linked(s, i, j) &&
			    s->host[i].ring != s->host[j].ring && s->host[i].ring &&
			    s->host[j].ring && s->host[i].ring->live && s->host[j].ring->live)
				return true;
	return false;
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
		uint64_t token = sim_token(s);

		if (!lives(s, h) || x->reform_due || (x->ring && x->ring->live))
			continue;
		x->reform_due = true;
		/* A member that was lost one way round is noticed later (corosync.md: 2.1 to 5
		 * token). */
		sim_at(s,
		       x->ring ? sim_range(s, token * 20 / 10,
					   token * (!s->script && sim_chance(s, 10) ? 40 : 23) / 10)
			       : sim_range(s, 50 * MS, 400 * MS),
		       EV_REFORM, h, 0, 0, 0);
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

static void merge(struct sim *s)
{
	bool broke = false;

	if (!can_merge(s))
		return;
	for (uint32_t i = 0; i < s->o.hosts; i++) {
		for (uint32_t j = 0; j < s->o.hosts; j++) {
			struct sim_ring *a = s->host[i].ring, *b = s->host[j].ring;

			if (lives(s, i) && lives(s, j) && linked(s, i, j) && a != b && a && b) {
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
		if (!lives(s, h) || (s->host[h].ring && s->host[h].ring->live))
			continue;
		s->host[h].reform_due = true;
		sim_at(s, sim_range(s, 5 * MS, 60 * MS), EV_REFORM, h, 0, 0, 0);
	}
}

void net_join(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	if (!x->daemon || x->joined || !lives(s, h))
		return;
	x->joined = true;
	if (!x->ring || !x->ring->live)
		return;
	x->join_at = x->ring->n;
	append_view(s, x->ring, 0, 0);
	sim_at(s, sim_range(s, 0, 5 * MS), EV_QUORUM, h, x->ring->id, x->gen, 0);
}

void net_leave(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	if (!x->joined)
		return;
	x->joined = false;
	sendq_clear(x);
	if (x->ring && x->ring->live)
		append_view(s, x->ring, 0, 1u << h);
}

/* Whatever corosync had in memory goes with it: what was not ordered yet, and its place in the ring. */
void net_gone(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	x->corosync = x->joined = false;
	sendq_clear(x);
	net_changed(s);
	ring_put(x->ring);
	x->ring = NULL;
	x->reform_due = false;
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

/*
 * SIGTERM: the group hears that the process ended, the ring hears a leave, and the others
 * form a new one at once, without waiting for a token (corosync.md: 3 to 40 ms).
 */
void net_corosync_stop(struct sim *s, uint32_t h, uint64_t away_us)
{
	struct sim_host *x = &s->host[h];
	struct sim_ring *r = x->ring;

	if (!lives(s, h))
		return;
	net_leave(s, h);
	if (r && r->live) {
		ring_break(s, r);
		for (uint32_t i = 0; i < r->n; i++)
			r->items[i].got = r->members;
		for (uint32_t j = 0; j < s->o.hosts; j++) {
			if (j == h || s->host[j].ring != r || !lives(s, j))
				continue;
			s->host[j].reform_due = true;
			sim_at(s, sim_range(s, 3 * MS, 40 * MS), EV_REFORM, j, 0, 0, 0);
		}
	}
	net_corosync_crash(s, h, away_us);
}

static void quorum(struct sim *s, const struct sim_ev *ev)
{
	struct sim_host *x = &s->host[ev->h];
	struct sim_in in = { .kind = HA_EV_QUORUM };
	uint32_t n = 0;

	if (!x->daemon || x->gen != ev->b || !x->ring || x->ring->id != ev->a)
		return;
	for (uint32_t h = 0; h < s->o.hosts; h++)
		n += x->ring->members >> h & s->configured >> h & 1;
	in.mask = x->ring->members;
	in.quorate = n > (uint32_t)__builtin_popcount(s->configured) / 2;
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
		if (lives(s, ev->h) && (!x->ring || !x->ring->live))
			form(s, ev->h);
		break;
	case EV_MERGE:
		if (ev->a == s->merge_gen)
			merge(s);
		break;
	case EV_QUORUM:
		quorum(s, ev);
		break;
	case EV_JOIN:
		if (x->gen == ev->a) {
			net_join(s, ev->h);
			if (x->daemon && !x->joined) /* corosync is away: try again */
				sim_at(s, 100 * MS, EV_JOIN, ev->h, x->gen, 0, 0);
		}
		break;
	case EV_COROSYNC_UP:
		if (!x->up || x->corosync)
			break;
		x->corosync = true;
		net_changed(s);
		if (x->daemon)
			sim_at(s, 20 * MS, EV_JOIN, ev->h, x->gen, 0, 0);
		break;
	default:
		break;
	}
}
