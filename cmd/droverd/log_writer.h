/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_writer - a thread that writes lines to syslog or standard error, so that nobody
 * waits for a log daemon that hangs or a pipe that is not read.
 *
 * Lines wait in a ring; those that find it full are dropped and counted, and the
 * count is written once there is room again.
 */
#ifndef DROVER_CMD_DROVERD_LOG_WRITER_H
#define DROVER_CMD_DROVERD_LOG_WRITER_H

#include <stdbool.h>

#define LOG_WRITER_LINE_MAX 512 /* with its final zero; the rest of a longer line is cut off */

struct log_writer;

/** log_writer_open() - @who is put before each line, and kept; NULL without memory or thread */
struct log_writer *log_writer_open(const char *who, bool to_stderr);

/** log_writer_put() - @priority is syslog's; any thread; never waits */
void log_writer_put(struct log_writer *w, int priority, const char *line);

/** log_writer_close() - wait until all is written, but no longer than a second; NULL is fine */
void log_writer_close(struct log_writer *w);

#endif
