/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock - the only clocks Drover reads (rule T: never the wall clock, never
 * compared between two hosts).
 *
 * BOOTTIME, not MONOTONIC: a host that was suspended must find its lease gone.
 */
#ifndef DROVER_BASE_CLOCK_H
#define DROVER_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_SEC 1000000000ull
#define NS_PER_MS 1000000ull
#define NS_PER_US 1000ull

/** clock_ns() - nanoseconds since this host booted, sleep included */
static inline uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static inline uint64_t clock_ms(void)
{
	return clock_ns() / NS_PER_MS;
}

/** clock_cpu_ns() - CPU time this thread has used, for the compression controller */
static inline uint64_t clock_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

#endif
