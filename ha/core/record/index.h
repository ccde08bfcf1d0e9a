/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index - what the record says, in the order in which it is asked for.
 *
 * Derived from the record, so it is neither replicated nor stored nor part of the digest of
 * anything but itself; a replica that took its record from a snapshot has the same as one that
 * applied every entry.  There is one way to change a domain:
 *
 *	d = ha_record_edit(r, i);          the index notes that it will differ
 *	... change *d ...
 *	ha_index_follow(r);                the index is right again
 *
 * Who reads the index asserts that it has followed, and ha_index_wrong() holds it against a
 * search through everything: the simulator asks it after each entry.
 */
#ifndef DROVER_HA_CORE_RECORD_INDEX_H
#define DROVER_HA_CORE_RECORD_INDEX_H

#include "ha/core/record/bits.h"
#include "ha/core/record/names.h"

#include <stdbool.h>
#include <stdint.h>

struct ha_claim;
struct ha_domain;
struct ha_record;

/* Slots in the order in which they were added, each once. */
struct ha_marks {
	uint32_t n;
	struct ha_bits in;
	uint16_t at[HA_DOMAINS_MAX]; /* below n */
};

/* What of a domain is counted here; 16,384 of them are read in the time of 200 domains. */
struct ha_seat {
	uint32_t owner, target; /* node ids, 0 = none */
	uint64_t claims;        /* ha_index_claim() of each claim: who has none of these bits has none of the claims */
	bool used, waiting, moving;
};

struct ha_index {
	uint32_t used;                       /* domains in use */
	struct ha_bits waiting;              /* domains that wait for a host ... */
	struct ha_bits tried;                /* ... and have none before something about hosts or groups changes */
	uint32_t owned[HA_NODES_MAX];        /* by slot: domains that it owns */
	uint32_t load[HA_NODES_MAX];         /* ... and that move to it */
	uint64_t sum;                        /* of hash[] */
	struct ha_marks edits;               /* the index has not followed yet */
	struct ha_marks news;                /* changed since ha_index_told() */
	struct ha_names names;               /* of domains[] */
	struct ha_seat seat[HA_DOMAINS_MAX]; /* below n_domains */
	uint64_t hash[HA_DOMAINS_MAX];       /* of each domain in use, 0 of others */
};

/** ha_record_edit() - domain @i (below n_domains), which is about to be changed */
struct ha_domain *ha_record_edit(struct ha_record *r, uint32_t i);

/** ha_record_extend() - n_domains grows by one; Return: the new slot, to be filled by ha_record_edit() */
uint32_t ha_record_extend(struct ha_record *r);

/** ha_index_follow() - what was edited is right in the index, names aside */
void ha_index_follow(struct ha_record *r);

/** ha_index_build() - the same for a record that came as a whole; it is news all over */
void ha_index_build(struct ha_record *r);

/** ha_index_claim() - one bit for @a; other claims have the same one, and few have it */
uint64_t ha_index_claim(const struct ha_claim *a);

/** ha_index_retry() - a host or a group changed: who waits may have a host now */
void ha_index_retry(struct ha_record *r);

/** ha_index_next_news() - takes one off the list of domains that changed; -1: there is none */
int ha_index_next_news(struct ha_record *r);

/**
 * ha_index_wrong() - where the index is not what a search through the record finds
 * Return: a literal, or NULL.  Costs as much as the record is long.
 */
const char *ha_index_wrong(const struct ha_record *r);

#endif
