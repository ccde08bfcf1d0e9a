/* SPDX-License-Identifier: Apache-2.0 */
/* Serial port, clock, power registers: driven by register, with an interrupt line made of paper. */
#include "hv/device/bus.h"
#include "hv/platform/acpi_pm.h"
#include "hv/platform/rtc.h"
#include "hv/platform/serial.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static bool lines[24];

/* Stands in for hv/kvm/irq.c, which needs KVM. */
int irq_line(struct irq *i, uint32_t gsi, bool level)
{
	lines[gsi] = level;
	return 0;
}

static unsigned int notified;

static void on_notify(void *arg)
{
	notified++;
}

static struct bus *pio;
static struct serial *serial;

static int serial_setup(void **state)
{
	memset(lines, 0, sizeof(lines));
	notified = 0;
	assert_int_equal(bus_create(&pio), 0);
	assert_int_equal(serial_create(&serial, pio, NULL, NULL), 0);
	assert_int_equal(serial_plug(serial, NULL), 0);
	serial_set_notify(serial, on_notify, NULL);
	return 0;
}

static int serial_teardown(void **state)
{
	serial_destroy(serial);
	bus_destroy(pio);
	return 0;
}

static uint8_t in(unsigned int reg)
{
	return (uint8_t)bus_read(pio, SERIAL_PORT + reg, 1);
}

static void out(unsigned int reg, uint8_t v)
{
	bus_write(pio, SERIAL_PORT + reg, 1, v);
}

static void test_output_is_taken_in_order(void **state)
{
	char buf[8] = "";

	out(0, 'h');
	out(0, 'i');
	assert_int_equal(notified, 1); /* once for an empty ring, not per byte */
	assert_int_equal(serial_take(serial, buf, sizeof(buf)), 2);
	assert_string_equal(buf, "hi");
	assert_int_equal(serial_take(serial, buf, sizeof(buf)), 0);
}

static void test_full_ring_holds_the_guest_back(void **state)
{
	char *buf = malloc(SERIAL_OUT_SIZE);

	out(1, 0x02);
	in(2);
	for (unsigned int i = 0; i < SERIAL_OUT_SIZE; i++) {
		assert_int_equal(in(5) & 0x60, 0x60);
		out(0, (uint8_t)i);
	}
	assert_int_equal(in(5) & 0x60, 0);
	assert_false(lines[SERIAL_GSI]);
	assert_int_equal(serial_take(serial, buf, 1), 1);
	assert_int_equal(in(5) & 0x60, 0x60);
	assert_true(lines[SERIAL_GSI]); /* the driver hears that it may go on */
	free(buf);
}

static void test_input_interrupts_and_is_read_in_order(void **state)
{
	out(1, 0x01);
	assert_int_equal(serial_give(serial, "ab", 2), 2);
	assert_true(lines[SERIAL_GSI]);
	assert_int_equal(in(2) & 0x0f, 0x04);
	assert_int_equal(in(5) & 1, 1);
	assert_int_equal(in(0), 'a');
	assert_true(lines[SERIAL_GSI]);
	assert_int_equal(in(0), 'b');
	assert_false(lines[SERIAL_GSI]);
	assert_int_equal(in(5) & 1, 0);
	assert_int_equal(in(2) & 0x0f, 0x01);
}

static void test_input_takes_no_more_than_fits_and_asks_for_more(void **state)
{
	char big[SERIAL_IN_SIZE + 10] = { 0 };

	assert_int_equal(serial_give(serial, big, sizeof(big)), SERIAL_IN_SIZE);
	assert_int_equal(serial_give(serial, big, 1), 0);
	assert_int_equal(notified, 0);
	in(0);
	assert_int_equal(notified, 1);
	assert_int_equal(serial_give(serial, big, 2), 1);
}

static void test_transmit_interrupt_comes_when_enabled_and_after_each_byte(void **state)
{
	out(1, 0x02);
	assert_true(lines[SERIAL_GSI]);
	assert_int_equal(in(2) & 0x0f, 0x02);
	assert_false(lines[SERIAL_GSI]); /* reading the cause takes it away */
	out(0, 'x');
	assert_true(lines[SERIAL_GSI]);
}

static void test_linux_finds_a_16550(void **state)
{
	/* what 8250_port.c autoconfig() looks at */
	out(1, 0);
	assert_int_equal(in(1), 0);
	out(1, 0x0f);
	assert_int_equal(in(1), 0x0f);
	out(1, 0);
	out(4, 0x1a); /* loopback, OUT2, RTS */
	assert_int_equal(in(6) & 0xf0, 0x90);
	out(4, 0);
	out(2, 0x01);
	assert_int_equal(in(2) >> 6, 3);
	out(7, 0x5a);
	assert_int_equal(in(7), 0x5a);
}

static void test_loopback_goes_nowhere_else(void **state)
{
	char c;

	out(4, 0x10);
	out(0, 'L');
	assert_int_equal(in(0), 'L');
	assert_int_equal(serial_take(serial, &c, 1), 0);
}

static void test_divisor_is_not_data(void **state)
{
	char c;

	out(3, 0x83);
	out(0, 1);
	out(1, 2);
	assert_int_equal(in(0), 1);
	assert_int_equal(in(1), 2);
	out(3, 3);
	assert_int_equal(serial_take(serial, &c, 1), 0);
}

static void test_serial_moves_with_input_in_flight(void **state)
{
	struct state_entry s = serial_state_entry(serial);
	uint8_t buf[2048];
	struct writer w = writer_make(buf, sizeof(buf));
	struct reader r;

	out(1, 0x01);
	serial_give(serial, "xyz", 3);
	in(0);
	assert_int_equal(state_save_one(&s, &w, NULL), 0);
	r = reader_make(buf, writer_len(&w));
	serial_teardown(NULL);
	serial_setup(NULL);
	s = serial_state_entry(serial);
	assert_int_equal(state_load_one(&s, 1, &r, NULL), 0);
	assert_true(lines[SERIAL_GSI]);
	assert_int_equal(in(0), 'y');
	assert_int_equal(in(0), 'z');
	assert_false(lines[SERIAL_GSI]);
}

/* --- clock --- */

static time_t fake_now;

static time_t clock_fake(void)
{
	return fake_now;
}

static uint8_t cmos(struct bus *b, uint8_t reg)
{
	bus_write(b, 0x70, 1, reg);
	return (uint8_t)bus_read(b, 0x71, 1);
}

static void cmos_set(struct bus *b, uint8_t reg, uint8_t v)
{
	bus_write(b, 0x70, 1, reg);
	bus_write(b, 0x71, 1, v);
}

static void test_clock_tells_the_time_in_bcd_and_binary(void **state)
{
	struct rtc *rtc;
	struct bus *b;

	fake_now = 1795349045; /* 2026-11-22 12:04:05 UTC, a Sunday */
	assert_int_equal(bus_create(&b), 0);
	assert_int_equal(rtc_create(&rtc, b, clock_fake, NULL), 0);
	assert_int_equal(rtc_plug(rtc, NULL), 0);
	assert_int_equal(cmos(b, 0), 0x05);
	assert_int_equal(cmos(b, 2), 0x04);
	assert_int_equal(cmos(b, 4), 0x12);
	assert_int_equal(cmos(b, 6), 1);
	assert_int_equal(cmos(b, 7), 0x22);
	assert_int_equal(cmos(b, 8), 0x11);
	assert_int_equal(cmos(b, 9), 0x26);
	assert_int_equal(cmos(b, 0x32), 0x20);
	assert_int_equal(cmos(b, 0xd), 0x80);
	cmos_set(b, 0xb, 0x04); /* binary, 12 hours */
	assert_int_equal(cmos(b, 4), 0x80 | 12);
	assert_int_equal(cmos(b, 7), 22);
	rtc_destroy(rtc);
	bus_destroy(b);
}

static void test_clock_set_by_the_guest_goes_on_from_there(void **state)
{
	struct rtc *rtc;
	struct bus *b;

	fake_now = 1795349045;
	assert_int_equal(bus_create(&b), 0);
	assert_int_equal(rtc_create(&rtc, b, clock_fake, NULL), 0);
	assert_int_equal(rtc_plug(rtc, NULL), 0);
	cmos_set(b, 0xb, 0x82);
	cmos_set(b, 9, 0x27);
	cmos_set(b, 0, 0x30);
	assert_int_equal(cmos(b, 0), 0x30); /* stands still while it is being set */
	cmos_set(b, 0xb, 0x02);
	fake_now += 5;
	assert_int_equal(cmos(b, 0), 0x35);
	assert_int_equal(cmos(b, 9), 0x27);
	rtc_destroy(rtc);
	bus_destroy(b);
}

/* --- power --- */

static unsigned int offs, resets;

static void on_off(void *arg)
{
	offs++;
}

static void on_reset(void *arg, const char *how)
{
	resets++;
}

static void test_power_registers(void **state)
{
	static const struct acpi_pm_ops ops = { on_off, on_reset };
	struct bus *p, *m;
	struct acpi_pm *power;

	assert_int_equal(bus_create(&p), 0);
	assert_int_equal(bus_create(&m), 0);
	assert_int_equal(acpi_pm_create(&power, p, m, NULL, &ops, NULL, NULL), 0);
	assert_int_equal(acpi_pm_plug(power, NULL), 0);
	bus_write(m, ACPI_PM_SLEEP_CONTROL, 1, 0x14); /* S5 without SLP_EN */
	bus_write(m, ACPI_PM_SLEEP_CONTROL, 1, 0x20); /* SLP_EN without S5 */
	assert_int_equal(offs, 0);
	bus_write(m, ACPI_PM_SLEEP_CONTROL, 1, 0x34);
	assert_int_equal(offs, 1);
	bus_write(m, ACPI_PM_RESET, 1, 0x41);
	assert_int_equal(resets, 0);
	bus_write(m, ACPI_PM_RESET, 1, ACPI_PM_RESET_VALUE);
	bus_write(p, 0x64, 1, 0xfe);
	assert_int_equal(resets, 2);
	acpi_pm_button(power);
	assert_true(lines[ACPI_PM_GSI]);
	assert_int_equal(bus_read(m, ACPI_PM_BASE, 4), ACPI_PM_SELECT_BUTTON);
	assert_false(lines[ACPI_PM_GSI]);
	assert_int_equal(bus_read(m, ACPI_PM_BASE, 4), 0);
	bus_write(p, 0x64, 1, 0xaa);
	assert_int_equal(bus_read(p, 0x64, 1) & 1, 1);
	assert_int_equal(bus_read(p, 0x60, 1), 0x55);
	assert_int_equal(bus_read(p, 0x64, 1) & 1, 0);
	acpi_pm_destroy(power);
	bus_destroy(m);
	bus_destroy(p);
}

/* A count beyond the ring is refused, and nothing was loaded: saving again must not run over. */
static void test_serial_refused_state_leaves_nothing(void **state)
{
	struct state_entry s = serial_state_entry(serial);
	uint8_t buf[2048], again[2048];
	struct writer w = writer_make(buf, sizeof(buf));
	struct reader r;
	struct err e;
	size_t n;

	assert_int_equal(serial_give(serial, "abcde", 5), 5);
	assert_int_equal(state_save_one(&s, &w, NULL), 0);
	n = writer_len(&w);
	assert_memory_equal(buf + n - 9, "\x05\0\0\0abcde", 9);
	buf[n - 8] = 0xff;
	out(7, 0x5a);
	r = reader_make(buf, n);
	assert_int_equal(state_load_one(&s, 1, &r, &e), -EINVAL);
	assert_string_equal(e.text, "serial0: in: 65285 elements there, room for 1024 here");
	assert_int_equal(in(7), 0x5a);
	w = writer_make(again, sizeof(again));
	assert_int_equal(state_save_one(&s, &w, NULL), 0);
	assert_int_equal(in(0), 'a');
}

#define SERIAL_TEST(f) cmocka_unit_test_setup_teardown(f, serial_setup, serial_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERIAL_TEST(test_serial_refused_state_leaves_nothing),
		SERIAL_TEST(test_output_is_taken_in_order),
		SERIAL_TEST(test_full_ring_holds_the_guest_back),
		SERIAL_TEST(test_input_interrupts_and_is_read_in_order),
		SERIAL_TEST(test_input_takes_no_more_than_fits_and_asks_for_more),
		SERIAL_TEST(test_transmit_interrupt_comes_when_enabled_and_after_each_byte),
		SERIAL_TEST(test_linux_finds_a_16550),
		SERIAL_TEST(test_loopback_goes_nowhere_else),
		SERIAL_TEST(test_divisor_is_not_data),
		SERIAL_TEST(test_serial_moves_with_input_in_flight),
		cmocka_unit_test(test_clock_tells_the_time_in_bcd_and_binary),
		cmocka_unit_test(test_clock_set_by_the_guest_goes_on_from_there),
		cmocka_unit_test(test_power_registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
