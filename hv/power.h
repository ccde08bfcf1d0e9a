/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power - how a guest turns itself off, resets, and hears of the power button.
 *
 *   POWER_BASE + 0      selector of the Generic Event Device (ACPI 6.4, 5.6.9): why GSI 9
 *                       fired; reading clears it
 *   POWER_BASE + 0x200  sleep control (4.8.3.7): SLP_TYP 5 with SLP_EN powers off
 *   POWER_BASE + 0x201  sleep status
 *   POWER_BASE + 0x202  reset: the value 0x42 resets
 *   port 0x64           8042 command 0xfe resets, 0xaa and friends answer so that a probe ends
 *
 * Same layout as QEMU's microvm, whose tables stock kernels are known to like.
 */
#ifndef DROVER_HV_POWER_H
#define DROVER_HV_POWER_H

#include "base/err.h"
#include "hv/bus.h"
#include "hv/irq.h"
#include "hv/state.h"

#define POWER_BASE 0xfea00000ull
#define POWER_SIZE 0x1000
#define POWER_SLEEP_CONTROL (POWER_BASE + 0x200)
#define POWER_SLEEP_STATUS (POWER_BASE + 0x201)
#define POWER_RESET (POWER_BASE + 0x202)
#define POWER_RESET_VALUE 0x42
#define POWER_SLEEP_TYPE_S5 5
#define POWER_GSI 9
#define POWER_SELECT_BUTTON 0x02

struct power;

struct power_ops {
	/* From a vCPU thread; must not wait. */
	void (*off)(void *arg);
	void (*reset)(void *arg, const char *how);
};

int power_create(struct power **out, struct bus *pio, struct bus *mmio, struct irq *irq,
		 const struct power_ops *ops, void *arg, struct err *e);
void power_destroy(struct power *p);

/** power_button() - press it; any thread */
void power_button(struct power *p);

struct state_entry power_state_entry(struct power *p);

#endif
