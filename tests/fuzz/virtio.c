/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz disks, NICs, entropy, input and a console behind negotiated rings: the input is what the
 * driver put into them.
 *
 *   byte 0    device (0 disk, 1 NIC, 2 entropy, 3 keyboard, 4 tablet, 5 console)
 *   byte 1    bits 0-3 log2 of the queue size, bit 4 event index, bit 5 indirect,
 *             bit 6 what else the device offers
 *   byte 2    available index of every queue
 *   byte 3    length of a packet that waits on the wire, in units of 16; the key that is pressed
 *   rest      descriptor table, available ring and buffers, from FUZZ_RINGS on; all
 *             queues share them
 *
 * The device looks at each queue once, then must become quiet and movable.
 */
#include "virtio_bed.h"

#define FUZZ_RINGS 0x10000ull
#define FUZZ_USED 0x30000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void place_queue(struct drv *d, unsigned int q, uint16_t size)
{
	drv_write(d, 0x16, 2, q);
	drv_write(d, 0x18, 2, size);
	drv_write(d, 0x1a, 2, 1 + q);
	drv_write(d, 0x20, 8, FUZZ_RINGS);
	drv_write(d, 0x28, 8, FUZZ_RINGS + 16ull * size);
	drv_write(d, 0x30, 8, FUZZ_USED + 0x1000 * q);
	drv_write(d, 0x1c, 2, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bed *f = fuzz_bed();
	uint8_t *ram = f->bed.mem->regions[0].host, frame[4096] = { 0 };
	unsigned int which, q;
	struct virtio_dev *v;
	uint64_t want = 0;
	uint16_t qsize, idx;
	struct drv d;
	struct err e;

	if (size < 4 || size > 65536)
		return 0;
	which = data[0] % FUZZ_DEVICES;
	v = f->dev[which];
	qsize = (uint16_t)(1u << (data[1] & 15));
	if (qsize > v->queues[0].size_max)
		qsize = v->queues[0].size_max;
	want |= data[1] & 16 ? VIRTIO_F_EVENT_IDX : 0;
	want |= data[1] & 32 ? VIRTIO_F_INDIRECT_DESC : 0;
	want |= data[1] & 64 ? v->offered & 0xffffff : 0;
	drv_probe(&d, &f->bed, v, which + 1);
	drv_features(&d, want);
	for (q = 0; q < v->n_queues; q++)
		place_queue(&d, q, qsize);
	memset(ram + FUZZ_RINGS, 0, 0x30000);
	memcpy(ram + FUZZ_RINGS, data + 4, size - 4);
	idx = data[2];
	memcpy(ram + FUZZ_RINGS + 16ull * qsize + 2, &idx, 2);
	if (which == FUZZ_NET && send(f->wire, frame, 16u * data[3], MSG_DONTWAIT) < 0)
		while (recv(f->wire, frame, sizeof(frame), MSG_DONTWAIT) > 0)
			;
	drv_ok(&d);
	if (which == FUZZ_CONSOLE)
		fuzz_console_partner(f, data, size < 4096 ? size : 4096);
	seat_key(f->bed.seat, data[3], data[2] & 1);
	seat_pointer(f->bed.seat, &(struct seat_pointer){ .x = data[2], .y = data[3], .buttons = data[3], .wheel = (int8_t)data[2] });
	fuzz_must(virtio_dev_start(v, &e), "start");
	for (q = 0; q < v->n_queues; q++) {
		pthread_mutex_lock(virtio_queue_lock(v, q));
		if (virtio_dev_works(v, q))
			v->ops->kick(v, q);
		pthread_mutex_unlock(virtio_queue_lock(v, q));
	}
	fuzz_must(virtio_dev_quiesce(v, 5000, &e), "quiesce");
	while (recv(f->wire, frame, sizeof(frame), MSG_DONTWAIT) > 0)
		;
	fuzz_device_moves(v);
	return 0;
}
