/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rate_limit - see rate_limit.h.
 *
 * Each record books its time on one shared time line and sleeps until its
 * place begins.  Up to BURST_NS may be booked from the past, so a thread that
 * was late does not lose bandwidth, and one that idled cannot save it up.
 */
#include "migrate/pages/rate_limit.h"

#include "base/clock.h"

#include <time.h>

#define BURST_NS (20 * NS_PER_MS)
#define SLICE_NS (20 * NS_PER_MS) /* how late a cancel may be noticed */

void rate_limit_init(struct rate_limit *p, uint64_t rate)
{
	pthread_mutex_init(&p->lock, NULL);
	p->rate = rate;
	p->free_at_ns = 0;
}

void rate_limit_destroy(struct rate_limit *p)
{
	pthread_mutex_destroy(&p->lock);
}

uint64_t rate_limit_wait(struct rate_limit *p, uint64_t bytes, const _Atomic bool *stop)
{
	uint64_t begin, now, at, left;
	struct timespec t;

	if (!p->rate)
		return 0;
	begin = now = clock_ns();
	pthread_mutex_lock(&p->lock);
	if (p->free_at_ns + BURST_NS < now)
		p->free_at_ns = now - BURST_NS;
	at = p->free_at_ns;
	p->free_at_ns += (uint64_t)((double)bytes * (double)NS_PER_SEC / (double)p->rate);
	pthread_mutex_unlock(&p->lock);
	while (now < at && !atomic_load_explicit(stop, memory_order_relaxed)) {
		left = at - now < SLICE_NS ? at - now : SLICE_NS;
		t = (struct timespec){ .tv_nsec = (long)left };
		nanosleep(&t, NULL);
		now = clock_ns();
	}
	return now - begin;
}
