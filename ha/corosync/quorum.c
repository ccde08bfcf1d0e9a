/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quorum - see quorum.h.
 *
 * Uses corosync's quorum service, model v1: each notice carries the ring id,
 * the members and whether the ring is quorate (votequorum decides that: votes,
 * two-node mode, quorum device).  The notice comes over another connection
 * than CPG's views, before or after them; bringing both together is the core's
 * work.
 */
#include "ha/corosync/quorum.h"

#include "ha/corosync/corosync_int.h"

#include <corosync/quorum.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct quorumlink {
	qb_loop_t *loop;
	const struct quorumlink_ops *ops;
	void *arg;
	quorum_handle_t handle;
	int fd;
	bool open, dead;
};

static struct quorumlink *link_of(quorum_handle_t handle)
{
	const void *ctx = NULL;

	quorum_context_get(handle, &ctx);
	return (struct quorumlink *)ctx;
}

static void on_quorum(quorum_handle_t handle, uint32_t quorate, struct quorum_ring_id ring,
		      uint32_t n, const uint32_t *members)
{
	struct quorumlink *l = link_of(handle);

	if (l && !l->dead)
		l->ops->changed(l->arg, quorate != 0, ring.seq, members, n);
}

/* quorum_notify follows each of these and says more. */
static void on_nodelist(quorum_handle_t handle, struct quorum_ring_id ring, uint32_t n,
			const uint32_t *members, uint32_t n_joined, const uint32_t *joined,
			uint32_t n_left, const uint32_t *left)
{
}

static int32_t on_ready(int32_t fd, int32_t revents, void *data)
{
	struct quorumlink *l = data;
	cs_error_t rc = corosync_dispatch(quorum_dispatch, l->handle, revents);
	char why[96];

	if (rc == CS_OK)
		return 0;
	quorum_finalize(l->handle);
	l->open = false;
	l->dead = true;
	snprintf(why, sizeof(why), "quorum: %s", cs_strerror(rc));
	l->ops->lost(l->arg, why);
	return -1;
}

int quorumlink_open(qb_loop_t *loop, const struct quorumlink_ops *ops, void *arg,
		    struct quorumlink **out, struct err *e)
{
	quorum_model_v1_data_t model = {
		.model = QUORUM_MODEL_V1,
		.quorum_notify_fn = on_quorum,
		.nodelist_notify_fn = on_nodelist,
	};
	uint32_t type = QUORUM_FREE;
	struct quorumlink *l;
	int rc;

	*out = NULL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	l->loop = loop;
	l->ops = ops;
	l->arg = arg;
	rc = quorum_model_initialize(&l->handle, QUORUM_MODEL_V1, (quorum_model_data_t *)&model,
				     &type, l);
	if (rc != CS_OK) {
		free(l);
		return corosync_absent("quorum", rc, e);
	}
	if (type != QUORUM_SET) {
		rc = err_set(e, -EINVAL, "corosync.conf has no quorum provider: "
					 "set quorum { provider: corosync_votequorum }");
		goto out_finalize;
	}
	quorum_fd_get(l->handle, &l->fd);
	rc = qb_loop_poll_add(loop, QB_LOOP_HIGH, l->fd, POLLIN, l, on_ready);
	if (rc < 0) {
		rc = err_set(e, rc, "cannot watch quorum: %s", strerror(-rc));
		goto out_finalize;
	}
	l->open = true;
	rc = quorum_trackstart(l->handle, CS_TRACK_CHANGES | CS_TRACK_CURRENT);
	if (rc != CS_OK) {
		rc = err_set(e, rc == CS_ERR_TRY_AGAIN ? -EAGAIN : -ECONNREFUSED,
			     "cannot track quorum: %s", cs_strerror(rc));
		goto out_finalize;
	}
	*out = l;
	return 0;
out_finalize:
	if (l->open)
		qb_loop_poll_del(loop, l->fd);
	quorum_finalize(l->handle);
	free(l);
	return rc;
}

void quorumlink_close(struct quorumlink *l)
{
	if (!l)
		return;
	if (l->open) {
		qb_loop_poll_del(l->loop, l->fd);
		quorum_finalize(l->handle);
	}
	free(l);
}
