/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpg - see cpg.h.
 *
 * What corosync 3.1 really does, and how this file lives with it:
 *  - a multicast before the join returned is lost without an error: the link
 *    is handed out only after cpg_join() succeeded;
 *  - TRY_AGAIN comes while a ring forms and when it is saturated: such messages
 *    are queued and retried every RETRY_MS, in order, never dropped, never spun on;
 *  - the descriptor only notifies: dispatch until empty, never read it;
 *  - after a crash of the daemon every handle is dead and nothing reconnects:
 *    the owner closes the link and opens a new one from a timer;
 *  - nothing keeps two processes of one host out of a group, where each would speak for
 *    it: the second one does not join;
 *  - a host may show up twice in the member list while an old process of ours is
 *    being buried: views carry each host once.
 */
#include "ha/corosync/cpg.h"

#include "ha/corosync/corosync_int.h"

#include <assert.h>
#include <corosync/cpg.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define RETRY_MS 5

struct queued {
	struct queued *next;
	size_t len;
	uint8_t bytes[];
};

struct cpglink {
	qb_loop_t *loop;
	const struct cpglink_ops *ops;
	void *arg;
	cpg_handle_t handle;
	struct cpg_name group;
	uint32_t me;
	int fd;
	bool open; /* handle and descriptor are in use */
	bool mute; /* nothing more is sent */
	bool dead; /* lost() was called, or deafened; nothing more is told or sent */
	struct queued *head, **tail;
	size_t n_queued;
	qb_loop_timer_handle retry;
	bool retry_armed;
};

static void link_lost(struct cpglink *l, const char *what, int rc)
{
	char why[96];

	if (l->dead)
		return;
	l->dead = true;
	snprintf(why, sizeof(why), "%s: %s", what, cs_strerror(rc));
	l->ops->lost(l->arg, why);
}

static struct cpglink *link_of(cpg_handle_t handle)
{
	void *ctx = NULL;

	cpg_context_get(handle, &ctx);
	return ctx;
}

static void on_deliver(cpg_handle_t handle, const struct cpg_name *group, uint32_t nodeid,
		       uint32_t pid, void *msg, size_t len)
{
	struct cpglink *l = link_of(handle);

	if (l && !l->dead)
		l->ops->deliver(l->arg, nodeid, msg, len);
}

static int cmp_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void on_confchg(cpg_handle_t handle, const struct cpg_name *group,
		       const struct cpg_address *members, size_t n,
		       const struct cpg_address *left, size_t n_left,
		       const struct cpg_address *joined, size_t n_joined)
{
	struct cpglink *l = link_of(handle);
	uint32_t ids[CPG_MEMBERS_MAX], went[CPG_MEMBERS_MAX];
	size_t i, m = 0, n_went = 0;

	if (!l || l->dead)
		return;
	for (i = 0; i < n && i < CPG_MEMBERS_MAX; i++)
		ids[i] = members[i].nodeid;
	n = i;
	qsort(ids, n, sizeof(ids[0]), cmp_u32);
	for (i = 0; i < n; i++)
		if (m == 0 || ids[m - 1] != ids[i])
			ids[m++] = ids[i];
	assert(m <= n && n <= CPG_MEMBERS_MAX);
	/*
	 * A corosync that is stopped tells first that its clients are gone (procdown, 3 to 40 ms)
	 * and then leaves the ring; nodedown is said of who was silent for a token.
	 */
	for (i = 0; i < n_left && n_went < CPG_MEMBERS_MAX; i++)
		if (left[i].reason == CPG_REASON_LEAVE || left[i].reason == CPG_REASON_PROCDOWN)
			went[n_went++] = left[i].nodeid;
	l->ops->view(l->arg, ids, m < CPGLINK_MEMBERS_MAX ? m : CPGLINK_MEMBERS_MAX, went, n_went);
}

static int32_t on_ready(int32_t fd, int32_t revents, void *data)
{
	struct cpglink *l = data;
	cs_error_t rc = corosync_dispatch(cpg_dispatch, l->handle, revents);

	if (rc == CS_OK)
		return 0;
	cpg_finalize(l->handle);
	l->open = false;
	link_lost(l, "cpg", rc);
	return -1;
}

/*
 * Another process that speaks for this host in the group, 0 = none.  One that has been killed may be
 * listed until corosync notices; it is not there any more.
 */
static pid_t other_of_host(struct cpglink *l)
{
	struct cpg_address list[CPG_MEMBERS_MAX];
	int i, n = CPG_MEMBERS_MAX;

	if (cpg_membership_get(l->handle, &l->group, list, &n) != CS_OK)
		return 0;
	for (i = 0; i < n; i++)
		if (list[i].nodeid == l->me && list[i].pid != (uint32_t)getpid() &&
		    (kill((pid_t)list[i].pid, 0) == 0 || errno == EPERM))
			return (pid_t)list[i].pid;
	return 0;
}

static int join(struct cpglink *l, struct err *e)
{
	pid_t other = other_of_host(l);
	int rc;

	if (other)
		return err_set(e, -EBUSY, "another droverd (pid %d) takes part for this host", (int)other);
	rc = cpg_join(l->handle, &l->group);
	if (rc == CS_OK)
		return 0;
	if (rc == CS_ERR_TRY_AGAIN)
		return err_set(e, -EAGAIN, "corosync is forming its ring (cpg_join: %s)", cs_strerror(rc));
	return err_set(e, -ECONNREFUSED, "cannot join corosync's process group (cpg_join: %s)",
		       cs_strerror(rc));
}

int cpglink_open(qb_loop_t *loop, const char *group, bool in, const struct cpglink_ops *ops,
		 void *arg, struct cpglink **out, struct err *e)
{
	cpg_model_v1_data_t model = {
		.model = CPG_MODEL_V1,
		.cpg_deliver_fn = on_deliver,
		.cpg_confchg_fn = on_confchg,
	};
	struct cpglink *l;
	unsigned int me = 0;
	int rc;

	*out = NULL;
	if (strlen(group) >= CPG_MAX_NAME_LENGTH)
		return err_set(e, -EINVAL, "group name: %zu bytes, at most %d", strlen(group),
			       CPG_MAX_NAME_LENGTH - 1);
	l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	l->loop = loop;
	l->ops = ops;
	l->arg = arg;
	l->tail = &l->head;
	l->group.length = (uint32_t)strlen(group);
	memcpy(l->group.value, group, l->group.length);
	rc = cpg_model_initialize(&l->handle, CPG_MODEL_V1, (cpg_model_data_t *)&model, l);
	if (rc != CS_OK) {
		free(l);
		return corosync_absent("cpg", rc, e);
	}
	rc = cpg_local_get(l->handle, &me);
	if (rc != CS_OK || !me) {
		rc = err_set(e, -ECONNREFUSED, "corosync does not tell this host's id (cpg: %s)",
			     cs_strerror(rc));
		goto out_finalize;
	}
	l->me = me;
	rc = in ? join(l, e) : 0;
	if (rc < 0)
		goto out_finalize;
	cpg_fd_get(l->handle, &l->fd);
	rc = qb_loop_poll_add(loop, QB_LOOP_HIGH, l->fd, POLLIN, l, on_ready);
	if (rc < 0) {
		rc = err_set(e, rc, "cannot watch cpg: %s", strerror(-rc));
		goto out_finalize;
	}
	l->open = true;
	*out = l;
	return 0;
out_finalize:
	cpg_finalize(l->handle);
	free(l);
	return rc;
}

void cpglink_close(struct cpglink *l)
{
	struct queued *q;

	if (!l)
		return;
	if (l->retry_armed)
		qb_loop_timer_del(l->loop, l->retry);
	if (l->open) {
		qb_loop_poll_del(l->loop, l->fd);
		cpg_leave(l->handle, &l->group);
		cpg_finalize(l->handle);
	}
	while ((q = l->head) != NULL) {
		l->head = q->next;
		free(q);
	}
	free(l);
}

void cpglink_mute(struct cpglink *l)
{
	l->mute = true;
}

void cpglink_deafen(struct cpglink *l)
{
	l->dead = true;
}

uint32_t cpglink_me(const struct cpglink *l)
{
	return l->me;
}

bool cpglink_busy(const struct cpglink *l)
{
	return l->head != NULL;
}

static int send_now(struct cpglink *l, const void *buf, size_t len)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };

	return cpg_mcast_joined(l->handle, CPG_TYPE_AGREED, &iov, 1);
}

static void arm_retry(struct cpglink *l);

static void on_retry(void *data)
{
	struct cpglink *l = data;
	struct queued *q;
	int rc;

	l->retry_armed = false;
	while (!l->dead && !l->mute && (q = l->head) != NULL) {
		rc = send_now(l, q->bytes, q->len);
		if (rc == CS_ERR_TRY_AGAIN) {
			arm_retry(l);
			return;
		}
		if (rc != CS_OK) {
			link_lost(l, "cpg_mcast", rc);
			return;
		}
		l->head = q->next;
		if (!l->head)
			l->tail = &l->head;
		l->n_queued--;
		free(q);
	}
}

static void arm_retry(struct cpglink *l)
{
	if (l->retry_armed)
		return;
	if (qb_loop_timer_add(l->loop, QB_LOOP_HIGH, RETRY_MS * QB_TIME_NS_IN_MSEC, l, on_retry,
			      &l->retry) == 0)
		l->retry_armed = true;
	else
		link_lost(l, "cpg retry timer", CS_ERR_NO_RESOURCES);
}

static int enqueue(struct cpglink *l, const void *buf, size_t len)
{
	struct queued *q;

	if (l->n_queued >= CPGLINK_QUEUE_MAX)
		return -ENOBUFS;
	q = malloc(sizeof(*q) + len);
	if (!q)
		return -ENOMEM;
	q->next = NULL;
	q->len = len;
	memcpy(q->bytes, buf, len);
	*l->tail = q;
	l->tail = &q->next;
	l->n_queued++;
	arm_retry(l);
	return 0;
}

int cpglink_mcast(struct cpglink *l, const void *buf, size_t len)
{
	int rc;

	if (l->dead || l->mute)
		return 0; /* the owner knows already; the core sends again in the next view */
	if (l->head)
		return enqueue(l, buf, len);
	rc = send_now(l, buf, len);
	if (rc == CS_OK)
		return 0;
	if (rc == CS_ERR_TRY_AGAIN)
		return enqueue(l, buf, len);
	link_lost(l, "cpg_mcast", rc);
	return 0;
}
