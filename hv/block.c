/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block - raw disks by io_uring (block.h).
 *
 * Discard and write-zeroes are fallocate(2), which files, tmpfs and block
 * devices all understand in part; what is refused is tried in the next form
 * that means the same: ZERO_RANGE, PUNCH_HOLE, zeroes written (9p and NFS
 * before 4.2 know neither of the first two).
 */
#include "hv/block.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u
#define DIRECT_ALIGN 4096u   /* for buffers: enough for any device */
#define ZEROES_LEN 65536u

static const uint8_t zeroes[ZEROES_LEN] __attribute__((aligned(DIRECT_ALIGN)));

struct block {
	int fd;
	int event_fd;
	struct io_uring ring;
	uint64_t size;
	uint32_t sector;
	const char *path;        /* the caller's */
	bool direct, readonly, has_ring;
	unsigned int queued;
	_Atomic int owed;        /* writes were lost and the guest has not been told: its next flush fails */
};

/* --- open --- */

/* The smallest piece this file takes with O_DIRECT: 512 bytes, or 4096 on disks of 4 KiB sectors. */
static uint32_t direct_sector(int fd)
{
	uint32_t sector = SECTOR;
	void *buf;

	if (posix_memalign(&buf, DIRECT_ALIGN, SECTOR))
		return DIRECT_ALIGN;
	if (pread(fd, buf, SECTOR, SECTOR) < 0 && errno == EINVAL)
		sector = DIRECT_ALIGN;
	free(buf);
	return sector;
}

static int block_learn(struct block *b, const char *path, struct err *e)
{
	struct stat st;
	int sector = 0;

	if (fstat(b->fd, &st))
		return err_errno(e, "disk %s", path);
	b->sector = SECTOR;
	if (S_ISREG(st.st_mode)) {
		b->size = (uint64_t)st.st_size;
		if (b->direct)
			b->sector = direct_sector(b->fd);
	} else if (S_ISBLK(st.st_mode)) {
		if (ioctl(b->fd, BLKGETSIZE64, &b->size) || ioctl(b->fd, BLKSSZGET, &sector))
			return err_errno(e, "disk %s: size", path);
		b->sector = (uint32_t)sector;
	} else {
		return err_set(e, -EINVAL, "disk %s: neither a file nor a block device", path);
	}
	if (!b->size)
		return err_set(e, -EINVAL, "disk %s: is empty", path);
	/* A guest cannot be shown part of a sector, and must not lose it without a word. */
	if (b->size % b->sector)
		return err_set(e, -EINVAL, "disk %s: %llu bytes, expected a multiple of its sector of %u "
			       "(truncate -s %%%u adds what is missing)", path,
			       (unsigned long long)b->size, b->sector, b->sector);
	return 0;
}

/* O_NONBLOCK would make requests fail that have to wait (disk_lock.c). */
static int block_flags(struct block *b, const char *path, struct err *e)
{
	int flags = fcntl(b->fd, F_GETFL), want;

	if (flags < 0)
		return err_errno(e, "disk %s", path);
	want = (flags & ~(O_DIRECT | O_NONBLOCK)) | (b->direct ? O_DIRECT : 0);
	if (want == flags || !fcntl(b->fd, F_SETFL, want))
		return 0;
	if (errno == EINVAL && b->direct)
		return err_set(e, -EOPNOTSUPP, "disk %s: its file system cannot do without the page cache "
			       "(O_DIRECT)", path);
	return err_errno(e, "disk %s: flags", path);
}

static int ring_open(struct block *b, const char *path, unsigned int depth, struct err *e)
{
	int ret;

	b->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->event_fd < 0)
		return err_errno(e, "disk %s: eventfd", path);
	ret = io_uring_queue_init(depth, &b->ring, 0);
	b->has_ring = !ret;
	if (!ret)
		ret = io_uring_register_eventfd(&b->ring, b->event_fd);
	return ret ? err_set(e, ret, "disk %s: io_uring: %s", path, strerror(-ret)) : 0;
}

int block_open(int fd, const char *path, bool readonly, bool direct, unsigned int depth,
	       struct block **out, struct err *e)
{
	struct block *b = calloc(1, sizeof(*b));
	int ret;

	if (!b)
		return err_set(e, -ENOMEM, "disk %s: no memory", path);
	b->fd = fd;
	b->path = path;
	b->direct = direct;
	b->readonly = readonly;
	b->event_fd = -1;
	ret = block_flags(b, path, e);
	if (!ret)
		ret = block_learn(b, path, e);
	if (!ret)
		ret = ring_open(b, path, depth, e);
	if (ret)
		block_close(b);
	else
		*out = b;
	return ret;
}

void block_close(struct block *b)
{
	if (!b)
		return;
	if (b->has_ring)
		io_uring_queue_exit(&b->ring);
	if (b->event_fd >= 0)
		close(b->event_fd);
	free(b);
}

int block_flush(struct block *b, struct err *e)
{
	int owed = atomic_load(&b->owed);

	if (!owed && !b->readonly && fdatasync(b->fd)) {
		owed = -errno;
		atomic_store(&b->owed, owed);
	}
	return owed ? err_set(e, owed, "disk %s: flush: %s", b->path, strerror(-owed)) : 0;
}

int block_owed(const struct block *b)
{
	return atomic_load(&b->owed);
}

void block_owe(struct block *b, int error)
{
	atomic_store(&b->owed, error);
}

uint64_t block_size(const struct block *b)
{
	return b->size;
}

uint32_t block_sector_size(const struct block *b)
{
	return b->sector;
}

int block_event_fd(const struct block *b)
{
	return b->event_fd;
}

/* --- aligned copies for O_DIRECT --- */

static bool iov_aligned(const struct iovec *iov, unsigned int n, size_t align)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if ((uintptr_t)iov[i].iov_base % align || iov[i].iov_len % align)
			return false;
	return true;
}

static void iov_copy(const struct iovec *iov, unsigned int n, uint8_t *flat, bool to_flat)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (to_flat)
			memcpy(flat, iov[i].iov_base, iov[i].iov_len);
		else
			memcpy(iov[i].iov_base, flat, iov[i].iov_len);
		flat += iov[i].iov_len;
	}
}

static int bounce_make(struct block *b, struct block_req *r)
{
	if (!b->direct || iov_aligned(r->iov, r->n_iov, b->sector))
		return 0;
	if (posix_memalign(&r->bounce.iov_base, DIRECT_ALIGN, r->len)) {
		r->bounce.iov_base = NULL;
		return -ENOMEM;
	}
	r->bounce.iov_len = r->len;
	if (r->op == BLOCK_WRITE)
		iov_copy(r->iov, r->n_iov, r->bounce.iov_base, true);
	return 0;
}

/* --- requests --- */

static struct io_uring_sqe *sqe_get(struct block *b)
{
	struct io_uring_sqe *s = io_uring_get_sqe(&b->ring);

	if (!s) {
		block_kick(b);
		s = io_uring_get_sqe(&b->ring);
	}
	return s;
}

static int req_prepare(struct block *b, struct block_req *r)
{
	struct io_uring_sqe *s = sqe_get(b);
	uint64_t at = r->offset + r->len - r->left;

	if (!s)
		return -EAGAIN;
	switch (r->op) {
	case BLOCK_READ:
		io_uring_prep_readv(s, b->fd, r->at, r->n_at, at);
		break;
	case BLOCK_WRITE:
		io_uring_prep_writev2(s, b->fd, r->at, r->n_at, at, r->durable ? RWF_DSYNC : 0);
		break;
	case BLOCK_FLUSH:
		io_uring_prep_fsync(s, b->fd, IORING_FSYNC_DATASYNC);
		break;
	case BLOCK_ZERO:
		if (!r->mode) {
			io_uring_prep_write(s, b->fd, zeroes,
					    r->left < ZEROES_LEN ? (unsigned int)r->left : ZEROES_LEN, at);
			break;
		}
		/* fall through */
	case BLOCK_DISCARD:
		io_uring_prep_fallocate(s, b->fd, r->mode, (off_t)r->offset, (off_t)r->len);
		break;
	}
	io_uring_sqe_set_data(s, r);
	b->queued++;
	return 0;
}

int block_queue(struct block *b, struct block_req *r)
{
	int ret;

	r->left = r->len;
	r->bounce.iov_base = NULL;
	r->at = r->iov;
	r->n_at = r->n_iov;
	if (r->op == BLOCK_FLUSH)
		return req_prepare(b, r);
	if (b->readonly && r->op != BLOCK_READ)
		return -EROFS;
	if (!r->len || r->offset % b->sector || r->len % b->sector || r->offset > b->size ||
	    r->len > b->size - r->offset)
		return -EINVAL;
	if (r->op == BLOCK_DISCARD || (r->op == BLOCK_ZERO && r->unmap))
		r->mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	else
		r->mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
	if (r->op == BLOCK_READ || r->op == BLOCK_WRITE) {
		ret = bounce_make(b, r);
		if (ret)
			return ret;
		if (r->bounce.iov_base) {
			r->at = &r->bounce;
			r->n_at = 1;
		}
	}
	ret = req_prepare(b, r);
	if (ret)
		free(r->bounce.iov_base);
	return ret;
}

void block_kick(struct block *b)
{
	int ret;

	if (!b->queued)
		return;
	do {
		ret = io_uring_submit(&b->ring);
	} while (ret == -EINTR);
	/* -EAGAIN, -EBUSY: the kernel is short of memory, or completions wait to be reaped.  What is
	 * queued stays in the ring; block_reap() will be called and kicks again. */
	if (ret > 0)
		b->queued -= (unsigned int)ret < b->queued ? (unsigned int)ret : b->queued;
	if (b->queued)
		eventfd_write(b->event_fd, 1);
}

static void req_done(struct block_req *r, int ret)
{
	if (r->bounce.iov_base) {
		uint8_t *flat = (uint8_t *)r->bounce.iov_base + r->bounce.iov_len - r->len;

		if (r->op == BLOCK_READ && !ret)
			iov_copy(r->iov, r->n_iov, flat, false);
		free(flat);
	}
	r->done(r, ret);
}

/* @n bytes of the request's vectors are done; with a bounce buffer its one vector moves on. */
static void req_advance(struct block_req *r, uint64_t n)
{
	r->left -= n;
	while (n && r->n_at) {
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

/* True when @r goes on: it was short, interrupted, or has another form to try. */
static bool req_goes_on(struct block *b, struct block_req *r, int res)
{
	bool data = r->op == BLOCK_READ || r->op == BLOCK_WRITE;

	if (res == -EINTR || res == -EAGAIN)
		return !req_prepare(b, r);
	if (data && res > 0 && (uint64_t)res < r->left) {
		req_advance(r, (uint64_t)res);
		return !req_prepare(b, r);
	}
	if (res == -EOPNOTSUPP && r->op == BLOCK_ZERO && (r->mode & FALLOC_FL_ZERO_RANGE)) {
		r->mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
		return !req_prepare(b, r);
	}
	if (res == -EOPNOTSUPP && r->op == BLOCK_ZERO && r->mode) {
		r->mode = 0;
		return !req_prepare(b, r);
	}
	if (r->op == BLOCK_ZERO && !r->mode && res > 0) {
		r->left -= (uint64_t)res;
		return r->left && !req_prepare(b, r);
	}
	return false;
}

static int req_result(struct block *b, const struct block_req *r, int res)
{
	if (r->op == BLOCK_FLUSH) {
		int owed = atomic_exchange(&b->owed, 0);

		return res < 0 ? res : owed;
	}
	if (res < 0)
		return res == -EOPNOTSUPP && r->op == BLOCK_DISCARD ? 0 : res;
	if (r->op == BLOCK_ZERO && !r->mode)
		return r->left ? -EIO : 0;
	/* Nothing at all: the file was cut short behind our back. */
	if ((r->op == BLOCK_READ || r->op == BLOCK_WRITE) && (uint64_t)res != r->left)
		return -EIO;
	return 0;
}

void block_reap(struct block *b)
{
	struct io_uring_cqe *c;
	eventfd_t count;

	eventfd_read(b->event_fd, &count);
	while (!io_uring_peek_cqe(&b->ring, &c)) {
		struct block_req *r = io_uring_cqe_get_data(c);
		int res = c->res;

		io_uring_cqe_seen(&b->ring, c);
		if (!req_goes_on(b, r, res))
			req_done(r, req_result(b, r, res));
	}
	block_kick(b);
}
