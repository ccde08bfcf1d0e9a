/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtc_int - what the files of the clock share; see rtc.h.  Registers after the MC146818A data sheet.
 *
 *     rtc.c       registers, state, the device
 *     rtc_irq.c   its interrupts
 *     rtc_time.c  what stands in the time registers
 */
#ifndef DROVER_HV_PLATFORM_RTC_INT_H
#define DROVER_HV_PLATFORM_RTC_INT_H

#include "hv/platform/rtc.h"

#include <pthread.h>
#include <stdbool.h>

enum {
	SEC,
	SEC_ALARM,
	MIN,
	MIN_ALARM,
	HOUR,
	HOUR_ALARM,
	WDAY,
	MDAY,
	MON,
	YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	CENTURY = RTC_CENTURY
};

#define B_SET 0x80
#define B_BINARY 0x04
#define B_24H 0x02
/* Which interrupts are on, in B; which have happened, in C. */
#define RTC_PERIODIC 0x40
#define RTC_ALARM 0x20
#define RTC_UPDATE 0x10
#define RTC_INTERRUPTS 0x70
#define C_INTERRUPT 0x80

/* What interrupts: only where there is firmware, else `irq` is NULL and nothing of it is used. */
struct rtc_irq {
	struct irq *irq;
	pthread_t thread;
	bool has_thread, ending, runs;
	pthread_cond_t changed;
	uint64_t periodic_at, second_at; /* wait_now() of the next; 0: not on */
	time_t second;                   /* the last second that was compared with the alarm */
};

struct rtc {
	pthread_mutex_t lock;
	struct bus *pio;
	time_t (*now)(void);
	struct rtc_irq i;

	/* saved */
	uint8_t index;
	uint8_t cmos[128];
	int64_t offset; /* guest's time minus host's, seconds */
};

/* With the lock. */

/** rtc_show() - make the time registers those of @host, a time of the host's, unless the guest is setting them */
void rtc_show(struct rtc *r, time_t host);
/** rtc_take_over() - the registers hold what the guest set: keep the difference; nonsense keeps the old one */
void rtc_take_over(struct rtc *r);
/** rtc_offset_fits() - is that a difference that a guest can have? */
bool rtc_offset_fits(int64_t offset);
/** rtc_irq_changed() - the guest wrote A or B, or they were loaded */
void rtc_irq_changed(struct rtc *r);
/** rtc_irq_read() - the guest reads C, which clears it */
uint8_t rtc_irq_read(struct rtc *r);

/* Without it; nothing where there are no interrupts. */

/** rtc_irq_run() - interrupts may come; false: none does any more when this returns */
void rtc_irq_run(struct rtc *r, bool on);
/** rtc_irq_end() - end the thread */
void rtc_irq_end(struct rtc *r);

#endif
