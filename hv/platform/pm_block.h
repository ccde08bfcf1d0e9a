/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pm_block - the power management registers of a PC, where the LPC bridge says that they are (Intel ICH9, data sheet
 * 316972, 13.8.3; ACPI 6.4, 4.8): firmware takes its time from here, and what it boots powers off here.
 *
 *   +0   PM1_STS  PWRBTN_STS: somebody pressed the button; a 1 written clears it
 *   +2   PM1_EN   PWRBTN_EN: interrupt while it is set; the others are kept
 *   +4   PM1_CNT  SCI_EN is always on; SLP_EN with SLP_TYP 0 powers off
 *   +8   PM1_TMR  24 bits at 3.579545 MHz; counts on across a migration
 *   +0x30 SMI_EN  only APMC_EN: by it firmware knows that nobody waits for it to set up management mode
 *
 * The interrupt is PM_BLOCK_GSI, level, active high.
 */
#ifndef DROVER_HV_PLATFORM_PM_BLOCK_H
#define DROVER_HV_PLATFORM_PM_BLOCK_H

#include "base/err.h"
#include "hv/device/bus.h"
#include "hv/device/device.h"
#include "hv/device/state.h"
#include "hv/kvm/irq.h"

#include <stdint.h>

#define PM_BLOCK_PORT 0x600
#define PM_BLOCK_SIZE 0x80
#define PM_BLOCK_CONTROL (PM_BLOCK_PORT + 4)
#define PM_BLOCK_TIMER (PM_BLOCK_PORT + 8)
#define PM_BLOCK_GSI 9
#define PM_BLOCK_SLEEP_TYPE_S5 0

struct pm_block;

/**
 * pm_block_create() - registers that answer nowhere yet
 * @now: a clock in nanoseconds that never goes back; NULL for the host's
 * @off: the guest powers off; from a vCPU thread, must not wait
 */
int pm_block_create(struct pm_block **out, struct bus *pio, struct irq *irq, uint64_t (*now)(void),
		    void (*off)(void *arg), void *arg, struct err *e);
/** pm_block_plug() - let the guest reach them; -EEXIST when their ports are taken */
int pm_block_plug(struct pm_block *p, struct err *e);
/** pm_block_destroy() - take them from the guest, which may run, and free them; NULL is nothing */
void pm_block_destroy(struct pm_block *p);
/** pm_block_button() - press the power button; any thread */
void pm_block_button(struct pm_block *p);
/** pm_block_state_entry() - their record, "pm": what is set, and how far the timer has come */
struct state_entry pm_block_state_entry(struct pm_block *p);

extern const struct device_kind pm_block_device;

#endif
