/* SPDX-License-Identifier: Apache-2.0 */
/* transfer - one request of a disk, and the wait for it, for fuzz targets of images. */
#ifndef DROVER_TESTS_FUZZ_TRANSFER_H
#define DROVER_TESTS_FUZZ_TRANSFER_H

#include "hv/disk/block.h"

#include <poll.h>
#include <stdlib.h>

static inline void check(bool ok)
{
	if (!ok)
		abort();
}

struct request {
	struct block_req io;
	struct iovec iov;
	int ret;
	bool done;
};

static inline void on_done(struct block_req *io, int ret)
{
	struct request *r = (struct request *)io;

	r->ret = ret;
	r->done = true;
}

/* Writes of zeroes give room back, or keep it, as their place has it. */
static inline int transfer(struct block *b, enum block_op op, uint64_t at, size_t len, void *p)
{
	struct request r = { .io = { .op = op, .offset = at, .len = len, .done = on_done }, .iov = { p, len } };
	struct pollfd w = { .fd = block_event_fd(b), .events = POLLIN };

	r.io.iov = &r.iov;
	r.io.n_iov = 1;
	r.io.unmap = at & 1024;
	if (block_queue(b, &r.io))
		return -1;
	block_kick(b);
	while (!r.done) {
		check(poll(&w, 1, 5000) == 1);
		block_reap(b);
	}
	return r.ret;
}

#endif
