/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sender - the source's workers: each owns one data connection and sends
 * extents of the present round until none is left.  For migrate/ only.
 */
#ifndef DROVER_MIGRATE_SENDER_H
#define DROVER_MIGRATE_SENDER_H

#include "migrate/absent.h"
#include "migrate/bitmap.h"
#include "migrate/pace.h"
#include "migrate/session.h"

/* Extents whose dirty log is re-armed by one call: 32 MiB. Each call makes KVM flush TLBs. */
#define CLEAR_EXTENTS 16u

struct sender;

/* What all senders share, under session.lock unless atomic. */
struct sender_pool {
	struct session *s;
	struct work todo;              /* pages to send in this round; fixed while it runs */
	struct absent absent;
	struct pace pace;
	bool may_pack;                 /* both sides know LZ4 */

	pthread_mutex_t clear_lock;
	pthread_cond_t work;           /* a round begins, or all ends; with session.lock */
	uint8_t *armed[GUEST_REGIONS_MAX]; /* per CLEAR_EXTENTS: already re-armed in this round */

	uint64_t job;                  /* grows with each round */
	uint32_t round;
	bool final, quit;
	unsigned int busy;             /* senders that have not finished the job */
	struct sender *senders[WIRE_CHANNELS_MAX];
	unsigned int n;

	_Atomic uint64_t first_pass;   /* pages that have been sent at least once */
	_Atomic uint64_t raw_pages, lz4_pages, zero_pages;
};

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
void sender_pool_free(struct sender_pool *p);

#endif
