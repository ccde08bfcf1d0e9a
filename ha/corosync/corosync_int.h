/* SPDX-License-Identifier: Apache-2.0 */
/* corosync_int - what the three links to corosync (cpg, quorum, cmap) do alike; for them only. */
#ifndef DROVER_HA_COROSYNC_COROSYNC_INT_H
#define DROVER_HA_COROSYNC_COROSYNC_INT_H

#include "base/err.h"

#include <corosync/corotypes.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>

/** corosync_absent() - @e of a service that does not answer; returns -ECONNREFUSED */
static inline int corosync_absent(const char *service, cs_error_t rc, struct err *e)
{
	return err_set(e, -ECONNREFUSED, "corosync is not running on this host (%s: %s)", service,
		       cs_strerror(rc));
}

/**
 * corosync_dispatch() - what a link's descriptor callback begins with: deliver all that waits
 *
 * Return: CS_OK, or why the link is dead.  Removing a descriptor inside its own
 * callback upsets qb's count of pending jobs, and -1 alone leaves it in the epoll
 * set, where a hangup would spin: so the caller finalizes the handle, which closes
 * the descriptor, and returns -1.
 */
static inline cs_error_t corosync_dispatch(cs_error_t (*dispatch)(uint64_t, cs_dispatch_flags_t),
					   uint64_t handle, int32_t revents)
{
	cs_error_t rc;

	if (revents & (POLLHUP | POLLERR | POLLNVAL))
		return CS_ERR_LIBRARY;
	rc = dispatch(handle, CS_DISPATCH_ALL);
	return rc == CS_ERR_TRY_AGAIN ? CS_OK : rc;
}

#endif
