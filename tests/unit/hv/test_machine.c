/* SPDX-License-Identifier: Apache-2.0 */
/* A machine on KVM: holds, events, dirty pages, and state that moves to another machine. */
#include "tests/unit/hv/machine_bed.h"

#include "base/clock.h"

#include <errno.h>

/* loop: incl COUNTER; jmp loop */
static const uint8_t count_forever[] = { 0xff, 0x05, 0x00, 0x00, 0x20, 0x00, 0xeb, 0xf8 };
/* loop: in $0x70+1, %al (the RTC: leaves KVM); incl COUNTER; jmp loop */
static const uint8_t count_with_io[] = { 0xe4, 0x71, 0xff, 0x05, 0x00, 0x00, 0x20, 0x00,
					 0xeb, 0xf6 };
/* mov $0xfe, %al; out %al, $0x64; hlt */
static const uint8_t reset_by_keyboard[] = { 0xb0, 0xfe, 0xe6, 0x64, 0xf4 };
/* movb $0x34, 0xfea00200 (SLP_TYP 5, SLP_EN); hlt */
static const uint8_t power_off[] = { 0xc6, 0x05, 0x00, 0x02, 0xa0, 0xfe, 0x34, 0xf4 };
/* lidt of nothing; ud2: triple fault */
static const uint8_t triple_fault[] = { 0x0f, 0x01, 0x1d, 0x00, 0x00, 0x30, 0x00, 0x0f, 0x0b };
/* mov $0x3f8, %dx; mov $'!', %al; out %al, %dx; hlt */
static const uint8_t say[] = { 0x66, 0xba, 0xf8, 0x03, 0xb0, '!', 0xee, 0xf4 };

static void test_runs_only_while_nobody_holds_it(void **state)
{
	struct box b;
	uint32_t n;

	box_open(&b, count_forever, sizeof(count_forever), 1);
	assert_int_equal(machine_boot(b.m, NULL), 0);
	nap_ms(5);
	assert_int_equal(counter(&b), 0);
	assert_int_equal(machine_release(b.m, HOLD_START, NULL), 0);
	wait_for_count(&b, 10);
	assert_int_equal(machine_hold(b.m, HOLD_OPERATOR, NULL), 0);
	assert_int_equal(machine_hold(b.m, HOLD_GATE, NULL), 0);
	n = counter(&b);
	nap_ms(20);
	assert_int_equal(counter(&b), n);
	assert_int_equal(machine_release(b.m, HOLD_GATE, NULL), 0);
	nap_ms(20);
	assert_int_equal(counter(&b), n); /* the operator's hold is not undone by the lease's return */
	assert_int_equal(machine_release(b.m, HOLD_OPERATOR, NULL), 0);
	wait_for_count(&b, n);
	box_close(&b);
}

static void test_hold_and_release_a_thousand_times(void **state)
{
	uint64_t longest = 0, start, took;
	struct box b;
	uint32_t n;

	box_open(&b, count_with_io, sizeof(count_with_io), 2);
	box_start(&b);
	for (int i = 0; i < 1000; i++) {
		start = clock_ns();
		assert_int_equal(machine_hold(b.m, HOLD_OPERATOR, NULL), 0);
		took = clock_ns() - start;
		longest = took > longest ? took : longest;
		assert_int_equal(machine_release(b.m, HOLD_OPERATOR, NULL), 0);
	}
	n = counter(&b);
	wait_for_count(&b, n);
	print_message("longest hold: %llu us\n", (unsigned long long)(longest / 1000));
	box_close(&b);
}

static void test_reset_is_heard_and_boots_again(void **state)
{
	struct box b;

	box_open(&b, reset_by_keyboard, sizeof(reset_by_keyboard), 1);
	box_start(&b);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(wait_for_event(&b), MACHINE_RESET);
		assert_int_equal(machine_holders(b.m), HOLD_EVENT);
		atomic_store(&b.event, 0);
		assert_int_equal(machine_reset(b.m, NULL), 0);
	}
	assert_int_equal(wait_for_event(&b), MACHINE_RESET);
	box_close(&b);
}

/* A package upgrade, a clean-up, a share that is gone: the guest that runs has had its kernel before. */
static void test_reset_opens_nothing(void **state)
{
	struct box b;

	box_open(&b, reset_by_keyboard, sizeof(reset_by_keyboard), 1);
	box_start(&b);
	assert_int_equal(unlink(b.conf->kernel), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(wait_for_event(&b), MACHINE_RESET);
		atomic_store(&b.event, 0);
		assert_int_equal(machine_reset(b.m, NULL), 0);
	}
	assert_int_equal(wait_for_event(&b), MACHINE_RESET);
	box_close(&b);
}

/* As after a migration: it was not booted here. */
static void test_reset_needs_what_was_opened_before(void **state)
{
	struct box b;
	struct err e;

	box_open(&b, count_forever, sizeof(count_forever), 1);
	assert_int_equal(machine_reset(b.m, &e), -ENOENT);
	assert_non_null(strstr(e.text, "has not opened what the domain boots from"));
	assert_int_equal(machine_boot_open(b.m, NULL), 0);
	assert_int_equal(unlink(b.conf->kernel), 0);
	assert_int_equal(machine_reset(b.m, NULL), 0);
	assert_int_equal(machine_release(b.m, HOLD_START, NULL), 0);
	wait_for_count(&b, 10);
	box_close(&b);
}

/* What a guest sees that came from a host with fewer features. */
static void test_reset_keeps_the_cpuid_that_the_guest_came_with(void **state)
{
	struct cpuid_table t;
	struct box b;

	box_open(&b, reset_by_keyboard, sizeof(reset_by_keyboard), 1);
	t = b.m->vcpus->cpuid;
	for (uint32_t i = 0; i < t.count; i++)
		if (t.entries[i].function == 1)
			t.entries[i].ecx &= ~(1u << 30); /* RDRAND */
	assert_int_equal(vcpus_set_cpuid(b.m->vcpus, &t, NULL), 0);
	box_start(&b);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(wait_for_event(&b), MACHINE_RESET);
		atomic_store(&b.event, 0);
		assert_int_equal(machine_reset(b.m, NULL), 0);
	}
	assert_memory_equal(&b.m->vcpus->cpuid, &t, sizeof(t));
	box_close(&b);
}

static void test_reset_waits_while_a_migration_holds_the_domain(void **state)
{
	struct box b;
	uint8_t *buf;
	size_t len;

	box_open(&b, reset_by_keyboard, sizeof(reset_by_keyboard), 1);
	box_start(&b);
	assert_int_equal(wait_for_event(&b), MACHINE_RESET);
	assert_int_equal(machine_hold(b.m, HOLD_MIGRATION, NULL), 0);
	assert_int_equal(machine_reset(b.m, NULL), -EBUSY);
	/* and the wish to reset is not lost on the way: such a state is not given away */
	assert_int_equal(machine_save(b.m, &buf, &len, NULL), -EBUSY);
	assert_int_equal(machine_release(b.m, HOLD_MIGRATION, NULL), 0);
	assert_int_equal(machine_reset(b.m, NULL), 0);
	box_close(&b);
}

static void test_power_off_is_heard(void **state)
{
	struct box b;

	box_open(&b, power_off, sizeof(power_off), 1);
	box_start(&b);
	assert_int_equal(wait_for_event(&b), MACHINE_POWEROFF);
	box_close(&b);
}

static void test_triple_fault_is_a_reset(void **state)
{
	struct box b;

	box_open(&b, triple_fault, sizeof(triple_fault), 1);
	box_start(&b);
	assert_int_equal(wait_for_event(&b), MACHINE_RESET);
	box_close(&b);
}

static void test_serial_output_arrives(void **state)
{
	struct box b;
	char c = 0;

	box_open(&b, say, sizeof(say), 1);
	box_start(&b);
	for (int i = 0; i < 2000 && !serial_take(machine_serial(b.m), &c, 1); i++)
		nap_ms(1);
	assert_int_equal(c, '!');
	box_close(&b);
}

static bool bit(const uint64_t *bits, uint64_t page)
{
	return bits[page / 64] >> (page % 64) & 1;
}

/* What the guest writes and what the VMM writes both show up; what was cleared shows up again. */
static void test_dirty_pages_of_both_kinds_are_reported(void **state)
{
	const uint64_t page = GUEST_COUNTER / 4096, other = 0x300000 / 4096;
	uint64_t bits[32] = { 0 }, again[32] = { 0 };
	struct box b;

	box_open(&b, count_forever, sizeof(count_forever), 1);
	box_start(&b);
	wait_for_count(&b, 10);
	assert_int_equal(machine_dirty_start(b.m, NULL), 0);
	assert_int_equal(machine_dirty_fetch(b.m, 0, bits, NULL), 0);
	memset(bits, 0xff, sizeof(bits)); /* all pages once: how the engine begins */
	assert_int_equal(machine_dirty_clear(b.m, 0, 0, 2048, bits, NULL), 0);
	wait_for_count(&b, counter(&b));
	assert_int_equal(gmem_write(machine_memory(b.m), other * 4096 + 7, "x", 1), 0);
	assert_int_equal(machine_hold(b.m, HOLD_MIGRATION, NULL), 0);
	assert_int_equal(machine_dirty_fetch(b.m, 0, again, NULL), 0);
	assert_true(bit(again, page));
	assert_true(bit(again, other));
	assert_false(bit(again, other + 5));
	machine_dirty_stop(b.m);
	box_close(&b);
}

static void test_clear_out_of_range_is_refused(void **state)
{
	uint64_t bits[32] = { 0 };
	struct box b;

	box_open(&b, count_forever, sizeof(count_forever), 1);
	assert_int_equal(machine_dirty_clear(b.m, 0, 2048, 64, bits, NULL), -EINVAL);
	assert_int_equal(machine_dirty_clear(b.m, 0, 0, 2112, bits, NULL), -EINVAL);
	assert_int_equal(machine_dirty_clear(b.m, 0, 1, 63, bits, NULL), -EINVAL);
	assert_int_equal(machine_dirty_clear(b.m, 9, 0, 64, bits, NULL), -EINVAL);
	assert_int_equal(machine_dirty_fetch(b.m, 9, bits, NULL), -EINVAL);
	box_close(&b);
}

static void move(struct box *from, struct box *to)
{
	struct gmem_region *a, *c;
	uint8_t *buf;
	size_t len;
	struct err e;
	uint64_t t0, t1, t2;

	assert_int_equal(machine_hold(from->m, HOLD_MIGRATION, NULL), 0);
	t0 = clock_ns();
	if (machine_save(from->m, &buf, &len, &e))
		fail_msg("%s", e.text);
	t1 = clock_ns();
	a = &machine_memory(from->m)->regions[0];
	c = &machine_memory(to->m)->regions[0];
	memcpy(c->host, a->host, a->size);
	t2 = clock_ns();
	if (machine_load(to->m, buf, len, &e))
		fail_msg("%s", e.text);
	print_message("save %llu us, load %llu us, %zu bytes\n", (unsigned long long)((t1 - t0) / 1000),
		      (unsigned long long)((clock_ns() - t2) / 1000), len);
	free(buf);
	assert_int_equal(machine_release(to->m, HOLD_START, NULL), 0);
}

/* A guest hopping between machines counts on as if nothing had happened, I/O in flight included:
 * an IN that was finished twice, or never, would break the pairing of reads and counts. */
static void test_guest_goes_on_in_another_machine(void **state)
{
	struct box a, b;
	uint32_t n;

	box_open(&a, count_with_io, sizeof(count_with_io), 2);
	box_start(&a);
	for (int hop = 0; hop < 10; hop++) {
		wait_for_count(&a, counter(&a));
		box_open(&b, count_with_io, sizeof(count_with_io), 2);
		move(&a, &b);
		n = counter(&a);
		wait_for_count(&b, n);
		assert_int_equal(counter(&a), n);
		box_close(&a);
		a = b;
		/* the event callback of the second one points at b */
	}
	box_close(&a);
}

static void test_running_machine_gives_no_state(void **state)
{
	struct box b;
	uint8_t *buf;
	size_t len;

	box_open(&b, count_forever, sizeof(count_forever), 1);
	box_start(&b);
	assert_int_equal(machine_save(b.m, &buf, &len, NULL), -EINVAL);
	box_close(&b);
}

/* Rule S: whatever the bytes are, load says so and does not crash. */
static void test_damaged_state_is_refused_or_harmless(void **state)
{
	struct box b;
	uint8_t *buf, *copy;
	unsigned int refused = 0;
	size_t len;

	box_open(&b, count_forever, sizeof(count_forever), 1);
	assert_int_equal(machine_save(b.m, &buf, &len, NULL), 0);
	copy = malloc(len);
	for (size_t cut = 0; cut < len; cut += len / 97 + 1) {
		assert_int_not_equal(machine_load(b.m, buf, cut, NULL), 0);
	}
	srand(1);
	for (int i = 0; i < 300; i++) {
		memcpy(copy, buf, len);
		for (int j = 0; j < 4; j++)
			copy[(size_t)rand() % len] ^= (uint8_t)(1 + rand() % 255);
		refused += machine_load(b.m, copy, len, NULL) != 0;
	}
	assert_true(refused > 0);
	assert_int_equal(machine_load(b.m, buf, len, NULL), 0);
	free(copy);
	free(buf);
	box_close(&b);
}

static void test_two_ends_must_match(void **state)
{
	char leaves[129 * 2 * sizeof(struct kvm_cpuid_entry2) + 1] = "";
	struct box a, b;
	json_t *d, *vcpu;
	struct err e;

	box_open(&a, count_forever, sizeof(count_forever), 1);
	box_open(&b, count_forever, sizeof(count_forever), 2);
	d = machine_describe(a.m);
	assert_int_equal(machine_match(a.m, d, &e), 0);
	assert_int_equal(machine_match(b.m, d, &e), -EINVAL);
	assert_string_equal(e.text, "vcpus: 1 there, 2 here");
	/* What a later version adds to a vCPU is found before a page is sent. */
	vcpu = json_array_get(json_object_get(d, "devices"), 1);
	assert_string_equal(json_string_value(json_object_get(vcpu, "name")), "vcpu0");
	json_object_set_new(vcpu, "version", json_integer(2));
	assert_int_equal(machine_match(a.m, d, &e), -EINVAL);
	assert_string_equal(e.text, "devices: vcpu0 has a newer version there");
	json_object_set_new(vcpu, "version", json_integer(1));
	json_object_set_new(d, "cpuid", json_string("zz"));
	assert_int_equal(machine_match(a.m, d, &e), -EINVAL);
	assert_string_equal(e.text, "cpuid: not a table");
	memset(leaves, '0', sizeof(leaves) - 1);
	json_object_set_new(d, "cpuid", json_string(leaves));
	assert_int_equal(machine_match(a.m, d, &e), -EINVAL);
	assert_string_equal(e.text, "cpuid: 129 elements there, room for 128 here");
	json_decref(d);
	box_close(&a);
	box_close(&b);
}

static uint64_t vcpu_cpu_ms(struct box *b)
{
	json_t *stats = machine_stats(b->m);
	json_t *vcpu = json_array_get(json_object_get(stats, "vcpus"), 0);
	uint64_t ms = (uint64_t)json_integer_value(json_object_get(vcpu, "cpu_ms"));

	json_decref(stats);
	return ms;
}

/* Measured in CPU time: on a busy host a vCPU may get less than it may take, never more. */
static void test_throttle_slows_and_lets_go(void **state)
{
	uint64_t cpu, start;
	struct box b;

	box_open(&b, count_forever, sizeof(count_forever), 1);
	box_start(&b);
	wait_for_count(&b, 100);
	machine_throttle(b.m, 90);
	nap_ms(20);
	start = clock_ms();
	cpu = vcpu_cpu_ms(&b);
	nap_ms(500);
	assert_true(vcpu_cpu_ms(&b) - cpu < (clock_ms() - start) / 3);
	machine_throttle(b.m, 0);
	wait_for_count(&b, counter(&b));
	box_close(&b);
}

static void test_as_many_vcpus_as_a_domain_may_have(void **state)
{
	struct box a, b;

	box_open(&a, count_with_io, sizeof(count_with_io), DOMAIN_VCPUS_MAX);
	box_open(&b, count_with_io, sizeof(count_with_io), DOMAIN_VCPUS_MAX);
	box_start(&a);
	wait_for_count(&a, 10);
	move(&a, &b);
	wait_for_count(&b, counter(&a));
	box_close(&a);
	box_close(&b);
}

static void test_missing_kernel_is_named(void **state)
{
	struct box b;
	struct err e;

	box_open(&b, count_forever, sizeof(count_forever), 1);
	unlink(b.conf->kernel);
	assert_int_equal(machine_boot(b.m, &e), -ENOENT);
	assert_non_null(strstr(e.text, b.conf->kernel));
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_only_while_nobody_holds_it),
		cmocka_unit_test(test_hold_and_release_a_thousand_times),
		cmocka_unit_test(test_reset_is_heard_and_boots_again),
		cmocka_unit_test(test_reset_opens_nothing),
		cmocka_unit_test(test_reset_needs_what_was_opened_before),
		cmocka_unit_test(test_reset_keeps_the_cpuid_that_the_guest_came_with),
		cmocka_unit_test(test_reset_waits_while_a_migration_holds_the_domain),
		cmocka_unit_test(test_power_off_is_heard),
		cmocka_unit_test(test_triple_fault_is_a_reset),
		cmocka_unit_test(test_serial_output_arrives),
		cmocka_unit_test(test_dirty_pages_of_both_kinds_are_reported),
		cmocka_unit_test(test_clear_out_of_range_is_refused),
		cmocka_unit_test(test_guest_goes_on_in_another_machine),
		cmocka_unit_test(test_running_machine_gives_no_state),
		cmocka_unit_test(test_damaged_state_is_refused_or_harmless),
		cmocka_unit_test(test_two_ends_must_match),
		cmocka_unit_test(test_throttle_slows_and_lets_go),
		cmocka_unit_test(test_as_many_vcpus_as_a_domain_may_have),
		cmocka_unit_test(test_missing_kernel_is_named),
	};

	if (!box_has_kvm())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
