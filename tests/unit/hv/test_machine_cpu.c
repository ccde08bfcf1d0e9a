/* SPDX-License-Identifier: Apache-2.0 */
/* A machine with a CPU model, on this host's KVM: what its guest reads, and where it may move. */
#include "tests/unit/hv/machine_bed.h"

#include <errno.h>
#include <string.h>

#define TOLD GUEST_COUNTER /* the count, then EAX, ECX, EDX of leaf 1, EAX of 0x80000002 */

static const uint8_t tell_cpuid[] = {
	0xb8, 1, 0, 0, 0, 0x0f, 0xa2,          /* leaf 1 */
	0xa3, 0x04, 0, 0x20, 0,                /* eax */
	0x89, 0x0d, 0x08, 0, 0x20, 0,          /* ecx */
	0x89, 0x15, 0x0c, 0, 0x20, 0,          /* edx */
	0xb8, 2, 0, 0, 0x80, 0x0f, 0xa2,       /* leaf 0x80000002 */
	0xa3, 0x10, 0, 0x20, 0,                /* eax */
	0xff, 0x05, 0, 0, 0x20, 0, 0xeb, 0xf8, /* count for ever */
};

static int open_as(struct box *b, const char *model, const char *more, struct err *e)
{
	struct machine_options o = { .event = on_event, .arg = b };

	memset(b, 0, sizeof(*b));
	b->conf = make_domain(tell_cpuid, sizeof(tell_cpuid), 2);
	b->conf->cpu.model = cpu_model_find(model);
	assert_true(cpu_features_read(&b->conf->cpu.add, more));
	o.conf = b->conf;
	return machine_create(&b->m, &o, e);
}

static void a_guest_reads_its_model(void **state)
{
	const struct cpu_model *v1 = cpu_model_find("x86-64-v1");
	uint32_t told[5];
	struct box b;
	struct err e;

	if (open_as(&b, "x86-64-v1", "", &e))
		fail_msg("%s", e.text);
	box_start(&b);
	wait_for_count(&b, 10);
	assert_int_equal(gmem_read(machine_memory(b.m), TOLD, told, sizeof(told)), 0);
	assert_int_equal(told[1], v1->signature);
	assert_true(told[2] & 1u << 31 && told[3] & 1u << 26); /* hypervisor, SSE2 */
	/* KVM's page-table variant shows guests the host's features, whatever it was told; tests/lab has one that obeys. */
	if (told[2] & (1u << 28 | 1u << 13 | 1u)) /* AVX, CMPXCHG16B, SSE3 */
		print_message("SKIP: this KVM shows features that it was told to hide\n");
	else
		assert_int_equal(told[2], cpuid_find(&b.m->vcpus->cpuid, 1, 0)->ecx);
	assert_memory_equal(&told[4], v1->brand, 4);
	box_close(&b);
}

/* The destination's own file does not matter: the guest keeps what it saw. */
static void a_guest_keeps_its_model_where_it_moves(void **state)
{
	struct box a, b;
	struct err e;
	uint8_t *buf;
	json_t *d;
	size_t len;

	if (open_as(&a, "x86-64-v1", "", &e) || open_as(&b, "host", "", &e))
		fail_msg("%s", e.text);
	d = machine_describe(a.m);
	if (machine_match(b.m, d, &e))
		fail_msg("%s", e.text);
	json_decref(d);
	assert_int_equal(machine_save(a.m, &buf, &len, NULL), 0);
	assert_int_equal(machine_load(b.m, buf, len, NULL), 0);
	free(buf);
	assert_memory_equal(&a.m->vcpus->cpuid, &b.m->vcpus->cpuid, sizeof(a.m->vcpus->cpuid));
	box_close(&a);
	box_close(&b);
}

/* APIC ids with holes: 0-5, 8-13. */
static void twelve_vcpus_in_two_sockets_move_to_their_like_only(void **state)
{
	static const struct cpu_topology sockets = { 2, 3, 2 }, plain = { 1, 12, 1 };
	struct machine_options o = { .event = on_event };
	struct box a, b, c;
	uint8_t *buf;
	json_t *d;
	size_t len;
	struct err e;

	for (struct box *x = NULL; x != &c;) {
		x = !x ? &a : x == &a ? &b :
					&c;
		memset(x, 0, sizeof(*x));
		x->conf = make_domain(tell_cpuid, sizeof(tell_cpuid), 12);
		x->conf->cpu.topology = x == &c ? plain : sockets;
		o.conf = x->conf;
		o.arg = x;
		if (machine_create(&x->m, &o, &e))
			fail_msg("%s", e.text);
	}
	box_start(&a);
	wait_for_count(&a, 10);
	d = machine_describe(a.m);
	assert_int_equal(machine_match(b.m, d, &e), 0);
	assert_int_equal(machine_match(c.m, d, &e), -EINVAL);
	assert_string_equal(e.text, "cpu.topology: 2 sockets of 3 cores of 2 threads there, 1 sockets of 12 cores of 1 threads here");
	/* who does not say, as older versions, has single threads */
	json_object_del(d, "topology");
	assert_int_equal(machine_match(b.m, d, &e), -EINVAL);
	assert_int_equal(machine_match(c.m, d, &e), 0);
	json_object_set_new(d, "topology", json_integer(7));
	assert_int_equal(machine_match(c.m, d, &e), -EINVAL);
	json_decref(d);
	assert_int_equal(machine_hold(a.m, HOLD_MIGRATION, NULL), 0);
	assert_int_equal(machine_save(a.m, &buf, &len, NULL), 0);
	if (machine_load(b.m, buf, len, &e))
		fail_msg("%s", e.text);
	free(buf);
	box_close(&a);
	box_close(&b);
	box_close(&c);
}

/* A guest that comes from a host with all that has a name. */
static void what_a_guest_saw_elsewhere_is_named(void **state)
{
	struct kvm_cpuid_entry2 *c;
	struct box b;
	struct err e;
	json_t *d;

	if (open_as(&b, "host", "", &e))
		fail_msg("%s", e.text);
	c = b.m->vcpus->cpuid.entries;
	for (uint32_t i = 0; i < b.m->vcpus->cpuid.count; i++)
		if (c[i].function == 0x80000001)
			c[i].ecx |= 1u << 11 | 1u << 16; /* xop, fma4 */
		else if (c[i].function == 7 && c[i].index == 0)
			c[i].edx |= 1u << 2 | 1u << 3; /* avx512_4vnniw, avx512_4fmaps */
	d = machine_describe(b.m);
	assert_int_equal(machine_match(b.m, d, &e), -EINVAL);
	assert_non_null(strstr(e.text, "this host's CPU lacks what the guest uses: "));
	assert_true(strstr(e.text, "fma4") || strstr(e.text, "avx512_4fmaps"));
	json_decref(d);
	box_close(&b);
}

/* No host has all of both vendors. */
static void what_this_host_lacks_is_named(void **state)
{
	struct box b;
	struct err e;

	assert_int_equal(open_as(&b, "x86-64-v1", "xop avx512_4fmaps", &e), -EPERM);
	assert_non_null(strstr(e.text, "this host's CPU lacks what the domain's model x86-64-v1 has: "));
	assert_true(strstr(e.text, "xop") || strstr(e.text, "avx512_4fmaps"));
	free_domain(b.conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_reads_its_model),
		cmocka_unit_test(a_guest_keeps_its_model_where_it_moves),
		cmocka_unit_test(twelve_vcpus_in_two_sockets_move_to_their_like_only),
		cmocka_unit_test(what_a_guest_saw_elsewhere_is_named),
		cmocka_unit_test(what_this_host_lacks_is_named),
	};

	return box_has_kvm() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
