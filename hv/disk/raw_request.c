/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_request - from a request to transfers of the ring, one after the other, and back.
 *
 * Discard and write-zeroes are fallocate(2), which files, tmpfs and block
 * devices all understand in part; what is refused is tried in the next form
 * that means the same: ZERO_RANGE, PUNCH_HOLE, zeroes written (9p and NFS
 * before 4.2 know neither of the first two).
 *
 * A request whose buffers O_DIRECT would refuse has a piece of aligned memory of its
 * own until it is done, and moves through it: copy, transfer, copy, next.  It takes no
 * second one, so whoever has one gets done and gives it back.
 */
#include "hv/disk/raw_int.h"

#include <assert.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ZEROES_LEN 65536u
/*
 * Bytes that one fallocate(2) is about: a device that cannot zero by itself is written to by the kernel for as long as that takes, and
 * nobody can stop it when the lease ends.
 */
#define FALLOCATE_LEN (8u << 20)

static const uint8_t zeroes[ZEROES_LEN] __attribute__((aligned(DIRECT_ALIGN)));

static bool is_data(const struct block_req *r)
{
	return r->op == BLOCK_READ || r->op == BLOCK_WRITE;
}

/* --- buffers --- */

static bool iov_aligned(const struct iovec *iov, unsigned int n, size_t align)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if ((uintptr_t)iov[i].iov_base % align || iov[i].iov_len % align)
			return false;
	return true;
}

/* Copy @n bytes between @flat and where the request stands in its vectors. */
static void piece_copy(const struct block_req *r, uint8_t *flat, size_t n, bool to_flat)
{
	const struct iovec *v = r->at;

	for (; n; v++) {
		size_t step = v->iov_len < n ? v->iov_len : n;

		if (to_flat)
			memcpy(flat, v->iov_base, step);
		else
			memcpy(v->iov_base, flat, step);
		flat += step;
		n -= step;
	}
}

/* @n bytes of the request's vectors are done. */
static void req_advance(struct block_req *r, uint64_t n)
{
	assert(n <= r->left && r->n_at);
	r->left -= n;
	while (n) {
		size_t step = r->at->iov_len < n ? r->at->iov_len : (size_t)n;

		r->at->iov_base = (uint8_t *)r->at->iov_base + step;
		r->at->iov_len -= step;
		n -= step;
		if (!r->at->iov_len && r->n_at > 1) {
			r->at++;
			r->n_at--;
		}
	}
}

static void room_give(struct disk_raw *b, struct block_req *r)
{
	assert(b->room >= r->room);
	free(r->piece.iov_base);
	r->piece.iov_base = NULL;
	b->room -= r->room;
	r->room = 0;
}

/* -EAGAIN: not now, somebody will give some back. */
static int room_take(struct disk_raw *b, struct block_req *r)
{
	size_t want = r->len < BLOCK_PIECE_MAX ? (size_t)r->len : BLOCK_PIECE_MAX;

	assert(!r->room && !r->piece.iov_base);
	if (b->room + want > BLOCK_ROOM_MAX)
		return -EAGAIN;
	if (posix_memalign(&r->piece.iov_base, DIRECT_ALIGN, want)) {
		r->piece.iov_base = NULL;
		return b->room ? -EAGAIN : -ENOMEM;
	}
	r->room = want;
	b->room += want;
	assert(b->room <= BLOCK_ROOM_MAX);
	return 0;
}

static void room_wait(struct disk_raw *b, struct block_req *r)
{
	assert(!r->room && (!b->waiting || !*b->waiting_end));
	r->next = NULL;
	if (!b->waiting)
		b->waiting_end = &b->waiting;
	*b->waiting_end = r;
	b->waiting_end = &r->next;
}

/* --- transfers --- */

static struct io_uring_sqe *sqe_get(struct disk_raw *b)
{
	struct io_uring_sqe *s = io_uring_get_sqe(&b->ring);

	if (!s) {
		raw_kick(&b->block);
		s = io_uring_get_sqe(&b->ring);
	}
	return s;
}

static void prepare_data(struct disk_raw *b, struct block_req *r, struct io_uring_sqe *s, uint64_t at)
{
	const struct iovec *iov = r->at;
	unsigned int n = r->n_at;

	if (r->piece.iov_base) {
		r->piece.iov_len = r->left < r->room ? (size_t)r->left : r->room;
		if (r->op == BLOCK_WRITE)
			piece_copy(r, r->piece.iov_base, r->piece.iov_len, true);
		iov = &r->piece;
		n = 1;
	}
	if (r->op == BLOCK_READ)
		io_uring_prep_readv(s, b->fd, iov, n, at);
	else
		io_uring_prep_writev2(s, b->fd, iov, n, at, r->durable ? RWF_DSYNC : 0);
}

/* Rule G.  An fdatasync changes nothing: it waits for what has been given to the storage. */
static bool may_go(const struct disk_raw *b, const struct block_req *r)
{
	return r->op == BLOCK_READ || r->op == BLOCK_FLUSH || r->syncing || !b->may_write || b->may_write(b->may_arg);
}

static uint64_t fallocate_len(const struct block_req *r)
{
	return r->left < FALLOCATE_LEN ? r->left : FALLOCATE_LEN;
}

/* The request's next transfer. */
static int req_prepare(struct disk_raw *b, struct block_req *r)
{
	uint64_t at = r->offset + r->len - r->left;
	struct io_uring_sqe *s;

	assert(r->done && r->left <= r->len);
	assert(r->op == BLOCK_READ || r->op == BLOCK_FLUSH || !b->block.readonly);
	if (!may_go(b, r))
		return BLOCK_NOT_NOW;
	s = sqe_get(b);
	if (!s)
		return -EAGAIN;
	if (is_data(r))
		prepare_data(b, r, s, at);
	else if (r->op == BLOCK_FLUSH || r->syncing)
		io_uring_prep_fsync(s, b->fd, IORING_FSYNC_DATASYNC);
	else if (r->mode)
		io_uring_prep_fallocate(s, b->fd, r->mode, (off_t)at, (off_t)fallocate_len(r));
	else
		io_uring_prep_write(s, b->fd, zeroes,
				    r->left < ZEROES_LEN ? (unsigned int)r->left : ZEROES_LEN, at);
	io_uring_sqe_set_data(s, r);
	b->queued++;
	return 0;
}

/* --- the beginning --- */

static int first_mode(const struct block_req *r)
{
	if (r->op == BLOCK_DISCARD || (r->op == BLOCK_ZERO && r->unmap))
		return FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	return FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
}

int raw_queue(struct block *block, struct block_req *r)
{
	struct disk_raw *b = raw_of(block);
	int ret = 0;

	r->left = r->len;
	r->piece.iov_base = NULL;
	r->room = 0;
	r->tries = 0;
	r->syncing = false;
	r->at = r->iov;
	r->n_at = r->n_iov;
	if (r->op == BLOCK_FLUSH)
		return req_prepare(b, r);
	r->mode = first_mode(r);
	if (is_data(r) && b->direct && !iov_aligned(r->iov, r->n_iov, b->block.sector)) {
		/* Behind those that wait already: nobody waits for ever. */
		ret = b->waiting ? -EAGAIN : room_take(b, r);
		if (ret == -EAGAIN) {
			room_wait(b, r);
			return 0;
		}
	}
	if (!ret)
		ret = req_prepare(b, r);
	if (ret)
		room_give(b, r);
	return ret;
}

/* --- the end --- */

static void req_done(struct disk_raw *b, struct block_req *r, int ret)
{
	room_give(b, r);
	r->done(r, ret);
}

static void waiting_start(struct disk_raw *b)
{
	struct block_req *r;
	int ret;

	while ((r = b->waiting)) {
		ret = room_take(b, r);
		if (ret == -EAGAIN)
			return;
		b->waiting = r->next;
		if (!ret)
			ret = req_prepare(b, r);
		if (ret)
			req_done(b, r, ret);
	}
}

/* The next form of the same, false when there is none. */
static bool next_mode(struct block_req *r)
{
	if (r->op != BLOCK_ZERO || !r->mode)
		return false;
	r->mode = r->mode & FALLOC_FL_ZERO_RANGE ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0;
	return true;
}

/* A transfer has moved @n bytes of data or zeroes. */
static void req_moved(struct block_req *r, uint32_t n)
{
	if (is_data(r)) {
		if (r->piece.iov_base && r->op == BLOCK_READ)
			piece_copy(r, r->piece.iov_base, n, false);
		req_advance(r, n);
	} else {
		r->left -= n;
	}
}

/*
 * Has the file ended before the request did, though that is no error?  Where O_DIRECT reads part of a sector there is
 * no more of it; it would not be read from there either.
 */
static bool seems_past_end(const struct disk_raw *b, const struct block_req *r, int res)
{
	return r->op == BLOCK_READ && r->past_end && res >= 0 && (!res || (b->direct && (uint32_t)res % b->block.sector));
}

/* It may have grown meanwhile; and whatever else the reason is, zeroes are not what lies there. */
static bool is_past_end(const struct disk_raw *b, const struct block_req *r, int res)
{
	struct stat st;

	return !fstat(b->fd, &st) && r->offset + r->len - r->left + (uint32_t)res >= (uint64_t)st.st_size;
}

static void zero_rest(struct block_req *r)
{
	while (r->left) {
		size_t n = r->at->iov_len < r->left ? r->at->iov_len : (size_t)r->left;

		if (!n) {
			assert(r->n_at > 1);
			r->at++;
			r->n_at--;
			continue;
		}
		memset(r->at->iov_base, 0, n);
		req_advance(r, n);
	}
}

/* The last @n bytes of the file, and nothing behind them. */
static void read_end(struct block_req *r, uint32_t n)
{
	if (n)
		req_moved(r, n);
	zero_rest(r);
}

/* What @res means: 1 = there is more to do, else 0 or a negative errno. */
static int req_result(struct disk_raw *b, struct block_req *r, int res)
{
	bool ends = seems_past_end(b, r, res);

	if (res == -EINTR || res == -EAGAIN || (ends && !is_past_end(b, r, res)))
		return r->tries++ < BLOCK_TRIES_MAX ? 1 : -EIO;
	r->tries = 0;
	if (r->op == BLOCK_FLUSH)
		return block_flush_result(&b->block, res);
	if (res == -EOPNOTSUPP && next_mode(r))
		return 1;
	if (res == -EOPNOTSUPP && r->op == BLOCK_DISCARD)
		return 0;
	if (res < 0 || r->syncing)
		return res < 0 ? res : 0;
	if (!is_data(r) && r->mode)
		r->left -= fallocate_len(r);
	/* Nothing at all: the file was cut short behind our back.  Too much: not ours to believe. */
	else if ((!res && !ends) || (uint64_t)res > r->left)
		return -EIO;
	else if (ends)
		read_end(r, (uint32_t)res);
	else
		req_moved(r, (uint32_t)res);
	if (r->left)
		return 1;
	r->syncing = r->op == BLOCK_ZERO && r->durable;
	return r->syncing;
}

void raw_request_step(struct disk_raw *b, struct block_req *r, int res)
{
	int ret = req_result(b, r, res);

	if (ret > 0) {
		ret = req_prepare(b, r);
		if (!ret)
			return;
	}
	req_done(b, r, ret);
	waiting_start(b);
}
