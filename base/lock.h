/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock - for functions that say "called with the lock held": they assert it.
 *
 *	assert(lock_is_held(&s->lock));
 *
 * The answer is that somebody holds it, for POSIX does not tell who; a caller that forgot it is
 * found by the first test in which nobody else is at it.
 */
#ifndef DROVER_BASE_LOCK_H
#define DROVER_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>

/** lock_is_held() - for assert() only: when the answer is no, @lock has been taken */
static inline bool lock_is_held(pthread_mutex_t *lock)
{
	return pthread_mutex_trylock(lock) != 0;
}

#endif
