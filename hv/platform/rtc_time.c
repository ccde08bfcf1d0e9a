/* SPDX-License-Identifier: Apache-2.0 */
/* rtc_time - the time registers of the clock (rtc.h): how time stands in them, and what the guest means by writing them. */
#include "hv/platform/rtc_int.h"

#define HOUR_PM 0x80
#define OFFSET_MAX (1000ll * 366 * 86400) /* a thousand years either way: within what gmtime() can do */

static uint8_t encode(const struct rtc *r, int v)
{
	return (uint8_t)(r->cmos[REG_B] & B_BINARY ? v : (v / 10) << 4 | v % 10);
}

static int decode(const struct rtc *r, uint8_t v)
{
	return r->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct rtc *r, int hour)
{
	if (r->cmos[REG_B] & B_24H)
		return encode(r, hour);
	return (uint8_t)(encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0));
}

static int decode_hour(const struct rtc *r, uint8_t v)
{
	if (r->cmos[REG_B] & B_24H)
		return decode(r, v);
	return decode(r, v & 0x7f) % 12 + (v & HOUR_PM ? 12 : 0);
}

void rtc_show(struct rtc *r, time_t host)
{
	time_t t = host + (time_t)r->offset;
	struct tm tm;

	if (r->cmos[REG_B] & B_SET || !gmtime_r(&t, &tm))
		return;
	r->cmos[SEC] = encode(r, tm.tm_sec);
	r->cmos[MIN] = encode(r, tm.tm_min);
	r->cmos[HOUR] = encode_hour(r, tm.tm_hour);
	r->cmos[WDAY] = encode(r, tm.tm_wday + 1);
	r->cmos[MDAY] = encode(r, tm.tm_mday);
	r->cmos[MON] = encode(r, tm.tm_mon + 1);
	r->cmos[YEAR] = encode(r, tm.tm_year % 100);
	r->cmos[CENTURY] = encode(r, 19 + tm.tm_year / 100);
}

bool rtc_offset_fits(int64_t offset)
{
	return offset >= -OFFSET_MAX && offset <= OFFSET_MAX;
}

void rtc_take_over(struct rtc *r)
{
	struct tm tm = {
		.tm_sec = decode(r, r->cmos[SEC]),
		.tm_min = decode(r, r->cmos[MIN]),
		.tm_hour = decode_hour(r, r->cmos[HOUR]),
		.tm_mday = decode(r, r->cmos[MDAY]),
		.tm_mon = decode(r, r->cmos[MON]) - 1,
		.tm_year = (decode(r, r->cmos[CENTURY]) - 19) * 100 + decode(r, r->cmos[YEAR]),
	};
	time_t t = timegm(&tm);
	int64_t offset = (int64_t)t - (int64_t)r->now();

	/* As rtc_post_load() has it: what a guest can set here it can take with it. */
	if (t != (time_t)-1 && rtc_offset_fits(offset))
		r->offset = offset;
}
