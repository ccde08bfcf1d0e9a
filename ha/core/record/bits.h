/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bits - a set of slots, gone through from the lowest up without looking at those that are not in it.
 *
 * Two floors: a bit of @some says that a word of @word is not zero.  All zeroes is the empty set.
 *
 *	for (i = ha_bits_next(b, 0); i != HA_BITS_END; i = ha_bits_next(b, i + 1)) ...
 *
 * Slots may be added and dropped meanwhile; whether those above @i are met then is as one would think.
 */
#ifndef DROVER_HA_CORE_RECORD_BITS_H
#define DROVER_HA_CORE_RECORD_BITS_H

#include "ha/core/record/names.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define HA_BITS_WORDS ((HA_NAMES_SLOTS + 63u) / 64u)
#define HA_BITS_END UINT32_MAX

struct ha_bits {
	uint64_t some[(HA_BITS_WORDS + 63u) / 64u];
	uint64_t word[HA_BITS_WORDS];
};

static inline bool ha_bits_has(const struct ha_bits *b, uint32_t i)
{
	assert(i < HA_NAMES_SLOTS);
	return b->word[i / 64] >> i % 64 & 1;
}

static inline void ha_bits_add(struct ha_bits *b, uint32_t i)
{
	assert(i < HA_NAMES_SLOTS);
	b->word[i / 64] |= 1ull << i % 64;
	b->some[i / 4096] |= 1ull << i / 64 % 64;
}

static inline void ha_bits_drop(struct ha_bits *b, uint32_t i)
{
	assert(i < HA_NAMES_SLOTS);
	b->word[i / 64] &= ~(1ull << i % 64);
	if (!b->word[i / 64])
		b->some[i / 4096] &= ~(1ull << i / 64 % 64);
}

static inline void ha_bits_set(struct ha_bits *b, uint32_t i, bool in)
{
	if (in)
		ha_bits_add(b, i);
	else
		ha_bits_drop(b, i);
}

/** ha_bits_next() - the lowest slot in it that is not below @from; HA_BITS_END when there is none */
static inline uint32_t ha_bits_next(const struct ha_bits *b, uint32_t from)
{
	uint64_t left;
	uint32_t w;

	if (from >= HA_NAMES_SLOTS)
		return HA_BITS_END;
	left = b->word[from / 64] >> from % 64;
	if (left)
		return from + (uint32_t)__builtin_ctzll(left);
	for (w = from / 64 + 1; w < HA_BITS_WORDS; w = (w / 64 + 1) * 64) {
		left = b->some[w / 64] >> w % 64;
		if (!left)
			continue;
		w += (uint32_t)__builtin_ctzll(left);
		return w * 64 + (uint32_t)__builtin_ctzll(b->word[w]);
	}
	return HA_BITS_END;
}

#endif
