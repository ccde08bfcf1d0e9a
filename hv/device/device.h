/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device - what a machine knows of a device: one row of its table (hv/machine/device_table.c).
 *
 * A device brings its own row, a struct device_kind beside its code; the table names the rows,
 * and nobody else has to hear of a new one.  How to add one: docs/architecture.md.
 *
 *     create ──> state is saved: what a reset goes back to ──> start, if the machine runs
 *                                                                │
 *     destroy <── quiesce <── ... start, quiesce, save, load ... plug
 *
 * A device may come and go while vCPUs run.  Before plug() nobody can reach it; when destroy()
 * returns nobody does any more: it takes the device out of reach, waits for accesses that have
 * begun (bus_wait(), pci_dev_unplug()), and frees what is left.
 *
 * Threads: the machine calls all hooks, one after the other, from any thread; stats() also
 * beside the others.  None but quiesce() may take long.
 */
#ifndef DROVER_HV_DEVICE_DEVICE_H
#define DROVER_HV_DEVICE_DEVICE_H

#include "base/err.h"
#include "hv/device/state.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define DEVICE_STATES_MAX 2

struct bus;
struct disk_broker;
struct domain_conf;
struct gmem;
struct gmem_region;
struct irq;
struct keeper;
struct pci_bus;
struct seat;

/* The machine, as its devices see it; kept by pointer, must outlive them. */
struct device_env {
	struct gmem *mem;
	struct bus *pio, *mmio;
	struct irq *irq;
	struct seat *seat;   /* where keys and the pointer come from (hv/display/seat.h) */
	struct pci_bus *pci; /* the host bridge sets it, for the rows below its own */
	/* Rule G: may the domain submit writes to its disks now?  Any thread, must not
	 * block.  Required: a machine without a gate gives one that says true. */
	bool (*may_submit)(void *arg);
	/*
	 * A gated domain lets go of its disks, and no device works: what is theirs and not on them yet is written, though
	 * the lease has ended, where a lock keeps the other hosts away until they are closed.
	 */
	atomic_bool disks_leaving;
	/* A write to a disk failed and waits (@held), as do all requests behind it; or it has succeeded
	 * now.  Device's thread, with its lock: must not block.  NULL: errors reach the guest. */
	void (*disk_held)(void *arg, bool held, const char *why);
	struct disk_broker *disks; /* opens them; NULL: this process does */
	struct keeper *ports;      /* makes network cards' ports (net/link/keeper.h); NULL: this process does */
	struct rings *rings;       /* for the disks (hv/disk/rings.h), who add theirs when they are created; NULL: made when one is opened */
	/* There is a gate: another host may take the disks without asking this one. */
	bool leased;
	/*
	 * Where vCPUs reach a region of a kind that is placed, 0: nowhere (kvm_slot_place()).  On a vCPU thread or with the machine
	 * at rest; locks of the bus and of the PCI device may be held.  What goes wrong is logged, and then it is nowhere.
	 */
	void (*memory_place)(void *arg, struct gmem_region *r, uint64_t gpa);
	/* The guest powers off, or asks for a reset by means of @how.  On a vCPU thread, must not wait. */
	void (*off)(void *arg);
	void (*reset)(void *arg, const char *how);
	void *arg;
};

struct device_kind {
	const char *name;    /* its devices are this and an index: "blk" and 0, 1, ... */
	const char *figures; /* its list in machine_stats(), NULL: none */
	bool may_leave;      /* false: it is there for as long as the machine is, others count on it */

	/** wanted() - how many of them @conf asks for */
	unsigned int (*wanted)(const struct domain_conf *conf);
	/**
	 * create() - device @index as @conf has it, quiet, out of the guest's reach
	 * @conf: read during the call only; it has more than @index of this kind
	 * Return: 0 and *@dev, or an error with nothing left behind.
	 */
	int (*create)(struct device_env *env, const struct domain_conf *conf, unsigned int index,
		      void **dev, struct err *e);
	/** plug() - let the guest reach it; on error it is still out of reach */
	int (*plug)(void *dev, struct err *e);
	/** destroy() - as above, plugged or not, quiet or not; a disk's owner flushes first */
	void (*destroy)(void *dev);

	/**
	 * state() - what crosses to another host, and what a reset restores
	 * @out: room for DEVICE_STATES_MAX; names unique in the machine, the same for as long as it lives
	 * Return: how many.
	 */
	size_t (*state)(void *dev, struct state_entry *out);
	/** slot() - where the guest finds it on the PCI bus; 0: not there */
	unsigned int (*slot)(void *dev);
	/** stats() - {"name": ..., figures}; caller owns it; only of kinds with a list of figures */
	json_t *(*stats)(void *dev);

	/** start() - it may touch guest memory and the host's files from now on */
	int (*start)(void *dev, struct err *e);
	/** quiesce_begin() - take on nothing new; does not wait */
	void (*quiesce_begin)(void *dev);
	/**
	 * quiesce() - return when nothing is in flight
	 * Return: 0, or -ETIMEDOUT after @timeout_ms: then it still takes on nothing; call again, or start.
	 */
	int (*quiesce)(void *dev, unsigned int timeout_ms, struct err *e);
};

/* For devices that do nothing unless a vCPU calls them: they rest when the vCPUs do. */

/** device_passive_start() - 0: there is nothing to set going */
int device_passive_start(void *dev, struct err *e);
/** device_passive_quiesce_begin() - nothing: only vCPUs bring work, and they stand still by then */
void device_passive_quiesce_begin(void *dev);
/** device_passive_quiesce() - 0 at once: nothing is ever in flight */
int device_passive_quiesce(void *dev, unsigned int timeout_ms, struct err *e);
/** device_passive_stats() - NULL: for a kind without a list of figures */
json_t *device_passive_stats(void *dev);
/** device_no_slot() - slot() of what is not on the PCI bus, or is the bus */
unsigned int device_no_slot(void *dev);
/** device_one() - wanted() of what every machine has */
unsigned int device_one(const struct domain_conf *conf);
/** device_with_firmware() - wanted() of what only firmware looks for: one where the domain begins in firmware */
unsigned int device_with_firmware(const struct domain_conf *conf);

/** device_vcpus() - how many vCPUs the domain has: for rows in rooms that do not know its file */
unsigned int device_vcpus(const struct domain_conf *conf);

/* The hooks of a device that is not on the PCI bus, passive, without figures. */
#define DEVICE_PASSIVE                                                                \
	.slot = device_no_slot, .stats = device_passive_stats,                        \
	.start = device_passive_start, .quiesce_begin = device_passive_quiesce_begin, \
	.quiesce = device_passive_quiesce

/* ... that every machine has. */
#define DEVICE_PLATFORM .wanted = device_one, DEVICE_PASSIVE
/* ... that a machine has whose guest begins in firmware. */
#define DEVICE_FIRMWARE .wanted = device_with_firmware, DEVICE_PASSIVE

#endif
