/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci - bus 0 of the domain: host bridge, configuration space, BARs, MSI-X.
 *
 * Configuration space is reached by ports 0xcf8/0xcfc (PCI 3.0 3.2.2.3.2) and
 * by ECAM (PCIe 3.0 7.2.2) at PCI_ECAM_BASE.  Every device has one function
 * and gets its BARs from the VMM at creation, so a guest that assigns nothing
 * (direct kernel boot) finds them usable; one that moves them is followed.
 *
 * A BAR answers on the bus only while COMMAND.MEMORY is set.  The device hears
 * of every move (ops->bar_moved), as its ioeventfds must move along.
 *
 * Interrupts are MSI-X only: no pin, no INTx routing in ACPI.
 */
#ifndef DROVER_HV_PCI_PCI_H
#define DROVER_HV_PCI_PCI_H

#include "base/err.h"
#include "hv/device/bus.h"
#include "hv/device/device.h"
#include "hv/device/state.h"
#include "hv/kvm/irq.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define PCI_ECAM_BASE 0xb0000000ull
#define PCI_ECAM_SIZE 0x10000000ull /* 256 buses; for MCFG and E820/_CRS */
#define PCI_BUSES 1                 /* only bus 0 exists: MCFG end bus 0 */
#define PCI_MMIO_BASE 0xc0000000ull /* 32-bit BARs: the host bridge's window (_CRS) */
#define PCI_MMIO_END 0xfe000000ull
/* Where there is firmware: a BIOS puts BARs right below the I/O APIC. */
#define PCI_Q35_MMIO_END 0xfec00000ull
#define PCI_Q35_LPC_SLOT 0x1f /* where a PC with this bridge has its LPC bridge */
#define PCI_PORT_ADDRESS 0xcf8
#define PCI_PORT_RESET 0xcf9 /* reset control (Intel ICH9, data sheet 316972, 13.7.5) */
#define PCI_RESET_VALUE 0x06 /* the whole machine, now */
#define PCI_PORT_DATA 0xcfc

#define PCI_DEVICES_MAX 32 /* slot 0 is the host bridge */
#define PCI_BARS_MAX 6
#define PCI_CONFIG_SIZE 256
#define PCI_MSIX_VECTORS_MAX 64

struct pci_bus;
struct pci_dev;

struct pci_dev_ops {
	/* BAR @bar now answers at @base, 0 = nowhere.  Called on a vCPU thread, or by pci_load. */
	void (*bar_moved)(struct pci_dev *d, unsigned int bar, uint64_t base);
	/* The guest is about to read, or has written, [@offset, @offset + @len) above the header
	 * (virtio's PCI_CFG window needs it).  Called without d->lock. */
	void (*config_read)(struct pci_dev *d, unsigned int offset, unsigned int len);
	void (*config_write)(struct pci_dev *d, unsigned int offset, unsigned int len);
};

/* One MSI-X vector as the guest programmed it (PCI 3.0 6.8.2.6-9). */
struct msix_vector {
	uint64_t addr;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
};

struct msix {
	uint16_t count; /* vectors, 0 = the device has no MSI-X */
	uint8_t cap;    /* offset of the capability in config space */
	struct msix_vector table[PCI_MSIX_VECTORS_MAX];
	uint32_t gsi[PCI_MSIX_VECTORS_MAX];
	int fd[PCI_MSIX_VECTORS_MAX]; /* a write raises the vector; owned by irq */
};

struct pci_bar {
	uint32_t size; /* 0 = not there; else a power of two, 4 KiB or more */
	uint32_t home; /* the address it was given at creation */
	uint64_t base; /* where it answers now, 0 = nowhere */
	const struct bus_ops *ops;
	void *dev;
};

struct pci_dev {
	struct pci_bus *bus;
	const struct pci_dev_ops *ops;
	unsigned int slot;
	char name[16];        /* "blk0", for errors */
	pthread_mutex_t lock; /* config space and MSI-X table; leaf except for irq and bus */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* which bits the guest may change */
	uint8_t cap_end;                   /* where the next capability goes */
	uint8_t cap_last;                  /* last capability, to link the next one */
	struct pci_bar bars[PCI_BARS_MAX];
	struct msix msix;
};

/* --- the bus --- */

extern const struct device_kind pci_device;

/**
 * pci_bus_create() - a bus with a host bridge at 00:00.0, out of the guest's reach
 * @pio, @mmio: the machine's buses, must outlive the PCI bus
 * @irq: where MSI-X vectors come from
 */
int pci_bus_create(struct pci_bus **out, struct bus *pio, struct bus *mmio, struct irq *irq,
		   struct err *e);
/** pci_bus_plug() - open both ways to configuration space; -EEXIST when their addresses are taken */
int pci_bus_plug(struct pci_bus *b, struct err *e);
/** pci_bus_destroy() - take it from the guest, which may run, and free it; no device is on it any more */
void pci_bus_destroy(struct pci_bus *b);

/**
 * pci_bus_be_q35() - show the host bridge that firmware for PCs knows; before pci_bus_plug() (pci_q35.c)
 * Its BARs may lie up to PCI_Q35_MMIO_END then, where nothing else is.
 */
void pci_bus_be_q35(struct pci_bus *b);
extern const struct device_kind pci_q35_device;

/** pci_bus_slot_of() - the slot of the device called @name; 0: there is none */
unsigned int pci_bus_slot_of(struct pci_bus *b, const char *name);

/** pci_bus_on_reset() - call @fn on a vCPU thread when the guest asks for a reset by port 0xcf9 */
void pci_bus_on_reset(struct pci_bus *b, void (*fn)(void *arg), void *arg);

/** pci_bus_state() - the state entry ("pci") of the bus itself, for the machine's list */
struct state_entry pci_bus_state(struct pci_bus *b);

/* --- devices: for virtio_pci.c --- */

struct pci_ident {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* 24 bits: class, subclass, interface */
	uint8_t revision;
};

/**
 * pci_dev_init() - give @d the lowest free slot; BARs, capabilities and MSI-X come next, then pci_dev_plug()
 * Return: 0, or -ENOSPC.
 */
int pci_dev_init(struct pci_dev *d, struct pci_bus *b, const struct pci_dev_ops *ops,
		 const struct pci_ident *id, const char *name, struct err *e);
/** pci_dev_init_at() - the same in slot @slot, 1 to PCI_DEVICES_MAX - 1; -EEXIST when it is taken */
int pci_dev_init_at(struct pci_dev *d, struct pci_bus *b, unsigned int slot, const struct pci_dev_ops *ops,
		    const struct pci_ident *id, const char *name, struct err *e);
/** pci_dev_plug() - let the guest find it; any time */
void pci_dev_plug(struct pci_dev *d);
/**
 * pci_dev_unplug() - on return the guest cannot reach @d, and no access to it is under way
 * Nothing when it is not plugged.  Its vectors can still be raised; the slot is kept until pci_dev_fini().
 * Not from a bus handler, nor with a lock that one takes.
 */
void pci_dev_unplug(struct pci_dev *d);
/** pci_dev_fini() - unplug it; give back its slot, its vectors and the addresses of its BARs */
void pci_dev_fini(struct pci_dev *d);

/** pci_dev_bar() - give @d a 32-bit memory BAR and the lowest address at which none of another device begins */
int pci_dev_bar(struct pci_dev *d, unsigned int bar, uint32_t size, const struct bus_ops *ops,
		void *dev, struct err *e);

/** pci_dev_bar_prefetchable() - say of a BAR that was given that reading it changes nothing: it is memory */
void pci_dev_bar_prefetchable(struct pci_dev *d, unsigned int bar);

/**
 * pci_dev_cap() - append a capability
 * @body: what follows the two bytes {id, next}; @writable: bits the guest may change, or NULL
 * Return: its offset in configuration space, or -ENOSPC.
 */
int pci_dev_cap(struct pci_dev *d, uint8_t id, const uint8_t *body, const uint8_t *writable,
		unsigned int len);

/*
 * What a migration carries of one PCI device; part of the device's own state table.
 * All of configuration space crosses: what the guest cannot change must be the same on both
 * sides, so two hosts that built different devices find out before the domain runs.
 */
struct pci_saved {
	uint8_t config[PCI_CONFIG_SIZE];
	uint16_t n_vectors;
	uint64_t msix_addr[PCI_MSIX_VECTORS_MAX];
	uint32_t msix_data[PCI_MSIX_VECTORS_MAX];
	uint32_t msix_mask[PCI_MSIX_VECTORS_MAX];
	uint8_t msix_pending[PCI_MSIX_VECTORS_MAX]; /* 1: raised while masked */
};

/** pci_dev_save() - fill all of @s; takes d->lock; changes nothing */
void pci_dev_save(struct pci_dev *d, struct pci_saved *s);
/** pci_dev_load() - check @s (rule S) and put it in force; calls ops->bar_moved */
int pci_dev_load(struct pci_dev *d, const struct pci_saved *s, struct err *e);

/** pci_bus_irq() - where the bus has its vectors from */
struct irq *pci_bus_irq(struct pci_bus *b);

/* --- MSI-X (msix.c) --- */

/** msix_init() - @count vectors; table and pending bits live in BAR @bar at @table and @pba */
int msix_init(struct pci_dev *d, unsigned int count, unsigned int bar, uint32_t table,
	      uint32_t pba, struct err *e);
/** msix_fini() - give all vectors back to the irq, which closes their eventfds; nothing when there are none */
void msix_fini(struct pci_dev *d);

/** msix_raise() - interrupt the guest with @vector; any thread; a vector out of range is ignored */
void msix_raise(struct pci_dev *d, uint16_t vector);

/**
 * msix_table_read() - the guest reads @len bytes at @offset of the table; takes d->lock
 * PCI 3.0 6.8.2 has aligned accesses of 4 or 8 bytes only: others, and those behind the last vector, read 0.
 */
uint64_t msix_table_read(struct pci_dev *d, uint32_t offset, unsigned int len);
/** msix_table_write() - the same for a write, in force on return; of a vector's control only the mask bit is kept */
void msix_table_write(struct pci_dev *d, uint32_t offset, unsigned int len, uint64_t value);
/**
 * msix_pba_read() - the guest reads @len (1, 2, 4 or 8) bytes at @offset of the pending bits (PCI 3.0 6.8.2.10)
 * Bit n: vector n was raised while it is masked, or MSI-X off.  0 when misaligned, or behind them.
 */
uint64_t msix_pba_read(struct pci_dev *d, uint32_t offset, unsigned int len);

/** msix_control_changed() - the guest wrote the capability's control word; called with d->lock held */
void msix_control_changed(struct pci_dev *d);
/** msix_save() - table and pending bits into @s; with d->lock held */
void msix_save(struct pci_dev *d, struct pci_saved *s);
/** msix_load_check() - -EINVAL when @s has another number of vectors than @d; any value of theirs can be loaded */
int msix_load_check(const struct pci_dev *d, const struct pci_saved *s, struct err *e);
/**
 * msix_load() - put @s, which was checked, in force; what was pending before is forgotten
 * With d->lock held, and the control word in d->config already.
 */
void msix_load(struct pci_dev *d, const struct pci_saved *s);

#endif
