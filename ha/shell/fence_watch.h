/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence_watch - could this host cut the power of the others?
 *
 * A fence device is needed for the first time when a host is dead, and then a wrong
 * password, an agent that is not installed, or a plug that is another host's means that no
 * domain starts again.  So each host asks the devices it would use, those of all other hosts,
 * at start and every few minutes: `monitor` of each device of each level, then `status`,
 * which also shows a plug that is not the host's (off, while the host runs).
 *
 * One host after the other: a BMC has few sessions.  Fencing goes first: fence_watch_yield().
 */
#ifndef DROVER_HA_SHELL_FENCE_WATCH_H
#define DROVER_HA_SHELL_FENCE_WATCH_H

#include "conf/cluster.h"

#include <qb/qbdefs.h>
#include <qb/qbloop.h>
#include <stdbool.h>
#include <stdint.h>

#define FENCE_WATCH_MS 300000    /* all devices answer: asked again after this */
#define FENCE_WATCH_BAD_MS 60000 /* one does not */

enum fence_ready {
	FENCE_NOT_ASKED, /* not yet, or it is this host */
	FENCE_NO_DEVICE,
	FENCE_READY,
	FENCE_FAILS, /* text says why */
};

struct fence_watch;

struct fence_watch_ops {
	/** @name's devices are @now; called when that, or what is wrong, has changed */
	void (*changed)(void *arg, const char *name, enum fence_ready now, const char *text);
	/** is @name a member of the cluster's view, and so surely on? */
	bool (*is_on)(void *arg, const char *name);
	/** is @name being fenced? its devices are left alone then */
	bool (*busy)(void *arg, const char *name);
};

/**
 * fence_watch_open() - begin to ask
 * @me: name of this host, whose devices are for the others to ask
 * @good_ms, @bad_ms: FENCE_WATCH_MS and FENCE_WATCH_BAD_MS, but in tests
 * Return: NULL without memory; @conf and @ops must outlive it.
 */
struct fence_watch *fence_watch_open(qb_loop_t *loop, const struct cluster_conf *conf, const char *me,
				     uint32_t good_ms, uint32_t bad_ms,
				     const struct fence_watch_ops *ops, void *arg);
/** fence_watch_close() - a check that runs is dropped; NULL is fine */
void fence_watch_close(struct fence_watch *w);

/** fence_watch_yield() - @name is to be fenced now: let go of its devices */
void fence_watch_yield(struct fence_watch *w, const char *name);

/**
 * fence_watch_used() - @name's devices were used: @code 0, or negative and @text says what went wrong
 * What they said when they were asked counts for less: who may look may not switch. Until they are asked
 * again; nobody is called, for who used them tells of it.
 */
void fence_watch_used(struct fence_watch *w, const char *name, int code, const char *text);

/** fence_watch_get() - what is known of @name; *@text is "" or why it fails, valid until the loop runs */
enum fence_ready fence_watch_get(const struct fence_watch *w, const char *name, const char **text);

/** fence_ready_str() - "ready", as people read it */
const char *fence_ready_str(enum fence_ready r);

#endif
