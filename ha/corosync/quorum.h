/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quorum - what votequorum says about this host: quorate or not, and which
 * hosts are alive as far as the ring knows (with or without a droverd).
 */
#ifndef DROVER_HA_COROSYNC_QUORUM_H
#define DROVER_HA_COROSYNC_QUORUM_H

#include "base/err.h"

#include <qb/qbdefs.h>
#include <qb/qbloop.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct quorumlink;

struct quorumlink_ops {
	/* @ring_seq grows with every view of the ring, across restarts too. */
	void (*changed)(void *arg, bool quorate, uint64_t ring_seq, const uint32_t *alive, size_t n);
	/* corosync is gone. Close the link from a timer or job, not from here. */
	void (*lost)(void *arg, const char *why);
};

/**
 * quorumlink_open() - watch quorum; changed() follows soon with the current state
 * Return: 0, -ECONNREFUSED, -EAGAIN; text in @e.
 */
int quorumlink_open(qb_loop_t *loop, const struct quorumlink_ops *ops, void *arg,
		    struct quorumlink **out, struct err *e);

/** quorumlink_close() - NULL is fine */
void quorumlink_close(struct quorumlink *l);

#endif
