/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi_pm - how a guest turns itself off, resets, and hears of the power button.
 *
 *   ACPI_PM_BASE + 0      selector of the Generic Event Device (ACPI 6.4, 5.6.9): why GSI 9
 *                         fired; reading clears it
 *   ACPI_PM_BASE + 0x200  sleep control (4.8.3.7): SLP_TYP 5 with SLP_EN powers off
 *   ACPI_PM_BASE + 0x201  sleep status
 *   ACPI_PM_BASE + 0x202  reset: the value 0x42 resets
 *   port 0x64             8042 command 0xfe resets, 0xaa and friends answer so that a probe ends
 *
 * Same layout as QEMU's microvm, whose tables stock kernels are known to like.
 */
#ifndef DROVER_HV_PLATFORM_ACPI_PM_H
#define DROVER_HV_PLATFORM_ACPI_PM_H

#include "base/err.h"
#include "hv/device/bus.h"
#include "hv/device/device.h"
#include "hv/device/state.h"
#include "hv/kvm/irq.h"

#define ACPI_PM_BASE 0xfea00000ull
#define ACPI_PM_SIZE 0x1000
#define ACPI_PM_SLEEP_CONTROL (ACPI_PM_BASE + 0x200)
#define ACPI_PM_SLEEP_STATUS (ACPI_PM_BASE + 0x201)
#define ACPI_PM_RESET (ACPI_PM_BASE + 0x202)
#define ACPI_PM_RESET_VALUE 0x42
#define ACPI_PM_SLEEP_TYPE_S5 5
#define ACPI_PM_GSI 9
#define ACPI_PM_SELECT_BUTTON 0x02

struct acpi_pm;

struct acpi_pm_ops {
	/* From a vCPU thread; must not wait. */
	void (*off)(void *arg);
	void (*reset)(void *arg, const char *how);
};

/** acpi_pm_create() - registers that answer nowhere yet; what is given must outlive them */
int acpi_pm_create(struct acpi_pm **out, struct bus *pio, struct bus *mmio, struct irq *irq,
		   const struct acpi_pm_ops *ops, void *arg, struct err *e);
/** acpi_pm_plug() - let the guest reach them; -EEXIST when one of their addresses is taken */
int acpi_pm_plug(struct acpi_pm *p, struct err *e);
/** acpi_pm_destroy() - take them from the guest, which may run, and free them; NULL is nothing */
void acpi_pm_destroy(struct acpi_pm *p);

/** acpi_pm_button() - press it; any thread */
void acpi_pm_button(struct acpi_pm *p);

/** acpi_pm_state_entry() - its record, "power": the selector and what the 8042 remembers */
struct state_entry acpi_pm_state_entry(struct acpi_pm *p);

extern const struct device_kind acpi_pm_device;

#endif
