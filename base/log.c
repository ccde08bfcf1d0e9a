/* SPDX-License-Identifier: Apache-2.0 */
/* log - see log.h.  A line leaves in one write(2), so lines never mix. */
#include "base/log.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *log_who = "drover";
static enum log_level log_upto = LOG_LEVEL_INFO;
static log_sink log_to;

void log_init(const char *who, enum log_level level)
{
	log_who = who;
	log_upto = level;
}

void log_set_sink(log_sink sink)
{
	log_to = sink;
}

/* #syscalls:all write */
void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const word[] = { "error: ", "warning: ", "", "debug: " };
	char line[1024];
	va_list ap;
	int n, m;

	if (level > log_upto)
		return;
	n = log_to ? 0 : snprintf(line, sizeof(line) - 1, "%s: %s", log_who, word[level]);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - 1 - (size_t)n, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	text_clean(line);
	if (log_to) {
		log_to(level, line);
		return;
	}
	n = (int)strlen(line);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* nowhere left to tell */
}
