/* SPDX-License-Identifier: Apache-2.0 */
/*
 * witness - the storage witness of the simulated cluster: slots that each host reads and writes in its
 * own time, by the rule that droverd goes by (ha/core/claim.h).
 *
 * What was written by a daemon that has died meanwhile may still arrive; what a host without power
 * wrote may have arrived or not.
 */
#include "cmd/drover-sim/sim.h"

#include <assert.h>
#include <string.h>

enum step {
	READ,
	WRITE,
	LOOK
};

static bool away(const struct sim *s, uint32_t h)
{
	return s->witness_away >> h & 1;
}

static uint64_t io_time(struct sim *s)
{
	if (!s->quiet_world && sim_chance(s, 3))
		return sim_range(s, 100 * MS, 6 * SEC);
	return sim_range(s, 1 * MS, 30 * MS);
}

static void next(struct sim *s, uint32_t h, enum step step)
{
	sim_at(s, io_time(s), EV_CLAIM, h, s->host[h].gen, step, s->host[h].claim.c.epoch);
}

void witness_claim(struct sim *s, uint32_t h, const struct ha_effect *fx)
{
	struct sim_claim *k = &s->host[h].claim;

	assert(fx->claim.n <= SIM_HOSTS);
	memcpy(k->nodes, fx->claim.nodes, fx->claim.n * sizeof(k->nodes[0]));
	k->c = (struct claim){
		.me = h + 1,
		.cluster = fx->claim.cluster,
		.epoch = fx->claim.epoch,
		.log = fx->claim.log,
		.nodes = k->nodes,
		.n = fx->claim.n,
	};
	next(s, h, READ);
}

static void answer(struct sim *s, uint32_t h, uint64_t claim, bool ok, uint64_t seen)
{
	struct sim_in in = { .kind = HA_EV_WITNESS, .token = claim, .quorate = ok, .incarnation = seen };

	host_give(s, h, &in);
}

void witness_tell(struct sim *s, uint32_t h)
{
	answer(s, h, 0, s->conf.witness && !away(s, h), 0);
}

uint64_t witness_live(const struct sim *s, uint32_t h)
{
	uint32_t blind = s->witness_blind;

	return blind >> h & 1 ? 1ull << (h + 1) : ~((uint64_t)blind << 1);
}

void witness_reach(struct sim *s, uint32_t not_these)
{
	s->witness_away = not_these;
	sim_trace(s, "the witness cannot be reached by hosts %x", not_these);
	for (uint32_t h = 0; h < s->o.hosts; h++)
		witness_tell(s, h);
}

/*
 * The daemon that asked is gone; what it had sent to storage before may arrive, but not behind what a
 * later one of this host has written (docs/ha.md).
 */
static void orphan(struct sim *s, const struct sim_ev *ev)
{
	struct sim_claim *k = &s->host[ev->h].claim;

	if (ev->b == WRITE && !away(s, ev->h) && sim_chance(s, 50) && k->c.epoch == ev->c)
		s->slots.of[ev->h + 1] = (struct claim_slot){ k->c.cluster, ev->c };
}

static void read_slots(struct sim *s, uint32_t h)
{
	struct sim_claim *k = &s->host[h].claim;
	uint64_t seen = 0;
	uint32_t by = 0;

	k->before = s->slots;
	if (claim_judge(&k->c, &k->before, &by, &seen) == CLAIM_MAY) {
		next(s, h, WRITE);
		return;
	}
	sim_trace(s, "n%u: its claim to %llu is refused for n%u's %llu", h + 1, (unsigned long long)k->c.epoch, by,
		  (unsigned long long)seen);
	if (!s->refused_us)
		s->refused_us = s->now;
	answer(s, h, k->c.epoch, false, seen);
}

static void look(struct sim *s, uint32_t h)
{
	struct sim_claim *k = &s->host[h].claim;
	bool ok = claim_undisturbed(&k->c, &k->before, &s->slots);

	sim_trace(s, "n%u: its claim to %llu is %s", h + 1, (unsigned long long)k->c.epoch, ok ? "granted" : "disturbed");
	if (!ok)
		s->slots.of[h + 1] = k->before.of[h + 1];
	else
		s->refused_us = 0;
	s->n_claims += ok;
	answer(s, h, k->c.epoch, ok, 0);
}

void witness_event(struct sim *s, const struct sim_ev *ev)
{
	struct sim_host *x = &s->host[ev->h];

	if (x->gen != ev->a || !x->daemon) {
		orphan(s, ev);
		return;
	}
	if (away(s, ev->h)) {
		answer(s, ev->h, x->claim.c.epoch, false, 0);
		return;
	}
	switch ((enum step)ev->b) {
	case READ:
		read_slots(s, ev->h);
		break;
	case WRITE:
		s->slots.of[ev->h + 1] = (struct claim_slot){ x->claim.c.cluster, x->claim.c.epoch };
		next(s, ev->h, LOOK);
		break;
	case LOOK:
		look(s, ev->h);
		break;
	}
}
