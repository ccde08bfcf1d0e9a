/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence_watch - see fence_watch.h.
 *
 * A round walks the hosts of cluster.yaml; at most one operation runs.  As in fence_run.c its
 * descriptor leaves the loop by -1 from its own callback.
 */
#include "ha/shell/fence_watch.h"

#include "fence/fence.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX sizeof(((struct fence_result *)0)->text)

struct known {
	enum fence_ready ready;
	char text[TEXT_MAX];
};

struct fence_watch {
	qb_loop_t *loop;
	const struct cluster_conf *conf;
	const struct fence_watch_ops *ops;
	void *arg;
	char me[256];
	uint32_t good_ms, bad_ms;
	size_t at; /* host that is asked, conf->n_hosts: between rounds */
	enum fence_action action;
	struct fence_op *op; /* NULL: none runs */
	qb_loop_timer_handle timer;
	bool timer_armed, some_bad;
	struct known known[]; /* as conf->hosts */
};

const char *fence_ready_str(enum fence_ready r)
{
	switch (r) {
	case FENCE_NOT_ASKED: return "not asked";
	case FENCE_NO_DEVICE: return "none";
	case FENCE_READY: return "ready";
	case FENCE_FAILS: return "fails";
	}
	return "?";
}

static void next_host(struct fence_watch *w);

static void on_timer(void *data)
{
	struct fence_watch *w = data;

	w->timer_armed = false;
	w->at = 0;
	w->some_bad = false;
	next_host(w);
}

static void arm(struct fence_watch *w, uint32_t ms)
{
	w->timer_armed = qb_loop_timer_add(w->loop, QB_LOOP_LOW, ms * QB_TIME_NS_IN_MSEC, w, on_timer,
					   &w->timer) == 0;
}

static void learn(struct fence_watch *w, enum fence_ready ready, const char *text)
{
	struct known *k = &w->known[w->at];
	bool news = k->ready != ready || (ready == FENCE_FAILS && strcmp(k->text, text) != 0);

	w->some_bad |= ready == FENCE_FAILS;
	k->ready = ready;
	snprintf(k->text, sizeof(k->text), "%s", ready == FENCE_FAILS ? text : "");
	if (news)
		w->ops->changed(w->arg, w->conf->hosts[w->at].name, ready, k->text);
}

static int32_t on_ready(int32_t fd, int32_t revents, void *data);

static void ask(struct fence_watch *w, enum fence_action action)
{
	const struct cluster_host *host = &w->conf->hosts[w->at];
	struct err e = { 0 };
	int rc;

	w->action = action;
	rc = fence_start(host, w->conf->agents_dir, action, &w->op, &e);
	if (rc == 0) {
		rc = qb_loop_poll_add(w->loop, QB_LOOP_LOW, fence_fd(w->op), POLLIN, w, on_ready);
		if (rc == 0)
			return;
		err_set(&e, rc, "cannot watch a fence agent: %s", strerror(-rc));
		fence_end(w->op);
		w->op = NULL;
	}
	learn(w, rc == -ENODEV ? FENCE_NO_DEVICE : FENCE_FAILS, e.text);
	w->at++;
	next_host(w);
}

/* On to the next host that is to be asked, or to the pause between rounds. */
static void next_host(struct fence_watch *w)
{
	for (; w->at < w->conf->n_hosts; w->at++) {
		const char *name = w->conf->hosts[w->at].name;

		if (strcmp(name, w->me) == 0 || w->ops->busy(w->arg, name))
			continue;
		ask(w, FENCE_MONITOR);
		return;
	}
	if (!w->timer_armed)
		arm(w, w->some_bad ? w->bad_ms : w->good_ms);
}

static int32_t on_ready(int32_t fd, int32_t revents, void *data)
{
	struct fence_watch *w = data;
	const char *name = w->conf->hosts[w->at].name;
	struct fence_result r;

	if (fence_step(w->op) == -EINPROGRESS)
		return 0;
	r = *fence_result(w->op);
	fence_end(w->op);
	w->op = NULL;
	if (r.code == 0 && w->action == FENCE_MONITOR) {
		ask(w, FENCE_STATUS);
		return -1;
	}
	if (r.code < 0)
		learn(w, FENCE_FAILS, r.text);
	else if (r.power == FENCE_POWER_OFF && w->ops->is_on(w->arg, name))
		learn(w, FENCE_FAILS, "its device says that it is off, while it runs: is the plug another host's?");
	else
		learn(w, FENCE_READY, "");
	w->at++;
	next_host(w);
	return -1;
}

static void drop(struct fence_watch *w)
{
	if (!w->op)
		return;
	qb_loop_poll_del(w->loop, fence_fd(w->op));
	fence_end(w->op);
	w->op = NULL;
}

struct fence_watch *fence_watch_open(qb_loop_t *loop, const struct cluster_conf *conf, const char *me,
				     uint32_t good_ms, uint32_t bad_ms,
				     const struct fence_watch_ops *ops, void *arg)
{
	struct fence_watch *w = calloc(1, sizeof(*w) + conf->n_hosts * sizeof(w->known[0]));

	if (!w)
		return NULL;
	w->loop = loop;
	w->conf = conf;
	w->ops = ops;
	w->arg = arg;
	w->good_ms = good_ms;
	w->bad_ms = bad_ms;
	w->at = conf->n_hosts;
	snprintf(w->me, sizeof(w->me), "%s", me);
	arm(w, 0);
	return w;
}

void fence_watch_close(struct fence_watch *w)
{
	if (!w)
		return;
	drop(w);
	if (w->timer_armed)
		qb_loop_timer_del(w->loop, w->timer);
	free(w);
}

void fence_watch_yield(struct fence_watch *w, const char *name)
{
	if (!w || !w->op || strcmp(w->conf->hosts[w->at].name, name) != 0)
		return;
	drop(w);
	w->at++;
	next_host(w);
}

void fence_watch_used(struct fence_watch *w, const char *name, int code, const char *text)
{
	size_t i;

	for (i = 0; w && i < w->conf->n_hosts; i++) {
		struct known *k = &w->known[i];

		if (strcmp(w->conf->hosts[i].name, name) != 0 || k->ready == FENCE_NO_DEVICE)
			continue;
		k->ready = code < 0 ? FENCE_FAILS : FENCE_READY;
		snprintf(k->text, sizeof(k->text), "%s", code < 0 ? text : "");
	}
}

enum fence_ready fence_watch_get(const struct fence_watch *w, const char *name, const char **text)
{
	size_t i;

	*text = "";
	for (i = 0; w && i < w->conf->n_hosts; i++) {
		if (strcmp(w->conf->hosts[i].name, name) != 0)
			continue;
		*text = w->known[i].text;
		return w->known[i].ready;
	}
	return FENCE_NO_DEVICE;
}
