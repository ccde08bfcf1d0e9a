/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msr - which model-specific registers a migration carries.
 *
 * KVM_GET_MSR_INDEX_LIST, plus registers it leaves out, minus registers that say
 * what the host is rather than what the guest did.  What cannot be read on this
 * host, or read but not written back, is dropped once, at creation: KVM_GET_MSRS
 * stops at the first failure, inside the downtime there must be one call, not sixty,
 * and a register that is refused when it is loaded fails the move (vcpu_state.c).
 */
#include "hv/cpu/vcpu_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MSR_TSC 0x10
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_TSC_ADJUST 0x3b

static const uint32_t extra[] = {
	0xc0000102, /* KERNEL_GS_BASE */
	0xc0000103, /* TSC_AUX */
	0x277,      /* PAT */
	0x2ff,      /* MTRRdefType */
	0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207,
	0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f,
	0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
	0x4b564d10, /* paravirtual kernel mode of KVM's page-table variant; not in its list */
};

/* Is this one the host's, not the guest's, or the second name of another? */
static bool is_unwanted(uint32_t msr)
{
	switch (msr) {
	case MSR_TSC:          /* placed first */
	case MSR_TSC_ADJUST:   /* placed second */
	case MSR_TSC_DEADLINE: /* placed last */
	case 0x11:             /* old name of 0x4b564d00; writing it switches KVM to the old clock */
	case 0x12:             /* old name of 0x4b564d01 */
	case 0x8b:             /* microcode revision */
	case 0xce:             /* platform info */
	case 0x10a:            /* ARCH_CAPABILITIES: the host's; refused by some hosts */
	case 0x345:            /* PERF_CAPABILITIES */
		return true;
	default:
		/* Hyper-V's, which no guest is offered; VMX capabilities */
		return (msr >= 0x40000000 && msr <= 0x400001ff) || (msr >= 0x480 && msr <= 0x493);
	}
}

static void list_add(struct msr_list *l, uint32_t msr)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (l->index[i] == msr)
			return;
	if (l->count < KVM_MSRS_MAX)
		l->index[l->count++] = msr;
}

static bool carried(int fd, uint32_t msr)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1, .entry.index = msr };

	if (kvm_ioctl(fd, KVM_GET_MSRS, &m) != 1)
		return false;
	m.head.nmsrs = 1;
	/* Writing the TSC would set it back by the time since it was read. */
	return msr == MSR_TSC || kvm_ioctl(fd, KVM_SET_MSRS, &m) == 1;
}

int msr_list_probe(struct msr_list *l, const struct kvm_vm *k, int fd, struct err *e)
{
	struct kvm_msr_list head = { .nmsrs = 0 }, *all;
	uint32_t kept = 0;
	int ret;

	ret = kvm_ioctl(k->sys_fd, KVM_GET_MSR_INDEX_LIST, &head);
	if (ret < 0 && ret != -E2BIG)
		return err_set(e, ret, "KVM_GET_MSR_INDEX_LIST: %s", strerror(-ret));
	all = calloc(1, sizeof(*all) + head.nmsrs * sizeof(all->indices[0]));
	if (!all)
		return err_set(e, -ENOMEM, "MSR list: out of memory");
	all->nmsrs = head.nmsrs;
	ret = kvm_ioctl(k->sys_fd, KVM_GET_MSR_INDEX_LIST, all);
	if (ret < 0) {
		err_set(e, ret, "KVM_GET_MSR_INDEX_LIST: %s", strerror(-ret));
		goto out;
	}
	l->count = 0;
	list_add(l, MSR_TSC);
	list_add(l, MSR_TSC_ADJUST);
	for (uint32_t i = 0; i < all->nmsrs; i++)
		if (!is_unwanted(all->indices[i]))
			list_add(l, all->indices[i]);
	for (size_t i = 0; i < sizeof(extra) / sizeof(extra[0]); i++)
		list_add(l, extra[i]);
	/* Last, as the LAPIC's timer mode and the TSC must be there before it is armed. */
	if (l->count == KVM_MSRS_MAX)
		l->count--;
	list_add(l, MSR_TSC_DEADLINE);
	for (uint32_t i = 0; i < l->count; i++)
		if (carried(fd, l->index[i]))
			l->index[kept++] = l->index[i];
	l->count = kept;
	ret = 0;
out:
	free(all);
	return ret;
}
