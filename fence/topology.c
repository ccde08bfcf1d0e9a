/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topology - levels of fence devices.
 *
 *	level 1   psu-a AND psu-b      both feeds must be off
 *	   | one of them failed
 *	level 2   bmc                  asked afresh, from nothing
 *	   | failed
 *	over, no proof
 *
 * Devices of one level run side by side: two feeds of one host take as long
 * as the slower.  A level ends when all of its devices have ended, also after
 * a failure: killing the other agent half-way would leave its device in an
 * unknown state while the next level begins.
 */
#include "fence/agent.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct fence_op {
	const struct cluster_host *host;
	char *agents_dir;
	enum fence_action action;
	int epfd;
	int wakefd;        /* -1, or readable: see fence_wake() */
	size_t begin, end; /* the level that runs: host->fence[begin..end) */
	bool over;
	uint64_t began_ms;
	struct fence_result result;
	struct agent agents[CLUSTER_FENCE_MAX];
};

static const char *power_str(enum fence_power p)
{
	switch (p) {
	case FENCE_POWER_UNKNOWN:
		return "unknown";
	case FENCE_POWER_ON:
		return "on";
	case FENCE_POWER_OFF:
		return "off";
	}
	return "?";
}

static void __attribute__((format(printf, 2, 3)))
fence_say(struct fence_op *op, const char *fmt, ...)
{
	struct fence_result *r = &op->result;
	size_t used = strlen(r->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->text + used, sizeof(r->text) - used, fmt, ap);
	va_end(ap);
}

/* Start the devices from op->begin to the end of their level (a monitor asks all levels at once). */
static void fence_level_start(struct fence_op *op)
{
	const struct cluster_fence *f = op->host->fence;
	size_t i = op->begin;

	assert(op->begin < op->host->n_fence && op->host->n_fence <= CLUSTER_FENCE_MAX);
	while (i < op->host->n_fence &&
	       (op->action == FENCE_MONITOR || f[i].level == f[op->begin].level)) {
		agent_start(&op->agents[i], &f[i], op->agents_dir, op->action, op->epfd);
		i++;
	}
	op->end = i;
	op->result.level = f[op->begin].level;
}

static void fence_over(struct fence_op *op, int code)
{
	assert(!op->over);
	op->over = true;
	op->result.code = code;
	op->result.took_ms = clock_ms() - op->began_ms;
}

static enum fence_power fence_level_power(const struct fence_op *op)
{
	size_t i;

	if (op->action != FENCE_STATUS)
		return FENCE_POWER_UNKNOWN;
	for (i = op->begin; i < op->end; i++)
		if (op->agents[i].power != FENCE_POWER_OFF)
			return FENCE_POWER_ON;
	return FENCE_POWER_OFF;
}

static void fence_level_succeeded(struct fence_op *op)
{
	size_t i;

	op->result.text[0] = '\0';
	op->result.power = fence_level_power(op);
	if (op->action == FENCE_STATUS)
		fence_say(op, "%s says", power_str(op->result.power));
	else
		fence_say(op, "%s by", fence_action_str(op->action));
	for (i = op->begin; i < op->end; i++)
		fence_say(op, "%s %s", i > op->begin ? " and" : "", op->host->fence[i].agent);
	fence_over(op, 0);
	fence_say(op, " in %llu ms (level %u)", (unsigned long long)op->result.took_ms,
		  op->result.level);
}

/* Rule F: one device of the level without a confirmed success is no proof. */
static void fence_level_end(struct fence_op *op)
{
	int code = 0;
	size_t i;

	for (i = op->begin; i < op->end; i++) {
		const struct agent *a = &op->agents[i];

		if (!a->code)
			continue;
		code = a->code;
		fence_say(op, "%slevel %u: %s: %s", op->result.text[0] ? "; " : "",
			  a->device->level, a->device->agent, a->text);
	}
	if (!code) {
		fence_level_succeeded(op);
	} else if (op->end == op->host->n_fence) {
		fence_over(op, code);
	} else {
		op->begin = op->end;
		fence_level_start(op);
	}
}

/* When no agent of the first level could be run, there is nothing else to wake the loop. */
static void fence_wake(struct fence_op *op)
{
	struct epoll_event ev = { .events = EPOLLIN };
	size_t i;

	for (i = op->begin; i < op->end; i++)
		if (!op->agents[i].done)
			return;
	op->wakefd = eventfd(1, EFD_CLOEXEC);
	if (op->wakefd >= 0)
		epoll_ctl(op->epfd, EPOLL_CTL_ADD, op->wakefd, &ev);
}

int fence_start(const struct cluster_host *host, const char *agents_dir,
		enum fence_action action, struct fence_op **out, struct err *e)
{
	struct fence_op *op;

	*out = NULL;
	if (!host || host->n_fence == 0)
		return err_set(e, -ENODEV, "no fence device is configured for %s",
			       host ? host->name : "this host");
	if (host->n_fence > CLUSTER_FENCE_MAX)
		return err_set(e, -EINVAL, "%s has %zu fence devices, at most %d are possible",
			       host->name, host->n_fence, CLUSTER_FENCE_MAX);
	op = calloc(1, sizeof(*op));
	if (!op)
		return err_set(e, -ENOMEM, "no memory to fence %s", host->name);
	op->host = host;
	op->wakefd = -1;
	op->action = action;
	op->began_ms = clock_ms();
	op->agents_dir = strdup(agents_dir);
	op->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (op->epfd < 0 || !op->agents_dir) {
		err_errno(e, "cannot fence %s", host->name);
		fence_end(op);
		return -ENOMEM;
	}
	fence_level_start(op);
	fence_wake(op);
	*out = op;
	return 0;
}

int fence_fd(const struct fence_op *op)
{
	return op->epfd;
}

int fence_step(struct fence_op *op)
{
	size_t begin, i;
	bool done;

	while (!op->over) {
		done = true;
		begin = op->begin;
		for (i = begin; i < op->end; i++)
			if (!agent_step(&op->agents[i]))
				done = false;
		if (!done)
			return -EINPROGRESS;
		fence_level_end(op);
	}
	return op->result.code;
}

const struct fence_result *fence_result(const struct fence_op *op)
{
	return &op->result;
}

void fence_end(struct fence_op *op)
{
	size_t i;

	if (!op)
		return;
	for (i = 0; i < CLUSTER_FENCE_MAX; i++)
		agent_end(&op->agents[i]);
	if (op->wakefd >= 0)
		close(op->wakefd);
	if (op->epfd >= 0)
		close(op->epfd);
	free(op->agents_dir);
	free(op);
}

int fence_run(const struct cluster_host *host, const char *agents_dir,
	      enum fence_action action, struct fence_result *r, struct err *e)
{
	struct pollfd p = { .events = POLLIN };
	struct fence_op *op;
	int rc;

	rc = fence_start(host, agents_dir, action, &op, e);
	if (rc)
		return rc;
	p.fd = fence_fd(op);
	while ((rc = fence_step(op)) == -EINPROGRESS)
		poll(&p, 1, -1); /* every agent's deadline is a timer in the set */
	*r = *fence_result(op);
	if (rc)
		err_set(e, rc, "%s", r->text);
	fence_end(op);
	return rc;
}
