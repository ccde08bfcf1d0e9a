/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster - the arbiter is the cluster's log: the question goes out, again with each
 * ask(), to whoever can put it there, and what the log says comes back by decide().
 * Without an answer nobody runs.
 */
#ifndef DROVER_MIGRATE_ARBITER_CLUSTER_H
#define DROVER_MIGRATE_ARBITER_CLUSTER_H

#include "migrate/arbiter.h"

#include <pthread.h>

struct arbiter_cluster {
	void (*put)(void *arg, enum outcome proposal, uint64_t incarnation); /* must not wait */
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	enum outcome decided; /* 0: not yet */
	uint64_t incarnation; /* it was decided for */
};

/** arbiter_cluster_init() - @put is called by the engine's thread with each question */
void arbiter_cluster_init(struct arbiter_cluster *c, void (*put)(void *arg, enum outcome proposal, uint64_t incarnation),
			  void *arg);
/** arbiter_cluster_fini() - nobody asks or decides any more */
void arbiter_cluster_fini(struct arbiter_cluster *c);
/** arbiter_cluster_make() - an arbiter that lasts as long as @c */
struct arbiter arbiter_cluster_make(struct arbiter_cluster *c);

/**
 * arbiter_cluster_decide() - the log says @o of @incarnation; any thread
 * Return: 0, again for the same word; -EPERM when it has said the opposite before, which stands.
 */
int arbiter_cluster_decide(struct arbiter_cluster *c, enum outcome o, uint64_t incarnation, struct err *e);

#endif
