/* SPDX-License-Identifier: Apache-2.0 */
/* virtio.h - devices of VIRTIO 1.2 over PCI (4.1): what all have in common, and a block device (5.2), polled. */
#ifndef PAYLOAD_VIRTIO_H
#define PAYLOAD_VIRTIO_H

#include "payload.h"

struct vdev {
	uint64_t common, device, notify; /* where its registers are */
	uint32_t multiplier;
	uint64_t features; /* agreed on */
};

struct vdesc { /* VIRTIO 1.2, 2.7.5 */
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
#define VDESC_NEXT 1u
#define VDESC_WRITE 2u

/* Find the first device of this kind (VIRTIO 1.2, 5) on bus 0. */
bool vdev_find(struct vdev *v, uint16_t device);
/* Reset it and agree on VERSION_1 and what it has of @wanted. */
bool vdev_agree(struct vdev *v, uint64_t wanted);
/* A queue of at most @size, without an interrupt; how large it is. */
uint32_t vdev_queue(struct vdev *v, unsigned int index, uint32_t size, void *desc, void *avail, void *used,
		    uint64_t *doorbell);
void vdev_go(struct vdev *v);

#define SECTOR 512u
#define BLK_SLOTS 4 /* requests that may be under way */

enum blk_op {
	BLK_READ = 0,
	BLK_WRITE = 1,
	BLK_FLUSH = 4
};

/* Find the first block device of bus 0 and bring it up. False: there is none, or it failed. */
bool blk_open(uint64_t *sectors, bool *can_flush);

/* Queue a request in @slot; @buf must stay until blk_done(). blk_kick() tells the device. */
void blk_submit(unsigned int slot, enum blk_op op, uint64_t sector, void *buf, uint32_t len);
void blk_kick(void);

/* Is everything that was submitted complete? *@ok: without an error. */
bool blk_done(bool *ok);

#endif
