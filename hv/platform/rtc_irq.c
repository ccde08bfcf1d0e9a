/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtc_irq - the clock's interrupts (rtc.h): periodic, alarm, and each second's end.
 *
 * A thread sleeps until the next of those that are on; where none is, for good.  It keeps to the host's clock: an
 * interrupt for which it came too late is lost, as on a PC whose guest is slow to acknowledge.
 */
#include "hv/platform/rtc_int.h"

#include "base/clock.h"
#include "base/wait.h"

#include <string.h>

#define RATE_BITS 0x0f
#define ALARM_ANY 0xc0 /* an alarm's field with these bits is every value */
#define CATCH_UP 60    /* seconds that the alarm is compared with at most, when the thread slept longer */

/* Data sheet, table 5, at a time base of 32768 Hz; 0: off. */
static uint64_t period(const struct rtc *r)
{
	unsigned int rate = r->cmos[REG_A] & RATE_BITS;

	if (rate && rate < 3)
		rate += 7;
	return rate ? NS_PER_SEC * (1ull << (rate - 1)) / 32768 : 0;
}

static void line(struct rtc *r)
{
	bool on = r->cmos[REG_C] & r->cmos[REG_B] & RTC_INTERRUPTS;

	r->cmos[REG_C] = (uint8_t)((r->cmos[REG_C] & RTC_INTERRUPTS) | (on ? C_INTERRUPT : 0));
	irq_line(r->i.irq, RTC_GSI, on);
}

static bool alarm_field(uint8_t alarm, uint8_t now)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || alarm == now;
}

/* Time registers are those of the second that is compared. */
static bool alarm_now(const struct rtc *r)
{
	return alarm_field(r->cmos[SEC_ALARM], r->cmos[SEC]) && alarm_field(r->cmos[MIN_ALARM], r->cmos[MIN]) &&
	       alarm_field(r->cmos[HOUR_ALARM], r->cmos[HOUR]);
}

/* Each second since the last one is compared, so that none is missed by a thread that comes late. */
static uint8_t second_ended(struct rtc *r)
{
	time_t now = r->now(), t = r->i.second;
	uint8_t flags = RTC_UPDATE;

	if (now - t > CATCH_UP || t > now)
		t = now - 1;
	while (t < now && !(r->cmos[REG_B] & B_SET)) {
		rtc_show(r, ++t);
		if (alarm_now(r))
			flags |= RTC_ALARM;
	}
	r->i.second = now;
	return flags;
}

static uint64_t next_at(uint64_t at, uint64_t now, uint64_t step)
{
	return at + step > now ? at + step : now + step;
}

static void fire(struct rtc *r, uint64_t now)
{
	if (r->i.periodic_at && now >= r->i.periodic_at) {
		r->cmos[REG_C] |= RTC_PERIODIC;
		r->i.periodic_at = next_at(r->i.periodic_at, now, period(r));
	}
	if (r->i.second_at && now >= r->i.second_at) {
		r->cmos[REG_C] |= second_ended(r);
		r->i.second_at = next_at(r->i.second_at, now, NS_PER_SEC);
	}
	line(r);
}

static uint64_t next_due(const struct rtc *r)
{
	uint64_t a = r->i.periodic_at, b = r->i.second_at;

	if (!r->i.runs || (!a && !b))
		return UINT64_MAX;
	return !b || (a && a < b) ? a : b;
}

static void *irq_main(void *arg)
{
	struct rtc *r = arg;
	uint64_t due;

	pthread_setname_np(pthread_self(), "rtc");
	pthread_mutex_lock(&r->lock);
	while (!r->i.ending) {
		due = next_due(r);
		if (due == UINT64_MAX)
			pthread_cond_wait(&r->i.changed, &r->lock);
		else if (wait_now() >= due)
			fire(r, wait_now());
		else
			wait_until(&r->i.changed, &r->lock, due);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

int rtc_interrupt(struct rtc *r, struct irq *irq, struct err *e)
{
	int ret;

	wait_init(&r->i.changed);
	ret = pthread_create(&r->i.thread, NULL, irq_main, r);
	if (ret) {
		pthread_cond_destroy(&r->i.changed);
		return err_set(e, -ret, "rtc: cannot start its thread: %s", strerror(ret));
	}
	r->i.irq = irq;
	r->i.has_thread = true;
	return 0;
}

void rtc_irq_changed(struct rtc *r)
{
	uint8_t on = r->cmos[REG_B];
	uint64_t now = wait_now();

	if (!r->i.irq)
		return;
	if (!(on & RTC_PERIODIC) || !period(r))
		r->i.periodic_at = 0;
	else if (!r->i.periodic_at)
		r->i.periodic_at = now + period(r);
	if (!(on & (RTC_ALARM | RTC_UPDATE))) {
		r->i.second_at = 0;
	} else if (!r->i.second_at) {
		r->i.second_at = now + NS_PER_SEC;
		r->i.second = r->now();
	}
	line(r);
	pthread_cond_signal(&r->i.changed);
}

uint8_t rtc_irq_read(struct rtc *r)
{
	uint8_t v = r->cmos[REG_C];

	if (!r->i.irq)
		return 0;
	r->cmos[REG_C] = 0;
	line(r);
	return v;
}

void rtc_irq_run(struct rtc *r, bool on)
{
	if (!r->i.irq)
		return;
	pthread_mutex_lock(&r->lock);
	r->i.runs = on;
	pthread_cond_signal(&r->i.changed);
	pthread_mutex_unlock(&r->lock);
}

void rtc_irq_end(struct rtc *r)
{
	if (!r->i.has_thread)
		return;
	pthread_mutex_lock(&r->lock);
	r->i.ending = true;
	pthread_cond_signal(&r->i.changed);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->i.thread, NULL);
	pthread_cond_destroy(&r->i.changed);
}
