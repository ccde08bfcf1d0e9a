/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_blk.c - a virtio block device, one queue, polled.
 *
 * Interrupts are declined (VIRTQ_AVAIL_F_NO_INTERRUPT): the boot CPU looks at the
 * used ring once per tick, which is all that a record every few milliseconds needs.
 * Each slot owns three descriptors: header, data, status.
 */
#include "virtio.h"

#define QUEUE 16
#define DEVICE_BLK 2
#define F_FLUSH (1ull << 9)

static struct {
	struct vdesc desc[QUEUE];
	struct {
		uint16_t flags, idx, ring[QUEUE + 1];
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[QUEUE];
		uint16_t event;
	} used __attribute__((aligned(4)));
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header[BLK_SLOTS];
	volatile uint8_t status[BLK_SLOTS];
} q __attribute__((aligned(4096)));

static uint64_t doorbell;
static uint32_t queue_size, submitted_slots;
static uint16_t submitted;

bool blk_open(uint64_t *sectors, bool *can_flush)
{
	struct vdev v;

	if (!vdev_find(&v, DEVICE_BLK) || !vdev_agree(&v, F_FLUSH))
		return false;
	*can_flush = v.features & F_FLUSH;
	q.avail.flags = 1; /* NO_INTERRUPT */
	queue_size = vdev_queue(&v, 0, QUEUE, q.desc, &q.avail, &q.used, &doorbell);
	if (queue_size < 3 * BLK_SLOTS)
		return false;
	vdev_go(&v);
	*sectors = mmio_r32(v.device) | (uint64_t)mmio_r32(v.device + 4) << 32;
	return true;
}

void blk_submit(unsigned int slot, enum blk_op op, uint64_t sector, void *buf, uint32_t len)
{
	struct vdesc *d = &q.desc[3 * slot];
	unsigned int last = 1;

	q.header[slot].type = op;
	q.header[slot].sector = op == BLK_FLUSH ? 0 : sector;
	q.status[slot] = 0xff;
	d[0] = (struct vdesc){ (uintptr_t)&q.header[slot], 16, 1, 3 * slot + 1 };
	if (len) {
		d[1] = (struct vdesc){ (uintptr_t)buf, len, op == BLK_READ ? 3 : 1, 3 * slot + 2 };
		last = 2;
	}
	d[last] = (struct vdesc){ (uintptr_t)&q.status[slot], 1, 2, 0 };
	q.avail.ring[submitted % queue_size] = 3 * slot;
	submitted++;
	submitted_slots |= 1u << slot;
}

void blk_kick(void)
{
	__atomic_store_n(&q.avail.idx, submitted, __ATOMIC_SEQ_CST);
	mmio_w16(doorbell, 0);
}

bool blk_done(bool *ok)
{
	if (__atomic_load_n(&q.used.idx, __ATOMIC_ACQUIRE) != submitted)
		return false;
	*ok = true;
	for (unsigned int slot = 0; slot < BLK_SLOTS; slot++)
		if (submitted_slots & 1u << slot && q.status[slot])
			*ok = false;
	submitted_slots = 0;
	return true;
}
