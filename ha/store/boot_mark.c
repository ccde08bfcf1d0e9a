/* SPDX-License-Identifier: Apache-2.0 */
/* boot_mark - see boot_mark.h. */
#include "ha/store/boot_mark.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define ID_LEN 36
#define MARK_MAX 64

/* What is in @path, as text; false when it is no boot id. */
static bool read_mark(const char *path, char mark[MARK_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, mark, MARK_MAX - 1);
	close(fd);
	if (n < ID_LEN)
		return false;
	mark[n] = '\0';
	return true;
}

/* Gone before it is written: half a mark, or none, says that nothing is certain. */
static bool write_mark(const char *path, const char *mark)
{
	size_t len = strlen(mark);
	bool written = false;
	int fd;

	if (unlink(path) < 0 && errno != ENOENT) {
		log_warn("%s: cannot be replaced: %s", path, strerror(errno));
		return false;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd >= 0) {
		written = write(fd, mark, len) == (ssize_t)len;
		close(fd);
	}
	if (!written)
		log_warn("%s: cannot be written: %s", path, strerror(errno));
	return written;
}

/* "boot-id node-id" of the same node and another kernel? */
static bool before_this_kernel(const char *before, const char *now)
{
	return memcmp(before, now, ID_LEN) != 0 && strcmp(before + ID_LEN, now + ID_LEN) == 0;
}

bool boot_mark(const char *state_dir, uint32_t me)
{
	char now[MARK_MAX], before[MARK_MAX], path[PATH_MAX];
	bool certain;

	snprintf(path, sizeof(path), "%s/boot_id", state_dir);
	if (!read_mark(BOOT_ID, now))
		return true;
	snprintf(now + ID_LEN, sizeof(now) - ID_LEN, " %u\n", me);
	if (!read_mark(path, before))
		before[0] = '\0';
	if (strcmp(before, now) == 0)
		return true;
	certain = *before && before_this_kernel(before, now);
	/* One that stays would say the same again, when a daemon did run. */
	return !write_mark(path, now) || !certain;
}
