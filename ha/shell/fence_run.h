/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence_run - runs the fence devices of lost hosts (fence/fence.h) in the qb loop.
 */
#ifndef DROVER_HA_SHELL_FENCE_RUN_H
#define DROVER_HA_SHELL_FENCE_RUN_H

#include "conf/cluster.h"

#include <qb/qbdefs.h>
#include <qb/qbloop.h>
#include <stddef.h>
#include <stdint.h>

struct fence_runs;

/** @rc 0: the host is off, confirmed; else nothing is proved (rule F) */
typedef void (*fence_runs_done)(void *arg, uint32_t node, uint64_t debt, int rc, const char *text);

/** fence_runs_open() - NULL without memory; @conf must outlive it */
struct fence_runs *fence_runs_open(qb_loop_t *loop, const struct cluster_conf *conf,
				   fence_runs_done done, void *arg);

/**
 * fence_runs_start() - cut the power of @name (node @node)
 * @debt: given back by done(): an outcome is proof for this debt only
 *
 * done() follows, perhaps from inside this call (no device, no such host).  A
 * run for the same debt that is under way goes on instead; one for an older debt is
 * cancelled: the host may have been back since it began.
 */
void fence_runs_start(struct fence_runs *r, uint32_t node, uint64_t debt, const char *name);

/** fence_runs_cancel() - stop the agents of @node; done() follows with -ECANCELED */
void fence_runs_cancel(struct fence_runs *r, uint32_t node);

/** fence_runs_busy() - true while devices of @node are being driven from here */
int fence_runs_busy(const struct fence_runs *r, uint32_t node);

/** fence_runs_close() - stop everything; done() is not called any more */
void fence_runs_close(struct fence_runs *r);

#endif
