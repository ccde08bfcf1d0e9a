/* SPDX-License-Identifier: Apache-2.0 */
/* machine_int - what machine.c, machine_state.c and machine_devices.c share; see machine.h. */
#ifndef DROVER_HV_MACHINE_INT_H
#define DROVER_HV_MACHINE_INT_H

#include "hv/machine.h"
#include "hv/bus.h"
#include "hv/irq.h"
#include "hv/kvm.h"
#include "hv/pci.h"
#include "hv/power.h"
#include "hv/rtc.h"
#include "hv/serial.h"
#include "hv/state.h"
#include "hv/vcpu.h"
#include "hv/virtio.h"
#include "hv/vm_state.h"

#include <pthread.h>

#define MACHINE_DEVICES_MAX (DOMAIN_DISKS_MAX + DOMAIN_NICS_MAX + 2)
#define MACHINE_ENTRIES_MAX (DOMAIN_VCPUS_MAX + 8 + MACHINE_DEVICES_MAX * VIRTIO_DEV_STATES_MAX)

struct machine {
	struct machine_options opt;
	const struct domain_conf *conf;
	/* Orders hold, release, reset, save, load; may be kept for as long as a device drains. */
	pthread_mutex_t lock;
	/* Guards `holders` together with the vCPUs' hold; never kept while waiting. */
	pthread_mutex_t holders_lock;
	unsigned int holders;

	struct kvm_vm kvm;
	bool has_kvm;
	struct gmem *mem;
	struct bus *pio, *mmio;
	struct irq *irq;
	struct vcpus *vcpus;
	struct serial *serial;
	struct rtc *rtc;
	struct power *power;
	struct pci_bus *pci;

	struct virtio_env env;
	struct virtio_dev *devices[MACHINE_DEVICES_MAX];
	size_t n_devices;
	struct virtio_dev *disks[DOMAIN_DISKS_MAX];
	struct virtio_dev *nics[DOMAIN_NICS_MAX];
	size_t n_disks_open;     /* prepared; the first so many */
	bool disks_owned;        /* committed */
	char disks_nonce[DISK_NONCE_TEXT];

	struct vm_state vm_state;
	struct cpuid_state cpuid_state;
	struct state_entry entries[MACHINE_ENTRIES_MAX];
	size_t n_entries;
	uint8_t *pristine;       /* saved right after creation: what a reset loads */
	size_t pristine_len;
};

/* machine_net.c */
int machine_nic_create(struct machine *m, size_t i, struct err *e);

/* machine_devices.c */
int machine_devices_create(struct machine *m, struct err *e);
void machine_devices_destroy(struct machine *m);
void machine_devices_quiesce_begin(struct machine *m);
int machine_devices_quiesce(struct machine *m, struct err *e);
int machine_devices_start(struct machine *m, struct err *e);

/* machine_state.c; with m->lock held and everything at rest */
void machine_entries_build(struct machine *m);
int machine_save_locked(struct machine *m, uint8_t **buf, size_t *len, struct err *e);
int machine_load_locked(struct machine *m, const uint8_t *buf, size_t len, struct err *e);

#endif
