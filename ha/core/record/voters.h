/* SPDX-License-Identifier: Apache-2.0 */
/*
 * voters - whose word counts, and for how much, where a majority decides (rule L).
 *
 * The list stands in the log: a NEW_EPOCH brings the first one, and VOTES changes it, by one vote of
 * one host.  Two lists that follow each other therefore have no two majorities apart: of T votes and
 * of T + 1, T/2 + 1 and (T + 1)/2 + 1 (whole numbers) are together more than T + 1.  That is Raft's
 * change of one server at a time (Ongaro 2014, 4.1), for hosts that may have more votes than one.
 *
 * One vote may be the witness's, which holds no log: two majorities may have nothing but that vote in
 * common.  What it takes for it to count: ha/core/witness.c.
 */
#ifndef DROVER_HA_CORE_RECORD_VOTERS_H
#define DROVER_HA_CORE_RECORD_VOTERS_H

#include "ha/core/record/codec.h"
#include "ha/core/record/limits.h"

#include <stdbool.h>
#include <stdint.h>

struct ha_voter {
	uint32_t id;    /* node id */
	uint32_t votes; /* at least 1: who has none is not in the list */
};

struct ha_voters {
	uint64_t version;                 /* of a list that stands in the log: how many came before it, and it; else 0 */
	uint64_t witness;                 /* id of the storage witness that has one vote (ha/core/witness.c), 0 = none */
	uint32_t n;                       /* 0 = there is no list yet */
	struct ha_voter of[HA_NODES_MAX]; /* by rising node id */
};

/** ha_voters_of() - votes of node @id, 0 = it has none */
uint32_t ha_voters_of(const struct ha_voters *l, uint32_t id);

/** ha_voters_total() - the votes of all, the witness's included */
uint64_t ha_voters_total(const struct ha_voters *l);
/** ha_voters_hosts() - ... of the hosts alone */
uint64_t ha_voters_hosts(const struct ha_voters *l);

/** ha_voters_majority() - votes that are more than half of all; 1 of an empty list: nobody has it */
uint64_t ha_voters_majority(const struct ha_voters *l);

/** ha_voters_same_hosts() - the same hosts with the same votes?  Whatever version, and witness. */
bool ha_voters_same_hosts(const struct ha_voters *a, const struct ha_voters *b);
/** ha_voters_same() - ... and the same witness? */
bool ha_voters_same(const struct ha_voters *a, const struct ha_voters *b);

/** ha_voters_hash() - digest of hosts and votes, equal where ha_voters_same() */
uint64_t ha_voters_hash(const struct ha_voters *l);

/** ha_voters_set() - give node @id that many votes, 0 = take it out; nothing where there is no room for it */
void ha_voters_set(struct ha_voters *l, uint32_t id, uint32_t votes);

/**
 * ha_voters_step() - one vote of node @id @more, or one less
 * Return: false, and nothing is changed, where it has none to lose, or it is the last vote of all hosts, or
 * there is no room for another.
 */
bool ha_voters_step(struct ha_voters *l, uint32_t id, bool more);

/**
 * ha_voters_witness() - give witness @id its vote (@more), or take it
 * Return: false, and nothing is changed, where there is one already, or another one, or no host has a vote.
 */
bool ha_voters_witness(struct ha_voters *l, uint64_t id, bool more);

/** ha_voters_put() - the hosts and their votes; the version is written by who needs it */
void ha_voters_put(struct ha_writer *w, const struct ha_voters *l);
/** ha_voters_get() - bad unless they rise and each has a vote; version 0 */
void ha_voters_get(struct ha_reader *r, struct ha_voters *l);

#endif
