/* SPDX-License-Identifier: Apache-2.0 */
/* cluster - see cluster.h. */
#include "migrate/arbiter/cluster.h"

#include "base/clock.h"
#include "base/wait.h"

#include <assert.h>
#include <errno.h>

void arbiter_cluster_init(struct arbiter_cluster *c, void (*put)(void *arg, enum outcome proposal, uint64_t incarnation),
			  void *arg)
{
	assert(put);
	*c = (struct arbiter_cluster){ .put = put, .arg = arg };
	pthread_mutex_init(&c->lock, NULL);
	wait_init(&c->cond);
}

void arbiter_cluster_fini(struct arbiter_cluster *c)
{
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
}

static int cluster_ask(void *self, enum migrate_role role, enum outcome proposal,
		       uint64_t incarnation, int timeout_ms, enum outcome *out, struct err *e)
{
	struct arbiter_cluster *c = self;
	uint64_t deadline = wait_now() + (uint64_t)timeout_ms * NS_PER_MS;
	bool decided;

	c->put(c->arg, proposal, incarnation);
	pthread_mutex_lock(&c->lock);
	while ((!c->decided || c->incarnation != incarnation) && wait_until(&c->cond, &c->lock, deadline))
		;
	assert(!c->decided || c->decided == OUTCOME_COMMIT || c->decided == OUTCOME_ABORT);
	decided = c->decided && c->incarnation == incarnation;
	if (decided)
		*out = c->decided;
	pthread_mutex_unlock(&c->lock);
	return decided ? 0 : err_set(e, -EAGAIN, "the cluster has not decided yet");
}

static const char *cluster_advice(void *self)
{
	return "the cluster decides when it has quorum; `drover status` shows it";
}

static const struct arbiter_ops cluster_ops = {
	.name = "cluster",
	.wire = ARBITER_WIRE_CLUSTER,
	.ask = cluster_ask,
	.advice = cluster_advice,
};

struct arbiter arbiter_cluster_make(struct arbiter_cluster *c)
{
	return (struct arbiter){ .ops = &cluster_ops, .self = c };
}

int arbiter_cluster_decide(struct arbiter_cluster *c, enum outcome o, uint64_t incarnation, struct err *e)
{
	int rc = 0;

	assert(o == OUTCOME_COMMIT || o == OUTCOME_ABORT);
	pthread_mutex_lock(&c->lock);
	if (c->decided && c->decided != o) {
		rc = err_set(e, -EPERM, "decide: it was decided before: %s", outcome_name(c->decided));
	} else {
		c->decided = o;
		c->incarnation = incarnation;
		pthread_cond_broadcast(&c->cond);
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}
