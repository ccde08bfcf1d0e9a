/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_boot - a guest begins: at power-on and, as often as it likes, after a reset.
 *
 *     reset   every vCPU and device is what it was when it was new    (machine_state.c)
 *     boot    tables and image into memory, the first vCPU to the entry, from what is
 *             open since before the guest first ran                    (hv/firmware/boot.h)
 *
 * Firmware is guest memory from the machine's creation on: nothing is open for it, and boot copies its end to where
 * real mode begins.
 *
 * Power-on is boot alone: everything is new.  Memory is neither's: what boot does not write over stays
 * as the last guest left it, as on a PC.
 */
#include "hv/machine/machine_int.h"

#include <errno.h>
#include <stdlib.h>

int machine_firmware_add(struct machine *m, struct err *e)
{
	struct boot_file image;
	struct gmem_piece rom;
	int ret;

	if (!domain_has_firmware(m->conf))
		return 0;
	ret = boot_firmware_read(m->conf->firmware_image, &image, e);
	if (ret)
		return ret;
	rom = boot_firmware_rom(&image);
	ret = machine_memory_add(m, &rom, NULL, NULL, e);
	free((void *)image.data);
	return ret;
}

static int open_locked(struct machine *m, struct err *e)
{
	if (m->boot || domain_has_firmware(m->conf))
		return 0;
	return boot_open(&m->boot, m->conf->kernel, m->conf->initrd, m->conf->memory, e);
}

int machine_boot_open(struct machine *m, struct err *e)
{
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = open_locked(m, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static int boot_locked(struct machine *m, struct err *e)
{
	struct vcpu *first = &m->vcpus->v[0];
	int ret = vcpu_state_get(first, e);

	if (!ret && domain_has_firmware(m->conf))
		ret = boot_enter_firmware(m->mem, first->state, e);
	else if (!ret)
		ret = boot_enter(m->boot, m->mem, m->conf->cmdline, &m->conf->cpu.topology, first->state, e);
	return ret ? ret : vcpu_state_set(first, e);
}

int machine_boot(struct machine *m, struct err *e)
{
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = open_locked(m, e);
	if (!ret)
		ret = boot_locked(m, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static int reset_locked(struct machine *m, struct err *e)
{
	int ret;

	/* A migration has sent, or is about to send, what memory holds: not now. */
	if (machine_holders(m) & HOLD_MIGRATION)
		return err_set(e, -EBUSY, "reset: a migration holds the domain");
	if (!m->boot && !domain_has_firmware(m->conf))
		return err_set(e, -ENOENT, "reset: this VMM has not opened what the domain boots from");
	if (m->disks_moving)
		return err_set(e, -ETIMEDOUT, "reset: the domain's disks are being let go of or taken again (the lease)");
	ret = machine_settle(m, MACHINE_TRY_MS, e);
	if (!ret)
		ret = machine_pristine_load(m, e);
	if (!ret)
		ret = boot_locked(m, e);
	if (ret)
		return ret;
	vcpus_release(m->vcpus, VCPU_HOLD_EVENT);
	return machine_release_locked(m, HOLD_EVENT, e);
}

int machine_reset(struct machine *m, struct err *e)
{
	int ret;

	machine_hold_nowait(m, HOLD_EVENT);
	pthread_mutex_lock(&m->lock);
	ret = reset_locked(m, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}
