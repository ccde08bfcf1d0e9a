/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receiver - the destination's workers: each reads one data connection and puts
 * pages where they belong.  For migrate/ only.
 */
#ifndef DROVER_MIGRATE_RECEIVER_H
#define DROVER_MIGRATE_RECEIVER_H

#include "migrate/absent.h"
#include "migrate/ahead.h"
#include "migrate/bitmap.h"
#include "migrate/session.h"

struct receiver;

struct receiver_pool {
	struct session *s;
	struct bitmap written[GUEST_REGIONS_MAX]; /* pages that have memory with something in it */
	struct bitmap seen[GUEST_REGIONS_MAX];    /* pages the source has spoken of, data or zero */
	size_t n_regions;
	struct ahead *ahead;                      /* or NULL */

	/* under session.lock: */
	uint32_t round;
	unsigned int at_barrier, done;
	struct receiver *receivers[WIRE_CHANNELS_MAX];
	unsigned int n;

	_Atomic uint64_t data_pages, lz4_pages, zero_pages;
};

int receiver_pool_init(struct receiver_pool *p, struct session *s, struct err *e);
int receiver_pool_start(struct receiver_pool *p, struct err *e);
/** receiver_pool_done() - all connections have come to a FINAL that adds up; session.lock held */
bool receiver_pool_done(const struct receiver_pool *p);
/** receiver_pool_complete() - every page was spoken of; else says which was not */
int receiver_pool_complete(struct receiver_pool *p, struct err *e);
/** receiver_pool_stop() - joins the threads; connections must be cut or at their end */
void receiver_pool_stop(struct receiver_pool *p);
void receiver_pool_free(struct receiver_pool *p);

/* One PAGES payload into memory; also the door for fuzzing. */
struct receiver *receiver_create(struct receiver_pool *p, uint32_t index);
void receiver_destroy(struct receiver *r);
int receiver_take_pages(struct receiver *r, struct channel *ch, uint32_t length, struct err *e);

#endif
