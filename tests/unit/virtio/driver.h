/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver - a machine without vCPUs, and the guest's side of virtio in a few
 * calls, for tests and fuzz targets.  All it does goes through the buses, as a
 * guest's accesses would; rings are written straight into guest memory.
 */
#ifndef DROVER_TESTS_VIRTIO_DRIVER_H
#define DROVER_TESTS_VIRTIO_DRIVER_H

#include "hv/display/seat.h"
#include "hv/virtio/virtio.h"

#define BED_MEMORY (16ull << 20)
#define DRV_QUEUES 33

struct bed {
	struct gmem *mem;
	struct bus *pio, *mmio;
	struct irq *irq;
	struct pci_bus *pci;
	struct seat *seat;
	struct device_env env;
	_Atomic bool gate_open;
	uint64_t next_gpa; /* bump allocator in guest memory */
};

struct drv_queue {
	uint16_t size, avail_idx, used_seen, next_desc, kicked;
	uint64_t desc, avail, used;
};

struct drv {
	struct bed *bed;
	struct virtio_dev *dev;
	unsigned int slot;
	uint64_t bar;
	struct drv_queue q[DRV_QUEUES];
};

struct drv_buf {
	uint64_t gpa;
	uint32_t len;
	bool in; /* the device writes it */
};

int bed_init(struct bed *b);
void bed_fini(struct bed *b);
/** bed_alloc() - @len bytes of guest memory, zeroed, 64-byte aligned */
uint64_t bed_alloc(struct bed *b, size_t len);
/** bed_is_dirty() - whether the VMM marked the page of @gpa since the last bed_dirty_clear() */
bool bed_is_dirty(struct bed *b, uint64_t gpa);
void bed_dirty_clear(struct bed *b);

uint32_t drv_config_read(struct bed *b, unsigned int slot, unsigned int offset, unsigned int len);
void drv_config_write(struct bed *b, unsigned int slot, unsigned int offset, unsigned int len,
		      uint32_t value);

/** drv_probe() - find @dev on the bus by its name's slot, enable memory decoding */
void drv_probe(struct drv *d, struct bed *b, struct virtio_dev *dev, unsigned int slot);
uint64_t drv_read(struct drv *d, unsigned int offset, unsigned int len);
void drv_write(struct drv *d, unsigned int offset, unsigned int len, uint64_t value);
/** drv_features() - reset, negotiate @want; the features offered */
uint64_t drv_features(struct drv *d, uint64_t want);
/** drv_queue() - place and enable queue @q */
void drv_queue(struct drv *d, unsigned int q, uint16_t size);
void drv_ok(struct drv *d);
/** drv_vectors() - enable MSI-X: vector 0 config, 1 + q for queue q */
void drv_vectors(struct drv *d, unsigned int queues);

/** drv_add() - put a chain into the ring; its head */
uint16_t drv_add(struct drv *d, unsigned int q, const struct drv_buf *bufs, unsigned int n);
/** drv_add_indirect() - the same through an indirect table */
uint16_t drv_add_indirect(struct drv *d, unsigned int q, const struct drv_buf *bufs,
			  unsigned int n);
void drv_kick(struct drv *d, unsigned int q);
/** drv_asks() - with EVENT_IDX: does the device ask for a kick at the very next buffer? */
bool drv_asks(struct drv *d, unsigned int q);
/**
 * drv_kick_if_asked() - as a driver with EVENT_IDX does: only if the device's avail_event lies among
 * what was added since the last call (VIRTIO 1.2 2.7.10.1); whether it was so
 */
bool drv_kick_if_asked(struct drv *d, unsigned int q);
/** drv_wait() - the next used element, within two seconds; false on time-out */
bool drv_wait(struct drv *d, unsigned int q, uint16_t *head, uint32_t *len);
/** drv_poll() - the same without waiting */
bool drv_poll(struct drv *d, unsigned int q, uint16_t *head, uint32_t *len);
/** drv_interrupts() - how often @vector was raised since last asked */
uint64_t drv_interrupts(struct drv *d, unsigned int vector);

/**
 * drv_move_states() - save what @from is, which is quiet, and load it into @to: a migration without the guest's memory
 * Return: 0; what refused to be loaded, in @e.  What cannot be saved aborts.
 */
int drv_move_states(struct virtio_dev *from, struct virtio_dev *to, struct err *e);

#endif
