/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid_rules - which words of CPUID a guest may see, and what each means for a move.
 *
 * One table says both, so that nothing is shown that is not compared.  It is an
 * allow list: a leaf or a bit that is not in it is not shown, because it was made
 * after this was written and nobody has looked at whether its state is carried.
 *
 *   BITS     a feature per bit, of which those with a name may be shown (conf/cpu_feature.h); a guest
 *            that saw one needs it
 *   EQUAL    part of how state is laid out, or of who made the processor: the same, or no move
 *   WIDTH    address bits: at least as many
 *   IGNORE   tells, promises nothing: the guest keeps seeing what it saw
 *
 * Their table is read with the same rules: what has no rule must not be there.
 * (SDM 2A 3.3 CPUID, APM 3 appendix E, Documentation/virt/kvm/x86/cpuid.rst)
 */
#include "hv/cpu/cpuid_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ANY UINT32_MAX
#define LEAF_KVM 0x40000000u

enum meaning {
	BITS,
	EQUAL,
	WIDTH,
	IGNORE
};

struct rule {
	uint32_t leaf, first, last; /* indices */
	enum meaning reg[4];
};

static const struct rule rules[] = {
	/* highest leaf, and the vendor: SYSCALL and SYSENTER differ between them */
	{ 0, 0, ANY, { IGNORE, EQUAL, EQUAL, EQUAL } },
	/* model, APIC id; features, without VMX, SMX, MWAIT, power and debug stores */
	{ 1, 0, ANY, { IGNORE, IGNORE, BITS, BITS } },
	/* caches, as they are told */
	{ 2, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* caches: cpuid_topology.c says who shares them */
	{ 4, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* power: that the APIC timer always runs, nothing else */
	{ 6, 0, ANY, { BITS, BITS, BITS, BITS } },
	/* without SGX, TSX, MPX, PT, CET (supervisor state), WAITPKG, AMX */
	{ 7, 0, 0, { IGNORE, BITS, BITS, BITS } },
	/* AVX-VNNI, BF16, fast strings, AVX-IFMA; AVX-VNNI-INT8, NE-CONVERT, PREFETCHI */
	{ 7, 1, 1, { BITS, BITS, BITS, BITS } },
	/* speculation controls, all in SPEC_CTRL */
	{ 7, 2, 2, { BITS, BITS, BITS, BITS } },
	/* topology: cpuid_topology.c */
	{ 0xb, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* topology: cpuid_topology.c */
	{ 0x1f, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* state components whose area fits 4 KiB; the sizes follow from them */
	{ 0xd, 0, 0, { BITS, IGNORE, IGNORE, BITS } },
	/* no supervisor state: XSS stays 0 */
	{ 0xd, 1, 1, { BITS, IGNORE, BITS, BITS } },
	/* size and offset of a component: state is laid out by them */
	{ 0xd, 2, ANY, { EQUAL, EQUAL, EQUAL, BITS } },
	/* TSC and crystal: the frequency travels with the vCPU */
	{ 0x15, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* frequencies, as they are told */
	{ 0x16, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* "KVMKVMKVM" */
	{ LEAF_KVM, 0, ANY, { IGNORE, EQUAL, EQUAL, EQUAL } },
	/* without asynchronous page faults: a token in flight would be lost in a migration */
	{ CPU_LEAF_KVM, 0, ANY, { BITS, BITS, BITS, BITS } },
	/* highest leaf */
	{ 0x80000000, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* without SVM, OSVW, IBS, LWP, performance counters, MWAITX */
	{ 0x80000001, 0, ANY, { IGNORE, IGNORE, BITS, BITS } },
	/* name */
	{ 0x80000002, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* name */
	{ 0x80000003, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* name */
	{ 0x80000004, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* caches and TLBs, as they are told */
	{ 0x80000005, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* the same */
	{ 0x80000006, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	{ 0x80000007, 0, ANY, { BITS, BITS, BITS, BITS } },
	/* address widths; speculation controls; topology */
	{ 0x80000008, 0, ANY, { WIDTH, BITS, IGNORE, BITS } },
	/* TLBs, as they are told */
	{ 0x80000019, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* which widths are fast */
	{ 0x8000001a, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* caches: cpuid_topology.c says who shares them */
	{ 0x8000001d, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* topology: cpuid_topology.c */
	{ 0x8000001e, 0, ANY, { IGNORE, IGNORE, IGNORE, IGNORE } },
	/* LFENCE serialises, automatic IBRS, fast strings, SRSO */
	{ 0x80000021, 0, ANY, { BITS, BITS, BITS, BITS } },
};

static const struct rule *rule_for(uint32_t leaf, uint32_t index)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].leaf == leaf && index >= rules[i].first && index <= rules[i].last)
			return &rules[i];
	return NULL;
}

static void regs_of(const struct kvm_cpuid_entry2 *c, uint32_t out[4])
{
	out[0] = c ? c->eax : 0;
	out[1] = c ? c->ebx : 0;
	out[2] = c ? c->ecx : 0;
	out[3] = c ? c->edx : 0;
}

bool cpuid_allow(struct kvm_cpuid_entry2 *c)
{
	const struct rule *r = rule_for(c->function, cpuid_subleaf(c));

	/* The layout of a component that is not shown is not shown either. */
	if (!r || (c->function == 0xd && c->index > 1 &&
		   (c->index > 31 || !cpu_feature_of(0xd, 0, CPU_EAX, c->index))))
		return false;
	for (int i = 0; i < 4; i++)
		if (r->reg[i] == BITS)
			*cpuid_reg(c, (enum cpu_reg)i) &= cpu_feature_allow(c->function, cpuid_subleaf(c), (enum cpu_reg)i);
	return true;
}

/* --- can their guest run here? --- */

/* What follows from another feature is only worth telling when nothing else is missing. */
struct lack {
	char text[300], follows[300];
	unsigned int more; /* that had no room */
};

static void lack_add(struct lack *l, const char *name, bool follows)
{
	char *text = follows ? l->follows : l->text;
	size_t n = strlen(text);

	if (n + strlen(name) + sizeof(", ") <= sizeof(l->text))
		snprintf(text + n, sizeof(l->text) - n, "%s%s", n ? ", " : "", name);
	else if (!follows)
		l->more++;
}

static int lack_tell(const struct lack *l, struct err *e)
{
	char more[32] = "";

	if (l->more)
		snprintf(more, sizeof(more), " and %u more", l->more);
	return err_set(e, -EINVAL, "this host's CPU lacks what the guest uses: %s%s", l->text[0] ? l->text : l->follows, more);
}

static void name_bits(struct lack *l, const struct kvm_cpuid_entry2 *c, int reg, uint32_t missing)
{
	const struct cpu_feature *f;
	char plain[64];

	for (unsigned int bit = 0; bit < 32; bit++) {
		if (!(missing >> bit & 1))
			continue;
		f = cpu_feature_of(c->function, cpuid_subleaf(c), (enum cpu_reg)reg, bit);
		snprintf(plain, sizeof(plain), "CPUID 0x%x.%u e%cx bit %u", c->function, cpuid_subleaf(c),
			 "abcd"[reg], bit);
		lack_add(l, f ? f->name : plain, f && f->kind == CPU_FEATURE_FOLLOWS);
	}
}

static int check_width(uint32_t here, uint32_t there, struct err *e)
{
	static const char *const what[] = { "physical", "linear" };

	for (int i = 0; i < 2; i++) {
		uint32_t ours = here >> 8 * i & 0xff, theirs = there >> 8 * i & 0xff;

		if (theirs > ours)
			return err_set(e, -EINVAL, "the guest saw %u %s address bits, this host has %u",
				       theirs, what[i], ours);
	}
	return 0;
}

static int check_leaf(const struct kvm_cpuid_entry2 *theirs, const struct kvm_cpuid_entry2 *ours,
		      struct lack *l, struct err *e)
{
	const struct rule *r = rule_for(theirs->function, cpuid_subleaf(theirs));
	uint32_t here[4], there[4];
	int ret = 0;

	regs_of(theirs, there);
	regs_of(ours, here);
	for (int i = 0; i < 4 && !ret; i++) {
		enum meaning m = r ? r->reg[i] : BITS;

		if (m == BITS)
			name_bits(l, theirs, i, there[i] & ~here[i]);
		else if (m == EQUAL && there[i] != here[i])
			ret = err_set(e, -EINVAL, "CPUID 0x%x.%u e%cx: 0x%08x there, 0x%08x here",
				      theirs->function, cpuid_subleaf(theirs), "abcd"[i], there[i], here[i]);
		else if (m == WIDTH)
			ret = check_width(here[i], there[i], e);
	}
	return ret;
}

/* Names of vendors are twelve letters in three registers. */
static int check_vendor(const struct cpuid_table *ours, const struct cpuid_table *theirs, struct err *e)
{
	const struct kvm_cpuid_entry2 *here = cpuid_find(ours, 0, 0), *there = cpuid_find(theirs, 0, 0);

	if (!here || !there || (here->ebx == there->ebx && here->ecx == there->ecx && here->edx == there->edx))
		return 0;
	return err_set(e, -EINVAL, "the guest was started on a processor of %.4s%.4s%.4s, this host's is of %.4s%.4s%.4s: it cannot move between them",
		       (const char *)&there->ebx, (const char *)&there->edx, (const char *)&there->ecx, (const char *)&here->ebx,
		       (const char *)&here->edx, (const char *)&here->ecx);
}

int cpuid_check(const struct cpuid_table *ours, const struct cpuid_table *theirs, struct err *e)
{
	struct lack lack = { .text = "" };
	struct err why;
	int ret = 0;

	if (theirs->count == 0 || theirs->count > KVM_CPUID_MAX)
		return err_set(e, -EINVAL, "cpuid: %u entries, expected 1 to %u", theirs->count,
			       KVM_CPUID_MAX);
	if (check_vendor(ours, theirs, e))
		return -EINVAL;
	for (uint32_t i = 0; i < theirs->count; i++) {
		const struct kvm_cpuid_entry2 *c = &theirs->entries[i];
		int bad = check_leaf(c, cpuid_find(ours, c->function, cpuid_subleaf(c)), &lack, ret ? NULL : &why);

		ret = ret ? ret : bad;
	}
	/* Names first: they say most. */
	if (lack.text[0] || lack.follows[0])
		return lack_tell(&lack, e);
	return ret ? err_set(e, ret, "%s", why.text) : 0;
}
