/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci_bar - where BARs answer on the bus of the machine (pci.h, pci_int.h).
 *
 * The guest may write any address into a BAR.  It answers there while memory decoding is on, the
 * address lies in the window that ACPI describes, and nothing else answers there.  What had to stay
 * out for another's sake is tried again when any BAR gives up its place: drivers that arrange BARs
 * anew move them one after the other, and one must lie over the other for a moment.
 */
#include "hv/pci/pci_int.h"

#include <errno.h>

/* The guest may put a BAR only into the window that ACPI describes, so never over RAM or the APICs. */
static uint64_t bar_wanted(const struct pci_dev *d, unsigned int n)
{
	uint64_t base = config_u32(d, PCI_BAR0 + 4 * n) & ~0xfull;

	if (!(config_u16(d, PCI_COMMAND) & PCI_COMMAND_MEMORY))
		return 0;
	if (base < PCI_MMIO_BASE || base + d->bars[n].size > d->bus->mmio_end)
		return 0;
	return base;
}

/* First what leaves, then what comes: two BARs of a device may change places. */
void pci_bars_update(struct pci_dev *d)
{
	struct bus *mmio = d->bus->mmio;
	uint64_t want[PCI_BARS_MAX] = { 0 }, was[PCI_BARS_MAX];
	struct pci_bar *b;
	unsigned int n;

	for (n = 0; n < PCI_BARS_MAX; n++) {
		b = &d->bars[n];
		was[n] = b->base;
		want[n] = b->size ? bar_wanted(d, n) : 0;
		if (!b->base || b->base == want[n])
			continue;
		bus_remove(mmio, b->base, b->dev);
		b->base = 0;
		d->bus->bars_freed = true;
	}
	for (n = 0; n < PCI_BARS_MAX; n++) {
		b = &d->bars[n];
		/* Over another device's BAR: it answers nowhere until there is room. */
		if (!b->base && want[n] && !bus_add(mmio, want[n], b->size, b->ops, b->dev))
			b->base = want[n];
		if (b->base != was[n])
			d->ops->bar_moved(d, n, b->base);
	}
}

void pci_bars_lock(struct pci_bus *b)
{
	pthread_mutex_lock(&b->bars_lock);
	b->bars_freed = false;
}

/*
 * One round is enough: whoever finds a place in it gives none up.  Among several that want the
 * same one the lowest slot gets it, as good as any: real buses answer with both.
 */
void pci_bars_unlock(struct pci_bus *b)
{
	unsigned int slot;

	for (slot = 0; b->bars_freed && slot < PCI_DEVICES_MAX; slot++) {
		struct pci_dev *d = atomic_load(&b->slots[slot]);

		if (!d)
			continue;
		pthread_mutex_lock(&d->lock);
		pci_bars_update(d);
		pthread_mutex_unlock(&d->lock);
	}
	pthread_mutex_unlock(&b->bars_lock);
}

/* The end of a BAR that was given a part of [@base, @base + @size), or 0. */
static uint64_t bar_given(const struct pci_bus *b, uint64_t base, uint64_t size)
{
	for (unsigned int slot = 0; slot < PCI_DEVICES_MAX; slot++)
		for (unsigned int n = 0; b->devices[slot] && n < PCI_BARS_MAX; n++) {
			const struct pci_bar *bar = &b->devices[slot]->bars[n];
			uint64_t end = (uint64_t)bar->home + bar->size;

			if (bar->size && base < end && bar->home < base + size)
				return end;
		}
	return 0;
}

/* The lowest place that is free, aligned to @size; 0: there is none. */
static uint64_t bar_place(const struct pci_bus *b, uint64_t size)
{
	uint64_t base = PCI_MMIO_BASE, end;

	do {
		base = (base + size - 1) & ~(size - 1);
		if (base + size > PCI_MMIO_END)
			return 0;
		end = bar_given(b, base, size);
		if (end)
			base = end;
	} while (end);
	return base;
}

void pci_dev_bar_prefetchable(struct pci_dev *d, unsigned int bar)
{
	d->config[PCI_BAR0 + 4 * bar] |= PCI_BAR_PREFETCHABLE;
}

int pci_dev_bar(struct pci_dev *d, unsigned int bar, uint32_t size, const struct bus_ops *ops,
		void *dev, struct err *e)
{
	struct pci_bus *b = d->bus;
	uint64_t base;

	if (bar >= PCI_BARS_MAX || size < 4096 || (size & (size - 1)))
		return err_set(e, -EINVAL, "%s: BAR %u of %u bytes", d->name, bar, size);
	pthread_mutex_lock(&b->lock);
	base = bar_place(b, size);
	if (base)
		d->bars[bar] = (struct pci_bar){ .size = size, .home = (uint32_t)base, .ops = ops, .dev = dev };
	pthread_mutex_unlock(&b->lock);
	if (!base)
		return err_set(e, -ENOSPC, "%s: no room for BAR %u of %u bytes", d->name, bar, size);
	put_u32(d->config + PCI_BAR0 + 4 * bar, (uint32_t)base);
	put_u32(d->writable + PCI_BAR0 + 4 * bar, ~(size - 1));
	return 0;
}
