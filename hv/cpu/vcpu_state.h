/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpu_state - everything KVM knows about one vCPU, as one struct and one table.
 *
 * KVM's own structs travel as they are: x86-64 only, little-endian, a stable ABI.  What in them
 * grows with the processor (XSAVE area, XCRs, MSRs, the LAPIC's page) travels as counted arrays.
 * XSAVE is the 4 KiB area here: CPUID hides what would need more (cpuid.c).
 */
#ifndef DROVER_HV_CPU_VCPU_STATE_H
#define DROVER_HV_CPU_VCPU_STATE_H

#include "base/err.h"
#include "hv/cpu/cpuid.h"
#include "hv/device/state.h"
#include "hv/kvm/kvm.h"

#include <stdint.h>

struct vcpu;

/* MSRs that this host's KVM lets us read and write back; in the order in which they are to be loaded. */
struct msr_list {
	uint32_t count;
	uint32_t index[KVM_MSRS_MAX];
};

struct vcpu_state {
	struct vcpu *vcpu; /* whose; not saved */
	uint32_t tsc_khz;
	struct kvm_mp_state mp_state;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	uint32_t n_msrs;
	uint32_t msr_index[KVM_MSRS_MAX];
	uint64_t msr_value[KVM_MSRS_MAX];
};

extern const struct state_desc vcpu_state_desc;

/** vcpu_state_get() - read @v into v->state; on v's thread or while it is parked */
int vcpu_state_get(struct vcpu *v, struct err *e);
/** vcpu_state_set() - put v->state into force */
int vcpu_state_set(struct vcpu *v, struct err *e);

/** msr_list_probe() - which MSRs can be saved, tried on vCPU @fd */
int msr_list_probe(struct msr_list *l, const struct kvm_vm *k, int fd, struct err *e);

#endif
