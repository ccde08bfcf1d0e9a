/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_disk - what an image lies on, with a memory of all that was asked of it, so that a test can cut the power.
 *
 * It stands in for raw (struct block_open_args.below) over a file in memory.  Requests wait until reap(), and are then
 * carried out in an order that a seed chooses.  A write counts from the moment it is asked for: it may reach
 * the disk at once, or in part, or last of all.  It has reached it for certain when an fdatasync that
 * was asked for after it was carried out has been carried out.
 *
 *     log    W1 issued .. W1 done .. S issued .. W2 issued .. S done .. W2 done
 *                                                                  ^ the power is cut here: W1 is there, W2 may be, by sectors
 */
#ifndef DROVER_TESTS_FAKE_DISK_H
#define DROVER_TESTS_FAKE_DISK_H

#include "hv/disk/block_format.h"

#include <stddef.h>

#define FAKE_PENDING_MAX 512

enum fake_kind {
	FAKE_WRITE,
	FAKE_ZERO, /* also discards; never makes the file longer */
	FAKE_SYNC,
};

struct fake_event {
	enum fake_kind kind;
	uint64_t at, len;
	uint8_t *data;         /* WRITE */
	uint64_t issued, done; /* moments; done UINT64_MAX: not yet */
	bool durable;          /* it was asked to be, by itself */
	bool failed;           /* some of it may have arrived all the same */
};

struct fake_disk {
	struct block block; /* first */
	int fd;             /* as if all had arrived */
	struct fake_event *log;
	size_t n_log, room;
	uint64_t now; /* moments: one for each thing that happens */
	uint64_t seed;
	struct block_req *pending[FAKE_PENDING_MAX];
	size_t pending_event[FAKE_PENDING_MAX], n_pending;
	unsigned int fail_after; /* this many more writes and syncs, then -EIO; 0: never */
	bool failing;
	unsigned int fail_one_in; /* one in so many writes and syncs: -EIO; 0: none */
	bool open, shared_event;
	bool own; /* own: of a parent, which is opened behind its image; goes with it */
};

/* The one of fake_new(): the next block_open_on() with `below` fills it. */
extern struct fake_disk *fake_disk;
extern const struct block_format block_fake;

/** fake_new() - @sector: 512, or 4096, in which case only whole ones are taken; free with fake_free() */
struct fake_disk *fake_new(uint32_t sector, uint64_t seed);
void fake_free(struct fake_disk *f);
uint64_t fake_random(uint64_t *seed);
/** fake_moment() - something happens in the test: later than all before */
uint64_t fake_moment(struct fake_disk *f);
/**
 * fake_cut() - a file as the disk may be when the power is cut at @moment
 * @base: what was there before the log began
 * @seed: which of what was not made durable is there
 */
int fake_cut(const struct fake_disk *f, int base, uint64_t moment, uint64_t seed);

#endif
