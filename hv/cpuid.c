/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid - see cpuid.h.
 *
 * Topology (Intel SDM 2A CPUID leaves 1, 4, 0xb; AMD APM 3 leaves 0x80000008,
 * 0x8000001d, 0x8000001e): one package, each vCPU a core with one thread.  APIC
 * id = vCPU number.
 *
 * Taken away: virtualisation inside the guest, performance counters, SGX, MPX,
 * TSX and AMX (their state would need more than the 4 KiB XSAVE area), and KVM's
 * asynchronous page faults (a token in flight would be lost in a migration).
 */
#include "hv/cpuid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BIT(n) (1u << (n))
#define LEAF_KVM 0x40000000u
#define LEAF_KVM_FEATURES 0x40000001u

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
	if (c->index == 0) {        /* threads of a core */
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
		c->ecx &= ~(BIT(5) | BIT(15)); /* VMX, PDCM */
		c->ecx |= BIT(31) | BIT(21);   /* hypervisor, x2APIC */
		if (k->tsc_deadline)
			c->ecx |= BIT(24);
		c->ebx &= 0x0000ff00u;         /* CLFLUSH size stays */
		c->edx &= ~BIT(28);
		if (n_vcpus > 1) {
			c->edx |= BIT(28);     /* HTT: more than one logical processor */
			c->ebx |= n_vcpus << 16;
		}
		break;
	case 4:
	case 0x8000001d:
		fix_cache(c, n_vcpus);
		break;
	case 7:
		if (c->index == 0) {
			c->ebx &= ~(BIT(2) | BIT(4) | BIT(11) | BIT(14)); /* SGX HLE RTM MPX */
			c->edx &= ~(BIT(22) | BIT(24) | BIT(25));         /* AMX */
		}
		break;
	case 0xa:
		c->eax = c->ebx = c->ecx = c->edx = 0;
		break;
	case 0xb:
	case 0x1f:
		fix_topology_leaf(c, n_vcpus);
		break;
	case 0xd:
		if (c->index == 0)
			c->eax &= ~(BIT(3) | BIT(4) | BIT(17) | BIT(18)); /* MPX, AMX */
		break;
	case LEAF_KVM_FEATURES:
		c->eax &= ~(BIT(4) | BIT(10) | BIT(14)); /* ASYNC_PF, _VMEXIT, _INT */
		break;
	case 0x80000001:
		c->ecx &= ~(BIT(2) | BIT(1)); /* SVM, CmpLegacy */
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
	t->count = raw.head.nent;
	memcpy(t->entries, raw.entries, t->count * sizeof(t->entries[0]));
	ensure_subleaf(t, 0xb, 1);
	ensure_subleaf(t, 0x1f, 1);
	for (uint32_t i = 0; i < t->count; i++) {
		memset(t->entries[i].padding, 0, sizeof(t->entries[i].padding));
		fix_leaf(&t->entries[i], k, n_vcpus);
	}
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

/* --- can their guest run here? --- */

enum reg { EAX, EBX, ECX, EDX };

static uint32_t reg_of(const struct kvm_cpuid_entry2 *c, enum reg r)
{
	if (!c)
		return 0;
	switch (r) {
	case EAX:
		return c->eax;
	case EBX:
		return c->ebx;
	case ECX:
		return c->ecx;
	default:
		return c->edx;
	}
}

/* Words whose bits each stand for one feature (SDM 2A 3.3 CPUID, APM 3 appendix E). */
static const struct word {
	uint32_t leaf, index;
	enum reg reg;
	const char *reg_name;
	const char *const *bits; /* names by bit, or NULL */
} words[] = {
	{ 1, 0, ECX, "ecx",
	  (const char *const[32]){ "sse3", "pclmulqdq", [9] = "ssse3", [12] = "fma", "cx16",
				   [17] = "pcid", [19] = "sse4.1", "sse4.2", "x2apic", "movbe",
				   "popcnt", "tsc-deadline", "aes", "xsave", "osxsave", "avx", "f16c",
				   "rdrand" } },
	{ 1, 0, EDX, "edx",
	  (const char *const[32]){ "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8",
				   "apic", [11] = "sep", "mtrr", "pge", "mca", "cmov", "pat", "pse36",
				   [19] = "clflush", [23] = "mmx", "fxsr", "sse", "sse2" } },
	{ 7, 0, EBX, "ebx",
	  (const char *const[32]){ "fsgsbase", "tsc-adjust", [3] = "bmi1", [5] = "avx2", [7] = "smep",
				   "bmi2", "erms", "invpcid", [16] = "avx512f", "avx512dq", "rdseed",
				   "adx", "smap", "avx512ifma", [23] = "clflushopt", "clwb",
				   [28] = "avx512cd", "sha", "avx512bw", "avx512vl" } },
	{ 7, 0, ECX, "ecx",
	  (const char *const[32]){ [1] = "avx512vbmi", "umip", "pku", [6] = "avx512vbmi2", "shstk",
				   "gfni", "vaes", "vpclmulqdq", "avx512vnni", [16] = "la57",
				   [22] = "rdpid" } },
	{ 7, 0, EDX, "edx",
	  (const char *const[32]){ [4] = "fsrm", [26] = "spec-ctrl", "stibp", "flush-l1d",
				   "arch-capabilities", [31] = "ssbd" } },
	{ 7, 1, EAX, "eax", NULL },
	{ 0xd, 0, EAX, "eax", (const char *const[32]){ "x87 state", "sse state", "avx state",
						       [5] = "opmask state", "zmm_hi256 state",
						       "hi16_zmm state", [9] = "pkru state" } },
	{ 0xd, 1, EAX, "eax", (const char *const[32]){ "xsaveopt", "xsavec", "xgetbv1", "xsaves" } },
	{ LEAF_KVM_FEATURES, 0, EAX, "eax",
	  (const char *const[32]){ "kvmclock-old", "nop-io-delay", [3] = "kvmclock", [5] = "steal-time",
				   "pv-eoi", "pv-unhalt", [9] = "pv-tlb-flush", [11] = "pv-send-ipi",
				   [24] = "kvmclock-stable" } },
	{ 0x80000001, 0, ECX, "ecx",
	  (const char *const[32]){ "lahf", [5] = "abm", "sse4a", "misalignsse", "3dnowprefetch",
				   [11] = "xop", [16] = "fma4" } },
	{ 0x80000001, 0, EDX, "edx",
	  (const char *const[32]){ [11] = "syscall", [20] = "nx", [26] = "1gb-pages", "rdtscp",
				   [29] = "lm" } },
	{ 0x80000007, 0, EDX, "edx", (const char *const[32]){ [8] = "invariant-tsc" } },
	{ 0x80000008, 0, EBX, "ebx", NULL },
};

static void name_missing(char *text, size_t len, const struct word *w, uint32_t missing)
{
	for (unsigned int bit = 0; bit < 32; bit++) {
		size_t n = strlen(text);

		if (!(missing & BIT(bit)))
			continue;
		if (w->bits && w->bits[bit])
			snprintf(text + n, len - n, "%s%s", n ? ", " : "", w->bits[bit]);
		else
			snprintf(text + n, len - n, "%sCPUID 0x%x.%u %s bit %u", n ? ", " : "",
				 w->leaf, w->index, w->reg_name, bit);
	}
}

int cpuid_check(const struct cpuid_table *ours, const struct cpuid_table *theirs, struct err *e)
{
	char missing[320] = "";
	uint32_t here, there;

	if (theirs->count == 0 || theirs->count > KVM_CPUID_MAX)
		return err_set(e, -EINVAL, "cpuid: %u entries, expected 1 to %u", theirs->count,
			       KVM_CPUID_MAX);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const struct word *w = &words[i];

		there = reg_of(cpuid_find(theirs, w->leaf, w->index), w->reg);
		here = reg_of(cpuid_find(ours, w->leaf, w->index), w->reg);
		name_missing(missing, sizeof(missing), w, there & ~here);
	}
	if (missing[0])
		return err_set(e, -EINVAL, "this host's CPU lacks what the guest uses: %s", missing);
	there = reg_of(cpuid_find(theirs, 0x80000008, 0), EAX) & 0xff;
	here = reg_of(cpuid_find(ours, 0x80000008, 0), EAX) & 0xff;
	if (there > here)
		return err_set(e, -EINVAL,
			       "the guest saw %u physical address bits, this host has %u", there, here);
	return 0;
}
