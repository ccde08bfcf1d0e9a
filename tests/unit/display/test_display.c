/* SPDX-License-Identifier: Apache-2.0 */
/* The display behind its buses: what a driver finds, what of its memory is a picture, what crosses to another host. */
#include "driver.h"

#include "base/bytes.h"
#include "hv/display/display.h"
#include "hv/display/edid.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY (4u << 20)
#define SLOT 1

struct rig {
	struct bed bed;
	struct display *d;
	uint64_t memory, registers; /* where the BARs are */
};

static void rig_open(struct rig *r)
{
	struct err e;

	assert_int_equal(bed_init(&r->bed), 0);
	if (display_create(&r->bed.env, MEMORY, &r->d, &e))
		fail_msg("%s", e.text);
	display_plug(r->d);
	drv_config_write(&r->bed, SLOT, 0x04, 2, 0x0002);
	r->memory = drv_config_read(&r->bed, SLOT, 0x10, 4) & ~0xfu;
	r->registers = drv_config_read(&r->bed, SLOT, 0x18, 4) & ~0xfu;
}

static void rig_close(struct rig *r)
{
	display_destroy(r->d);
	bed_fini(&r->bed);
}

static void dispi_put(struct rig *r, unsigned int index, uint16_t v)
{
	bus_write(r->bed.mmio, r->registers + 0x500 + 2 * index, 2, v);
}

static uint16_t dispi_get(struct rig *r, unsigned int index)
{
	return (uint16_t)bus_read(r->bed.mmio, r->registers + 0x500 + 2 * index, 2);
}

/* As a driver does it: off, the mode, on. */
static void mode_set(struct rig *r, uint16_t width, uint16_t height, uint16_t bpp)
{
	dispi_put(r, DISPI_ENABLE, 0);
	dispi_put(r, DISPI_BPP, bpp);
	dispi_put(r, DISPI_XRES, width);
	dispi_put(r, DISPI_YRES, height);
	dispi_put(r, DISPI_VIRT_WIDTH, width);
	dispi_put(r, DISPI_X_OFFSET, 0);
	dispi_put(r, DISPI_Y_OFFSET, 0);
	dispi_put(r, DISPI_ENABLE, 0x41);
}

static struct picture look(struct rig *r)
{
	struct picture p;

	assert_non_null(display_look(r->d, &p));
	return p;
}

static void test_a_driver_finds_what_it_looks_for(void **state)
{
	struct rig r;

	rig_open(&r);
	assert_int_equal(drv_config_read(&r.bed, SLOT, 0, 4), 0x11111234);
	assert_int_equal(drv_config_read(&r.bed, SLOT, 8, 4) >> 8, 0x038000);
	assert_int_equal(drv_config_read(&r.bed, SLOT, 0x10, 4) & 0xf, 8);
	drv_config_write(&r.bed, SLOT, 0x10, 4, ~0u);
	assert_int_equal(drv_config_read(&r.bed, SLOT, 0x10, 4), ~(MEMORY - 1) | 8);
	drv_config_write(&r.bed, SLOT, 0x10, 4, (uint32_t)r.memory);
	assert_int_equal(dispi_get(&r, DISPI_ID), 0xb0c5);
	assert_int_equal(dispi_get(&r, DISPI_MEMORY_64K), MEMORY / 65536);
	assert_int_equal(bus_read(r.bed.mmio, r.registers + 0x600, 4), 8);
	assert_int_equal(bus_read(r.bed.mmio, r.registers + 0x604, 4), 0x1e1e1e1e);
	rig_close(&r);
}

static void test_the_monitor_says_what_it_likes(void **state)
{
	uint8_t edid[EDID_SIZE];
	unsigned int sum = 0;
	struct rig r;

	rig_open(&r);
	for (unsigned int i = 0; i < EDID_SIZE; i++)
		sum += edid[i] = (uint8_t)bus_read(r.bed.mmio, r.registers + i, 1);
	assert_memory_equal(edid, "\0\xff\xff\xff\xff\xff\xff\0", 8);
	assert_int_equal(sum % 256, 0);
	assert_int_equal(edid[56] | (edid[58] >> 4) << 8, EDID_WIDTH);
	assert_int_equal(edid[59] | (edid[61] >> 4) << 8, EDID_HEIGHT);
	/* and nothing lies behind it */
	assert_int_equal(bus_read(r.bed.mmio, r.registers + EDID_SIZE - 4, 8), 0);
	assert_int_equal(bus_read(r.bed.mmio, r.registers + 4095, 1), 0);
	rig_close(&r);
}

static void test_a_mode_is_a_picture(void **state)
{
	uint8_t rgb[2 * PICTURE_RGB];
	const uint8_t *host;
	struct picture p;
	struct rig r;

	rig_open(&r);
	assert_int_equal(look(&r).width, 0);
	mode_set(&r, 800, 600, 32);
	host = display_look(r.d, &p);
	assert_int_equal(p.width, 800);
	assert_int_equal(p.height, 600);
	memcpy((void *)(host + 4 * (800 * 3 + 7)), "\x01\x02\x03\xff\x04\x05\x06\xff", 8);
	picture_rgb(&p, host, 7, 3, 2, rgb);
	assert_memory_equal(rgb, "\x03\x02\x01\x06\x05\x04", 6);
	/* the second page of two */
	dispi_put(&r, DISPI_Y_OFFSET, 3);
	display_look(r.d, &p);
	picture_rgb(&p, host, 7, 0, 2, rgb);
	assert_memory_equal(rgb, "\x03\x02\x01\x06\x05\x04", 6);
	mode_set(&r, 640, 480, 16);
	memcpy((void *)host, "\x1f\x00\xe0\xff", 4);
	display_look(r.d, &p);
	picture_rgb(&p, host, 0, 0, 2, rgb);
	assert_memory_equal(rgb, "\x00\x00\xff\xff\xff\x00", 6);
	dispi_put(&r, DISPI_ENABLE, 0);
	assert_int_equal(look(&r).width, 0);
	rig_close(&r);
}

/* Rule S: the last pixel that is shown is the last there is, or nothing is shown. */
static void test_no_picture_reaches_behind_the_memory(void **state)
{
	uint8_t rgb[PICTURE_RGB];
	const uint8_t *host;
	struct picture p;
	struct rig r;

	rig_open(&r);
	mode_set(&r, 1024, 1024, 32); /* just all of it */
	host = display_look(r.d, &p);
	assert_int_equal(p.width, 1024);
	picture_rgb(&p, host, 1023, 1023, 1, rgb);
	dispi_put(&r, DISPI_X_OFFSET, 1);
	assert_int_equal(look(&r).width, 0);
	dispi_put(&r, DISPI_X_OFFSET, 0);
	dispi_put(&r, DISPI_Y_OFFSET, 1);
	assert_int_equal(look(&r).width, 0);
	dispi_put(&r, DISPI_Y_OFFSET, 0);
	dispi_put(&r, DISPI_VIRT_WIDTH, 1025);
	assert_int_equal(look(&r).width, 0);
	mode_set(&r, 1024, 1025, 32);
	assert_int_equal(look(&r).width, 0);
	mode_set(&r, 0xffff, 0xffff, 32);
	assert_int_equal(look(&r).width, 0);
	mode_set(&r, 63, 600, 32);
	assert_int_equal(look(&r).width, 0);
	mode_set(&r, 640, 480, 8);
	assert_int_equal(look(&r).width, 0);
	rig_close(&r);
}

static void test_only_registers_of_16_bits_take_anything(void **state)
{
	struct rig r;

	rig_open(&r);
	bus_write(r.bed.mmio, r.registers + 0x502, 1, 0x55);
	bus_write(r.bed.mmio, r.registers + 0x503, 2, 0x5555);
	bus_write(r.bed.mmio, r.registers + 0x500, 8, ~0ull);
	bus_write(r.bed.mmio, r.registers + 0x516, 2, 0x5555);
	bus_write(r.bed.mmio, r.registers + 0x604, 4, 0xbebebebe);
	assert_int_equal(dispi_get(&r, DISPI_XRES), 0);
	assert_int_equal(bus_read(r.bed.mmio, r.registers + 0x604, 4), 0x1e1e1e1e);
	dispi_put(&r, DISPI_ID, 1);
	dispi_put(&r, DISPI_MEMORY_64K, 1);
	assert_int_equal(dispi_get(&r, DISPI_ID), 0xb0c5);
	assert_int_equal(dispi_get(&r, DISPI_MEMORY_64K), MEMORY / 65536);
	rig_close(&r);
}

static void test_the_memory_follows_its_bar(void **state)
{
	struct gmem_region *m;
	struct rig r;

	rig_open(&r);
	m = gmem_region_find(r.bed.mem, DISPLAY_REGION);
	assert_true(m->at == r.memory);
	assert_true(m->gpa == r.memory);
	drv_config_write(&r.bed, SLOT, 0x10, 4, 0xd0000000);
	assert_true(m->at == 0xd0000000);
	assert_true(m->gpa == r.memory);                    /* what a migration calls it */
	drv_config_write(&r.bed, SLOT, 0x10, 4, 0x1000000); /* over RAM: nowhere */
	assert_true(m->at == 0);
	drv_config_write(&r.bed, SLOT, 0x10, 4, 0xd0000000);
	drv_config_write(&r.bed, SLOT, 0x04, 2, 0);
	assert_true(m->at == 0);
	rig_close(&r);
}

static void test_all_of_it_crosses(void **state)
{
	struct state_entry s;
	uint8_t buf[1024];
	struct rig a, b;
	struct writer w = writer_make(buf, sizeof(buf));
	struct reader rd;
	struct err e;

	rig_open(&a);
	rig_open(&b);
	mode_set(&a, 800, 600, 32);
	dispi_put(&a, DISPI_BANK, 0x1234);
	drv_config_write(&a.bed, SLOT, 0x10, 4, 0xd0000000);
	s = display_state_entry(a.d);
	assert_int_equal(state_save_one(&s, &w, &e), 0);
	s = display_state_entry(b.d);
	rd = reader_make(buf, writer_len(&w));
	if (state_load_one(&s, s.desc->version, &rd, &e))
		fail_msg("%s", e.text);
	assert_int_equal(look(&b).width, 800);
	assert_int_equal(dispi_get(&b, DISPI_BANK), 0x1234);
	assert_true(gmem_region_find(b.bed.mem, DISPLAY_REGION)->at == 0xd0000000);
	rig_close(&a);
	rig_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_driver_finds_what_it_looks_for),
		cmocka_unit_test(test_the_monitor_says_what_it_likes),
		cmocka_unit_test(test_a_mode_is_a_picture),
		cmocka_unit_test(test_no_picture_reaches_behind_the_memory),
		cmocka_unit_test(test_only_registers_of_16_bits_take_anything),
		cmocka_unit_test(test_the_memory_follows_its_bar),
		cmocka_unit_test(test_all_of_it_crosses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
