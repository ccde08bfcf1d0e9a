/* SPDX-License-Identifier: Apache-2.0 */
/* raw - disks whose bytes lie as the guest sees them, by io_uring: the open disk and its ring.  Requests: raw_request.c. */
#include "hv/disk/raw_int.h"

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

/*
 * The smallest piece this file takes with O_DIRECT: 512 bytes, or 4096 on disks of 4 KiB sectors.
 * #syscalls:main,gate,engine pread64
 */
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

/* #syscalls:main,gate,engine newfstatat(3&AT_EMPTY_PATH=AT_EMPTY_PATH) ioctl(1=BLKGETSIZE64) ioctl(1=BLKSSZGET) */
static int raw_learn(struct disk_raw *b, const char *path, struct err *e)
{
	struct stat st;
	int sector = 0;

	if (fstat(b->fd, &st))
		return err_errno(e, "disk %s", path);
	b->block.sector = SECTOR;
	if (S_ISREG(st.st_mode)) {
		b->block.size = (uint64_t)st.st_size;
		if (b->direct)
			b->block.sector = direct_sector(b->fd);
	} else if (S_ISBLK(st.st_mode)) {
		if (ioctl(b->fd, BLKGETSIZE64, &b->block.size) || ioctl(b->fd, BLKSSZGET, &sector))
			return err_errno(e, "disk %s: size", path);
		b->block.sector = (uint32_t)sector;
	} else {
		return err_set(e, -EINVAL, "disk %s: neither a file nor a block device", path);
	}
	if (b->inner) /* whoever reads the image knows what it should be like */
		return 0;
	if (!b->block.size)
		return err_set(e, -EINVAL, "disk %s: is empty", path);
	/* A guest cannot be shown part of a sector, and must not lose it without a word. */
	if (b->block.size % b->block.sector)
		return err_set(e, -EINVAL, "disk %s: %llu bytes, expected a multiple of its sector of %u "
					   "(truncate -s %%%u adds what is missing)",
			       path,
			       (unsigned long long)b->block.size, b->block.sector, b->block.sector);
	return 0;
}

/* #syscalls:main,gate,engine eventfd2 io_uring_register(1=IORING_REGISTER_EVENTFD) */
static int ring_open(struct disk_raw *b, const char *path, unsigned int depth, const int *event_fd, struct err *e)
{
	int ret;

	b->own_event = !event_fd;
	b->block.event_fd = event_fd ? *event_fd : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->block.event_fd < 0)
		return err_errno(e, "disk %s: eventfd", path);
	ret = rings_take(b->rings, depth, &b->ring);
	b->has_ring = !ret;
	if (!ret)
		ret = io_uring_register_eventfd(&b->ring, b->block.event_fd);
	return ret ? err_set(e, ret, "disk %s: io_uring: %s", path, strerror(-ret)) : 0;
}

/* #syscalls:main,gate,engine,device io_uring_register(1=IORING_UNREGISTER_EVENTFD) */
static void raw_close(struct block *block)
{
	struct disk_raw *b = raw_of(block);

	if (b->has_ring)
		rings_give(b->rings, &b->ring);
	if (b->own_event && b->block.event_fd >= 0)
		close(b->block.event_fd);
	free(b);
}

static int raw_open(const struct block_open_args *a, struct block **out, struct err *e)
{
	struct disk_raw *b = calloc(1, sizeof(*b));
	int ret;

	if (!b)
		return err_set(e, -ENOMEM, "disk %s: no memory", a->path);
	b->fd = a->fd;
	b->direct = a->direct;
	b->inner = a->inner;
	b->rings = a->rings;
	b->may_write = a->may_write;
	b->may_arg = a->may_arg;
	b->block.format = &block_raw;
	b->block.event_fd = -1;
	ret = raw_learn(b, a->path, e);
	if (!ret)
		ret = ring_open(b, a->path, a->depth, a->event_fd, e);
	if (ret)
		raw_close(&b->block);
	else
		*out = &b->block;
	return ret;
}

/* #syscalls:main,gate,engine fdatasync */
static int raw_flush(struct block *b, bool *kept)
{
	(void)kept;
	return fdatasync(raw_of(b)->fd) ? -errno : 0;
}

/* --- the ring --- */

/* #syscalls:main,gate,engine,device io_uring_enter */
void raw_kick(struct block *block)
{
	struct disk_raw *b = raw_of(block);
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
		eventfd_write(b->block.event_fd, 1);
}

static void raw_reap(struct block *block)
{
	struct disk_raw *b = raw_of(block);
	struct io_uring_cqe *c;
	eventfd_t count;

	/* Somebody else's is read by its owner, before any of those who share it are reaped: no news is lost. */
	if (b->own_event)
		eventfd_read(b->block.event_fd, &count);
	while (!io_uring_peek_cqe(&b->ring, &c)) {
		struct block_req *r = io_uring_cqe_get_data(c);
		int res = c->res;

		io_uring_cqe_seen(&b->ring, c);
		raw_request_step(b, r, res);
	}
	raw_kick(block);
}

const struct block_format block_raw = {
	.name = "raw",
	.open = raw_open,
	.close = raw_close,
	.flush = raw_flush,
	.queue = raw_queue,
	.kick = raw_kick,
	.reap = raw_reap,
};
