/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_blk - the block device (VIRTIO 1.2 5.2): one queue, one disk.  Its
 * requests are in virtio_blk_request.c.
 *
 * The disk itself is opened late (virtio_blk_open), by whoever may write it, and closed
 * before another host opens it: what a network file system promises (close to open) is
 * enough, and no host reads what it cached before the other one wrote.  Its size is device
 * state: the guest must find the same disk after a migration.
 */
#include "hv/virtio_blk_int.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define BLK_SEG_MAX (BLK_QUEUE_SIZE - 2)  /* less header and status */

/* VIRTIO 1.2 5.2.3 */
#define BLK_F_SEG_MAX (1ull << 2)
#define BLK_F_RO (1ull << 5)
#define BLK_F_BLK_SIZE (1ull << 6)
#define BLK_F_DISCARD (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

/* VIRTIO 1.2 5.2.4, little-endian */
struct blk_config {
	uint64_t capacity;       /* in 512-byte sectors */
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
} __attribute__((packed));

static void blk_publish(struct virtio_blk *d)
{
	struct blk_config c = {
		.capacity = htole64(d->capacity / BLK_SECTOR),
		.seg_max = htole32(BLK_SEG_MAX),
		.blk_size = htole32(d->sector_size),
		.num_queues = htole16(1),
		.max_discard_sectors = htole32(BLK_DISCARD_MAX),
		.max_discard_seg = htole32(1),
		.discard_sector_alignment = htole32(d->sector_size / BLK_SECTOR),
		.max_write_zeroes_sectors = htole32(BLK_DISCARD_MAX),
		.max_write_zeroes_seg = htole32(1),
		.write_zeroes_may_unmap = 1,
	};

	memcpy(d->v.config, &c, sizeof(c));
	d->v.config_len = sizeof(c);
}

static void blk_learn(struct virtio_blk *d)
{
	d->capacity = block_size(d->block);
	d->sector_size = block_sector_size(d->block);
}

static void blk_ready(struct virtio_dev *v)
{
}

static void blk_run(struct virtio_dev *v, bool on)
{
}

static unsigned int blk_in_flight(struct virtio_dev *v)
{
	return virtio_blk_of(v)->in_flight;
}

static void blk_reset(struct virtio_dev *v)
{
	virtio_blk_of(v)->starved = false;
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

static void blk_free(struct virtio_dev *v)
{
	struct virtio_blk *d = virtio_blk_of(v);

	/* io_uring_queue_exit() waits for what is in flight: nothing touches guest memory later. */
	block_close(d->block);
	disk_lock_release(d->lock);
	free(d->requests);
	free(d->path);
	free(d);
}

static int blk_pre_save(void *dev, struct err *e)
{
	return 0;
}

static int blk_fits(const struct virtio_blk *d, struct err *e)
{
	if (block_size(d->block) != d->capacity || block_sector_size(d->block) > d->sector_size)
		return err_set(e, -EINVAL, "disk %s: %llu bytes in sectors of %u, but the guest knows "
			       "%llu bytes in sectors of %u", d->path,
			       (unsigned long long)block_size(d->block),
			       block_sector_size(d->block), (unsigned long long)d->capacity,
			       d->sector_size);
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
	if (d->capacity && d->block && blk_fits(d, e))
		return -EINVAL;
	pthread_mutex_lock(&d->v.lock);
	if (!d->capacity && d->block)
		blk_learn(d);
	blk_publish(d);
	pthread_mutex_unlock(&d->v.lock);
	return 0;
}

static const struct state_field blk_fields[] = {
	STATE_U64(struct virtio_blk, capacity),
	STATE_U32(struct virtio_blk, sector_size),
	STATE_END
};

static const struct state_desc blk_state = {
	.name = "virtio-blk", .version = 1, .min_version = 1, .fields = blk_fields,
	.pre_save = blk_pre_save, .post_load = blk_post_load,
};

static const struct virtio_ops blk_ops = {
	.kind = "blk", .id = 2, .pci_class = 0x010000,
	.ready = blk_ready, .kick = virtio_blk_kick, .event = virtio_blk_event, .run = blk_run,
	.in_flight = blk_in_flight, .reset = blk_reset, .stats = blk_stats,
	.destroy = blk_free, .state = &blk_state,
};

/* --- for the machine --- */

int virtio_blk_create(struct virtio_env *env, unsigned int index, const struct virtio_blk_conf *c,
		      struct virtio_dev **out, struct err *e)
{
	struct virtio_blk *d = calloc(1, sizeof(*d));
	uint64_t features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH;
	int ret = -ENOMEM, i;

	if (d) {
		d->path = strdup(c->path);
		d->requests = calloc(BLK_QUEUE_SIZE, sizeof(*d->requests));
	}
	if (!d || !d->path || !d->requests) {
		err_set(e, ret, "disk %s: no memory", c->path);
		goto fail;
	}
	d->readonly = c->readonly;
	d->direct = c->direct;
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
	blk_publish(d);
	features |= d->readonly ? BLK_F_RO : BLK_F_DISCARD | BLK_F_WRITE_ZEROES;
	ret = virtio_dev_init(&d->v, env, &blk_ops, index, features, 1, BLK_QUEUE_SIZE, e);
	if (ret)
		goto fail;
	*out = &d->v;
	return 0;
fail:
	if (d) {
		free(d->requests);
		free(d->path);
	}
	free(d);
	return ret;
}

int virtio_blk_open(struct virtio_dev *v, const struct disk_holder *me, struct err *e)
{
	struct virtio_blk *d = virtio_blk_of(v);
	int ret;

	ret = disk_lock_take(d->path, d->readonly, me, NULL, &d->lock, e);
	if (ret)
		return ret;
	ret = block_open(d->path, d->readonly, d->direct, BLK_QUEUE_SIZE, &d->block, e);
	if (ret)
		goto fail;
	if (d->capacity) {
		ret = blk_fits(d, e);
		if (ret)
			goto fail;
	}
	pthread_mutex_lock(&v->lock);
	if (!d->capacity) {
		blk_learn(d);
		blk_publish(d);
	}
	ret = virtio_dev_watch(v, 0, block_event_fd(d->block), EPOLLIN);
	pthread_mutex_unlock(&v->lock);
	if (!ret)
		return 0;
	err_set(e, ret, "disk %s: epoll: %s", d->path, strerror(-ret));
fail:
	block_close(d->block);
	d->block = NULL;
	disk_lock_release(d->lock);
	d->lock = NULL;
	return ret;
}

void virtio_blk_release(struct virtio_dev *v)
{
	struct virtio_blk *d = virtio_blk_of(v);

	pthread_mutex_lock(&v->lock);
	if (d->block) {
		virtio_dev_watch(v, 0, block_event_fd(d->block), 0);
		block_close(d->block);
		d->block = NULL;
	}
	pthread_mutex_unlock(&v->lock);
	disk_lock_release(d->lock);
	d->lock = NULL;
}
