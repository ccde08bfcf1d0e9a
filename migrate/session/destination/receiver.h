/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receiver - the destination's workers: each reads one data connection and puts
 * pages where they belong, by the page transport that both sides know.  For migrate/ only.
 */
#ifndef DROVER_MIGRATE_SESSION_DESTINATION_RECEIVER_H
#define DROVER_MIGRATE_SESSION_DESTINATION_RECEIVER_H

#include "migrate/pages/unpopulated.h"
#include "migrate/session/session.h"
#include "migrate/transport/page_transport.h"

struct receiver;

struct receiver_pool {
	struct session *s;
	struct page_sink sink;
	const struct page_transport *transport; /* from CAPS, before receiver_pool_start() */

	/* under session.lock: */
	uint32_t round;
	unsigned int at_barrier, done;
	struct receiver *receivers[WIRE_CHANNELS_MAX];
	unsigned int n;
};

/** receiver_pool_init() - look which pages of @s's regions are there already; free it in any case; -ENOMEM */
int receiver_pool_init(struct receiver_pool *p, struct session *s, struct err *e);
/** receiver_pool_start() - a thread for each data connection, in @p's transport; -EAGAIN: those that run are receiver_pool_stop()'s */
int receiver_pool_start(struct receiver_pool *p, struct err *e);
/** receiver_pool_done() - all connections have come to a FINAL that adds up; session.lock held */
bool receiver_pool_done(const struct receiver_pool *p);
/** receiver_pool_complete() - every page was spoken of; else says which was not */
int receiver_pool_complete(struct receiver_pool *p, struct err *e);
/** receiver_pool_stop() - joins the threads; connections must be cut or at their end */
void receiver_pool_stop(struct receiver_pool *p);
/** receiver_pool_free() - the bitmaps; the threads have been joined */
void receiver_pool_free(struct receiver_pool *p);

#endif
