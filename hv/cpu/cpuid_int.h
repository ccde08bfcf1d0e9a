/* SPDX-License-Identifier: Apache-2.0 */
/* cpuid_int - what the files of CPUID share. */
#ifndef DROVER_HV_CPU_CPUID_INT_H
#define DROVER_HV_CPU_CPUID_INT_H

#include "hv/cpu/cpuid.h"

#include <stdbool.h>

/** cpuid_allow() - take from @c what no guest is shown; false: all of it */
bool cpuid_allow(struct kvm_cpuid_entry2 *c);

/** cpuid_subleaf() - the subleaf that @c is of, 0 where its leaf has none */
static inline uint32_t cpuid_subleaf(const struct kvm_cpuid_entry2 *c)
{
	return c->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX ? c->index : 0;
}

/** cpuid_reg() - a register of @c */
static inline uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *c, enum cpu_reg reg)
{
	uint32_t *const regs[4] = { &c->eax, &c->ebx, &c->ecx, &c->edx };

	return regs[reg];
}

/** cpuid_edit() - cpuid_find(), to change the entry */
struct kvm_cpuid_entry2 *cpuid_edit(struct cpuid_table *t, uint32_t leaf, uint32_t index);
/** cpuid_put() - cpuid_edit(), of a new entry of zeros where there is none; NULL: @t is full */
struct kvm_cpuid_entry2 *cpuid_put(struct cpuid_table *t, uint32_t leaf, uint32_t index);

#define CPUID_TOPOEXT (1u << 22) /* of 0x80000001 ECX: AMD's leaves of topology are there, APM 3 E.4.2 */

/** cpuid_is_amd() - or of whoever makes processors after AMD's plans */
bool cpuid_is_amd(const struct cpuid_table *t);

/** cpuid_topology() - lay @t out so; what tells guests of threads is shown where there are any */
void cpuid_topology(struct cpuid_table *t, const struct cpu_topology *topology);

#endif
