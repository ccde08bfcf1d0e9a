/* SPDX-License-Identifier: Apache-2.0 */
/* driver - see driver.h: the guest's side of virtio, for tests. */
#include "driver.h"

#include "base/clock.h"
#include "hv/virtio/virtio_int.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ECAM(slot, offset) (PCI_ECAM_BASE + ((uint64_t)(slot) << 15) + (offset))
#define WAIT_NS (2 * NS_PER_SEC)

static bool bed_may_submit(void *arg)
{
	struct bed *b = arg;

	return atomic_load(&b->gate_open);
}

static void bed_memory_place(void *arg, struct gmem_region *r, uint64_t gpa)
{
	r->at = gpa; /* there is no vCPU to see it */
}

int bed_init(struct bed *b)
{
	struct err e;

	memset(b, 0, sizeof(*b));
	if (gmem_create(&b->mem, BED_MEMORY, BACKING_MEMFD, &e) || bus_create(&b->pio) ||
	    bus_create(&b->mmio) || irq_create(&b->irq, -1, &e) || seat_create(&b->seat) ||
	    pci_bus_create(&b->pci, b->pio, b->mmio, b->irq, &e) || pci_bus_plug(b->pci, &e))
		return -1;
	b->env = (struct device_env){
		.mem = b->mem,
		.irq = b->irq,
		.seat = b->seat,
		.pci = b->pci,
		.may_submit = bed_may_submit,
		.memory_place = bed_memory_place,
		.arg = b,
	};
	atomic_store(&b->gate_open, true);
	b->next_gpa = 0x10000;
	return 0;
}

void bed_fini(struct bed *b)
{
	pci_bus_destroy(b->pci);
	irq_destroy(b->irq);
	seat_destroy(b->seat);
	bus_destroy(b->mmio);
	bus_destroy(b->pio);
	gmem_destroy(b->mem);
}

uint64_t bed_alloc(struct bed *b, size_t len)
{
	uint64_t gpa = b->next_gpa;
	struct iovec iov;

	b->next_gpa += (len + 63) & ~63ull;
	if (gmem_iov(b->mem, gpa, len, GMEM_WRITE, &iov))
		abort();
	memset(iov.iov_base, 0, len);
	return gpa;
}

bool bed_is_dirty(struct bed *b, uint64_t gpa)
{
	uint64_t page = gpa / GMEM_PAGE;

	return atomic_load(&b->mem->regions[0].dirty[page / 64]) >> (page % 64) & 1;
}

void bed_dirty_clear(struct bed *b)
{
	uint64_t bitmap[BED_MEMORY / GMEM_PAGE / 64];

	memset(bitmap, 0, sizeof(bitmap));
	gmem_dirty_take(&b->mem->regions[0], bitmap);
}

uint32_t drv_config_read(struct bed *b, unsigned int slot, unsigned int offset, unsigned int len)
{
	return (uint32_t)bus_read(b->mmio, ECAM(slot, offset), len);
}

void drv_config_write(struct bed *b, unsigned int slot, unsigned int offset, unsigned int len,
		      uint32_t value)
{
	bus_write(b->mmio, ECAM(slot, offset), len, value);
}

void drv_probe(struct drv *d, struct bed *b, struct virtio_dev *dev, unsigned int slot)
{
	memset(d, 0, sizeof(*d));
	d->bed = b;
	d->dev = dev;
	d->slot = slot;
	drv_config_write(b, slot, 0x04, 2, 0x0006);
	d->bar = drv_config_read(b, slot, 0x10, 4) & ~0xfu;
}

uint64_t drv_read(struct drv *d, unsigned int offset, unsigned int len)
{
	return bus_read(d->bed->mmio, d->bar + offset, len);
}

void drv_write(struct drv *d, unsigned int offset, unsigned int len, uint64_t value)
{
	bus_write(d->bed->mmio, d->bar + offset, len, value);
}

uint64_t drv_features(struct drv *d, uint64_t want)
{
	uint64_t offered, end = clock_ns() + WAIT_NS;

	drv_write(d, 0x14, 1, 0);
	while (drv_read(d, 0x14, 1) && clock_ns() < end)
		usleep(100);
	drv_write(d, 0x14, 1, 1);
	drv_write(d, 0x14, 1, 3);
	drv_write(d, 0x00, 4, 0);
	offered = drv_read(d, 0x04, 4);
	drv_write(d, 0x00, 4, 1);
	offered |= drv_read(d, 0x04, 4) << 32;
	want |= VIRTIO_F_VERSION_1;
	drv_write(d, 0x08, 4, 0);
	drv_write(d, 0x0c, 4, (uint32_t)want);
	drv_write(d, 0x08, 4, 1);
	drv_write(d, 0x0c, 4, want >> 32);
	drv_write(d, 0x14, 1, 11);
	return offered;
}

void drv_queue(struct drv *d, unsigned int q, uint16_t size)
{
	struct drv_queue *dq = &d->q[q];

	memset(dq, 0, sizeof(*dq));
	dq->size = size;
	dq->desc = bed_alloc(d->bed, 16u * size);
	/* On pages of their own, so that tests can tell who dirtied what. */
	d->bed->next_gpa = (d->bed->next_gpa + 4095) & ~4095ull;
	dq->avail = bed_alloc(d->bed, 6 + 2u * size);
	d->bed->next_gpa = (d->bed->next_gpa + 4095) & ~4095ull;
	dq->used = bed_alloc(d->bed, 6 + 8u * size);
	d->bed->next_gpa = (d->bed->next_gpa + 4095) & ~4095ull;
	drv_write(d, 0x16, 2, q);
	drv_write(d, 0x18, 2, size);
	drv_write(d, 0x1a, 2, 1 + q);
	drv_write(d, 0x20, 4, (uint32_t)dq->desc);
	drv_write(d, 0x24, 4, dq->desc >> 32);
	drv_write(d, 0x28, 8, dq->avail);
	drv_write(d, 0x30, 4, (uint32_t)dq->used);
	drv_write(d, 0x34, 4, dq->used >> 32);
	drv_write(d, 0x1c, 2, 1);
}

void drv_ok(struct drv *d)
{
	drv_write(d, 0x14, 1, 15);
}

void drv_vectors(struct drv *d, unsigned int queues)
{
	unsigned int cap = drv_config_read(d->bed, d->slot, 0x34, 1), n;

	drv_write(d, 0x10, 2, 0);
	for (n = 0; n <= queues; n++) {
		drv_write(d, 0x4000 + 16 * n, 4, 0xfee00000);
		drv_write(d, 0x4004 + 16 * n, 4, 0);
		drv_write(d, 0x4008 + 16 * n, 4, 0x30 + n);
		drv_write(d, 0x400c + 16 * n, 4, 0);
	}
	while (cap && drv_config_read(d->bed, d->slot, cap, 1) != 0x11)
		cap = drv_config_read(d->bed, d->slot, cap + 1, 1);
	drv_config_write(d->bed, d->slot, cap + 2, 2, 0x8000);
}

static void put(struct drv *d, uint64_t gpa, const void *buf, size_t len)
{
	struct iovec iov;

	/* As a vCPU would: not through the accessor that marks pages. */
	if (gmem_iov(d->bed->mem, gpa, len, GMEM_WRITE, &iov))
		abort();
	memcpy(iov.iov_base, buf, len);
}

static void put_desc(struct drv *d, uint64_t table, unsigned int i, uint64_t addr, uint32_t len,
		     uint16_t flags, uint16_t next)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} x = { addr, len, flags, next };

	put(d, table + 16ull * i, &x, sizeof(x));
}

static void publish(struct drv *d, unsigned int q, uint16_t head)
{
	struct drv_queue *dq = &d->q[q];
	struct iovec iov;

	put(d, dq->avail + 4 + 2ull * (dq->avail_idx & (dq->size - 1)), &head, 2);
	dq->avail_idx++;
	if (gmem_iov(d->bed->mem, dq->avail + 2, 2, GMEM_WRITE, &iov))
		abort();
	__atomic_store_n((uint16_t *)iov.iov_base, dq->avail_idx, __ATOMIC_SEQ_CST);
}

uint16_t drv_add(struct drv *d, unsigned int q, const struct drv_buf *bufs, unsigned int n)
{
	struct drv_queue *dq = &d->q[q];
	uint16_t head = dq->next_desc & (dq->size - 1);
	unsigned int i;

	for (i = 0; i < n; i++) {
		uint16_t at = (uint16_t)(head + i) & (dq->size - 1);
		uint16_t flags = (bufs[i].in ? 2 : 0) | (i + 1 < n ? 1 : 0);

		put_desc(d, dq->desc, at, bufs[i].gpa, bufs[i].len, flags,
			 (uint16_t)(at + 1) & (dq->size - 1));
	}
	dq->next_desc = (uint16_t)(dq->next_desc + n);
	publish(d, q, head);
	return head;
}

uint16_t drv_add_indirect(struct drv *d, unsigned int q, const struct drv_buf *bufs,
			  unsigned int n)
{
	struct drv_queue *dq = &d->q[q];
	uint16_t head = dq->next_desc++ & (dq->size - 1);
	uint64_t table = bed_alloc(d->bed, 16u * n);
	unsigned int i;

	for (i = 0; i < n; i++)
		put_desc(d, table, i, bufs[i].gpa, bufs[i].len,
			 (bufs[i].in ? 2 : 0) | (i + 1 < n ? 1 : 0), (uint16_t)(i + 1));
	put_desc(d, dq->desc, head, table, 16u * n, 4, 0);
	publish(d, q, head);
	return head;
}

void drv_kick(struct drv *d, unsigned int q)
{
	drv_write(d, 0x3000 + 4 * q, 2, q);
}

/* Read as a driver reads it: the device may write it at the same time. */
static uint16_t avail_event(struct drv *d, unsigned int q)
{
	struct drv_queue *dq = &d->q[q];
	struct iovec iov;

	if (gmem_iov(d->bed->mem, dq->used + 4 + 8ull * dq->size, 2, GMEM_READ, &iov))
		abort();
	return __atomic_load_n((uint16_t *)iov.iov_base, __ATOMIC_ACQUIRE);
}

bool drv_asks(struct drv *d, unsigned int q)
{
	return avail_event(d, q) == d->q[q].avail_idx;
}

bool drv_kick_if_asked(struct drv *d, unsigned int q)
{
	struct drv_queue *dq = &d->q[q];
	uint16_t added = (uint16_t)(dq->avail_idx - dq->kicked), event = avail_event(d, q);

	dq->kicked = dq->avail_idx;
	if ((uint16_t)(dq->avail_idx - event - 1) >= added)
		return false;
	drv_kick(d, q);
	return true;
}

bool drv_poll(struct drv *d, unsigned int q, uint16_t *head, uint32_t *len)
{
	struct drv_queue *dq = &d->q[q];
	uint32_t elem[2];
	struct iovec iov;

	if (gmem_iov(d->bed->mem, dq->used + 2, 2, GMEM_READ, &iov))
		abort();
	if (__atomic_load_n((uint16_t *)iov.iov_base, __ATOMIC_ACQUIRE) == dq->used_seen)
		return false;
	gmem_read(d->bed->mem, dq->used + 4 + 8ull * (dq->used_seen & (dq->size - 1)), elem, 8);
	dq->used_seen++;
	*head = (uint16_t)elem[0];
	*len = elem[1];
	return true;
}

bool drv_wait(struct drv *d, unsigned int q, uint16_t *head, uint32_t *len)
{
	uint64_t end = clock_ns() + WAIT_NS;

	while (!drv_poll(d, q, head, len)) {
		if (clock_ns() > end)
			return false;
		usleep(50);
	}
	return true;
}

uint64_t drv_interrupts(struct drv *d, unsigned int vector)
{
	eventfd_t n = 0;

	if (eventfd_read(d->dev->pci.msix.fd[vector], &n))
		return 0;
	return n;
}

int drv_move_states(struct virtio_dev *from, struct virtio_dev *to, struct err *e)
{
	struct state_entry here[DEVICE_STATES_MAX], there[DEVICE_STATES_MAX];
	static uint8_t buf[65536];
	size_t n = virtio_dev_state(from, here);
	int ret = 0;

	if (virtio_dev_state(to, there) != n)
		abort();
	for (size_t i = 0; i < n && !ret; i++) {
		struct writer w = writer_make(buf, sizeof(buf));
		struct reader r;

		if (state_save_one(&here[i], &w, e))
			abort();
		r = reader_make(buf, writer_len(&w));
		ret = state_load_one(&there[i], there[i].desc->version, &r, e);
	}
	return ret;
}
