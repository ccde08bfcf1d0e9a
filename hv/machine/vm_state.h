/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm_state - what KVM knows about the VM as a whole: clock, interrupt controllers,
 * timer; and the CPUID table, which travels with the guest.
 */
#ifndef DROVER_HV_MACHINE_VM_STATE_H
#define DROVER_HV_MACHINE_VM_STATE_H

#include "hv/cpu/cpuid.h"
#include "hv/cpu/vcpu.h"
#include "hv/device/state.h"
#include "hv/kvm/kvm.h"

struct vm_state {
	struct kvm_vm *kvm; /* not saved */
	struct kvm_clock_data clock;
	struct kvm_pit_state2 pit;
	struct kvm_irqchip pic_master, pic_slave, ioapic;
};

extern const struct state_desc vm_state_desc;

struct cpuid_state {
	struct vcpus *vcpus; /* not saved */
	struct cpuid_table table;
};

/* Load checks against this host and gives every vCPU the guest's own table. */
extern const struct state_desc cpuid_state_desc;

#endif
