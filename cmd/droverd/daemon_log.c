/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon_log - see daemon_log.h.
 *
 * Syslog and standard error are one target of our own with a writer of its own
 * (log_writer.h): a log daemon that hangs must not keep droverd from renewing its lease.
 *
 * The blackbox is a ring of libqb in two files of /dev/shm.  They lose their names at
 * once: a killed daemon then leaves nothing there, however often it is restarted.
 *
 * libqb's own lines and those of corosync's libraries go to the blackbox alone.
 */
#include "cmd/droverd/daemon_log.h"

#include "base/log.h"
#include "cmd/droverd/log_writer.h"

#include <errno.h>
#include <limits.h>
#include <qb/qbdefs.h>
#include <qb/qblog.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define NAME "droverd"
#define BLACKBOX_SIZE (1 << 20)
#define CRASH_DEADLINE_S 2
#define CRASH_STACK (128 << 10)

/* A log is one per process, and a signal handler has no argument. */
static struct {
	struct log_writer *writer;
	bool blackbox;
	char path[DAEMON_LOG_WHYS][PATH_MAX];
	char path_new[PATH_MAX];
} state;

static const int crash_signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };

/* `function` names our lines to the filters; libqb keeps one call site per format and priority. */
static void say(enum log_level level, const char *text)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		qb_log_from_external_source(NAME, NAME, "error: %s", LOG_ERR, 1, 0, text);
		return;
	case LOG_LEVEL_WARN:
		qb_log_from_external_source(NAME, NAME, "warning: %s", LOG_WARNING, 2, 0, text);
		return;
	case LOG_LEVEL_INFO:
		qb_log_from_external_source(NAME, NAME, "%s", LOG_INFO, 3, 0, text);
		return;
	case LOG_LEVEL_DEBUG:
		qb_log_from_external_source(NAME, NAME, "debug: %s", LOG_DEBUG, 4, 0, text);
		return;
	}
}

/* The blackbox takes no line longer than QB_LOG_MAX_LEN with its format: say it in pieces. */
static void sink(enum log_level level, const char *line)
{
	char piece[QB_LOG_MAX_LEN - 64];

	do {
		snprintf(piece, sizeof(piece), "%s", line);
		line += strlen(piece);
		say(level, piece);
	} while (*line);
}

static void take_names_away(void)
{
	static const char *const ends[] = { "header", "data" };
	char path[80];
	size_t i;

	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/dev/shm/qb-" NAME "-%d-blackbox-%s", (int)getpid(),
			 ends[i]);
		unlink(path);
	}
}

static void open_blackbox(void)
{
	int rc;

	qb_log_filter_ctl(QB_LOG_BLACKBOX, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FUNCTION, NAME,
			  LOG_DEBUG);
	qb_log_filter_ctl(QB_LOG_BLACKBOX, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_INFO);
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, BLACKBOX_SIZE);
	rc = qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_TRUE);
	state.blackbox = rc == 0;
	take_names_away();
	if (rc < 0)
		log_warn("no blackbox: %s in /dev/shm", strerror(-rc));
}

/* libqb's custom target */
static void write_later(int32_t target, struct qb_log_callsite *cs, struct timespec *when,
			const char *line)
{
	struct log_writer *w = qb_log_target_user_data_get(target);

	(void)when;
	log_writer_put(w, cs->priority, line);
}

/* Without memory or thread lines leave by libqb's own targets, and we wait for them. */
static int open_target(bool to_stderr)
{
	struct log_writer *w = log_writer_open(NAME, to_stderr);
	int target = w ? qb_log_custom_open(write_later, NULL, NULL, w) : -ENOMEM;

	if (target >= 0) {
		state.writer = w;
		return target;
	}
	log_writer_close(w);
	target = to_stderr ? QB_LOG_STDERR : QB_LOG_SYSLOG;
	qb_log_format_set(target, to_stderr ? NAME ": %b" : "%b");
	return target;
}

void daemon_log_open(bool to_stderr, bool debug)
{
	int target;

	/* syslog is on, with a filter that lets everybody in, until told otherwise */
	qb_log_init(NAME, LOG_DAEMON, LOG_ERR);
	qb_log_filter_ctl(QB_LOG_SYSLOG, QB_LOG_FILTER_CLEAR_ALL, QB_LOG_FILTER_FILE, "*",
			  LOG_TRACE);
	qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
	target = open_target(to_stderr);
	qb_log_filter_ctl(target, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FUNCTION, NAME,
			  debug ? LOG_DEBUG : LOG_INFO);
	qb_log_ctl(target, QB_LOG_CONF_ENABLED, QB_TRUE);
	log_init(NAME, LOG_LEVEL_DEBUG); /* the targets choose */
	log_set_sink(sink);
	open_blackbox();
}

/*
 * As after any crash the heap or libqb's locks may be in disorder: whoever waits for
 * them is ended by the alarm, so that a daemon that should have died does not hang.
 */
static void on_crash(int sig)
{
	signal(SIGALRM, SIG_DFL);
	alarm(CRASH_DEADLINE_S);
	daemon_log_write(DAEMON_LOG_CRASH);
	raise(sig); /* SA_RESETHAND: this time for good */
}

static void catch_crashes(void)
{
	static char stack[CRASH_STACK]; /* a stack overflow is a crash too */
	struct sigaction sa = { .sa_handler = on_crash,
				.sa_flags = SA_ONSTACK | SA_RESETHAND | SA_NODEFER };
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	size_t i;

	sigaltstack(&ss, NULL);
	sigemptyset(&sa.sa_mask);
	for (i = 0; i < sizeof(crash_signals) / sizeof(crash_signals[0]); i++)
		sigaction(crash_signals[i], &sa, NULL);
}

void daemon_log_keep_in(const char *dir)
{
	static const char *const ends[] = { "asked", "error", "crash" };
	size_t i;

	if (strlen(dir) + sizeof("/blackbox-asked.new") > PATH_MAX) {
		log_warn("%.80s...: path too long for the blackbox", dir);
		return;
	}
	for (i = 0; i < DAEMON_LOG_WHYS; i++)
		snprintf(state.path[i], PATH_MAX, "%s/blackbox-%s", dir, ends[i]);
	snprintf(state.path_new, PATH_MAX, "%s/blackbox.new", dir);
	catch_crashes();
}

/* Called by a signal handler, too. */
int daemon_log_write(enum daemon_log_why why)
{
	ssize_t n;

	if (!state.blackbox || !state.path_new[0])
		return -ENOENT;
	unlink(state.path_new);
	n = qb_log_blackbox_write_to_file(state.path_new);
	if (n < 0)
		return (int)n;
	return rename(state.path_new, state.path[why]) < 0 ? -errno : 0;
}

void daemon_log_close(void)
{
	size_t i;

	for (i = 0; i < sizeof(crash_signals) / sizeof(crash_signals[0]); i++)
		signal(crash_signals[i], SIG_DFL);
	log_set_sink(NULL);
	state.blackbox = false;
	qb_log_fini();
	log_writer_close(state.writer);
	state.writer = NULL;
}
