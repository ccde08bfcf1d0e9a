/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sender - the source's workers: each owns one data connection and sends
 * extents of the present round until none is left, by the page transport that
 * both sides know.  For migrate/ only.
 */
#ifndef DROVER_MIGRATE_SESSION_SOURCE_SENDER_H
#define DROVER_MIGRATE_SESSION_SOURCE_SENDER_H

#include "migrate/pages/bitmap.h"
#include "migrate/pages/unpopulated.h"
#include "migrate/session/session.h"
#include "migrate/transport/page_transport.h"

/* Extents whose dirty log is re-armed by one call: 32 MiB. Each call makes KVM flush TLBs. */
#define CLEAR_EXTENTS 16u

struct sender;

/* What all senders share, under session.lock unless atomic. */
struct sender_pool {
	struct session *s;
	struct work todo; /* pages to send in this round; fixed while it runs */
	struct unpopulated unpopulated;
	struct page_source out;                 /* .may_pack: from CAPS */
	const struct page_transport *transport; /* from CAPS, before sender_pool_start() */

	pthread_mutex_t clear_lock;
	pthread_cond_t work;               /* a round begins, or all ends; with session.lock */
	uint8_t *armed[GUEST_REGIONS_MAX]; /* per CLEAR_EXTENTS: already re-armed in this round */

	uint64_t job; /* grows with each round */
	uint32_t round;
	bool final, quit;
	unsigned int busy; /* senders that have not finished the job */
	struct sender *senders[WIRE_CHANNELS_MAX];
	unsigned int n;
};

/** sender_pool_init() - bitmaps for @s's regions; starts nothing; free it in any case; -ENOMEM */
int sender_pool_init(struct sender_pool *p, struct session *s, struct err *e);
/** sender_pool_start() - one thread per data connection */
int sender_pool_start(struct sender_pool *p, struct err *e);
/** sender_pool_begin() - send what `todo` says; @final: vCPUs stand still, FINAL instead of ROUND_SYNC */
void sender_pool_begin(struct sender_pool *p, uint32_t round, bool final);
/**
 * sender_pool_final_here() - the last set, sent by the caller's own thread on all connections
 * For a set so small that waking the senders would take longer than sending it; they must be idle.
 */
int sender_pool_final_here(struct sender_pool *p, uint32_t round, struct err *e);
/** sender_pool_idle() - all have finished the round; session.lock held */
bool sender_pool_idle(const struct sender_pool *p);
/** sender_pool_stop() - ends and joins the threads; their connections must be cut or idle */
void sender_pool_stop(struct sender_pool *p);
/** sender_pool_free() - what sender_pool_init() made; the threads have been joined */
void sender_pool_free(struct sender_pool *p);

#endif
