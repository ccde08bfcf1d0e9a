/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_writer - see log_writer.h.
 *
 * libqb has a writer thread too, but holds a spin lock while it writes: whoever logs
 * then spins for as long as the log hangs.  Here the lock is held to copy one line.
 * It inherits priority, as a realtime thread may wait for it.
 */
#include "cmd/droverd/log_writer.h"

#include "base/clock.h"
#include "base/wait.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define LINES 256
#define CLOSE_S 1

struct line {
	int priority;
	char text[LOG_WRITER_LINE_MAX];
};

struct log_writer {
	const char *who;
	bool to_stderr;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct line lines[LINES]; /* ring */
	unsigned int first, n;
	unsigned int lost;
	bool quit, ended;
};

static void write_line(const struct log_writer *w, const struct line *l)
{
	char out[LOG_WRITER_LINE_MAX + 64];
	int n;

	if (!w->to_stderr) {
		syslog(l->priority, "%s", l->text);
		return;
	}
	n = snprintf(out, sizeof(out), "%s: %s\n", w->who, l->text);
	if (write(STDERR_FILENO, out, (size_t)n) < 0)
		return; /* nowhere left to tell */
}

static void own_up(struct log_writer *w, struct line *l)
{
	l->priority = LOG_WARNING;
	snprintf(l->text, sizeof(l->text), "warning: %u lines lost: nobody took them off our hands",
		 w->lost);
	w->lost = 0;
}

/* With the lock held. */
static struct line *add(struct log_writer *w)
{
	return &w->lines[(w->first + w->n++) % LINES];
}

/* With the lock held.  False when there is nothing to write. */
static bool take(struct log_writer *w, struct line *out)
{
	if (w->n) {
		*out = w->lines[w->first];
		w->first = (w->first + 1) % LINES;
		w->n--;
		return true;
	}
	if (!w->lost)
		return false;
	own_up(w, out);
	return true;
}

static void *writer_main(void *arg)
{
	struct log_writer *w = arg;
	struct line l;

	pthread_setname_np(pthread_self(), "log");
	pthread_mutex_lock(&w->lock);
	for (;;) {
		if (take(w, &l)) {
			pthread_mutex_unlock(&w->lock);
			write_line(w, &l);
			pthread_mutex_lock(&w->lock);
		} else if (!w->quit) {
			pthread_cond_wait(&w->changed, &w->lock);
		} else {
			break;
		}
	}
	w->ended = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void init_sync(struct log_writer *w)
{
	pthread_mutexattr_t ma;

	pthread_mutexattr_init(&ma);
	pthread_mutexattr_setprotocol(&ma, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&w->lock, &ma);
	pthread_mutexattr_destroy(&ma);
	wait_init(&w->changed);
}

static void release(struct log_writer *w)
{
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

struct log_writer *log_writer_open(const char *who, bool to_stderr)
{
	struct log_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->who = who;
	w->to_stderr = to_stderr;
	init_sync(w);
	if (!to_stderr)
		openlog(who, LOG_PID, LOG_DAEMON);
	if (pthread_create(&w->thread, NULL, writer_main, w)) {
		release(w);
		return NULL;
	}
	return w;
}

void log_writer_put(struct log_writer *w, int priority, const char *line)
{
	struct line *l;

	pthread_mutex_lock(&w->lock);
	if (w->lost && w->n + 2 <= LINES)
		own_up(w, add(w));
	if (w->lost || w->n == LINES) {
		w->lost++;
	} else {
		l = add(w);
		l->priority = priority;
		snprintf(l->text, sizeof(l->text), "%s", line);
		pthread_cond_broadcast(&w->changed);
	}
	pthread_mutex_unlock(&w->lock);
}

void log_writer_close(struct log_writer *w)
{
	uint64_t deadline = wait_now() + CLOSE_S * NS_PER_SEC;
	bool ended;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->quit = true;
	pthread_cond_broadcast(&w->changed);
	while (!w->ended && wait_until(&w->changed, &w->lock, deadline))
		;
	ended = w->ended;
	pthread_mutex_unlock(&w->lock);
	if (!ended) { /* it hangs, and keeps what it works with until the process is gone */
		pthread_detach(w->thread);
		return;
	}
	pthread_join(w->thread, NULL);
	if (!w->to_stderr)
		closelog();
	release(w);
}
