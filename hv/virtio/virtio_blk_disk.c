/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_blk_disk - how a block device takes its disk and gives it back.
 *
 * The disk is opened late, by whoever may write it, and closed before another host
 * opens it: what a network file system promises (close to open) is enough, and no host
 * reads what it cached before the other one wrote.  Lock, record and I/O are one open
 * file (hv/disk/disk_lock.h).  Its size is device state: the guest must find the same disk
 * after a migration.
 *
 * Where other hosts may have the disk too (hv/disk/disk_store.h), nothing of it is kept in
 * this host's page cache, unless the domain file says so: the kernel writes its cache
 * back when it likes, also after a lease has ended (rule G).
 */
#include "hv/virtio/virtio_blk_int.h"

#include "base/lock.h"
#include "hv/disk/disk_broker.h"
#include "hv/disk/disk_format.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

void virtio_blk_learn(struct virtio_blk *d)
{
	assert(d->block && lock_is_held(&d->v.lock));
	d->capacity = block_size(d->block);
	d->sector_size = block_sector_size(d->block);
}

int virtio_blk_fits(const struct virtio_blk *d, const struct block *b, struct err *e)
{
	if (block_size(b) < d->capacity || block_sector_size(b) > d->sector_size)
		return err_set(e, -EINVAL, "disk %s: %llu bytes in sectors of %u, but the guest knows "
					   "%llu bytes in sectors of %u",
			       d->path,
			       (unsigned long long)block_size(b), block_sector_size(b),
			       (unsigned long long)d->capacity, d->sector_size);
	return 0;
}

/* --- page cache or not --- */

static int cache_refused(const struct virtio_blk *d, const struct disk_store *s, struct err *e)
{
	return err_set(e, -EINVAL, "disk %s: other hosts may have it too (%s) and take it when the lease "
				   "ends, but this host's page cache would still write to it; expected `direct: true`",
		       d->path, s->type);
}

/* Rule G, asked by whoever writes. */
static bool may_write(void *arg)
{
	const struct virtio_blk *d = arg;

	return d->v.env->may_submit(d->v.env->arg);
}

/* ... where nobody has the disk while we have its lock. */
static bool may_write_locked(void *arg)
{
	const struct virtio_blk *d = arg;

	return may_write(arg) || atomic_load(&d->v.env->disks_leaving);
}

/* O_DIRECT wherever it may matter; where it is not said and not possible, only without a lease. */
static int open_block(struct virtio_blk *d, int fd, const struct blk_lower *lower, const struct disk_store *store,
		      struct block **out, struct err *e)
{
	const char *format = domain_format_word(d->format);
	struct block_open_args a = {
		.fd = fd,
		.path = d->path,
		.readonly = d->readonly,
		.direct = d->direct == DIRECT_ON || (d->direct == DIRECT_AUTO && store->shared),
		.depth = BLK_QUEUE_SIZE,
		.parents = lower->at,
		.n_parents = lower->n,
		.may_write = store->locks_known ? may_write_locked : may_write,
		.may_arg = d,
		.rings = d->v.env->rings,
	};
	struct err why = { 0 };
	int ret;

	if (d->direct == DIRECT_OFF && store->shared && d->v.env->leased && !d->readonly)
		return cache_refused(d, store, e);
	ret = block_open_on(format, &a, out, &why);
	if (ret == -EOPNOTSUPP && d->direct == DIRECT_AUTO) {
		if (d->v.env->leased && !d->readonly)
			return cache_refused(d, store, e);
		a.direct = false;
		ret = block_open_on(format, &a, out, &why);
	}
	if (ret && e)
		*e = why;
	return ret;
}

/* --- take --- */

static int disk_usable(struct virtio_blk *d, int fd, const struct blk_lower *lower, const struct disk_store *store, bool fresh,
		       struct block **out, struct err *e)
{
	bool look = fresh && d->format == FORMAT_UNSAID, file;
	struct stat st;
	int ret;

	if (fstat(fd, &st))
		return err_errno(e, "disk %s", d->path);
	/* An image may have a size that no raw disk has: what it is like is the better reason. */
	file = S_ISREG(st.st_mode);
	ret = look && file ? disk_format_check(fd, d->path, (uint64_t)st.st_size, e) : 0;
	if (!ret)
		ret = open_block(d, fd, lower, store, out, e);
	if (ret)
		return ret;
	if (!fresh && d->capacity)
		ret = virtio_blk_fits(d, *out, e);
	else if (look && !file)
		ret = disk_format_check(fd, d->path, block_size(*out), e);
	if (ret) {
		block_close(*out);
		*out = NULL;
	}
	return ret;
}

struct disk_parts {
	struct disk_lock *lock;
	struct block *block;
	struct blk_lower lower;
};

static void disk_end(struct disk_parts *p)
{
	/* io_uring_queue_exit() waits for what is in flight: nothing touches guest memory later. */
	block_close(p->block);
	virtio_blk_lower_end(&p->lower);
	disk_lock_release(p->lock);
}

/* It is the guest's from now on. */
static int disk_join(struct virtio_blk *d, const struct disk_parts *p, struct err *e)
{
	struct virtio_dev *v = &d->v;
	int ret;

	pthread_mutex_lock(&v->lock);
	d->lock = p->lock;
	d->block = p->block;
	d->lower = p->lower;
	if (!d->ran || !d->capacity) {
		virtio_blk_learn(d);
		virtio_blk_publish(d);
	}
	block_owe(d->block, d->owed);
	ret = virtio_dev_watch(v, 0, block_event_fd(d->block), EPOLLIN);
	pthread_mutex_unlock(&v->lock);
	return ret ? err_set(e, ret, "disk %s: epoll: %s", d->path, strerror(-ret)) : 0;
}

/* Whatever waits for storage does so without the device's lock, which is also that of its figures. */
int virtio_blk_prepare(struct virtio_dev *v, struct err *e)
{
	struct virtio_blk *d = virtio_blk_of(v);
	/* A destination has looked before (probe), and nobody waits for sysfs while its guest stands still. */
	bool unmounted = !d->readonly && (!d->ran || d->has_wrote);
	struct disk_store store;
	struct disk_parts p = { 0 };
	int ret;

	assert(!d->lock && !d->block);
	ret = disk_broker_prepare(v->env->disks, d->path, d->readonly, unmounted, &p.lock, &store, e);
	if (ret)
		return ret;
	ret = virtio_blk_lower_take(d, false, &p.lower, e);
	if (!ret)
		ret = disk_usable(d, disk_lock_fd(p.lock), &p.lower, &store, !d->ran, &p.block, e);
	if (ret) {
		disk_end(&p);
		return ret;
	}
	ret = disk_join(d, &p, e);
	if (ret)
		virtio_blk_release(v);
	return ret;
}

bool virtio_blk_prepared(const struct virtio_dev *v)
{
	return ((const struct virtio_blk *)v)->lock != NULL;
}

const char *virtio_blk_path(const struct virtio_dev *v)
{
	return ((const struct virtio_blk *)v)->path;
}

bool virtio_blk_readonly(const struct virtio_dev *v)
{
	return ((const struct virtio_blk *)v)->readonly;
}

bool virtio_blk_is_file(const struct virtio_dev *v)
{
	const struct virtio_blk *d = (const struct virtio_blk *)v;
	struct stat st;

	return !fstat(disk_lock_fd(d->lock), &st) && S_ISREG(st.st_mode);
}

void virtio_blk_size(struct virtio_dev *v, uint64_t *capacity, uint32_t *sector)
{
	struct virtio_blk *d = virtio_blk_of(v);

	pthread_mutex_lock(&v->lock);
	*capacity = d->capacity;
	*sector = d->sector_size;
	pthread_mutex_unlock(&v->lock);
}

void virtio_blk_expect(struct virtio_dev *v, uint64_t capacity, uint32_t sector)
{
	struct virtio_blk *d = virtio_blk_of(v);

	pthread_mutex_lock(&v->lock);
	d->capacity = capacity;
	d->sector_size = sector;
	pthread_mutex_unlock(&v->lock);
}

int virtio_blk_named(const struct virtio_dev *v, struct err *e)
{
	return disk_lock_named(((const struct virtio_blk *)v)->lock, e);
}

const struct disk_holder *virtio_blk_last(const struct virtio_dev *v)
{
	const struct virtio_blk *d = (const struct virtio_blk *)v;

	return disk_lock_last(d->lock);
}

static bool same_file(const struct virtio_blk *d)
{
	struct stat st;

	return !d->wrote.file || (!fstat(disk_lock_fd(d->lock), &st) && S_ISREG(st.st_mode) &&
				  st.st_dev == d->wrote.dev && st.st_ino == d->wrote.ino);
}

/*
 * A guest that goes on after it let go of its disk believes what it remembers of it.  So the record
 * must be the very one it left, and beside the very file, whoever may take the disk for a fresh start:
 * the path may lead to another disk now, the file was restored or made anew, or an operator set it free
 * and ran the domain, or another one, by hand meanwhile.
 */
static int untouched(const struct virtio_blk *d, struct err *e)
{
	const struct disk_holder *last = disk_lock_last(d->lock);

	if (d->owned || !d->has_wrote || d->readonly)
		return 0;
	if (!same_file(d))
		return err_set(e, DISK_ANOTHER, "disk %s is not the one that this domain left: another file has its name",
			       d->path);
	if (last && disk_holder_same(last, &d->wrote.record))
		return 0;
	if (!last)
		return err_set(e, DISK_ANOTHER, "disk %s is not the one that this domain left: its record is gone", d->path);
	return err_set(e, DISK_ANOTHER, "disk %s is not as this domain left it: somebody has had it since (domain %s, "
					"incarnation %llu, host %s, pid %d), so what the domain remembers is older than the disk",
		       d->path,
		       last->domain, (unsigned long long)last->incarnation, last->host, (int)last->pid);
}

int virtio_blk_check(struct virtio_dev *v, const struct disk_holder *me, uint64_t after,
		     struct err *e)
{
	const struct virtio_blk *d = virtio_blk_of(v);
	int ret;

	assert(d->lock); /* what it says holds only while nobody else can change it */
	ret = disk_lock_check(d->lock, me, after, e);
	return ret ? ret : untouched(d, e);
}

static struct disk_mine mine(const struct virtio_blk *d, const struct disk_holder *me)
{
	struct disk_mine m = { .record = *me };
	struct stat st;

	if (!fstat(disk_lock_fd(d->lock), &st) && S_ISREG(st.st_mode)) {
		m.file = true;
		m.dev = st.st_dev;
		m.ino = st.st_ino;
	}
	return m;
}

int virtio_blk_commit(struct virtio_dev *v, const struct disk_holder *me, struct err *e)
{
	struct virtio_blk *d = virtio_blk_of(v);
	int ret;

	assert(d->lock && d->block); /* prepared */
	ret = disk_lock_commit(d->lock, me, e);
	if (ret)
		return ret;
	if (!d->owned) {
		d->before = d->wrote;
		d->had_before = d->has_wrote;
	}
	d->wrote = mine(d, me);
	d->has_wrote = d->owned = d->ran = true;
	return 0;
}

int virtio_blk_undo(struct virtio_dev *v, struct err *e)
{
	struct virtio_blk *d = virtio_blk_of(v);

	if (d->owned) {
		d->wrote = d->before;
		d->has_wrote = d->had_before;
	}
	d->owned = false;
	return disk_lock_undo(d->lock, e);
}

int virtio_blk_open(struct virtio_dev *v, const struct disk_holder *me, struct err *e)
{
	int ret = virtio_blk_prepare(v, e);

	if (ret)
		return ret;
	ret = virtio_blk_check(v, me, me->incarnation, e);
	if (!ret)
		ret = virtio_blk_commit(v, me, e);
	if (ret)
		virtio_blk_release(v);
	return ret;
}

/* --- give back --- */

int virtio_blk_flush(struct virtio_dev *v, struct err *e)
{
	struct virtio_blk *d = virtio_blk_of(v);

	if (d->block)
		return block_flush(d->block, e);
	return d->owed ? err_set(e, d->owed, "disk %s: what was not written when it was let go of is lost, and the guest has not heard of it",
				 d->path) :
			 0;
}

static struct disk_parts disk_leave(struct virtio_blk *d)
{
	struct disk_parts p = { d->lock, d->block, d->lower };

	if (d->block)
		d->owed = block_leaves(d->block);
	d->block = NULL;
	d->lock = NULL;
	d->lower.n = 0;
	d->owned = false;
	return p;
}

void virtio_blk_drop(struct virtio_blk *d)
{
	struct disk_parts p = disk_leave(d);

	disk_end(&p);
}

void virtio_blk_release(struct virtio_dev *v)
{
	struct virtio_blk *d = virtio_blk_of(v);
	struct disk_parts p;

	pthread_mutex_lock(&v->lock);
	if (d->block)
		virtio_dev_watch(v, 0, block_event_fd(d->block), 0);
	p = disk_leave(d);
	if (!d->ran)
		d->capacity = 0;
	pthread_mutex_unlock(&v->lock);
	disk_end(&p);
}

/* --- try --- */

int virtio_blk_probe(struct virtio_dev *v, bool fresh, struct err *e)
{
	struct virtio_blk *d = virtio_blk_of(v);
	struct disk_store store;
	struct blk_lower lower;
	struct block *b;
	int fd, ret;

	ret = disk_broker_probe(v->env->disks, d->path, d->readonly, &fd, &store, e);
	if (ret)
		return ret;
	ret = virtio_blk_lower_take(d, true, &lower, e);
	if (!ret) {
		ret = disk_usable(d, fd, &lower, &store, fresh, &b, e);
		if (!ret)
			block_close(b);
		virtio_blk_lower_end(&lower);
	}
	close(fd);
	return ret;
}
