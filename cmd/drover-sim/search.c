/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search - every order of events that is possible, up to a bound, on the real cores.
 *
 * Two or three hosts stand in an epoch, d0 runs on the first.  Then its migration to the
 * second is ordered, and from each step of that on everything that can happen next is tried: a message
 * finds its place in the ring, a member takes the next item, a disk finishes, a VMM asks,
 * the ring breaks into any parts of which each has any share of what was on its way, the
 * parts meet again, a daemon dies with or without what its disk had not finished, and
 * starts again.  Time stands still: what is searched is agreement (rules L and H), not
 * leases, which random schedules and their clocks are for.
 *
 * A core is a function of the events it was given.  So a state is what each host was given,
 * one after the other, and what is on its way; events at different hosts that commute lead
 * to one state, which is looked at once.  All ways to a state are equally long, so the
 * bound cuts nothing off that a shorter way would reach.  To step back, the way to a state
 * is played again from the start: nothing but the door of the core is used.
 */
#include "cmd/drover-sim/search.h"

#include <stdlib.h>
#include <string.h>

#define HOSTS 3
#define ITEMS 512
#define BLOBS 256
#define BYTES (4u << 20)
#define SEQS 512
#define WAY 64
#define NESTED 8

struct msg { uint32_t from, len; const uint8_t *bytes; uint64_t hash; };

/* Place in a ring's order: a message, or a view of these hosts. */
struct item { int msg; uint32_t view; };

struct host {
	struct ha_core *core;
	bool up;
	uint64_t history;                  /* digest of all that it was given */
	uint32_t ring, next;
	uint32_t sendq[64], n_send;
	struct ha_blob disk[BLOBS];        /* what is durable, then what is on its way */
	uint32_t n_disk, durable;
	uint64_t token;                    /* of the newest */
	uint64_t committed;
};

struct ring { uint32_t members, n; struct item items[ITEMS]; uint64_t hash; };

enum act { DELIVER, ORDER, PERSIST, ASK_COMMIT, ASK_ABORT, BREAK, CRASH, START };
struct choice { enum act act; uint32_t h, a, b; };

struct world {
	uint32_t n, now, breaks, crashes;
	struct host host[HOSTS];
	struct ring ring[16];
	uint32_t n_rings;
	struct msg msgs[ITEMS];
	uint32_t n_msgs;
	uint8_t bytes[BYTES];
	size_t used;
	uint64_t seen[SEQS];               /* digest of log and record after each entry */
	uint32_t asks, granted, runs;      /* set of sides: 1 source, 2 destination */
	uint64_t incarnation, to_incarnation;
	const char *broken;
};

struct search {
	struct search_opts o;
	struct ha_effects *fx[NESTED];
	uint32_t nested;
	struct world w;
	struct choice way[WAY];
	uint32_t len;
	bool calm_over;                    /* nothing was left to happen on the calm way */
	uint64_t *visited, n_visited, size, states, ends;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

static uint64_t mix_bytes(uint64_t h, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = mix(h, p[i]);
	return h;
}

static const uint8_t *keep(struct world *w, const uint8_t *p, size_t n)
{
	uint8_t *at = w->bytes + w->used;

	if (w->used + n > BYTES)
		abort();
	memcpy(at, p, n);
	w->used += n;
	return at;
}

/* ------------------------------------------------------------------- the world */

static void give(struct search *s, uint32_t h, struct ha_event *ev, uint64_t digest);

static void vmm(struct search *s, uint32_t h, uint64_t inc, enum ha_vmm_what what)
{
	struct ha_event ev = {.kind = HA_EV_VMM};

	ev.vmm.domain = "d0";
	ev.vmm.incarnation = inc;
	ev.vmm.what = what;
	ev.vmm.addr = "tcp:10.0.0.2:1";
	give(s, h, &ev, mix(inc, what));
}

static void append_view(struct world *w, uint32_t r)
{
	struct ring *ring = &w->ring[r];
	uint32_t view = 0;

	for (uint32_t h = 0; h < w->n; h++)
		if (w->host[h].up && w->host[h].ring == r)
			view |= 1u << h;
	ring->hash = mix(ring->hash, 0x1000u + view);
	ring->items[ring->n++] = (struct item){-1, view};
}

/* DECIDE: the side that it names may run from now on; both must never be told so. */
static void decided(struct search *s, const struct ha_effect *fx)
{
	struct world *w = &s->w;

	if (fx->vmm.to_incarnation != fx->vmm.incarnation)
		return;
	if (fx->vmm.incarnation == w->incarnation && (w->granted & 1))
		w->runs |= 1;
	if (fx->vmm.incarnation == w->to_incarnation)
		w->runs |= 2;
	if (w->runs == 3)
		w->broken = "H: source and destination may both run";
}

static void effect(struct search *s, uint32_t h, const struct ha_effect *fx)
{
	struct world *w = &s->w;
	struct host *x = &w->host[h];

	switch (fx->kind) {
	case HA_FX_MCAST:
		w->msgs[w->n_msgs] = (struct msg){h, (uint32_t)fx->mcast.len,
						  keep(w, fx->mcast.bytes, fx->mcast.len),
						  mix_bytes(h, fx->mcast.bytes, fx->mcast.len)};
		x->sendq[x->n_send++] = w->n_msgs++;
		break;
	case HA_FX_PERSIST:
		x->disk[x->n_disk++] = (struct ha_blob){keep(w, fx->persist.bytes, fx->persist.len), fx->persist.len};
		x->token = fx->persist.token;
		break;
	case HA_FX_REJOIN:
		x->n_send = 0;
		append_view(w, x->ring);
		break;
	case HA_FX_START:
		vmm(s, h, fx->vmm.incarnation, HA_VMM_RUNNING);
		break;
	case HA_FX_RECEIVE:
		w->to_incarnation = fx->vmm.incarnation;
		vmm(s, h, fx->vmm.incarnation, HA_VMM_INCOMING);
		break;
	case HA_FX_MIGRATE:
		w->incarnation = fx->vmm.incarnation;
		w->granted = w->asks = 3;
		vmm(s, h, fx->vmm.incarnation, HA_VMM_PAUSED);
		break;
	case HA_FX_DECIDE:
		decided(s, fx);
		break;
	default:
		break;
	}
}

static void check(struct search *s, uint32_t h)
{
	struct world *w = &s->w;
	struct ha_status st;
	uint64_t digest;

	ha_core_status(w->host[h].core, &st);
	if (!st.committed || st.committed == w->host[h].committed || st.committed >= SEQS)
		return;
	w->host[h].committed = st.committed;
	digest = mix(st.hash, ha_record_hash(ha_core_record(w->host[h].core)));
	if (w->seen[st.committed] && w->seen[st.committed] != digest)
		w->broken = "I5: two hosts have different logs or records at one entry";
	w->seen[st.committed] = digest;
}

static void give(struct search *s, uint32_t h, struct ha_event *ev, uint64_t digest)
{
	struct host *x = &s->w.host[h];
	struct ha_effects *fx;

	/* An effect may give its core the next event: each of these steps has its own list. */
	if (s->nested == NESTED)
		abort();
	if (!s->fx[s->nested])
		s->fx[s->nested] = malloc(sizeof(*fx));
	fx = s->fx[s->nested++];
	if (!fx)
		abort();
	ev->now_ms = 1000 + s->w.now;
	x->history = mix(mix(x->history, ev->kind), digest);
	ha_core_step(x->core, ev, fx);
	check(s, h);
	for (size_t i = 0; i < fx->n; i++)
		effect(s, h, &fx->fx[i]);
	s->nested--;
}

static void give_item(struct search *s, uint32_t h, const struct item *it)
{
	struct world *w = &s->w;
	struct ha_event ev = {.kind = HA_EV_DELIVER};
	uint32_t ids[HOSTS], n = 0;

	if (it->msg >= 0) {
		ev.deliver.from = w->msgs[it->msg].from + 1;
		ev.deliver.bytes = w->msgs[it->msg].bytes;
		ev.deliver.len = w->msgs[it->msg].len;
		give(s, h, &ev, w->msgs[it->msg].hash);
		return;
	}
	if (!(it->view >> h & 1))
		return;
	for (uint32_t i = 0; i < w->n; i++)
		if (it->view >> i & 1)
			ids[n++] = i + 1;
	ev = (struct ha_event){.kind = HA_EV_VIEW};
	ev.view.nodes = ids;
	ev.view.n = n;
	ev.view.silence = true;
	give(s, h, &ev, it->view);
	ev = (struct ha_event){.kind = HA_EV_QUORUM};
	ev.quorum.quorate = n > w->n / 2;
	ev.quorum.nodes = ids;
	ev.quorum.n = n;
	give(s, h, &ev, it->view);
}

static void start(struct search *s, uint32_t h)
{
	struct world *w = &s->w;
	struct host *x = &w->host[h];
	struct ha_node_conf nodes[HOSTS] = {0};
	struct ha_event ev = {.kind = HA_EV_BOOT};

	x->up = true;
	x->committed = 0;
	x->durable = x->n_disk;
	ha_core_init(x->core);
	ev.boot.me = h + 1;
	ev.boot.token_ms = 1000;
	ev.boot.draw = h + 1;
	ev.boot.disk = x->disk;
	ev.boot.n_disk = x->n_disk;
	give(s, h, &ev, x->n_disk);
	for (uint32_t i = 0; i < w->n; i++) {
		nodes[i].id = i + 1;
		nodes[i].votes = 1;
		snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", i + 1);
	}
	ev = (struct ha_event){.kind = HA_EV_CONFIG};
	ev.config.nodes = nodes;
	ev.config.n = w->n;
	ev.config.token_ms = 1000;
	give(s, h, &ev, w->n);
	ev = (struct ha_event){.kind = HA_EV_VMM_LIST};
	give(s, h, &ev, 0);
	x->next = w->ring[x->ring].n;
	append_view(w, x->ring);
}

/* What an fsync finished: a snapshot makes what is before it superfluous. */
static void persist(struct search *s, uint32_t h)
{
	struct host *x = &s->w.host[h];
	struct ha_event ev = {.kind = HA_EV_PERSISTED};

	x->durable = x->n_disk;
	for (uint32_t i = x->n_disk; i-- > 1;) {
		if (x->disk[i].bytes[0] != 1)
			continue;
		memmove(x->disk, x->disk + i, (x->n_disk - i) * sizeof(*x->disk));
		x->n_disk -= i;
		x->durable = x->n_disk;
		break;
	}
	ev.persisted.token = x->token;
	give(s, h, &ev, x->token);
}

static void crash(struct search *s, uint32_t h, bool lose)
{
	struct host *x = &s->w.host[h];

	x->up = false;
	x->n_send = 0;
	if (lose)
		x->n_disk = x->durable;
	x->history = mix(x->history, 0xdead + x->n_disk);
	append_view(&s->w, x->ring);
}

/* Members of @group go on together from ring @old; of what was on its way they have the first @share. */
static void regroup(struct search *s, uint32_t group, uint32_t share)
{
	struct world *w = &s->w;
	uint32_t r = w->n_rings++;

	w->ring[r].n = 0;
	w->ring[r].members = group;
	w->ring[r].hash = mix(0, group);
	for (uint32_t h = 0; h < w->n; h++) {
		struct host *x = &w->host[h];
		struct ring *old = &w->ring[x->ring];

		if (!(group >> h & 1))
			continue;
		for (uint32_t i = x->next; x->up && i < old->n; i++) {
			const struct item *it = &old->items[i];
			bool own = it->msg >= 0 && (group >> w->msgs[it->msg].from & 1);

			if (i < share || own)
				give_item(s, h, it);
		}
		x->ring = r;
		x->next = 0;
	}
	append_view(w, r);
}

/* -------------------------------------------------------------------- choices */

static bool whole(const struct world *w)
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

static void add(struct choice *out, uint32_t *n, enum act act, uint32_t h, uint32_t a, uint32_t b)
{
	out[(*n)++] = (struct choice){act, h, a, b};
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

static uint32_t choices(const struct search *s, struct choice *out)
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
		if (w->crashes < s->o.crashes) {
			add(out, &n, CRASH, h, 1, 0);
			if (x->durable < x->n_disk)
				add(out, &n, CRASH, h, 0, 0);
		}
	}
	if ((w->asks & 2) && w->host[1].up)
		add(out, &n, ASK_COMMIT, 1, 0, 0);
	if ((w->asks & 1) && w->host[0].up)
		add(out, &n, ASK_ABORT, 0, 0, 0);
	if (whole(w) && w->breaks < s->o.breaks)
		breaks(s, out, &n);
	else if (!whole(w) && w->breaks < s->o.breaks + 1)
		add(out, &n, BREAK, 0, 0, 0);
	return n;
}

/* Rings that meet again: nothing is lost inside either. */
static void meet(struct search *s)
{
	struct world *w = &s->w;
	uint32_t r = w->n_rings++;

	w->ring[r].n = 0;
	w->ring[r].members = (1u << w->n) - 1;
	w->ring[r].hash = 7;
	for (uint32_t h = 0; h < w->n; h++) {
		struct host *x = &w->host[h];

		for (; x->up && x->next < w->ring[x->ring].n; x->next++)
			give_item(s, h, &w->ring[x->ring].items[x->next]);
		x->ring = r;
		x->next = 0;
	}
	append_view(w, r);
}

static void take(struct search *s, const struct choice *c)
{
	struct world *w = &s->w;
	struct host *x = &w->host[c->h % HOSTS];
	struct ring *r = &w->ring[x->ring];
	uint32_t all = (1u << w->n) - 1;

	switch (c->act) {
	case DELIVER:
		give_item(s, c->h, &r->items[x->next++]);
		break;
	case ORDER:
		r->items[r->n++] = (struct item){(int)x->sendq[0], 0};
		r->hash = mix(r->hash, w->msgs[x->sendq[0]].hash);
		memmove(x->sendq, x->sendq + 1, --x->n_send * sizeof(x->sendq[0]));
		break;
	case PERSIST:
		persist(s, c->h);
		break;
	case ASK_COMMIT:
		w->asks &= ~2u;
		vmm(s, 1, w->to_incarnation, HA_VMM_ASK_COMMIT);
		break;
	case ASK_ABORT:
		w->asks &= ~1u;
		vmm(s, 0, w->incarnation, HA_VMM_ASK_ABORT);
		break;
	case BREAK:
		w->breaks++;
		if (!c->h) {
			meet(s);
			break;
		}
		regroup(s, c->h, c->a);
		regroup(s, all & ~c->h, c->b);
		break;
	case CRASH:
		w->crashes++;
		crash(s, c->h, c->a);
		break;
	case START:
		start(s, c->h);
		break;
	}
}

/* ---------------------------------------------------------------------- search */

static uint64_t digest(const struct search *s)
{
	const struct world *w = &s->w;
	uint64_t h = mix(w->asks, w->breaks << 8 | w->crashes);

	for (uint32_t i = 0; i < w->n; i++) {
		const struct host *x = &w->host[i];

		h = mix(mix(mix(h, x->history), x->next), w->ring[x->ring].hash);
		h = mix(mix(h, x->durable), x->n_disk);
		for (uint32_t k = 0; k < x->n_send; k++)
			h = mix(h, w->msgs[x->sendq[k]].hash);
	}
	return h ? h : 1;
}

/* False: seen before. */
static bool visit(struct search *s, uint64_t h)
{
	if (s->n_visited * 2 >= s->size) {
		uint64_t *old = s->visited, n = s->size;

		s->size = n ? n * 2 : 1u << 16;
		s->visited = calloc(s->size, sizeof(*s->visited));
		if (!s->visited)
			abort();
		s->n_visited = 0;
		for (uint64_t i = 0; i < n; i++)
			if (old[i])
				visit(s, old[i]);
		free(old);
	}
	for (uint64_t i = h % s->size;; i = (i + 1) % s->size) {
		if (s->visited[i] == h)
			return false;
		if (s->visited[i])
			continue;
		s->visited[i] = h;
		s->n_visited++;
		return true;
	}
}

/* The simplest thing that can happen: no break, no crash. False: nothing can. */
static bool simplest(const struct search *s, struct choice *out)
{
	struct choice c[512];
	uint32_t n = choices(s, c);

	for (uint32_t i = 0; i < n; i++) {
		if (c[i].act != DELIVER && c[i].act != ORDER && c[i].act != PERSIST)
			continue;
		*out = c[i];
		return true;
	}
	return false;
}

static void calm(struct search *s)
{
	struct choice c;

	while (simplest(s, &c))
		take(s, &c);
}

static void command(struct search *s, enum ha_op op, uint32_t node)
{
	struct ha_event ev = {.kind = HA_EV_OPERATOR};

	ev.op.request = op + 1;
	ev.op.cmd = (struct ha_command){.op = op, .domain = "d0", .node = node, .conf = "x", .conf_len = 1,
					.ha = true, .started = true};
	give(s, 0, &ev, op);
}

/* An epoch stands, d0 runs on the first host, its migration has just been ordered. */
static void begin(struct search *s)
{
	struct world *w = &s->w;
	struct ha_core *core[HOSTS];
	struct ha_event tick = {.kind = HA_EV_TICK};

	for (uint32_t h = 0; h < HOSTS; h++)
		core[h] = w->host[h].core ? w->host[h].core : malloc(ha_core_size());
	memset(w, 0, offsetof(struct world, ring));
	w->n_rings = 1;
	w->ring[0].n = 0;
	w->n_msgs = 0;
	w->used = 0;
	memset(w->seen, 0, sizeof(*w) - offsetof(struct world, seen));
	w->n = s->o.hosts;
	for (uint32_t h = 0; h < HOSTS; h++)
		w->host[h].core = core[h];
	for (uint32_t h = 0; h < w->n; h++)
		start(s, h);
	calm(s);
	for (uint32_t i = 0; i < 3; i++) { /* the first words, their acknowledgements: leases */
		w->now += 250;
		for (uint32_t h = 0; h < w->n; h++)
			give(s, h, &tick, w->now);
		calm(s);
	}
	command(s, HA_OP_ADD, 1);
	calm(s);
	command(s, HA_OP_MIGRATE, 2);
	s->calm_over = false;
	for (uint32_t i = 0; i < s->o.calm; i++) {
		struct choice c;

		s->calm_over = !simplest(s, &c);
		if (s->calm_over)
			break;
		take(s, &c);
	}
}

static void tell_way(const struct search *s)
{
	static const char *const words[] = {"takes the next item", "has its message ordered", "finished writing",
					    "asks to commit", "asks to abort", "the ring breaks or meets",
					    "daemon dies", "daemon starts"};

	for (uint32_t i = 0; i < s->len; i++)
		printf("  %u: n%u %s (%u, %u)\n", i + 1, s->way[i].h + (s->way[i].act != BREAK),
		       words[s->way[i].act], s->way[i].a, s->way[i].b);
}

static void all_start(struct search *s)
{
	for (uint32_t h = 0; h < s->w.n; h++)
		if (!s->w.host[h].up)
			start(s, h);
}

/*
 * At the bound: what is on its way goes its simplest way, the parts meet, the dead start,
 * the VMMs that wait ask. Then an epoch must stand, the records be one, and d0 have an owner.
 */
static void finish(struct search *s)
{
	struct world *w = &s->w;
	const struct ha_domain *d = NULL;
	struct ha_status st;
	uint64_t hash = 0;

	calm(s);
	all_start(s);
	calm(s);
	if (!whole(w))
		meet(s);
	calm(s);
	for (uint32_t side = 0; side < 2; side++)
		if (w->asks >> side & 1)
			vmm(s, side, side ? w->to_incarnation : w->incarnation,
			    side ? HA_VMM_ASK_COMMIT : HA_VMM_ASK_ABORT);
	w->asks = 0;
	calm(s);
	for (uint32_t h = 0; h < w->n && !w->broken; h++) {
		const struct ha_record *r = ha_core_record(w->host[h].core);
		int i = ha_record_find(r, "d0");

		ha_core_status(w->host[h].core, &st);
		if (st.standing != HA_STANDS)
			w->broken = "I10: at rest, and no epoch stands";
		else if (h && ha_record_hash(r) != hash)
			w->broken = "I5: at rest, and the records differ";
		else if (i < 0)
			w->broken = "I6: the domain that was added is lost";
		hash = ha_record_hash(r);
		d = i < 0 ? NULL : &r->domains[i];
	}
	if (!w->broken && d && d->phase == HA_RUNNING && !d->owner)
		w->broken = "I2: it runs, and nobody owns it";
	s->ends++;
}

static bool explore(struct search *s)
{
	struct choice c[512];
	uint32_t n;

	if (s->w.broken)
		return false;
	if (!visit(s, digest(s)))
		return true;
	s->states++;
	n = choices(s, c);
	if (s->len == s->o.depth || !n) {
		finish(s);
		return !s->w.broken;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (i) { /* back to this state */
			begin(s);
			for (uint32_t k = 0; k < s->len; k++)
				take(s, &s->way[k]);
		}
		s->way[s->len++] = c[i];
		take(s, &c[i]);
		if (!explore(s))
			return false;
		s->len--;
	}
	return true;
}

bool search_run(const struct search_opts *o, bool expect_failure)
{
	static struct search s;
	uint64_t points = 0;
	bool held = true;

	s.o = *o;
	s.states = s.ends = 0;
	/* From every step of the calm way on, until nothing is left to happen on it. */
	for (s.o.calm = 0; held && s.o.calm <= o->calm; s.o.calm += o->stride) {
		s.len = 0;
		begin(&s);
		if (s.calm_over && s.o.calm)
			break;
		held = explore(&s);
		points++;
	}
	printf("%u hosts, from each of %llu points of a migration every order of %u events, at most %u breaks and %u "
	       "crashes: %llu states, %llu ends, %s\n",
	       o->hosts, (unsigned long long)points, o->depth, o->breaks, o->crashes,
	       (unsigned long long)s.states, (unsigned long long)s.ends,
	       held ? "complete, every invariant held" : s.w.broken);
	if (!held && !expect_failure)
		tell_way(&s);
	return held;
}
