/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lpc - the LPC bridge of a PC with the host bridge that pci_bus_be_q35() shows: 8086:2918 in slot 1f.0 (Intel ICH9,
 * data sheet 316972, 13.1), and port 0x92 (13.7.2).
 *
 *   PMBASE 0x600, ACPI_CNTL on   the registers are where they say (pm_block.h): read-only
 *   RCBA 0                       there are no registers in memory: read-only
 *   PIRQ A-H                     kept for who reads them back: interrupts are MSI-X only
 *   port 0x92                    bit 0 resets; bit 1, A20, is kept: the line is always open
 */
#ifndef DROVER_HV_PLATFORM_LPC_H
#define DROVER_HV_PLATFORM_LPC_H

#include "base/err.h"
#include "hv/device/bus.h"
#include "hv/device/device.h"
#include "hv/device/state.h"
#include "hv/pci/pci.h"

#define LPC_PORT_A 0x92

struct lpc;

/** lpc_create() - a bridge that answers nowhere yet; @reset: as in struct device_env, and @pci, @pio, must outlive it */
int lpc_create(struct lpc **out, struct pci_bus *pci, struct bus *pio, void (*reset)(void *arg, const char *how),
	       void *arg, struct err *e);
/** lpc_plug() - let the guest find it; -EEXIST when port 0x92 is taken */
int lpc_plug(struct lpc *l, struct err *e);
/** lpc_destroy() - take it from the guest, which may run, and free it; NULL is nothing */
void lpc_destroy(struct lpc *l);
/** lpc_state_entry() - its record, "lpc": configuration space and port 0x92 */
struct state_entry lpc_state_entry(struct lpc *l);

extern const struct device_kind lpc_device;

#endif
