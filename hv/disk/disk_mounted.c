/* SPDX-License-Identifier: Apache-2.0 */
/* disk_mounted - see disk_mounted.h. */
#include "hv/disk/disk_mounted.h"

#include "hv/disk/sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEVS_MAX 128 /* a disk, its partitions, and what is built on them */

struct devs {
	dev_t list[DEVS_MAX];
	size_t n;
};

static bool among(const dev_t *devs, size_t n, dev_t dev)
{
	for (size_t i = 0; i < n; i++)
		if (devs[i] == dev)
			return true;
	return false;
}

/* --- sysfs --- */

static void add(struct devs *d, dev_t dev)
{
	if (d->n < DEVS_MAX && !among(d->list, d->n, dev))
		d->list[d->n++] = dev;
}

/*
 * Of each directory in @at that has a file @mark ("": any): its device.
 * #syscalls:broker openat fcntl(1=F_GETFL) fcntl(1=F_SETFD) getdents64 faccessat faccessat2
 */
static void add_all(struct devs *d, int at, const char *mark)
{
	int copy = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	char name[NAME_MAX + 16];
	struct dirent *de;
	dev_t dev;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return;
	}
	while ((de = readdir(dir)) != NULL) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", de->d_name, mark);
		if (faccessat(at, name, F_OK, 0))
			continue;
		snprintf(name, sizeof(name), "%s/dev", de->d_name);
		if (sysfs_dev(at, name, &dev))
			add(d, dev);
	}
	closedir(dir);
}

/* Partitions of those that are listed, and what is built on them, and so on: the list grows while it is read. */
static void add_users(struct devs *d)
{
	char path[64];
	int at, holders;

	for (size_t i = 0; i < d->n; i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(d->list[i]), minor(d->list[i]));
		at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (at < 0)
			continue;
		add_all(d, at, "partition");
		holders = openat(at, "holders", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (holders >= 0) {
			add_all(d, holders, "");
			close(holders);
		}
		close(at);
	}
}

static void add_loops(struct devs *d, const struct stat *file)
{
	int at = open("/sys/block", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = at < 0 ? NULL : fdopendir(at);
	char name[NAME_MAX + 32], backing[PATH_MAX];
	struct dirent *de;
	struct stat st;
	dev_t dev;

	while (dir && (de = readdir(dir)) != NULL) {
		snprintf(name, sizeof(name), "%s/loop/backing_file", de->d_name);
		if (strncmp(de->d_name, "loop", 4) || !sysfs_text(at, name, backing, sizeof(backing)) ||
		    stat(backing, &st) || st.st_dev != file->st_dev || st.st_ino != file->st_ino)
			continue;
		snprintf(name, sizeof(name), "%s/dev", de->d_name);
		if (sysfs_dev(at, name, &dev))
			add(d, dev);
	}
	if (dir)
		closedir(dir);
	else if (at >= 0)
		close(at);
}

/* --- mounts and swap --- */

/* proc(5): blanks and backslashes are written as \ooo. */
static void decode(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* A file system over several devices (btrfs) has a number of its own: its source says more. */
static bool is_device(const char *source, const dev_t *devs, size_t n)
{
	struct stat st;

	return !strncmp(source, "/dev/", 5) && !stat(source, &st) && S_ISBLK(st.st_mode) &&
	       among(devs, n, st.st_rdev);
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue" */
static bool line_has(const char *line, const dev_t *devs, size_t n, char *where, size_t size)
{
	char place[PATH_MAX], source[PATH_MAX] = "";
	const char *dash = strstr(line, " - ");
	unsigned int major, minor;

	if (!dash || sscanf(line, "%*d %*d %u:%u %*s %4095s", &major, &minor, place) != 3)
		return false;
	if (sscanf(dash, " - %*s %4095s", source) == 1)
		decode(source);
	if (!among(devs, n, makedev(major, minor)) && !is_device(source, devs, n))
		return false;
	decode(place);
	snprintf(where, size, "%s", place);
	return true;
}

bool disk_mounted_at(const char *mountinfo, const dev_t *devs, size_t n, char *where, size_t size)
{
	char *text = strdup(mountinfo), *line, *save;
	bool found = false;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line && !found; line = strtok_r(NULL, "\n", &save))
		found = line_has(line, devs, n, where, size);
	free(text);
	return found;
}

/* The whole of a file of /proc; the caller frees it. */
static char *read_proc(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	ssize_t n;

	if (!f)
		return NULL;
	n = getdelim(&text, &size, '\0', f);
	fclose(f);
	if (n > 0)
		return text;
	free(text);
	return NULL;
}

static bool swapped_to(const struct devs *d)
{
	char *text = read_proc("/proc/swaps"), *line, *save, *end;
	bool found = false;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line && !found; line = strtok_r(NULL, "\n", &save)) {
		end = strpbrk(line, " \t");
		if (end)
			*end = '\0';
		decode(line);
		found = is_device(line, d->list, d->n);
	}
	free(text);
	return found;
}

int disk_unmounted(int fd, const char *path, struct err *e)
{
	struct devs d = { .n = 0 };
	char where[PATH_MAX], *mounts;
	struct stat st;
	int ret = 0;

	if (fstat(fd, &st))
		return err_errno(e, "disk %s", path);
	if (S_ISBLK(st.st_mode))
		add(&d, st.st_rdev);
	else
		add_loops(&d, &st);
	if (!d.n)
		return 0;
	add_users(&d);
	mounts = read_proc("/proc/self/mountinfo");
	if (mounts && disk_mounted_at(mounts, d.list, d.n, where, sizeof(where)))
		ret = err_set(e, -EBUSY, "disk %s: it, or a part of it, is mounted on this host at %.200s; a guest must not "
					 "write to it as well",
			      path, where);
	else if (swapped_to(&d))
		ret = err_set(e, -EBUSY, "disk %s: it, or a part of it, is this host's swap space", path);
	free(mounts);
	return ret;
}
