/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_edge - transfers of 512-byte sectors on storage that takes larger units only (O_DIRECT, disks of 4 KiB sectors).
 *
 * What begins or ends within a unit is ragged: its edges are read, changed and written back by way of a
 * bounce buffer, what is between them goes straight.
 *
 *     unit   |       |       |       |       |
 *     ragged      [==edge====whole======edge=]
 *
 * Two that change one unit must not do so at once, or one puts back what the other had written.  Ragged
 * ones go one after the other; a write of whole units waits while an edge in it is being changed; an
 * edge waits until no such write is in flight over it.  Slow and simple: images that we make have their
 * data on whole units, and only tables are ragged.
 */
#include "hv/disk/image_int.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT64_MAX

static void work(struct image *im);

static struct image_io *of_part(struct block_req *part)
{
	return (struct image_io *)((char *)part - offsetof(struct image_io, part));
}

static int inner_queue(struct image *im, struct block_req *r)
{
	return im->inner->format->queue(im->inner, r);
}

int image_edge_init(struct image *im, uint32_t unit)
{
	struct image_edge *d = &im->edge;

	assert(unit >= IMAGE_SECTOR && !(unit & (unit - 1)));
	d->unit = unit;
	d->changes = NONE;
	if (unit == IMAGE_SECTOR)
		return 0;
	return posix_memalign((void **)&d->bounce, unit < IMAGE_ALIGN ? IMAGE_ALIGN : unit, unit) ? -ENOMEM : 0;
}

void image_edge_exit(struct image *im)
{
	free(im->edge.bounce);
}

static bool over(const struct image_io *io, const struct image_edge *d, uint64_t unit)
{
	return unit != NONE && io->req.offset < unit + d->unit && unit < io->req.offset + io->req.len;
}

/* --- writes of whole units --- */

static void whole_done(struct block_req *r, int ret)
{
	struct image_io *io = (struct image_io *)r, **p;
	struct image *im = io->im;

	for (p = &im->edge.whole; *p != io; p = &(*p)->next)
		;
	*p = io->next;
	io->done(io, ret);
	work(im);
}

static int whole_start(struct image *im, struct image_io *io)
{
	int ret;

	io->req.done = whole_done;
	ret = inner_queue(im, &io->req);
	if (ret)
		return ret;
	io->next = im->edge.whole;
	im->edge.whole = io;
	return 0;
}

static void plain_done(struct block_req *r, int ret)
{
	struct image_io *io = (struct image_io *)r;

	io->done(io, ret);
}

static void hold(struct image_io ***end, struct image_io **list, struct image_io *io)
{
	io->next = NULL;
	if (!*list)
		*end = list;
	**end = io;
	*end = &io->next;
}

static void held_start(struct image *im)
{
	struct image_io *io = im->edge.held, *next;
	int ret;

	im->edge.held = NULL;
	for (; io; io = next) {
		next = io->next;
		ret = whole_start(im, io);
		if (ret)
			io->done(io, ret);
	}
}

/* --- ragged ones --- */

static void ragged_end(struct image *im, int ret)
{
	struct image_edge *d = &im->edge;
	struct image_io *io = d->ragged;

	d->ragged = io->next;
	d->working = false;
	io->done(io, ret);
	work(im);
}

/* Bytes from where @io stands that are one piece: an edge, or all the units before the last edge. */
static uint64_t piece_len(const struct image_edge *d, const struct image_io *io)
{
	uint64_t in = io->at % d->unit, len;

	if (in || io->left < d->unit) {
		len = d->unit - in;
		return len < io->left ? len : io->left;
	}
	return io->left - io->left % d->unit;
}

static void pass(struct image_io *io, uint64_t len)
{
	if (io->iov)
		image_cut_pass(&io->cut, &io->iov, &io->n_iov);
	io->at += len;
	io->left -= len;
}

static void bounce_copy(const struct image_io *io, uint8_t *p, size_t len)
{
	if (!io->iov) {
		memset(p, 0, len);
		return;
	}
	for (unsigned int i = 0; i < io->cut.n; i++) {
		const struct iovec *v = &io->iov[i];

		if (io->req.op == BLOCK_READ)
			memcpy(v->iov_base, p, v->iov_len);
		else
			memcpy(p, v->iov_base, v->iov_len);
		p += v->iov_len;
	}
}

static void part_done(struct block_req *part, int ret);

static int part_start(struct image *im, struct image_io *io, enum block_op op, uint64_t at, uint64_t len,
		      struct iovec *iov, unsigned int n)
{
	io->part = (struct block_req){
		.op = op,
		.offset = at,
		.len = len,
		.iov = iov,
		.n_iov = n,
		.unmap = io->req.unmap,
		.past_end = op == BLOCK_READ,
		.done = part_done,
	};
	io->part.durable = op != BLOCK_READ && io->req.durable;
	return inner_queue(im, &io->part);
}

static int bounce_start(struct image *im, struct image_io *io, enum block_op op)
{
	struct image_edge *d = &im->edge;

	io->part_iov = (struct iovec){ d->bounce, d->unit };
	return part_start(im, io, op, io->at - io->at % d->unit, d->unit, &io->part_iov, 1);
}

/* The next piece of the first ragged one.  Return: 1 when it has to wait for writes over its edge. */
static int piece_start(struct image *im, struct image_io *io)
{
	struct image_edge *d = &im->edge;
	uint64_t len = piece_len(d, io), unit = io->at - io->at % d->unit;

	if (len % d->unit && io->req.op != BLOCK_READ)
		for (const struct image_io *w = d->whole; w; w = w->next)
			if (over(w, d, unit))
				return 1;
	if (io->iov)
		image_cut_make(&io->cut, io->iov, io->n_iov, len);
	if (len % d->unit == 0)
		return part_start(im, io, io->req.op, io->at, len, io->iov, io->iov ? io->cut.n : 0);
	if (io->req.op != BLOCK_READ)
		d->changes = unit;
	return bounce_start(im, io, BLOCK_READ);
}

/* An edge has been read: 1 = it is being written now. */
static int edge_read(struct image *im, struct image_io *io, uint64_t len)
{
	struct image_edge *d = &im->edge;
	int ret;

	bounce_copy(io, d->bounce + io->at % d->unit, (size_t)len);
	if (io->req.op == BLOCK_READ)
		return 0;
	ret = bounce_start(im, io, BLOCK_WRITE);
	return ret ? ret : 1;
}

static void part_done(struct block_req *part, int ret)
{
	struct image_io *io = of_part(part);
	struct image *im = io->im;
	uint64_t len = piece_len(&im->edge, io);

	if (!ret && len % im->edge.unit && part->op == BLOCK_READ)
		ret = edge_read(im, io, len);
	if (ret > 0)
		return;
	if (im->edge.changes != NONE) {
		im->edge.changes = NONE;
		held_start(im);
	}
	pass(io, len);
	im->edge.working = false;
	if (ret || !io->left)
		ragged_end(im, ret);
	else
		work(im);
}

/* Go on with the first ragged one, if it is not under way.  Return: 0, also when it waits; -errno: it cannot. */
static int ragged_try(struct image *im)
{
	struct image_edge *d = &im->edge;
	int ret;

	if (d->working || !d->ragged)
		return 0;
	d->working = true;
	ret = piece_start(im, d->ragged);
	if (!ret)
		return 0;
	d->working = false;
	if (ret > 0)
		return 0;
	d->changes = NONE;
	return ret;
}

static void work(struct image *im)
{
	int ret = ragged_try(im);

	if (!ret)
		return;
	held_start(im);
	ragged_end(im, ret);
}

/* --- the door --- */

int image_edge_start(struct image *im, struct image_io *io)
{
	struct image_edge *d = &im->edge;
	int ret;

	if (io->req.op == BLOCK_FLUSH || io->req.op == BLOCK_DISCARD || /* discards go by bytes, and are advice */
	    (io->req.op == BLOCK_READ && !(io->req.offset % d->unit) && !(io->req.len % d->unit))) {
		io->req.done = plain_done;
		return inner_queue(im, &io->req);
	}
	if (!(io->req.offset % d->unit) && !(io->req.len % d->unit)) {
		if (!over(io, d, d->changes))
			return whole_start(im, io);
		hold(&d->held_end, &d->held, io);
		return 0;
	}
	io->at = io->req.offset;
	io->left = io->req.len;
	io->iov = io->req.op == BLOCK_ZERO ? NULL : io->req.iov;
	io->n_iov = io->req.n_iov;
	hold(&d->ragged_end, &d->ragged, io);
	if (d->ragged != io)
		return 0;
	ret = ragged_try(im);
	if (ret)
		d->ragged = NULL;
	return ret;
}

int image_io_start(struct image *im, struct image_io *io)
{
	io->im = im;
	if (im->edge.unit > IMAGE_SECTOR)
		return image_edge_start(im, io);
	io->req.done = plain_done;
	return inner_queue(im, &io->req);
}
