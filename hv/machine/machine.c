/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine - see machine.h: creation, and who holds the machine.
 *
 * Holding:  holders |= who, vCPUs kicked  ->  vCPUs parked  ->  devices quiet
 * Releasing:  devices work  ->  vCPUs run, if nobody took a hold meanwhile
 *
 * In this order no vCPU is there to kick a device that is being stopped, and
 * devices are ready before the first vCPU kicks them.
 */
#include "hv/machine/machine_int.h"

#include "base/clock.h"
#include "hv/display/display.h"
#include "hv/display/seat.h"
#include "hv/disk/rings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VCPU_STOP_MS 2000
#define LEAVE_LOOK_US 500

/* --- events from vCPU threads --- */

static void guest_event(struct machine *m, enum machine_event what, const char *text)
{
	machine_hold_nowait(m, HOLD_EVENT);
	m->opt.event(m->opt.arg, what, text);
}

void machine_on_off(void *arg)
{
	guest_event(arg, MACHINE_POWEROFF, "ACPI power-off");
}

void machine_on_reset(void *arg, const char *how)
{
	guest_event(arg, MACHINE_RESET, how);
}

static void on_vcpu_event(void *arg, enum vcpu_event what, const char *text)
{
	guest_event(arg, what == VCPU_EVENT_SHUTDOWN ? MACHINE_RESET : MACHINE_CRASH, text);
}

/* --- creation --- */

static int create_buses(struct machine *m, struct err *e)
{
	int ret;

	ret = bus_create(&m->pio);
	if (!ret)
		ret = bus_create(&m->mmio);
	if (!ret)
		ret = seat_create(&m->seat);
	if (ret)
		return err_set(e, ret, "machine: out of memory");
	return irq_create(&m->irq, m->kvm.vm_fd, e);
}

static int create_vcpus(struct machine *m, struct err *e)
{
	struct vcpus_options vo = {
		.kvm = &m->kvm,
		.pio = m->pio,
		.mmio = m->mmio,
		.count = m->conf->vcpus,
		.cpu = &m->conf->cpu,
		.memory = m->conf->memory,
		.event = on_vcpu_event,
		.arg = m,
	};

	return vcpus_create(&m->vcpus, &vo, e);
}

/* What the machine is now is what a reset goes back to; its devices keep their own such part. */
static int keep_own(struct machine *m, struct err *e)
{
	int ret = machine_own_build(m, e);

	if (!ret)
		ret = vcpus_each(m->vcpus, vcpu_state_get, e);
	return ret ? ret : machine_part_keep(&m->own, e);
}

static int create_all(struct machine *m, struct err *e)
{
	int ret;

	ret = kvm_vm_create(&m->kvm, e);
	if (ret)
		return ret;
	m->has_kvm = true;
	ret = gmem_create(&m->mem, m->conf->memory, m->conf->backing, e);
	if (!ret)
		ret = kvm_vm_memory(&m->kvm, m->mem, e);
	if (!ret)
		ret = create_buses(m, e);
	if (!ret)
		ret = machine_firmware_add(m, e);
	if (!ret)
		ret = create_vcpus(m, e);
	if (!ret)
		ret = machine_devices_create(m, e);
	return ret ? ret : keep_own(m, e);
}

int machine_create(struct machine **out, const struct machine_options *o, struct err *e)
{
	struct machine *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return err_set(e, -ENOMEM, "machine: out of memory");
	m->opt = *o;
	m->conf = o->conf;
	m->holders = HOLD_START;
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->holders_lock, NULL);
	pthread_rwlock_init(&m->devices_lock, NULL);
	pthread_cond_init(&m->disks_moved, NULL);
	ret = create_all(m, e);
	if (ret) {
		machine_destroy(m);
		return ret;
	}
	*out = m;
	return 0;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	if (m->vcpus) {
		machine_hold_nowait(m, HOLD_START);
		vcpus_wait(m->vcpus, VCPU_STOP_MS, NULL);
	}
	/* vCPUs first: a running one would find its devices gone */
	vcpus_destroy(m->vcpus);
	if (m->mem) /* nobody harvests any more, and what devices have in memory goes with them */
		atomic_store(&m->mem->tracking, false);
	machine_devices_destroy(m);
	rings_destroy(m->env.rings);
	irq_destroy(m->irq);
	bus_destroy(m->mmio);
	bus_destroy(m->pio);
	seat_destroy(m->seat);
	if (m->has_kvm)
		kvm_vm_destroy(&m->kvm);
	gmem_destroy(m->mem);
	boot_close(m->boot);
	pthread_cond_destroy(&m->disks_moved);
	pthread_rwlock_destroy(&m->devices_lock);
	pthread_mutex_destroy(&m->holders_lock);
	pthread_mutex_destroy(&m->lock);
	free(m->own.entries);
	free(m->own.pristine);
	free(m);
}

/* --- holds --- */

void machine_hold_nowait(struct machine *m, enum machine_holder who)
{
	pthread_mutex_lock(&m->holders_lock);
	m->holders |= who;
	vcpus_hold(m->vcpus, VCPU_HOLD_MACHINE);
	pthread_mutex_unlock(&m->holders_lock);
}

/* With m->lock held: until nothing moves any more. */
int machine_settle(struct machine *m, unsigned int wait_ms, struct err *e)
{
	int ret = vcpus_wait(m->vcpus, VCPU_STOP_MS, e);

	return ret ? ret : machine_devices_quiesce(m, wait_ms, e);
}

int machine_hold_for(struct machine *m, enum machine_holder who, unsigned int wait_ms, struct err *e)
{
	int ret;

	/* before the lock: vCPUs stop even if somebody else is still waiting for a disk */
	machine_hold_nowait(m, who);
	pthread_mutex_lock(&m->lock);
	ret = machine_settle(m, wait_ms, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

int machine_hold(struct machine *m, enum machine_holder who, struct err *e)
{
	return machine_hold_for(m, who, MACHINE_QUIESCE_MS, e);
}

/* True when @who was the last one. */
static bool drop_holder(struct machine *m, enum machine_holder who)
{
	bool last;

	pthread_mutex_lock(&m->holders_lock);
	last = m->holders == (unsigned int)who;
	m->holders &= ~(unsigned int)who;
	pthread_mutex_unlock(&m->holders_lock);
	return last;
}

int machine_hold_to_leave(struct machine *m, unsigned int wait_ms, struct err *e)
{
	uint64_t end = clock_ms() + wait_ms;
	int ret;

	ret = machine_hold(m, HOLD_LEAVING, e);
	/* No vCPU runs any more: once this is gone it does not come again. */
	while (!ret && (machine_holders(m) & HOLD_EVENT) && clock_ms() < end)
		usleep(LEAVE_LOOK_US);
	machine_hold_nowait(m, HOLD_MIGRATION);
	drop_holder(m, HOLD_LEAVING);
	return ret ? ret : machine_hold(m, HOLD_MIGRATION, e);
}

int machine_release_locked(struct machine *m, enum machine_holder who, struct err *e)
{
	int ret;

	if (!drop_holder(m, who))
		return 0;
	ret = machine_devices_start(m, e);
	if (ret) {
		machine_hold_nowait(m, who);
		return ret;
	}
	vcpus_tell_paused(m->vcpus);
	pthread_mutex_lock(&m->holders_lock);
	if (!m->holders)
		vcpus_release(m->vcpus, VCPU_HOLD_MACHINE);
	pthread_mutex_unlock(&m->holders_lock);
	return 0;
}

int machine_release(struct machine *m, enum machine_holder who, struct err *e)
{
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = machine_release_locked(m, who, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

unsigned int machine_holders(struct machine *m)
{
	unsigned int h;

	pthread_mutex_lock(&m->holders_lock);
	h = m->holders;
	pthread_mutex_unlock(&m->holders_lock);
	return h;
}

/* --- what it has one of --- */

void machine_power_button(struct machine *m)
{
	if (domain_has_firmware(m->conf))
		pm_block_button(machine_device_only(m, &pm_block_device));
	else
		acpi_pm_button(machine_device_only(m, &acpi_pm_device));
}

struct serial *machine_serial(struct machine *m)
{
	return machine_device_only(m, &serial_device);
}

struct display *machine_display(struct machine *m)
{
	return machine_device_only(m, &display_device);
}

struct seat *machine_seat(struct machine *m)
{
	return m->seat;
}

void machine_throttle(struct machine *m, unsigned int percent)
{
	vcpus_throttle(m->vcpus, percent);
}
