/* SPDX-License-Identifier: Apache-2.0 */
/* log_limit - see log_limit.h.  A token bucket that needs one number: when it will be full. */
#include "base/log_limit.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>

static struct log_limit guest_limit = LOG_LIMIT_INIT;

bool log_limit_pass(struct log_limit *l, uint64_t *left_out)
{
	uint64_t now = clock_ms();
	bool pass;

	pthread_mutex_lock(&l->lock);
	if (l->full_ms < now)
		l->full_ms = now;
	pass = l->full_ms + LOG_LIMIT_EVERY_MS <= now + LOG_LIMIT_BURST * LOG_LIMIT_EVERY_MS;
	*left_out = pass ? l->left_out : 0;
	if (pass) {
		l->full_ms += LOG_LIMIT_EVERY_MS;
		l->left_out = 0;
	} else {
		l->left_out++;
	}
	pthread_mutex_unlock(&l->lock);
	return pass;
}

static void limited(struct log_limit *l, enum log_level level, const char *fmt, va_list ap)
{
	uint64_t left_out;
	char text[768];

	if (!log_limit_pass(l, &left_out))
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	if (left_out)
		log_line(level, "%s (%llu more left out)", text, (unsigned long long)left_out);
	else
		log_line(level, "%s", text);
}

void log_limited(struct log_limit *l, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	limited(l, level, fmt, ap);
	va_end(ap);
}

void log_of_guest(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	limited(&guest_limit, level, fmt, ap);
	va_end(ap);
}
