/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block - asynchronous I/O to a raw disk image or block device, by io_uring.
 *
 * One thread uses a block (its device's).  Requests complete in any order;
 * done() is called from block_reap() alone.  Short transfers are continued,
 * requests that O_DIRECT would refuse for the address of a buffer go through
 * an aligned copy.
 */
#ifndef DROVER_HV_BLOCK_H
#define DROVER_HV_BLOCK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,     /* what completed before is on stable storage */
	BLOCK_DISCARD,   /* contents may go; advice: succeeds where the host cannot */
	BLOCK_ZERO,      /* reads as zeroes from now on; written where the host cannot do better */
};

struct block;

struct block_req {
	/* filled by the caller, valid until done() */
	enum block_op op;
	uint64_t offset, len;    /* bytes */
	struct iovec *iov;       /* READ, WRITE: @len bytes in all; changed on the way */
	unsigned int n_iov;
	bool durable;            /* WRITE: on stable storage before done() */
	bool unmap;              /* ZERO: may give the space back */
	/* @ret: 0 or a negative errno */
	void (*done)(struct block_req *r, int ret);
	/* block.c's own */
	uint64_t left;
	struct iovec bounce;     /* aligned copy, base NULL = none */
	struct iovec *at;
	unsigned int n_at;
	int mode;                /* fallocate flags to try; 0 = write zeroes */
};

/**
 * block_open() - open the disk for @depth requests at once
 * Return: 0; -ENOENT; -EINVAL when it is empty or neither a file nor a block device
 */
int block_open(const char *path, bool readonly, bool direct, unsigned int depth,
	       struct block **out, struct err *e);
/** block_close() - nothing may be in flight; NULL is fine */
void block_close(struct block *b);

uint64_t block_size(const struct block *b);       /* bytes */
uint32_t block_sector_size(const struct block *b); /* offsets and lengths must be multiples */
int block_event_fd(const struct block *b);        /* readable when block_reap() has work */

/** block_queue() - take @r over; it starts at block_kick().  -EINVAL when it is misaligned or outside */
int block_queue(struct block *b, struct block_req *r);
/** block_kick() - start what was queued */
void block_kick(struct block *b);
/** block_reap() - call done() of what completed; may start what was continued */
void block_reap(struct block *b);

#endif
