/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm - see kvm.h.
 *
 * The order of creation matters to KVM: TSS and identity-map addresses (three
 * pages and one page in the hole below 4 GiB, needed by Intel CPUs that cannot
 * run real mode in hardware) before vCPUs, irqchip before PIT before vCPUs.
 */
#include "hv/kvm/kvm.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TSS_ADDR 0xfffbd000ull
#define IDENTITY_MAP_ADDR 0xfffbc000ull

static const struct {
	int cap;
	const char *name;
} needed[] = {
	{ KVM_CAP_USER_MEMORY, "user memory" },
	{ KVM_CAP_READONLY_MEM, "read-only memory" },
	{ KVM_CAP_IRQCHIP, "irqchip" },
	{ KVM_CAP_PIT2, "PIT2" },
	{ KVM_CAP_IRQFD, "irqfd" },
	{ KVM_CAP_IOEVENTFD, "ioeventfd" },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
	{ KVM_CAP_EXT_CPUID, "extended CPUID" },
	{ KVM_CAP_MP_STATE, "MP state" },
	{ KVM_CAP_VCPU_EVENTS, "vCPU events" },
	{ KVM_CAP_XSAVE, "XSAVE" },
	{ KVM_CAP_ADJUST_CLOCK, "clock" },
};

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	do
		ret = ioctl(fd, request, arg);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

static int check_host(struct kvm_vm *k, struct err *e)
{
	int version = ioctl(k->sys_fd, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION)
		return err_set(e, -ENODEV, "/dev/kvm: API version %d, expected %d", version,
			       KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (ioctl(k->sys_fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return err_set(e, -ENODEV, "/dev/kvm: this kernel's KVM has no %s",
				       needed[i].name);
	}
	return 0;
}

static int create_vm(struct kvm_vm *k, struct err *e)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity = IDENTITY_MAP_ADDR;
	int ret;

	ret = kvm_ioctl(k->sys_fd, KVM_CREATE_VM, 0);
	if (ret < 0)
		return err_set(e, ret, "/dev/kvm: cannot create a VM: %s", strerror(-ret));
	k->vm_fd = ret;
	ret = kvm_ioctl(k->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (ret < 0)
		return err_set(e, ret, "KVM_SET_IDENTITY_MAP_ADDR: %s", strerror(-ret));
	ret = kvm_ioctl(k->vm_fd, KVM_SET_TSS_ADDR, (void *)TSS_ADDR);
	if (ret < 0)
		return err_set(e, ret, "KVM_SET_TSS_ADDR: %s", strerror(-ret));
	ret = kvm_ioctl(k->vm_fd, KVM_CREATE_IRQCHIP, NULL);
	if (ret < 0)
		return err_set(e, ret, "KVM_CREATE_IRQCHIP: %s", strerror(-ret));
	ret = kvm_ioctl(k->vm_fd, KVM_CREATE_PIT2, &pit);
	if (ret < 0)
		return err_set(e, ret, "KVM_CREATE_PIT2: %s", strerror(-ret));
	return 0;
}

/* Without manual protect a fetch re-arms every page at once, long before it is sent. */
static void enable_manual_protect(struct kvm_vm *k)
{
	int have = ioctl(k->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 };

	if (have <= 0)
		return;
	cap.args[0] = (uint64_t)have &
		      (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
	if (kvm_ioctl(k->vm_fd, KVM_ENABLE_CAP, &cap) < 0)
		return;
	k->manual_protect = true;
	k->initially_set = cap.args[0] & KVM_DIRTY_LOG_INITIALLY_SET;
}

int kvm_vm_create(struct kvm_vm *k, struct err *e)
{
	int ret;

	memset(k, 0, sizeof(*k));
	pthread_mutex_init(&k->log_lock, NULL);
	k->vm_fd = -1;
	k->sys_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (k->sys_fd < 0) {
		ret = errno == EACCES ? -EPERM : -ENODEV;
		err_set(e, ret, "cannot open /dev/kvm: %s", strerror(errno));
		goto fail;
	}
	ret = check_host(k, e);
	if (ret)
		goto fail;
	ret = create_vm(k, e);
	if (ret)
		goto fail;
	enable_manual_protect(k);
	k->tsc_deadline = ioctl(k->sys_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	ret = kvm_ioctl(k->sys_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (ret < (int)sizeof(struct kvm_run)) {
		ret = err_set(e, -ENODEV, "/dev/kvm: vCPU area of %d bytes", ret);
		goto fail;
	}
	k->run_size = (uint32_t)ret;
	return 0;

fail:
	kvm_vm_destroy(k);
	return ret;
}

void kvm_vm_destroy(struct kvm_vm *k)
{
	if (k->vm_fd >= 0)
		close(k->vm_fd);
	if (k->sys_fd >= 0)
		close(k->sys_fd);
	k->vm_fd = k->sys_fd = -1;
	pthread_mutex_destroy(&k->log_lock);
}

static uint64_t place_of(const struct gmem_region *r)
{
	return r->rules->placed ? r->at : r->gpa;
}

/* By vCPUs: a guest moves the BAR of its display. #syscalls:vcpu,engine ioctl(1=KVM_SET_USER_MEMORY_REGION) */
static int slot_set(struct kvm_vm *k, const struct gmem_region *r, uint32_t flags, uint64_t size, struct err *e)
{
	uint64_t gpa = place_of(r);
	struct kvm_userspace_memory_region slot = {
		.slot = r->id,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)r->host,
	};
	int ret;

	assert(gpa % GMEM_PAGE == 0 && r->size % GMEM_PAGE == 0 && (uintptr_t)r->host % GMEM_PAGE == 0);
	ret = kvm_ioctl(k->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot);
	if (ret < 0)
		return err_set(e, ret, "KVM: memory slot %u (%s, %llu KiB at 0x%llx): %s", r->id, r->name,
			       (unsigned long long)(r->size >> 10), (unsigned long long)gpa,
			       strerror(-ret));
	return 0;
}

bool kvm_slot_logs(const struct gmem_region *r)
{
	return r->rules->move == GMEM_MOVE_LOGGED && r->rules->guest_writes;
}

int kvm_slot_put(struct kvm_vm *k, const struct gmem_region *r, bool log, struct err *e)
{
	uint32_t flags = r->rules->guest_writes ? 0 : KVM_MEM_READONLY;

	if (log && kvm_slot_logs(r))
		flags |= KVM_MEM_LOG_DIRTY_PAGES;
	return slot_set(k, r, flags, r->size, e);
}

int kvm_slot_remove(struct kvm_vm *k, const struct gmem_region *r, struct err *e)
{
	return slot_set(k, r, 0, 0, e);
}

/* Marked behind the removal: what vCPUs wrote until then is in place, and the engine's next read sees it (rule D). */
static int place_leave(struct kvm_vm *k, struct gmem_region *r, struct err *e)
{
	int ret = kvm_slot_remove(k, r, e);

	r->at = 0;
#ifndef MUTANT_PLACE_FORGETS
	gmem_dirty_all(k->mem, r);
#endif
	return ret;
}

int kvm_slot_place(struct kvm_vm *k, struct gmem_region *r, uint64_t gpa, struct err *e)
{
	int ret = 0;

	assert(r->rules->placed);
	pthread_mutex_lock(&k->log_lock);
	if (r->at)
		ret = place_leave(k, r, e);
	if (!ret && gpa) {
		r->at = gpa;
		ret = kvm_slot_put(k, r, atomic_load(&k->mem->tracking), e);
		if (ret)
			r->at = 0;
	}
	pthread_mutex_unlock(&k->log_lock);
	return ret;
}

int kvm_vm_memory(struct kvm_vm *k, struct gmem *mem, struct err *e)
{
	struct gmem_region *r = NULL;
	int ret = 0;

	assert(!k->mem);
	while (!ret && (r = gmem_region_next(mem, r)))
		ret = kvm_slot_put(k, r, false, e);
	if (!ret)
		k->mem = mem;
	return ret;
}
