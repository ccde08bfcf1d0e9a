/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid_guest - the host's table as a domain's file wants it (cpuid.h).
 *
 * As the host's (no model): all that the host has but what the file takes away.  A model is an allow list: what is not
 * its own or asked for is not shown, and what the host lacks of it refuses the domain, so that the guest sees
 * the same features wherever it is started.  It also sees the model's name, family and stepping, no more
 * leaves than those that mean something, and as many address bits as its memory needs.  The vendor and the sizes
 * of caches stay the host's.
 */
#include "hv/cpu/cpuid_int.h"

#include <errno.h>
#include <string.h>

#define LACK_MAX 300
#define ADDRESS_BITS_MIN 39 /* fewer have only processors for small devices */
#define LINEAR_BITS 48
#define LINEAR_BITS_LA57 57
#define HOLE (2ull << 30) /* RAM ends so much above its size (hv/memory/memory.h) */
#define XSAVE_HEAD 576    /* legacy region and header: SDM 1 13.4 */

/* --- features --- */

static bool shows(const struct cpu_feature *f, unsigned int i, const struct domain_cpu *cpu,
		  const struct cpu_features *has, const struct cpu_features *gone)
{
	if (f->kind == CPU_FEATURE_MADE)
		return true;
	if (f->kind == CPU_FEATURE_FOLLOWS)
		i = (unsigned int)cpu_feature_find(f->needs, strlen(f->needs));
	return cpu->model ? cpu_features_has(has, i) : !cpu_features_has(gone, i);
}

static void hide(struct cpuid_table *t, const struct domain_cpu *cpu, const struct cpu_features *has,
		 const struct cpu_features *gone)
{
	for (unsigned int i = 0; i < cpu_feature_count(); i++) {
		const struct cpu_feature *f = cpu_feature_at(i);
		struct kvm_cpuid_entry2 *c = cpuid_edit(t, f->leaf, f->index);

		if (c && !shows(f, i, cpu, has, gone))
			*cpuid_reg(c, f->reg) &= ~(1u << f->bit);
	}
}

static int check_lack(const struct cpuid_table *host, const struct domain_cpu *cpu, const struct cpu_features *has,
		      struct err *e)
{
	struct cpu_features lack = *has, here;
	char names[LACK_MAX];

	cpuid_features(host, &here);
	cpu_features_without(&lack, &here);
	if (!cpu_features_any(&lack))
		return 0;
	cpu_features_text(&lack, names, sizeof(names));
	if (cpu->model)
		return err_set(e, -EPERM, "this host's CPU lacks what the domain's model %s has: %s", cpu->model->name, names);
	return err_set(e, -EPERM, "this host's CPU lacks what the domain's file asks for: %s", names);
}

static int check_vendor(const struct cpuid_table *host, const struct cpu_model *m, struct err *e)
{
	enum cpu_vendor here = cpuid_vendor(host);

	if (!m || m->vendor == CPU_VENDOR_ANY || m->vendor == here)
		return 0;
	return err_set(e, -EPERM, "the domain's CPU model %s is for processors of %s, this host's is of %s", m->name,
		       cpu_vendor_name(m->vendor), here == CPU_VENDOR_ANY ? "another vendor" : cpu_vendor_name(here));
}

/* --- leaves --- */

static bool is_empty(const struct kvm_cpuid_entry2 *c)
{
	return !c->eax && !c->ebx && !c->ecx && !c->edx;
}

static bool has_topoext(const struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *c = cpuid_find(t, 0x80000001, 0);

	return c && c->ecx & CPUID_TOPOEXT;
}

static void unshow_topoext(struct cpuid_table *t)
{
	struct kvm_cpuid_entry2 *c = cpuid_edit(t, 0x80000001, 0);

	if (c)
		c->ecx &= ~CPUID_TOPOEXT;
}

static bool keeps(const struct cpuid_table *t, const struct kvm_cpuid_entry2 *c, bool model)
{
	const struct kvm_cpuid_entry2 *xsave = cpuid_find(t, 0xd, 0);

	/* State components: only those that are left. */
	if (c->function == 0xd && c->index > 1)
		return xsave && c->index < 32 && xsave->eax >> c->index & 1;
	if (!model)
		return true;
	switch (c->function) {
	case 0xd:
		return xsave && xsave->eax && (c->index != 1 || c->eax);
	case 0x15: /* frequencies are the host's; the guest's clock is KVM's */
	case 0x16:
	case 0x1f: /* leaf 0xb says as much */
	case 0x80000019:
	case 0x8000001a:
		return false;
	case 0x8000001d:
	case 0x8000001e:
		return has_topoext(t);
	case 6:
	case 7:
	case 0x80000007:
	case 0x80000021:
		return (c->function == 7 && c->index == 0) || !is_empty(c);
	default:
		return true;
	}
}

static void prune(struct cpuid_table *t, bool model)
{
	struct cpuid_table from = *t;

	memset(t->entries, 0, sizeof(t->entries));
	t->count = 0;
	for (uint32_t i = 0; i < from.count; i++)
		if (keeps(&from, &from.entries[i], model))
			t->entries[t->count++] = from.entries[i];
}

/* The XSAVE area ends behind the last component that is left: KVM's answer counts all of the host's. */
static void fix_xsave_size(struct cpuid_table *t)
{
	struct kvm_cpuid_entry2 *head = cpuid_edit(t, 0xd, 0);
	uint32_t size = XSAVE_HEAD;

	for (uint32_t i = 0; i < t->count; i++) {
		const struct kvm_cpuid_entry2 *c = &t->entries[i];

		if (c->function == 0xd && c->index > 1 && c->ebx + c->eax > size)
			size = c->ebx + c->eax;
	}
	if (head)
		head->ecx = size;
}

/* --- who it is --- */

unsigned int cpuid_model_bits(uint64_t memory)
{
	unsigned int bits = ADDRESS_BITS_MIN - 1;

	while (1ull << bits < memory + HOLE)
		bits++;
	return bits + 1; /* guests want the upper half free, against L1TF */
}

static int set_widths(struct cpuid_table *t, const struct cpuid_table *host, const struct cpuid_wish *w, struct err *e)
{
	const struct kvm_cpuid_entry2 *c7 = cpuid_find(t, 7, 0);
	struct kvm_cpuid_entry2 *c = cpuid_put(t, 0x80000008, 0);
	unsigned int bits = cpuid_model_bits(w->memory);

	if (cpuid_address_bits(host) < bits)
		return err_set(e, -EPERM, "the domain's CPU model %s needs %u physical address bits for its memory, this host has %u",
			       w->cpu.model->name, bits, cpuid_address_bits(host));
	if (c)
		c->eax = bits | (c7 && c7->ecx & 1u << 16 ? LINEAR_BITS_LA57 : LINEAR_BITS) << 8;
	return 0;
}

static void set_brand(struct cpuid_table *t, const char *brand)
{
	uint32_t text[3][4] = { 0 };

	memcpy(text, brand, strlen(brand) < CPU_BRAND_MAX ? strlen(brand) : CPU_BRAND_MAX);
	for (uint32_t i = 0; i < 3; i++) {
		struct kvm_cpuid_entry2 *c = cpuid_put(t, 0x80000002 + i, 0);

		for (int reg = CPU_EAX; c && reg <= CPU_EDX; reg++)
			*cpuid_reg(c, (enum cpu_reg)reg) = text[i][reg];
	}
}

static void set_highest(struct cpuid_table *t, uint32_t base)
{
	struct kvm_cpuid_entry2 *c = cpuid_put(t, base, 0);

	if (!c)
		return;
	c->eax = base;
	for (uint32_t i = 0; i < t->count; i++)
		if (t->entries[i].function >> 30 == base >> 30 && t->entries[i].function > c->eax)
			c->eax = t->entries[i].function;
}

static int set_identity(struct cpuid_table *t, const struct cpuid_table *host, const struct cpuid_wish *w, struct err *e)
{
	struct kvm_cpuid_entry2 *c = cpuid_put(t, 1, 0);
	uint32_t last = 0;

	if (c)
		c->eax = w->cpu.model->signature;
	c = cpuid_put(t, 0x80000001, 0);
	if (c) {
		c->eax = cpuid_vendor(host) == CPU_VENDOR_INTEL ? 0 : w->cpu.model->signature;
		c->ebx = 0;
	}
	set_brand(t, w->cpu.model->brand);
	cpuid_put(t, 0xb, 0);
	for (uint32_t i = 0; i < t->count; i++)
		if (t->entries[i].function == 7 && t->entries[i].index > last)
			last = t->entries[i].index;
	c = cpuid_put(t, 7, 0);
	if (c)
		c->eax = last;
	set_highest(t, 0);
	set_highest(t, 0x80000000);
	return set_widths(t, host, w, e);
}

int cpuid_guest(struct cpuid_table *t, const struct cpuid_table *host, const struct cpuid_wish *w, struct err *e)
{
	struct cpu_features has, gone;
	int ret;

	domain_cpu_features(&w->cpu, &has, &gone);
	ret = check_vendor(host, w->cpu.model, e);
	if (!ret)
		ret = check_lack(host, &w->cpu, &has, e);
	if (ret)
		return ret;
	*t = *host;
	hide(t, &w->cpu, &has, &gone);
	if (!w->cpu.model && !cpuid_find(host, 0x8000001e, 0)) /* only offered (cpuid.c) */
		unshow_topoext(t);
	prune(t, w->cpu.model != NULL);
	if (w->cpu.model)
		ret = set_identity(t, host, w, e);
	cpuid_topology(t, &w->cpu.topology);
	fix_xsave_size(t);
	return ret;
}
