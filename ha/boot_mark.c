/* SPDX-License-Identifier: Apache-2.0 */
/* boot_mark - see boot_mark.h. */
#include "ha/boot_mark.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define ID_LEN 36

static bool read_id(const char *path, char id[ID_LEN])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, id, ID_LEN);
	close(fd);
	return n == ID_LEN;
}

/* Gone before it is written: half a mark, or none, says that nothing is certain. */
static void write_id(const char *path, const char id[ID_LEN])
{
	bool written = false;
	int fd;

	if (unlink(path) < 0 && errno != ENOENT) {
		log_warn("%s: cannot be replaced: %s", path, strerror(errno));
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd >= 0) {
		written = write(fd, id, ID_LEN) == ID_LEN;
		close(fd);
	}
	if (!written)
		log_warn("%s: cannot be written: %s", path, strerror(errno));
}

bool boot_mark(const char *state_dir)
{
	char now[ID_LEN], before[ID_LEN], path[PATH_MAX];
	bool known;

	snprintf(path, sizeof(path), "%s/boot_id", state_dir);
	if (!read_id(BOOT_ID, now))
		return true;
	known = read_id(path, before);
	if (known && !memcmp(now, before, ID_LEN))
		return true;
	write_id(path, now);
	return !known;
}
