/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine - see machine.h: creation, boot, and who holds the machine.
 *
 * Holding:  holders |= who, vCPUs kicked  ->  vCPUs parked  ->  devices quiet
 * Releasing:  devices work  ->  vCPUs run, if nobody took a hold meanwhile
 *
 * In this order no vCPU is there to kick a device that is being stopped, and
 * devices are ready before the first vCPU kicks them.
 */
#include "hv/machine_int.h"

#include "base/clock.h"
#include "hv/acpi.h"
#include "hv/boot.h"

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

static void on_off(void *arg)
{
	guest_event(arg, MACHINE_POWEROFF, "ACPI power-off");
}

static void on_reset(void *arg, const char *how)
{
	guest_event(arg, MACHINE_RESET, how);
}

static void on_vcpu_event(void *arg, enum vcpu_event what, const char *text)
{
	guest_event(arg, what == VCPU_EVENT_SHUTDOWN ? MACHINE_RESET : MACHINE_CRASH, text);
}

static const struct power_ops power_ops = { .off = on_off, .reset = on_reset };

/* --- creation --- */

static int create_platform(struct machine *m, struct err *e)
{
	int ret;

	ret = bus_create(&m->pio);
	if (!ret)
		ret = bus_create(&m->mmio);
	if (ret)
		return err_set(e, ret, "machine: out of memory");
	ret = irq_create(&m->irq, m->kvm.vm_fd, e);
	if (!ret)
		ret = serial_create(&m->serial, m->pio, m->irq, e);
	if (!ret)
		ret = rtc_create(&m->rtc, m->pio, NULL, e);
	if (!ret)
		ret = power_create(&m->power, m->pio, m->mmio, m->irq, &power_ops, m, e);
	if (!ret)
		ret = pci_bus_create(&m->pci, m->pio, m->mmio, m->irq, e);
	return ret;
}

static int create_all(struct machine *m, struct err *e)
{
	struct vcpus_options vo;
	int ret;

	ret = kvm_vm_create(&m->kvm, e);
	if (ret)
		return ret;
	m->has_kvm = true;
	ret = gmem_create(&m->mem, m->conf->memory, m->conf->backing, e);
	if (ret)
		return ret;
	ret = kvm_vm_memory(&m->kvm, m->mem, e);
	if (ret)
		return ret;
	ret = create_platform(m, e);
	if (ret)
		return ret;
	vo = (struct vcpus_options){ .kvm = &m->kvm, .pio = m->pio, .mmio = m->mmio,
				     .count = m->conf->vcpus, .event = on_vcpu_event, .arg = m };
	ret = vcpus_create(&m->vcpus, &vo, e);
	if (ret)
		return ret;
	ret = machine_devices_create(m, e);
	if (ret)
		return ret;
	machine_entries_build(m);
	return machine_save_locked(m, &m->pristine, &m->pristine_len, e);
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
	machine_devices_destroy(m);
	if (m->pci)
		pci_bus_destroy(m->pci);
	power_destroy(m->power);
	rtc_destroy(m->rtc);
	serial_destroy(m->serial);
	if (m->irq)
		irq_destroy(m->irq);
	if (m->mmio)
		bus_destroy(m->mmio);
	if (m->pio)
		bus_destroy(m->pio);
	if (m->has_kvm)
		kvm_vm_destroy(&m->kvm);
	gmem_destroy(m->mem);
	pthread_mutex_destroy(&m->holders_lock);
	pthread_mutex_destroy(&m->lock);
	free(m->pristine);
	free(m);
}

/* --- boot --- */

static int boot_locked(struct machine *m, struct err *e)
{
	struct boot_options o = { .cmdline = m->conf->cmdline };
	struct vcpu *first = &m->vcpus->v[0];
	struct boot_entry entry;
	int ret;

	ret = boot_file_open(&o.kernel, m->conf->kernel, m->conf->memory, e);
	if (ret) {
		err_prefix(e, "kernel");
		return ret;
	}
	if (m->conf->initrd) {
		ret = boot_file_open(&o.initrd, m->conf->initrd, m->conf->memory, e);
		if (ret) {
			err_prefix(e, "initrd");
			goto out;
		}
	}
	ret = acpi_build(m->mem, m->conf->vcpus, &o.rsdp, e);
	if (!ret)
		ret = boot_load(m->mem, &o, &entry, e);
	if (!ret)
		ret = vcpu_state_get(first, e);
	if (!ret)
		ret = boot_registers(m->mem, &entry, first->state, e);
	if (!ret)
		ret = vcpu_state_set(first, e);
out:
	boot_file_close(&o.kernel);
	boot_file_close(&o.initrd);
	return ret;
}

int machine_boot(struct machine *m, struct err *e)
{
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = boot_locked(m, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
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
static int settle(struct machine *m, struct err *e)
{
	int ret = vcpus_wait(m->vcpus, VCPU_STOP_MS, e);

	return ret ? ret : machine_devices_quiesce(m, e);
}

int machine_hold(struct machine *m, enum machine_holder who, struct err *e)
{
	int ret;

	/* before the lock: vCPUs stop even if somebody else is still waiting for a disk */
	machine_hold_nowait(m, who);
	pthread_mutex_lock(&m->lock);
	ret = settle(m, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
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

static int release_locked(struct machine *m, enum machine_holder who, struct err *e)
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
	ret = release_locked(m, who, e);
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

/* --- reset, power button --- */

int machine_reset(struct machine *m, struct err *e)
{
	int ret;

	machine_hold_nowait(m, HOLD_EVENT);
	pthread_mutex_lock(&m->lock);
	/* A migration has sent, or is about to send, what memory holds: not now. */
	if (machine_holders(m) & HOLD_MIGRATION) {
		ret = err_set(e, -EBUSY, "reset: a migration holds the domain");
		goto out;
	}
	ret = settle(m, e);
	if (!ret)
		ret = machine_load_locked(m, m->pristine, m->pristine_len, e);
	if (!ret)
		ret = boot_locked(m, e);
	if (ret)
		goto out;
	vcpus_release(m->vcpus, VCPU_HOLD_EVENT);
	ret = release_locked(m, HOLD_EVENT, e);
out:
	pthread_mutex_unlock(&m->lock);
	return ret;
}

void machine_power_button(struct machine *m)
{
	power_button(m->power);
}

struct gmem *machine_memory(struct machine *m)
{
	return m->mem;
}

struct serial *machine_serial(struct machine *m)
{
	return m->serial;
}

/* --- dirty pages --- */

int machine_dirty_start(struct machine *m, struct err *e)
{
	return kvm_dirty_start(&m->kvm, e);
}

void machine_dirty_stop(struct machine *m)
{
	kvm_dirty_stop(&m->kvm);
}

int machine_dirty_fetch(struct machine *m, uint32_t id, uint64_t *bitmap, struct err *e)
{
	return kvm_dirty_fetch(&m->kvm, id, bitmap, e);
}

int machine_dirty_clear(struct machine *m, uint32_t id, uint64_t first, uint64_t count,
			const uint64_t *bitmap, struct err *e)
{
	return kvm_dirty_clear(&m->kvm, id, first, count, bitmap, e);
}

void machine_throttle(struct machine *m, unsigned int percent)
{
	vcpus_throttle(m->vcpus, percent);
}
