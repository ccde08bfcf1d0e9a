/* SPDX-License-Identifier: Apache-2.0 */
/* block - raw disks by io_uring (block.h): the open disk and its ring.  Requests: block_request.c. */
#include "hv/block_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u

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

/* --- the ring --- */

void block_kick(struct block *b)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
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
	else
		nanosleep(&pause, NULL); /* not at once again, or this is a busy loop */
	if (b->queued)
		eventfd_write(b->event_fd, 1);
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
		block_request_step(b, r, res);
	}
	block_kick(b);
}
