/* SPDX-License-Identifier: Apache-2.0 */
/* disk_lock - see disk_lock.h for what it promises. */
#include "hv/disk/disk_lock_int.h"

#include "hv/disk/disk_store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- open --- */

/*
 * Looked at before it is opened: a FIFO would keep us, a tape would move.  O_NONBLOCK would avoid
 * the first, but a disk must never have it: io_uring passes it on, and a request that has to wait
 * (device mapper, a full queue) then fails with EAGAIN for ever.
 * #syscalls:broker openat newfstatat
 */
static int disk_open(const char *path, bool readonly, int *out, struct err *e)
{
	int ret = 0, fd = open(path, O_PATH | O_CLOEXEC);
	char again[40];
	struct stat st;

	if (fd < 0)
		return err_errno(e, "disk %s", path);
	snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st)) {
		ret = err_errno(e, "disk %s", path);
	} else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		ret = err_set(e, -EINVAL, "disk %s: neither a file nor a block device", path);
	} else {
		*out = open(again, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
		if (*out < 0)
			ret = err_errno(e, "disk %s: open for %s", path,
					readonly ? "reading" : "writing");
	}
	close(fd);
	return ret;
}

/* --- the lock --- */

/* #syscalls:broker fcntl(1=F_OFD_SETLK) fcntl(1=F_OFD_GETLK) */
static int lock_fd(int fd, bool readonly)
{
	struct flock l = { .l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &l) ? -errno : 0;
}

/* Readers leave no record, so the record would name somebody who has left: tell them apart. */
static int busy(const struct disk_lock *l, struct err *e)
{
	struct flock who = { .l_type = l->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
	struct disk_holder h;

	if (!fcntl(l->fd, F_OFD_GETLK, &who) && who.l_type == F_RDLCK)
		return err_set(e, -EBUSY, "disk %s is open for reading by another program", l->path);
	if (disk_record_read(&l->record, &h, NULL))
		return err_set(e, -EBUSY, "disk %s is open by another program, which left no record",
			       l->path);
	return err_set(e, -EBUSY, "disk %s is open by domain %s (host %s, pid %d)", l->path, h.domain,
		       h.host, (int)h.pid);
}

static int lock_take(struct disk_lock *l, struct err *e)
{
	int ret = lock_fd(l->fd, l->readonly);

	if (ret == -EAGAIN || ret == -EACCES)
		return busy(l, e);
	return ret ? err_set(e, ret, "disk %s: lock: %s", l->path, strerror(-ret)) : 0;
}

/* With the lock in our hands: who was it last, and could we write who it is now? */
static int learn_last(struct disk_lock *l, struct err *e)
{
	struct err why = { 0 };
	int ret;

	assert(!l->readonly && !l->reserved && !l->has_last);
	ret = disk_record_read(&l->record, &l->last, &why);
	l->has_last = !ret;
	if (ret && ret != -ENOENT) {
		if (e)
			*e = why;
		return ret;
	}
	ret = disk_record_reserve(&l->record, e);
	if (ret)
		err_prefix(e, "disk %s: the record of who holds it", l->path);
	l->reserved = !ret;
	return ret;
}

int disk_lock_new_file(int fd, const char *path, struct err *e)
{
	int ret = lock_fd(fd, false);

	if (ret == -EAGAIN || ret == -EACCES)
		return err_set(e, -EBUSY, "disk %s is open by another program", path);
	return 0;
}

struct disk_lock *disk_lock_new(const char *path, bool readonly, struct err *e)
{
	struct disk_lock *l = calloc(1, sizeof(*l));

	if (l) {
		l->fd = -1;
		l->readonly = readonly;
		l->path = strdup(path);
	}
	if (!l || !l->path) {
		free(l);
		err_set(e, -ENOMEM, "disk %s: no memory", path);
		return NULL;
	}
	return l;
}

int disk_lock_prepare(const char *path, bool readonly, const char *run_dir, struct disk_lock **out,
		      struct err *e)
{
	struct disk_lock *l = disk_lock_new(path, readonly, e);
	int ret;

	if (!l)
		return -ENOMEM;
	ret = disk_open(path, readonly, &l->fd, e);
	if (!ret)
		ret = disk_record_at(l->fd, path, run_dir, &l->record, e);
	if (!ret)
		ret = lock_take(l, e);
	if (!ret)
		ret = disk_below_take(l->fd, path, readonly, run_dir, &l->below, e);
	if (!ret && !readonly)
		ret = learn_last(l, e);
	if (ret) {
		disk_lock_release(l);
		return ret;
	}
	*out = l;
	return 0;
}

const struct disk_holder *disk_lock_last(const struct disk_lock *l)
{
	return l->has_last ? &l->last : NULL;
}

/* --- the record --- */

static const char *cluster_name(const struct disk_holder *h)
{
	return *h->cluster ? h->cluster : "none";
}

int disk_lock_check(const struct disk_lock *l, const struct disk_holder *me, uint64_t after,
		    struct err *e)
{
	const struct disk_holder *last = &l->last;

	if (!l->has_last || memcmp(last->uuid, me->uuid, sizeof(last->uuid)))
		return 0;
	/* A domain that no cluster counted enters one: only the lock can say anything about it. */
	if (!*last->cluster && *me->cluster)
		return 0;
	/*
	 * Two counters: a number that happens to be higher, or grows with each try, proves nothing.
	 * The way out comes first in the text: what a cluster shows of it is cut.
	 */
	if (strcmp(last->cluster, me->cluster))
		return err_set(e, -EPERM, "disk %s is another cluster's (if it is no more: drover-hv adopt "
					  "FILE): incarnation %llu of domain %s, host %s, cluster %s; who asks is of "
					  "cluster %s",
			       l->path, (unsigned long long)last->incarnation, last->domain,
			       last->host, last->cluster, cluster_name(me));
	/* Rule H: ownership moved on while we did not hold the disk.  Never write it again. */
	if (last->incarnation > after)
		return err_set(e, -EPERM, "disk %s was used by incarnation %llu of domain %s (host %s, "
					  "pid %d): %llu must not run (if the newer one is no more: drover-hv adopt FILE)",
			       l->path, (unsigned long long)last->incarnation, last->domain, last->host,
			       (int)last->pid, (unsigned long long)me->incarnation);
	return 0;
}

int disk_lock_commit(struct disk_lock *l, const struct disk_holder *me, struct err *e)
{
	int ret;

	if (l->readonly)
		return 0;
	if (l->keeper)
		return l->keeper->commit(l->keeper, me, e);
	ret = disk_record_write(&l->record, me, e);
	if (ret)
		err_prefix(e, "disk %s: the record of who holds it", l->path);
	else
		l->reserved = false; /* it became the record */
	return ret;
}

/* A file is opened, not only looked up: then a network file system asks its server what has this name now. */
static int now_there(const char *path, struct stat *st)
{
	int fd, ret = 0;

	if (stat(path, st))
		return -errno;
	if (!S_ISREG(st->st_mode))
		return 0;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, st))
		ret = -errno;
	close(fd);
	return ret;
}

static bool same_disk(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int disk_lock_leads(const char *path, int fd, struct err *e)
{
	struct stat have, there;
	int ret;

	if (fstat(fd, &have))
		return err_errno(e, "disk %s", path);
	ret = now_there(path, &there);
	/* A device is found by its number, here as there; a path to it that went away misleads nobody. */
	if (ret && S_ISBLK(have.st_mode))
		return 0;
	if (ret && ret != -ENOENT)
		return err_set(e, ret, "disk %s: %s", path, strerror(-ret));
	if (ret)
		return err_set(e, -ESTALE, "disk %s: nothing there any more (give the disk that the domain has open "
					   "its name back)",
			       path);
	/* The way out comes early in the text: what a cluster shows of it is cut. */
	if (!same_disk(&have, &there))
		return err_set(e, -ESTALE, "disk %s: not the one that the domain has open (give that one its name "
					   "back, or stop the domain to use this one)",
			       path);
	return 0;
}

int disk_lock_named(const struct disk_lock *l, struct err *e)
{
	if (l->keeper)
		return l->keeper->named(l->keeper, e);
	return disk_lock_leads(l->path, l->fd, e);
}

int disk_lock_undo(struct disk_lock *l, struct err *e)
{
	if (l->readonly)
		return 0;
	if (l->keeper)
		return l->keeper->undo(l->keeper, e);
	return l->has_last ? disk_record_write(&l->record, &l->last, e) : disk_record_remove(&l->record, e);
}

int disk_lock_fd(const struct disk_lock *l)
{
	assert(l->fd >= 0);
	return l->fd;
}

void disk_lock_hand_over(struct disk_lock *l)
{
	disk_below_release(&l->below);
	close(l->fd);
	l->fd = -1;
}

void disk_lock_release(struct disk_lock *l)
{
	if (!l)
		return;
	if (l->keeper)
		l->keeper->release(l->keeper);
	else if (l->reserved)
		disk_record_unreserve(&l->record);
	disk_below_release(&l->below);
	if (l->fd >= 0)
		close(l->fd);
	free(l->path);
	free(l);
}

int disk_lock_take(const char *path, bool readonly, const struct disk_holder *me,
		   const char *run_dir, struct disk_lock **out, struct err *e)
{
	struct disk_lock *l;
	int ret;

	ret = disk_lock_prepare(path, readonly, run_dir, &l, e);
	if (ret)
		return ret;
	ret = disk_lock_check(l, me, me->incarnation, e);
	if (!ret)
		ret = disk_lock_commit(l, me, e);
	if (ret)
		disk_lock_release(l);
	else
		*out = l;
	return ret;
}

/* --- without the lock --- */

int disk_lock_record(const char *path, const char *run_dir, struct disk_holder *out,
		     struct err *e)
{
	struct disk_record r;
	int ret, fd;

	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "disk %s", path);
	ret = disk_record_at(fd, path, run_dir, &r, e);
	close(fd);
	return ret ? ret : disk_record_read(&r, out, e);
}

int disk_lock_probe(const char *path, bool readonly, const char *run_dir, int *fd, struct err *e)
{
	struct disk_record r;
	struct disk_holder h;
	int ret;

	ret = disk_open(path, readonly, fd, e);
	if (ret)
		return ret;
	ret = disk_record_at(*fd, path, run_dir, &r, e);
	if (!ret && !readonly) {
		ret = disk_record_read(&r, &h, e);
		if (!ret || ret == -ENOENT)
			ret = disk_record_probe(&r, e);
		if (ret)
			err_prefix(e, "disk %s: the record of who holds it", path);
	}
	if (ret)
		close(*fd);
	return ret;
}

bool disk_lock_arbitrates(const char *path)
{
	struct disk_store s;
	int fd = open(path, O_PATH | O_CLOEXEC);
	bool yes;

	if (fd < 0)
		return false;
	yes = !disk_store_of(fd, &s, NULL) && s.locks;
	close(fd);
	return yes;
}
