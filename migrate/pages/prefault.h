/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefault - give memory to a domain that is expected, before the first page comes.
 *
 * The first touch of a page costs the host far more than filling it: on a host
 * that is itself a virtual machine 50 ms to 3 s per GiB.  A destination that
 * waits for its source has nothing else to do, so a thread of lower priority
 * touches the memory meanwhile.
 *
 *   waiting for the source      GO
 *   a source has come           HOLD    memory that is all zero needs none
 *   much data has come          GO      in front of the receivers, which populate what they are about to write
 *   the first round is over     END     what is untouched now holds zeros, and the downtime comes near
 *
 * A page that was populated here holds zeros and still counts as never written.
 *
 * It stops by itself when little memory is left (an eighth of the host's), so it
 * never drives a host that overcommits into reclaim.
 */
#ifndef DROVER_MIGRATE_PAGES_PREFAULT_H
#define DROVER_MIGRATE_PAGES_PREFAULT_H

#include "migrate/guest.h"

#include <pthread.h>
#include <stdbool.h>

struct prefault {
	const struct guest_region *regions;
	size_t n;
	bool (*plenty)(void *arg, uint64_t bytes);
	void *arg;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	enum {
		PREFAULT_GO,
		PREFAULT_HOLD,
		PREFAULT_END
	} mode; /* under lock; END is for ever */
};

/**
 * prefault_start() - begin with @regions, which must stay until prefault_stop(); failing is no harm
 * @plenty: as in struct migrate_params, with @arg; called on a thread of its own
 */
void prefault_start(struct prefault *a, const struct guest_region *regions, size_t n,
		    bool (*plenty)(void *arg, uint64_t bytes), void *arg);
/* None of these waits; without prefault_start() they do nothing. */
void prefault_hold(struct prefault *a);
/** prefault_go() - on again after prefault_hold(); not after prefault_enough() */
void prefault_go(struct prefault *a);
/** prefault_enough() - let it end soon, for ever; prefault_stop() waits for that */
void prefault_enough(struct prefault *a);
/**
 * prefault_stop() - end it and wait; may be called twice
 * Not where time matters: a thread of lower priority may take long over its last huge page.
 */
void prefault_stop(struct prefault *a);

#endif
