/* SPDX-License-Identifier: Apache-2.0 */
/* raw_int - what raw.c (the open disk, its ring) and raw_request.c share. */
#ifndef DROVER_HV_DISK_RAW_INT_H
#define DROVER_HV_DISK_RAW_INT_H

#include "hv/disk/block_format.h"
#include "hv/disk/rings.h"

#include <liburing.h>
#include <stddef.h>

#define DIRECT_ALIGN 4096u /* for buffers: enough for any device */

struct disk_raw {
	struct block block;
	int fd;
	struct rings *rings; /* where the ring is from, NULL: our own */
	struct io_uring ring;
	bool direct, has_ring, inner;
	bool (*may_write)(void *arg);
	void *may_arg;
	bool own_event; /* event_fd is not somebody else's */
	unsigned int queued;
	size_t room;                              /* bytes of aligned copies in use */
	struct block_req *waiting, **waiting_end; /* for room, in order */
};

static inline struct disk_raw *raw_of(struct block *b)
{
	return (struct disk_raw *)b;
}

/**
 * raw_queue() - block_queue() of raw disks: the first transfer of @r goes into the ring
 * One for whose aligned copy there is no room (BLOCK_ROOM_MAX) waits behind those that wait already.
 * Return: 0, also for one that waits; -EAGAIN when the ring is full; -ENOMEM.
 */
int raw_queue(struct block *block, struct block_req *r);
/**
 * raw_kick() - block_kick() of raw disks: let the kernel begin what is in the ring
 * What it does not take yet stays there and makes event_fd readable: block_reap() tries again.  When it takes
 * nothing at all this sleeps for 1 ms, or the two would be a busy loop.
 */
void raw_kick(struct block *block);

/**
 * raw_request_step() - a transfer of @r has ended with @res: go on, or call done()
 * @res: bytes, or a negative errno, as io_uring says
 */
void raw_request_step(struct disk_raw *b, struct block_req *r, int res);

#endif
