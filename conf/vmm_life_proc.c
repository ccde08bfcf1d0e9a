/* SPDX-License-Identifier: Apache-2.0 */
/* vmm_life_proc - who lives in a life file, as /proc tells; see vmm_life.h. */
#include "conf/vmm_life.h"

#include "base/number.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel names a lock in the fdinfo of exactly those descriptors whose open file has it. */
static bool has_lock(pid_t pid, const char *fd)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.10s", (int)pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = strncmp(line, "lock:", 5) == 0 && strstr(line, "FLOCK");
	fclose(f);
	return found;
}

/* Not only open, as whoever looks at the file for a moment has it: it is what lives in it that counts. */
static bool lives_in(pid_t pid, const struct stat *file)
{
	char path[64];
	struct dirent *de;
	struct stat st;
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	if (!d)
		return false;
	while (!found && (de = readdir(d)) != NULL)
		found = fstatat(dirfd(d), de->d_name, &st, 0) == 0 && st.st_dev == file->st_dev &&
			st.st_ino == file->st_ino && has_lock(pid, de->d_name);
	closedir(d);
	return found;
}

pid_t vmm_life_holder(int fd, pid_t hint)
{
	pid_t found = -ESRCH;
	struct dirent *de;
	struct stat st;
	uint64_t pid;
	DIR *d;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (hint > 0 && lives_in(hint, &st))
		return hint;
	d = opendir("/proc");
	if (!d)
		return -errno;
	while (found < 0 && (de = readdir(d)) != NULL)
		if (number_parse(de->d_name, 1, INT_MAX, &pid) && (pid_t)pid != getpid() &&
		    lives_in((pid_t)pid, &st))
			found = (pid_t)pid;
	closedir(d);
	return found;
}

/* @name of the life that the removed file @target was, if it was one of @dir: DIR/NAME.life (deleted) */
static bool removed_life(const char *target, const char *dir, char *name, size_t size)
{
	static const char tail[] = ".life (deleted)";
	size_t len = strlen(target), skip = strlen(dir);

	if (strncmp(target, dir, skip) || target[skip] != '/' || len < skip + 1 + sizeof(tail) - 1 ||
	    strcmp(target + len - (sizeof(tail) - 1), tail))
		return false;
	snprintf(name, size, "%.*s", (int)(len - skip - 1 - (sizeof(tail) - 1)), target + skip + 1);
	return *name && !strchr(name, '/');
}

static bool lives_nameless(pid_t pid, const char *dir, char *name, size_t size)
{
	char path[64], target[PATH_MAX];
	bool found = false;
	struct dirent *de;
	ssize_t n;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	if (!d)
		return false;
	while (!found && (de = readdir(d)) != NULL) {
		n = readlinkat(dirfd(d), de->d_name, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		found = removed_life(target, dir, name, size) && has_lock(pid, de->d_name);
	}
	closedir(d);
	return found;
}

int vmm_life_nameless(const char *dir, void (*each)(void *arg, pid_t pid, int pidfd, const char *name), void *arg)
{
	char real[PATH_MAX], name[NAME_MAX + 1];
	int pidfd;
	struct dirent *de;
	uint64_t pid;
	DIR *d;

	if (!realpath(dir, real))
		return -errno;
	d = opendir("/proc");
	if (!d)
		return -errno;
	while ((de = readdir(d)) != NULL) {
		if (!number_parse(de->d_name, 1, INT_MAX, &pid) || (pid_t)pid == getpid() ||
		    !lives_nameless((pid_t)pid, real, name, sizeof(name)))
			continue;
		pidfd = pidfd_open((pid_t)pid, 0);
		if (pidfd < 0 && errno == ESRCH)
			continue; /* it has just ended */
		/* Looked at again: a pid may come to mean another process, a pidfd cannot. */
		if (lives_nameless((pid_t)pid, real, name, sizeof(name)))
			each(arg, (pid_t)pid, pidfd, name);
		if (pidfd >= 0)
			close(pidfd);
	}
	closedir(d);
	return 0;
}
