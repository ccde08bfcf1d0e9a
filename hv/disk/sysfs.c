/* SPDX-License-Identifier: Apache-2.0 */
/* sysfs - see sysfs.h. */
#include "hv/disk/sysfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool sysfs_text(int dir, const char *name, char *out, size_t size)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, out, size - 1);
	close(fd);
	if (n <= 0)
		return false;
	out[n] = '\0';
	if (out[n - 1] == '\n')
		out[n - 1] = '\0';
	return true;
}

bool sysfs_dev(int dir, const char *name, dev_t *out)
{
	unsigned int major, minor;
	char text[32];

	if (!sysfs_text(dir, name, text, sizeof(text)) || sscanf(text, "%u:%u", &major, &minor) != 2)
		return false;
	*out = makedev(major, minor);
	return true;
}
