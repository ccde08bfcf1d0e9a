/* SPDX-License-Identifier: Apache-2.0 */
/* rings - see rings.h. */
#include "hv/disk/rings.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct spare_ring {
	struct spare_ring *next;
	struct io_uring ring;
	bool taken;
};

struct rings {
	pthread_mutex_t lock;
	struct spare_ring *first;
};

/* --- one --- */

/* Debian 12's liburing declares functions for these two, and does not have them. */
static int ring_register(struct io_uring *ring, unsigned int what, const void *arg, unsigned int n)
{
	return syscall(SYS_io_uring_register, ring->ring_fd, what, arg, n) ? -errno : 0;
}

static int restrict_ring(struct io_uring *ring)
{
	static const uint8_t requests[] = { IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_WRITE, IORING_OP_FSYNC,
					    IORING_OP_FALLOCATE };
	static const uint8_t registers[] = { IORING_REGISTER_EVENTFD, IORING_UNREGISTER_EVENTFD };
	struct io_uring_restriction may[sizeof(requests) + sizeof(registers)] = { 0 };
	unsigned int n = 0;

	for (size_t i = 0; i < sizeof(requests); i++)
		may[n++] = (struct io_uring_restriction){ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = requests[i] };
	for (size_t i = 0; i < sizeof(registers); i++)
		may[n++] = (struct io_uring_restriction){
			.opcode = IORING_RESTRICTION_REGISTER_OP,
			.register_op = registers[i],
		};
	return ring_register(ring, IORING_REGISTER_RESTRICTIONS, may, n);
}

static int make(struct io_uring *ring, unsigned int depth)
{
	struct io_uring_params p = { .flags = IORING_SETUP_R_DISABLED };
	int ret = io_uring_queue_init_params(depth, ring, &p);

	if (ret)
		return ret;
	ret = restrict_ring(ring);
	if (!ret)
		ret = ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (ret)
		io_uring_queue_exit(ring);
	return ret;
}

/* --- all --- */

static void drop(struct spare_ring **at)
{
	struct spare_ring *s = *at;

	assert(!s->taken);
	*at = s->next;
	io_uring_queue_exit(&s->ring);
	free(s);
}

int rings_create(struct rings **out, struct err *e)
{
	struct rings *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(e, -ENOMEM, "io_uring: no memory");
	pthread_mutex_init(&r->lock, NULL);
	*out = r;
	return 0;
}

void rings_destroy(struct rings *r)
{
	if (!r)
		return;
	while (r->first)
		drop(&r->first);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static int add_one(struct rings *r, unsigned int depth)
{
	struct spare_ring *s = calloc(1, sizeof(*s));
	int ret = s ? make(&s->ring, depth) : -ENOMEM;

	if (ret) {
		free(s);
		return ret;
	}
	s->next = r->first;
	r->first = s;
	return 0;
}

int rings_add(struct rings *r, size_t n, unsigned int depth, struct err *e)
{
	size_t done = 0;
	int ret = 0;

	pthread_mutex_lock(&r->lock);
	while (done < n && !(ret = add_one(r, depth)))
		done++;
	while (ret && done--)
		drop(&r->first);
	pthread_mutex_unlock(&r->lock);
	return ret ? err_set(e, ret, "io_uring: %s", strerror(-ret)) : 0;
}

void rings_remove(struct rings *r, size_t n, unsigned int depth)
{
	struct spare_ring **at = &r->first;

	pthread_mutex_lock(&r->lock);
	while (n && *at) {
		if ((*at)->taken || (*at)->ring.sq.ring_entries != depth) {
			at = &(*at)->next;
			continue;
		}
		drop(at);
		n--;
	}
	assert(!n);
	pthread_mutex_unlock(&r->lock);
}

static struct spare_ring *find(struct rings *r, unsigned int depth)
{
	struct spare_ring *s = r->first, *best = NULL;

	/* The smallest that will do. */
	for (; s; s = s->next)
		if (!s->taken && s->ring.sq.ring_entries >= depth &&
		    (!best || s->ring.sq.ring_entries < best->ring.sq.ring_entries))
			best = s;
	return best;
}

int rings_take(struct rings *r, unsigned int depth, struct io_uring *out)
{
	struct spare_ring *s;

	if (!r)
		return make(out, depth);
	pthread_mutex_lock(&r->lock);
	s = find(r, depth);
	if (s) {
		s->taken = true;
		*out = s->ring;
	}
	pthread_mutex_unlock(&r->lock);
	return s ? 0 : -ENFILE;
}

void rings_give(struct rings *r, struct io_uring *ring)
{
	struct spare_ring *s;

	if (!r) {
		io_uring_queue_exit(ring);
		return;
	}
	assert(!io_uring_sq_ready(ring) && !io_uring_cq_ready(ring));
	io_uring_unregister_eventfd(ring);
	pthread_mutex_lock(&r->lock);
	for (s = r->first; s && s->ring.ring_fd != ring->ring_fd; s = s->next)
		;
	assert(s && s->taken);
	s->ring = *ring; /* how far its queues are */
	s->taken = false;
	pthread_mutex_unlock(&r->lock);
}
