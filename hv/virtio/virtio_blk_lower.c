/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_blk_lower - what a disk lies on that is an image with only what differs: its parents, opened and locked to be read. */
#include "hv/virtio/virtio_blk_int.h"

#include "hv/disk/disk_broker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- their names --- */

int virtio_blk_lower_name(struct virtio_blk *d, const struct virtio_blk_conf *c)
{
	assert(c->n_parents <= BLOCK_PARENTS_MAX);
	if (!c->n_parents)
		return 0;
	d->parents = calloc(c->n_parents, sizeof(*d->parents));
	if (!d->parents)
		return -ENOMEM;
	for (; d->n_parents < c->n_parents; d->n_parents++) {
		d->parents[d->n_parents] = strdup(c->parents[d->n_parents]);
		if (!d->parents[d->n_parents])
			return -ENOMEM;
	}
	return 0;
}

void virtio_blk_lower_forget(struct virtio_blk *d)
{
	for (size_t i = 0; i < d->n_parents; i++)
		free(d->parents[i]);
	free(d->parents);
}

/* --- open --- */

/* A reader's lock: nobody writes to it now, and nobody begins to. */
static int take_one(const struct virtio_blk *d, const char *path, bool probe, struct disk_lock **lock, int *fd, struct err *e)
{
	struct disk_store store;
	int ret;

	*lock = NULL;
	if (probe)
		return disk_broker_probe(d->v.env->disks, path, true, fd, &store, e);
	ret = disk_broker_prepare(d->v.env->disks, path, true, false, lock, &store, e);
	if (!ret)
		*fd = disk_lock_fd(*lock);
	return ret;
}

int virtio_blk_lower_take(const struct virtio_blk *d, bool probe, struct blk_lower *l, struct err *e)
{
	int ret;

	l->n = 0;
	for (size_t i = 0; i < d->n_parents; i++) {
		ret = take_one(d, d->parents[i], probe, &l->locks[i], &l->at[i].fd, e);
		if (ret) {
			virtio_blk_lower_end(l);
			return ret;
		}
		l->at[i].path = d->parents[i];
		l->n++;
	}
	return 0;
}

void virtio_blk_lower_end(struct blk_lower *l)
{
	for (; l->n; l->n--) {
		if (l->locks[l->n - 1])
			disk_lock_release(l->locks[l->n - 1]);
		else
			close(l->at[l->n - 1].fd);
	}
}
