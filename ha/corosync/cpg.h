/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpg - the shell's one membership in a corosync closed process group.
 *
 * A link joins one group and gives three kinds of news, all from the qb loop:
 * a message (total order inside a view, own messages included), a new view,
 * and the loss of corosync, after which the link is dead and must be closed.
 */
#ifndef DROVER_HA_COROSYNC_CPG_H
#define DROVER_HA_COROSYNC_CPG_H

#include "base/err.h"

#include <qb/qbdefs.h>
#include <qb/qbloop.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPGLINK_MEMBERS_MAX 128
/* Messages that wait because corosync says "try again"; more than this means the ring is dead. */
#define CPGLINK_QUEUE_MAX 1024

struct cpglink;

struct cpglink_ops {
	void (*deliver)(void *arg, uint32_t from, const void *buf, size_t len);
	/*
	 * @members: ascending node ids, one entry per host. @left: hosts that are gone since the
	 * last view because their process ended or their corosync was stopped in order, not
	 * because the ring lost them.
	 */
	void (*view)(void *arg, const uint32_t *members, size_t n, const uint32_t *left, size_t n_left);
	/* corosync is gone or threw us out. Close the link from a timer or job, not from here. */
	void (*lost)(void *arg, const char *why);
};

/**
 * cpglink_open() - connect to corosync and join @group
 * @group: at most 127 bytes
 * @in: else only connect: nobody sees us, nothing is delivered
 * Return: 0; -ECONNREFUSED when corosync is not running; -EAGAIN when it is
 * busy forming a ring (try again later); -EBUSY when another process of this host is in
 * @group; text in @e.
 */
int cpglink_open(qb_loop_t *loop, const char *group, bool in, const struct cpglink_ops *ops, void *arg,
		 struct cpglink **out, struct err *e);

/** cpglink_mute() - send nothing any more; for leaving out of a callback, close follows */
void cpglink_mute(struct cpglink *l);

/** cpglink_deafen() - nor tell anything of what waits */
void cpglink_deafen(struct cpglink *l);

/** cpglink_close() - leave and free; NULL is fine; not from the link's own callbacks */
void cpglink_close(struct cpglink *l);

/** cpglink_me() - node id of this host */
uint32_t cpglink_me(const struct cpglink *l);

/**
 * cpglink_mcast() - multicast @len bytes to the group, in order
 *
 * Never blocks on a busy ring: what corosync refuses for the moment is kept
 * (copied) and sent from a timer, later messages behind it.
 * Return: 0, -ENOBUFS when CPGLINK_QUEUE_MAX messages wait, -ENOMEM.
 */
int cpglink_mcast(struct cpglink *l, const void *buf, size_t len);

/** cpglink_busy() - messages wait for the ring; what can be left out should be */
bool cpglink_busy(const struct cpglink *l);

#endif
