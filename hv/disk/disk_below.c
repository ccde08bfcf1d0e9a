/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_below - see disk_below.h for what it promises.
 *
 * sysfs tells what is below a device: /sys/dev/block/MAJ:MIN has slaves/ (device mapper, md),
 * `partition` (then its directory lies in that of the whole), or loop/ with the file.
 */
#include "hv/disk/disk_below.h"

#include "hv/disk/disk_record.h"
#include "hv/disk/sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEPTH_MAX 8 /* a volume on a crypt device on multipath is 3 */

struct taking {
	const char *path, *run_dir, *sys;
	bool readonly, must; /* must: an error when its lock cannot be made */
	struct disk_below *out;
	struct err *e;
};

static int keep(struct taking *t, int fd)
{
	int *grown = reallocarray(t->out->fds, t->out->n + 1, sizeof(*grown));

	if (!grown) {
		close(fd);
		return err_set(t->e, -ENOMEM, "disk %s: no memory", t->path);
	}
	t->out->fds = grown;
	grown[t->out->n++] = fd;
	return 0;
}

/* @fd is ours from now on. */
static int lock(struct taking *t, int fd, struct flock *l, const char *what)
{
	int ret = keep(t, fd);

	if (ret || !fcntl(fd, F_OFD_SETLK, l))
		return ret;
	if (errno != EAGAIN && errno != EACCES)
		return err_errno(t->e, "disk %s: lock of %s", t->path, what);
	return err_set(t->e, -EBUSY, "disk %s: %s is in use on this host%s", t->path, what,
		       t->out->n == 1 ? " under another name" : ", and it stands on that");
}

/* Locks lie in the run directory: they are this host's, as its device numbers are. */
static int lock_named(struct taking *t, const char *file, bool shared, struct flock l, const char *what)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s.lock", t->run_dir, file);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) /* nobody here may have devices in this way either */
		return t->must ? err_errno(t->e, "disk %s: %s", t->path, path) : 0;
	l.l_type = shared ? F_RDLCK : F_WRLCK;
	l.l_whence = SEEK_SET;
	return lock(t, fd, &l, what);
}

static int lock_device(struct taking *t, dev_t dev, bool shared)
{
	char file[40], what[40];

	snprintf(file, sizeof(file), "%u-%u", major(dev), minor(dev));
	snprintf(what, sizeof(what), "device %u:%u", major(dev), minor(dev));
	return lock_named(t, file, shared, (struct flock){ 0 }, what);
}

/* @start, @len: which part of it, 0 = to its end */
static int lock_file(struct taking *t, const struct stat *st, bool shared, uint64_t start, uint64_t len,
		     const char *what)
{
	char file[80];

	snprintf(file, sizeof(file), "file-%u-%u-%llu", major(st->st_dev), minor(st->st_dev),
		 (unsigned long long)st->st_ino);
	return lock_named(t, file, shared, (struct flock){ .l_start = (off_t)start, .l_len = (off_t)len }, what);
}

/* The file @name of the device's directory in sysfs. */
static void attribute(const struct taking *t, dev_t dev, const char *name, char file[PATH_MAX])
{
	snprintf(file, PATH_MAX, "%s/dev/block/%u:%u/%s", t->sys, major(dev), minor(dev), name);
}

static bool text_of(const struct taking *t, dev_t dev, const char *name, char *out, size_t size)
{
	char file[PATH_MAX];

	attribute(t, dev, name, file);
	return sysfs_text(AT_FDCWD, file, out, size);
}

static bool device_of(const struct taking *t, dev_t dev, const char *name, dev_t *out)
{
	char file[PATH_MAX];

	attribute(t, dev, name, file);
	return sysfs_dev(AT_FDCWD, file, out);
}

static uint64_t number_of(const struct taking *t, dev_t dev, const char *name)
{
	char text[32];

	return text_of(t, dev, name, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

/* Of a loop device: its part of the file. What is removed, or in a place that is not ours, nobody here can take. */
static int lock_backing(struct taking *t, dev_t dev, bool shared)
{
	char file[PATH_MAX];
	struct stat st;

	if (!text_of(t, dev, "loop/backing_file", file, sizeof(file)) || stat(file, &st))
		return 0;
	return lock_file(t, &st, shared, number_of(t, dev, "loop/offset"), number_of(t, dev, "loop/sizelimit"), file);
}

static int lock_below(struct taking *t, dev_t dev, int depth);

static int lock_one(struct taking *t, dev_t dev, const char *name, int depth)
{
	dev_t below;
	int ret;

	if (!device_of(t, dev, name, &below))
		return 0;
	ret = lock_device(t, below, true);
	return ret ? ret : lock_below(t, below, depth + 1);
}

/* #syscalls:broker openat getdents64 lseek */
static int lock_slaves(struct taking *t, dev_t dev, int depth)
{
	char dir[PATH_MAX], name[NAME_MAX + 16];
	struct dirent *de;
	int ret = 0;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/dev/block/%u:%u/slaves", t->sys, major(dev), minor(dev));
	d = opendir(dir);
	while (d && !ret && (de = readdir(d)) != NULL) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "slaves/%s/dev", de->d_name);
		ret = lock_one(t, dev, name, depth);
	}
	if (d)
		closedir(d);
	return ret;
}

static int lock_below(struct taking *t, dev_t dev, int depth)
{
	char text[32];
	int ret = 0;

	if (depth > DEPTH_MAX)
		return 0;
	if (text_of(t, dev, "partition", text, sizeof(text)))
		ret = lock_one(t, dev, "../dev", depth);
	if (!ret)
		ret = lock_slaves(t, dev, depth);
	return ret ? ret : lock_backing(t, dev, depth || t->readonly);
}

int disk_below_take_device(dev_t dev, const char *path, bool readonly, const char *run_dir, const char *sys,
			   struct disk_below *out, struct err *e)
{
	/* Who may only read breaks nothing; who writes has its record there anyway. */
	struct taking t = { path, run_dir, sys, readonly, !readonly, out, e };
	int ret;

	*out = (struct disk_below){ 0 };
	disk_record_make_dir(run_dir);
	ret = lock_device(&t, dev, readonly);
	return ret ? ret : lock_below(&t, dev, 0);
}

int disk_below_take(int fd, const char *path, bool readonly, const char *run_dir, struct disk_below *out,
		    struct err *e)
{
	const char *dir = run_dir ? run_dir : DISK_RUN_DIR;
	struct taking t = { path, dir, "/sys", readonly, false, out, e };
	struct stat st;

	*out = (struct disk_below){ 0 };
	if (fstat(fd, &st))
		return err_errno(e, "disk %s", path);
	if (S_ISBLK(st.st_mode))
		return disk_below_take_device(st.st_rdev, path, readonly, dir, "/sys", out, e);
	disk_record_make_dir(dir);
	return lock_file(&t, &st, readonly, 0, 0, "it");
}

void disk_below_release(struct disk_below *b)
{
	while (b->n)
		close(b->fds[--b->n]);
	free(b->fds);
	b->fds = NULL;
}
