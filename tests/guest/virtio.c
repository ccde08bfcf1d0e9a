/* SPDX-License-Identifier: Apache-2.0 */
/* virtio.c - a virtio device over PCI, modern interface: how it is found, agreed with, and given its queues. */
#include "virtio.h"

#define F_VERSION_1 (1ull << 32)

/* Common configuration structure, VIRTIO 1.2, 4.1.4.3. */
#define C_DEVICE_SELECT 0
#define C_DEVICE_FEATURES 4
#define C_DRIVER_SELECT 8
#define C_DRIVER_FEATURES 12
#define C_STATUS 20
#define C_QUEUE_SELECT 22
#define C_QUEUE_SIZE 24
#define C_QUEUE_VECTOR 26
#define C_QUEUE_ENABLE 28
#define C_QUEUE_NOTIFY_OFF 30
#define C_QUEUE_DESC 32
#define C_QUEUE_DRIVER 40
#define C_QUEUE_DEVICE 48

static uint32_t pci_read(uint32_t slot, uint32_t offset)
{
	out32(0xcf8, 0x80000000 | slot << 11 | (offset & 0xfc));
	return in32(0xcfc);
}

static void pci_write(uint32_t slot, uint32_t offset, uint32_t v)
{
	out32(0xcf8, 0x80000000 | slot << 11 | (offset & 0xfc));
	out32(0xcfc, v);
}

static uint8_t pci_read8(uint32_t slot, uint32_t offset)
{
	return pci_read(slot, offset) >> (offset & 3) * 8;
}

static uint64_t bar_address(uint32_t slot, uint32_t bar)
{
	uint32_t low = pci_read(slot, 0x10 + 4 * bar);
	uint64_t a = low & ~15u;

	if (low & 1)
		return 0; /* ports: not what a modern device needs */
	if ((low & 6) == 4)
		a |= (uint64_t)pci_read(slot, 0x14 + 4 * bar) << 32;
	return a;
}

/* The vendor capabilities say where the register groups are (4.1.4). */
static bool find_groups(uint32_t slot, struct vdev *v)
{
	uint32_t cap = pci_read8(slot, 0x34);

	v->common = v->device = v->notify = 0;
	for (int guard = 0; cap >= 0x40 && guard < 48; guard++, cap = pci_read8(slot, cap + 1)) {
		uint32_t bar = pci_read8(slot, cap + 4), type = pci_read8(slot, cap + 3);
		uint64_t at;

		if (pci_read8(slot, cap) != 0x09 || bar > 5)
			continue;
		at = bar_address(slot, bar);
		if (!at)
			continue;
		at += pci_read(slot, cap + 8);
		map_add(at, pci_read(slot, cap + 12), true);
		if (type == 1) {
			v->common = at;
		} else if (type == 2) {
			v->notify = at;
			v->multiplier = pci_read(slot, cap + 16);
		} else if (type == 4) {
			v->device = at;
		}
	}
	return v->common && v->device && v->notify;
}

static void write64(uint64_t a, uint64_t v)
{
	mmio_w32(a, v);
	mmio_w32(a + 4, v >> 32);
}

bool vdev_agree(struct vdev *v, uint64_t wanted)
{
	uint64_t features;

	mmio_w8(v->common + C_STATUS, 0);
	while (mmio_r8(v->common + C_STATUS))
		cpu_relax();
	mmio_w8(v->common + C_STATUS, 1 | 2); /* ACKNOWLEDGE, DRIVER */
	mmio_w32(v->common + C_DEVICE_SELECT, 0);
	features = mmio_r32(v->common + C_DEVICE_FEATURES);
	mmio_w32(v->common + C_DEVICE_SELECT, 1);
	features |= (uint64_t)mmio_r32(v->common + C_DEVICE_FEATURES) << 32;
	if (!(features & F_VERSION_1))
		return false;
	v->features = features & (F_VERSION_1 | wanted);
	mmio_w32(v->common + C_DRIVER_SELECT, 0);
	mmio_w32(v->common + C_DRIVER_FEATURES, v->features);
	mmio_w32(v->common + C_DRIVER_SELECT, 1);
	mmio_w32(v->common + C_DRIVER_FEATURES, v->features >> 32);
	mmio_w8(v->common + C_STATUS, 1 | 2 | 8); /* FEATURES_OK */
	return mmio_r8(v->common + C_STATUS) & 8;
}

uint32_t vdev_queue(struct vdev *v, unsigned int index, uint32_t size, void *desc, void *avail, void *used,
		    uint64_t *doorbell)
{
	uint32_t max;

	mmio_w16(v->common + C_QUEUE_SELECT, index);
	max = mmio_r16(v->common + C_QUEUE_SIZE);
	size = size < max ? size : max;
	mmio_w16(v->common + C_QUEUE_SIZE, size);
	mmio_w16(v->common + C_QUEUE_VECTOR, 0xffff);
	write64(v->common + C_QUEUE_DESC, (uintptr_t)desc);
	write64(v->common + C_QUEUE_DRIVER, (uintptr_t)avail);
	write64(v->common + C_QUEUE_DEVICE, (uintptr_t)used);
	*doorbell = v->notify + (uint64_t)mmio_r16(v->common + C_QUEUE_NOTIFY_OFF) * v->multiplier;
	mmio_w16(v->common + C_QUEUE_ENABLE, 1);
	return size;
}

void vdev_go(struct vdev *v)
{
	mmio_w8(v->common + C_STATUS, 1 | 2 | 8 | 4); /* DRIVER_OK */
}

/* Modern, or one that is both (VIRTIO 1.2, 4.1.2.1): there 0x1000 is a network card, 0x1001 a disk. */
bool vdev_find(struct vdev *v, uint16_t device)
{
	for (uint32_t slot = 0; slot < 32; slot++) {
		uint32_t id = pci_read(slot, 0);

		if (id != ((0x1040u + device) << 16 | 0x1af4) && id != ((0x1000u + device - 1) << 16 | 0x1af4))
			continue;
		/* Memory and bus master on, INTx off. */
		pci_write(slot, 4, (pci_read(slot, 4) & 0xffff) | 0x406);
		return find_groups(slot, v);
	}
	return false;
}
