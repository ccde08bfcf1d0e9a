/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_blk_config - what a guest reads of its disk: the configuration space. */
#include "hv/virtio/virtio_blk_int.h"

#include <endian.h>
#include <string.h>

#define BLK_SEG_MAX (BLK_QUEUE_SIZE - 2) /* less header and status */

/* VIRTIO 1.2 5.2.4, little-endian */
struct blk_config {
	uint64_t capacity; /* in 512-byte sectors */
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

void virtio_blk_publish(struct virtio_blk *d)
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
