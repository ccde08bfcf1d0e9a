/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_pci - registers of a virtio device on PCI (VIRTIO 1.2 4.1), modern only.
 *
 * One BAR of 32 KiB:
 *
 *     0x0000  common configuration      4.1.4.3
 *     0x1000  interrupt status          4.1.4.5 (MSI-X is used, so nobody reads it)
 *     0x2000  device configuration      4.1.4.6
 *     0x3000  notification, 4 bytes per queue   4.1.4.4
 *     0x4000  MSI-X table, 16 bytes per vector
 *     0x6000  MSI-X pending bits
 *
 * A kick is a write to the notification area.  KVM turns it into a write to the
 * queue's eventfd without leaving the kernel (ioeventfd): ten times cheaper than
 * an exit.  The ioeventfds follow the BAR; what comes in here all the same (by
 * the PCI_CFG window, or where KVM refused) is forwarded to the same eventfd.
 *
 * Vector 0 is for configuration changes, 1 + q for queue q, but the driver may
 * choose otherwise.
 */
#include "hv/virtio/virtio_int.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#define VIRTIO_PCI_VENDOR 0x1af4
#define VIRTIO_PCI_DEVICE_BASE 0x1040 /* modern: 0x1040 + device id */
#define VIRTIO_PCI_BAR 0
#define VIRTIO_PCI_BAR_SIZE 0x8000u
#define AREA_COMMON 0x0000u
#define AREA_ISR 0x1000u
#define AREA_DEVICE 0x2000u
#define AREA_NOTIFY 0x3000u
#define AREA_MSIX 0x4000u
#define AREA_PBA 0x6000u
#define AREA_PBA_END 0x7000u
#define NOTIFY_STRIDE 4u
#define COMMON_SIZE 0x38u

#define PCI_CAP_VENDOR 0x09
enum {
	CFG_COMMON = 1,
	CFG_NOTIFY,
	CFG_ISR,
	CFG_DEVICE,
	CFG_PCI
};

/* Offsets in the common configuration (VIRTIO 1.2 4.1.4.3). */
enum {
	C_DEVICE_FEATURE_SELECT = 0x00,
	C_DEVICE_FEATURE = 0x04,
	C_DRIVER_FEATURE_SELECT = 0x08,
	C_DRIVER_FEATURE = 0x0c,
	C_CONFIG_VECTOR = 0x10,
	C_NUM_QUEUES = 0x12,
	C_STATUS = 0x14,
	C_GENERATION = 0x15,
	C_QUEUE_SELECT = 0x16,
	C_QUEUE_SIZE = 0x18,
	C_QUEUE_VECTOR = 0x1a,
	C_QUEUE_ENABLE = 0x1c,
	C_QUEUE_NOTIFY_OFF = 0x1e,
	C_QUEUE_DESC = 0x20,
	C_QUEUE_DRIVER = 0x28,
	C_QUEUE_DEVICE = 0x30,
};

static struct virtio_dev *of_pci(struct pci_dev *d)
{
	return (struct virtio_dev *)((char *)d - offsetof(struct virtio_dev, pci));
}

static struct virtq *selected(struct virtio_dev *v)
{
	return v->queue_select < v->n_queues ? &v->queues[v->queue_select] : NULL;
}

/* --- common configuration: read under v->lock, written with all locks --- */

static uint32_t common_read_queue(struct virtio_dev *v, unsigned int at)
{
	const struct virtq *q = selected(v);

	if (!q)
		return 0; /* queue_size 0: there is no such queue */
	switch (at) {
	case C_QUEUE_SIZE:
		return q->size;
	case C_QUEUE_VECTOR:
		return q->vector;
	case C_QUEUE_ENABLE:
		return q->enabled;
	case C_QUEUE_NOTIFY_OFF:
		return v->queue_select;
	case C_QUEUE_DESC:
		return (uint32_t)q->desc;
	case C_QUEUE_DESC + 4:
		return (uint32_t)(q->desc >> 32);
	case C_QUEUE_DRIVER:
		return (uint32_t)q->avail;
	case C_QUEUE_DRIVER + 4:
		return (uint32_t)(q->avail >> 32);
	case C_QUEUE_DEVICE:
		return (uint32_t)q->used;
	case C_QUEUE_DEVICE + 4:
		return (uint32_t)(q->used >> 32);
	}
	return 0;
}

static uint32_t common_read(struct virtio_dev *v, unsigned int at)
{
	switch (at) {
	case C_DEVICE_FEATURE_SELECT:
		return v->feature_select;
	case C_DEVICE_FEATURE:
		return v->feature_select < 2 ?
			       (uint32_t)(v->offered >> (32 * v->feature_select)) :
			       0;
	case C_DRIVER_FEATURE_SELECT:
		return v->driver_feature_select;
	case C_DRIVER_FEATURE:
		return v->driver_feature_select < 2 ?
			       (uint32_t)(v->features >> (32 * v->driver_feature_select)) :
			       0;
	case C_CONFIG_VECTOR:
		return v->config_vector;
	case C_NUM_QUEUES:
		return v->n_queues;
	case C_STATUS:
		return v->status;
	case C_GENERATION:
		return v->generation;
	case C_QUEUE_SELECT:
		return v->queue_select;
	}
	return common_read_queue(v, at);
}

static uint16_t vector_checked(const struct virtio_dev *v, uint32_t vector)
{
	/* VIRTIO 1.2 4.1.5.1.2: reading back NO_VECTOR tells the driver that it failed. */
	return vector < v->pci.msix.count ? (uint16_t)vector : VIRTQ_NO_VECTOR;
}

static void put_half(uint64_t *v, bool high, uint32_t half)
{
	*v = high ? (*v & 0xffffffffull) | (uint64_t)half << 32 : (*v & ~0xffffffffull) | half;
}

static void common_write_queue(struct virtio_dev *v, unsigned int at, uint32_t value)
{
	struct virtq *q = selected(v);

	if (!q)
		return;
	if (at == C_QUEUE_VECTOR) {
		q->vector = vector_checked(v, value);
		return;
	}
	if (q->enabled) /* VIRTIO 1.2 4.1.4.3.2: the driver must not touch the rest any more */
		return;
	switch (at) {
	case C_QUEUE_SIZE:
		q->size = (uint16_t)value; /* checked when the queue is enabled */
		break;
	case C_QUEUE_ENABLE:
		if (value == 1)
			virtio_dev_enable_queue(v, v->queue_select);
		break;
	case C_QUEUE_DESC:
	case C_QUEUE_DESC + 4:
		put_half(&q->desc, at != C_QUEUE_DESC, value);
		break;
	case C_QUEUE_DRIVER:
	case C_QUEUE_DRIVER + 4:
		put_half(&q->avail, at != C_QUEUE_DRIVER, value);
		break;
	case C_QUEUE_DEVICE:
	case C_QUEUE_DEVICE + 4:
		put_half(&q->used, at != C_QUEUE_DEVICE, value);
		break;
	}
}

static void common_write(struct virtio_dev *v, unsigned int at, uint32_t value)
{
	switch (at) {
	case C_DEVICE_FEATURE_SELECT:
		v->feature_select = value;
		break;
	case C_DRIVER_FEATURE_SELECT:
		v->driver_feature_select = value;
		break;
	case C_DRIVER_FEATURE:
		if (v->driver_feature_select < 2 && !(v->status & VIRTIO_S_FEATURES_OK))
			put_half(&v->features, v->driver_feature_select, value);
		break;
	case C_CONFIG_VECTOR:
		v->config_vector = vector_checked(v, value);
		break;
	case C_STATUS:
		virtio_dev_set_status(v, (uint8_t)value);
		break;
	case C_QUEUE_SELECT:
		v->queue_select = (uint16_t)value;
		break;
	default:
		common_write_queue(v, at, value);
	}
}

/* Fields are 1, 2 or 4 bytes wide and accessed whole; 64-bit ones also as two halves (4.1.3.1). */
static uint64_t common_access_read(struct virtio_dev *v, unsigned int at, unsigned int len)
{
	uint64_t value = common_read(v, at);

	if (len == 8)
		return value | (uint64_t)common_read(v, at + 4) << 32;
	return value & ((1ull << (8 * len)) - 1);
}

static void common_access_write(struct virtio_dev *v, unsigned int at, unsigned int len,
				uint64_t value)
{
	common_write(v, at, (uint32_t)value);
	if (len == 8)
		common_write(v, at + 4, (uint32_t)(value >> 32));
}

/* --- the BAR --- */

static uint64_t device_read(const struct virtio_dev *v, unsigned int at, unsigned int len)
{
	uint64_t value = 0;

	if (at >= v->config_len || len > v->config_len - at)
		return 0;
	memcpy(&value, v->config + at, len);
	return value;
}

static uint64_t bar_read(void *dev, uint64_t offset, unsigned int len)
{
	struct virtio_dev *v = dev;
	unsigned int at = (unsigned int)offset;
	uint64_t value = 0;

	if (at >= AREA_MSIX && at < AREA_PBA)
		return msix_table_read(&v->pci, at - AREA_MSIX, len);
	if (at >= AREA_PBA)
		return at < AREA_PBA_END ? msix_pba_read(&v->pci, at - AREA_PBA, len) : 0;
	pthread_mutex_lock(&v->lock);
	if (at < COMMON_SIZE) {
		value = common_access_read(v, at, len);
	} else if (at == AREA_ISR) {
		value = atomic_exchange(&v->isr, 0);
	} else if (at >= AREA_DEVICE && at < AREA_NOTIFY) {
		value = device_read(v, at - AREA_DEVICE, len);
	}
	pthread_mutex_unlock(&v->lock);
	return value;
}

static void bar_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct virtio_dev *v = dev;
	unsigned int at = (unsigned int)offset;

	if (at >= AREA_MSIX) {
		if (at < AREA_PBA)
			msix_table_write(&v->pci, at - AREA_MSIX, len, value);
		return;
	}
	if (at >= AREA_NOTIFY) {
		if ((at - AREA_NOTIFY) / NOTIFY_STRIDE < v->n_queues)
			virtio_dev_again(v, (at - AREA_NOTIFY) / NOTIFY_STRIDE);
		return;
	}
	virtio_dev_stop(v);
	if (at < COMMON_SIZE)
		common_access_write(v, at, len, value);
	else if (at >= AREA_DEVICE && v->ops->config_write)
		v->ops->config_write(v, at - AREA_DEVICE, len, value);
	virtio_dev_go(v);
}

static const struct bus_ops bar_ops = { .read = bar_read, .write = bar_write };

/* The BAR moved: kicks are heard at the new place.  Without KVM's help they come in by bar_write(). */
static void bar_moved(struct pci_dev *d, unsigned int bar, uint64_t base)
{
	struct virtio_dev *v = of_pci(d);
	unsigned int q;

	for (q = 0; q < v->n_queues; q++) {
		uint64_t at = AREA_NOTIFY + NOTIFY_STRIDE * q;

		if (v->notify_base)
			irq_ioeventfd(v->env->irq, v->notify_base + at, 0, v->kick_fd[q], false);
		if (base)
			irq_ioeventfd(v->env->irq, base + at, 0, v->kick_fd[q], true);
	}
	v->notify_base = base;
}

/* --- the PCI_CFG capability: the BAR seen through configuration space (4.1.4.9) --- */

/* struct virtio_pci_cap: id, next, cap_len, cfg_type, bar, id, padding[2], offset, length, data */
#define WINDOW_BAR 4u
#define WINDOW_OFFSET 8u
#define WINDOW_LENGTH 12u
#define WINDOW_DATA 16u

static bool window_target(struct virtio_dev *v, unsigned int offset, unsigned int len,
			  uint32_t *at, uint32_t *size)
{
	const uint8_t *cap = v->pci.config + v->window;

	if (!v->window || offset + len <= v->window + WINDOW_DATA ||
	    offset >= v->window + WINDOW_DATA + 4)
		return false;
	pthread_mutex_lock(&v->pci.lock);
	memcpy(at, cap + WINDOW_OFFSET, 4);
	memcpy(size, cap + WINDOW_LENGTH, 4);
	len = cap[WINDOW_BAR];
	pthread_mutex_unlock(&v->pci.lock);
	return len == VIRTIO_PCI_BAR && (*size == 1 || *size == 2 || *size == 4) &&
	       *at % *size == 0 && *at < VIRTIO_PCI_BAR_SIZE;
}

static void window_read(struct pci_dev *d, unsigned int offset, unsigned int len)
{
	struct virtio_dev *v = of_pci(d);
	uint32_t at, size, value;

	if (!window_target(v, offset, len, &at, &size))
		return;
	value = (uint32_t)bar_read(v, at, size);
	pthread_mutex_lock(&d->lock);
	memcpy(d->config + v->window + WINDOW_DATA, &value, 4);
	pthread_mutex_unlock(&d->lock);
}

static void window_write(struct pci_dev *d, unsigned int offset, unsigned int len)
{
	struct virtio_dev *v = of_pci(d);
	uint32_t at, size, value;

	if (!window_target(v, offset, len, &at, &size))
		return;
	pthread_mutex_lock(&d->lock);
	memcpy(&value, d->config + v->window + WINDOW_DATA, 4);
	pthread_mutex_unlock(&d->lock);
	bar_write(v, at, size, size == 4 ? value : value & ((1u << (8 * size)) - 1));
}

static const struct pci_dev_ops pci_ops = {
	.bar_moved = bar_moved,
	.config_read = window_read,
	.config_write = window_write,
};

/* --- creation --- */

/* One vendor capability (4.1.4): where in the BAR an area lies.  @extra words follow. */
static int add_cap(struct virtio_dev *v, uint8_t type, uint32_t offset, uint32_t len,
		   unsigned int extra, uint32_t word)
{
	static const uint8_t window_writable[18] = {
		[WINDOW_BAR - 2] = 0xff,
		[WINDOW_OFFSET - 2] = 0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
	};
	uint8_t body[18] = { 0 };
	unsigned int n = 14 + 4 * extra;

	body[0] = (uint8_t)(2 + n);
	body[1] = type;
	body[2] = VIRTIO_PCI_BAR;
	memcpy(body + WINDOW_OFFSET - 2, &offset, 4);
	memcpy(body + WINDOW_LENGTH - 2, &len, 4);
	memcpy(body + WINDOW_DATA - 2, &word, 4);
	return pci_dev_cap(&v->pci, PCI_CAP_VENDOR, body, type == CFG_PCI ? window_writable : NULL,
			   n);
}

static int add_caps(struct virtio_dev *v, struct err *e)
{
	int ret;

	if ((ret = add_cap(v, CFG_COMMON, AREA_COMMON, COMMON_SIZE, 0, 0)) < 0 ||
	    (ret = add_cap(v, CFG_ISR, AREA_ISR, 1, 0, 0)) < 0 ||
	    (ret = add_cap(v, CFG_DEVICE, AREA_DEVICE, VIRTIO_CONFIG_MAX, 0, 0)) < 0 ||
	    (ret = add_cap(v, CFG_NOTIFY, AREA_NOTIFY, NOTIFY_STRIDE * v->n_queues, 1,
			   NOTIFY_STRIDE)) < 0 ||
	    (ret = add_cap(v, CFG_PCI, 0, 0, 1, 0)) < 0)
		return err_set(e, ret, "%s: no room for its capabilities", v->name);
	v->window = (uint32_t)ret;
	return 0;
}

int virtio_pci_init(struct virtio_dev *v, struct err *e)
{
	struct pci_ident id = {
		.vendor = VIRTIO_PCI_VENDOR,
		.device = (uint16_t)(VIRTIO_PCI_DEVICE_BASE + v->ops->id),
		.subsystem_vendor = VIRTIO_PCI_VENDOR,
		.subsystem = (uint16_t)(VIRTIO_PCI_DEVICE_BASE + v->ops->id),
		.class_code = v->ops->pci_class,
		.revision = 1,
	};
	int ret;

	ret = pci_dev_init(&v->pci, v->env->pci, &pci_ops, &id, v->name, e);
	if (ret)
		return ret;
	ret = pci_dev_bar(&v->pci, VIRTIO_PCI_BAR, VIRTIO_PCI_BAR_SIZE, &bar_ops, v, e);
	if (!ret)
		ret = msix_init(&v->pci, v->n_queues + 1, VIRTIO_PCI_BAR, AREA_MSIX, AREA_PBA, e);
	if (!ret)
		ret = add_caps(v, e);
	if (ret)
		pci_dev_fini(&v->pci);
	return ret;
}
