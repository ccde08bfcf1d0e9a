/* SPDX-License-Identifier: Apache-2.0 */
/* block_copy - see block_copy.h: some pieces at once, each read, then written, then the next one's. */
#include "hv/disk/block_copy.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (1u << 20) /* bytes, a whole number of anybody's sectors */
#define ALIGN 4096u

struct copy;

struct piece {
	struct block_req req; /* first */
	struct copy *c;
	struct iovec iov;
	uint8_t *buf;
};

struct copy {
	struct block *from, *to;
	struct piece pieces[BLOCK_COPY_DEPTH];
	uint64_t size, next, done; /* bytes */
	unsigned int in_flight;
	int ret;
	struct err *e;
};

static void read_done(struct block_req *r, int ret);
static void write_done(struct block_req *r, int ret);

static int start(struct piece *p, enum block_op op, uint64_t at, uint64_t len)
{
	struct block *b = op == BLOCK_READ ? p->c->from : p->c->to;
	int ret;

	p->iov = (struct iovec){ p->buf, len };
	p->req = (struct block_req){
		.op = op,
		.offset = at,
		.len = len,
		.iov = &p->iov,
		.n_iov = 1,
		.done = op == BLOCK_READ ? read_done : write_done,
	};
	ret = block_queue(b, &p->req);
	p->c->in_flight += !ret;
	return ret;
}

static void fail(struct copy *c, int ret, const char *what, uint64_t at)
{
	if (!c->ret)
		err_set(c->e, ret, "%s at byte %llu: %s", what, (unsigned long long)at, strerror(-ret));
	c->ret = c->ret ? c->ret : ret;
}

/* The next piece of the disk, if there is one. */
static void go_on(struct piece *p)
{
	struct copy *c = p->c;
	uint64_t at = c->next, len = c->size - at < PIECE ? c->size - at : PIECE;
	int ret;

	if (c->ret || !len)
		return;
	c->next += len;
	ret = start(p, BLOCK_READ, at, len);
	if (ret)
		fail(c, ret, "reading", at);
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return !*p && !memcmp(p, p + 1, len - 1);
}

static void finished(struct piece *p)
{
	p->c->done += p->req.len;
	go_on(p);
}

static void read_done(struct block_req *r, int ret)
{
	struct piece *p = (struct piece *)r;
	struct copy *c = p->c;

	c->in_flight--;
	if (ret) {
		fail(c, ret, "reading", r->offset);
		return;
	}
	if (is_zero(p->buf, r->len)) {
		finished(p);
		return;
	}
	ret = start(p, BLOCK_WRITE, r->offset, r->len);
	if (ret)
		fail(c, ret, "writing", r->offset);
}

static void write_done(struct block_req *r, int ret)
{
	struct piece *p = (struct piece *)r;

	p->c->in_flight--;
	if (ret)
		fail(p->c, ret, "writing", r->offset);
	else
		finished(p);
}

static void run(struct copy *c, void (*progress)(void *arg, uint64_t done), void *arg)
{
	struct pollfd fds[2] = { { block_event_fd(c->from), POLLIN, 0 }, { block_event_fd(c->to), POLLIN, 0 } };

	for (unsigned int i = 0; i < BLOCK_COPY_DEPTH; i++)
		go_on(&c->pieces[i]);
	while (c->in_flight) {
		block_kick(c->from);
		block_kick(c->to);
		poll(fds, 2, -1);
		block_reap(c->from);
		block_reap(c->to);
		if (progress)
			progress(arg, c->done);
	}
}

int block_copy(struct block *from, struct block *to, void (*progress)(void *arg, uint64_t done), void *arg, struct err *e)
{
	struct copy c = { .from = from, .to = to, .size = block_size(from), .e = e };
	uint8_t *room = NULL;

	if (block_size(to) < c.size)
		return err_set(e, -EINVAL, "%llu bytes do not fit into %llu", (unsigned long long)c.size,
			       (unsigned long long)block_size(to));
	if (posix_memalign((void **)&room, ALIGN, (size_t)BLOCK_COPY_DEPTH * PIECE))
		return err_set(e, -ENOMEM, "no memory");
	for (unsigned int i = 0; i < BLOCK_COPY_DEPTH; i++) {
		c.pieces[i].c = &c;
		c.pieces[i].buf = room + (size_t)i * PIECE;
	}
	run(&c, progress, arg);
	if (!c.ret)
		c.ret = block_flush(to, e);
	assert(c.ret || c.done == c.size);
	free(room);
	return c.ret;
}
