/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topology: what a guest reads is decoded here as the manuals say (SDM 3A 9.9, APM 3 E.5), and must give back what the
 * domain's file said; and what guests without a topology saw before there was one.
 */
#include "hv/cpu/cpuid_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct cpu_topology topologies[] = {
	{ 1, 1, 1 },
	{ 1, 2, 1 },
	{ 1, 6, 1 },
	{ 1, 255, 1 },
	{ 2, 1, 1 },
	{ 1, 1, 2 },
	{ 1, 4, 2 },
	{ 2, 4, 2 },
	{ 2, 3, 2 },
	{ 4, 5, 3 },
	{ 8, 1, 1 },
};

#define N_TOPOLOGIES (sizeof(topologies) / sizeof(topologies[0]))

static struct cpuid_table host_of(const char *vendor)
{
	struct cpuid_table t = { 0 };
	struct kvm_cpuid_entry2 *c = cpuid_put(&t, 0, 0);

	memcpy(&c->ebx, vendor, 4);
	cpuid_put(&t, 1, 0)->ebx = 0x12340856;
	cpuid_put(&t, 4, 0)->eax = 0x121 | 3 << 14 | 7u << 26; /* level 1 */
	cpuid_put(&t, 4, 3)->eax = 0x163 | 31 << 14;           /* level 3 */
	cpuid_put(&t, 0xb, 0);
	cpuid_put(&t, 0x1f, 0);
	cpuid_put(&t, 0x80000001, 0);
	cpuid_put(&t, 0x80000008, 0)->ecx = 0x7007;
	cpuid_put(&t, 0x8000001d, 0)->eax = 0x121 | 1 << 14;
	cpuid_put(&t, 0x8000001d, 3)->eax = 0x163 | 15 << 14;
	cpuid_put(&t, 0x8000001e, 0)->ebx = 0x107;
	return t;
}

static uint32_t bits(uint32_t v, int high, int low)
{
	return v >> low & ((1u << (high - low + 1)) - 1);
}

/* The width of a mask that @n ids need: SDM 3A 9.9.3.2, "smallest power of 2 that is not smaller". */
static uint32_t width(uint32_t n)
{
	uint32_t w = 0;

	while (1u << w < n)
		w++;
	return w;
}

static void assert_place(uint32_t id, uint32_t thread_bits, uint32_t socket_shift, const struct cpu_topology *t, uint32_t i)
{
	assert_int_equal(id & ((1u << thread_bits) - 1), i % t->threads);
	assert_int_equal((id & ((1u << socket_shift) - 1)) >> thread_bits, i / t->threads % t->cores);
	assert_int_equal(id >> socket_shift, i / t->threads / t->cores);
}

static void decode_levels(const struct cpuid_table *own, uint32_t leaf, const struct cpu_topology *t, uint32_t i)
{
	const struct kvm_cpuid_entry2 *thread = cpuid_find(own, leaf, 0), *core = cpuid_find(own, leaf, 1);

	assert_int_equal(bits(thread->ecx, 15, 8), 1);
	assert_int_equal(bits(core->ecx, 15, 8), 2);
	assert_int_equal(thread->ecx & 0xff, 0);
	assert_int_equal(core->ecx & 0xff, 1);
	assert_int_equal(thread->ebx, t->threads);
	assert_int_equal(core->ebx, t->threads * t->cores);
	assert_int_equal(thread->edx, core->edx);
	assert_place(core->edx, thread->eax, core->eax, t, i);
}

static void leaves_0xb_and_0x1f_give_it_back(void **state)
{
	for (size_t k = 0; k < N_TOPOLOGIES; k++) {
		const struct cpu_topology *t = &topologies[k];
		struct cpuid_table table = host_of("Genu"), own;

		cpuid_topology(&table, t);
		for (uint32_t i = 0; i < t->sockets * t->cores * t->threads; i++) {
			cpuid_for_vcpu(&table, i, t, &own);
			decode_levels(&own, 0xb, t, i);
			decode_levels(&own, 0x1f, t, i);
		}
	}
}

/* SDM 3A 9.9.5, the older way: leaves 1 and 4. */
static void leaves_1_and_4_give_it_back(void **state)
{
	for (size_t k = 0; k < N_TOPOLOGIES; k++) {
		const struct cpu_topology *t = &topologies[k];
		struct cpuid_table table = host_of("Genu"), own;
		uint32_t logical, cores, socket_shift, core_width;

		cpuid_topology(&table, t);
		if (t->cores > 64) /* more than leaf 4 has room for */
			continue;
		for (uint32_t i = 0; i < t->sockets * t->cores * t->threads; i++) {
			cpuid_for_vcpu(&table, i, t, &own);
			assert_int_equal(bits(cpuid_find(&own, 1, 0)->edx, 28, 28), t->cores * t->threads > 1);
			logical = t->cores * t->threads > 1 ? bits(cpuid_find(&own, 1, 0)->ebx, 23, 16) : 1;
			assert_true(logical >= t->cores * t->threads);
			cores = bits(cpuid_find(&own, 4, 0)->eax, 31, 26) + 1;
			socket_shift = width(logical);
			core_width = width(cores);
			assert_place(bits(cpuid_find(&own, 1, 0)->ebx, 31, 24), socket_shift - core_width, socket_shift, t, i);
			/* caches: ids that share one */
			assert_int_equal(width(bits(cpuid_find(&own, 4, 0)->eax, 25, 14) + 1), socket_shift - core_width);
			assert_int_equal(width(bits(cpuid_find(&own, 4, 3)->eax, 25, 14) + 1), socket_shift);
		}
	}
}

static void amd_leaves_give_it_back(void **state)
{
	for (size_t k = 0; k < N_TOPOLOGIES; k++) {
		const struct cpu_topology *t = &topologies[k];
		struct cpuid_table table = host_of("Auth"), own;
		const struct kvm_cpuid_entry2 *size, *ids;

		cpuid_topology(&table, t);
		size = cpuid_find(&table, 0x80000008, 0);
		assert_int_equal(bits(size->ecx, 7, 0) + 1, t->cores * t->threads);
		assert_int_equal(bits(cpuid_find(&table, 0x80000001, 0)->ecx, 1, 1), t->cores * t->threads > 1);
		assert_int_equal(width(bits(cpuid_find(&table, 0x8000001d, 3)->eax, 25, 14) + 1), bits(size->ecx, 15, 12));
		for (uint32_t i = 0; i < t->sockets * t->cores * t->threads; i++) {
			cpuid_for_vcpu(&table, i, t, &own);
			ids = cpuid_find(&own, 0x8000001e, 0);
			assert_int_equal(bits(ids->ebx, 15, 8) + 1, t->threads);
			assert_int_equal(bits(ids->ebx, 7, 0), i / t->threads % t->cores);
			assert_int_equal(bits(ids->ecx, 7, 0), i / t->threads / t->cores);
			assert_int_equal(bits(ids->ecx, 10, 8), 0); /* one node in each */
			assert_place(ids->eax, width(bits(cpuid_find(&own, 0x8000001d, 0)->eax, 25, 14) + 1), bits(size->ecx, 15, 12), t, i);
		}
	}
}

/* SMT of Intel is not told by a bit of AMD's. */
static void cmp_legacy_is_amds_where_there_are_threads(void **state)
{
	struct cpuid_table intel = host_of("Genu");

	cpuid_topology(&intel, &(struct cpu_topology){ 1, 2, 2 });
	assert_int_equal(bits(cpuid_find(&intel, 0x80000001, 0)->ecx, 1, 1), 0);
}

/* What a guest saw that was started before there were topologies. */
static void one_socket_of_cores_is_as_it_was(void **state)
{
	for (uint32_t n = 1; n <= 255; n++) {
		struct cpuid_table t = host_of("Auth"), own;
		uint32_t w = width(n);

		cpuid_topology(&t, &(struct cpu_topology){ 1, n, 1 });
		cpuid_for_vcpu(&t, n - 1, &(struct cpu_topology){ 1, n, 1 }, &own);
		assert_int_equal(cpuid_find(&own, 1, 0)->ebx, (n - 1) << 24 | (n > 1 ? n << 16 : 0) | 0x0800);
		assert_int_equal(cpuid_find(&own, 4, 0)->eax, 0x121 | (n > 64 ? 63u : (1u << w) - 1) << 26);
		assert_int_equal(cpuid_find(&own, 4, 3)->eax, 0x163 | ((1u << w) - 1) << 14 | (n > 64 ? 63u : (1u << w) - 1) << 26);
		assert_int_equal(cpuid_find(&own, 0xb, 0)->eax, 0);
		assert_int_equal(cpuid_find(&own, 0xb, 1)->eax, w);
		assert_int_equal(cpuid_find(&own, 0xb, 1)->ebx, n);
		assert_int_equal(cpuid_find(&own, 0x80000008, 0)->ecx, w << 12 | (n - 1));
		assert_int_equal(cpuid_find(&own, 0x8000001e, 0)->ebx, n - 1);
		assert_int_equal(cpuid_find(&own, 0x8000001e, 0)->ecx, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_0xb_and_0x1f_give_it_back),
		cmocka_unit_test(leaves_1_and_4_give_it_back),
		cmocka_unit_test(amd_leaves_give_it_back),
		cmocka_unit_test(cmp_legacy_is_amds_where_there_are_threads),
		cmocka_unit_test(one_socket_of_cores_is_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
