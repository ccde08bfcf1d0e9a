/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio.c - virtio block over PCI, modern interface, polled.
 *
 * Interrupts are declined (VIRTQ_AVAIL_F_NO_INTERRUPT): the boot CPU looks at the
 * used ring once per tick, which is all that a record every few milliseconds needs.
 * Each slot owns three descriptors: header, data, status.
 */
#include "virtio.h"

#define QUEUE 16
#define F_VERSION_1 (1ull << 32)
#define F_FLUSH (1ull << 9)

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

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static struct {
	struct desc desc[QUEUE];
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

static uint64_t common, device, doorbell;
static uint32_t queue_size, submitted_slots;
static uint16_t submitted;

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
static bool find_groups(uint32_t slot, uint64_t *notify, uint32_t *multiplier)
{
	uint32_t cap = pci_read8(slot, 0x34);

	common = device = *notify = 0;
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
			common = at;
		} else if (type == 2) {
			*notify = at;
			*multiplier = pci_read(slot, cap + 16);
		} else if (type == 4) {
			device = at;
		}
	}
	return common && device && *notify;
}

static void write64(uint64_t a, uint64_t v)
{
	mmio_w32(a, v);
	mmio_w32(a + 4, v >> 32);
}

static bool negotiate(bool *can_flush)
{
	uint64_t features;

	mmio_w8(common + C_STATUS, 0);
	while (mmio_r8(common + C_STATUS))
		cpu_relax();
	mmio_w8(common + C_STATUS, 1 | 2); /* ACKNOWLEDGE, DRIVER */
	mmio_w32(common + C_DEVICE_SELECT, 0);
	features = mmio_r32(common + C_DEVICE_FEATURES);
	mmio_w32(common + C_DEVICE_SELECT, 1);
	features |= (uint64_t)mmio_r32(common + C_DEVICE_FEATURES) << 32;
	if (!(features & F_VERSION_1))
		return false;
	*can_flush = features & F_FLUSH;
	features &= F_VERSION_1 | F_FLUSH;
	mmio_w32(common + C_DRIVER_SELECT, 0);
	mmio_w32(common + C_DRIVER_FEATURES, features);
	mmio_w32(common + C_DRIVER_SELECT, 1);
	mmio_w32(common + C_DRIVER_FEATURES, features >> 32);
	mmio_w8(common + C_STATUS, 1 | 2 | 8); /* FEATURES_OK */
	return mmio_r8(common + C_STATUS) & 8;
}

static bool queue_setup(uint64_t notify, uint32_t multiplier)
{
	mmio_w16(common + C_QUEUE_SELECT, 0);
	queue_size = mmio_r16(common + C_QUEUE_SIZE);
	if (queue_size > QUEUE)
		queue_size = QUEUE;
	if (queue_size < 3 * BLK_SLOTS)
		return false;
	mmio_w16(common + C_QUEUE_SIZE, queue_size);
	mmio_w16(common + C_QUEUE_VECTOR, 0xffff);
	write64(common + C_QUEUE_DESC, (uintptr_t)q.desc);
	write64(common + C_QUEUE_DRIVER, (uintptr_t)&q.avail);
	write64(common + C_QUEUE_DEVICE, (uintptr_t)&q.used);
	q.avail.flags = 1; /* NO_INTERRUPT */
	doorbell = notify + (uint64_t)mmio_r16(common + C_QUEUE_NOTIFY_OFF) * multiplier;
	mmio_w16(common + C_QUEUE_ENABLE, 1);
	mmio_w8(common + C_STATUS, 1 | 2 | 8 | 4); /* DRIVER_OK */
	return true;
}

bool blk_open(uint64_t *sectors, bool *can_flush)
{
	for (uint32_t slot = 0; slot < 32; slot++) {
		uint32_t id = pci_read(slot, 0), multiplier = 0;
		uint64_t notify;

		if (id != 0x10421af4 && id != 0x10011af4)
			continue;
		/* Memory and bus master on, INTx off. */
		pci_write(slot, 4, (pci_read(slot, 4) & 0xffff) | 0x406);
		if (!find_groups(slot, &notify, &multiplier) || !negotiate(can_flush) ||
		    !queue_setup(notify, multiplier))
			return false;
		*sectors = mmio_r32(device) | (uint64_t)mmio_r32(device + 4) << 32;
		return true;
	}
	return false;
}

void blk_submit(unsigned int slot, enum blk_op op, uint64_t sector, void *buf, uint32_t len)
{
	struct desc *d = &q.desc[3 * slot];
	unsigned int last = 1;

	q.header[slot].type = op;
	q.header[slot].sector = op == BLK_FLUSH ? 0 : sector;
	q.status[slot] = 0xff;
	d[0] = (struct desc){ (uintptr_t)&q.header[slot], 16, 1, 3 * slot + 1 };
	if (len) {
		d[1] = (struct desc){ (uintptr_t)buf, len, op == BLK_READ ? 3 : 1, 3 * slot + 2 };
		last = 2;
	}
	d[last] = (struct desc){ (uintptr_t)&q.status[slot], 1, 2, 0 };
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
