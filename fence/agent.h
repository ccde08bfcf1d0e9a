/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - one run of one fence agent (fence/fence.h, for siblings only).
 *
 * Specification: ClusterLabs FenceAgentAPI.md.  Options on standard input as
 * key=value lines, `action=` among them; exit status 0 success (status: on),
 * 2 status says off, anything else failure.
 */
#ifndef DROVER_FENCE_AGENT_H
#define DROVER_FENCE_AGENT_H

#include "fence/fence.h"

#include <stdbool.h>
#include <sys/types.h>

struct agent {
	const struct cluster_fence *device;
	enum fence_action action;
	pid_t pid; /* 0: not running */
	int pidfd;
	int epfd;    /* holds the three below; given by the caller */
	int timerfd; /* deadline; after the kill: how long we wait for the end */
	int errfd;   /* agent's standard error, -1 after its end */
	bool killed;
	bool done;
	int code; /* when done: 0 or a negative errno */
	enum fence_power power;
	uint64_t began_ms;
	uint64_t took_ms;
	size_t line_len;
	char line[200]; /* the line being read */
	char last[200]; /* the last whole line that was not empty */
	char text[288]; /* when done with an error: what happened */
};

/**
 * agent_start() - run @d's agent with @action
 * @epfd: gets this run's descriptors, each with @a as its data
 *
 * Return: 0.  What goes wrong from here on is the run's outcome: @a is then
 * done at once.
 */
int agent_start(struct agent *a, const struct cluster_fence *d, const char *agents_dir,
		enum fence_action action, int epfd);

/** agent_step() - look at all that may have happened; never blocks; true when done */
bool agent_step(struct agent *a);

/** agent_end() - kill and free; fine on a zeroed struct */
void agent_end(struct agent *a);

#endif
