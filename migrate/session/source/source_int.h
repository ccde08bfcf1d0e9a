/* SPDX-License-Identifier: Apache-2.0 */
/* source_int - what the source_*.c share; for them only. */
#ifndef DROVER_MIGRATE_SESSION_SOURCE_SOURCE_INT_H
#define DROVER_MIGRATE_SESSION_SOURCE_SOURCE_INT_H

#include "migrate/migrate.h"
#include "migrate/session/source/converge.h"
#include "migrate/session/source/sender.h"

struct source {
	struct migrate_params p;
	struct session s;
	struct sender_pool pool;
	struct converge conv;
	bool pool_ok;
	bool logging, paused, released; /* what give_up() must undo */
	uint64_t start_ns, pause_ns, round_ns;
	struct err not_running; /* it is the destination's, which said why it does not run there */
};

static inline const struct guest_ops *ops(const struct source *src)
{
	return src->p.guest.ops;
}

static inline void *self(const struct source *src)
{
	return src->p.guest.self;
}

/**
 * source_setup() - connect, compare, open the data connections; the destination has said START
 * Return: 0; -ECANCELED without a text for a dry run that found nothing in the way.
 */
int source_setup(struct source *src, struct err *e);

/** source_precopy() - rounds until stopping would be short enough, or too late */
int source_precopy(struct source *src, struct err *e);

/** source_fetch_dirty() - add what was written since the last fetch to what is to be sent */
int source_fetch_dirty(struct source *src, struct err *e);

/** source_wait_senders() - until all that is to be sent has been; fails when the session does */
int source_wait_senders(struct source *src, struct err *e);

/** source_refresh_stats() - bring the statistics up to date; session.lock held */
void source_refresh_stats(struct source *src);

/** source_stop() - stop the domain, send the rest and the device state; the destination is READY.
 *  The downtime begins here. */
int source_stop(struct source *src, struct err *e);

/**
 * source_handover() - READY -> GRANT and the outcome (rule H)
 * Return: 0 it runs there; -EINPROGRESS nobody knows yet, it stands; before GRANT any error, and
 * the caller gives up; after it an error means that it stays here and was taken back.
 */
int source_handover(struct source *src, struct err *e);

/**
 * source_take_back() - what was released stays: its disks first, for @incarnation, then its vCPUs
 * Tries until it works, and says meanwhile why it does not (MIGRATE_TAKE_BACK).  -EPERM: it never
 * will, somebody has run the domain since; -EINPROGRESS: abandoned.
 */
int source_take_back(struct source *src, uint64_t incarnation, struct err *e);

#endif
