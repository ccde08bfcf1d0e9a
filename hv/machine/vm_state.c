/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm_state - see vm_state.h.  Loaded after the vCPUs: setting the IOAPIC delivers
 * what is pending there into the LAPICs, and a LAPIC loaded later would lose it.
 *
 * The clock continues from where it stood: to a guest on kvmclock the downtime
 * did not happen.  KVM_CLOCK_REALTIME could add it, but needs both hosts' wall
 * clocks to agree (rule T: we never compare clocks of two hosts).
 */
#include "hv/machine/vm_state.h"

#include <errno.h>
#include <string.h>

struct vm_step {
	unsigned long request;
	const char *name;
	size_t offset;
};

#define STEP(req, field)                                                    \
	{                                                                   \
		req, #req " (" #field ")", offsetof(struct vm_state, field) \
	}

/*
 * #syscalls:engine,main ioctl(1=KVM_GET_CLOCK) ioctl(1=KVM_GET_PIT2) ioctl(1=KVM_GET_IRQCHIP)
 * #syscalls:engine,main ioctl(1=KVM_SET_CLOCK) ioctl(1=KVM_SET_PIT2) ioctl(1=KVM_SET_IRQCHIP)
 */
static int run_steps(struct vm_state *s, const struct vm_step *steps, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		int ret = kvm_ioctl(s->kvm->vm_fd, steps[i].request, (char *)s + steps[i].offset);

		if (ret < 0)
			return err_set(e, ret, "%s: %s", steps[i].name, strerror(-ret));
	}
	return 0;
}

static void chip_ids(struct vm_state *s)
{
	s->pic_master.chip_id = KVM_IRQCHIP_PIC_MASTER;
	s->pic_slave.chip_id = KVM_IRQCHIP_PIC_SLAVE;
	s->ioapic.chip_id = KVM_IRQCHIP_IOAPIC;
}

static int vm_pre_save(void *dev, struct err *e)
{
	static const struct vm_step steps[] = {
		STEP(KVM_GET_CLOCK, clock),
		STEP(KVM_GET_PIT2, pit),
		STEP(KVM_GET_IRQCHIP, pic_master),
		STEP(KVM_GET_IRQCHIP, pic_slave),
		STEP(KVM_GET_IRQCHIP, ioapic),
	};

	chip_ids(dev);
	return run_steps(dev, steps, sizeof(steps) / sizeof(steps[0]), e);
}

static int vm_post_load(void *dev, struct err *e)
{
	static const struct vm_step steps[] = {
		STEP(KVM_SET_PIT2, pit),
		STEP(KVM_SET_CLOCK, clock),
		STEP(KVM_SET_IRQCHIP, pic_master),
		STEP(KVM_SET_IRQCHIP, pic_slave),
		STEP(KVM_SET_IRQCHIP, ioapic),
	};
	struct vm_state *s = dev;

	s->clock.flags = 0;
	chip_ids(s);
	return run_steps(s, steps, sizeof(steps) / sizeof(steps[0]), e);
}

static const struct state_field vm_fields[] = {
	STATE_U64(struct vm_state, clock.clock),
	STATE_BYTES(struct vm_state, pit),
	STATE_BYTES(struct vm_state, pic_master.chip.pic),
	STATE_BYTES(struct vm_state, pic_slave.chip.pic),
	STATE_U64(struct vm_state, ioapic.chip.ioapic.base_address),
	STATE_U32(struct vm_state, ioapic.chip.ioapic.ioregsel),
	STATE_U32(struct vm_state, ioapic.chip.ioapic.id),
	STATE_U32(struct vm_state, ioapic.chip.ioapic.irr),
	STATE_ARRAY(struct vm_state, ioapic.chip.ioapic.redirtbl, sizeof(uint64_t)),
	STATE_END,
};

const struct state_desc vm_state_desc = {
	.name = "vm",
	.version = 1,
	.min_version = 1,
	.fields = vm_fields,
	.pre_save = vm_pre_save,
	.post_load = vm_post_load,
};

static int cpuid_pre_save(void *dev, struct err *e)
{
	struct cpuid_state *s = dev;

	(void)e;
	s->table = s->vcpus->cpuid;
	return 0;
}

static int cpuid_post_load(void *dev, struct err *e)
{
	struct cpuid_state *s = dev;
	int ret;

	ret = cpuid_check(&s->vcpus->host_cpuid, &s->table, e);
	return ret ? ret : vcpus_set_cpuid(s->vcpus, &s->table, e);
}

static const struct state_field cpuid_fields[] = {
	STATE_COUNTED(struct cpuid_state, table.entries, sizeof(struct kvm_cpuid_entry2), table.count),
	STATE_END,
};

const struct state_desc cpuid_state_desc = {
	.name = "cpuid",
	.version = 1,
	.min_version = 1,
	.fields = cpuid_fields,
	.pre_save = cpuid_pre_save,
	.post_load = cpuid_post_load,
};
