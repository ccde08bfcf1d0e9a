/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid - see cpuid.h.
 *
 * Topology (Intel SDM 2A CPUID leaves 1, 4, 0xb; AMD APM 3 leaves 0x80000008,
 * 0x8000001d, 0x8000001e): one package, each vCPU a core with one thread.  APIC
 * id = vCPU number.
 *
 * What is shown at all is in cpuid_rules.c; here is what it becomes for this machine.
 */
#include "hv/cpu/cpuid_int.h"

#include <errno.h>
#include <string.h>

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

static void fix_leaf(struct kvm_cpuid_entry2 *c, const struct kvm_vm *k, uint32_t n_vcpus)
{
	switch (c->function) {
	case 1:
		c->ecx |= BIT(31) | BIT(21); /* hypervisor, x2APIC */
		if (k->tsc_deadline)
			c->ecx |= BIT(24);
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

/* KVM offers subleaves 0..n of the topology leaves; we need 0 and 1 whatever the host has. */
static void ensure_subleaf(struct cpuid_table *t, uint32_t leaf, uint32_t index)
{
	struct kvm_cpuid_entry2 *c;

	for (uint32_t i = 0; i < t->count; i++)
		if (t->entries[i].function == leaf && t->entries[i].index == index)
			return;
	if (t->count == KVM_CPUID_MAX || !cpuid_find(t, leaf, 0))
		return;
	c = &t->entries[t->count++];
	memset(c, 0, sizeof(*c));
	c->function = leaf;
	c->index = index;
	c->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
}

/* The XSAVE area ends behind the last component that is left: KVM's answer counts all of the host's. */
static void fix_xsave_size(struct cpuid_table *t)
{
	uint32_t size = 576; /* legacy region and header: SDM 1 13.4 */
	struct kvm_cpuid_entry2 *head = NULL;

	for (uint32_t i = 0; i < t->count; i++) {
		struct kvm_cpuid_entry2 *c = &t->entries[i];

		if (c->function != 0xd)
			continue;
		if (c->index == 0)
			head = c;
		else if (c->index > 1 && c->ebx + c->eax > size)
			size = c->ebx + c->eax;
	}
	if (head)
		head->ecx = size;
}

int cpuid_host(struct cpuid_table *t, const struct kvm_vm *k, uint32_t n_vcpus, struct err *e)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[KVM_CPUID_MAX];
	} raw = { .head.nent = KVM_CPUID_MAX };
	int ret;

	ret = kvm_ioctl(k->sys_fd, KVM_GET_SUPPORTED_CPUID, &raw);
	if (ret < 0)
		return err_set(e, ret, "KVM_GET_SUPPORTED_CPUID: %s", strerror(-ret));
	memset(t, 0, sizeof(*t));
	for (uint32_t i = 0; i < raw.head.nent; i++)
		if (cpuid_allow(&raw.entries[i]))
			t->entries[t->count++] = raw.entries[i];
	ensure_subleaf(t, 0xb, 1);
	ensure_subleaf(t, 0x1f, 1);
	for (uint32_t i = 0; i < t->count; i++) {
		memset(t->entries[i].padding, 0, sizeof(t->entries[i].padding));
		fix_leaf(&t->entries[i], k, n_vcpus);
	}
	fix_xsave_size(t);
	return 0;
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
