/* SPDX-License-Identifier: Apache-2.0 */
/* virtio.h - a virtio block device over PCI (VIRTIO 1.2, 4.1 and 5.2), one queue, polled. */
#ifndef PAYLOAD_VIRTIO_H
#define PAYLOAD_VIRTIO_H

#include "payload.h"

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
