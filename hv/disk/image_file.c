/* SPDX-License-Identifier: Apache-2.0 */
/* image_file - an image's file read and written without a ring, when it is opened, described or made. */
#include "hv/disk/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* #syscalls:main,gate,engine pread64 */
ssize_t image_pread(int fd, void *buf, size_t len, uint64_t at)
{
	const size_t room = 64 * 1024;
	uint8_t *out = buf, *bounce;
	size_t done = 0;
	ssize_t n = 0;

	if (posix_memalign((void **)&bounce, IMAGE_ALIGN, room))
		return -ENOMEM;
	while (done < len) {
		uint64_t from = (at + done) & ~(uint64_t)(IMAGE_ALIGN - 1);
		size_t skip = (size_t)(at + done - from);

		n = pread(fd, bounce, room, (off_t)from);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= (ssize_t)skip)
			break;
		n -= (ssize_t)skip;
		if ((size_t)n > len - done)
			n = (ssize_t)(len - done);
		memcpy(out + done, bounce + skip, (size_t)n);
		done += (size_t)n;
	}
	n = n < 0 ? -errno : (ssize_t)done;
	free(bounce);
	return n;
}

int image_pwrite(int fd, const char *path, const char *kind, const void *buf, size_t len, uint64_t at, struct err *e)
{
	ssize_t n = pwrite(fd, buf, len, (off_t)at);

	if (n == (ssize_t)len)
		return 0;
	errno = n < 0 ? errno : ENOSPC;
	return err_errno(e, "disk %s: %s: writing it", path, kind);
}

int image_check_parents(const struct block_open_args *a, const char *kind, struct err *e)
{
	struct stat me, other;

	if (a->n_parents > BLOCK_PARENTS_MAX)
		return err_set(e, -E2BIG, "disk %s: %s: %u parents, expected at most %d", a->path, kind, a->n_parents, BLOCK_PARENTS_MAX);
	if (fstat(a->fd, &me))
		return err_errno(e, "disk %s", a->path);
	for (unsigned int i = 0; i < a->n_parents; i++) {
		if (fstat(a->parents[i].fd, &other))
			return err_errno(e, "disk %s", a->parents[i].path);
		if (me.st_dev == other.st_dev && me.st_ino == other.st_ino)
			return err_set(e, -ELOOP, "disk %s: %s: is its own parent: %s is the same file", a->path, kind, a->parents[i].path);
	}
	return 0;
}
