/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search_int - a world of two or three hosts that stands still, and what can happen next in it.
 *
 *   search.c          how it is searched
 *   search_world.c    what a step does: the cores, the ring's order, disks, VMMs; what must hold
 *   search_choices.c  which steps are possible
 */
#ifndef DROVER_SIM_SEARCH_INT_H
#define DROVER_SIM_SEARCH_INT_H

#include "cmd/drover-sim/search.h"
#include "ha/core/claim.h"

#define HOSTS 3
#define ITEMS 512
#define BLOBS 256
#define BYTES (4u << 20)
#define SEQS 512
#define WAY 64
#define NESTED 8

struct msg {
	uint32_t from, len;
	const uint8_t *bytes;
	uint64_t hash;
};

/* Place in a ring's order: a message, or a view of these hosts. */
struct item {
	int msg;
	uint32_t view;
};

struct host {
	struct ha_core *core;
	bool up;
	uint64_t history; /* digest of all that it was given */
	uint32_t ring, next;
	uint32_t sendq[64], n_send;
	struct ha_blob disk[BLOBS]; /* what is durable, then what is on its way */
	uint32_t n_disk, durable;
	uint64_t token; /* of the newest */
	uint64_t committed;
	uint32_t claim_step; /* of its claim at the witness, from 1 on; 0 = it has none on its way */
	struct claim claim;
	uint32_t claim_nodes[HOSTS];
	struct claim_slots before;
};

struct ring {
	uint32_t members, n;
	struct item items[ITEMS];
	uint64_t hash;
};

enum search_act {
	DELIVER,
	ORDER,
	PERSIST,
	ASK_COMMIT,
	ASK_ABORT,
	BREAK,
	CRASH,
	START,
	CLAIM
};
struct choice {
	enum search_act act;
	uint32_t h, a, b;
};

struct world {
	uint32_t n, now, breaks, crashes;
	struct host host[HOSTS];
	struct ring ring[16];
	uint32_t n_rings;
	struct msg msgs[ITEMS];
	uint32_t n_msgs;
	uint8_t bytes[BYTES];
	size_t used;
	uint64_t seen[SEQS];          /* digest of log and record after each entry */
	uint32_t asks, granted, runs; /* set of sides: 1 source, 2 destination */
	uint64_t incarnation, to_incarnation;
	struct claim_slots slots; /* the witness */
	const char *broken;
};

struct search {
	struct search_opts o;
	struct ha_effects *fx[NESTED];
	uint32_t nested;
	struct world w;
	struct choice way[WAY];
	uint32_t len;
	bool calm_over; /* nothing was left to happen on the calm way */
	uint64_t *visited, n_visited, size, states, ends;
};

/** search_mix() - a digest goes on; two states that share one are taken for one */
static inline uint64_t search_mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

/* search_world.c */
/** search_vmm() - a VMM of @h has said @what of itself */
void search_vmm(struct search *s, uint32_t h, uint64_t inc, enum ha_vmm_what what);
/** search_append_view() - ring @r goes on with a view of its members */
void search_append_view(struct world *w, uint32_t r);
/** search_give() - @h is given @ev, and does what it is told to; @digest: what of the event its history is made of */
void search_give(struct search *s, uint32_t h, struct ha_event *ev, uint64_t digest);
/** search_give_item() - @h is given the next item of its ring */
void search_give_item(struct search *s, uint32_t h, const struct item *it);
/** search_start() - a daemon starts on @h, with what its disk has */
void search_start(struct search *s, uint32_t h);
/** search_claim() - @h's claim at the witness takes its next step */
void search_claim(struct search *s, uint32_t h);
/** search_persist() - the oldest thing that @h's disk is at is durable */
void search_persist(struct search *s, uint32_t h);
/** search_crash() - @h's daemon dies; @lose: and with it what the disk had not finished */
void search_crash(struct search *s, uint32_t h, bool lose);
/** search_regroup() - members of @group go on together; of what was on its way in their old ring they have the first @share */
void search_regroup(struct search *s, uint32_t group, uint32_t share);

/* search_choices.c */
/** search_whole() - are all hosts in one ring? */
bool search_whole(const struct world *w);
/** search_choices() - what can happen next, into @out; how many */
uint32_t search_choices(const struct search *s, struct choice *out);
/** search_meet() - all that are up are in one ring */
void search_meet(struct search *s);
/** search_take() - let @c happen */
void search_take(struct search *s, const struct choice *c);

#endif
