/* SPDX-License-Identifier: Apache-2.0 */
/* Models: the same guest on every host that has enough, and the names of what others lack. */
#include "hv/cpu/cpuid_int.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define EXTRA "aes rdrand rdtscp smep erms xsavec xgetbv1 nonstop_tsc arch_capabilities avx512_vnni"

/* A host with a model's features and others. */
static struct cpuid_table host_of(const char *vendor, const char *model, const char *more)
{
	struct cpu_features has;
	struct cpuid_table t = { 0 };
	struct kvm_cpuid_entry2 *c = cpuid_put(&t, 0, 0);

	c->eax = 0x20;
	memcpy(&c->ebx, vendor, 4);
	memcpy(&c->edx, vendor + 4, 4);
	memcpy(&c->ecx, vendor + 8, 4);
	cpu_model_features(cpu_model_find(model), &has);
	assert_true(cpu_features_read(&has, more));
	for (unsigned int i = 0; i < cpu_feature_count(); i++) {
		const struct cpu_feature *f = cpu_feature_at(i);
		int needs = f->needs ? cpu_feature_find(f->needs, strlen(f->needs)) : -1;

		if (f->kind == CPU_FEATURE_MADE || cpu_features_has(&has, i) ||
		    (f->kind == CPU_FEATURE_FOLLOWS && cpu_features_has(&has, (unsigned int)needs)))
			*cpuid_reg(cpuid_put(&t, f->leaf, f->index), f->reg) |= 1u << f->bit;
	}
	cpuid_put(&t, 1, 0)->ebx = 0x800;
	cpuid_put(&t, 0x80000008, 0)->eax = 46 | 48 << 8;
	for (uint32_t i = 2; i < 10; i++)
		if (cpuid_find(&t, 0xd, 0) && cpuid_find(&t, 0xd, 0)->eax >> i & 1)
			*cpuid_put(&t, 0xd, i) = (struct kvm_cpuid_entry2){ .function = 0xd, .index = i, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .eax = 256, .ebx = 576 + (i - 2) * 256 };
	return t;
}

static int guest_of(struct cpuid_table *t, const struct cpuid_table *host, const char *model, const char *add,
		    const char *remove, struct err *e)
{
	struct cpuid_wish w = { .cpu.model = cpu_model_find(model), .cpu.topology = { 1, 2, 1 }, .memory = 1ull << 30 };

	assert_true(cpu_features_read(&w.cpu.add, add) && cpu_features_read(&w.cpu.remove, remove));
	return cpuid_guest(t, host, &w, e);
}

static bool has(const struct cpuid_table *t, const char *name)
{
	struct cpu_features s;

	cpuid_features(t, &s);
	return cpu_features_has(&s, (unsigned int)cpu_feature_find(name, strlen(name)));
}

static void assert_alike(const struct cpuid_table *a, const struct cpuid_table *b)
{
	assert_int_equal(a->count, b->count);
	for (uint32_t i = 0; i < a->count; i++) {
		const struct kvm_cpuid_entry2 *x = &a->entries[i], *y = cpuid_find(b, x->function, cpuid_subleaf(x));

		if (!y || x->eax != y->eax || x->ebx != y->ebx || x->ecx != y->ecx || x->edx != y->edx)
			fail_msg("CPUID 0x%x.%u differs", x->function, cpuid_subleaf(x));
	}
}

static void a_model_is_all_that_is_shown(void **state)
{
	struct cpuid_table host = host_of("GenuineIntel", "x86-64-v4", EXTRA), t;
	struct cpu_features shown, model;
	char names[200];

	assert_int_equal(guest_of(&t, &host, "x86-64-v3", "", "", NULL), 0);
	cpuid_features(&t, &shown);
	cpu_model_features(cpu_model_find("x86-64-v3"), &model);
	for (unsigned int i = 0; i < cpu_feature_count(); i++)
		if (cpu_feature_at(i)->kind == CPU_FEATURE_PLAIN && cpu_features_has(&shown, i) != cpu_features_has(&model, i))
			fail_msg("%s", cpu_feature_at(i)->name);
	cpu_features_without(&model, &shown);
	assert_string_equal(cpu_features_text(&model, names, sizeof(names)), "");
	/* what follows from features */
	assert_true(has(&t, "avx state") && has(&t, "osxsave") && has(&t, "hypervisor"));
	assert_false(has(&t, "opmask state"));
	assert_null(cpuid_find(&t, 0xd, 5));
	assert_int_equal(cpuid_find(&t, 0xd, 0)->ecx, 576 + 256);
	assert_null(cpuid_find(&t, 0xd, 1)); /* XSAVEC is no part of it */
}

/* Whatever else a host has: other features, another name, more leaves, wider addresses. */
static void a_model_is_the_same_on_all_hosts(void **state)
{
	static const char *const names[] = { "x86-64-v1", "x86-64-v2", "x86-64-v3", "Haswell" };
	struct cpuid_table hosts[2] = { host_of("GenuineIntel", "Haswell", "rdseed"),
					host_of("GenuineIntel", "Icelake-Server", EXTRA " la57 amd_ibpb lfence_rdtsc avx_vnni") },
			   guests[2];

	cpuid_put(&hosts[1], 1, 0)->eax = 0x606a6;
	cpuid_put(&hosts[1], 0x80000001, 0)->ebx = 7;
	cpuid_put(&hosts[1], 0x80000002, 0)->eax = 0x65746e49;
	cpuid_put(&hosts[1], 0x80000008, 0)->eax = 52 | 57 << 8;
	cpuid_put(&hosts[1], 0x15, 0)->eax = 2;
	cpuid_put(&hosts[1], 0x16, 0)->eax = 2400;
	cpuid_put(&hosts[1], 0x1f, 0);
	cpuid_put(&hosts[1], 0xb, 0);
	cpuid_put(&hosts[1], 0x80000019, 0)->eax = 5;
	cpuid_put(&hosts[1], 0x80000000, 0)->eax = 0x80000021;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (int h = 0; h < 2; h++)
			assert_int_equal(guest_of(&guests[h], &hosts[h], names[i], "", "", NULL), 0);
		assert_alike(&guests[0], &guests[1]);
		for (int h = 0; h < 2; h++)
			assert_int_equal(cpuid_check(&hosts[h], &guests[!h], NULL), 0);
		assert_int_equal(cpuid_find(&guests[0], 1, 0)->eax, cpu_model_find(names[i])->signature);
		assert_memory_equal(&cpuid_find(&guests[0], 0x80000002, 0)->eax, cpu_model_find(names[i])->brand, 16);
		assert_int_equal(cpuid_find(&guests[0], 0x80000000, 0)->eax, 0x80000008);
		assert_int_equal(cpuid_find(&guests[0], 0, 0)->eax, cpuid_find(&guests[0], 0xd, 0) ? 0xd : 0xb);
		assert_int_equal(cpuid_find(&guests[0], 0x80000008, 0)->eax, 39 | 48 << 8);
	}
}

static void leaves_that_a_feature_brings_go_with_it(void **state)
{
	struct cpuid_table hosts[2] = { host_of("AuthenticAMD", "EPYC-Rome", ""), host_of("AuthenticAMD", "x86-64-v3", "aes") }, guests[2];

	cpuid_put(&hosts[0], 0x8000001d, 0)->eax = 0x121;
	cpuid_put(&hosts[0], 0x8000001e, 0)->ebx = 0x100;
	for (int h = 0; h < 2; h++)
		assert_int_equal(guest_of(&guests[h], &hosts[h], "x86-64-v3", "", "", NULL), 0);
	assert_alike(&guests[0], &guests[1]);
	assert_int_equal(guest_of(&guests[0], &hosts[0], "EPYC", "", "", NULL), 0);
	assert_int_equal(cpuid_find(&guests[0], 0x80000000, 0)->eax, 0x8000001e);
}

/* Whatever the model, and whether the host has such a leaf: guests of AMD look for threads there only. */
static void threads_are_told_on_amd(void **state)
{
	struct cpuid_table host = host_of("AuthenticAMD", "x86-64-v3", ""), t, own;
	struct cpuid_wish w = { .cpu.topology = { 1, 2, 2 }, .memory = 1ull << 30 };

	for (int model = 0; model < 2; model++) {
		w.cpu.model = model ? cpu_model_find("x86-64-v2") : NULL;
		w.cpu.topology.threads = 2;
		assert_int_equal(cpuid_guest(&t, &host, &w, NULL), 0);
		assert_true(has(&t, "topoext"));
		cpuid_for_vcpu(&t, 3, &w.cpu.topology, &own);
		assert_int_equal(cpuid_find(&own, 0x8000001e, 0)->eax, 3);
		assert_int_equal(cpuid_find(&own, 0x8000001e, 0)->ebx, 0x101);
		w.cpu.topology.threads = 1;
		assert_int_equal(cpuid_guest(&t, &host, &w, NULL), 0);
		assert_false(has(&t, "topoext"));
	}
	/* Intel's have leaf 0xb */
	host = host_of("GenuineIntel", "x86-64-v3", "");
	w.cpu.topology.threads = 2;
	assert_int_equal(cpuid_guest(&t, &host, &w, NULL), 0);
	assert_false(has(&t, "topoext"));
}

static void what_the_host_lacks_is_named(void **state)
{
	struct cpuid_table host = host_of("GenuineIntel", "x86-64-v2", ""), t;
	struct err e;

	assert_int_equal(guest_of(&t, &host, "x86-64-v3", "", "", &e), -EPERM);
	assert_string_equal(e.text, "this host's CPU lacks what the domain's model x86-64-v3 has: "
				    "fma, movbe, xsave, avx, f16c, bmi1, avx2, bmi2, abm");
	assert_int_equal(guest_of(&t, &host, "x86-64-v3", "", "xsave fma bmi1 bmi2 abm", &e), -EPERM);
	assert_string_equal(e.text, "this host's CPU lacks what the domain's model x86-64-v3 has: movbe");
	assert_int_equal(guest_of(&t, &host, "x86-64-v2", "aes", "", &e), -EPERM);
	assert_int_equal(guest_of(&t, &host, "host", "avx2", "", &e), -EPERM);
	assert_string_equal(e.text, "this host's CPU lacks what the domain's file asks for: xsave, avx, avx2");
}

static void a_vendors_model_is_for_its_processors(void **state)
{
	struct cpuid_table intel = host_of("GenuineIntel", "EPYC-Milan", ""), amd = host_of("AuthenticAMD", "EPYC-Milan", ""), t;
	struct err e;

	assert_int_equal(guest_of(&t, &intel, "EPYC", "", "", &e), -EPERM);
	assert_string_equal(e.text, "the domain's CPU model EPYC is for processors of AMD, this host's is of Intel");
	assert_int_equal(guest_of(&t, &amd, "EPYC", "", "", NULL), 0);
	assert_int_equal(cpuid_find(&t, 1, 0)->eax, 0x00800f12);
	assert_int_equal(cpuid_find(&t, 0x80000001, 0)->eax, 0x00800f12);
	assert_true(has(&t, "amd fxsr"));
	/* a level has the vendor of its host, and so stays with it */
	assert_int_equal(guest_of(&t, &amd, "x86-64-v3", "", "", NULL), 0);
	assert_int_equal(cpuid_vendor(&t), CPU_VENDOR_AMD);
	assert_int_equal(cpuid_check(&intel, &t, &e), -EINVAL);
}

static void without_a_model_the_guest_sees_the_host(void **state)
{
	struct cpuid_table host = host_of("AuthenticAMD", "EPYC", EXTRA), t, want;

	cpuid_put(&host, 0x8000001e, 0);
	want = host;

	assert_int_equal(guest_of(&t, &host, "host", "", "", NULL), 0);
	cpuid_topology(&want, &(struct cpu_topology){ 1, 2, 1 });
	cpuid_edit(&want, 0xd, 0)->ecx = cpuid_find(&t, 0xd, 0)->ecx;
	assert_alike(&want, &t);
}

static void what_is_taken_away_goes_with_what_needs_it(void **state)
{
	struct cpuid_table host = host_of("GenuineIntel", "Icelake-Server", EXTRA), t;

	assert_int_equal(guest_of(&t, &host, "host", "", "avx512f", NULL), 0);
	assert_true(has(&t, "avx2") && has(&t, "nonstop_tsc"));
	assert_false(has(&t, "avx512f") || has(&t, "avx512_vnni") || has(&t, "opmask state"));
	assert_null(cpuid_find(&t, 0xd, 6));
	assert_int_equal(guest_of(&t, &host, "Icelake-Server", "aes", "xsave", NULL), 0);
	assert_false(has(&t, "pku") || has(&t, "ospke") || has(&t, "osxsave") || has(&t, "vaes"));
	assert_null(cpuid_find(&t, 0xd, 0));
	assert_int_equal(cpuid_find(&t, 0, 0)->eax, 0xb);
}

static void memory_has_the_address_bits_it_needs(void **state)
{
	struct cpuid_table host = host_of("GenuineIntel", "x86-64-v2", ""), t;
	struct cpuid_wish w = { .cpu.model = cpu_model_find("x86-64-v1"), .cpu.topology = { 1, 1, 1 } };
	static const struct {
		uint64_t memory;
		unsigned int bits;
	} sizes[] = { { 2ull << 20, 39 }, { 254ull << 30, 39 }, { 256ull << 30, 40 }, { DOMAIN_MEMORY_MAX, 44 } };
	struct err e;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		w.memory = sizes[i].memory;
		assert_int_equal(cpuid_guest(&t, &host, &w, NULL), 0);
		assert_int_equal(cpuid_address_bits(&t), sizes[i].bits);
	}
	cpuid_edit(&host, 0x80000008, 0)->eax = 40 | 48 << 8;
	assert_int_equal(cpuid_guest(&t, &host, &w, &e), -EPERM);
	assert_string_equal(e.text, "the domain's CPU model x86-64-v1 needs 44 physical address bits for its memory, this host has 40");
}

/* A KVM of many leaves: what has no room is not written behind the table. */
static void a_full_table_is_not_overrun(void **state)
{
	struct cpuid_table host = host_of("GenuineIntel", "x86-64-v2", ""), t;

	for (uint32_t i = 0; host.count < KVM_CPUID_MAX; i++)
		cpuid_put(&host, 4, i)->eax = 1;
	assert_null(cpuid_put(&host, 0x80000004, 0));
	assert_int_equal(guest_of(&t, &host, "x86-64-v2", "", "", NULL), 0);
	assert_int_equal(t.count, KVM_CPUID_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_model_is_all_that_is_shown),
		cmocka_unit_test(a_model_is_the_same_on_all_hosts),
		cmocka_unit_test(leaves_that_a_feature_brings_go_with_it),
		cmocka_unit_test(threads_are_told_on_amd),
		cmocka_unit_test(what_the_host_lacks_is_named),
		cmocka_unit_test(a_vendors_model_is_for_its_processors),
		cmocka_unit_test(without_a_model_the_guest_sees_the_host),
		cmocka_unit_test(what_is_taken_away_goes_with_what_needs_it),
		cmocka_unit_test(memory_has_the_address_bits_it_needs),
		cmocka_unit_test(a_full_table_is_not_overrun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
