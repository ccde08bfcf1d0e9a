/* SPDX-License-Identifier: Apache-2.0 */
/* cpuid_find - looking a leaf up (cpuid.h). */
#include "hv/cpu/cpuid.h"

#include <stddef.h>

const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *t, uint32_t leaf,
					  uint32_t index)
{
	for (uint32_t i = 0; i < t->count; i++) {
		const struct kvm_cpuid_entry2 *c = &t->entries[i];

		if (c->function == leaf &&
		    (!(c->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || c->index == index))
			return c;
	}
	return NULL;
}
