/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtc - see rtc.h.  Registers after the MC146818A data sheet: 0-9 time and
 * calendar, A-D control, 0x32 the century as PCs keep it.
 *
 * The guest sets time register by register, usually with SET in register B held
 * while it does so: values go into `set[]`, and when SET falls the difference to
 * the host's clock becomes the new offset.
 *
 * The wall clock is read for the guest's eyes only; nothing in Drover decides by
 * it (rule T).
 */
#include "hv/platform/rtc_int.h"

#include "hv/memory/memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define D_VALID 0x80

static time_t wall_clock(void)
{
	return time(NULL);
}

static bool is_time(uint8_t reg)
{
	return reg == SEC || reg == MIN || reg == HOUR || (reg >= WDAY && reg <= YEAR) ||
	       reg == CENTURY;
}

static void refresh(struct rtc *r)
{
	rtc_show(r, r->now());
}

static uint64_t rtc_read(void *dev, uint64_t offset, unsigned int len)
{
	struct rtc *r = dev;
	uint8_t v = 0xff;

	(void)len;
	pthread_mutex_lock(&r->lock);
	if (offset == 1) {
		if (is_time(r->index))
			refresh(r);
		v = r->cmos[r->index];
		if (r->index == REG_C)
			v = rtc_irq_read(r);
		else if (r->index == REG_D)
			v = D_VALID;
	}
	pthread_mutex_unlock(&r->lock);
	return v;
}

static void rtc_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct rtc *r = dev;
	uint8_t v = (uint8_t)value;
	bool was_set;

	(void)len;
	pthread_mutex_lock(&r->lock);
	was_set = r->cmos[REG_B] & B_SET;
	if (offset == 0) {
		r->index = v & 0x7f; /* bit 7 is the NMI mask */
	} else if (r->index == REG_B) {
		if (!was_set && (v & B_SET))
			refresh(r);
		r->cmos[REG_B] = v;
		if (was_set && !(v & B_SET))
			rtc_take_over(r);
		rtc_irq_changed(r);
	} else if (r->index == REG_A) {
		r->cmos[REG_A] = v & 0x7f; /* update in progress is read-only, and never seen */
		r->i.periodic_at = 0;      /* another rate begins now */
		rtc_irq_changed(r);
	} else if (r->index != REG_C && r->index != REG_D) {
		if (is_time(r->index))
			refresh(r);
		r->cmos[r->index] = v;
		if (is_time(r->index) && !was_set)
			rtc_take_over(r);
	}
	pthread_mutex_unlock(&r->lock);
}

static const struct bus_ops rtc_ops = { .read = rtc_read, .write = rtc_write };

int rtc_create(struct rtc **out, struct bus *pio, time_t (*now)(void), struct err *e)
{
	struct rtc *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(e, -ENOMEM, "rtc: out of memory");
	pthread_mutex_init(&r->lock, NULL);
	r->now = now ? now : wall_clock;
	r->cmos[REG_A] = 0x26; /* 32768 Hz time base, 1024 Hz rate: what firmware sets */
	r->cmos[REG_B] = B_24H;
	r->pio = pio;
	*out = r;
	return 0;
}

/* Little-endian, and as much as fits. */
static void cmos_number(struct rtc *r, unsigned int at, unsigned int bytes, uint64_t v)
{
	uint64_t most = (1ull << 8 * bytes) - 1;

	v = v < most ? v : most;
	for (unsigned int i = 0; i < bytes; i++)
		r->cmos[at + i] = (uint8_t)(v >> 8 * i);
}

void rtc_tell(struct rtc *r, uint64_t low, uint64_t high, uint32_t vcpus)
{
	const uint64_t mib = 1u << 20, kib = 1024, chunk = 64 * kib;

	cmos_number(r, 0x15, 2, 640);                                           /* KiB below 640 KiB */
	cmos_number(r, 0x17, 2, low > mib ? (low - mib) / kib : 0);             /* KiB above 1 MiB */
	cmos_number(r, 0x30, 2, low > mib ? (low - mib) / kib : 0);             /* the same */
	cmos_number(r, 0x34, 2, low > 16 * mib ? (low - 16 * mib) / chunk : 0); /* 64 KiB above 16 MiB */
	cmos_number(r, 0x5b, 3, high / chunk);                                  /* 64 KiB above 4 GiB */
	cmos_number(r, 0x5f, 1, vcpus - 1);
	cmos_number(r, 0x3d, 1, 2); /* boot from the first hard disk */
}

int rtc_plug(struct rtc *r, struct err *e)
{
	int ret = bus_add(r->pio, RTC_PORT, 2, &rtc_ops, r);

	return ret ? err_set(e, ret, "rtc: ports 0x%x+2 are taken", RTC_PORT) : 0;
}

void rtc_destroy(struct rtc *r)
{
	if (!r)
		return;
	bus_remove(r->pio, RTC_PORT, r);
	bus_wait(r->pio);
	rtc_irq_end(r);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static int rtc_pre_save(void *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

static int rtc_post_load(void *dev, struct err *e)
{
	struct rtc *r = dev;

	if (r->index >= sizeof(r->cmos))
		return err_set(e, -EINVAL, "index: %u, expected at most 127", r->index);
	if (!rtc_offset_fits(r->offset))
		return err_set(e, -EINVAL, "offset: %lld s is out of range", (long long)r->offset);
	pthread_mutex_lock(&r->lock);
	r->i.periodic_at = r->i.second_at = 0;
	rtc_irq_changed(r);
	pthread_mutex_unlock(&r->lock);
	return 0;
}

static const struct state_field rtc_fields[] = {
	STATE_U8(struct rtc, index),
	STATE_ARRAY(struct rtc, cmos, sizeof(uint8_t)),
	STATE_U64(struct rtc, offset),
	STATE_END,
};

static const struct state_desc rtc_state = {
	.name = "rtc",
	.version = 1,
	.min_version = 1,
	.fields = rtc_fields,
	.pre_save = rtc_pre_save,
	.post_load = rtc_post_load,
};

struct state_entry rtc_state_entry(struct rtc *r)
{
	return (struct state_entry){ .desc = &rtc_state, .instance = "rtc0", .dev = r };
}

/* --- the row --- */

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
			 void **dev, struct err *e)
{
	struct rtc *r;
	int ret = rtc_create(&r, env->pio, NULL, e);

	(void)index;
	if (ret)
		return ret;
	if (device_with_firmware(conf)) {
		rtc_tell(r, env->mem->regions[0].size, env->mem->n_ram > 1 ? env->mem->regions[1].size : 0, device_vcpus(conf));
		ret = rtc_interrupt(r, env->irq, e);
	}
	if (ret) {
		rtc_destroy(r);
		return ret;
	}
	*dev = r;
	return 0;
}

static int device_plug(void *dev, struct err *e)
{
	return rtc_plug(dev, e);
}

static void device_destroy(void *dev)
{
	rtc_destroy(dev);
}

static size_t device_state(void *dev, struct state_entry *out)
{
	out[0] = rtc_state_entry(dev);
	return 1;
}

static int device_start(void *dev, struct err *e)
{
	(void)e;
	rtc_irq_run(dev, true);
	return 0;
}

static int device_quiesce(void *dev, unsigned int timeout_ms, struct err *e)
{
	(void)timeout_ms;
	(void)e;
	rtc_irq_run(dev, false);
	return 0;
}

const struct device_kind rtc_device = {
	.name = "rtc", .wanted = device_one, .create = device_create, .plug = device_plug, .destroy = device_destroy, .state = device_state, .slot = device_no_slot, .stats = device_passive_stats, .start = device_start, .quiesce_begin = device_passive_quiesce_begin, .quiesce = device_quiesce
};
