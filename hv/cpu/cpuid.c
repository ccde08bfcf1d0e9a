/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid - see cpuid.h: what this host's KVM supports, as far as a guest may see it.
 *
 * KVM_GET_SUPPORTED_CPUID leaves out what KVM has for a guest that it does not have itself: the bits that say
 * so are added here.
 */
#include "hv/cpu/cpuid_int.h"

#include <errno.h>
#include <string.h>

#define BIT(n) (1u << (n))

/* What a guest may see here, though KVM or its host does not. */
static void offer(struct kvm_cpuid_entry2 *c, const struct kvm_vm *k)
{
	if (c->function == 1) {
		c->ecx |= BIT(31) | BIT(21); /* hypervisor, x2APIC */
		if (k->tsc_deadline)
			c->ecx |= BIT(24);
		c->edx |= BIT(28); /* HTT, as topology has it */
	} else if (c->function == 0x80000001) {
		c->ecx |= BIT(1); /* CmpLegacy, as topology has it */
	}
}

/* AMD's leaves of topology say what we make of it, whether the host has any: without them guests see no threads. */
static void offer_topoext(struct cpuid_table *t)
{
	struct kvm_cpuid_entry2 *c = cpuid_edit(t, 0x80000001, 0);

	if (c && cpuid_is_amd(t))
		c->ecx |= CPUID_TOPOEXT;
}

int cpuid_host(struct cpuid_table *t, const struct kvm_vm *k, struct err *e)
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
	for (uint32_t i = 0; i < t->count; i++) {
		memset(t->entries[i].padding, 0, sizeof(t->entries[i].padding));
		offer(&t->entries[i], k);
	}
	offer_topoext(t);
	return 0;
}
