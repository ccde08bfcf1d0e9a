/* SPDX-License-Identifier: Apache-2.0 */
/* pci_int - what pci.c and pci_bar.c share: the bus itself, numbers in configuration space. */
#ifndef DROVER_HV_PCI_PCI_INT_H
#define DROVER_HV_PCI_PCI_INT_H

#include "hv/pci/pci.h"

#include <stdatomic.h>

/* PCI 3.0 6.1 */
#define PCI_DEVICE 0x02
#define PCI_COMMAND 0x04
#define PCI_BAR0 0x10
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_SUBSYSTEM 0x2e
#define PCI_COMMAND_MEMORY 0x0002
/* PCI 3.0 6.2.5.1 */
#define PCI_BAR_PREFETCHABLE 0x08

struct pci_bus {
	struct bus *pio, *mmio;
	struct irq *irq;
	pthread_mutex_t lock;
	pthread_mutex_t bars_lock;                /* where BARs answer: bars[].base of all devices */
	bool bars_freed;                          /* ... and one has given up its place since it was locked */
	uint64_t mmio_end;                        /* of the window for BARs: PCI_MMIO_END, or PCI_Q35_MMIO_END */
	uint32_t address;                         /* what was last written to 0xcf8 */
	struct pci_dev *devices[PCI_DEVICES_MAX]; /* whose slot it is; guards what their BARs ask for, too */
	/* Those that the guest finds.  Read in the bus's handlers without a lock: who clears one waits for
	 * them (bus_wait()); and with bars_lock, with which alone it is cleared. */
	struct pci_dev *_Atomic slots[PCI_DEVICES_MAX];
	struct pci_dev bridge;
	void (*reset)(void *arg);
	void *reset_arg;
};

static inline uint16_t config_u16(const struct pci_dev *d, unsigned int offset)
{
	return (uint16_t)(d->config[offset] | d->config[offset + 1] << 8);
}

static inline void put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline uint32_t config_u32(const struct pci_dev *d, unsigned int offset)
{
	return config_u16(d, offset) | (uint32_t)config_u16(d, offset + 2) << 16;
}

static inline void put_u32(uint8_t *p, uint32_t v)
{
	put_u16(p, (uint16_t)v);
	put_u16(p + 2, (uint16_t)(v >> 16));
}

/* --- where BARs answer (pci_bar.c) --- */

/** pci_bars_lock() - before the lock of any device, by whoever changes where BARs may answer */
void pci_bars_lock(struct pci_bus *b);
/** pci_bars_unlock() - with no device's lock held; BARs that had no place are tried again if one became free */
void pci_bars_unlock(struct pci_bus *b);
/** pci_bars_update() - put @d's BARs where its registers say; with both locks held */
void pci_bars_update(struct pci_dev *d);

#endif
