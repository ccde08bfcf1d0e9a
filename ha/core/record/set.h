/* SPDX-License-Identifier: Apache-2.0 */
/* set - a set of hosts: by their slots in the record, or by their places in a daemon's table of peers. */
#ifndef DROVER_HA_CORE_RECORD_SET_H
#define DROVER_HA_CORE_RECORD_SET_H

#include "ha/core/record/limits.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

/* One bit for each; the usual operators join and cut sets, 0 is the empty one. */
__extension__ typedef unsigned __int128 ha_set;

#define HA_SET_ALL (~(ha_set)0)

_Static_assert(HA_NODES_MAX <= 8 * sizeof(ha_set), "a host is a bit");

/** ha_set_of() - the set of host @i alone */
static inline ha_set ha_set_of(uint32_t i)
{
	assert(i < HA_NODES_MAX);
	return (ha_set)1 << i;
}

static inline bool ha_set_has(ha_set s, uint32_t i)
{
	assert(i < HA_NODES_MAX);
	return s >> i & 1;
}

/** ha_set_count() - how many are in it */
static inline uint32_t ha_set_count(ha_set s)
{
	return (uint32_t)(__builtin_popcountll((uint64_t)s) + __builtin_popcountll((uint64_t)(s >> 64)));
}

#endif
