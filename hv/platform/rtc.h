/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtc - the MC146818 clock of a PC (ports 0x70, 0x71) with its 128 bytes of CMOS.
 *
 * Gives the host's time plus the offset at which the guest set it.  The offset travels in a migration, the host's
 * clock does not.  No alarm and no periodic interrupt for a kernel that we load: it has better timers; register C reads
 * as "none".
 *
 * Where the guest begins in firmware it has both (rtc_irq.c), as a BIOS waits by the periodic one for whoever calls it
 * (INT 15h, AH 86h); and CMOS says how much memory and how many vCPUs there are, at the addresses at which SeaBIOS and
 * OVMF look (their sources: src/hw/rtc.h; OvmfPkg, PlatformPei): what a PC's firmware finds out and keeps there.
 */
#ifndef DROVER_HV_PLATFORM_RTC_H
#define DROVER_HV_PLATFORM_RTC_H

#include "base/err.h"
#include "hv/device/bus.h"
#include "hv/device/device.h"
#include "hv/device/state.h"
#include "hv/kvm/irq.h"

#include <stdint.h>
#include <time.h>

#define RTC_PORT 0x70
#define RTC_GSI 8
#define RTC_CENTURY 0x32 /* where in CMOS */

struct rtc;

/**
 * rtc_create() - a clock that answers nowhere yet
 * @now: tells seconds since 1970; NULL for the host's wall clock
 */
int rtc_create(struct rtc **out, struct bus *pio, time_t (*now)(void), struct err *e);
/** rtc_tell() - put into CMOS how much RAM there is, in bytes below 4 GiB and above, and how many vCPUs; before a guest runs */
void rtc_tell(struct rtc *r, uint64_t low, uint64_t high, uint32_t vcpus);
/**
 * rtc_interrupt() - let it interrupt, by @irq, which must outlive it; once, before the guest runs
 * Return: 0, or -errno when there is no thread for that.
 */
int rtc_interrupt(struct rtc *r, struct irq *irq, struct err *e);
/** rtc_plug() - let the guest reach it; -EEXIST when its ports are taken */
int rtc_plug(struct rtc *r, struct err *e);
/** rtc_destroy() - take it from the guest, which may run, and free it; NULL is nothing */
void rtc_destroy(struct rtc *r);
/** rtc_state_entry() - its record, "rtc0": index, CMOS, offset in seconds; what is out of range is refused at load */
struct state_entry rtc_state_entry(struct rtc *r);

extern const struct device_kind rtc_device;

#endif
