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
#include "cmd/drover-sim/search_int.h"

#include "base/reserve.h"

#include <stdlib.h>
#include <string.h>

static uint64_t digest(const struct search *s)
{
	const struct world *w = &s->w;
	uint64_t h = search_mix(w->asks, w->breaks << 8 | w->crashes);

	for (uint32_t i = 0; i < w->n; i++) {
		const struct host *x = &w->host[i];

		h = search_mix(search_mix(search_mix(h, x->history), x->next), w->ring[x->ring].hash);
		h = search_mix(search_mix(h, x->durable), x->n_disk);
		h = search_mix(search_mix(h, w->slots.of[i + 1].epoch), x->claim_step);
		for (uint32_t k = 0; x->claim_step > 1 && k < w->n; k++)
			h = search_mix(h, x->before.of[k + 1].epoch);
		for (uint32_t k = 0; k < x->n_send; k++)
			h = search_mix(h, w->msgs[x->sendq[k]].hash);
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
	uint32_t n = search_choices(s, c);

	for (uint32_t i = 0; i < n; i++) {
		if (c[i].act != DELIVER && c[i].act != ORDER && c[i].act != PERSIST && c[i].act != CLAIM)
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
		search_take(s, &c);
}

static void command(struct search *s, enum ha_op op, uint32_t node)
{
	struct ha_event ev = { .kind = HA_EV_OPERATOR };

	ev.op.request = op + 1;
	ev.op.cmd = (struct ha_command){
		.op = op,
		.domain = "d0",
		.node = node,
		.conf = "x",
		.conf_len = 1,
		.actor = "root",
		.access = HA_ACCESS_ADMIN,
		.size = { 1 << 30, 1 },
		.ha = true,
		.started = true,
	};
	search_give(s, 0, &ev, op);
}

/* An epoch stands, d0 runs on the first host, its migration has just been ordered. */
static void begin(struct search *s)
{
	struct world *w = &s->w;
	struct ha_core *core[HOSTS];
	struct ha_event tick = { .kind = HA_EV_TICK };

	for (uint32_t h = 0; h < HOSTS; h++)
		core[h] = w->host[h].core ? w->host[h].core : reserve_make(ha_core_size());
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
		search_start(s, h);
	calm(s);
	/* The first words, their acknowledgements: leases; then the witness gets its vote. */
	for (uint32_t i = 0; i < (s->o.witness ? 6 : 3); i++) {
		w->now += 250;
		for (uint32_t h = 0; h < w->n; h++)
			search_give(s, h, &tick, w->now);
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
		search_take(s, &c);
	}
}

static void tell_way(const struct search *s)
{
	static const char *const words[] = { "takes the next item", "has its message ordered", "finished writing",
					     "asks to commit", "asks to abort", "the ring breaks or meets",
					     "daemon dies", "daemon starts", "goes on with its claim" };

	for (uint32_t i = 0; i < s->len; i++)
		printf("  %u: n%u %s (%u, %u)\n", i + 1, s->way[i].h + (s->way[i].act != BREAK),
		       words[s->way[i].act], s->way[i].a, s->way[i].b);
}

static void all_start(struct search *s)
{
	for (uint32_t h = 0; h < s->w.n; h++)
		if (!s->w.host[h].up)
			search_start(s, h);
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
	if (!search_whole(w))
		search_meet(s);
	calm(s);
	for (uint32_t side = 0; side < 2; side++)
		if (w->asks >> side & 1)
			search_vmm(s, side, side ? w->to_incarnation : w->incarnation,
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
	n = search_choices(s, c);
	if (s->len == s->o.depth || !n) {
		finish(s);
		return !s->w.broken;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (i) { /* back to this state */
			begin(s);
			for (uint32_t k = 0; k < s->len; k++)
				search_take(s, &s->way[k]);
		}
		s->way[s->len++] = c[i];
		search_take(s, &c[i]);
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
	printf("%u hosts%s, from each of %llu points of a migration every order of %u events, at most %u breaks and %u "
	       "crashes: %llu states, %llu ends, %s\n",
	       o->hosts, o->witness ? " and a witness" : "", (unsigned long long)points, o->depth, o->breaks, o->crashes,
	       (unsigned long long)s.states, (unsigned long long)s.ends,
	       held ? "complete, every invariant held" : s.w.broken);
	if (!held && !expect_failure)
		tell_way(&s);
	return held;
}
