/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial - a 16550A UART (National Semiconductor PC16550D data sheet), COM1.
 *
 * Guest side: eight ports and one interrupt line.  Host side: two rings.
 *
 *     guest THR ──> out ring ──> serial_take() ──> whoever shows the console
 *     guest RBR <── in ring  <── serial_give() <── what somebody typed
 *
 * Back-pressure both ways: while the out ring is full the transmitter is not
 * ready (LSR.THRE = 0) and the guest waits; serial_give() takes no more than
 * the in ring has room for.  The owner's `notify` says that output has come or
 * that there is room for input again.
 *
 * Threads: registers from vCPU threads, the rest from any one thread.
 */
#ifndef DROVER_HV_PLATFORM_SERIAL_H
#define DROVER_HV_PLATFORM_SERIAL_H

#include "base/err.h"
#include "hv/device/bus.h"
#include "hv/device/device.h"
#include "hv/device/state.h"
#include "hv/kvm/irq.h"

#include <stddef.h>
#include <stdint.h>

#define SERIAL_PORT 0x3f8
#define SERIAL_GSI 4
#define SERIAL_OUT_SIZE 65536
#define SERIAL_IN_SIZE 1024

struct serial;

/** serial_create() - a line that answers nowhere yet; @pio and @irq must outlive it */
int serial_create(struct serial **out, struct bus *pio, struct irq *irq, struct err *e);
/** serial_plug() - let the guest reach it; -EEXIST when its ports are taken */
int serial_plug(struct serial *s, struct err *e);
/** serial_destroy() - take it from the guest, which may run, and free it; NULL is nothing */
void serial_destroy(struct serial *s);

/** serial_set_notify() - @fn is called from vCPU threads, must not block or call back; once, before the guest runs */
void serial_set_notify(struct serial *s, void (*fn)(void *arg), void *arg);

/** serial_take() - up to @len bytes that the guest wrote; 0 when there are none */
size_t serial_take(struct serial *s, char *buf, size_t len);
/** serial_give() - type @len bytes; returns how many found room */
size_t serial_give(struct serial *s, const char *buf, size_t len);

/** serial_state_entry() - its record, "serial0": registers and what is in the in ring; the out ring stays on this host */
struct state_entry serial_state_entry(struct serial *s);

extern const struct device_kind serial_device;

#endif
