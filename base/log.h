/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log - one line per event on standard error: "drover-hv web: text".
 *
 * droverd sends its own lines through libqb's log (syslog, flight recorder);
 * it installs a sink here, so that code below it need not know.
 */
#ifndef DROVER_BASE_LOG_H
#define DROVER_BASE_LOG_H

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

typedef void (*log_sink)(enum log_level level, const char *line);

/** log_init() - name lines after @who (kept, not copied); show up to @level */
void log_init(const char *who, enum log_level level);

/** log_set_sink() - give lines to @sink instead of standard error */
void log_set_sink(log_sink sink);

/**
 * log_line() - one line; control characters, which guests, peers and files may bring along, become '?'
 */
void log_line(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
