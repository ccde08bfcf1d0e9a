/* SPDX-License-Identifier: Apache-2.0 */
/* source_int - what source.c and source_setup.c share; for them only. */
#ifndef DROVER_MIGRATE_SOURCE_INT_H
#define DROVER_MIGRATE_SOURCE_INT_H

#include "migrate/converge.h"
#include "migrate/migrate.h"
#include "migrate/sender.h"

struct source {
	struct migrate_params p;
	struct session s;
	struct sender_pool pool;
	struct converge conv;
	bool pool_ok;
	bool logging, paused, released;  /* what give_up() must undo */
	uint64_t start_ns, pause_ns, round_ns;
};

static inline const struct guest_ops *ops(const struct source *src)
{
	return src->p.guest.ops;
}

static inline void *self(const struct source *src)
{
	return src->p.guest.self;
}

/** source_setup() - connect, compare, open the data connections; the destination has said START */
int source_setup(struct source *src, struct err *e);

/** source_expect() - the next record must be @type; free() it */
int source_expect(struct source *src, uint16_t type, uint32_t wait_ms, struct session_record **out,
		  struct err *e);

#endif
