/* SPDX-License-Identifier: Apache-2.0 */
/* vCPU state: which MSRs are carried, and what becomes of one that the destination refuses. */
#include "hv/cpu/vcpu.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define MSR_STAR 0xc0000081u
#define MSR_READ_ONLY 0x17u

static uint32_t refused;
static struct kvm_xsave set_area; /* as it was put into force */
static struct vcpu_state state;
static struct vcpus set;
static struct vcpu vcpu = { .set = &set, .state = &state };

/* Stands in for hv/kvm/kvm.c: as KVM does, the MSR calls end at the first that is refused. */
int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	struct kvm_msr_list *list = arg;
	struct kvm_msrs *m = arg;
	uint32_t n, room;

	switch (request) {
	case KVM_GET_MSR_INDEX_LIST:
		room = list->nmsrs;
		list->nmsrs = 2;
		if (room < 2)
			return -E2BIG;
		list->indices[0] = MSR_STAR;
		list->indices[1] = MSR_READ_ONLY;
		return 0;
	case KVM_GET_MSRS:
		for (n = 0; n < m->nmsrs; n++)
			m->entries[n].data = 5;
		return (int)n;
	case KVM_GET_XSAVE:
		for (n = 0; n < 1024; n++)
			((struct kvm_xsave *)arg)->region[n] = ~0u;
		return 0;
	case KVM_SET_XSAVE:
		set_area = *(struct kvm_xsave *)arg;
		return 0;
	case KVM_SET_MSRS:
		for (n = 0; n < m->nmsrs && m->entries[n].index != refused; n++)
			;
		return (int)n;
	}
	return 0;
}

static int load(uint64_t value, struct err *e)
{
	state = (struct vcpu_state){ .n_msrs = 2, .msr_index = { MSR_STAR, 0x123 }, .msr_value = { 1, value } };
	refused = 0x123;
	return vcpu_state_set(&vcpu, e);
}

static void test_a_refused_msr_with_a_value_is_an_error(void **s)
{
	struct err e;

	assert_int_equal(load(7, &e), -EINVAL);
	assert_string_equal(e.text, "vcpu0: this host refuses MSR 0x123 = 0x7, which the guest has");
}

static void test_a_refused_msr_that_is_zero_is_nothing(void **s)
{
	assert_int_equal(load(0, NULL), 0);
}

static void test_an_msr_that_cannot_be_written_back_is_not_carried(void **s)
{
	struct kvm_vm k = { 0 };
	struct msr_list l;
	bool star = false;

	refused = MSR_READ_ONLY;
	assert_int_equal(msr_list_probe(&l, &k, 0, NULL), 0);
	for (uint32_t i = 0; i < l.count; i++) {
		assert_int_not_equal(l.index[i], MSR_READ_ONLY);
		star |= l.index[i] == MSR_STAR;
	}
	assert_true(star);
}

static uint64_t components(const struct kvm_xsave *x)
{
	return x->region[128] | (uint64_t)x->region[129] << 32;
}

/* KVM of a host with protection keys tells of them, whatever the guest was shown; one without refuses them. */
static void test_components_that_the_guest_was_not_shown_are_not_carried(void **s)
{
	struct kvm_cpuid_entry2 avx = { .function = 0xd, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .eax = 7 };

	set.cpuid.count = 0;
	assert_int_equal(vcpu_state_get(&vcpu, NULL), 0);
	assert_int_equal(components(&state.xsave), 3);
	assert_int_equal(state.xsave.region[127], ~0u);
	assert_int_equal(state.xsave.region[130], ~0u);
	set.cpuid.entries[set.cpuid.count++] = avx;
	assert_int_equal(vcpu_state_get(&vcpu, NULL), 0);
	assert_int_equal(components(&state.xsave), 7);
	/* and from a version that carried them */
	state.xsave.region[128] = 0x207;
	assert_int_equal(vcpu_state_set(&vcpu, NULL), 0);
	assert_int_equal(components(&set_area), 7);
	set.cpuid.count = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_refused_msr_with_a_value_is_an_error),
		cmocka_unit_test(test_a_refused_msr_that_is_zero_is_nothing),
		cmocka_unit_test(test_an_msr_that_cannot_be_written_back_is_not_carried),
		cmocka_unit_test(test_components_that_the_guest_was_not_shown_are_not_carried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
