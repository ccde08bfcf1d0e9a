/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpu - see vcpu.h.  The loop of a vCPU thread:
 *
 *          ┌────────────────────────────────────────────┐
 *          v                                            │
 *     held? ── no ──> KVM_RUN ──> exit ──> port, MMIO, event
 *       │ yes             ^ EINTR when kicked
 *       v                 │
 *     finish I/O ──> park (do jobs) ── released ──┘
 *
 * `holds` is read without the lock before each entry.  Nothing is lost by that:
 * whoever adds a hold then sets immediate_exit and signals, so a vCPU that saw
 * no hold comes back from KVM_RUN at once and looks again.
 */
#include "hv/cpu/vcpu.h"

#include "hv/cpu/pin.h"

#include "base/clock.h"
#include "base/confine.h"
#include "base/lock.h"
#include "base/wait.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define KICK_SIGNAL SIGUSR1
#define START_MS 10000 /* for all threads to come up, on a host that is busy */

static void kick_handler(int sig)
{
	(void)sig; /* only there to interrupt KVM_RUN */
}

static void report(struct vcpu *v, enum vcpu_event what, const char *text)
{
	vcpus_hold(v->set, VCPU_HOLD_EVENT);
	v->set->opt.event(v->set->opt.arg, what, text);
}

/* --- exits --- */

static void exit_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned int len = run->io.size;

	for (uint32_t i = 0; i < run->io.count; i++, data += len) {
		uint64_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, len);
			bus_write(v->set->opt.pio, run->io.port, len, value);
		} else {
			value = bus_read(v->set->opt.pio, run->io.port, len);
			memcpy(data, &value, len);
		}
	}
	atomic_fetch_add_explicit(&v->exits_io, 1, memory_order_relaxed);
}

static void exit_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	unsigned int len = run->mmio.len <= 8 ? run->mmio.len : 8;
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, len);
		bus_write(v->set->opt.mmio, run->mmio.phys_addr, len, value);
	} else {
		value = bus_read(v->set->opt.mmio, run->mmio.phys_addr, len);
		memcpy(run->mmio.data, &value, len);
	}
	atomic_fetch_add_explicit(&v->exits_mmio, 1, memory_order_relaxed);
}

/* #syscalls:vcpu ioctl(1=KVM_GET_REGS) */
static void crash(struct vcpu *v, const char *what, unsigned long long detail)
{
	struct kvm_regs regs = { 0 };
	char text[160];

	kvm_ioctl(v->fd, KVM_GET_REGS, &regs);
	snprintf(text, sizeof(text), "vcpu%u: %s 0x%llx at rip 0x%llx", v->id, what, detail,
		 (unsigned long long)regs.rip);
	report(v, VCPU_EVENT_CRASH, text);
}

static void handle_exit(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	v->io_pending = run->exit_reason == KVM_EXIT_IO || run->exit_reason == KVM_EXIT_MMIO;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(v);
		return;
	case KVM_EXIT_MMIO:
		exit_mmio(v);
		return;
	case KVM_EXIT_SHUTDOWN: /* triple fault: what a PC answers with a reset */
		report(v, VCPU_EVENT_SHUTDOWN, "triple fault");
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		report(v, VCPU_EVENT_SHUTDOWN, "KVM system event");
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		crash(v, "KVM internal error", run->internal.suberror);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		crash(v, "KVM entry failed", run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	default:
		crash(v, "unexpected KVM exit", run->exit_reason);
		break;
	}
	atomic_fetch_add_explicit(&v->exits_other, 1, memory_order_relaxed);
}

/*
 * One entry.  True when a kick ended it.
 * #syscalls:vcpu ioctl(1=KVM_RUN)
 */
static bool enter(struct vcpu *v)
{
	int ret = ioctl(v->fd, KVM_RUN, 0);

	if (ret == 0) {
		handle_exit(v);
		return false;
	}
	/* I/O of the exit before this entry was completed, also when it then was cut short. */
	if (errno == EINTR || errno == EAGAIN) {
		v->io_pending = false;
		return true;
	}
	crash(v, "KVM_RUN failed, errno", (unsigned long long)errno);
	return true;
}

static void set_immediate_exit(struct vcpu *v, bool on)
{
	__atomic_store_n(&v->run->immediate_exit, on ? 1 : 0, __ATOMIC_SEQ_CST);
}

/* A string instruction may exit once more for its next element; go on until KVM says EINTR. */
static void finish_io(struct vcpu *v)
{
	while (v->io_pending) {
		set_immediate_exit(v, true);
		enter(v);
	}
}

static void do_job(struct vcpu *v)
{
	struct vcpus *s = v->set;
	struct err e = { 0 };
	int ret;

	assert(lock_is_held(&s->lock) && v->parked && s->job_left);
	v->job_done = s->job_generation;
	pthread_mutex_unlock(&s->lock);
	ret = s->job(v, &e);
	pthread_mutex_lock(&s->lock);
	if (ret && !s->job_ret) {
		s->job_ret = ret;
		s->job_err = e;
	}
	if (--s->job_left == 0)
		pthread_cond_broadcast(&s->parked);
}

static void park(struct vcpu *v)
{
	struct vcpus *s = v->set;

	finish_io(v);
	pthread_mutex_lock(&s->lock);
	assert(!v->parked && s->n_parked < s->opt.count && !v->io_pending);
	v->parked = true;
	if (++s->n_parked == s->opt.count)
		pthread_cond_broadcast(&s->parked);
	while (!s->quit) {
		if (s->job && v->job_done != s->job_generation)
			do_job(v);
		else if (atomic_load(&s->holds))
			pthread_cond_wait(&s->unpark, &s->lock);
		else
			break;
	}
	assert(s->n_parked);
	v->parked = false;
	s->n_parked--;
	if (!s->quit)
		set_immediate_exit(v, false);
	pthread_mutex_unlock(&s->lock);
}

/* The hold that kicked us may be gone already: then nobody else clears the flag. */
static void forget_kick(struct vcpu *v)
{
	pthread_mutex_lock(&v->set->lock);
	if (!atomic_load(&v->set->holds) && !v->set->quit)
		set_immediate_exit(v, false);
	pthread_mutex_unlock(&v->set->lock);
}

/* It says what it is when the guest is about to run, not before: until then its VMM has things to open. */
static bool enter_confined(struct vcpu *v)
{
	confine(CONFINE_VCPU);
	return enter(v);
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	struct vcpus *s = v->set;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", v->id);
	pthread_setname_np(pthread_self(), name);
	while (!__atomic_load_n(&s->quit, __ATOMIC_ACQUIRE)) {
		if (atomic_load(&s->holds))
			park(v);
		else if (enter_confined(v))
			forget_kick(v);
	}
	return NULL;
}

/* --- the set --- */

/* With the lock held. */
static void kick_all(struct vcpus *s)
{
	assert(lock_is_held(&s->lock));
	for (uint32_t i = 0; i < s->opt.count; i++) {
		struct vcpu *v = &s->v[i];

		if (!v->run || v->parked)
			continue;
		set_immediate_exit(v, true);
		if (v->has_thread && !pthread_equal(v->thread, pthread_self()))
			pthread_kill(v->thread, KICK_SIGNAL);
	}
}

void vcpus_hold(struct vcpus *s, enum vcpu_hold hold)
{
	pthread_mutex_lock(&s->lock);
	atomic_fetch_or(&s->holds, hold);
	kick_all(s);
	pthread_mutex_unlock(&s->lock);
}

int vcpus_wait(struct vcpus *s, unsigned int timeout_ms, struct err *e)
{
	uint64_t deadline = wait_now() + timeout_ms * NS_PER_MS;
	uint32_t parked;

	pthread_mutex_lock(&s->lock);
	while (s->n_parked < s->opt.count && wait_until(&s->parked, &s->lock, deadline))
		;
	parked = s->n_parked;
	pthread_mutex_unlock(&s->lock);
	if (parked < s->opt.count)
		return err_set(e, -ETIMEDOUT, "%u of %u vCPUs did not stop within %u ms",
			       s->opt.count - parked, s->opt.count, timeout_ms);
	return 0;
}

void vcpus_release(struct vcpus *s, enum vcpu_hold hold)
{
	pthread_mutex_lock(&s->lock);
	if (atomic_fetch_and(&s->holds, ~(unsigned int)hold) == (unsigned int)hold)
		pthread_cond_broadcast(&s->unpark);
	pthread_mutex_unlock(&s->lock);
}

int vcpus_each(struct vcpus *s, int (*job)(struct vcpu *v, struct err *e), struct err *e)
{
	int ret;

	/* one vCPU: waking its thread would cost more than doing it here */
	if (s->opt.count == 1)
		return job(&s->v[0], e);
	pthread_mutex_lock(&s->lock);
	assert(!s->job && !s->job_left); /* one at a time: the machine's lock */
	s->job = job;
	s->job_generation++;
	s->job_left = s->opt.count;
	s->job_ret = 0;
	pthread_cond_broadcast(&s->unpark);
	while (s->job_left)
		pthread_cond_wait(&s->parked, &s->lock);
	s->job = NULL;
	ret = s->job_ret;
	if (ret && e)
		*e = s->job_err;
	pthread_mutex_unlock(&s->lock);
	return ret;
}

/* Sets PVCLOCK_GUEST_STOPPED, by which Linux's watchdogs forgive the gap.  A guest without kvmclock
 * makes KVM answer EINVAL, and has nobody to tell. * #syscalls:vcpu,engine,gate ioctl(1=KVM_KVMCLOCK_CTRL)
 */
void vcpus_tell_paused(struct vcpus *s)
{
	for (uint32_t i = 0; i < s->opt.count; i++)
		kvm_ioctl(s->v[i].fd, KVM_KVMCLOCK_CTRL, NULL);
}

/* --- creation --- */

/* #syscalls:vcpu,engine ioctl(1=KVM_SET_CPUID2) */
static int give_cpuid(struct vcpu *v, const struct cpuid_table *t, struct err *e)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[KVM_CPUID_MAX];
	} raw = { 0 };
	struct cpuid_table own;
	int ret;

	cpuid_for_vcpu(t, v->id, &v->set->opt.cpu->topology, &own);
	assert(own.count <= KVM_CPUID_MAX);
	raw.head.nent = own.count;
	memcpy(raw.entries, own.entries, own.count * sizeof(own.entries[0]));
	ret = kvm_ioctl(v->fd, KVM_SET_CPUID2, &raw);
	if (ret < 0)
		return err_set(e, ret, "vcpu%u: KVM_SET_CPUID2: %s", v->id, strerror(-ret));
	return 0;
}

int vcpus_set_cpuid(struct vcpus *s, const struct cpuid_table *t, struct err *e)
{
	int ret;

	/* KVM refuses changes once a vCPU has run; a reset comes here with the same table */
	if (t->count == s->cpuid.count &&
	    !memcmp(t->entries, s->cpuid.entries, t->count * sizeof(t->entries[0])))
		return 0;
	for (uint32_t i = 0; i < s->opt.count; i++) {
		ret = give_cpuid(&s->v[i], t, e);
		if (ret)
			return ret;
	}
	s->cpuid = *t;
	return 0;
}

static int vcpu_create(struct vcpus *s, uint32_t id, struct err *e)
{
	struct vcpu *v = &s->v[id];
	int ret;

	v->set = s;
	v->id = id;
	/* to KVM its number is its APIC id */
	ret = kvm_ioctl(s->opt.kvm->vm_fd, KVM_CREATE_VCPU, (void *)(uintptr_t)cpu_topology_apic_id(&s->opt.cpu->topology, id));
	if (ret < 0)
		return err_set(e, ret, "cannot create vCPU %u: %s", id, strerror(-ret));
	v->fd = ret;
	v->run = mmap(NULL, s->opt.kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return err_errno(e, "vCPU %u: cannot map its run area", id);
	}
	v->state = calloc(1, sizeof(*v->state));
	if (!v->state)
		return err_set(e, -ENOMEM, "vCPU %u: out of memory", id);
	v->state->vcpu = v;
	return give_cpuid(v, &s->cpuid, e);
}

static void init_sync(struct vcpus *s)
{
	pthread_mutex_init(&s->lock, NULL);
	wait_init(&s->parked);
	wait_init(&s->unpark);
	wait_init(&s->throttle_wake);
}

int vcpus_create(struct vcpus **out, const struct vcpus_options *o, struct err *e)
{
	struct sigaction sa = { .sa_handler = kick_handler };
	struct vcpus *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return err_set(e, -ENOMEM, "vCPUs: out of memory");
	s->opt = *o;
	init_sync(s);
	atomic_store(&s->holds, VCPU_HOLD_MACHINE);
	s->v = calloc(o->count, sizeof(*s->v));
	if (!s->v) {
		ret = err_set(e, -ENOMEM, "vCPUs: out of memory");
		goto fail;
	}
	for (uint32_t i = 0; i < o->count; i++)
		s->v[i].fd = -1;
	sigemptyset(&sa.sa_mask);
	sigaction(KICK_SIGNAL, &sa, NULL);
	ret = cpuid_host(&s->host_cpuid, o->kvm, e);
	if (!ret)
		ret = cpuid_guest(&s->cpuid, &s->host_cpuid, &(struct cpuid_wish){ *o->cpu, o->memory }, e);
	for (uint32_t i = 0; i < o->count && !ret; i++)
		ret = vcpu_create(s, i, e);
	if (!ret)
		ret = msr_list_probe(&s->msrs, o->kvm, s->v[0].fd, e);
	for (uint32_t i = 0; i < o->count && !ret; i++) {
		ret = -pthread_create(&s->v[i].thread, NULL, vcpu_main, &s->v[i]);
		if (ret)
			err_set(e, ret, "vCPU %u: cannot create its thread: %s", i, strerror(-ret));
		else
			s->v[i].has_thread = true;
		if (!ret && o->cpu->pin && cpu_list_any(&o->cpu->pin[i]))
			ret = pin_thread(s->v[i].thread, &o->cpu->pin[i], i, e);
	}
	/* their state belongs to others only once they are parked */
	if (!ret)
		ret = vcpus_wait(s, START_MS, e);
	if (ret)
		goto fail;
	*out = s;
	return 0;

fail:
	vcpus_destroy(s);
	return ret;
}

void vcpus_destroy(struct vcpus *s)
{
	if (!s)
		return;
	vcpus_throttle(s, 0);
	pthread_mutex_lock(&s->lock);
	__atomic_store_n(&s->quit, true, __ATOMIC_RELEASE);
	atomic_fetch_or(&s->holds, VCPU_HOLD_MACHINE);
	if (s->v)
		kick_all(s);
	pthread_cond_broadcast(&s->unpark);
	pthread_mutex_unlock(&s->lock);
	for (uint32_t i = 0; s->v && i < s->opt.count; i++) {
		struct vcpu *v = &s->v[i];

		if (v->has_thread)
			pthread_join(v->thread, NULL);
		if (v->run)
			munmap(v->run, s->opt.kvm->run_size);
		if (v->fd >= 0)
			close(v->fd);
		free(v->state);
	}
	pthread_cond_destroy(&s->parked);
	pthread_cond_destroy(&s->unpark);
	pthread_cond_destroy(&s->throttle_wake);
	pthread_mutex_destroy(&s->lock);
	free(s->v);
	free(s);
}
