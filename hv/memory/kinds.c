/* SPDX-License-Identifier: Apache-2.0 */
/* kinds - what holds for each kind of memory; memory.h has the same in words. */
#include "hv/memory/memory.h"

#include <assert.h>

static const struct gmem_rules rules[] = {
	[GMEM_RAM] = { .name = "ram", .move = GMEM_MOVE_LOGGED, .guest_writes = true, .devices = true },
	[GMEM_ROM] = { .name = "rom", .move = GMEM_MOVE_ONCE, .may_leave = true },
	[GMEM_FLASH] = { .name = "flash", .move = GMEM_MOVE_LOGGED, .stored = true, .may_leave = true },
	[GMEM_SHARED] = { .name = "shared", .move = GMEM_MOVE_NEVER, .guest_writes = true, .may_leave = true },
	[GMEM_VIDEO] = { .name = "video", .move = GMEM_MOVE_LOGGED, .guest_writes = true, .may_leave = true, .placed = true },
};

const struct gmem_rules *gmem_rules_of(enum gmem_kind kind)
{
	const struct gmem_rules *r;

	assert((unsigned int)kind < sizeof(rules) / sizeof(rules[0]));
	r = &rules[kind];
	/* Devices keep addresses for as long as they like; and what is sent once is written by nobody. */
	assert(!r->devices || !r->may_leave);
	assert(r->move != GMEM_MOVE_ONCE || (!r->guest_writes && !r->stored));
	return r;
}
