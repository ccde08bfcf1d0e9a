/* SPDX-License-Identifier: Apache-2.0 */
/* witness - see witness.h; what is done with the storage: witness_worker.c. */
#include "ha/witness/witness.h"

#include "base/clock.h"
#include "ha/witness/witness_worker.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS (WITNESS_LOOK_MS / 10)
#define CLOSE_MS 1000

struct witness {
	qb_loop_t *loop;
	const struct witness_ops *ops;
	void *arg;
	char path[PATH_MAX], lock_path[PATH_MAX];
	struct witness_worker conf;
	qb_loop_timer_handle timer;
	bool timer_armed;

	pid_t pid; /* of the worker, 0 = there is none */
	int sock;
	uint64_t cluster;
	uint64_t claimed;    /* the claim that is out, 0 = none */
	uint32_t unanswered; /* questions */
	uint64_t since_ms;   /* when the first of them was asked, or the one before it answered */
	uint64_t look_ms;    /* when to look again */

	bool told, told_ok; /* what seen() was told last */
	struct claim_nodes told_live;
	uint64_t told_newest;
	char told_text[480];
};

static void tell_seen(struct witness *w, bool ok, const struct claim_nodes *live, uint64_t newest, const char *text)
{
	if (w->told && ok == w->told_ok && newest == w->told_newest && !memcmp(live, &w->told_live, sizeof(*live)) &&
	    !strcmp(text, w->told_text))
		return;
	w->told = true;
	w->told_ok = ok;
	w->told_live = *live;
	w->told_newest = newest;
	snprintf(w->told_text, sizeof(w->told_text), "%s", text);
	w->ops->seen(w->arg, ok, &w->told_live, newest, w->told_text);
}

static void tell_unusable(struct witness *w, const char *why)
{
	static const struct claim_nodes nobody;
	char text[sizeof(w->told_text)];

	snprintf(text, sizeof(text), "%.150s: %.300s", w->path, why);
	tell_seen(w, false, &nobody, 0, text);
}

/* ------------------------------------------------------------------ worker */

/* It was told to end, or has; one that its storage holds is left behind. */
static void leave_worker(struct witness *w, int patience_ms)
{
	qb_loop_poll_del(w->loop, w->sock);
	close(w->sock);
	for (int ms = 0; !waitpid(w->pid, NULL, WNOHANG) && ms < patience_ms; ms++)
		usleep(1000);
	w->pid = 0;
	w->sock = -1;
	w->unanswered = 0;
}

static void worker_ended(struct witness *w)
{
	static const char *const why = "the process that reads the witness has ended, and is started again";
	uint64_t claim = w->claimed;

	leave_worker(w, CLOSE_MS);
	w->claimed = 0;
	tell_unusable(w, why);
	if (claim)
		w->ops->claimed(w->arg, claim, false, 0, why);
}

static int32_t on_answer(int32_t fd, int32_t revents, void *data)
{
	struct witness *w = data;
	struct witness_said o;
	ssize_t n = recv(fd, &o, sizeof(o), MSG_DONTWAIT);

	(void)revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n != sizeof(o)) {
		worker_ended(w);
		return 0;
	}
	assert(w->unanswered && (!o.epoch || o.epoch == w->claimed));
	w->unanswered--;
	w->since_ms = clock_ms();
	if (!o.epoch) {
		tell_seen(w, o.ok, &o.live, o.seen, o.text);
		return 0;
	}
	w->claimed = 0;
	w->ops->claimed(w->arg, o.epoch, o.ok, o.seen, o.text);
	return 0;
}

static int start_worker(struct witness *w, struct err *e)
{
	int rc = witness_worker_start(&w->conf, &w->pid, &w->sock, e);

	if (rc < 0) {
		w->pid = 0;
		return rc;
	}
	rc = qb_loop_poll_add(w->loop, QB_LOOP_MED, w->sock, POLLIN, w, on_answer);
	if (rc < 0) {
		leave_worker(w, CLOSE_MS);
		return err_set(e, rc, "cannot watch the witness: %s", strerror(-rc));
	}
	return 0;
}

/* A worker that hangs reads nothing: what it was asked stands in the socket, which has room for that much. */
static int ask(struct witness *w, const struct witness_ask *a, struct err *e)
{
	int rc = w->pid ? 0 : start_worker(w, e);

	if (rc < 0)
		return rc;
	if (send(w->sock, a, sizeof(*a), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return err_errno(e, "cannot ask the process that reads the witness");
	if (!w->unanswered++)
		w->since_ms = clock_ms();
	return 0;
}

/* -------------------------------------------------------------------- looks */

/* One at a time: behind a claim it waits, and if that hangs the next tick says so. */
static void look(struct witness *w)
{
	const struct witness_ask a = { .cluster = w->cluster };
	struct err e = { 0 };

	w->look_ms = clock_ms() + WITNESS_LOOK_MS;
	if (ask(w, &a, &e) < 0)
		tell_unusable(w, e.text);
}

static void on_timer(void *data);

static void arm(struct witness *w)
{
	w->timer_armed = qb_loop_timer_add(w->loop, QB_LOOP_LOW, TICK_MS * QB_TIME_NS_IN_MSEC, w, on_timer, &w->timer) == 0;
}

static void on_timer(void *data)
{
	struct witness *w = data;
	uint64_t now = clock_ms();

	arm(w);
	if (!w->unanswered && now >= w->look_ms)
		look(w);
	else if (w->unanswered && now - w->since_ms >= WITNESS_SLOW_MS)
		tell_unusable(w, "the witness's storage does not answer");
}

/* -------------------------------------------------------------------- claims */

int witness_claim(struct witness *w, const struct claim *c, struct err *e)
{
	struct witness_ask a = { .cluster = c->cluster, .epoch = c->epoch, .log = c->log, .n = (uint32_t)c->n };
	int rc;

	assert(c->epoch && c->n <= CLAIM_SLOTS && c->me == w->conf.me);
	if (w->claimed)
		return err_set(e, -EBUSY, "the witness has not answered the claim before");
	memcpy(a.nodes, c->nodes, c->n * sizeof(c->nodes[0]));
	rc = ask(w, &a, e);
	if (!rc)
		w->claimed = c->epoch;
	return rc;
}

/* ------------------------------------------------------------- open, close */

void witness_cluster(struct witness *w, uint64_t cluster)
{
	assert(cluster);
	w->cluster = cluster;
	w->look_ms = 0;
}

int witness_open(qb_loop_t *loop, const struct witness_worker *conf, const struct witness_ops *ops, void *arg,
		 struct witness **out, struct err *e)
{
	struct witness *w = calloc(1, sizeof(*w));
	int rc;

	*out = NULL;
	if (!w)
		return err_set(e, -ENOMEM, "out of memory");
	assert(conf->me && conf->me < CLAIM_SLOTS && conf->id);
	w->loop = loop;
	w->ops = ops;
	w->arg = arg;
	w->sock = -1;
	w->conf = *conf;
	snprintf(w->path, sizeof(w->path), "%s", conf->path);
	snprintf(w->lock_path, sizeof(w->lock_path), "%s", conf->lock_path);
	w->conf.path = w->path;
	w->conf.lock_path = w->lock_path;
	rc = start_worker(w, e);
	if (rc < 0) {
		free(w);
		return rc;
	}
	arm(w);
	look(w);
	*out = w;
	return 0;
}

void witness_close(struct witness *w)
{
	if (!w)
		return;
	if (w->timer_armed)
		qb_loop_timer_del(w->loop, w->timer);
	if (w->pid)
		leave_worker(w, CLOSE_MS);
	free(w);
}
