/* SPDX-License-Identifier: Apache-2.0 */
/* wait - see wait.h. */
#include "base/wait.h"

#include "base/clock.h"
#include "base/lock.h"

#include <assert.h>
#include <errno.h>

void wait_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

uint64_t wait_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

bool wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline)
{
	struct timespec t = {
		.tv_sec = (time_t)(deadline / NS_PER_SEC),
		.tv_nsec = (long)(deadline % NS_PER_SEC),
	};

	assert(lock_is_held(lock));
	return pthread_cond_timedwait(cond, lock, &t) != ETIMEDOUT;
}
