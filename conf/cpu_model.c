/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_model - see cpu_model.h.
 *
 * A vendor's model has what all processors of that family have whose microcode is of 2019 or later, so that the guest's kernel
 * finds what it needs against speculation.  Left out of all: what KVM has on one kernel and not on another, what depends on a
 * host's settings (5-level paging, XSAVES, which has an erratum on AMD's family 0x17), and arch_capabilities, whose register
 * says other things on each host.  An operator can add them.  Nor is vme in any: it is
 * of no use in 64-bit mode, and not everywhere there.
 *
 * Family 15, model 107, stepping 1 for the levels: no processor that guests know errata of.
 */
#include "conf/cpu_model.h"

#include <assert.h>
#include <string.h>

#define LEVEL_SIGNATURE 0x00060fb1u

static const struct cpu_model models[] = {
	{ "x86-64-v1", "every 64-bit processor", CPU_VENDOR_ANY, LEVEL_SIGNATURE, "x86-64-v1 Processor", NULL,
	  "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 syscall nx lm "
	  "x2apic tsc_deadline_timer arat kvmclock-old nop-io-delay kvmclock steal-time pv-eoi pv-unhalt kvmclock-stable" },
	{ "x86-64-v2", "Nehalem, Bulldozer and later", CPU_VENDOR_ANY, LEVEL_SIGNATURE, "x86-64-v2 Processor", "x86-64-v1",
	  "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3" },
	{ "x86-64-v3", "Haswell, EPYC and later", CPU_VENDOR_ANY, LEVEL_SIGNATURE, "x86-64-v3 Processor", "x86-64-v2",
	  "xsave avx avx2 bmi1 bmi2 f16c fma abm movbe" },
	{ "x86-64-v4", "Skylake-Server, EPYC 9004 and later", CPU_VENDOR_ANY, LEVEL_SIGNATURE, "x86-64-v4 Processor", "x86-64-v3",
	  "avx512f avx512bw avx512cd avx512dq avx512vl" },

	{ "Haswell", "Xeon E5 v3, 2014", CPU_VENDOR_INTEL, 0x000306f2, "Intel Xeon Processor (Haswell)", "x86-64-v3",
	  "aes erms fsgsbase invpcid pcid pclmulqdq rdrand rdtscp smep tsc_adjust xsaveopt pdpe1gb spec_ctrl intel_stibp "
	  "intel_ssbd md_clear" },
	{ "Skylake-Server", "Xeon Scalable, 2017", CPU_VENDOR_INTEL, 0x00050654, "Intel Xeon Processor (Skylake)", "Haswell",
	  "3dnowprefetch adx clflushopt clwb pku rdseed smap xsavec xgetbv1 avx512f avx512bw avx512cd avx512dq avx512vl" },
	{ "Cascadelake-Server", "2nd generation Xeon Scalable, 2019", CPU_VENDOR_INTEL, 0x00050657,
	  "Intel Xeon Processor (Cascadelake)", "Skylake-Server", "avx512_vnni" },
	{ "Icelake-Server", "3rd generation Xeon Scalable, 2021", CPU_VENDOR_INTEL, 0x000606a6,
	  "Intel Xeon Processor (Icelake)", "Cascadelake-Server",
	  "avx512ifma avx512vbmi avx512_vbmi2 avx512_bitalg avx512_vpopcntdq fsrm gfni rdpid sha_ni umip vaes vpclmulqdq" },

	{ "EPYC", "EPYC 7001, 2017", CPU_VENDOR_AMD, 0x00800f12, "AMD EPYC Processor", "x86-64-v3",
	  "3dnowprefetch adx aes amd_ibpb clflushopt cr8_legacy fsgsbase fxsr_opt misalignsse mmxext pclmulqdq pdpe1gb rdrand "
	  "rdseed rdtscp sha_ni smap smep sse4a topoext xgetbv1 xsavec xsaveopt" },
	{ "EPYC-Rome", "EPYC 7002, 2019", CPU_VENDOR_AMD, 0x00830f10, "AMD EPYC Processor (Rome)", "EPYC",
	  "amd_ssbd amd_stibp clwb clzero rdpid umip xsaveerptr" },
	{ "EPYC-Milan", "EPYC 7003, 2021", CPU_VENDOR_AMD, 0x00a00f11, "AMD EPYC Processor (Milan)", "EPYC-Rome",
	  "erms fsrm invpcid pcid pku vaes vpclmulqdq" },
};

#define N_MODELS (sizeof(models) / sizeof(models[0]))

unsigned int cpu_model_count(void)
{
	return N_MODELS;
}

const struct cpu_model *cpu_model_at(unsigned int i)
{
	return &models[i];
}

const struct cpu_model *cpu_model_find(const char *name)
{
	for (size_t i = 0; i < N_MODELS; i++)
		if (strcmp(models[i].name, name) == 0)
			return &models[i];
	return NULL;
}

void cpu_model_features(const struct cpu_model *m, struct cpu_features *out)
{
	memset(out, 0, sizeof(*out));
	for (; m; m = m->base ? cpu_model_find(m->base) : NULL) {
		bool known = cpu_features_read(out, m->features);

		assert(known); /* tests/unit/conf/test_cpu.c */
		(void)known;
	}
}

bool cpu_model_lacks(const struct cpu_model *m, const struct cpu_features *has, struct cpu_features *lack)
{
	struct cpu_features left;

	cpu_model_features(m, &left);
	cpu_features_without(&left, has);
	if (lack)
		*lack = left;
	return cpu_features_any(&left);
}

const struct cpu_model *cpu_model_best(const struct cpu_features *has, enum cpu_vendor vendor, bool levels)
{
	const struct cpu_model *best = NULL;
	unsigned int most = 0;

	for (size_t i = 0; i < N_MODELS; i++) {
		struct cpu_features its;
		unsigned int n;

		if (models[i].vendor != CPU_VENDOR_ANY && (levels || models[i].vendor != vendor))
			continue;
		cpu_model_features(&models[i], &its);
		n = cpu_features_count(&its);
		if (n <= most || cpu_model_lacks(&models[i], has, NULL))
			continue;
		best = &models[i];
		most = n;
	}
	return best;
}

enum cpu_vendor cpu_vendor_of(const char *name)
{
	for (int v = CPU_VENDOR_INTEL; v <= CPU_VENDOR_AMD; v++)
		if (strcmp(name, cpu_vendor_name((enum cpu_vendor)v)) == 0)
			return (enum cpu_vendor)v;
	return CPU_VENDOR_ANY;
}

const char *cpu_vendor_name(enum cpu_vendor v)
{
	return v == CPU_VENDOR_INTEL ? "Intel" : v == CPU_VENDOR_AMD ? "AMD" :
								       "any";
}
