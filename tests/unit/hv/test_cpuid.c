/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID: what a guest is shown, and by which name a host's lack is told. */
#include "hv/cpu/cpuid.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct kvm_cpuid_entry2 host[24];
static uint32_t n_host;

/* Stands in for hv/kvm/kvm.c: KVM_GET_SUPPORTED_CPUID answers with `host`. */
int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	struct kvm_cpuid2 *c = arg;

	assert_int_equal(request, KVM_GET_SUPPORTED_CPUID);
	memcpy(c->entries, host, n_host * sizeof(host[0]));
	c->nent = n_host;
	return 0;
}

static void host_has(uint32_t leaf, uint32_t index, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	host[n_host++] = (struct kvm_cpuid_entry2){
		.function = leaf,
		.index = index,
		.eax = a,
		.ebx = b,
		.ecx = c,
		.edx = d,
		.flags = leaf == 4 || leaf == 7 || leaf == 0xb ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
	};
}

static int setup(void **state)
{
	n_host = 0;
	host_has(0, 0, 0xd, 0x68747541, 0x444d4163, 0x69746e65); /* AuthenticAMD */
	host_has(1, 0, 0xa20f10, 0x12345678, ~0u, ~0u);
	host_has(4, 0, 0x121 | 3 << 14, 0, 0, 0);  /* level 1 */
	host_has(4, 3, 0x163 | 31 << 14, 0, 0, 0); /* level 3 */
	host_has(7, 0, 0, ~0u, 0, ~0u);
	host_has(0xb, 0, 1, 2, 0x100, 99);
	host_has(0x40000001, 0, ~0u, 0, 0, 0);
	host_has(0x80000001, 0, 0, 0, ~0u, ~0u);
	host_has(0x80000008, 0, 48, 0, 0x7007, 0);
	host_has(0x8000001e, 0, 5, 6, 7, 0);
	return 0;
}

static struct cpuid_table host_table(void)
{
	struct kvm_vm k = { .tsc_deadline = true };
	struct cpuid_table t;

	assert_int_equal(cpuid_host(&t, &k, NULL), 0);
	return t;
}

static struct cpuid_table table(uint32_t n_vcpus)
{
	struct cpuid_wish w = { .cpu.topology = { 1, n_vcpus, 1 }, .memory = 64 << 20 };
	struct cpuid_table t, here = host_table();

	assert_int_equal(cpuid_guest(&t, &here, &w, NULL), 0);
	return t;
}

static void test_what_cannot_migrate_is_hidden(void **state)
{
	struct cpuid_table t = table(2);

	assert_int_equal(cpuid_find(&t, 1, 0)->ecx & (1u << 5), 0);           /* VMX */
	assert_int_equal(cpuid_find(&t, 0x80000001, 0)->ecx & (1u << 2), 0);  /* SVM */
	assert_int_equal(cpuid_find(&t, 7, 0)->edx & (1u << 24), 0);          /* AMX */
	assert_int_equal(cpuid_find(&t, 0x40000001, 0)->eax & (1u << 14), 0); /* async page faults */
	assert_true(cpuid_find(&t, 1, 0)->ecx & (1u << 31));
	assert_true(cpuid_find(&t, 1, 0)->ecx & (1u << 24));
}

static void test_each_vcpu_sees_its_own_apic_id(void **state)
{
	struct cpuid_table t = table(32), own;

	for (uint32_t id = 0; id < 32; id += 31) {
		cpuid_for_vcpu(&t, id, &(struct cpu_topology){ 1, 32, 1 }, &own);
		assert_int_equal(cpuid_find(&own, 1, 0)->ebx >> 24, id);
		assert_int_equal(cpuid_find(&own, 0xb, 0)->edx, id);
		assert_int_equal(cpuid_find(&own, 0xb, 1)->edx, id);
		assert_int_equal(cpuid_find(&own, 0x8000001e, 0)->eax, id);
	}
}

static void test_topology_is_one_package_of_cores(void **state)
{
	struct cpuid_table t = table(6);
	const struct kvm_cpuid_entry2 *core = cpuid_find(&t, 0xb, 1);

	assert_int_equal(cpuid_find(&t, 1, 0)->ebx >> 16 & 0xff, 6);
	assert_int_equal(cpuid_find(&t, 0xb, 0)->ebx, 1);
	assert_int_equal(core->eax, 3); /* bits for 6 */
	assert_int_equal(core->ebx, 6);
	assert_int_equal(core->ecx, 0x201);
	assert_int_equal(cpuid_find(&t, 4, 0)->eax >> 14 & 0xfff, 0); /* own level 1 */
	assert_int_equal(cpuid_find(&t, 4, 3)->eax >> 14 & 0xfff, 7); /* shared level 3 */
	assert_int_equal(cpuid_find(&t, 0x80000008, 0)->ecx, 0x3005);
}

static void test_same_host_fits_itself(void **state)
{
	struct cpuid_table t = table(2);

	assert_int_equal(cpuid_check(&t, &t, NULL), 0);
}

static void test_missing_features_are_named(void **state)
{
	struct cpuid_table theirs = table(2), ours;
	struct err e;

	host[4].ebx &= ~(1u << 5 | 1u << 16); /* avx2, avx512f */
	host[1].ecx &= ~(1u << 25);
	ours = table(2);
	assert_int_equal(cpuid_check(&ours, &theirs, &e), -EINVAL);
	assert_string_equal(e.text,
			    "this host's CPU lacks what the guest uses: aes, avx2, avx512f");
	assert_int_equal(cpuid_check(&theirs, &ours, &e), 0); /* more is no harm */
}

static void test_fewer_address_bits_are_refused(void **state)
{
	struct cpuid_table theirs = table(2), ours;
	struct err e;

	host[8].eax = 40;
	ours = table(2);
	assert_int_equal(cpuid_check(&ours, &theirs, &e), -EINVAL);
	assert_non_null(strstr(e.text, "48 physical address bits, this host has 40"));
}

/* Everything that one host has and the other does not, in whatever word. */
static void test_every_word_is_compared(void **state)
{
	static const struct {
		uint32_t leaf, index, bit;
		int reg;
		const char *text;
	} lacks[] = {
		{ 7, 1, 4, 3, ": avx_vnni_int8" },
		{ 7, 2, 5, 3, ": mcdt_no" },
		{ 0xd, 0, 2, 0, ": avx state" },
		{ 7, 0, 7, 2, "CPUID 0x7.0 ecx bit 7" },
		{ 0x80000021, 0, 2, 0, ": lfence_rdtsc" },
		{ 0xd, 1, 11, 2, "CPUID 0xd.1 ecx bit 11" },
		{ 0x24, 0, 3, 1, "CPUID 0x24.0 ebx bit 3" },
		{ 0x8000001f, 0, 0, 0, "CPUID 0x8000001f.0 eax bit 0" },
	};
	struct cpuid_table ours = table(2);
	struct err e;

	for (size_t i = 0; i < sizeof(lacks) / sizeof(lacks[0]); i++) {
		struct cpuid_table theirs = ours;
		struct kvm_cpuid_entry2 *c = &theirs.entries[theirs.count++];

		*c = (struct kvm_cpuid_entry2){ .function = lacks[i].leaf, .index = lacks[i].index, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX };
		(&c->eax)[lacks[i].reg] = 1u << lacks[i].bit;
		assert_int_equal(cpuid_check(&ours, &theirs, &e), -EINVAL);
		assert_non_null(strstr(e.text, lacks[i].text));
	}
}

/* A guest with threads came from a host that has the leaf; here it is made (cpuid_topology.c). */
static void test_threads_of_amd_need_nothing_of_the_host(void **state)
{
	struct cpuid_table ours = host_table(), theirs;
	struct cpuid_wish w = { .cpu.topology = { 1, 1, 2 }, .memory = 64 << 20 };

	assert_int_equal(cpuid_guest(&theirs, &ours, &w, NULL), 0);
	host[7].ecx &= ~(1u << 22);
	ours = host_table();
	assert_true(cpuid_find(&theirs, 0x80000001, 0)->ecx & 1u << 22);
	assert_int_equal(cpuid_check(&ours, &theirs, NULL), 0);
}

static void test_what_nobody_looked_at_is_not_shown(void **state)
{
	struct cpuid_table t;

	host_has(0x24, 0, ~0u, ~0u, ~0u, ~0u);
	host_has(0x8000001f, 0, ~0u, ~0u, ~0u, ~0u);
	host_has(0x80000021, 0, ~0u, ~0u, ~0u, ~0u);
	t = table(2);
	assert_null(cpuid_find(&t, 0x24, 0));
	assert_null(cpuid_find(&t, 0x8000001f, 0));
	assert_int_equal(cpuid_find(&t, 0x80000021, 0)->ebx, 0);
	assert_int_equal(cpuid_find(&t, 7, 0)->ebx & (1u << 22), 0); /* a reserved bit */
	assert_int_equal(cpuid_check(&t, &t, NULL), 0);
}

static void test_another_layout_of_state_is_refused(void **state)
{
	struct cpuid_table theirs, ours;
	struct err e;

	host_has(0xd, 0, 7, 832, 832, 0);
	host[n_host - 1].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	host_has(0xd, 2, 256, 576, 0, 0);
	host[n_host - 1].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	theirs = table(2);
	host[n_host - 1].ebx = 832;
	ours = table(2);
	assert_int_equal(cpuid_check(&ours, &theirs, &e), -EINVAL);
	assert_string_equal(e.text, "CPUID 0xd.2 ebx: 0x00000240 there, 0x00000340 here");
}

static void test_another_vendor_is_refused(void **state)
{
	struct cpuid_table theirs = table(2), ours;
	struct err e;

	host[0].ebx = 0x756e6547; /* "GenuineIntel" */
	host[0].edx = 0x49656e69;
	host[0].ecx = 0x6c65746e;
	ours = table(2);
	assert_int_equal(cpuid_check(&ours, &theirs, &e), -EINVAL);
	assert_string_equal(e.text, "the guest was started on a processor of AuthenticAMD, this host's is of GenuineIntel: it cannot move "
				    "between them");
	theirs.entries[0].ebx = 0x4a325b1b; /* whatever comes over the wire */
	assert_int_equal(cpuid_check(&ours, &theirs, &e), -EINVAL);
	assert_null(strchr(e.text, 0x1b));
}

static void test_count_from_a_stream_is_checked(void **state)
{
	struct cpuid_table ours = table(2), theirs = ours;

	theirs.count = KVM_CPUID_MAX + 1;
	assert_int_equal(cpuid_check(&ours, &theirs, NULL), -EINVAL);
	theirs.count = 0;
	assert_int_equal(cpuid_check(&ours, &theirs, NULL), -EINVAL);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_cannot_migrate_is_hidden),
		TEST(test_each_vcpu_sees_its_own_apic_id),
		TEST(test_topology_is_one_package_of_cores),
		TEST(test_same_host_fits_itself),
		TEST(test_missing_features_are_named),
		TEST(test_fewer_address_bits_are_refused),
		TEST(test_every_word_is_compared),
		TEST(test_threads_of_amd_need_nothing_of_the_host),
		TEST(test_what_nobody_looked_at_is_not_shown),
		TEST(test_another_layout_of_state_is_refused),
		TEST(test_another_vendor_is_refused),
		TEST(test_count_from_a_stream_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
