/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid - the processor a guest sees.
 *
 * One table per machine, made from what this host's KVM supports, without what
 * cannot migrate; each vCPU gets a copy with its own APIC id in it.  The table
 * travels with the guest: a destination shows the guest the source's table, or
 * refuses with the names of the features it lacks.
 */
#ifndef DROVER_HV_CPU_CPUID_H
#define DROVER_HV_CPU_CPUID_H

#include "base/err.h"
#include "hv/kvm/kvm.h"

#include <stdint.h>

struct cpuid_table {
	uint32_t count;
	uint32_t padding;
	struct kvm_cpuid_entry2 entries[KVM_CPUID_MAX];
};

/** cpuid_host() - what a guest with @n_vcpus may see on this host */
int cpuid_host(struct cpuid_table *t, const struct kvm_vm *k, uint32_t n_vcpus, struct err *e);

/** cpuid_for_vcpu() - @t as vCPU @id sees it */
void cpuid_for_vcpu(const struct cpuid_table *t, uint32_t id, uint32_t n_vcpus,
		    struct cpuid_table *out);

/**
 * cpuid_check() - can a guest that saw @theirs run where @ours is what the host offers?
 * Return: 0, or -EINVAL with the names of what is missing here.
 */
int cpuid_check(const struct cpuid_table *ours, const struct cpuid_table *theirs, struct err *e);

/**
 * cpuid_find() - the entry of @leaf in @t, or NULL
 * @index: the subleaf; looked at only where KVM says that the leaf has any
 */
const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *t, uint32_t leaf,
					  uint32_t index);

#endif
