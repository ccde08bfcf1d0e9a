/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claim - who gets the vote of a storage witness: a rule on what its slots hold.
 *
 * A witness is one slot for each host on storage that all of them reach.  A host writes its own and no
 * other; a slot says which epoch its host has claimed last.  A claim takes four steps:
 *
 *   1  read all slots; claim_judge() them
 *   2  write the own slot
 *   3  read all slots again: when those of the others are as they were, and the own one is as written, the
 *      claim is granted
 *   4  else write back what the own slot said
 *
 * Of two who claim at once at most one is granted: whoever wrote second reads the first's claim in
 * step 3.  It was there in step 1, and then it was judged; or it was not, and then nothing is granted.
 * So granted claims stand one behind the other, and each was judged by all before it.
 *
 * What is judged: whoever claimed an epoch before was granted it, as far as anybody knows, and something
 * may have been committed in it.  Those who agree now know of that if their longest log is of that
 * epoch or a later one (ha/core/membership.c), and know that nothing was if its claimant is one of them
 * and its log is older: it is a member of what it claimed, and no member has acknowledged anything
 * that it does not hold.
 */
#ifndef DROVER_HA_CORE_CLAIM_H
#define DROVER_HA_CORE_CLAIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLAIM_SLOTS 256 /* by node id, from 1: who has a larger one cannot use a witness */

/* A set of node ids below CLAIM_SLOTS. */
struct claim_nodes {
	uint64_t bits[CLAIM_SLOTS / 64];
};

static inline bool claim_nodes_has(const struct claim_nodes *s, uint32_t node)
{
	return node < CLAIM_SLOTS && (s->bits[node / 64] >> node % 64 & 1);
}

static inline void claim_nodes_add(struct claim_nodes *s, uint32_t node)
{
	s->bits[node / 64] |= 1ull << node % 64;
}

struct claim_slot {
	uint64_t cluster; /* whose epochs these are */
	uint64_t epoch;   /* 0 = its host never claimed one */
};

struct claim_slots {
	struct claim_slot of[CLAIM_SLOTS];
};

struct claim {
	uint32_t me;           /* node id, 1..CLAIM_SLOTS - 1 */
	uint64_t cluster;      /* not 0 */
	uint64_t epoch;        /* what is claimed */
	uint64_t log;          /* epoch of the last entry of the longest log of those who want to agree; below @epoch */
	const uint32_t *nodes; /* node ids: those of them whose log holds all that they ever acknowledged */
	size_t n;
};

enum claim_verdict {
	CLAIM_MAY,
	CLAIM_FOREIGN, /* another cluster uses this witness */
	CLAIM_TAKEN,   /* somebody who is not here has claimed an epoch that their logs do not know */
};

/**
 * claim_judge() - step 1
 * @by, @epoch: unless CLAIM_MAY: whose slot stands in the way, and what it says
 */
enum claim_verdict claim_judge(const struct claim *c, const struct claim_slots *s, uint32_t *by, uint64_t *epoch);

/** claim_undisturbed() - step 3: are the slots of all others as they were, and is the own one as written? */
bool claim_undisturbed(const struct claim *c, const struct claim_slots *before, const struct claim_slots *after);

#endif
