/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence - proof of death by power: run the fence devices of a lost host until
 * the host is off for certain (rule F).
 *
 * A host has levels of devices (conf/cluster.h).  All devices of a level must
 * confirm; when one of them fails, the next level is tried.  A device is
 * driven by a ClusterLabs fence agent: a program that reads key=value lines on
 * its standard input and says by its exit status what came of it.  Nothing in
 * that interface bounds how long an agent takes, and some hang for ever (a BMC
 * that accepts a connection and is silent), so each run has our own deadline.
 *
 * Only one outcome is proof: every device of one level was asked for `off` and
 * its agent ended by itself, in time, with status 0.  Everything else (another
 * status, a signal, a deadline, a program that is not there) proves nothing.
 * A host without devices cannot be fenced: fence_start() says so with -ENODEV
 * and the caller's proof is waiting (ha/core/timing.h).
 *
 * Use from an event loop, without blocking and without threads:
 *
 *	fence_start(host, dir, FENCE_OFF, &op, &e)
 *	add fence_fd(op) to the loop, readable
 *	on readable: rc = fence_step(op); -EINPROGRESS: go on, else it is over
 *	fence_result(op) says what came of it; fence_end(op)
 *
 * Agents are children of the calling process: it must not reap children it
 * does not know (no waitpid(-1)), nor set SIGCHLD to SIG_IGN.
 */
#ifndef DROVER_FENCE_FENCE_H
#define DROVER_FENCE_FENCE_H

#include "base/err.h"
#include "conf/cluster.h"

#include <stdint.h>

enum fence_action {
	FENCE_OFF, /* cut the power, and see that it is off */
	FENCE_ON,
	FENCE_STATUS,  /* is it on? */
	FENCE_MONITOR, /* does the device answer? */
};

enum fence_power {
	FENCE_POWER_UNKNOWN,
	FENCE_POWER_ON,
	FENCE_POWER_OFF
};

struct fence_result {
	int code;               /* 0: every device of one level confirmed; else a negative errno */
	uint32_t level;         /* the level that decided */
	enum fence_power power; /* FENCE_STATUS only: off when all devices of the level say off */
	uint64_t took_ms;
	/*
	 * "off by fence_ipmilan in 412 ms (level 1)", or what failed at each
	 * level: "level 1: fence_ipmilan: no success within 20000 ms, killed; ..."
	 */
	char text[480];
};

struct fence_op;

/**
 * fence_start() - begin @action on @host's devices
 * @host: names the devices; must live as long as the operation
 * @agents_dir: where agents without a slash in their name are found
 * @out: the operation, owned by the caller (fence_end())
 *
 * FENCE_OFF, FENCE_ON and FENCE_STATUS try level after level; FENCE_MONITOR
 * asks every device of every level and succeeds when all of them answer.
 * Devices of one level run side by side.
 *
 * Return: 0; -ENODEV when @host has no device; -ENOMEM and the like.  An agent
 * that is missing is not an error here but a failed device.
 */
int fence_start(const struct cluster_host *host, const char *agents_dir,
		enum fence_action action, struct fence_op **out, struct err *e);

/** fence_fd() - readable when fence_step() has something to do; lives until fence_end() */
int fence_fd(const struct fence_op *op);

/**
 * fence_step() - do what is due; never blocks
 * Return: -EINPROGRESS, or fence_result()->code once it is over
 */
int fence_step(struct fence_op *op);

/** fence_result() - what came of it; valid after fence_step() ended */
const struct fence_result *fence_result(const struct fence_op *op);

/** fence_end() - kill what still runs, free @op; NULL is fine */
void fence_end(struct fence_op *op);

/**
 * fence_run() - start, wait, end: for commands and tests, blocks up to the sum
 * of the levels' deadlines
 * Return: as fence_start(), else @r->code
 */
int fence_run(const struct cluster_host *host, const char *agents_dir,
	      enum fence_action action, struct fence_result *r, struct err *e);

/** fence_action_str() - the word an agent is given: "off" */
const char *fence_action_str(enum fence_action a);

#endif
