/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_lock - see disk_lock.h for what it promises.
 *
 * The record is one line of JSON, replaced as a whole: written to a temporary
 * file beside it, fsync, rename, fsync of the directory.  Whoever reads it
 * sees an old one or a new one, never a piece.
 *
 *   {"drover-disk": 1, "domain": "web", "uuid": "0123...", "host": "n1", "pid": 123,
 *    "incarnation": 3}
 */
#include "hv/disk_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define RECORD_MAX 4096
#define RECORD_VERSION 1

struct disk_lock {
	int fd;          /* the lock belongs to this open file description */
};

/* --- where the record is --- */

static int record_path(const char *path, const char *run_dir, char *out, size_t len, struct err *e)
{
	char real[PATH_MAX];
	struct stat st;
	int n;

	if (!realpath(path, real) || stat(real, &st))
		return err_errno(e, "disk %s", path);
	if (S_ISREG(st.st_mode))
		n = snprintf(out, len, "%s.drover", real);
	else if (S_ISBLK(st.st_mode))
		n = snprintf(out, len, "%s/%u-%u.drover", run_dir ? run_dir : DISK_LOCK_RUN_DIR,
			     major(st.st_rdev), minor(st.st_rdev));
	else
		return err_set(e, -EINVAL, "disk %s: neither a file nor a block device", path);
	if (n < 0 || (size_t)n + sizeof(".new") > len)
		return err_set(e, -ENAMETOOLONG, "disk %s: path too long", path);
	return 0;
}

/* The directory of @file, made if it is the run directory of block devices. */
static int record_dir(const char *file, char *out, size_t len)
{
	const char *slash = strrchr(file, '/');

	snprintf(out, len, "%.*s", (int)(slash - file), file);
	if (!*out)
		snprintf(out, len, "/");
	return 0;
}

static void make_dirs(const char *dir)
{
	char part[PATH_MAX];
	char *p;

	snprintf(part, sizeof(part), "%s", dir);
	for (p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(part, 0755);
		*p = '/';
	}
	mkdir(part, 0755);
}

/* --- reading it --- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static int uuid_parse(const char *text, uint8_t *uuid)
{
	int i;

	if (!text || strlen(text) != 32)
		return -EINVAL;
	for (i = 0; i < 16; i++) {
		int hi = hex_digit(text[2 * i]), lo = hex_digit(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		uuid[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

static int record_parse(const char *text, size_t len, struct disk_holder *h)
{
	json_int_t pid, incarnation;
	const char *domain, *uuid, *host;
	int version, ret = -EINVAL;
	json_t *o;

	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!o)
		return -EINVAL;
	if (json_unpack(o, "{s:i, s:s, s:s, s:s, s:I, s:I}", "drover-disk", &version,
			"domain", &domain, "uuid", &uuid, "host", &host, "pid", &pid,
			"incarnation", &incarnation) ||
	    version != RECORD_VERSION || incarnation < 0 || pid < 0 || pid > INT_MAX ||
	    strlen(domain) >= sizeof(h->domain) || strlen(host) >= sizeof(h->host) ||
	    uuid_parse(uuid, h->uuid))
		goto out;
	snprintf(h->domain, sizeof(h->domain), "%s", domain);
	snprintf(h->host, sizeof(h->host), "%s", host);
	h->pid = (pid_t)pid;
	h->incarnation = (uint64_t)incarnation;
	ret = 0;
out:
	json_decref(o);
	return ret;
}

/* -ENOENT when there is none */
static int record_read(const char *file, struct disk_holder *h, struct err *e)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[RECORD_MAX];
	ssize_t n;

	memset(h, 0, sizeof(*h));
	if (fd < 0)
		return err_errno(e, "%s", file);
	n = read(fd, text, sizeof(text));
	if (n < 0) {
		err_errno(e, "%s", file);
		close(fd);
		return e ? e->code : -EIO;
	}
	close(fd);
	if (n == 0 || n == RECORD_MAX || record_parse(text, (size_t)n, h))
		return err_set(e, -EINVAL, "%s: not a record of who holds the disk; look at it, "
			       "and remove it if no host has the disk open", file);
	return 0;
}

/* --- writing it --- */

static int write_file(const char *file, const char *text, struct err *e)
{
	size_t len = strlen(text);
	int fd, ret = 0;

	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_errno(e, "%s", file);
	if (write(fd, text, len) != (ssize_t)len || fsync(fd))
		ret = err_errno(e, "%s", file);
	close(fd);
	return ret;
}

static int record_write(const char *file, const struct disk_holder *h, struct err *e)
{
	char dir[PATH_MAX], fresh[PATH_MAX + 8], uuid[33];
	json_t *o = NULL;
	char *text = NULL;
	int i, fd, ret;

	for (i = 0; i < 16; i++)
		snprintf(uuid + 2 * i, 3, "%02x", h->uuid[i]);
	o = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I}", "drover-disk", RECORD_VERSION,
		      "domain", h->domain, "uuid", uuid, "host", h->host,
		      "pid", (json_int_t)h->pid, "incarnation", (json_int_t)h->incarnation);
	text = o ? json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	if (!text) {
		ret = err_set(e, -ENOMEM, "%s: no memory, or a name that is not UTF-8", file);
		goto out;
	}
	snprintf(fresh, sizeof(fresh), "%s.new", file);
	ret = write_file(fresh, text, e);
	if (ret)
		goto out;
	if (rename(fresh, file)) {
		ret = err_errno(e, "%s", file);
		unlink(fresh);
		goto out;
	}
	record_dir(file, dir, sizeof(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		ret = err_errno(e, "%s", dir);
	if (fd >= 0)
		close(fd);
out:
	free(text);
	json_decref(o);
	return ret;
}

/* --- the lock --- */

static int lock_fd(int fd, bool readonly)
{
	struct flock l = { .l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &l) ? -errno : 0;
}

/* Readers leave no record, so the record would name somebody who has left: tell them apart. */
static int busy(const char *path, const char *file, int fd, bool readonly, struct err *e)
{
	struct flock l = { .l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
	struct disk_holder h;

	if (!fcntl(fd, F_OFD_GETLK, &l) && l.l_type == F_RDLCK)
		return err_set(e, -EBUSY, "disk %s is open for reading by another program", path);
	if (record_read(file, &h, NULL))
		return err_set(e, -EBUSY, "disk %s is open by another program, which left no record",
			       path);
	return err_set(e, -EBUSY, "disk %s is open by domain %s (host %s, pid %d)", path, h.domain,
		       h.host, (int)h.pid);
}

/* With the lock in our hands: may @me follow whom the record names, and if so, become it. */
static int succeed(const char *path, const char *file, const struct disk_holder *me, struct err *e)
{
	struct disk_holder last;
	char dir[PATH_MAX];
	int ret;

	ret = record_read(file, &last, e);
	if (ret && ret != -ENOENT)
		return ret;
	/* Rule H: ownership moved on while we did not hold the disk.  Never write it again. */
	if (!ret && !memcmp(last.uuid, me->uuid, sizeof(last.uuid)) &&
	    last.incarnation > me->incarnation)
		return err_set(e, -EPERM, "disk %s was used by incarnation %llu of domain %s (host %s, "
			       "pid %d); incarnation %llu must not run any more", path,
			       (unsigned long long)last.incarnation, last.domain, last.host,
			       (int)last.pid, (unsigned long long)me->incarnation);
	if (e)
		*e = (struct err){ 0 };
	record_dir(file, dir, sizeof(dir));
	make_dirs(dir);
	return record_write(file, me, e);
}

int disk_lock_take(const char *path, bool readonly, const struct disk_holder *me,
		   const char *run_dir, struct disk_lock **out, struct err *e)
{
	char file[PATH_MAX];
	struct disk_lock *l;
	int ret;

	ret = record_path(path, run_dir, file, sizeof(file), e);
	if (ret)
		return ret;
	l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(e, -ENOMEM, "disk %s: no memory", path);
	l->fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (l->fd < 0) {
		ret = err_errno(e, "disk %s", path);
		goto fail;
	}
	ret = lock_fd(l->fd, readonly);
	if (ret == -EAGAIN || ret == -EACCES)
		ret = busy(path, file, l->fd, readonly, e);
	else if (ret)
		err_set(e, ret, "disk %s: lock: %s", path, strerror(-ret));
	if (!ret && !readonly)
		ret = succeed(path, file, me, e);
	if (ret)
		goto fail;
	*out = l;
	return 0;
fail:
	disk_lock_release(l);
	return ret;
}

void disk_lock_release(struct disk_lock *l)
{
	if (!l)
		return;
	if (l->fd >= 0)
		close(l->fd);
	free(l);
}

int disk_lock_record(const char *path, const char *run_dir, struct disk_holder *out,
		     struct err *e)
{
	char file[PATH_MAX];
	int ret;

	ret = record_path(path, run_dir, file, sizeof(file), e);
	return ret ? ret : record_read(file, out, e);
}

bool disk_lock_arbitrates(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode);
}
