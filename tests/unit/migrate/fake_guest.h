/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_guest - a domain in plain memory, with a thread that writes it as vCPUs
 * would, and a world that watches who runs and who holds the disk.
 *
 * Two fake guests share one world: side 0 is the source, side 1 the
 * destination.  The world never forgets a double run.
 */
#ifndef DROVER_TESTS_FAKE_GUEST_H
#define DROVER_TESTS_FAKE_GUEST_H

#include "migrate/migrate.h"

#include <pthread.h>
#include <stdatomic.h>

#define FAKE_REGIONS_MAX 3

struct fake_world {
	pthread_mutex_t lock;
	_Atomic bool running[2];
	bool double_run;           /* both ran at once, at any time */
	bool diskless;             /* nothing but the arbiter stands between two runs */
	int disk_holder;           /* side, -1 = nobody */
	uint64_t disk_incarnation; /* the highest that ever held it */
	enum outcome decided;      /* what the fake cluster agreed on, 0 = nothing yet */
	_Atomic bool cluster_unreachable[2];
};

struct fake_guest {
	struct fake_world *world;
	int side;
	struct guest_region regions[FAKE_REGIONS_MAX];
	size_t n_regions;
	uint64_t *log[FAKE_REGIONS_MAX]; /* what KVM's dirty log would hold */
	pthread_rwlock_t log_lock;       /* a write and its mark are one step for whoever clears */
	_Atomic bool logging;

	/* the writer */
	pthread_t writer;
	_Atomic bool quit, paused, parked;
	unsigned int seed;
	_Atomic unsigned int writes_per_ms; /* 0: as fast as it can */
	_Atomic uint64_t hot_pages;         /* it writes only the first that many, 0: all */
	/* However busy the machine is, it writes that often while a round is sent: a guest has a core. */
	_Atomic unsigned int writes_per_fetch;
	_Atomic uint64_t cleared_at; /* writes, when its log was last cleared */
	_Atomic unsigned int throttle;
	_Atomic uint64_t writes;

	uint8_t *state;
	size_t state_len;
	uint32_t state_max; /* bytes of device state at most; 0: 3 MiB */
	const char *description;
	uint64_t incarnation;
	uint64_t disk_seen;                    /* what it expects on record: else somebody was there since */
	uint64_t disk_before;                  /* what was on record before it wrote its own */
	_Atomic int fail_prepare, fail_commit; /* how many more times */
	bool gone, dirty_stopped, fail_load, fail_preflight;
	bool slow_pause;
};

void fake_world_init(struct fake_world *w);

/**
 * fake_guest_init() - memory is untouched until fake_guest_fill()
 * @sizes: in bytes, multiples of 64 pages (its log has whole words only)
 */
void fake_guest_init(struct fake_guest *g, struct fake_world *w, int side, const uint64_t *sizes,
		     size_t n, bool memfd);
void fake_guest_free(struct fake_guest *g);
/** fake_guest_fill() - a third never touched, the rest zero, text-like and random */
void fake_guest_fill(struct fake_guest *g, unsigned int seed);
/** fake_guest_run() - it is powered on here; the writer begins */
void fake_guest_run(struct fake_guest *g);
/** fake_guest_freeze() - the writer stands still, without anybody knowing: to compare memory */
void fake_guest_freeze(struct fake_guest *g);
/** fake_guest_compare() - first page that differs, -1 when memory is the same; @region of it */
int64_t fake_guest_compare(struct fake_guest *a, struct fake_guest *b, size_t *region);
struct guest fake_guest_ops(struct fake_guest *g);

/* Arbiters on the world, as the real ones are on a disk's lock and on the cluster's log. */
struct arbiter fake_arbiter_disk(struct fake_guest *g);
struct arbiter fake_arbiter_cluster(struct fake_guest *g);

#endif
