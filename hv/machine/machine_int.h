/* SPDX-License-Identifier: Apache-2.0 */
/* machine_int - what the files of a machine share; see machine.h. */
#ifndef DROVER_HV_MACHINE_MACHINE_INT_H
#define DROVER_HV_MACHINE_MACHINE_INT_H

#include "hv/machine/machine.h"
#include "hv/cpu/vcpu.h"
#include "hv/device/bus.h"
#include "hv/device/device.h"
#include "hv/device/state.h"
#include "hv/firmware/boot.h"
#include "hv/kvm/irq.h"
#include "hv/kvm/kvm.h"
#include "hv/machine/vm_state.h"
#include "hv/platform/acpi_pm.h"
#include "hv/platform/pm_block.h"
#include "hv/platform/serial.h"
#include "hv/virtio/virtio.h"

#include <pthread.h>

/* Some records of a machine's state, and what they were when it, or the device, was new. */
struct machine_part {
	struct state_entry *entries;
	size_t n_entries;
	uint8_t *pristine; /* the records: what a reset loads */
	size_t pristine_len;
};

/* A device that is there. */
struct machine_device {
	const struct device_kind *kind;
	unsigned int index;
	void *dev;
	struct machine_part part;
	struct state_entry entries[DEVICE_STATES_MAX];
	struct machine_device *next; /* by their rows' place in the table, then by index */
};

struct machine {
	struct machine_options opt;
	const struct domain_conf *conf;
	/* Orders hold, release, reset, save, load, the coming and going of devices; may be kept for as
	 * long as a device drains. */
	pthread_mutex_t lock;
	/* Guards `holders` together with the vCPUs' hold; never kept while waiting. */
	pthread_mutex_t holders_lock;
	unsigned int holders;

	struct kvm_vm kvm;
	bool has_kvm;
	struct boot *boot; /* NULL: not opened yet */
	struct gmem *mem;
	void *region_devs[GMEM_REGIONS_MAX]; /* who answers on the bus where a region is, by its id */
	struct bus *pio, *mmio;
	struct irq *irq;
	struct seat *seat;
	struct vcpus *vcpus;

	struct device_env env;
	/* Guards the list of devices for those without `lock`; who changes it has both, `lock` first. */
	pthread_rwlock_t devices_lock;
	struct machine_device *devices;
	uint64_t device_changes;    /* times that one came or went */
	bool disks_moving;          /* let go of or taken, without `lock`: nobody else touches them, no device comes or goes */
	pthread_cond_t disks_moved; /* they are where they go */
	bool disks_owned;           /* committed */
	uint64_t disks_incarnation; /* ... as this */
	char disks_nonce[DISK_NONCE_TEXT];

	struct vm_state vm_state;
	struct cpuid_state cpuid_state;
	struct machine_part own; /* CPUID, the vCPUs, the VM */
};

/* machine.c: what devices tell of the guest (struct device_env), on a vCPU thread, without waiting; @arg is the machine */

/** machine_on_off() - the guest powers off: take HOLD_EVENT, tell MACHINE_POWEROFF */
void machine_on_off(void *arg);
/** machine_on_reset() - the guest resets by means of @how: take HOLD_EVENT, tell MACHINE_RESET with @how as its text */
void machine_on_reset(void *arg, const char *how);
/** machine_settle() - wait until nothing of a held machine moves any more, for its devices @wait_ms; with m->lock held */
int machine_settle(struct machine *m, unsigned int wait_ms, struct err *e);
/** machine_release_locked() - machine_release() with m->lock held */
int machine_release_locked(struct machine *m, enum machine_holder who, struct err *e);

/* machine_boot.c */
/** machine_firmware_add() - make the firmware of a domain that has some part of its memory; nobody else has the machine yet */
int machine_firmware_add(struct machine *m, struct err *e);

/* machine_devices.c; with m->lock held unless it says otherwise */
/** machine_devices_create() - all that the configuration asks for; nobody else has the machine yet, so without m->lock */
int machine_devices_create(struct machine *m, struct err *e);
/** machine_devices_destroy() - all of them, the last first; nobody else has the machine any more, so without m->lock */
void machine_devices_destroy(struct machine *m);
/**
 * machine_devices_quiesce() - on success nothing is in flight
 * All are asked first and then waited for, up to @wait_ms for all of them, also behind one that fails.
 * Return: 0, or the first error: then those that came to rest stay at rest.
 */
int machine_devices_quiesce(struct machine *m, unsigned int wait_ms, struct err *e);
/** machine_devices_start() - all of them; when one fails all are stopped again, as above, and its error is returned */
int machine_devices_start(struct machine *m, struct err *e);
/** machine_device_next() - the first device of @kind (NULL: of any) behind @d (NULL: of all); with either lock */
struct machine_device *machine_device_next(struct machine *m, const struct device_kind *kind,
					   struct machine_device *d);
/** machine_device_only() - the one device of a @kind that never leaves, NULL: there is none; without locks, once the machine is created */
void *machine_device_only(struct machine *m, const struct device_kind *kind);

/** machine_migrating() - has somebody agreed with another host on what there is? */
bool machine_migrating(struct machine *m);

/* machine_disks.c; with m->lock held, or by who has set disks_moving */
/** machine_disks_lock_all() - machine_disks_prepare() */
int machine_disks_lock_all(struct machine *m, struct err *e);
/** machine_disks_own() - machine_disks_commit() */
int machine_disks_own(struct machine *m, uint64_t after, uint64_t incarnation, struct err *e);
/** machine_disks_flush() - all of them; -errno of the first that fails, which keeps none of the others from theirs */
int machine_disks_flush(struct machine *m, struct err *e);
/** machine_disks_release() - machine_disks_abandon() */
void machine_disks_release(struct machine *m);
/** machine_disk_join() - take the disk of a new device, as the others have been; nothing when they are not */
int machine_disk_join(struct machine *m, struct virtio_dev *disk, struct err *e);

/* machine_state.c; with m->lock held and everything at rest */
/** machine_own_build() - the machine's own records, in m->own */
int machine_own_build(struct machine *m, struct err *e);
/** machine_part_keep() - remember how the records of @p are now, for a reset */
int machine_part_keep(struct machine_part *p, struct err *e);
/** machine_pristine_load() - all as it was when it was new; CPUID stays */
int machine_pristine_load(struct machine *m, struct err *e);

/**
 * machine_entry_next() - the record behind @s (NULL: the first), in the order in which they cross
 * @d: where it is in the list of devices; the caller's, NULL at first.  With either lock.
 */
const struct state_entry *machine_entry_next(struct machine *m, struct machine_device **d,
					     const struct state_entry *s);

#endif
