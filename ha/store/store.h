/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store - what this host has promised and acknowledged, safe on its disk.
 *
 * One file, `record`, in its directory: a header, then records of two kinds.
 * The store does not look into them; the core wrote them and reads them back at
 * start.  A SNAPSHOT replaces everything before it, an APPEND is added behind.
 *
 * store_put() returns at once; a worker thread writes and syncs, several
 * records with one fdatasync(), and done() is called from the qb loop in the
 * order of the puts once the bytes are on disk.  (Rule L: a host acknowledges
 * what it has on disk, never less.)
 *
 * A disk that cannot be written (full, read-only, broken) ends nothing: puts wait,
 * failed() says so once, the worker tries again with growing pauses to write
 * all of it afresh, and when that works recovered() and the done()s follow.
 * Nothing that was there when a write or a sync failed is ever relied upon again,
 * and as a process may die before it tells anybody, each start writes afresh too.
 */
#ifndef DROVER_HA_STORE_STORE_H
#define DROVER_HA_STORE_STORE_H

#include "base/err.h"

#include <qb/qbdefs.h>
#include <qb/qbloop.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One record at most; the largest snapshot fits (HA_BLOB_MAX). */
#define STORE_RECORD_MAX (96u << 20)

enum store_kind {
	STORE_SNAPSHOT = 1,
	STORE_APPEND = 2
};

struct store_blob {
	uint8_t *bytes;
	size_t len;
};

/* What the disk held at start; bytes are NULL where there was nothing. */
struct store_image {
	struct store_blob snapshot;
	struct store_blob *entries; /* in order, since the snapshot */
	size_t n_entries;
	uint64_t cut;  /* bytes of a torn tail that were cut off */
	bool lost;     /* damaged: nothing above is set, this disk has no vote */
	char why[120]; /* ... how */
	bool copied;   /* whole, but a copy of the file that was written: it may be older than it was */
};

struct store;

struct store_ops {
	void (*done)(void *arg, uint64_t token);
	/* Nothing is durable from here on, until recovered(). */
	void (*failed)(void *arg, const char *text);
	void (*recovered)(void *arg);
};

/**
 * store_open() - open @dir/record, lock it, read it, write it afresh, start the worker
 * @image: filled; free with store_image_free().  A damaged file is kept as @dir/record.bad
 * A disk that cannot be written is no error: store_failing() says so, recovered() will.
 * Return: 0; -EBUSY when another droverd has it; -EINVAL when the file is not
 * ours or of another version; text in @e.
 */
int store_open(qb_loop_t *loop, const char *dir, const struct store_ops *ops, void *arg,
	       struct store **out, struct store_image *image, struct err *e);

/** store_failing() - what keeps the store from writing, or NULL; known from store_open() on */
const char *store_failing(const struct store *s);

/** store_put() - queue one record; @buf is copied. 0, -EMSGSIZE or -ENOMEM */
int store_put(struct store *s, enum store_kind kind, const void *buf, size_t len, uint64_t token);

/** store_close() - write what is queued if that can be, stop the worker, unlock; NULL is fine */
void store_close(struct store *s);

/** store_image_free() - what was read of the disk */
void store_image_free(struct store_image *image);

/**
 * store_parse() - read a whole file's bytes into @image (also the fuzz target)
 * @good: length of the part that holds whole records; what follows is a torn tail, or zeros
 * Return: 0 (also when @image is lost), -EINVAL with text in @e when it is not ours, -ENOMEM.
 */
int store_parse(const uint8_t *buf, size_t len, struct store_image *image, size_t *good,
		struct err *e);

#endif
