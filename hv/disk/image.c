/* SPDX-License-Identifier: Apache-2.0 */
/* image - the block that an image is (image.h): its life, its lock, and who is told what when. */
#include "hv/disk/image_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#define FLUSH_TURN_MS 1

/* --- life --- */

/* One request in flight for each of the guest's, one more for a table it waits for, and those of a flush. */
unsigned int image_ring_depth(unsigned int depth)
{
	return depth * 2 < 32 ? 32 : depth * 2;
}

static void locks_init(struct image *im)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&im->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&im->flushed, &attr);
	pthread_condattr_destroy(&attr);
}

int image_init(struct image *im, const struct image_format *ops, const struct block_open_args *a, struct err *e)
{
	const struct block_format *below = a->below ? a->below : &block_raw;
	struct block_open_args inner = *a;
	int ret;

	im->ops = ops;
	im->depth = a->depth;
	locks_init(im);
	im->reqs = calloc(a->depth, sizeof(*im->reqs));
	if (!im->reqs)
		return err_set(e, -ENOMEM, "disk %s: no memory", a->path);
	for (unsigned int i = 0; i < a->depth; i++) {
		im->reqs[i].next = im->free;
		im->free = &im->reqs[i];
	}
	inner.inner = true;
	inner.depth = image_ring_depth(a->depth);
	ret = below->open(&inner, &im->inner, e);
	if (ret)
		return ret;
	im->inner->format = below;
	im->inner->path = a->path;
	im->inner->readonly = a->readonly;
	im->block.sector = IMAGE_SECTOR;
	im->block.event_fd = im->inner->event_fd;
	ret = image_edge_init(im, im->inner->sector);
	return ret ? err_set(e, ret, "disk %s: no memory", a->path) : 0;
}

void image_exit(struct image *im)
{
	block_close(im->parent);
	block_close(im->inner);
	image_edge_exit(im);
	free(im->reqs);
	pthread_cond_destroy(&im->flushed);
	pthread_mutex_destroy(&im->lock);
}

void image_close(struct block *b)
{
	image_of(b)->ops->destroy(image_of(b));
}

/* --- requests come and go --- */

int image_queue(struct block *b, struct block_req *g)
{
	struct image *im = image_of(b);
	struct image_req *r;

	pthread_mutex_lock(&im->lock);
	r = im->free;
	if (r) {
		im->free = r->next;
		*r = (struct image_req){ .guest = g, .at = g->offset, .left = g->len, .iov = g->iov, .n_iov = g->n_iov };
		if (g->op == BLOCK_FLUSH)
			image_flush_join(im, r);
		else
			image_req_begin(im, r);
	}
	pthread_mutex_unlock(&im->lock);
	return r ? 0 : -EAGAIN;
}

/* done() is called from block_reap() alone: what is done already makes that be called. */
static void kick_all(struct image *im)
{
	im->inner->format->kick(im->inner);
	if (im->parent)
		block_kick(im->parent);
	if (im->finished)
		eventfd_write(im->block.event_fd, 1);
}

void image_kick(struct block *b)
{
	struct image *im = image_of(b);

	pthread_mutex_lock(&im->lock);
	kick_all(im);
	pthread_mutex_unlock(&im->lock);
}

void image_reap(struct block *b)
{
	struct image *im = image_of(b);
	struct block_req *done, *next;

	pthread_mutex_lock(&im->lock);
	im->inner->format->reap(im->inner); /* first: the event is its own, and the parent's too */
	if (im->parent)
		block_reap(im->parent);
	done = im->finished;
	im->finished = NULL;
	kick_all(im);
	pthread_mutex_unlock(&im->lock);
	for (; done; done = next) {
		next = done->next;
		done->done(done, done->mode);
	}
}

/* A moment of pthread_cond_timedwait(), @ms from now. */
static struct timespec in_ms(long ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

/*
 * Any thread, beside the device's, which turns the wheel as ever and tells when it is done.  Where that has ended, or is
 * slow, we turn it ourselves; what is found that others wait for is left to it, and it is woken for that.
 */
int image_flush(struct block *b, bool *kept)
{
	struct image *im = image_of(b);
	struct image_req r = { 0 };
	struct timespec until;

	pthread_mutex_lock(&im->lock);
	image_flush_join(im, &r);
	im->inner->format->kick(im->inner);
	while (!r.finished) {
		until = in_ms(FLUSH_TURN_MS);
		if (pthread_cond_timedwait(&im->flushed, &im->lock, &until) != ETIMEDOUT)
			continue;
		im->inner->format->reap(im->inner);
		im->inner->format->kick(im->inner);
		if (im->finished || im->parent)
			eventfd_write(b->event_fd, 1);
	}
	pthread_mutex_unlock(&im->lock);
	*kept = r.kept;
	return r.ret;
}

bool image_unsaved(struct block *b)
{
	struct image *im = image_of(b);
	bool is;

	pthread_mutex_lock(&im->lock);
	is = im->ops->unsaved(im);
	pthread_mutex_unlock(&im->lock);
	return is;
}
