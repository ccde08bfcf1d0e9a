/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm - /dev/kvm: the capabilities Drover needs or likes, one VM, its memory slots.
 *
 * Needed and checked at creation: in-kernel irqchip and PIT, irqfd, ioeventfd,
 * read-only memory, immediate exit.  Liked and remembered in struct kvm: manual dirty-log protect,
 * "initially set", TSC deadline timer.  See Documentation/virt/kvm/api.rst.
 */
#ifndef DROVER_HV_KVM_KVM_H
#define DROVER_HV_KVM_KVM_H

#include "base/err.h"
#include "hv/memory/memory.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define KVM_CPUID_MAX 128
#define KVM_MSRS_MAX 256

struct kvm_vm {
	int sys_fd, vm_fd;
	uint32_t run_size;   /* bytes to map of a vCPU's struct kvm_run */
	bool manual_protect; /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is on */
	bool initially_set;  /* ... and all pages start out dirty */
	bool tsc_deadline;   /* the LAPIC timer knows TSC deadline mode */
	struct gmem *mem;    /* behind the slots */
	/* KVM_GET_DIRTY_LOG is not meant for two at once; and guards the slots of regions that are placed. */
	pthread_mutex_t log_lock;
};

/** kvm_vm_create() - open /dev/kvm, check it, make a VM with irqchip and PIT; -ENODEV when there is none */
int kvm_vm_create(struct kvm_vm *k, struct err *e);
/** kvm_vm_destroy() - close what kvm_vm_create() opened, once, and not when that has failed; the memory is not freed */
void kvm_vm_destroy(struct kvm_vm *k);

/** kvm_vm_memory() - give the VM @mem, one slot per region */
int kvm_vm_memory(struct kvm_vm *k, struct gmem *mem, struct err *e);

/** kvm_ioctl() - ioctl(2) that starts over when a signal came in between; 0 or more, or -errno */
int kvm_ioctl(int fd, unsigned long request, void *arg);

/* dirty.c: see hv/machine/machine.h for the contracts of the same name. */

/**
 * kvm_dirty_start() - log writes to k->mem, of vCPUs and of the VMM; marks of before are forgotten
 * Not while it is on; no region comes or goes meanwhile, nor until kvm_dirty_stop().
 * Return: 0; -errno of KVM's, and nothing is logged.
 */
int kvm_dirty_start(struct kvm_vm *k, struct err *e);
/** kvm_dirty_stop() - log nothing any more; also when nothing is logged; no region comes or goes meanwhile */
void kvm_dirty_stop(struct kvm_vm *k);
/**
 * kvm_dirty_fetch() - OR which pages of region @id have changed into @bitmap, one bit each, whole 64-bit words
 * What the VMM wrote is told once; what vCPUs wrote again and again until kvm_dirty_clear(), where KVM has
 * manual protect, else once.  Any thread.
 * Return: 0; -EINVAL when there is no such region, or none that a migration sends; -ENOMEM; -errno of KVM's.
 */
int kvm_dirty_fetch(struct kvm_vm *k, uint32_t id, uint64_t *bitmap, struct err *e);
/**
 * kvm_dirty_clear() - machine_dirty_clear(); has nothing to do without manual protect, nor where vCPUs cannot write
 * Return: 0; -EINVAL as above, or for pages outside of the region or not such multiples; -errno of KVM's.
 */
int kvm_dirty_clear(struct kvm_vm *k, uint32_t id, uint64_t first, uint64_t count,
		    const uint64_t *bitmap, struct err *e);

/**
 * kvm_slot_put() - let vCPUs reach @r as its kind says; also to switch the log of what they write
 * @log: write it down, for a kind that is sent again when it changes
 */
int kvm_slot_put(struct kvm_vm *k, const struct gmem_region *r, bool log, struct err *e);
/** kvm_slot_logs() - is there a log of KVM's to switch, for @r's kind? */
bool kvm_slot_logs(const struct gmem_region *r);
/**
 * kvm_slot_place() - vCPUs find @r, whose kind is placed, at @gpa from now on, and nowhere else; 0: nowhere
 * What KVM has logged where it was is lost with that place, so all of it counts as written.  Any thread, also a
 * vCPU's, beside whatever dirty.c does.
 * Return: 0; -errno of KVM's, and then it is nowhere.
 */
int kvm_slot_place(struct kvm_vm *k, struct gmem_region *r, uint64_t gpa, struct err *e);
/** kvm_slot_remove() - on return no vCPU reaches @r; what it does there leaves KVM from now on */
int kvm_slot_remove(struct kvm_vm *k, const struct gmem_region *r, struct err *e);

#endif
