/* SPDX-License-Identifier: Apache-2.0 */
/* block_int - what block.c (the open disk, its ring) and block_request.c share. */
#ifndef DROVER_HV_BLOCK_INT_H
#define DROVER_HV_BLOCK_INT_H

#include "hv/block.h"

#include <liburing.h>
#include <stdatomic.h>
#include <stddef.h>

#define DIRECT_ALIGN 4096u   /* for buffers: enough for any device */

struct block {
	int fd;
	int event_fd;
	struct io_uring ring;
	uint64_t size;
	uint32_t sector;
	const char *path;        /* the caller's */
	bool direct, readonly, has_ring;
	unsigned int queued;
	size_t room;             /* bytes of aligned copies in use */
	struct block_req *waiting, **waiting_end; /* for room, in order */
	_Atomic int owed;        /* writes were lost and the guest has not been told: its next flush fails */
};

/**
 * block_request_step() - a transfer of @r has ended with @res: go on, or call done()
 * @res: bytes, or a negative errno, as io_uring says
 */
void block_request_step(struct block *b, struct block_req *r, int res);

#endif
