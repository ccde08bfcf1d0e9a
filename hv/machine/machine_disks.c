/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_disks - taking the disks of a domain, all or none, and giving them back.
 *
 *     prepare   every disk is locked, opened and found usable; nothing is written
 *     commit    every record is checked; then each is written; then the guest may use them
 *     close     flush; then let go
 *
 * What can fail, fails before the first record is written: a record that names a new
 * owner bars the old one from its disks (rule H).
 *
 * All this has the machine's lock, and waits for storage as long as that takes.  Who must not keep others from the
 * machine meanwhile lets go of them and takes them again in another way (machine_disks_move.c).
 */
#include "hv/machine/machine_int.h"

#include "base/log.h"
#include "hv/disk/disk_broker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* #syscalls:main,gate,engine uname */
static void holder_fill(struct machine *m, uint64_t incarnation, struct disk_holder *h)
{
	memset(h, 0, sizeof(*h));
	snprintf(h->domain, sizeof(h->domain), "%s", m->conf->name);
	memcpy(h->uuid, m->conf->uuid, sizeof(h->uuid));
	gethostname(h->host, sizeof(h->host) - 1);
	snprintf(h->cluster, sizeof(h->cluster), "%s", m->opt.cluster ? m->opt.cluster : "");
	snprintf(h->nonce, sizeof(h->nonce), "%s", m->disks_nonce);
	h->pid = getpid();
	h->incarnation = incarnation;
}

/* The disk behind @d (NULL: the first), or NULL. */
static struct machine_device *next_disk(struct machine *m, struct machine_device *d)
{
	return machine_device_next(m, &virtio_blk_device, d);
}

/* For who needs them as they are: not while they are on their way. */
static void disks_lock(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	while (m->disks_moving)
		pthread_cond_wait(&m->disks_moved, &m->lock);
}

/* --- take --- */

void machine_disks_release(struct machine *m)
{
	struct machine_device *d = NULL;

	while ((d = next_disk(m, d)))
		if (virtio_blk_prepared(d->dev))
			virtio_blk_release(d->dev);
	m->disks_owned = false;
}

int machine_disks_lock_all(struct machine *m, struct err *e)
{
	struct machine_device *d = NULL;
	int ret = 0;

	while (!ret && (d = next_disk(m, d)))
		if (!virtio_blk_prepared(d->dev))
			ret = virtio_blk_prepare(d->dev, e);
	if (ret)
		machine_disks_release(m);
	return ret;
}

/* The record of the one that failed too may have been replaced: only a later step failed. */
static void disks_undo(struct machine *m, const struct machine_device *failed, const struct err *e)
{
	struct machine_device *d = NULL;
	struct err why;

	do {
		d = next_disk(m, d);
		if (virtio_blk_undo(d->dev, &why))
			log_error("%s; and the record cannot be put back: %s", e ? e->text : "disks", why.text);
	} while (d != failed);
}

/* All or none: those that were written before the one that failed are put back. */
static int disks_write(struct machine *m, const struct disk_holder *me, struct err *e)
{
	struct machine_device *d = NULL;
	int ret;

	while ((d = next_disk(m, d))) {
		ret = virtio_blk_commit(d->dev, me, e);
		if (ret) {
			disks_undo(m, d, e);
			return ret;
		}
	}
	return 0;
}

static bool all_prepared(struct machine *m)
{
	struct machine_device *d = NULL;

	while ((d = next_disk(m, d)))
		if (!virtio_blk_prepared(d->dev))
			return false;
	return true;
}

int machine_disks_own(struct machine *m, uint64_t after, uint64_t incarnation, struct err *e)
{
	struct machine_device *d = NULL;
	struct disk_holder me;
	int ret = 0;

	if (!all_prepared(m))
		return err_set(e, -EINVAL, "disks: not prepared");
	holder_fill(m, incarnation, &me);
	while (!ret && !m->disks_owned && (d = next_disk(m, d)))
		ret = virtio_blk_check(d->dev, &me, after, e);
	if (!ret)
		ret = disks_write(m, &me, e);
	if (ret)
		return ret;
	m->disks_owned = true;
	m->disks_incarnation = incarnation;
	return 0;
}

int machine_disk_join(struct machine *m, struct virtio_dev *disk, struct err *e)
{
	struct disk_holder me;

	if (!m->disks_owned)
		return 0;
	holder_fill(m, m->disks_incarnation, &me);
	return virtio_blk_open(disk, &me, e);
}

int machine_disks_prepare(struct machine *m, struct err *e)
{
	int ret;

	disks_lock(m);
	ret = machine_disks_lock_all(m, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

int machine_disks_commit(struct machine *m, uint64_t after, uint64_t incarnation, struct err *e)
{
	int ret;

	disks_lock(m);
	ret = machine_disks_own(m, after, incarnation, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

/* The highest number in the records, and whether a lock that we hold keeps all others from the domain. */
static uint64_t disks_last(struct machine *m, bool *exclusive)
{
	struct machine_device *d = NULL;
	uint64_t last = 0;

	*exclusive = false;
	while ((d = next_disk(m, d))) {
		const struct disk_holder *h;

		if (!virtio_blk_prepared(d->dev))
			continue;
		h = virtio_blk_last(d->dev);
		if (h && !memcmp(h->uuid, m->conf->uuid, sizeof(h->uuid)) && h->incarnation > last)
			last = h->incarnation;
		if (!virtio_blk_readonly(d->dev) && disk_broker_arbitrates(m->opt.disks, virtio_blk_path(d->dev)))
			*exclusive = true;
	}
	return last;
}

uint64_t machine_disks_next(struct machine *m)
{
	bool exclusive;
	uint64_t last;

	disks_lock(m);
	last = disks_last(m, &exclusive);
	pthread_mutex_unlock(&m->lock);
	return exclusive ? last + 1 : 1;
}

/* For another host to find by its path: that must be the disk which the guest writes to. */
static int disks_named(struct machine *m, struct err *e)
{
	struct machine_device *d = NULL;
	int ret = 0;

	while (!ret && m->disks_owned && (d = next_disk(m, d)))
		if (!virtio_blk_readonly(d->dev))
			ret = virtio_blk_named(d->dev, e);
	return ret;
}

int machine_disks_named(struct machine *m, struct err *e)
{
	int ret;

	disks_lock(m);
	ret = disks_named(m, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

int machine_disks_mark(struct machine *m, uint64_t incarnation, const char *nonce, struct err *e)
{
	struct machine_device *d = NULL;
	struct disk_holder me;
	int ret;

	disks_lock(m);
	ret = disks_named(m, e);
	snprintf(m->disks_nonce, sizeof(m->disks_nonce), "%s", nonce);
	holder_fill(m, incarnation, &me);
	while (!ret && m->disks_owned && (d = next_disk(m, d)))
		ret = virtio_blk_commit(d->dev, &me, e);
	if (!ret)
		m->disks_incarnation = incarnation;
	pthread_mutex_unlock(&m->lock);
	return ret;
}

json_t *machine_disks_sizes(struct machine *m)
{
	struct machine_device *d = NULL;
	json_t *list = json_array();
	uint64_t capacity;
	uint32_t sector;

	pthread_rwlock_rdlock(&m->devices_lock);
	while ((d = next_disk(m, d))) {
		virtio_blk_size(d->dev, &capacity, &sector);
		json_array_append_new(list, json_pack("[I, I]", (json_int_t)capacity, (json_int_t)sector));
	}
	pthread_rwlock_unlock(&m->devices_lock);
	return list;
}

static int expect_one(struct virtio_dev *disk, size_t i, const json_t *size, struct err *e)
{
	json_int_t capacity = json_integer_value(json_array_get(size, 0));
	json_int_t sector = json_integer_value(json_array_get(size, 1));

	if (capacity <= 0 || sector <= 0 || sector > UINT32_MAX)
		return err_set(e, -EINVAL, "disks[%zu]: %lld bytes in sectors of %lld", i, (long long)capacity,
			       (long long)sector);
	virtio_blk_expect(disk, (uint64_t)capacity, (uint32_t)sector);
	return 0;
}

int machine_disks_expect(struct machine *m, const json_t *sizes, struct err *e)
{
	struct machine_device *d = NULL;
	size_t n = 0, i = 0;
	int ret = 0;

	pthread_rwlock_rdlock(&m->devices_lock);
	while ((d = next_disk(m, d)))
		n++;
	if (json_array_size(sizes) != n)
		ret = err_set(e, -EINVAL, "disks: %zu there, %zu here", json_array_size(sizes), n);
	while (!ret && (d = next_disk(m, d))) {
		ret = expect_one(d->dev, i, json_array_get(sizes, i), e);
		i++;
	}
	pthread_rwlock_unlock(&m->devices_lock);
	return ret;
}

static int marked(const struct virtio_dev *disk, const char *nonce, struct err *e)
{
	const struct disk_holder *h = virtio_blk_last(disk);
	const char *path = virtio_blk_path(disk);

	if (virtio_blk_readonly(disk) || !virtio_blk_is_file(disk))
		return 0;
	if (h && !strcmp(h->nonce, nonce))
		return 0;
	return err_set(e, -EPERM, "disk %s: somebody has had it since the domain was sent here (domain %s, "
				  "incarnation %llu, host %s)",
		       path, h ? h->domain : "?",
		       h ? (unsigned long long)h->incarnation : 0, h ? h->host : "?");
}

int machine_disks_marked(struct machine *m, const char *nonce, struct err *e)
{
	struct machine_device *d = NULL;
	int ret = 0;

	disks_lock(m);
	while (!ret && (d = next_disk(m, d)))
		if (virtio_blk_prepared(d->dev))
			ret = marked(d->dev, nonce, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

/* Devices work, vCPUs do not: a guest sees no moment between two failures. */
int machine_disks_retry(struct machine *m, struct err *e)
{
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	if (machine_holders(m) == HOLD_DISK)
		ret = machine_devices_start(m, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

/* --- give back --- */

int machine_disks_flush(struct machine *m, struct err *e)
{
	struct machine_device *d = NULL;
	int ret = 0, one;

	while ((d = next_disk(m, d))) {
		one = virtio_blk_flush(d->dev, ret ? NULL : e);
		ret = ret ? ret : one;
	}
	return ret;
}

int machine_disks_close(struct machine *m, struct err *e)
{
	int ret;

	disks_lock(m);
	ret = machine_disks_flush(m, e);
	if (!ret)
		machine_disks_release(m);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

void machine_disks_abandon(struct machine *m)
{
	disks_lock(m);
	machine_disks_release(m);
	pthread_mutex_unlock(&m->lock);
}

/* --- try --- */

int machine_disks_probe(struct machine *m, bool fresh, struct err *e)
{
	struct machine_device *d = NULL;
	int ret = 0;

	pthread_rwlock_rdlock(&m->devices_lock);
	while (!ret && (d = next_disk(m, d)))
		ret = virtio_blk_probe(d->dev, fresh, e);
	pthread_rwlock_unlock(&m->devices_lock);
	return ret;
}
