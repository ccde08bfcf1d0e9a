/* SPDX-License-Identifier: Apache-2.0 */
/* destination_int - what the destination_*.c share; for them only. */
#ifndef DROVER_MIGRATE_SESSION_DESTINATION_DESTINATION_INT_H
#define DROVER_MIGRATE_SESSION_DESTINATION_DESTINATION_INT_H

#include "migrate/migrate.h"
#include "migrate/pages/prefault.h"
#include "migrate/session/destination/receiver.h"

#define DESTINATION_GRANT_MS 60000u /* a dead source is noticed long before */

struct destination {
	struct migrate_params p;
	struct session s;
	struct receiver_pool pool;
	bool pool_ok;
	struct prefault prefault;
	uint64_t incarnation; /* what it will have here */
	uint32_t n_channels;  /* data connections the source opens */
	uint8_t *state;
	uint32_t state_len, state_got;
	uint64_t start_ns, load_ns;
};

/** destination_setup() - wait for a source, compare, accept its data connections, say START */
int destination_setup(struct destination *d, struct err *e);

/** destination_ready() - load the device state and say READY */
int destination_ready(struct destination *d, struct err *e);

/**
 * destination_handover() - wait for GRANT, ask the arbiter, run (rule H)
 * Return: 0 it runs here; -EINPROGRESS nobody knows yet, it stands; else it does not run here.
 */
int destination_handover(struct destination *d, struct err *e);

/** destination_refresh_stats() - bring the statistics up to date; session.lock held */
void destination_refresh_stats(struct destination *d);

#endif
