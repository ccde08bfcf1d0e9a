/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash_bed - the power is cut at any moment, with any part of what was not made durable on the disk.
 *
 * A guest writes, zeroes, reads and flushes, several at once, on a disk that is a fake (fake_disk.h).  Then for many moments, and
 * several fates of what was under way, the image is opened as it would be found: it must be sound, and each
 * sector must have what was last flushed, or something later, and never anything else: a zero where there was data of
 * the parent's is as wrong as another sector's.
 *
 * More runs: CRASH_SEEDS=100 in the environment, from CRASH_FIRST=1 on; longer ones: CRASH_OPS=2000; requests that fail now
 * and then: CRASH_FAILS=40; so little room for tables that writes wait for it: CRASH_ROOM=16; one test alone: CRASH_ONLY.
 */
#ifndef DROVER_TESTS_CRASH_BED_H
#define DROVER_TESTS_CRASH_BED_H

#include "disk_bed.h"
#include "fake_disk.h"

#define CRASH_SECTORS 1024u
#define CRASH_SIZE (CRASH_SECTORS * 512u)
#define CRASH_AT_ONCE 8
#define CRASH_START_WHO 1u /* whose the disk's contents are before the guest runs, where it has any */

struct crash_version {
	uint32_t sector, who;           /* who 0: zeroes */
	bool maybe;                     /* discarded: zeroes, or what was there */
	uint64_t issued, done, durable; /* moments */
	struct crash_version *before;
	struct crash_version *made; /* before this one, of any sector */
};

struct crash_op {
	struct bed_request r;
	uint32_t sector, n, who;
	uint64_t issued;
	uint8_t *data;
	bool used;
};

struct crash_world;

/* What makes the images of a test what they are. */
struct crash_format {
	const char *name; /* of the format */
	unsigned int shapes;
	bool discards; /* the guest discards, and gives space back with zeroes */
	/* Fill ->image, ->parent and ->start for ->child and ->shape. */
	void (*make)(struct crash_world *w);
	void (*less_room)(struct block *b, unsigned int n);
	/* fail_msg() when its tables are not sound; @seed: which cut this is */
	void (*check)(const struct crash_world *w, int fd, const char *when, uint64_t seed);
};

struct crash_world {
	const struct crash_format *format;
	struct fake_disk *fake;
	struct block *b;
	int image, base, parent; /* parent -1: none */
	bool child;
	bool start; /* it has contents: CRASH_START_WHO's */
	uint64_t seed, run;
	unsigned int shape;
	struct crash_version *last[CRASH_SECTORS]; /* of each sector, newest first */
	struct crash_version *made;                /* all of them */
	bool busy[CRASH_SECTORS];                  /* a write is in flight */
	struct crash_op ops[CRASH_AT_ONCE];
	uint32_t who;
};

/** crash_setting() - a number of the environment */
unsigned int crash_setting(const char *name, unsigned int otherwise);
/** crash_run_all() - all shapes, with as many seeds as the environment says; prints how many sequences and cuts passed */
void crash_run_all(const struct crash_format *f, bool child, uint32_t sector);
/** crash_fill() - write CRASH_START_WHO's contents to all of an open disk, and flush */
void crash_fill(struct block *b);
void crash_put_at(int fd, const void *p, size_t len, uint64_t at);
/** crash_open() - the world's image as it lies in @fd */
struct block *crash_open(const struct crash_world *w, int fd, const struct block_format *below);

#endif
