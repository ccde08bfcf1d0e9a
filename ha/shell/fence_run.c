/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence_run - see fence_run.h.
 *
 * One run per host at a time.  A run lives in the loop as one descriptor; when it
 * ends, the descriptor is closed by fence_end() and -1 returned to qb (see
 * cpg.c on_ready() for why not qb_loop_poll_del()).
 */
#include "ha/shell/fence_run.h"

#include "base/log.h"
#include "fence/fence.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
	struct run *next;
	struct fence_runs *runs;
	uint32_t node;
	uint64_t debt;
	struct fence_op *op;
};

struct fence_runs {
	qb_loop_t *loop;
	const struct cluster_conf *conf;
	fence_runs_done done;
	void *arg;
	struct run *list;
};

struct fence_runs *fence_runs_open(qb_loop_t *loop, const struct cluster_conf *conf,
				   fence_runs_done done, void *arg)
{
	struct fence_runs *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->loop = loop;
	r->conf = conf;
	r->done = done;
	r->arg = arg;
	return r;
}

static struct run **find(struct fence_runs *r, uint32_t node)
{
	struct run **p;

	for (p = &r->list; *p; p = &(*p)->next)
		if ((*p)->node == node)
			break;
	return p;
}

static void unlink_run(struct run *run)
{
	struct run **p = find(run->runs, run->node);

	assert(*p == run); /* one run for each host */
	*p = run->next;
}

static int32_t on_ready(int32_t fd, int32_t revents, void *data)
{
	struct run *run = data;
	struct fence_runs *r = run->runs;
	struct fence_result result;
	struct run ended = *run;

	if (fence_step(run->op) == -EINPROGRESS)
		return 0;
	result = *fence_result(run->op);
	fence_end(run->op);
	unlink_run(run);
	free(run);
	r->done(r->arg, ended.node, ended.debt, result.code, result.text);
	return -1;
}

void fence_runs_start(struct fence_runs *r, uint32_t node, uint64_t debt, const char *name)
{
	struct run *old = *find(r, node);
	const struct cluster_host *host = cluster_conf_host(r->conf, name);
	struct err e = { 0 };
	struct run *run;
	char text[160];
	int rc;

	if (old && old->debt == debt)
		return;
	fence_runs_cancel(r, node);
	if (!host || !host->n_fence) {
		snprintf(text, sizeof(text), "no fence device is configured for %s", name);
		r->done(r->arg, node, debt, -ENODEV, text);
		return;
	}
	run = calloc(1, sizeof(*run));
	if (!run) {
		r->done(r->arg, node, debt, -ENOMEM, "out of memory");
		return;
	}
	run->runs = r;
	run->node = node;
	run->debt = debt;
	rc = fence_start(host, r->conf->agents_dir, FENCE_OFF, &run->op, &e);
	if (rc < 0)
		goto out_free;
	rc = qb_loop_poll_add(r->loop, QB_LOOP_HIGH, fence_fd(run->op), POLLIN, run, on_ready);
	if (rc < 0) {
		err_set(&e, rc, "cannot watch a fence agent: %s", strerror(-rc));
		fence_end(run->op);
		goto out_free;
	}
	assert(!*find(r, node));
	run->next = r->list;
	r->list = run;
	return;
out_free:
	free(run);
	r->done(r->arg, node, debt, rc, e.text);
}

static void run_drop(struct run *run)
{
	qb_loop_poll_del(run->runs->loop, fence_fd(run->op));
	fence_end(run->op);
	unlink_run(run);
	free(run);
}

void fence_runs_cancel(struct fence_runs *r, uint32_t node)
{
	struct run *run = *find(r, node);
	uint64_t debt;

	if (!run)
		return;
	debt = run->debt;
	run_drop(run);
	r->done(r->arg, node, debt, -ECANCELED, "cancelled: it is back, or proved dead");
}

int fence_runs_busy(const struct fence_runs *r, uint32_t node)
{
	return *find((struct fence_runs *)r, node) != NULL;
}

void fence_runs_close(struct fence_runs *r)
{
	if (!r)
		return;
	while (r->list)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was dropped is not in the list any more */
		run_drop(r->list);
	free(r);
}
