/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_file - the record file on its disk (store_int.h).
 *
 *   append      one fdatasync for all of them
 *   rewrite     `record.new`, fsync, its name exchanged with that of `record`,
 *               fsync of the directory; later appends go behind it
 *
 * so a crash at any instant leaves either the old file or the new one, and at most
 * a torn tail that nobody was promised.  What was `record` becomes the next
 * `record.new`: both keep the room they have, so that a file system which others
 * fill up does not stop us (as long as STORE_AHEAD lasts, which is more than the core
 * appends before its next snapshot).
 */
#include "ha/store/store_int.h"

#include "base/crc32c.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define NAME "record"
#define NAME_NEW "record.new"
#define NAME_BAD "record.bad"

static int write_all(int fd, const uint8_t *p, size_t len, uint64_t at)
{
	ssize_t n;

	while (len > 0) {
		n = pwrite(fd, p, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		at += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* @list from @at on; @at moves behind it. */
static int write_list(int fd, const struct store_rec *list, uint64_t *at, uint64_t synced)
{
	uint8_t head[STORE_RECORD_HEAD];
	const struct store_rec *r;
	int rc = 0;

	for (r = list; r && rc == 0; r = r->next) {
		store_put_record_head(head, r->kind, r->bytes, r->len, *at, synced);
		rc = write_all(fd, head, sizeof(head), *at);
		if (rc == 0)
			rc = write_all(fd, r->bytes, r->len, *at + sizeof(head));
		*at += sizeof(head) + r->len;
	}
	return rc;
}

static bool same_inode(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/*
 * Whoever starts here next finds the record by its name. What was written into a file or a directory that
 * lost it (moved, removed, mounted over, while we run) is on the disk and durable for nobody.
 */
static int dir_is_here(const struct store_file *f)
{
	struct stat have, there;

	if (fstat(f->dirfd, &have) < 0)
		return -errno;
	if (stat(f->dir, &there) < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	return same_inode(&have, &there) ? 0 : -ESTALE;
}

static int record_is_here(const struct store_file *f)
{
	struct stat have, there;
	int rc = dir_is_here(f);

	if (rc < 0)
		return rc;
	if (fstat(f->fd, &have) < 0)
		return -errno;
	return fstatat(f->dirfd, NAME, &there, 0) < 0 || !same_inode(&have, &there) ? -ESTALE : 0;
}

int store_file_append(struct store_file *f, const struct store_rec *list)
{
	int rc;

	assert(f->fd >= 0 && f->end >= STORE_HEADER_LEN && f->synced <= f->end);
	rc = write_list(f->fd, list, &f->end, f->synced);
	if (rc == 0 && fdatasync(f->fd) < 0)
		rc = -errno;
	if (rc == 0)
		rc = record_is_here(f);
	if (rc == 0)
		f->synced = f->end;
	return rc;
}

/* Room for @used bytes and what will follow, as far as a quarter of what is free goes. */
static void allocate_ahead(int fd, uint64_t used)
{
	uint64_t ahead = STORE_AHEAD;
	struct statvfs v;

	if (fstatvfs(fd, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize / 4 < ahead)
		ahead = (uint64_t)v.f_bavail * v.f_frsize / 4;
	/* A file system that cannot, or has no room, is seen when it matters. */
	while (ahead && fallocate(fd, 0, 0, (off_t)(used + ahead)) < 0 && errno == EINTR)
		;
}

static void drop_spare(struct store_file *f)
{
	unlinkat(f->dirfd, NAME_NEW, 0);
	if (f->spare >= 0)
		close(f->spare);
	f->spare = -1;
}

static int take_spare(struct store_file *f)
{
	if (f->spare < 0)
		f->spare = openat(f->dirfd, NAME_NEW, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return f->spare < 0 ? -errno : 0;
}

/* What an older record left behind @from would read as damage: zeros, as in room never used. */
static int wipe(int fd, uint64_t from)
{
	static const uint8_t zeros[64 << 10];
	struct stat st;
	uint64_t size;
	int rc = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	for (size = (uint64_t)st.st_size; from < size && rc == 0; from += sizeof(zeros))
		rc = write_all(fd, zeros, size - from < sizeof(zeros) ? size - from : sizeof(zeros), from);
	return rc;
}

/*
 * No tool that copies or restores a file can give it the birth of the old one; but one that writes into
 * the file that is there leaves it its own (docs/ha.md). 0: cannot be told here.
 */
static uint32_t origin_of(int fd)
{
	struct statx st;
	uint64_t id[3];
	uint32_t sum;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) || !(st.stx_mask & STATX_BTIME))
		return 0;
	id[0] = st.stx_ino;
	id[1] = (uint64_t)st.stx_btime.tv_sec;
	id[2] = st.stx_btime.tv_nsec;
	sum = crc32c(0, id, sizeof(id));
	return sum > STORE_ORIGIN_COPY ? sum : STORE_ORIGIN_COPY + 1;
}

static int fill_spare(struct store_file *f, const struct store_rec *list, uint64_t *end)
{
	uint8_t head[STORE_HEADER_LEN];
	const struct store_rec *r;
	uint64_t total = STORE_HEADER_LEN;
	int rc;

	for (r = list; r; r = r->next)
		total += STORE_RECORD_HEAD + r->len;
	allocate_ahead(f->spare, total);
	store_put_header(head, f->copied ? STORE_ORIGIN_COPY : origin_of(f->spare), total);
	*end = STORE_HEADER_LEN;
	rc = write_all(f->spare, head, sizeof(head), 0);
	if (rc == 0)
		rc = write_list(f->spare, list, end, total);
	assert(rc || *end == total); /* what the header says */
	if (rc == 0)
		rc = wipe(f->spare, total);
	if (rc == 0 && fsync(f->spare) < 0)
		rc = -errno;
	return rc;
}

/* The spare takes `record`'s name, and the other way round. */
static int exchange(struct store_file *f)
{
	int old = f->fd;
	bool both = old >= 0;

	assert(f->spare >= 0 && f->spare != old);
	if (both && renameat2(f->dirfd, NAME_NEW, f->dirfd, NAME, RENAME_EXCHANGE) < 0) {
		if (errno != EINVAL && errno != ENOSYS && errno != ENOENT)
			return -errno;
		both = false; /* not on this file system, or somebody removed it */
	}
	if (!both && renameat(f->dirfd, NAME_NEW, f->dirfd, NAME) < 0)
		return -errno;
	f->fd = f->spare;
	f->spare = both ? old : -1;
	if (old >= 0 && !both)
		close(old);
	if (fsync(f->dirfd) < 0)
		return -errno;
	return 0;
}

int store_file_rewrite(struct store_file *f, const struct store_rec *list)
{
	uint64_t end;
	int rc = dir_is_here(f);

	if (rc == 0)
		rc = take_spare(f);
	if (rc < 0)
		return rc;
	rc = fill_spare(f, list, &end);
	if (rc == 0)
		rc = exchange(f);
	if (rc < 0) {
		/* Pages that failed once may pass for written: other blocks the next time. */
		if (rc != -ENOSPC && rc != -EDQUOT && rc != -EROFS)
			drop_spare(f);
		return rc;
	}
	f->end = f->synced = end;
	if (take_spare(f) == 0)
		allocate_ahead(f->spare, 0);
	return dir_is_here(f);
}

/*
 * A droverd that was killed is gone for its parent before its last thread has come back from fsync(2);
 * until then it holds the lock.  Whoever is started in its place waits a moment for that.
 */
static int lock_patiently(int fd)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000000L };
	int tries = 40;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (!--tries)
			return -1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

int store_file_open(struct store_file *f, const char *dir, struct err *e)
{
	f->dir = dir;
	f->dirfd = f->lockfd = f->fd = f->spare = -1;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_errno(e, "cannot create %s", dir);
	f->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->dirfd < 0)
		return err_errno(e, "cannot open %s", dir);
	f->lockfd = openat(f->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (f->lockfd < 0) /* read-only */
		f->lockfd = openat(f->dirfd, "lock", O_RDONLY | O_CLOEXEC);
	if (f->lockfd < 0)
		f->lockfd = openat(f->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->lockfd < 0)
		return err_errno(e, "cannot open %s/lock", dir);
	if (lock_patiently(f->lockfd) < 0)
		return err_set(e, -EBUSY, "%s: another droverd uses this directory", dir);
	return 0;
}

/* The whole file; NULL with *@rc 0 when there is none. */
static uint8_t *read_file(struct store_file *f, size_t *len, int *rc)
{
	uint8_t *buf;
	struct stat st;
	ssize_t n;

	*rc = *len = 0;
	f->fd = openat(f->dirfd, NAME, O_RDWR | O_CLOEXEC);
	if (f->fd < 0 && (errno == EROFS || errno == EACCES))
		f->fd = openat(f->dirfd, NAME, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0 || fstat(f->fd, &st) < 0) {
		*rc = errno == ENOENT ? 0 : -errno;
		return NULL;
	}
	buf = malloc((size_t)st.st_size + 1);
	if (!buf) {
		*rc = -ENOMEM;
		return NULL;
	}
	while (*len < (size_t)st.st_size) {
		n = pread(f->fd, buf + *len, (size_t)st.st_size - *len, (off_t)*len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			*rc = n < 0 ? -errno : -EIO;
			break;
		}
		*len += (size_t)n;
	}
	return buf;
}

/* Kept to be looked at; a new record begins beside it. */
static void set_aside(struct store_file *f)
{
	renameat(f->dirfd, NAME, f->dirfd, NAME_BAD);
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

int store_file_load(struct store_file *f, struct store_image *image, struct err *e)
{
	size_t len, good;
	uint8_t *buf;
	int rc;

	memset(image, 0, sizeof(*image));
	buf = read_file(f, &len, &rc);
	if (rc == -EIO) {
		image->lost = true;
		snprintf(image->why, sizeof(image->why), "cannot be read at byte %zu: %s", len,
			 strerror(EIO));
		rc = 0;
	} else if (rc < 0) {
		err_set(e, rc, "cannot read %s/" NAME ": %s", f->dir, strerror(-rc));
	} else if (buf) {
		uint32_t told = store_origin(buf, len), is = origin_of(f->fd);

		rc = store_parse(buf, len, image, &good, e);
		f->copied = image->copied = rc == 0 && !image->lost && told && is && told != is;
		if (rc < 0)
			err_prefix(e, "%s/" NAME, f->dir);
	}
	if (image->lost)
		set_aside(f);
	free(buf);
	return rc;
}

void store_file_close(struct store_file *f)
{
	int *const fds[] = { &f->fd, &f->spare, &f->dirfd, &f->lockfd };
	size_t i;

	for (i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
