/* SPDX-License-Identifier: Apache-2.0 */
/* world - virtual time: a heap of events, one source of randomness, the trace. */
#include "cmd/drover-sim/sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_LINES 40

/* xorshift64* (Marsaglia 2003, Vigna 2016) */
static uint64_t sim_rand(struct sim *s)
{
	s->rng ^= s->rng >> 12;
	s->rng ^= s->rng << 25;
	s->rng ^= s->rng >> 27;
	return s->rng * 0x2545f4914f6cdd1dull;
}

uint64_t sim_range(struct sim *s, uint64_t lo, uint64_t hi)
{
	return lo + (sim_rand(s) >> 11) % (hi - lo + 1);
}

bool sim_chance(struct sim *s, uint32_t percent)
{
	return sim_range(s, 0, 99) < percent;
}

const char *sim_dom_name(uint32_t d)
{
	static char names[SIM_DOMAINS][4];

	if (!names[d][0])
		snprintf(names[d], sizeof(names[d]), "d%u", d % SIM_DOMAINS);
	return names[d];
}

uint32_t sim_dom(const char *name)
{
	uint32_t d = 0;

	for (const char *p = name + 1; *p; p++)
		d = d * 10 + (uint32_t)(*p - '0');
	return d;
}

static bool before(const struct sim_ev *a, const struct sim_ev *b)
{
	return a->at != b->at ? a->at < b->at : a->ord < b->ord;
}

void sim_at(struct sim *s, uint64_t delay, enum sim_ev_kind kind, uint32_t h, uint64_t a,
	    uint64_t b, uint64_t c)
{
	struct sim_ev ev = { .at = s->now + delay,
			     .ord = ++s->ord,
			     .kind = kind,
			     .h = h,
			     .a = a,
			     .b = b,
			     .c = c };
	uint32_t i;

	if (s->heap_n == s->heap_size) {
		s->heap_size = s->heap_size ? s->heap_size * 2 : 1024;
		s->heap = realloc(s->heap, s->heap_size * sizeof(*s->heap));
		if (!s->heap)
			abort();
	}
	for (i = s->heap_n++; i && before(&ev, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = ev;
}

static struct sim_ev pop(struct sim *s)
{
	struct sim_ev top = s->heap[0], last = s->heap[--s->heap_n];
	uint32_t i = 0;

	assert(top.at >= s->now); /* time goes forward */
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= s->heap_n)
			break;
		if (child + 1 < s->heap_n && before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!before(&s->heap[child], &last))
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = last;
	return top;
}

void sim_trace(struct sim *s, const char *fmt, ...)
{
	va_list ap;
	char *line;
	int n;

	if (!s->o.verbose)
		return;
	line = s->lines[s->n_lines++ % TRACE_LINES];
	n = snprintf(line, 256, "%10.3f ", (double)s->now / 1e6);
	va_start(ap, fmt);
	vsnprintf(line + n, 256 - (size_t)n, fmt, ap);
	va_end(ap);
	if (s->log)
		fprintf(s->log, "%s\n", line);
}

void sim_fail(struct sim *s, const char *rule, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (s->failed)
		return;
	s->failed = true;
	n = snprintf(s->failure, sizeof(s->failure), "%s: ", rule);
	va_start(ap, fmt);
	vsnprintf(s->failure + n, sizeof(s->failure) - (size_t)n, fmt, ap);
	va_end(ap);
	sim_trace(s, "BROKEN %s", s->failure);
}

void sim_init(struct sim *s, uint64_t seed, const struct sim_opts *o)
{
	struct ha_core *cores[SIM_HOSTS];
	struct ha_effects *fx = s->fx;
	struct sim_seen *seen = s->seen;
	struct sim_request *requests = s->requests;
	struct sim_ev *heap = s->heap;
	uint32_t heap_size = s->heap_size;
	char(*lines)[256] = s->lines;
	FILE *log = s->log;

	/* What is large is kept from schedule to schedule. */
	for (int i = 0; i < SIM_HOSTS; i++)
		cores[i] = s->host[i].core;
	memset(s, 0, sizeof(*s));
	for (int i = 0; i < SIM_HOSTS; i++)
		s->host[i].core = cores[i];
	s->heap = heap;
	s->heap_size = heap_size;
	s->log = log;
	s->o = *o;
	s->conf.hosts = sim_all(s);
	for (uint32_t h = 0; h < SIM_HOSTS; h++)
		s->conf.votes[h] = 1;
	s->conf.witness = o->witness;
	for (uint32_t h = 0; h < SIM_HOSTS; h++)
		s->host[h].conf = s->conf;
	s->seed = seed;
	s->rng = (seed + 1) * 0x9e3779b97f4a7c15ull | 1;
	s->fx = fx ? fx : malloc(sizeof(*s->fx));
	s->seen = seen ? seen : malloc(SEEN_MAX * sizeof(*s->seen));
	s->requests = requests ? requests : malloc(REQUESTS_MAX * sizeof(*s->requests));
	s->lines = lines ? lines : malloc(TRACE_LINES * sizeof(*s->lines));
	if (!s->fx || !s->seen || !s->requests || !s->lines)
		abort();
	memset(s->seen, 0, SEEN_MAX * sizeof(*s->seen));
	memset(s->lines, 0, TRACE_LINES * sizeof(*s->lines));
	s->fencing_works = true;
	net_init(s);
	for (uint32_t h = 0; h < o->hosts; h++)
		host_init(s, h);
}

void sim_free(struct sim *s)
{
	for (uint32_t h = 0; h < s->o.hosts; h++)
		host_free(s, h);
	net_free(s);
}

static void dispatch(struct sim *s, const struct sim_ev *ev)
{
	switch (ev->kind) {
	case EV_ORDER:
	case EV_PUMP:
	case EV_REFORM:
	case EV_MERGE:
	case EV_FLUX:
	case EV_QUORUM:
	case EV_JOIN:
	case EV_COROSYNC_UP:
		net_event(s, ev);
		break;
	case EV_TICK:
	case EV_PERSISTED:
	case EV_DAEMON_START:
	case EV_DAEMON_RESUME:
	case EV_HOST_RESUME:
	case EV_HOST_BOOT:
	case EV_HOST_CRASH:
		host_event(s, ev);
		break;
	case EV_CONF:
		conf_event(s, ev);
		break;
	case EV_CLAIM:
		witness_event(s, ev);
		break;
	case EV_VMM:
	case EV_MOVE:
		vmm_event(s, ev);
		break;
	case EV_FENCE:
		fence_event(s, ev);
		break;
	case EV_CHAOS:
		chaos_event(s, ev);
		break;
	case EV_SCRIPT:
		scenario_event(s, ev);
		break;
	case EV_CHECK:
		break;
	}
}

bool sim_run(struct sim *s, uint64_t until)
{
	while (!s->failed && s->heap_n && s->heap[0].at <= until) {
		struct sim_ev ev = pop(s);

		s->now = ev.at;
		s->steps++;
		dispatch(s, &ev);
		check_writers(s);
	}
	if (!s->failed && s->now < until)
		s->now = until;
	return !s->failed;
}
