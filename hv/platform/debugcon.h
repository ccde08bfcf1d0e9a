/* SPDX-License-Identifier: Apache-2.0 */
/*
 * debugcon - port 0x402, where firmware says what it does (QEMU's isa-debugcon; SeaBIOS and OVMF know it).
 *
 * Its lines are lines of the log, at debug level.  A guest can write there as well, so of DEBUGCON_BYTES_MAX bytes
 * after each start or reset the rest is not shown.
 */
#ifndef DROVER_HV_PLATFORM_DEBUGCON_H
#define DROVER_HV_PLATFORM_DEBUGCON_H

#include "base/err.h"
#include "hv/device/bus.h"
#include "hv/device/device.h"
#include "hv/device/state.h"

#define DEBUGCON_PORT 0x402
#define DEBUGCON_HERE 0xe9 /* what a read gives: there is somebody who listens */
#define DEBUGCON_BYTES_MAX (128u << 10)

struct debugcon;

/** debugcon_create() - a port that answers nowhere yet */
int debugcon_create(struct debugcon **out, struct bus *pio, struct err *e);
/** debugcon_plug() - let the guest reach it; -EEXIST when the port is taken */
int debugcon_plug(struct debugcon *d, struct err *e);
/** debugcon_destroy() - take it from the guest, which may run, and free it; NULL is nothing */
void debugcon_destroy(struct debugcon *d);
/** debugcon_state_entry() - its record, "debugcon": how much was said; the line that is not at its end stays here */
struct state_entry debugcon_state_entry(struct debugcon *d);

extern const struct device_kind debugcon_device;

#endif
