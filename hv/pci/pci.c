/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci - bus 0: host bridge, both ways to configuration space (pci.h).
 *
 * A device's configuration space is 256 bytes and as many bytes of "which bits
 * may the guest change".  A BAR's writable bits are those above its size, which
 * makes sizing (write ones, read the size back) come out by itself.  Only what
 * such a write can mean needs code: the command register and the BARs decide
 * where a BAR answers on the bus (pci_bar.c), MSI-X control whether vectors are open.
 *
 * Lock order: pci_bus.bars_lock, pci_dev.lock, then the locks of bus, irq and the device behind.
 */
#include "hv/pci/pci_int.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* PCI 3.0 6.1, 6.2 */
#define PCI_VENDOR 0x00
#define PCI_STATUS 0x06
#define PCI_REVISION 0x08
#define PCI_CLASS 0x09
#define PCI_CACHE_LINE 0x0c
#define PCI_LATENCY 0x0d
#define PCI_CAPABILITIES 0x34
#define PCI_INTERRUPT_LINE 0x3c
#define PCI_HEADER_SIZE 0x40
#define PCI_COMMAND_WRITABLE 0x0407 /* I/O, memory, bus master, interrupt disable */
#define PCI_STATUS_CAPABILITIES 0x10

#define PCI_ADDRESS_ENABLE 0x80000000u
#define PCI_ECAM_BUS_SIZE (1u << 20) /* 32 devices x 8 functions x 4 KiB */
#define PCI_PORT_COUNT 8
#define PCI_RESET_OFFSET 1 /* 0xcf9 */
#define PCI_RESET_CPU 0x04

/* What Cloud Hypervisor and Firecracker show: no chipset quirk in Linux matches it. */
static const struct pci_ident host_bridge_ident = {
	.vendor = 0x8086,
	.device = 0x0d57,
	.class_code = 0x060000,
};

/* --- configuration space --- */

/* One guest access; @len is 1, 2 or 4. */
static uint32_t pci_config_read(struct pci_dev *d, unsigned int offset, unsigned int len)
{
	uint32_t value = 0;
	unsigned int n;

	if (offset >= PCI_CONFIG_SIZE || len > PCI_CONFIG_SIZE - offset || len > 4)
		return 0;
	if (offset >= PCI_HEADER_SIZE)
		d->ops->config_read(d, offset, len);
	pthread_mutex_lock(&d->lock);
	for (n = 0; n < len; n++)
		value |= (uint32_t)d->config[offset + n] << (8 * n);
	pthread_mutex_unlock(&d->lock);
	return value;
}

/* Whether [@offset, @offset + @len) and [@start, @start + @size) share a byte. */
static bool touches(unsigned int offset, unsigned int len, unsigned int start, unsigned int size)
{
	return offset < start + size && start < offset + len;
}

static void pci_config_write(struct pci_dev *d, unsigned int offset, unsigned int len, uint32_t value)
{
	bool moves = touches(offset, len, PCI_COMMAND, 2) || touches(offset, len, PCI_BAR0, 4 * PCI_BARS_MAX);
	unsigned int n;

	if (offset >= PCI_CONFIG_SIZE || len > PCI_CONFIG_SIZE - offset || len > 4)
		return;
	if (moves)
		pci_bars_lock(d->bus);
	pthread_mutex_lock(&d->lock);
	for (n = 0; n < len; n++) {
		uint8_t may = d->writable[offset + n];
		uint8_t byte = (uint8_t)(value >> (8 * n));

		d->config[offset + n] = (uint8_t)((d->config[offset + n] & ~may) | (byte & may));
	}
	if (moves)
		pci_bars_update(d);
	if (d->msix.count && touches(offset, len, d->msix.cap + 2, 2))
		msix_control_changed(d);
	pthread_mutex_unlock(&d->lock);
	if (moves)
		pci_bars_unlock(d->bus);
	if (offset >= PCI_HEADER_SIZE)
		d->ops->config_write(d, offset, len);
}

int pci_dev_cap(struct pci_dev *d, uint8_t id, const uint8_t *body, const uint8_t *writable,
		unsigned int len)
{
	unsigned int at = d->cap_end;

	if (at + 2 + len > PCI_CONFIG_SIZE)
		return -ENOSPC;
	d->config[at] = id;
	memcpy(d->config + at + 2, body, len);
	if (writable)
		memcpy(d->writable + at + 2, writable, len);
	if (d->cap_last)
		d->config[d->cap_last + 1] = (uint8_t)at;
	else
		d->config[PCI_CAPABILITIES] = (uint8_t)at;
	d->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
	d->cap_last = (uint8_t)at;
	d->cap_end = (uint8_t)((at + 2 + len + 3) & ~3u);
	return (int)at;
}

/* --- devices --- */

/* The lowest free one from @first to @last; PCI_DEVICES_MAX: all are taken. */
static unsigned int slot_take(struct pci_bus *b, struct pci_dev *d, unsigned int first, unsigned int last)
{
	unsigned int slot = first;

	pthread_mutex_lock(&b->lock);
	while (slot <= last && b->devices[slot])
		slot++;
	if (slot > last)
		slot = PCI_DEVICES_MAX;
	else
		b->devices[slot] = d;
	pthread_mutex_unlock(&b->lock);
	return slot;
}

static void dev_fill(struct pci_dev *d, struct pci_bus *b, unsigned int slot, const struct pci_dev_ops *ops,
		     const struct pci_ident *id, const char *name)
{
	d->bus = b;
	d->ops = ops;
	d->slot = slot;
	snprintf(d->name, sizeof(d->name), "%s", name);
	pthread_mutex_init(&d->lock, NULL);
	put_u16(d->config + PCI_VENDOR, id->vendor);
	put_u16(d->config + PCI_DEVICE, id->device);
	d->config[PCI_REVISION] = id->revision;
	d->config[PCI_CLASS] = (uint8_t)id->class_code;
	d->config[PCI_CLASS + 1] = (uint8_t)(id->class_code >> 8);
	d->config[PCI_CLASS + 2] = (uint8_t)(id->class_code >> 16);
	put_u16(d->config + PCI_SUBSYSTEM_VENDOR, id->subsystem_vendor);
	put_u16(d->config + PCI_SUBSYSTEM, id->subsystem);
	put_u16(d->writable + PCI_COMMAND, PCI_COMMAND_WRITABLE);
	d->writable[PCI_CACHE_LINE] = 0xff;
	d->writable[PCI_LATENCY] = 0xff;
	d->writable[PCI_INTERRUPT_LINE] = 0xff;
	d->cap_end = PCI_HEADER_SIZE;
}

int pci_dev_init(struct pci_dev *d, struct pci_bus *b, const struct pci_dev_ops *ops,
		 const struct pci_ident *id, const char *name, struct err *e)
{
	unsigned int slot;

	memset(d, 0, sizeof(*d));
	slot = slot_take(b, d, 0, PCI_DEVICES_MAX - 1);
	if (slot == PCI_DEVICES_MAX)
		return err_set(e, -ENOSPC, "%s: more than %d PCI devices", name, PCI_DEVICES_MAX);
	dev_fill(d, b, slot, ops, id, name);
	return 0;
}

int pci_dev_init_at(struct pci_dev *d, struct pci_bus *b, unsigned int slot, const struct pci_dev_ops *ops,
		    const struct pci_ident *id, const char *name, struct err *e)
{
	assert(slot && slot < PCI_DEVICES_MAX);
	memset(d, 0, sizeof(*d));
	if (slot_take(b, d, slot, slot) != slot)
		return err_set(e, -EEXIST, "%s: PCI slot %u is taken", name, slot);
	dev_fill(d, b, slot, ops, id, name);
	return 0;
}

unsigned int pci_bus_slot_of(struct pci_bus *b, const char *name)
{
	unsigned int slot;

	pthread_mutex_lock(&b->lock);
	for (slot = 1; slot < PCI_DEVICES_MAX; slot++)
		if (b->devices[slot] && !strcmp(b->devices[slot]->name, name))
			break;
	pthread_mutex_unlock(&b->lock);
	return slot < PCI_DEVICES_MAX ? slot : 0;
}

void pci_dev_plug(struct pci_dev *d)
{
	assert(d->bus->devices[d->slot] == d);
	atomic_store(&d->bus->slots[d->slot], d);
}

/* First its registers, through which its BARs could come back; then its BARs. */
void pci_dev_unplug(struct pci_dev *d)
{
	struct pci_bus *b = d->bus;

	if (atomic_load(&b->slots[d->slot]) != d)
		return;
	pci_bars_lock(b);
	atomic_store(&b->slots[d->slot], NULL);
	pci_bars_unlock(b);
	bus_wait(b->pio);
	bus_wait(b->mmio);
	pci_bars_lock(b);
	pthread_mutex_lock(&d->lock);
	put_u16(d->config + PCI_COMMAND, 0);
	pci_bars_update(d);
	pthread_mutex_unlock(&d->lock);
	pci_bars_unlock(b);
	bus_wait(b->mmio);
}

void pci_dev_fini(struct pci_dev *d)
{
	pci_dev_unplug(d);
	msix_fini(d);
	pthread_mutex_lock(&d->bus->lock);
	assert(d->bus->devices[d->slot] == d);
	d->bus->devices[d->slot] = NULL;
	pthread_mutex_unlock(&d->bus->lock);
	pthread_mutex_destroy(&d->lock);
}

void pci_dev_save(struct pci_dev *d, struct pci_saved *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_lock(&d->lock);
	memcpy(s->config, d->config, sizeof(s->config));
	msix_save(d, s);
	pthread_mutex_unlock(&d->lock);
}

int pci_dev_load(struct pci_dev *d, const struct pci_saved *s, struct err *e)
{
	unsigned int n;
	int ret;

	for (n = 0; n < PCI_CONFIG_SIZE; n++)
		if ((s->config[n] ^ d->config[n]) & ~d->writable[n])
			return err_set(e, -EINVAL, "config: byte 0x%02x is 0x%02x, expected 0x%02x",
				       n, s->config[n], d->config[n]);
	pci_bars_lock(d->bus);
	pthread_mutex_lock(&d->lock);
	ret = msix_load_check(d, s, e);
	if (!ret) {
		memcpy(d->config, s->config, sizeof(d->config));
		pci_bars_update(d);
		msix_load(d, s);
	}
	pthread_mutex_unlock(&d->lock);
	pci_bars_unlock(d->bus);
	return ret;
}

/* --- both ways in --- */

/* In a handler of the bus: what it returns stays until that handler has come back (pci_dev_unplug()). */
static struct pci_dev *pci_find(struct pci_bus *b, unsigned int bus_nr, unsigned int devfn)
{
	/* One function per device. */
	return bus_nr || devfn & 7 ? NULL : atomic_load(&b->slots[(devfn >> 3) & 31]);
}

static uint64_t ecam_read(void *bus, uint64_t offset, unsigned int len)
{
	struct pci_dev *d = pci_find(bus, (unsigned int)(offset >> 20), (offset >> 12) & 0xff);
	uint64_t v;

	if (!d)
		return ~0ull;
	if (len == 8) {
		v = pci_config_read(d, offset & 0xfff, 4);
		return v | (uint64_t)pci_config_read(d, (offset & 0xfff) + 4, 4) << 32;
	}
	return pci_config_read(d, offset & 0xfff, len);
}

static void ecam_write(void *bus, uint64_t offset, unsigned int len, uint64_t value)
{
	struct pci_dev *d = pci_find(bus, (unsigned int)(offset >> 20), (offset >> 12) & 0xff);

	if (!d)
		return;
	pci_config_write(d, offset & 0xfff, len == 8 ? 4 : len, (uint32_t)value);
	if (len == 8)
		pci_config_write(d, (offset & 0xfff) + 4, 4, (uint32_t)(value >> 32));
}

static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

/* The device behind 0xcf8's address, and the offset of an access at port 0xcfc + @in. */
static struct pci_dev *port_target(struct pci_bus *b, unsigned int in, unsigned int *offset)
{
	uint32_t a;

	pthread_mutex_lock(&b->lock);
	a = b->address;
	pthread_mutex_unlock(&b->lock);
	if (!(a & PCI_ADDRESS_ENABLE))
		return NULL;
	*offset = (a & 0xfc) + in;
	return pci_find(b, (a >> 16) & 0xff, (a >> 8) & 0xff);
}

static uint64_t port_read(void *bus, uint64_t offset, unsigned int len)
{
	struct pci_bus *b = bus;
	struct pci_dev *d;
	unsigned int at;
	uint64_t v;

	if (offset < 4) {
		if (offset || len != 4)
			return ~0ull;
		pthread_mutex_lock(&b->lock);
		v = b->address;
		pthread_mutex_unlock(&b->lock);
		return v;
	}
	d = port_target(b, (unsigned int)offset - 4, &at);
	return d ? pci_config_read(d, at, len) : ~0ull;
}

static void port_write(void *bus, uint64_t offset, unsigned int len, uint64_t value)
{
	struct pci_bus *b = bus;
	struct pci_dev *d;
	unsigned int at;

	if (offset >= 4) {
		d = port_target(b, (unsigned int)offset - 4, &at);
		if (d)
			pci_config_write(d, at, len, (uint32_t)value);
		return;
	}
	if (!offset && len == 4) {
		pthread_mutex_lock(&b->lock);
		b->address = (uint32_t)value;
		pthread_mutex_unlock(&b->lock);
	} else if (offset == PCI_RESET_OFFSET && len == 1 && (value & PCI_RESET_CPU)) {
		b->reset(b->reset_arg);
	}
}

static const struct bus_ops port_ops = { .read = port_read, .write = port_write };

/* --- the bus --- */

static void bridge_bar_moved(struct pci_dev *d, unsigned int bar, uint64_t base)
{
}

static void bridge_config(struct pci_dev *d, unsigned int offset, unsigned int len)
{
}

static const struct pci_dev_ops bridge_ops = {
	.bar_moved = bridge_bar_moved,
	.config_read = bridge_config,
	.config_write = bridge_config,
};

static void no_reset(void *arg)
{
}

int pci_bus_create(struct pci_bus **out, struct bus *pio, struct bus *mmio, struct irq *irq,
		   struct err *e)
{
	struct pci_bus *b = calloc(1, sizeof(*b));
	int ret;

	if (!b)
		return err_set(e, -ENOMEM, "no memory for the PCI bus");
	b->pio = pio;
	b->mmio = mmio;
	b->irq = irq;
	b->reset = no_reset;
	b->mmio_end = PCI_MMIO_END;
	pthread_mutex_init(&b->lock, NULL);
	pthread_mutex_init(&b->bars_lock, NULL);
	/* Slot 0: nobody has one before it. */
	ret = pci_dev_init(&b->bridge, b, &bridge_ops, &host_bridge_ident, "pci", e);
	assert(!ret && !b->bridge.slot);
	pci_dev_plug(&b->bridge);
	*out = b;
	return 0;
}

static void pci_bus_unplug(struct pci_bus *b)
{
	bus_remove(b->pio, PCI_PORT_ADDRESS, b);
	bus_remove(b->mmio, PCI_ECAM_BASE, b);
	bus_wait(b->pio);
	bus_wait(b->mmio);
}

int pci_bus_plug(struct pci_bus *b, struct err *e)
{
	int ret = bus_add(b->pio, PCI_PORT_ADDRESS, PCI_PORT_COUNT, &port_ops, b);

	if (!ret)
		ret = bus_add(b->mmio, PCI_ECAM_BASE, (uint64_t)PCI_BUSES * PCI_ECAM_BUS_SIZE,
			      &ecam_ops, b);
	if (!ret)
		return 0;
	pci_bus_unplug(b);
	return err_set(e, ret, "PCI configuration space: %s", strerror(-ret));
}

void pci_bus_destroy(struct pci_bus *b)
{
	if (!b)
		return;
	pci_bus_unplug(b);
	pci_dev_fini(&b->bridge);
	for (unsigned int slot = 0; slot < PCI_DEVICES_MAX; slot++)
		assert(!b->devices[slot]);
	pthread_mutex_destroy(&b->bars_lock);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

void pci_bus_on_reset(struct pci_bus *b, void (*fn)(void *arg), void *arg)
{
	b->reset = fn;
	b->reset_arg = arg;
}

struct irq *pci_bus_irq(struct pci_bus *b)
{
	return b->irq;
}

static int bus_pre_save(void *dev, struct err *e)
{
	return 0;
}

/* Any 32 bits are a legal address latch. */
static int bus_post_load(void *dev, struct err *e)
{
	return 0;
}

static const struct state_field bus_fields[] = {
	STATE_U32(struct pci_bus, address),
	STATE_END
};

static const struct state_desc bus_state = {
	.name = "pci",
	.version = 1,
	.min_version = 1,
	.fields = bus_fields,
	.pre_save = bus_pre_save,
	.post_load = bus_post_load,
};

struct state_entry pci_bus_state(struct pci_bus *b)
{
	return (struct state_entry){ .desc = &bus_state, .instance = "pci", .dev = b };
}
