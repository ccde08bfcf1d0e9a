/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block - asynchronous I/O to a disk image or block device, whatever its format (block_format.h).
 *
 * One thread uses a block (its device's).  Requests complete in any order;
 * done() is called from block_reap() alone.  Short transfers are continued; what the
 * kernel asks to try again is tried again, but not for ever.  Requests that O_DIRECT
 * would refuse for the address of a buffer go through an aligned copy, piece by piece:
 * their length is the guest's to choose (overlapping buffers make 4 GiB of nothing), so
 * a disk has BLOCK_ROOM_MAX bytes for that and no more; who finds none left waits.
 */
#ifndef DROVER_HV_DISK_BLOCK_H
#define DROVER_HV_DISK_BLOCK_H

#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLOCK_PIECE_MAX (256u << 10) /* bytes copied at once for one request */
#define BLOCK_ROOM_MAX (4u << 20)    /* ... for all of a disk */
#define BLOCK_TRIES_MAX 100          /* of a transfer that gets nowhere (EAGAIN, EINTR) */
#define BLOCK_NOT_NOW (-ECANCELED)   /* of a request that may be tried again, all of it, when writing is allowed */
#define BLOCK_PARENTS_MAX 32         /* an image and what it was made from, and what that was made from ... */

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,   /* what completed before is on stable storage */
	BLOCK_DISCARD, /* contents may go; advice: succeeds where the host cannot */
	BLOCK_ZERO,    /* reads as zeroes from now on; written where the host cannot do better */
};

struct block;
struct block_format;

struct block_req {
	/* filled by the caller, valid until done() */
	enum block_op op;
	uint64_t offset, len; /* bytes */
	struct iovec *iov;    /* READ, WRITE: @len bytes in all; changed on the way */
	unsigned int n_iov;
	bool durable;  /* WRITE, ZERO: on stable storage before done() */
	bool unmap;    /* ZERO: may give the space back */
	bool kept;     /* FLUSH that failed, set before done(): nothing is lost, and a later one may succeed */
	bool past_end; /* READ of a file that grows: what lies behind its end reads as zeroes */
	/* @ret: 0 or a negative errno */
	void (*done)(struct block_req *r, int ret);
	/* block's own */
	uint64_t left;
	struct iovec *at; /* of iov, what comes next */
	unsigned int n_at;
	struct iovec piece;     /* aligned copy of what comes next, base NULL = none */
	size_t room;            /* bytes at piece.iov_base */
	int mode;               /* fallocate flags to try; 0 = write zeroes */
	unsigned int tries;     /* in a row that got nowhere */
	bool syncing;           /* all is written and becomes durable now */
	struct block_req *next; /* waits for room */
};

/* An image that others were made from: only read. */
struct block_parent {
	int fd;           /* stays the caller's, as that of the disk */
	const char *path; /* for errors; must outlive the block */
};

/* How a disk is opened; what is not named is 0. */
struct block_open_args {
	int fd;           /* blocking; stays the caller's, who closes it after block_close() */
	const char *path; /* for errors; must outlive the block */
	bool readonly, direct;
	unsigned int depth; /* requests at once, a power of two */
	/* What an image lies on that has only what differs: its parent, the parent's parent, and so on. Read during the call only. */
	const struct block_parent *parents;
	unsigned int n_parents;
	/*
	 * Rule G: asked before each transfer that changes the file; false ends its request with BLOCK_NOT_NOW, done in part or not at all.
	 * One request may be many transfers, each begun when the one before has come back.  Any thread; NULL: always.
	 */
	bool (*may_write)(void *arg);
	void *may_arg;
	struct rings *rings; /* made in advance (rings.h), which outlive the block; NULL: make one */
	/* Between formats (block_format.h). */
	const int *event_fd;              /* tell this one; NULL: one of its own */
	bool inner;                       /* raw: the file of an image, whose size is nobody's disk */
	const struct block_format *below; /* an image: what its file, and its parents', are read and written by; NULL: raw */
};

/**
 * block_open() - make a disk of an open file, for @depth requests at once
 * @format: "raw", "vhd", "qcow2"
 * @fd: the disk, blocking; stays the caller's, who closes it after block_close().  O_DIRECT is set
 *      on it, or cleared, as @direct says.
 * @path: for errors; must outlive the block
 * Return: 0; -EINVAL when there is no such format, or it is empty, not a whole number of sectors, neither a file nor a block
 * device, or an image that is not sound; -EOPNOTSUPP when it cannot do without a cache though @direct says so.
 */
int block_open(const char *format, int fd, const char *path, bool readonly, bool direct,
	       unsigned int depth, struct block **out, struct err *e);
/**
 * block_open_on() - block_open() of an image that stands on others
 * Return: as block_open(); -ENOENT when a parent is missing, -ESTALE when it is not the one, or was written since.
 */
int block_open_on(const char *format, const struct block_open_args *a, struct block **out, struct err *e);
/** block_ring_depth() - how many requests the ring of a file has that is opened so, for @depth at once; its parents' have no more */
unsigned int block_ring_depth(const char *format, unsigned int depth);
/** block_close() - nothing may be in flight; what was not flushed may still be lost; NULL is fine */
void block_close(struct block *b);

/**
 * block_flush() - wait until all that completed is on stable storage; any thread
 * The kernel tells of lost writes once.  What is told here the guest has not heard: its next
 * BLOCK_FLUSH fails, and so does each block_flush() until then, though it does what it can.  But for what an image could
 * not write of its tables, for want of space: it has them still, and the next flush tries again.
 */
int block_flush(struct block *b, struct err *e);
/** block_owed() - the error that the guest has yet to hear of, 0 = none */
int block_owed(const struct block *b);
/**
 * block_leaves() - the same if the block is closed now; for block_owe() of its guest's next block
 * What an image has not written of its tables goes with it, and the data that they speak of, though nobody has failed.
 */
int block_leaves(struct block *b);
/** block_owe() - the guest's next BLOCK_FLUSH, and each block_flush() until then, fails with @error; 0: none does */
void block_owe(struct block *b, int error);

uint64_t block_size(const struct block *b);        /* bytes */
uint32_t block_sector_size(const struct block *b); /* offsets and lengths must be multiples */
int block_event_fd(const struct block *b);         /* readable when block_reap() has work */

/**
 * block_queue() - take @r over; it starts at block_kick()
 * Return: 0: done() will be called; else @r is still the caller's: -EINVAL when it is empty, misaligned or
 * outside; -EROFS; -EAGAIN when no more fits the ring; -ENOMEM; BLOCK_NOT_NOW.
 */
int block_queue(struct block *b, struct block_req *r);
/** block_kick() - start what was queued */
void block_kick(struct block *b);
/** block_reap() - call done() of what completed; may start what was continued */
void block_reap(struct block *b);

#endif
