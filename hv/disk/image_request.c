/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_request - a guest's request, piece by piece (image.h).
 *
 * One piece of a request is in flight at a time: most requests have one, and a guest can make a request have
 * very many, so what a request costs does not depend on its length.
 */
#include "hv/disk/image_int.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static bool has_data(const struct image_req *r)
{
	return r->guest->op == BLOCK_READ || r->guest->op == BLOCK_WRITE;
}

/* --- the end --- */

void image_req_finish(struct image *im, struct image_req *r, int ret, bool kept)
{
	struct block_req *g = r->guest;

	assert(!r->held);
	if (!g) {
		r->ret = ret;
		r->kept = kept;
		r->finished = true;
		pthread_cond_broadcast(&im->flushed);
		return;
	}
	r->next = im->free;
	im->free = r;
	/* What was lost before is told by a flush that does not come back for another try. */
	g->mode = g->op == BLOCK_FLUSH && !kept ? block_flush_result(&im->block, ret) : ret;
	g->kept = kept;
	g->next = NULL;
	if (!im->finished)
		im->finished_end = &im->finished;
	*im->finished_end = g;
	im->finished_end = &g->next;
}

/* Of a guest that cannot flush. */
static bool is_durable(const struct block_req *g)
{
	return g->durable && (g->op == BLOCK_WRITE || g->op == BLOCK_ZERO);
}

/* Data is there.  Where it must be durable, what says where it is must be so too. */
static void req_end(struct image *im, struct image_req *r)
{
	if (is_durable(r->guest) && (im->ops->dirty(im) || im->flush.running))
		image_flush_join(im, r);
	else
		image_req_finish(im, r, 0, false);
}

/* --- pieces --- */

static void req_wait(struct image *im, struct image_req *r)
{
	r->next = NULL;
	if (!im->waiting)
		im->waiting_end = &im->waiting;
	*im->waiting_end = r;
	im->waiting_end = &r->next;
}

static void piece_pass(struct image_req *r)
{
	if (has_data(r))
		image_cut_pass(&r->cut, &r->iov, &r->n_iov);
	r->at += r->x.len;
	r->left -= r->x.len;
}

/* What map() has at hand: nothing is in flight. */
static void piece_memory(struct image_req *r)
{
	const uint8_t *p = r->x.memory;

	assert(r->guest->op == BLOCK_READ);
	for (unsigned int i = 0; i < r->cut.n; i++) {
		memcpy(r->iov[i].iov_base, p, r->iov[i].iov_len);
		p += r->iov[i].iov_len;
	}
	piece_pass(r);
}

static void piece_zeroes(struct image_req *r)
{
	if (has_data(r)) {
		assert(r->guest->op == BLOCK_READ);
		for (unsigned int i = 0; i < r->cut.n; i++)
			memset(r->iov[i].iov_base, 0, r->iov[i].iov_len);
	}
	piece_pass(r);
}

/* The parent may be smaller than what was made from it: nothing is behind its end. */
static void clip_to_parent(const struct image *im, struct image_extent *x)
{
	uint64_t size = block_size(im->parent);

	if (x->at >= size)
		x->where = IMAGE_ZEROES;
	else if (x->len > size - x->at)
		x->len = size - x->at;
}

static void piece_ended(struct image *im, struct image_req *r, int ret)
{
	if (r->x.where == IMAGE_DATA)
		im->ops->mapped(im, r, ret);
	piece_pass(r);
	if (ret)
		image_req_finish(im, r, ret, false);
	else
		image_req_begin(im, r);
	if (im->waiting)
		image_wake(im);
}

static void data_done(struct image_io *io, int ret)
{
	piece_ended(io->im, (struct image_req *)io, ret);
}

static void parent_done(struct block_req *b, int ret)
{
	struct image_io *io = (struct image_io *)b;

	piece_ended(io->im, (struct image_req *)io, ret);
}

static int piece_start(struct image *im, struct image_req *r)
{
	const struct block_req *g = r->guest;
	struct block_req *io = &r->io.req;
	int ret;

	*io = (struct block_req){ .op = g->op, .len = r->x.len, .iov = r->iov, .n_iov = r->cut.n, .unmap = g->unmap };
	r->io.im = im;
	if (r->x.where == IMAGE_PARENT) {
		assert(io->op == BLOCK_READ);
		io->offset = r->x.at;
		io->done = parent_done;
		return block_queue(im->parent, io);
	}
	io->offset = r->x.file;
	io->durable = is_durable(g);
	io->past_end = true; /* a block that was taken a moment ago */
	r->io.done = data_done;
	ret = image_io_start(im, &r->io);
	if (ret)
		im->ops->mapped(im, r, ret);
	return ret;
}

/* --- the way --- */

static int req_map(struct image *im, struct image_req *r)
{
	int ret;

	r->x = (struct image_extent){ .at = r->at, .len = r->left };
	ret = im->ops->map(im, r, &r->x);
	if (ret || r->x.where == IMAGE_WAIT)
		return ret;
	assert(r->x.len && r->x.len <= r->left);
	if (r->x.where == IMAGE_PARENT)
		clip_to_parent(im, &r->x);
	if (has_data(r))
		image_cut_make(&r->cut, r->iov, r->n_iov, r->x.len);
	return 0;
}

void image_req_begin(struct image *im, struct image_req *r)
{
	int ret;

	while (r->left) {
		ret = req_map(im, r);
		if (!ret && r->x.where == IMAGE_WAIT) {
			req_wait(im, r);
			return;
		}
		r->no_room = false;
		if (!ret && r->x.where == IMAGE_ZEROES) {
			piece_zeroes(r);
			continue;
		}
		if (!ret && r->x.where == IMAGE_MEMORY) {
			piece_memory(r);
			continue;
		}
		if (!ret)
			ret = piece_start(im, r);
		if (ret)
			image_req_finish(im, r, ret, false);
		return;
	}
	req_end(im, r);
}

int image_wait_for_flush(struct image *im, struct image_req *r, struct image_extent *x)
{
	if (r->no_room && im->flush.ret && !im->flush.running && im->ops->dirty(im))
		return im->flush.ret;
	r->no_room = true;
	x->where = IMAGE_WAIT;
	if (!im->ops->dirty(im))
		return 0;
	image_flush_start(im);
	return im->flush.running ? 0 : im->flush.ret; /* it may have failed at once */
}

/* Whoever has to wait again stands behind those that wait already, and is not asked twice. */
void image_wake(struct image *im)
{
	struct image_req *r = im->waiting, *next;

	im->waiting = NULL;
	for (; r; r = next) {
		next = r->next;
		image_req_begin(im, r);
	}
}
