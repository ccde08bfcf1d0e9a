/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait - a condition that somebody waits for with a deadline.
 *
 * POSIX cannot wait on CLOCK_BOOTTIME, which rule T decides by, so these deadlines are on
 * CLOCK_MONOTONIC.  Nothing may hang on them but how long a thread sleeps: whoever wakes looks
 * at clock_ns() again.
 */
#ifndef DROVER_BASE_WAIT_H
#define DROVER_BASE_WAIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/** wait_init() - make @cond one that wait_until() can wait for; ends with pthread_cond_destroy() */
void wait_init(pthread_cond_t *cond);

/** wait_now() - nanoseconds on the clock of deadlines; "in 5 ms" is wait_now() + 5 * NS_PER_MS */
uint64_t wait_now(void);

/**
 * wait_until() - with @lock held: sleep until @cond is signalled, at most until @deadline
 * @cond: made by wait_init()
 * Like every wait for a condition it may wake for nothing: call it in a loop on what is waited for.
 * Return: false when the deadline has passed
 */
bool wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline);

#endif
