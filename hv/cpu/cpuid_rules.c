/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid_rules - which words of CPUID a guest may see, and what each means for a move.
 *
 * One table says both, so that nothing is shown that is not compared.  It is an
 * allow list: a leaf or a bit that is not in it is not shown, because it was made
 * after this was written and nobody has looked at whether its state is carried.
 *
 *   BITS     a feature per bit, of which these may be shown; a guest that saw one needs it
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
#define LEAF_KVM_FEATURES 0x40000001u

enum meaning {
	BITS,
	EQUAL,
	WIDTH,
	IGNORE
};

struct word {
	enum meaning meaning;
	uint32_t allow;          /* BITS */
	const char *const *bits; /* names by bit, or NULL */
};

struct rule {
	uint32_t leaf, first, last; /* indices */
	struct word reg[4];         /* EAX, EBX, ECX, EDX */
};

/* A register per line. */
/* clang-format off */
static const struct rule rules[] = {
	/* highest leaf, and the vendor: SYSCALL and SYSENTER differ between them */
	{ 0, 0, ANY,
	  { { IGNORE },
	    { EQUAL },
	    { EQUAL },
	    { EQUAL } } },
	/* model, APIC id; features, without VMX, SMX, MWAIT, power and debug stores */
	{ 1, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { BITS, 0xfffa3203,
	    (const char *const[32]){ "sse3", "pclmulqdq", [9] = "ssse3", [12] = "fma", "cx16", [17] = "pcid", [19] = "sse4.1", "sse4.2", "x2apic", "movbe", "popcnt", "tsc-deadline", "aes", "xsave", "osxsave", "avx", "f16c", "rdrand" } },
	    { BITS, 0x1f8bfbff,
	    (const char *const[32]){ "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", [11] = "sep", "mtrr", "pge", "mca", "cmov", "pat", "pse36", [19] = "clflush", [23] = "mmx", "fxsr", "sse", "sse2" } } } },
	/* caches, as they are told */
	{ 2, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* caches: cpuid.c makes the topology */
	{ 4, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* power: that the APIC timer always runs, nothing else */
	{ 6, 0, ANY,
	  { { BITS, 0x00000004 },
	    { BITS, 0 },
	    { BITS, 0 },
	    { BITS, 0 } } },
	/* without SGX, TSX, MPX, PT, CET (supervisor state), WAITPKG, AMX */
	{ 7, 0, 0,
	  { { IGNORE },
	    { BITS, 0xfdbf27eb,
	    (const char *const[32]){ "fsgsbase", "tsc-adjust", [3] = "bmi1", [5] = "avx2", [7] = "smep", "bmi2", "erms", "invpcid", [16] = "avx512f", "avx512dq", "rdseed", "adx", "smap", "avx512ifma", [23] = "clflushopt", "clwb", [28] = "avx512cd", "sha", "avx512bw", "avx512vl" } },
	    { BITS, 0x1a415f5e,
	    (const char *const[32]){ [1] = "avx512vbmi", "umip", "pku", [6] = "avx512vbmi2", "shstk", "gfni", "vaes", "vpclmulqdq", "avx512vnni", [16] = "la57", [22] = "rdpid" } },
	    { BITS, 0xbc80451c,
	    (const char *const[32]){ [4] = "fsrm", [26] = "spec-ctrl", "stibp", "flush-l1d", "arch-capabilities", [31] = "ssbd" } } } },
	/* AVX-VNNI, BF16, fast strings, AVX-IFMA; AVX-VNNI-INT8, NE-CONVERT, PREFETCHI */
	{ 7, 1, 1,
	  { { BITS, 0x00801c30 },
	    { BITS, 0 },
	    { BITS, 0 },
	    { BITS, 0x00004030 } } },
	/* speculation controls, all in SPEC_CTRL */
	{ 7, 2, 2,
	  { { BITS, 0 },
	    { BITS, 0 },
	    { BITS, 0 },
	    { BITS, 0x0000003f } } },
	/* topology: cpuid.c */
	{ 0xb, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* topology: cpuid.c */
	{ 0x1f, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* state components whose area fits 4 KiB; the sizes follow from them */
	{ 0xd, 0, 0,
	  { { BITS, 0x000002e7,
	    (const char *const[32]){ "x87 state", "sse state", "avx state", [5] = "opmask state", "zmm_hi256 state", "hi16_zmm state", [9] = "pkru state" } },
	    { IGNORE },
	    { IGNORE },
	    { BITS, 0 } } },
	/* no supervisor state: XSS stays 0 */
	{ 0xd, 1, 1,
	  { { BITS, 0x0000000f,
	    (const char *const[32]){ "xsaveopt", "xsavec", "xgetbv1", "xsaves" } },
	    { IGNORE },
	    { BITS, 0 },
	    { BITS, 0 } } },
	/* size and offset of a component: state is laid out by them */
	{ 0xd, 2, ANY,
	  { { EQUAL },
	    { EQUAL },
	    { EQUAL },
	    { BITS, 0 } } },
	/* TSC and crystal: the frequency travels with the vCPU */
	{ 0x15, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* frequencies, as they are told */
	{ 0x16, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* "KVMKVMKVM" */
	{ LEAF_KVM, 0, ANY,
	  { { IGNORE },
	    { EQUAL },
	    { EQUAL },
	    { EQUAL } } },
	/* without asynchronous page faults: a token in flight would be lost in a migration */
	{ LEAF_KVM_FEATURES, 0, ANY,
	  { { BITS, 0x01003aeb,
	    (const char *const[32]){ "kvmclock-old", "nop-io-delay", [3] = "kvmclock", [5] = "steal-time", "pv-eoi", "pv-unhalt", [9] = "pv-tlb-flush", [11] = "pv-send-ipi", [24] = "kvmclock-stable" } },
	    { BITS, 0 },
	    { BITS, 0 },
	    { BITS, 0 } } },
	/* highest leaf */
	{ 0x80000000, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* without SVM, OSVW, IBS, LWP, performance counters, MWAITX */
	{ 0x80000001, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { BITS, 0x006109f3,
	    (const char *const[32]){ "lahf", [5] = "abm", "sse4a", "misalignsse", "3dnowprefetch", [11] = "xop", [16] = "fma4" } },
	    { BITS, 0xefd3fbff,
	    (const char *const[32]){ [11] = "syscall", [20] = "nx", [26] = "1gb-pages", "rdtscp", [29] = "lm" } } } },
	/* name */
	{ 0x80000002, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* name */
	{ 0x80000003, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* name */
	{ 0x80000004, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* caches and TLBs, as they are told */
	{ 0x80000005, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* the same */
	{ 0x80000006, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	{ 0x80000007, 0, ANY,
	  { { BITS, 0 },
	    { BITS, 0 },
	    { BITS, 0 },
	    { BITS, 0x00000100,
	    (const char *const[32]){ [8] = "invariant-tsc" } } } },
	/* address widths; speculation controls; topology */
	{ 0x80000008, 0, ANY,
	  { { WIDTH },
	    { BITS, 0x7707d205 },
	    { IGNORE },
	    { BITS, 0 } } },
	/* TLBs, as they are told */
	{ 0x80000019, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* which widths are fast */
	{ 0x8000001a, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* caches: cpuid.c makes the topology */
	{ 0x8000001d, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* topology: cpuid.c */
	{ 0x8000001e, 0, ANY,
	  { { IGNORE },
	    { IGNORE },
	    { IGNORE },
	    { IGNORE } } },
	/* LFENCE serialises, automatic IBRS, fast strings, SRSO */
	{ 0x80000021, 0, ANY,
	  { { BITS, 0x38000d45 },
	    { BITS, 0 },
	    { BITS, 0 },
	    { BITS, 0 } } },
};
/* clang-format on */

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

static uint32_t index_of(const struct kvm_cpuid_entry2 *c)
{
	return c->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX ? c->index : 0;
}

bool cpuid_allow(struct kvm_cpuid_entry2 *c)
{
	const struct rule *r = rule_for(c->function, index_of(c));
	uint32_t *const regs[4] = { &c->eax, &c->ebx, &c->ecx, &c->edx };
	const struct word *components = &rule_for(0xd, 0)->reg[0];

	/* The layout of a component that is not shown is not shown either. */
	if (!r || (c->function == 0xd && c->index > 1 &&
		   (c->index > 31 || !(components->allow >> c->index & 1))))
		return false;
	for (int i = 0; i < 4; i++)
		if (r->reg[i].meaning == BITS)
			*regs[i] &= r->reg[i].allow;
	return true;
}

/* --- can their guest run here? --- */

struct lack {
	char text[320];
};

static void lack_add(struct lack *l, const char *name)
{
	size_t n = strlen(l->text);

	snprintf(l->text + n, sizeof(l->text) - n, "%s%s", n ? ", " : "", name);
}

static void name_bits(struct lack *l, const struct kvm_cpuid_entry2 *c, int reg,
		      const struct word *w, uint32_t missing)
{
	char plain[64];

	for (unsigned int bit = 0; bit < 32; bit++) {
		if (!(missing >> bit & 1))
			continue;
		snprintf(plain, sizeof(plain), "CPUID 0x%x.%u e%cx bit %u", c->function, index_of(c),
			 "abcd"[reg], bit);
		lack_add(l, w && w->bits && w->bits[bit] ? w->bits[bit] : plain);
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
	const struct rule *r = rule_for(theirs->function, index_of(theirs));
	uint32_t here[4], there[4];
	int ret = 0;

	regs_of(theirs, there);
	regs_of(ours, here);
	for (int i = 0; i < 4 && !ret; i++) {
		const struct word *w = r ? &r->reg[i] : NULL;

		if (!w || w->meaning == BITS)
			name_bits(l, theirs, i, w, there[i] & ~here[i]);
		else if (w->meaning == EQUAL && there[i] != here[i])
			ret = err_set(e, -EINVAL, "CPUID 0x%x.%u e%cx: 0x%08x there, 0x%08x here",
				      theirs->function, index_of(theirs), "abcd"[i], there[i], here[i]);
		else if (w->meaning == WIDTH)
			ret = check_width(here[i], there[i], e);
	}
	return ret;
}

int cpuid_check(const struct cpuid_table *ours, const struct cpuid_table *theirs, struct err *e)
{
	struct lack lack = { "" };
	struct err why;
	int ret = 0;

	if (theirs->count == 0 || theirs->count > KVM_CPUID_MAX)
		return err_set(e, -EINVAL, "cpuid: %u entries, expected 1 to %u", theirs->count,
			       KVM_CPUID_MAX);
	for (uint32_t i = 0; i < theirs->count; i++) {
		const struct kvm_cpuid_entry2 *c = &theirs->entries[i];
		int bad = check_leaf(c, cpuid_find(ours, c->function, index_of(c)), &lack, ret ? NULL : &why);

		ret = ret ? ret : bad;
	}
	/* Names first: they say most. */
	if (lack.text[0])
		return err_set(e, -EINVAL, "this host's CPU lacks what the guest uses: %s", lack.text);
	return ret ? err_set(e, ret, "%s", why.text) : 0;
}
