/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtc - the MC146818 clock of a PC (ports 0x70, 0x71) with its 128 bytes of CMOS.
 *
 * Gives the host's time plus the offset at which the guest set it.  No alarm and
 * no periodic interrupt: a guest has better timers; register C reads as "none".
 * The offset travels in a migration, the host's clock does not.
 */
#ifndef DROVER_HV_RTC_H
#define DROVER_HV_RTC_H

#include "base/err.h"
#include "hv/bus.h"
#include "hv/state.h"

#include <stdint.h>
#include <time.h>

#define RTC_PORT 0x70

struct rtc;

/** rtc_create() - @now tells seconds since 1970; NULL for the host's wall clock */
int rtc_create(struct rtc **out, struct bus *pio, time_t (*now)(void), struct err *e);
void rtc_destroy(struct rtc *r);
struct state_entry rtc_state_entry(struct rtc *r);

#endif
