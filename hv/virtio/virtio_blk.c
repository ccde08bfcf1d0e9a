/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_blk - the block device (VIRTIO 1.2 5.2): one queue, one disk.  Its
 * requests are in virtio_blk_request.c, its disk is taken and given back in
 * virtio_blk_disk.c.
 */
#include "hv/virtio/virtio_blk_int.h"

#include "base/log.h"
#include "hv/disk/rings.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/* VIRTIO 1.2 5.2.3 */
#define BLK_F_SEG_MAX (1ull << 2)
#define BLK_F_RO (1ull << 5)
#define BLK_F_BLK_SIZE (1ull << 6)
#define BLK_F_DISCARD (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

static void blk_ready(struct virtio_dev *v)
{
}

/* A start is another try for writes that failed; the look at the ring that follows begins with them. */
static void blk_run(struct virtio_dev *v, bool on)
{
	if (on)
		virtio_blk_of(v)->stopped = false;
}

static unsigned int blk_in_flight(struct virtio_dev *v)
{
	return virtio_blk_of(v)->in_flight;
}

static void blk_reset(struct virtio_dev *v)
{
	virtio_blk_of(v)->starved = false;
	virtio_blk_forget(virtio_blk_of(v));
}

static json_t *blk_stats(struct virtio_dev *v)
{
	const struct virtio_blk *d = virtio_blk_of(v);

	return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "path", d->path, "open", d->block != NULL,
			 "reads", (json_int_t)d->reads, "writes", (json_int_t)d->writes,
			 "flushes", (json_int_t)d->flushes, "discards", (json_int_t)d->discards,
			 "errors", (json_int_t)d->errors,
			 "read_bytes", (json_int_t)d->read_bytes,
			 "write_bytes", (json_int_t)d->write_bytes,
			 "in_flight", (json_int_t)d->in_flight);
}

/* --- its rings: one for its file and one for each that this lies on --- */

static unsigned int rings_depth(const struct virtio_blk *d)
{
	return block_ring_depth(domain_format_word(d->format), BLK_QUEUE_SIZE);
}

static int blk_rings_add(struct virtio_blk *d, struct device_env *env, struct err *e)
{
	return env->rings ? rings_add(env->rings, 1 + d->n_parents, rings_depth(d), e) : 0;
}

static void blk_rings_remove(struct virtio_blk *d, struct device_env *env)
{
	if (env->rings)
		rings_remove(env->rings, 1 + d->n_parents, rings_depth(d));
}

static void blk_free(struct virtio_dev *v)
{
	struct virtio_blk *d = virtio_blk_of(v);
	struct err e;

	if (d->owned && block_flush(d->block, &e))
		log_error("%s", e.text);
	virtio_blk_drop(d);
	blk_rings_remove(d, v->env);
	free(d->requests);
	virtio_blk_lower_forget(d);
	free(d->path);
	free(d);
}

/* Requests in flight are not part of the state: they have come to an end, or nothing can be saved. */
static int blk_pre_save(void *dev, struct err *e)
{
	const struct virtio_blk *d = dev;

	if (d->stalled)
		return err_set(e, -EBUSY, "disk %s: a write failed and waits to be tried again; the domain "
					  "cannot move, nor can the disk go, before it is written",
			       d->path);
	return 0;
}

static int blk_post_load(void *dev, struct err *e)
{
	struct virtio_blk *d = dev;

	if (d->capacity % BLK_SECTOR || d->sector_size < BLK_SECTOR || d->sector_size > 65536 ||
	    (d->sector_size & (d->sector_size - 1)))
		return err_set(e, -EINVAL, "capacity: %llu bytes in sectors of %u",
			       (unsigned long long)d->capacity, d->sector_size);
	/* 0: saved before the disk was opened, as by a machine that resets to its first state. */
	if (d->capacity && d->block && virtio_blk_fits(d, d->block, e))
		return -EINVAL;
	pthread_mutex_lock(&d->v.lock);
	if (d->capacity)
		d->ran = true;
	else if (d->block)
		virtio_blk_learn(d);
	virtio_blk_publish(d);
	pthread_mutex_unlock(&d->v.lock);
	return 0;
}

static const struct state_field blk_fields[] = {
	STATE_U64(struct virtio_blk, capacity),
	STATE_U32(struct virtio_blk, sector_size),
	STATE_END
};

static const struct state_desc blk_state = {
	.name = "virtio-blk",
	.version = 1,
	.min_version = 1,
	.fields = blk_fields,
	.pre_save = blk_pre_save,
	.post_load = blk_post_load,
};

static const struct virtio_ops blk_ops = {
	.kind = "blk",
	.id = 2,
	.pci_class = 0x010000,
	.ready = blk_ready,
	.kick = virtio_blk_kick,
	.event = virtio_blk_event,
	.run = blk_run,
	.in_flight = blk_in_flight,
	.reset = blk_reset,
	.stats = blk_stats,
	.destroy = blk_free,
	.state = &blk_state,
};

/* --- for the machine --- */

int virtio_blk_create(struct device_env *env, unsigned int index, const struct virtio_blk_conf *c,
		      struct virtio_dev **out, struct err *e)
{
	struct virtio_blk *d = calloc(1, sizeof(*d));
	uint64_t features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH;
	int ret = -ENOMEM, i;

	if (d) {
		d->path = strdup(c->path);
		d->requests = calloc(BLK_QUEUE_SIZE, sizeof(*d->requests));
	}
	if (!d || !d->path || !d->requests || virtio_blk_lower_name(d, c)) {
		err_set(e, ret, "disk %s: no memory", c->path);
		goto fail;
	}
	d->readonly = c->readonly;
	d->direct = c->direct;
	d->format = c->format;
	d->report_errors = c->report_errors;
	d->sector_size = BLK_SECTOR;
	if (c->serial)
		snprintf(d->serial, sizeof(d->serial), "%s", c->serial);
	else
		snprintf(d->serial, sizeof(d->serial), "drover-disk%u", index);
	for (i = BLK_QUEUE_SIZE - 1; i >= 0; i--) {
		d->requests[i].blk = d;
		d->requests[i].next = d->free;
		d->free = &d->requests[i];
	}
	virtio_blk_publish(d);
	features |= d->readonly ? BLK_F_RO : BLK_F_DISCARD | BLK_F_WRITE_ZEROES;
	ret = blk_rings_add(d, env, e);
	if (ret)
		goto fail;
	ret = virtio_dev_init(&d->v, env, &blk_ops, index, features, 1, BLK_QUEUE_SIZE, e);
	if (ret) {
		blk_rings_remove(d, env);
		goto fail;
	}
	*out = &d->v;
	return 0;
fail:
	if (d) {
		free(d->requests);
		virtio_blk_lower_forget(d);
		free(d->path);
	}
	free(d);
	return ret;
}

/* --- the row --- */

static unsigned int device_wanted(const struct domain_conf *conf)
{
	return (unsigned int)conf->n_disks;
}

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
			 void **dev, struct err *e)
{
	const struct domain_disk *d = &conf->disks[index];
	struct virtio_blk_conf c = {
		.path = d->path,
		.readonly = d->readonly,
		.direct = d->direct,
		.format = d->format,
		.parents = (const char *const *)d->parents,
		.n_parents = d->n_parents,
		.report_errors = d->report_errors,
	};
	struct virtio_dev *v;
	int ret = virtio_blk_create(env, index, &c, &v, e);

	if (!ret)
		*dev = v;
	return ret;
}

const struct device_kind virtio_blk_device = {
	.name = "blk", .figures = "disks", .wanted = device_wanted, .create = device_create, VIRTIO_DEVICE
};
