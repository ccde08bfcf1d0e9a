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
 */
#include "hv/machine_int.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* --- take --- */

static void disks_release(struct machine *m)
{
	while (m->n_disks_open)
		virtio_blk_release(m->disks[--m->n_disks_open]);
	m->disks_owned = false;
}

static int disks_prepare(struct machine *m, struct err *e)
{
	int ret = 0;

	while (m->n_disks_open < m->conf->n_disks && !ret) {
		ret = virtio_blk_prepare(m->disks[m->n_disks_open], e);
		if (!ret)
			m->n_disks_open++;
	}
	if (ret)
		disks_release(m);
	return ret;
}

/* All or none: those that were written before the one that failed are put back. */
static int disks_write(struct machine *m, const struct disk_holder *me, struct err *e)
{
	struct err why;
	int ret = 0;
	size_t i;

	for (i = 0; i < m->n_disks_open && !ret; i++)
		ret = virtio_blk_commit(m->disks[i], me, e);
	if (!ret)
		return 0;
	/* The one that failed too: its record may have been replaced, and only a later step failed. */
	while (i--)
		if (virtio_blk_undo(m->disks[i], &why))
			log_error("%s; and the record cannot be put back: %s", e ? e->text : "disks", why.text);
	return ret;
}

static int disks_commit(struct machine *m, uint64_t after, uint64_t incarnation, struct err *e)
{
	struct disk_holder me;
	int ret = 0;

	if (m->n_disks_open != m->conf->n_disks)
		return err_set(e, -EINVAL, "disks: not prepared");
	holder_fill(m, incarnation, &me);
	for (size_t i = 0; i < m->n_disks_open && !ret && !m->disks_owned; i++)
		ret = virtio_blk_check(m->disks[i], &me, after, e);
	if (!ret)
		ret = disks_write(m, &me, e);
	if (!ret)
		m->disks_owned = true;
	return ret;
}

int machine_disks_prepare(struct machine *m, struct err *e)
{
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = disks_prepare(m, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

int machine_disks_commit(struct machine *m, uint64_t after, uint64_t incarnation, struct err *e)
{
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = disks_commit(m, after, incarnation, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

int machine_disks_open(struct machine *m, uint64_t incarnation, struct err *e)
{
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = disks_prepare(m, e);
	if (!ret)
		ret = disks_commit(m, incarnation, incarnation, e);
	if (ret)
		disks_release(m);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

/* The highest number in the records, and whether a lock that we hold keeps all others from the domain. */
static uint64_t disks_last(struct machine *m, bool *exclusive)
{
	uint64_t last = 0;

	*exclusive = false;
	for (size_t i = 0; i < m->n_disks_open; i++) {
		const struct disk_holder *h = virtio_blk_last(m->disks[i]);

		if (h && !memcmp(h->uuid, m->conf->uuid, sizeof(h->uuid)) && h->incarnation > last)
			last = h->incarnation;
		if (!m->conf->disks[i].readonly && disk_lock_arbitrates(m->conf->disks[i].path))
			*exclusive = true;
	}
	return last;
}

uint64_t machine_disks_next(struct machine *m)
{
	bool exclusive;
	uint64_t last;

	pthread_mutex_lock(&m->lock);
	last = disks_last(m, &exclusive);
	pthread_mutex_unlock(&m->lock);
	return exclusive ? last + 1 : 1;
}

int machine_disks_mark(struct machine *m, uint64_t incarnation, const char *nonce, struct err *e)
{
	struct disk_holder me;
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	snprintf(m->disks_nonce, sizeof(m->disks_nonce), "%s", nonce);
	holder_fill(m, incarnation, &me);
	for (size_t i = 0; i < m->n_disks_open && m->disks_owned && !ret; i++)
		ret = virtio_blk_commit(m->disks[i], &me, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

json_t *machine_disks_sizes(struct machine *m)
{
	json_t *list = json_array();
	uint64_t capacity;
	uint32_t sector;

	for (size_t i = 0; i < m->conf->n_disks; i++) {
		virtio_blk_size(m->disks[i], &capacity, &sector);
		json_array_append_new(list, json_pack("[I, I]", (json_int_t)capacity, (json_int_t)sector));
	}
	return list;
}

int machine_disks_expect(struct machine *m, const json_t *sizes, struct err *e)
{
	if (json_array_size(sizes) != m->conf->n_disks)
		return err_set(e, -EINVAL, "disks: %zu there, %zu here", json_array_size(sizes), m->conf->n_disks);
	for (size_t i = 0; i < m->conf->n_disks; i++) {
		const json_t *one = json_array_get(sizes, i);
		json_int_t capacity = json_integer_value(json_array_get(one, 0));
		json_int_t sector = json_integer_value(json_array_get(one, 1));

		if (capacity <= 0 || sector <= 0 || sector > UINT32_MAX)
			return err_set(e, -EINVAL, "disks[%zu]: %lld bytes in sectors of %lld", i, (long long)capacity,
				       (long long)sector);
		virtio_blk_expect(m->disks[i], (uint64_t)capacity, (uint32_t)sector);
	}
	return 0;
}

static int marked(const struct domain_disk *d, const struct disk_holder *h, const char *nonce,
		  struct err *e)
{
	struct stat st;

	if (d->readonly || stat(d->path, &st) || !S_ISREG(st.st_mode))
		return 0;
	if (h && !strcmp(h->nonce, nonce))
		return 0;
	return err_set(e, -EPERM, "disk %s: somebody has had it since the domain was sent here (domain %s, "
		       "incarnation %llu, host %s)", d->path, h ? h->domain : "?",
		       h ? (unsigned long long)h->incarnation : 0, h ? h->host : "?");
}

int machine_disks_marked(struct machine *m, const char *nonce, struct err *e)
{
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->n_disks_open && !ret; i++)
		ret = marked(&m->conf->disks[i], virtio_blk_last(m->disks[i]), nonce, e);
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

/* Without m->lock: it may take long, and the disks are not closed by anybody else meanwhile. */
int machine_disks_flush(struct machine *m, struct err *e)
{
	int ret = 0;

	for (size_t i = 0; i < m->n_disks_open && !ret; i++)
		ret = virtio_blk_flush(m->disks[i], e);
	return ret;
}

int machine_disks_close(struct machine *m, struct err *e)
{
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	if (m->disks_owned)
		ret = machine_disks_flush(m, e);
	if (!ret)
		disks_release(m);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

void machine_disks_abandon(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	disks_release(m);
	pthread_mutex_unlock(&m->lock);
}

/* --- try --- */

int machine_disks_probe(struct machine *m, bool fresh, struct err *e)
{
	int ret = 0;

	for (size_t i = 0; i < m->conf->n_disks && !ret; i++)
		ret = virtio_blk_probe(m->disks[i], fresh, e);
	return ret;
}
