/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names - which slot of a table has a name: a hash table with chains, by slot number.
 *
 * It holds numbers only; the names are in the table that it belongs to.  Whoever looks compares
 * what is in the slot, for a bucket is shared:
 *
 *	for (k = ha_names_first(n, name); k; k = ha_names_next(n, k))
 *		if (!strcmp(table[k - 1].name, name)) ...
 *
 * Nothing that is replicated depends on the order in a chain.
 */
#ifndef DROVER_HA_CORE_RECORD_NAMES_H
#define DROVER_HA_CORE_RECORD_NAMES_H

#include "ha/core/record/limits.h"

#include <stdint.h>

#define HA_NAMES_SLOTS (HA_DOMAINS_MAX + 64u)
#define HA_NAMES_BUCKETS 16384u /* a power of two */

struct ha_names {
	uint16_t head[HA_NAMES_BUCKETS]; /* slot + 1, 0 = none */
	uint16_t next[HA_NAMES_SLOTS];   /* of the same bucket; of those that are in it */
};

/** ha_names_clear() - an empty one, whatever it held */
void ha_names_clear(struct ha_names *n);

/** ha_names_add() - @slot (below HA_NAMES_SLOTS, not in the index) is called @name from now on */
void ha_names_add(struct ha_names *n, const char *name, uint32_t slot);
/** ha_names_drop() - @slot, which was added as @name, is in use no more; nothing if it is not there */
void ha_names_drop(struct ha_names *n, const char *name, uint32_t slot);
/** ha_names_first() - a slot that may be called @name, plus 1; 0: there is none */
uint32_t ha_names_first(const struct ha_names *n, const char *name);
/** ha_names_next() - the one after @k, which came from here or from ha_names_first() */
static inline uint32_t ha_names_next(const struct ha_names *n, uint32_t k)
{
	return n->next[k - 1];
}

#endif
