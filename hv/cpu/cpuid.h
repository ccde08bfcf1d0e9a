/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid - the processor a guest sees.
 *
 * One table per machine: what this host's KVM supports, without what cannot migrate, and of that what the
 * domain's model has; each vCPU gets a copy with its own APIC id in it.  The table travels with the guest: a
 * destination shows the guest the source's table, whatever its own file says, or refuses with the names of
 * the features it lacks.
 *
 *     KVM ── cpuid_rules.c ──> the host's table ── cpuid_guest.c, cpuid_topology.c ──> the guest's
 */
#ifndef DROVER_HV_CPU_CPUID_H
#define DROVER_HV_CPU_CPUID_H

#include "base/err.h"
#include "conf/domain.h"
#include "hv/kvm/kvm.h"

#include <jansson.h>
#include <stdint.h>

struct cpuid_table {
	uint32_t count;
	uint32_t padding;
	struct kvm_cpuid_entry2 entries[KVM_CPUID_MAX];
};

/** cpuid_host() - all that a guest may see on this host, whatever its topology */
int cpuid_host(struct cpuid_table *t, const struct kvm_vm *k, struct err *e);

/** cpuid_here() - cpuid_host() of this host, by /dev/kvm; -ENOENT, -EACCES, ... when there is none for us */
int cpuid_here(struct cpuid_table *t, struct err *e);
/**
 * cpuid_host_json() - the host's @t as others are told of it: {vendor, name, address_bits, features}
 * The names of features that domains can have.  Return: json_decref() it; NULL without memory.
 */
json_t *cpuid_host_json(const struct cpuid_table *t);

/* What a domain's file says of its processor. */
struct cpuid_wish {
	struct domain_cpu cpu;
	uint64_t memory; /* bytes; a model has as many address bits as that needs */
};

/**
 * cpuid_guest() - what a guest with @w sees where @host is what may be seen
 * Return: 0; -EPERM with the names of what the host lacks of it.
 */
int cpuid_guest(struct cpuid_table *t, const struct cpuid_table *host, const struct cpuid_wish *w, struct err *e);

/** cpuid_model_bits() - how many bits a physical address has, for a guest with a model and @memory bytes */
unsigned int cpuid_model_bits(uint64_t memory);

/** cpuid_for_vcpu() - @t as vCPU @i of @topology sees it */
void cpuid_for_vcpu(const struct cpuid_table *t, uint32_t i, const struct cpu_topology *topology, struct cpuid_table *out);

/** cpuid_features() - the features that @t shows */
void cpuid_features(const struct cpuid_table *t, struct cpu_features *out);
/** cpuid_components() - the XSAVE components that a guest with @t can use, by bit; x87 and SSE always */
uint64_t cpuid_components(const struct cpuid_table *t);
/** cpuid_vendor() - who made the processor of @t */
enum cpu_vendor cpuid_vendor(const struct cpuid_table *t);
/** cpuid_address_bits() - how many a physical address has in @t */
unsigned int cpuid_address_bits(const struct cpuid_table *t);

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
