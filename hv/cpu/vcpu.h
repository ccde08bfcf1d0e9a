/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpu - the vCPUs of a machine: one thread each, stopped and started together.
 *
 * A vCPU runs while nobody holds the set.  Holds are bits: the machine's own,
 * the throttle's, and one that a vCPU takes itself when the guest asked for a
 * reset, powered off or crashed.
 *
 * To stop a vCPU that is in the guest: kvm_run.immediate_exit = 1, then a signal;
 * KVM_RUN returns EINTR whether the signal came before, during or after entry.  A
 * port or MMIO access that left the guest is only complete after one more KVM_RUN
 * (Documentation/virt/kvm/api.rst 5, KVM_EXIT_MMIO), so a vCPU that parks does
 * that first: state saved from a parked vCPU is whole.
 *
 * Parked vCPU threads also do per-vCPU work (saving and loading state) side by
 * side: vcpus_each().
 */
#ifndef DROVER_HV_CPU_VCPU_H
#define DROVER_HV_CPU_VCPU_H

#include "base/err.h"
#include "hv/cpu/vcpu_state.h"
#include "hv/device/bus.h"
#include "hv/kvm/kvm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum vcpu_hold {
	VCPU_HOLD_MACHINE = 1 << 0,
	VCPU_HOLD_THROTTLE = 1 << 1,
	VCPU_HOLD_EVENT = 1 << 2,
};

enum vcpu_event {
	VCPU_EVENT_SHUTDOWN,
	VCPU_EVENT_CRASH
};

struct vcpus;

struct vcpu {
	struct vcpus *set;
	uint32_t id; /* 0.. */
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool has_thread, parked;
	bool io_pending;   /* the last exit is completed by the next KVM_RUN */
	uint64_t job_done; /* generation of the last job this vCPU did */
	_Atomic uint64_t exits_io, exits_mmio, exits_other;
	struct vcpu_state *state; /* what was saved last, or is to be loaded */
};

struct vcpus_options {
	struct kvm_vm *kvm;
	struct bus *pio, *mmio;
	uint32_t count;
	const struct domain_cpu *cpu; /* that the guest is to see, and how they are laid out; outlives them */
	uint64_t memory;              /* bytes of it that the guest has */
	/* From the vCPU's thread; the set is held with VCPU_HOLD_EVENT already. Must not wait. */
	void (*event)(void *arg, enum vcpu_event what, const char *text);
	void *arg;
};

struct vcpus {
	struct vcpus_options opt;
	struct cpuid_table host_cpuid; /* what a guest may see here */
	struct cpuid_table cpuid;      /* what this guest sees */
	struct msr_list msrs;          /* what this host can save */
	struct vcpu *v;
	pthread_mutex_t lock;
	pthread_cond_t parked, unpark;
	_Atomic unsigned int holds;
	uint32_t n_parked;
	bool quit;
	int (*job)(struct vcpu *v, struct err *e);
	uint64_t job_generation;
	uint32_t job_left;
	int job_ret;
	struct err job_err;
	/* throttle.c */
	pthread_t throttle_thread;
	pthread_cond_t throttle_wake;
	bool throttle_running;
	unsigned int throttle_percent;
};

/** vcpus_create() - create them with their CPUID, held by VCPU_HOLD_MACHINE, threads parked */
int vcpus_create(struct vcpus **out, const struct vcpus_options *o, struct err *e);
/** vcpus_destroy() - end all threads, wherever they are, and free it; not from one of them; NULL is nothing */
void vcpus_destroy(struct vcpus *s);

/** vcpus_hold() - add @hold and kick; does not wait; any thread, also a vCPU's */
void vcpus_hold(struct vcpus *s, enum vcpu_hold hold);
/** vcpus_wait() - until all are parked; -ETIMEDOUT after @timeout_ms */
int vcpus_wait(struct vcpus *s, unsigned int timeout_ms, struct err *e);
/** vcpus_release() - take @hold away, if it is there; they run when it was the last one; does not wait; any thread */
void vcpus_release(struct vcpus *s, enum vcpu_hold hold);

/**
 * vcpus_each() - run @job for each vCPU on its own thread; only while all are parked and held
 * Return: 0 or the first error.
 */
int vcpus_each(struct vcpus *s, int (*job)(struct vcpu *v, struct err *e), struct err *e);

/** vcpus_set_cpuid() - show the guest @t from now on; before it runs, or the same @t again */
int vcpus_set_cpuid(struct vcpus *s, const struct cpuid_table *t, struct err *e);

/** vcpus_tell_paused() - let a guest on kvmclock know that it stood still, before it goes on */
void vcpus_tell_paused(struct vcpus *s);

/** vcpus_throttle() - hold them back for @percent (0..99) of each 10 ms; one caller at a time */
void vcpus_throttle(struct vcpus *s, unsigned int percent);

#endif
