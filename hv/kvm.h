/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm - /dev/kvm: the capabilities Drover needs or likes, one VM, its memory slots.
 *
 * Needed and checked at creation: in-kernel irqchip and PIT, irqfd, ioeventfd,
 * immediate exit.  Liked and remembered in struct kvm: manual dirty-log protect,
 * "initially set", TSC deadline timer.  See Documentation/virt/kvm/api.rst.
 */
#ifndef DROVER_HV_KVM_H
#define DROVER_HV_KVM_H

#include "base/err.h"
#include "hv/memory.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define KVM_CPUID_MAX 128
#define KVM_MSRS_MAX 256

struct kvm_vm {
	int sys_fd, vm_fd;
	uint32_t run_size;            /* bytes to map of a vCPU's struct kvm_run */
	bool manual_protect;          /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is on */
	bool initially_set;           /* ... and all pages start out dirty */
	bool tsc_deadline;            /* the LAPIC timer knows TSC deadline mode */
	struct gmem *mem;             /* behind the slots */
	pthread_mutex_t log_lock;     /* KVM_GET_DIRTY_LOG is not meant for two at once */
};

/** kvm_vm_create() - open /dev/kvm, check it, make a VM with irqchip and PIT; -ENODEV when there is none */
int kvm_vm_create(struct kvm_vm *k, struct err *e);
void kvm_vm_destroy(struct kvm_vm *k);

/** kvm_vm_memory() - give the VM @mem as RAM, one slot per region */
int kvm_vm_memory(struct kvm_vm *k, struct gmem *mem, struct err *e);

/** kvm_ioctl() - ioctl(2) that starts over when a signal came in between; 0 or more, or -errno */
int kvm_ioctl(int fd, unsigned long request, void *arg);

/* dirty.c: see machine.h for the contracts of the same name. */
int kvm_dirty_start(struct kvm_vm *k, struct err *e);
void kvm_dirty_stop(struct kvm_vm *k);
int kvm_dirty_fetch(struct kvm_vm *k, uint32_t id, uint64_t *bitmap, struct err *e);
int kvm_dirty_clear(struct kvm_vm *k, uint32_t id, uint64_t first, uint64_t count,
		    const uint64_t *bitmap, struct err *e);
/** kvm_slot_set() - (re)define region @r's slot with KVM_MEM_* @flags */
int kvm_slot_set(struct kvm_vm *k, const struct gmem_region *r, uint32_t flags, struct err *e);

#endif
