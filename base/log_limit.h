/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_limit - how many lines somebody we do not trust may cause.
 *
 * A guest can reset itself, break a queue or send a bad request a hundred thousand
 * times a second; a peer or a client can do the like.  Each such source has a
 * limit: LOG_LIMIT_BURST lines at once, then one every LOG_LIMIT_EVERY_MS.  What
 * was left out is counted and told with the next line that passes.
 */
#ifndef DROVER_BASE_LOG_LIMIT_H
#define DROVER_BASE_LOG_LIMIT_H

#include "base/log.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LOG_LIMIT_BURST 20u
#define LOG_LIMIT_EVERY_MS 5000u

struct log_limit {
	pthread_mutex_t lock;
	uint64_t full_ms;  /* clock_ms() at which the whole burst is there again */
	uint64_t left_out; /* since the last line that passed */
};

#define LOG_LIMIT_INIT                            \
	{                                         \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}

/**
 * log_limit_pass() - may another line pass?
 * @left_out: how many did not since the last one that did; 0 when it may not
 * Thread: any.
 */
bool log_limit_pass(struct log_limit *l, uint64_t *left_out);

/** log_limited() - log_line(), if @l lets it pass; " (N more left out)" at its end */
void log_limited(struct log_limit *l, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** log_of_guest() - a line that a guest can cause: one limit for all of them in a process of one domain */
void log_of_guest(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
