/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon_log - where droverd's lines go: libqb's log.
 *
 *   standard error   at a terminal and with --foreground
 *   syslog           otherwise
 *   blackbox         always: the newest lines in memory, debug lines too, written to a
 *                    file when asked (SIGUSR2), after an error, and by a crash
 *
 * Code below cmd/ knows nothing of this; it calls base/log.h.
 * Main thread only; it has state of its own, as a log and signal handlers must.
 */
#ifndef DROVER_CMD_DROVERD_DAEMON_LOG_H
#define DROVER_CMD_DROVERD_DAEMON_LOG_H

#include <stdbool.h>

enum daemon_log_why {
	DAEMON_LOG_ASKED,
	DAEMON_LOG_ERROR,
	DAEMON_LOG_CRASH,
	DAEMON_LOG_WHYS
};

/**
 * daemon_log_open() - take over all lines of base/log.h
 * @to_stderr: instead of to syslog
 * @debug: debug lines too; the blackbox gets them anyway
 *
 * Never fails: what cannot be had is said in a warning and done without.
 */
void daemon_log_open(bool to_stderr, bool debug);

/**
 * daemon_log_keep_in() - from now on the blackbox can be written to @dir, and a crash does it
 * A path too long is warned of, and the blackbox then goes nowhere.
 */
void daemon_log_keep_in(const char *dir);

/**
 * daemon_log_write() - the blackbox to blackbox-asked, -error or -crash in the directory,
 * in place of an older one.  0 or a negative errno; -ENOENT when there is no blackbox.
 */
int daemon_log_write(enum daemon_log_why why);

/**
 * daemon_log_close() - everything said so far is out, if it is taken within a second
 * Lines go to standard error again.
 */
void daemon_log_close(void);

#endif
