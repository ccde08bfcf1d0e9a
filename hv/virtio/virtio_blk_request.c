/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_blk_request - from the ring to the disk and back (VIRTIO 1.2 5.2.6).
 *
 * A request is a chain
 *
 *     out: {type, reserved, sector} [data to write]      in: [data read] status
 *
 * cut into buffers in any way the driver likes.  It goes to the disk by io_uring
 * and comes back through the eventfd in the device's thread; only then are the
 * buffers marked dirty (rule D), the status written and the chain returned.
 *
 * Rule G: a request that writes is taken from the ring only while
 * env->may_submit() says so; else it waits there, and behind it all others,
 * until the gate opens again or the machine stops the device.  One that has been
 * taken and needs more than one transfer asks again before each (hv/disk/block.h).
 */
#include "hv/virtio/virtio_blk_int.h"

#include "base/lock.h"
#include "base/log_limit.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BLK_HEADER 16u

/* VIRTIO 1.2 5.2.6 */
enum {
	T_IN = 0,
	T_OUT = 1,
	T_FLUSH = 4,
	T_GET_ID = 8,
	T_DISCARD = 11,
	T_WRITE_ZEROES = 13
};
enum {
	S_OK = 0,
	S_IOERR = 1,
	S_UNSUPP = 2
};
#define ZEROES_F_UNMAP 1u

/* --- the end of a request --- */

static void blk_count(struct virtio_blk *d, const struct blk_request *r, bool failed)
{
	if (failed) {
		d->errors++;
		return;
	}
	switch (r->type) {
	case T_IN:
		d->reads++;
		d->read_bytes += r->data_len;
		break;
	case T_OUT:
		d->writes++;
		d->write_bytes += r->data_len;
		break;
	case T_FLUSH:
		d->flushes++;
		break;
	case T_DISCARD:
	case T_WRITE_ZEROES:
		d->discards++;
		break;
	}
}

/* Status is the last writable byte; what a read has put before it is dirty, even if it failed. */
static void blk_finish(struct virtio_blk *d, struct blk_request *r, uint8_t status)
{
	struct virtq *q = &d->v.queues[0];
	struct gmem *m = d->v.env->mem;

	assert(r->blk == d && r->el.in_len); /* blk_take(): there is room for the status */
	assert(r->type != T_IN || r->data_len < r->el.in_len);
	blk_count(d, r, status != S_OK);
	if (r->type == T_IN)
		virtq_dirty(&r->el, m, 0, r->data_len);
	virtq_write(&r->el, m, r->el.in_len - 1, &status, 1);
	virtq_push(q, m, r->el.head, r->type == T_IN ? r->data_len + 1 : 1);
	r->next = d->free;
	d->free = r;
}

/* --- writes that fail --- */

/*
 * A write that the host cannot do is no answer to a guest: most file systems take it for a broken
 * disk and stop.  So the request is kept, nothing more is taken from the ring, and the machine is
 * told; with the next start of the device they are tried again (blk_restart()).  What the guest did
 * wrong (-EINVAL) or may not ask for is its own business, and so is a flush: what it should have
 * made durable is lost, and a second one would say that all is well.  But where an image only could not write
 * its tables nothing is lost yet.
 */
static bool blk_stalls(const struct virtio_blk *d, const struct blk_request *r, int ret)
{
	return ret && ret != -EINVAL && ret != -EOPNOTSUPP && !d->report_errors &&
	       d->v.env->disk_held && (r->type == T_OUT || r->type == T_WRITE_ZEROES || (r->type == T_FLUSH && r->io.kept));
}

static void blk_keep(struct virtio_blk *d, struct blk_request *r)
{
	assert(!d->stalled || !*d->stalled_end);
	r->next = NULL;
	if (!d->stalled)
		d->stalled_end = &d->stalled;
	*d->stalled_end = r;
	d->stalled_end = &r->next;
}

/* The gate has closed while it was under way: nobody's fault, and tried again when it opens, all of it. */
static void blk_gated(struct virtio_blk *d, struct blk_request *r)
{
	blk_keep(d, r);
	virtio_dev_retry(&d->v, 0);
}

static void blk_stall(struct virtio_blk *d, struct blk_request *r, int ret)
{
	char why[200];

	blk_keep(d, r);
	if (d->stopped)
		return;
	d->stopped = d->held = true;
	snprintf(why, sizeof(why), "disk %.120s: %s", d->path, strerror(-ret));
	d->v.env->disk_held(d->v.env->arg, true, why);
}

static void blk_unheld(struct virtio_blk *d)
{
	if (!d->held || d->stopped || d->stalled || d->n_again)
		return;
	d->held = false;
	d->v.env->disk_held(d->v.env->arg, false, "");
}

void virtio_blk_forget(struct virtio_blk *d)
{
	struct blk_request *r;

	while ((r = d->stalled)) {
		d->stalled = r->next;
		r->next = d->free;
		d->free = r;
	}
	d->stopped = false;
	d->n_again = 0;
	blk_unheld(d);
}

static void blk_done(struct block_req *io, int ret)
{
	struct blk_request *r = (struct blk_request *)io;
	struct virtio_blk *d = r->blk;

	assert(lock_is_held(&d->v.lock));
	assert(d->in_flight && d->n_again >= r->again);
	d->in_flight--;
	d->n_again -= r->again;
	r->again = false;
	if (ret == BLOCK_NOT_NOW) {
		blk_gated(d, r);
		return;
	}
	if (blk_stalls(d, r, ret)) {
		blk_stall(d, r, ret);
		return;
	}
	blk_unheld(d);
	if (ret && ret != -EOPNOTSUPP)
		log_of_guest(LOG_LEVEL_WARN, "%s: %s: %llu bytes at %llu: %s", d->v.name, d->path,
			     (unsigned long long)io->len, (unsigned long long)io->offset,
			     strerror(-ret));
	blk_finish(d, r, !ret ? S_OK : ret == -EOPNOTSUPP ? S_UNSUPP :
							    S_IOERR);
}

/* --- the beginning of a request --- */

/* Vectors of the data: the readable buffers behind the header, or the writable ones before status. */
static void data_iov(struct blk_request *r, bool out)
{
	const struct virtq_elem *el = &r->el;
	unsigned int i = out ? 0 : el->n_out, end = out ? el->n_out : (unsigned int)el->n_out + el->n_in;
	size_t skip = out ? BLK_HEADER : 0, left = r->data_len;

	r->io.iov = r->iov;
	r->io.n_iov = 0;
	for (; i < end && left; i++) {
		struct iovec v = el->iov[i];

		if (skip >= v.iov_len) {
			skip -= v.iov_len;
			continue;
		}
		v.iov_base = (uint8_t *)v.iov_base + skip;
		v.iov_len -= skip;
		skip = 0;
		if (v.iov_len > left)
			v.iov_len = left;
		left -= v.iov_len;
		r->iov[r->io.n_iov++] = v;
	}
	assert(!left && r->io.n_iov <= VIRTQ_SEGS_MAX);
}

static void blk_get_id(struct virtio_blk *d, struct blk_request *r)
{
	char id[BLK_ID_LEN] = { 0 };
	size_t len = r->el.in_len - 1;

	memcpy(id, d->serial, strnlen(d->serial, sizeof(id)));
	virtq_write(&r->el, d->v.env->mem, 0, id, len < sizeof(id) ? len : sizeof(id));
	blk_finish(d, r, S_OK);
}

/* 5.2.6.2: a driver that cannot flush must find its writes durable when they complete. */
static bool must_be_durable(const struct virtio_blk *d)
{
	return !(d->v.features & BLK_F_FLUSH);
}

/* The disk may be larger than what the guest knows of it. */
static bool inside(const struct virtio_blk *d, uint64_t sector, uint64_t len)
{
	return sector <= d->capacity / BLK_SECTOR && len <= d->capacity - sector * BLK_SECTOR;
}

/* DISCARD and WRITE_ZEROES carry {sector, num_sectors, flags} (5.2.6); we allow one such range. */
static int range_request(struct virtio_blk *d, struct blk_request *r)
{
	struct {
		uint64_t sector;
		uint32_t n, flags;
	} range;
	uint64_t sector, n;

	if (r->data_len != sizeof(range) ||
	    virtq_read(&r->el, BLK_HEADER, &range, sizeof(range)) != sizeof(range))
		return -EINVAL;
	sector = le64toh(range.sector);
	n = le32toh(range.n);
	/* 5.2.6.2: unknown flags, and unmap with a discard, are not supported. */
	if ((le32toh(range.flags) & ~ZEROES_F_UNMAP) ||
	    (r->type == T_DISCARD && range.flags))
		return -EOPNOTSUPP;
	if (n > BLK_DISCARD_MAX || !inside(d, sector, n * BLK_SECTOR))
		return -EINVAL;
	r->io.op = r->type == T_DISCARD ? BLOCK_DISCARD : BLOCK_ZERO;
	r->io.offset = sector * BLK_SECTOR;
	r->io.len = n * BLK_SECTOR;
	r->io.unmap = le32toh(range.flags) & ZEROES_F_UNMAP;
	r->io.durable = r->type == T_WRITE_ZEROES && must_be_durable(d);
	return 0;
}

static int data_request(struct virtio_blk *d, struct blk_request *r, uint64_t sector)
{
	if (!inside(d, sector, r->data_len))
		return -EINVAL;
	r->io.op = r->type == T_IN ? BLOCK_READ : BLOCK_WRITE;
	r->io.offset = sector * BLK_SECTOR;
	r->io.len = r->data_len;
	r->io.durable = must_be_durable(d);
	data_iov(r, r->type == T_OUT);
	return 0;
}

static bool type_writes(uint32_t type)
{
	return type == T_OUT || type == T_DISCARD || type == T_WRITE_ZEROES || type == T_FLUSH;
}

/* False: not now, the gate has closed. */
static bool blk_start(struct virtio_blk *d, struct blk_request *r)
{
	int ret = -EOPNOTSUPP;

	assert(!d->owned || d->block);
	assert(r->type == T_IN || r->el.out_len >= BLK_HEADER);
	memset(&r->io, 0, sizeof(r->io));
	r->io.done = blk_done;
	r->data_len = r->type == T_IN ? r->el.in_len - 1 : r->el.out_len - BLK_HEADER;
	if (r->type == T_GET_ID) {
		blk_get_id(d, r);
		return true;
	}
	if (!d->owned) {
		ret = -EIO;
	} else if (d->readonly && type_writes(r->type) && r->type != T_FLUSH) {
		ret = -EROFS;
	} else {
		switch (r->type) {
		case T_IN:
		case T_OUT:
			ret = data_request(d, r, r->sector);
			break;
		case T_FLUSH:
			r->io.op = BLOCK_FLUSH;
			ret = 0;
			break;
		case T_DISCARD:
		case T_WRITE_ZEROES:
			ret = range_request(d, r);
			break;
		}
	}
	if (!ret)
		ret = block_queue(d->block, &r->io);
	if (ret == BLOCK_NOT_NOW) {
		r->again = false;
		blk_gated(d, r);
		return false;
	}
	if (ret) {
		if (r->type == T_IN)
			r->data_len = 0; /* nothing was read into it */
		blk_finish(d, r, ret == -EOPNOTSUPP ? S_UNSUPP : S_IOERR);
		return true;
	}
	d->in_flight++;
	assert(d->in_flight <= BLK_QUEUE_SIZE);
	d->n_again += r->again;
	return true;
}

/* What failed before the device was stopped; rule G as for any other write.  False: not all of it yet. */
static bool blk_restart(struct virtio_blk *d)
{
	struct blk_request *r;

	while (!d->stopped && (r = d->stalled)) {
		if (!virtio_dev_works(&d->v, 0))
			return false;
		if (!d->v.env->may_submit(d->v.env->arg)) {
			virtio_dev_retry(&d->v, 0);
			return false;
		}
		d->stalled = r->next;
		r->again = true;
		if (!blk_start(d, r))
			return false;
	}
	blk_unheld(d);
	return !d->stopped;
}

/* False when the ring is empty, the gate is closed, or all requests are in use. */
static bool blk_take(struct virtio_blk *d)
{
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header;
	struct blk_request *r = d->free;

	d->starved = !r;
	if (!r || !virtio_dev_pop(&d->v, 0, &r->el))
		return false;
	if (!r->el.in_len || virtq_read(&r->el, 0, &header, sizeof(header)) != sizeof(header)) {
		virtio_dev_broken(&d->v, 0, "a request without header or status");
		return false;
	}
	r->type = le32toh(header.type);
	if (type_writes(r->type) && !d->v.env->may_submit(d->v.env->arg)) {
		virtq_unpop(&d->v.queues[0]);
		virtio_dev_retry(&d->v, 0);
		return false;
	}
	d->free = r->next;
	r->sector = le64toh(header.sector);
	r->again = false;
	return blk_start(d, r);
}

void virtio_blk_kick(struct virtio_dev *v, unsigned int q)
{
	struct virtio_blk *d = virtio_blk_of(v);
	struct virtq *vq = &v->queues[q];
	unsigned int n = BLK_QUEUE_SIZE;
	bool more;

	if (!blk_restart(d))
		goto out;
	do {
		virtq_kicks(vq, v->env->mem, false);
		more = true;
		while (more && n && virtio_dev_works(v, q)) {
			more = blk_take(d);
			n -= more;
		}
		virtq_kicks(vq, v->env->mem, true);
		/* Taken nothing though the ring is not empty: somebody else will wake us. */
		more = virtio_dev_works(v, q) && !d->starved && !virtq_empty(vq) &&
		       v->env->may_submit(v->env->arg);
	} while (more && n);
	/* Whoever fills the ring as fast as it is emptied (requests that fail at once) leaves others their turn. */
	if (more)
		virtio_dev_again(v, q);
out:
	if (d->block)
		block_kick(d->block);
	/* Requests that failed at once have been answered already. */
	virtio_dev_interrupt(v, q);
}

void virtio_blk_event(struct virtio_dev *v, unsigned int s, uint32_t events)
{
	struct virtio_blk *d = virtio_blk_of(v);

	/* epoll had told of it before the disk was released; then all had been reaped. */
	if (!d->block)
		return;
	block_reap(d->block);
	virtio_dev_interrupt(v, 0);
	if (d->starved)
		virtio_dev_again(v, 0);
}
