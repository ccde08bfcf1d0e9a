/* SPDX-License-Identifier: Apache-2.0 */
/* disk_lock - see disk_lock.h for what it promises. */
#include "hv/disk_lock.h"

#include "hv/disk_below.h"
#include "hv/disk_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct disk_lock {
	int fd;                  /* the lock belongs to this open file description */
	struct disk_below below; /* of a block device: itself under any name, and what it stands on */
	bool readonly, reserved;
	bool has_last;
	struct disk_holder last; /* the record as prepare found it */
	struct disk_record record;
	char *path;
};

/* --- open --- */

/*
 * Looked at before it is opened: a FIFO would keep us, a tape would move.  O_NONBLOCK would avoid
 * the first, but a disk must never have it: io_uring passes it on, and a request that has to wait
 * (device mapper, a full queue) then fails with EAGAIN for ever.
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

int disk_lock_prepare(const char *path, bool readonly, const char *run_dir, struct disk_lock **out,
		      struct err *e)
{
	struct disk_lock *l = calloc(1, sizeof(*l));
	int ret;

	if (l) {
		l->fd = -1;
		l->readonly = readonly;
		l->path = strdup(path);
	}
	if (!l || !l->path) {
		free(l);
		return err_set(e, -ENOMEM, "disk %s: no memory", path);
	}
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
			       "cluster %s", l->path, (unsigned long long)last->incarnation, last->domain,
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
	ret = disk_record_write(&l->record, me, e);
	if (ret)
		err_prefix(e, "disk %s: the record of who holds it", l->path);
	else
		l->reserved = false; /* it became the record */
	return ret;
}

int disk_lock_undo(struct disk_lock *l, struct err *e)
{
	if (l->readonly)
		return 0;
	return l->has_last ? disk_record_write(&l->record, &l->last, e)
			   : disk_record_remove(&l->record, e);
}

int disk_lock_fd(const struct disk_lock *l)
{
	return l->fd;
}

void disk_lock_release(struct disk_lock *l)
{
	if (!l)
		return;
	if (l->reserved)
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
