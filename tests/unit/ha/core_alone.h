/* SPDX-License-Identifier: Apache-2.0 */
/* core_alone - a core of which the record alone is looked at: entries are applied to it, and nothing is said to anybody. */
#ifndef DROVER_TESTS_CORE_ALONE_H
#define DROVER_TESTS_CORE_ALONE_H

#include "base/reserve.h"
#include "ha/core/core_int.h"

#include <string.h>

/** core_alone() - hosts 1 to @hosts are members with a vote each, have reported and hold leases; reserve_free() it */
static inline struct ha_core *core_alone(uint32_t hosts)
{
	static struct ha_effects fx;
	struct ha_core *c = reserve_make(ha_core_size());

	ha_core_init(c);
	memset(&fx, 0, sizeof(fx));
	c->out = &fx;
	c->me = 1;
	c->rec.epoch = 5;
	for (uint32_t i = 0; i < hosts; i++) {
		c->rec.members |= ha_set_of(i);
		c->rec.nodes[i].id = i + 1;
		c->rec.nodes[i].leased = true;
		ha_voters_set(&c->rec.voters, i + 1, 1);
	}
	c->rec.voters.version = 1;
	c->log.voters = c->rec.voters;
	ha_votes_count(c);
	return c;
}

/** entry() - the next one of @origin's, all else zero; the same memory each time */
static inline struct ha_entry *entry(enum ha_entry_kind kind, uint32_t origin)
{
	static struct ha_entry e;
	static uint64_t serial;

	memset(&e, 0, sizeof(e));
	e.kind = kind;
	e.origin = origin;
	e.serial = ++serial;
	strcpy(e.actor, "root");
	e.access = HA_ACCESS_ADMIN;
	e.size = (struct ha_size){ 1 << 30, 1 };
	return &e;
}

#endif
