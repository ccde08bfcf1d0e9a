/* SPDX-License-Identifier: Apache-2.0 */
/* image_file - an image's file read without a ring, when it is opened or described. */
#include "hv/disk/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
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
