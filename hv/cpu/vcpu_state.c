/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpu_state - read and write all of a vCPU, in the order that KVM needs.
 *
 * Get: MP state first (it delivers a pending INIT or SIPI and so changes the
 * LAPIC), events last (reading others may queue one).  Set: special registers
 * before the LAPIC (they carry the APIC base), LAPIC before MSRs (the TSC
 * deadline needs the timer's mode), events after the registers (setting those
 * clears exceptions), MP state at the end.
 *
 * An MSR that this KVM refuses is skipped if it is 0, as it is where it does not
 * exist: hosts differ in registers that no guest uses.  With a value in it the guest
 * may count on it, and is not run without.
 */
#include "hv/cpu/vcpu_state.h"

#include "hv/cpu/vcpu.h"

#include <errno.h>
#include <string.h>

#define XSTATE_BV 128 /* words of the legacy region before it: SDM 1 13.4.2 */

struct step {
	unsigned long request;
	const char *name;
	size_t offset;
};

#define STEP(req, field)                                      \
	{                                                     \
		req, #req, offsetof(struct vcpu_state, field) \
	}

static const struct step get_steps[] = {
	STEP(KVM_GET_MP_STATE, mp_state),
	STEP(KVM_GET_REGS, regs),
	STEP(KVM_GET_SREGS, sregs),
	STEP(KVM_GET_XSAVE, xsave),
	STEP(KVM_GET_XCRS, xcrs),
	STEP(KVM_GET_DEBUGREGS, debugregs),
	STEP(KVM_GET_LAPIC, lapic),
};

static const struct step set_steps[] = {
	STEP(KVM_SET_SREGS, sregs),
	STEP(KVM_SET_REGS, regs),
	STEP(KVM_SET_XSAVE, xsave),
	STEP(KVM_SET_XCRS, xcrs),
	STEP(KVM_SET_DEBUGREGS, debugregs),
	STEP(KVM_SET_LAPIC, lapic),
};

static const struct step after_msr_steps[] = {
	STEP(KVM_SET_VCPU_EVENTS, events),
	STEP(KVM_SET_MP_STATE, mp_state),
};

/*
 * #syscalls:vcpu,engine ioctl(1=KVM_GET_MP_STATE) ioctl(1=KVM_GET_REGS) ioctl(1=KVM_GET_SREGS) ioctl(1=KVM_GET_XSAVE)
 * #syscalls:vcpu,engine ioctl(1=KVM_GET_XCRS) ioctl(1=KVM_GET_DEBUGREGS) ioctl(1=KVM_GET_LAPIC) ioctl(1=KVM_SET_SREGS) ioctl(1=KVM_SET_REGS)
 * #syscalls:vcpu,engine ioctl(1=KVM_SET_XSAVE) ioctl(1=KVM_SET_XCRS) ioctl(1=KVM_SET_DEBUGREGS) ioctl(1=KVM_SET_LAPIC)
 * #syscalls:vcpu,engine ioctl(1=KVM_SET_VCPU_EVENTS) ioctl(1=KVM_SET_MP_STATE)
 */
static int run_steps(struct vcpu *v, const struct step *steps, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		int ret = kvm_ioctl(v->fd, steps[i].request, (char *)v->state + steps[i].offset);

		if (ret < 0)
			return err_set(e, ret, "vcpu%u: %s: %s", v->id, steps[i].name,
				       strerror(-ret));
	}
	return 0;
}

struct msr_buffer {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[KVM_MSRS_MAX];
};

/* #syscalls:vcpu,engine ioctl(1=KVM_GET_MSRS) */
static int get_msrs(struct vcpu *v, struct err *e)
{
	const struct msr_list *l = &v->set->msrs;
	struct vcpu_state *s = v->state;
	struct msr_buffer b;
	int ret;

	memset(&b.head, 0, sizeof(b.head));
	b.head.nmsrs = l->count;
	for (uint32_t i = 0; i < l->count; i++)
		b.entries[i] = (struct kvm_msr_entry){ .index = l->index[i] };
	ret = kvm_ioctl(v->fd, KVM_GET_MSRS, &b);
	if (ret < 0)
		return err_set(e, ret, "vcpu%u: KVM_GET_MSRS: %s", v->id, strerror(-ret));
	if ((uint32_t)ret != l->count)
		return err_set(e, -EIO, "vcpu%u: MSR 0x%x cannot be read any more", v->id,
			       l->index[ret]);
	s->n_msrs = l->count;
	for (uint32_t i = 0; i < l->count; i++) {
		s->msr_index[i] = b.entries[i].index;
		s->msr_value[i] = b.entries[i].data;
	}
	return 0;
}

/* #syscalls:vcpu,engine ioctl(1=KVM_SET_MSRS) */
static int set_msrs(struct vcpu *v, struct err *e)
{
	struct vcpu_state *s = v->state;
	struct msr_buffer b;
	uint32_t next = 0;
	int ret;

	while (next < s->n_msrs) {
		memset(&b.head, 0, sizeof(b.head));
		b.head.nmsrs = s->n_msrs - next;
		for (uint32_t i = next; i < s->n_msrs; i++)
			b.entries[i - next] = (struct kvm_msr_entry){
				.index = s->msr_index[i], .data = s->msr_value[i]
			};
		ret = kvm_ioctl(v->fd, KVM_SET_MSRS, &b);
		if (ret < 0)
			return err_set(e, ret, "vcpu%u: KVM_SET_MSRS: %s", v->id, strerror(-ret));
		next += (uint32_t)ret;
		if (next < s->n_msrs) {
			if (s->msr_value[next])
				return err_set(e, -EINVAL, "vcpu%u: this host refuses MSR 0x%x = 0x%llx, "
							   "which the guest has",
					       v->id, s->msr_index[next],
					       (unsigned long long)s->msr_value[next]);
			next++;
		}
	}
	return 0;
}

/* #syscalls:vcpu,engine ioctl(1=KVM_GET_VCPU_EVENTS) ioctl(1=KVM_GET_TSC_KHZ) */
/*
 * Components of the XSAVE area that the guest was never shown hold nothing of its: KVM may tell of its host's there
 * (PKRU), and a host without them refuses all of the area.  Without their bit they are as they are when new (SDM 1 13.4.2).
 */
static void trim_xsave(struct vcpu *v)
{
	uint64_t shown = cpuid_components(&v->set->cpuid), bits;

	memcpy(&bits, &v->state->xsave.region[XSTATE_BV], sizeof(bits));
	bits &= shown;
	memcpy(&v->state->xsave.region[XSTATE_BV], &bits, sizeof(bits));
}

int vcpu_state_get(struct vcpu *v, struct err *e)
{
	int ret;

	ret = run_steps(v, get_steps, sizeof(get_steps) / sizeof(get_steps[0]), e);
	if (ret)
		return ret;
	trim_xsave(v);
	ret = get_msrs(v, e);
	if (ret)
		return ret;
	ret = kvm_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &v->state->events);
	if (ret < 0)
		return err_set(e, ret, "vcpu%u: KVM_GET_VCPU_EVENTS: %s", v->id, strerror(-ret));
	ret = kvm_ioctl(v->fd, KVM_GET_TSC_KHZ, NULL);
	v->state->tsc_khz = ret > 0 ? (uint32_t)ret : 0;
	return 0;
}

/*
 * Without TSC scaling in hardware only a host of the same frequency will do (250 ppm, as NTP slews).
 * #syscalls:vcpu,engine ioctl(1=KVM_GET_TSC_KHZ) ioctl(1=KVM_SET_TSC_KHZ)
 */
static int set_tsc_khz(struct vcpu *v, struct err *e)
{
	uint32_t want = v->state->tsc_khz;
	int have = kvm_ioctl(v->fd, KVM_GET_TSC_KHZ, NULL);
	int ret;

	if (!want || have <= 0 || (uint32_t)have == want)
		return 0;
	ret = kvm_ioctl(v->fd, KVM_SET_TSC_KHZ, (void *)(uintptr_t)want);
	if (ret >= 0)
		return 0;
	if ((want > (uint32_t)have ? want - (uint32_t)have : (uint32_t)have - want) <= want / 4000)
		return 0;
	return err_set(e, -EINVAL, "vcpu%u: the guest's TSC runs at %u kHz, this host's at %d kHz "
				   "and cannot be scaled",
		       v->id, want, have);
}

int vcpu_state_set(struct vcpu *v, struct err *e)
{
	int ret;

	ret = set_tsc_khz(v, e);
	if (ret)
		return ret;
	trim_xsave(v);
	ret = run_steps(v, set_steps, sizeof(set_steps) / sizeof(set_steps[0]), e);
	if (ret)
		return ret;
	ret = set_msrs(v, e);
	if (ret)
		return ret;
	ret = run_steps(v, after_msr_steps, sizeof(after_msr_steps) / sizeof(after_msr_steps[0]), e);
	if (ret)
		return ret;
	v->io_pending = false;
	return 0;
}

/* The table only moves bytes: vcpus_each() has filled them in, or will put them into force. */
static int vcpu_pre_save(void *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

static int vcpu_post_load(void *dev, struct err *e)
{
	/* KVM checks its own structs, state.c how many elements there are (rule S). */
	(void)dev;
	(void)e;
	return 0;
}

static const struct state_field vcpu_fields[] = {
	STATE_U32(struct vcpu_state, tsc_khz),
	STATE_BYTES(struct vcpu_state, mp_state),
	STATE_BYTES(struct vcpu_state, regs),
	STATE_BYTES(struct vcpu_state, sregs),
	STATE_ARRAY(struct vcpu_state, xsave, sizeof(uint8_t)),
	STATE_COUNTED(struct vcpu_state, xcrs.xcrs, sizeof(struct kvm_xcr), xcrs.nr_xcrs),
	STATE_BYTES(struct vcpu_state, debugregs),
	STATE_ARRAY(struct vcpu_state, lapic.regs, sizeof(uint8_t)),
	STATE_BYTES(struct vcpu_state, events),
	STATE_COUNTED(struct vcpu_state, msr_index, sizeof(uint32_t), n_msrs),
	STATE_COUNTED(struct vcpu_state, msr_value, sizeof(uint64_t), n_msrs),
	STATE_END,
};

const struct state_desc vcpu_state_desc = {
	.name = "vcpu",
	.version = 1,
	.min_version = 1,
	.fields = vcpu_fields,
	.pre_save = vcpu_pre_save,
	.post_load = vcpu_post_load,
};
