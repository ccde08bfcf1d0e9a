/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid_topology - how vCPUs are laid out in packages and cores, as CPUID tells it.
 *
 * (Intel SDM 2A CPUID leaves 1, 4, 0xb; AMD APM 3 leaves 0x80000008, 0x8000001d, 0x8000001e): one package, each
 * vCPU a core with one thread.  APIC id = vCPU number.
 */
#include "hv/cpu/cpuid_int.h"

#define BIT(n) (1u << (n))

/* Bits needed to number @n things. */
static uint32_t bits_for(uint32_t n)
{
	uint32_t bits = 0;

	while ((1u << bits) < n)
		bits++;
	return bits;
}

static bool is_amd(const struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *c = cpuid_find(t, 0, 0);

	/* "AuthenticAMD" and "HygonGenuine" */
	return c && (c->ebx == 0x68747541 || c->ebx == 0x6f677948);
}

/* Leaves 4 and 0x8000001d: caches above level 2 are shared by all vCPUs. */
static void fix_cache(struct kvm_cpuid_entry2 *c, uint32_t n_vcpus)
{
	uint32_t level = c->eax >> 5 & 7;

	c->eax &= 0x3fffu;
	if (level > 2)
		c->eax |= ((1u << bits_for(n_vcpus)) - 1) << 14;
	if (c->function == 4)
		c->eax |= (uint32_t)((1u << bits_for(n_vcpus)) - 1 > 63 ? 63 : (1u << bits_for(n_vcpus)) - 1) << 26;
}

static void fix_topology_leaf(struct kvm_cpuid_entry2 *c, uint32_t n_vcpus)
{
	c->eax = c->ebx = c->ecx = 0;
	if (c->index == 0) { /* threads of a core */
		c->ebx = 1;
		c->ecx = 1u << 8;
	} else if (c->index == 1) { /* cores of the package */
		c->eax = bits_for(n_vcpus);
		c->ebx = n_vcpus;
		c->ecx = 2u << 8 | 1;
	} else {
		c->ecx = c->index;
	}
}

static void fix_leaf(struct kvm_cpuid_entry2 *c, uint32_t n_vcpus)
{
	switch (c->function) {
	case 1:
		c->ebx &= 0x0000ff00u; /* CLFLUSH size stays */
		c->edx &= ~BIT(28);
		if (n_vcpus > 1) {
			c->edx |= BIT(28); /* HTT: more than one logical processor */
			c->ebx |= n_vcpus << 16;
		}
		break;
	case 4:
	case 0x8000001d:
		fix_cache(c, n_vcpus);
		break;
	case 0xb:
	case 0x1f:
		fix_topology_leaf(c, n_vcpus);
		break;
	case 0x80000001:
		c->ecx &= ~BIT(1); /* CmpLegacy */
		if (n_vcpus > 1)
			c->ecx |= BIT(1);
		break;
	case 0x80000008:
		if (c->ecx || n_vcpus > 1)
			c->ecx = bits_for(n_vcpus) << 12 | (n_vcpus - 1);
		break;
	}
}

void cpuid_topology(struct cpuid_table *t, uint32_t n_vcpus)
{
	/* KVM offers subleaves 0..n of the topology leaves; we need 0 and 1 whatever the host has. */
	if (cpuid_find(t, 0xb, 0))
		cpuid_put(t, 0xb, 1);
	if (cpuid_find(t, 0x1f, 0))
		cpuid_put(t, 0x1f, 1);
	for (uint32_t i = 0; i < t->count; i++)
		fix_leaf(&t->entries[i], n_vcpus);
}

void cpuid_for_vcpu(const struct cpuid_table *t, uint32_t id, uint32_t n_vcpus,
		    struct cpuid_table *out)
{
	*out = *t;
	for (uint32_t i = 0; i < out->count; i++) {
		struct kvm_cpuid_entry2 *c = &out->entries[i];

		if (c->function == 1)
			c->ebx = (c->ebx & 0x00ffffffu) | id << 24;
		else if (c->function == 0xb || c->function == 0x1f)
			c->edx = id;
		else if (c->function == 0x8000001e && is_amd(t)) {
			c->eax = id;
			c->ebx = id & 0xff; /* core id, one thread per core */
			c->ecx = 0;         /* node 0, one node */
		}
	}
}
