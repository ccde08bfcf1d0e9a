/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msix - MSI-X of one PCI device (PCI 3.0 6.8.2): table, pending bits, control.
 *
 * A vector is open when its own mask bit, the function mask and the enable bit
 * all allow it; only then does KVM listen on its eventfd.  While it is closed
 * the eventfd's count is the pending bit, so raising is one write(2) from any
 * thread, whatever the guest is doing to the table meanwhile.
 */
#include "hv/pci/pci.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PCI_CAP_MSIX 0x11
#define MSIX_CONTROL_ENABLE 0x8000
#define MSIX_CONTROL_MASKALL 0x4000
#define MSIX_ENTRY_SIZE 16
#define MSIX_ENTRY_MASKED 1u
/* Writable bits of the control word: the function mask and the enable bit. */
#define MSIX_CONTROL_WRITABLE (MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASKALL)

static uint16_t msix_control(const struct pci_dev *d)
{
	return (uint16_t)(d->config[d->msix.cap + 2] | d->config[d->msix.cap + 3] << 8);
}

static bool msix_closed(const struct pci_dev *d, unsigned int n)
{
	uint16_t c = msix_control(d);

	return !(c & MSIX_CONTROL_ENABLE) || (c & MSIX_CONTROL_MASKALL) ||
	       (d->msix.table[n].control & MSIX_ENTRY_MASKED);
}

/* A route KVM does not take leaves the vector as it was: the guest loses only its own interrupts. */
static void msix_update(struct pci_dev *d, unsigned int n)
{
	const struct msix_vector *v = &d->msix.table[n];

	irq_msi_set(pci_bus_irq(d->bus), d->msix.gsi[n], v->addr, v->data, msix_closed(d, n));
}

static void msix_update_all(struct pci_dev *d)
{
	unsigned int n;

	irq_batch_begin(pci_bus_irq(d->bus));
	for (n = 0; n < d->msix.count; n++)
		msix_update(d, n);
	irq_batch_end(pci_bus_irq(d->bus));
}

int msix_init(struct pci_dev *d, unsigned int count, unsigned int bar, uint32_t table,
	      uint32_t pba, struct err *e)
{
	/* control, table offset | BIR, PBA offset | BIR (PCI 3.0 figure 6-9) */
	uint8_t body[10] = {
		(uint8_t)(count - 1),
		(uint8_t)((count - 1) >> 8),
		(uint8_t)(table | bar),
		(uint8_t)(table >> 8),
		(uint8_t)(table >> 16),
		(uint8_t)(table >> 24),
		(uint8_t)(pba | bar),
		(uint8_t)(pba >> 8),
		(uint8_t)(pba >> 16),
		(uint8_t)(pba >> 24),
	};
	static const uint8_t writable[10] = { 0, MSIX_CONTROL_WRITABLE >> 8 };
	unsigned int n;
	int ret;

	if (!count || count > PCI_MSIX_VECTORS_MAX)
		return err_set(e, -EINVAL, "%s: %u interrupt vectors, expected 1..%d", d->name,
			       count, PCI_MSIX_VECTORS_MAX);
	ret = pci_dev_cap(d, PCI_CAP_MSIX, body, writable, sizeof(body));
	if (ret < 0)
		return err_set(e, ret, "%s: no room for the MSI-X capability", d->name);
	d->msix.cap = (uint8_t)ret;
	for (n = 0; n < count; n++) {
		ret = irq_msi_alloc(pci_bus_irq(d->bus), &d->msix.gsi[n], &d->msix.fd[n], e);
		if (ret) {
			msix_fini(d);
			return ret;
		}
		d->msix.table[n].control = MSIX_ENTRY_MASKED;
		d->msix.count = (uint16_t)(n + 1);
	}
	return 0;
}

void msix_fini(struct pci_dev *d)
{
	while (d->msix.count) {
		d->msix.count--;
		irq_msi_free(pci_bus_irq(d->bus), d->msix.gsi[d->msix.count]);
	}
}

void msix_raise(struct pci_dev *d, uint16_t vector)
{
	if (vector < d->msix.count)
		eventfd_write(d->msix.fd[vector], 1);
}

uint64_t msix_table_read(struct pci_dev *d, uint32_t offset, unsigned int len)
{
	unsigned int n = offset / MSIX_ENTRY_SIZE, in = offset % MSIX_ENTRY_SIZE;
	const struct msix_vector *v;
	uint64_t q;

	if (n >= d->msix.count || offset % len || (len != 4 && len != 8))
		return 0;
	pthread_mutex_lock(&d->lock);
	v = &d->msix.table[n];
	q = in < 8 ? v->addr : (v->data | (uint64_t)v->control << 32);
	pthread_mutex_unlock(&d->lock);
	return in % 8 ? q >> 32 : (len == 4 ? (uint32_t)q : q);
}

void msix_table_write(struct pci_dev *d, uint32_t offset, unsigned int len, uint64_t value)
{
	unsigned int n = offset / MSIX_ENTRY_SIZE, in = offset % MSIX_ENTRY_SIZE;
	struct msix_vector *v;

	if (n >= d->msix.count || offset % len || (len != 4 && len != 8))
		return;
	pthread_mutex_lock(&d->lock);
	v = &d->msix.table[n];
	switch (in) {
	case 0:
		v->addr = len == 8 ? value : (v->addr & ~0xffffffffull) | (uint32_t)value;
		break;
	case 4:
		v->addr = (v->addr & 0xffffffffull) | value << 32;
		break;
	case 8:
		v->data = (uint32_t)value;
		if (len == 8)
			v->control = (uint32_t)(value >> 32) & MSIX_ENTRY_MASKED;
		break;
	default:
		v->control = (uint32_t)value & MSIX_ENTRY_MASKED;
		break;
	}
	msix_update(d, n);
	pthread_mutex_unlock(&d->lock);
}

uint64_t msix_pba_read(struct pci_dev *d, uint32_t offset, unsigned int len)
{
	uint64_t bits = 0;
	unsigned int n;

	if (offset >= PCI_MSIX_VECTORS_MAX / 8 || offset % len)
		return 0;
	for (n = 0; n < d->msix.count; n++)
		if (irq_msi_pending(pci_bus_irq(d->bus), d->msix.gsi[n]))
			bits |= 1ull << n;
	return len == 8 ? bits : (bits >> (8 * offset)) & ((1ull << (8 * len)) - 1);
}

void msix_control_changed(struct pci_dev *d)
{
	msix_update_all(d);
}

void msix_save(struct pci_dev *d, struct pci_saved *s)
{
	unsigned int n;

	s->n_vectors = d->msix.count;
	for (n = 0; n < d->msix.count; n++) {
		s->msix_addr[n] = d->msix.table[n].addr;
		s->msix_data[n] = d->msix.table[n].data;
		s->msix_mask[n] = d->msix.table[n].control;
		s->msix_pending[n] = irq_msi_pending(pci_bus_irq(d->bus), d->msix.gsi[n]);
	}
}

int msix_load_check(const struct pci_dev *d, const struct pci_saved *s, struct err *e)
{
	if (s->n_vectors != d->msix.count)
		return err_set(e, -EINVAL, "msix: %u vectors there, %u here", s->n_vectors, d->msix.count);
	return 0;
}

void msix_load(struct pci_dev *d, const struct pci_saved *s)
{
	unsigned int n;
	eventfd_t drop;

	for (n = 0; n < d->msix.count; n++) {
		d->msix.table[n].addr = s->msix_addr[n];
		d->msix.table[n].data = s->msix_data[n];
		d->msix.table[n].control = s->msix_mask[n] & MSIX_ENTRY_MASKED;
	}
	msix_update_all(d);
	for (n = 0; n < d->msix.count; n++) {
		/* In a machine that resets, what waited before must not fire when its driver opens the vector. */
		if (msix_closed(d, n))
			eventfd_read(d->msix.fd[n], &drop);
		if (s->msix_pending[n])
			msix_raise(d, (uint16_t)n);
	}
}
