/* SPDX-License-Identifier: Apache-2.0 */
/* cpuid_find - looking things up in a table (cpuid.h). */
#include "hv/cpu/cpuid_int.h"

#include <string.h>

struct kvm_cpuid_entry2 *cpuid_edit(struct cpuid_table *t, uint32_t leaf, uint32_t index)
{
	for (uint32_t i = 0; i < t->count; i++) {
		struct kvm_cpuid_entry2 *c = &t->entries[i];

		if (c->function == leaf &&
		    (!(c->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || c->index == index))
			return c;
	}
	return NULL;
}

const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *t, uint32_t leaf,
					  uint32_t index)
{
	return cpuid_edit((struct cpuid_table *)t, leaf, index);
}

/* Leaves whose answer depends on ECX (SDM 2A 3.3, APM 3 E.4). */
static bool has_subleaves(uint32_t leaf)
{
	return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x1f || leaf == 0x8000001d;
}

struct kvm_cpuid_entry2 *cpuid_put(struct cpuid_table *t, uint32_t leaf, uint32_t index)
{
	struct kvm_cpuid_entry2 *c = cpuid_edit(t, leaf, index);

	if (c || t->count == KVM_CPUID_MAX)
		return c;
	c = &t->entries[t->count++];
	memset(c, 0, sizeof(*c));
	c->function = leaf;
	c->index = index;
	c->flags = has_subleaves(leaf) ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
	return c;
}

void cpuid_features(const struct cpuid_table *t, struct cpu_features *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned int i = 0; i < cpu_feature_count(); i++) {
		const struct cpu_feature *f = cpu_feature_at(i);
		struct kvm_cpuid_entry2 *c = cpuid_edit((struct cpuid_table *)t, f->leaf, f->index);

		if (c && *cpuid_reg(c, f->reg) >> f->bit & 1)
			cpu_features_put(out, i);
	}
}

uint64_t cpuid_components(const struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *c = cpuid_find(t, 0xd, 0);

	return 3 | (c ? c->eax | (uint64_t)c->edx << 32 : 0);
}

enum cpu_vendor cpuid_vendor(const struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *c = cpuid_find(t, 0, 0);

	if (c && c->ebx == 0x756e6547 && c->edx == 0x49656e69 && c->ecx == 0x6c65746e) /* "GenuineIntel" */
		return CPU_VENDOR_INTEL;
	if (c && c->ebx == 0x68747541 && c->edx == 0x69746e65 && c->ecx == 0x444d4163) /* "AuthenticAMD" */
		return CPU_VENDOR_AMD;
	return CPU_VENDOR_ANY;
}

unsigned int cpuid_address_bits(const struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *c = cpuid_find(t, 0x80000008, 0);

	return c ? c->eax & 0xff : 36; /* SDM 2A 3.3: without the leaf, as PAE has */
}
