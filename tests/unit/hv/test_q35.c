/* SPDX-License-Identifier: Apache-2.0 */
/* Host bridge, LPC bridge, power management, debugcon, CMOS: the registers that a PC's firmware looks at. */
#include "tests/unit/hv/firmware_bed.h"

#include "hv/device/device.h"
#include "hv/platform/debugcon.h"
#include "hv/platform/lpc.h"
#include "hv/platform/pm_block.h"
#include "hv/platform/rtc.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

#define BRIDGE 0

static struct pc pc;
static struct lpc *lpc;
static struct pm_block *pm;
static struct debugcon *con;
static struct rtc *rtc;
static const char *reset_by;
static unsigned int offs;
static uint64_t now;
static char logged[4096];
static unsigned int log_lines;

static _Atomic bool lines[24];
#define line_9 lines[PM_BLOCK_GSI]

/* In place of hv/kvm/irq.c's, for which there is no KVM here. */
int __wrap_irq_line(struct irq *i, uint32_t gsi, bool level);
int __wrap_irq_line(struct irq *i, uint32_t gsi, bool level)
{
	atomic_store(&lines[gsi], level);
	return 0;
}

static void on_reset(void *arg, const char *how)
{
	reset_by = how;
}

static void on_off(void *arg)
{
	offs++;
}

static uint64_t clock_now(void)
{
	return now;
}

static void on_log(enum log_level level, const char *line)
{
	log_lines++;
	if (strlen(logged) + strlen(line) + 2 < sizeof(logged))
		strcat(strcat(logged, line), "\n");
}

static int setup(void **state)
{
	reset_by = NULL;
	offs = log_lines = 0;
	logged[0] = '\0';
	now = 1000 * NS_PER_SEC;
	for (int i = 0; i < 24; i++)
		lines[i] = false;
	log_init("test", LOG_LEVEL_DEBUG);
	log_set_sink(on_log);
	pc = pc_make(true);
	assert_int_equal(lpc_create(&lpc, pc.pci, pc.pio, on_reset, NULL, NULL), 0);
	assert_int_equal(lpc_plug(lpc, NULL), 0);
	assert_int_equal(pm_block_create(&pm, pc.pio, pc.irq, clock_now, on_off, NULL, NULL), 0);
	assert_int_equal(pm_block_plug(pm, NULL), 0);
	assert_int_equal(debugcon_create(&con, pc.pio, NULL), 0);
	assert_int_equal(debugcon_plug(con, NULL), 0);
	assert_int_equal(rtc_create(&rtc, pc.pio, NULL, NULL), 0);
	assert_int_equal(rtc_plug(rtc, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	rtc_destroy(rtc);
	debugcon_destroy(con);
	pm_block_destroy(pm);
	lpc_destroy(lpc);
	pc_end(&pc);
	log_set_sink(NULL);
	return 0;
}

static uint32_t in(unsigned int port, unsigned int len)
{
	return (uint32_t)bus_read(pc.pio, port, len);
}

static void out(unsigned int port, unsigned int len, uint32_t v)
{
	bus_write(pc.pio, port, len, v);
}

/* --- host bridge --- */

static void the_bridge_is_the_one_that_firmware_knows(void **state)
{
	struct pc plain = pc_make(false);

	assert_int_equal(pc_config(&pc, BRIDGE, 0x00, 4), 0x29c08086);
	assert_int_equal(pc_config(&pc, BRIDGE, 0x08, 4) >> 8, 0x060000);
	assert_int_equal(pc_config(&pc, BRIDGE, 0x2c, 4), 0x11001af4);
	/* Who is not told to have firmware keeps what it had. */
	assert_int_equal(pc_config(&plain, BRIDGE, 0x00, 4), 0x0d578086);
	assert_int_equal(pc_config(&plain, BRIDGE, 0x60, 4), 0);
	pc_config_set(&plain, BRIDGE, 0x90, 1, 0x30);
	assert_int_equal(pc_config(&plain, BRIDGE, 0x90, 1), 0);
	pc_end(&plain);
}

static void pciexbar_says_where_ecam_is_and_stays(void **state)
{
	assert_int_equal(pc_config(&pc, BRIDGE, 0x60, 4), PCI_ECAM_BASE | 1);
	assert_int_equal(pc_config(&pc, BRIDGE, 0x64, 4), 0);
	pc_config_set(&pc, BRIDGE, 0x60, 4, 0xe0000001);
	assert_int_equal(pc_config(&pc, BRIDGE, 0x60, 4), PCI_ECAM_BASE | 1);
}

static void pam_keeps_its_bits_and_smram_none(void **state)
{
	for (unsigned int r = 0x90; r <= 0x96; r++) {
		assert_int_equal(pc_config(&pc, BRIDGE, r, 1), 0); /* not shadowed yet: firmware copies itself */
		pc_config_set(&pc, BRIDGE, r, 1, 0xff);
		assert_int_equal(pc_config(&pc, BRIDGE, r, 1), r == 0x90 ? 0x30 : 0x33);
	}
	pc_config_set(&pc, BRIDGE, 0x9d, 1, 0x4a);
	assert_int_equal(pc_config(&pc, BRIDGE, 0x9d, 1), 0x02);
}

/* --- where BARs may lie --- */

static uint64_t bar_read(void *dev, uint64_t offset, unsigned int len)
{
	return 0x5a;
}

static void bar_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
}

static void bar_moved(struct pci_dev *d, unsigned int bar, uint64_t base)
{
}

static void touched(struct pci_dev *d, unsigned int offset, unsigned int len)
{
}

static const struct bus_ops bar_ops = { .read = bar_read, .write = bar_write };
static const struct pci_dev_ops dev_ops = { .bar_moved = bar_moved, .config_read = touched, .config_write = touched };
static const struct pci_ident ident = { .vendor = 0x1af4, .device = 0x1042 };

/* Does a BAR answer that is put at @at? */
static bool answers(struct pc *p, uint32_t at)
{
	struct pci_dev d;
	bool yes;

	assert_int_equal(pci_dev_init(&d, p->pci, &dev_ops, &ident, "blk0", NULL), 0);
	assert_int_equal(pci_dev_bar(&d, 0, 4096, &bar_ops, &d, NULL), 0);
	pci_dev_plug(&d);
	pc_config_set(p, d.slot, 0x10, 4, at);
	pc_config_set(p, d.slot, 0x04, 2, 2);
	yes = bus_read(p->mmio, at, 1) == 0x5a;
	pci_dev_fini(&d);
	return yes;
}

static void a_bios_may_put_bars_right_below_the_io_apic(void **state)
{
	struct pc plain = pc_make(false);

	assert_true(answers(&pc, 0xc0000000));
	assert_true(answers(&pc, 0xfebff000));
	assert_false(answers(&pc, 0xfec00000));
	assert_true(answers(&plain, 0xc0000000));
	assert_false(answers(&plain, 0xfebff000));
	pc_end(&plain);
}

static void a_device_can_have_its_slot_and_is_found_by_name(void **state)
{
	struct pci_dev d;
	struct err e;

	assert_int_equal(pci_bus_slot_of(pc.pci, "lpc"), PCI_Q35_LPC_SLOT);
	assert_int_equal(pci_bus_slot_of(pc.pci, "blk0"), 0);
	assert_int_equal(pci_dev_init_at(&d, pc.pci, PCI_Q35_LPC_SLOT, &dev_ops, &ident, "other", &e), -EEXIST);
	assert_string_equal(e.text, "other: PCI slot 31 is taken");
	assert_int_equal(pci_dev_init(&d, pc.pci, &dev_ops, &ident, "blk0", NULL), 0);
	assert_int_equal(pci_bus_slot_of(pc.pci, "blk0"), 1);
	pci_dev_fini(&d);
}

/* --- LPC bridge --- */

static void the_lpc_bridge_says_where_power_management_is(void **state)
{
	assert_int_equal(pc_config(&pc, 0x1f, 0x00, 4), 0x29188086);
	assert_int_equal(pc_config(&pc, 0x1f, 0x08, 4) >> 8, 0x060100);
	assert_int_equal(pc_config(&pc, 0x1f, 0x0e, 1), 0); /* one function */
	assert_int_equal(pc_config(&pc, 0x1f, 0x40, 4), PM_BLOCK_PORT | 1);
	pc_config_set(&pc, 0x1f, 0x40, 4, 0xb001);
	assert_int_equal(pc_config(&pc, 0x1f, 0x40, 4), PM_BLOCK_PORT | 1);
	assert_int_equal(pc_config(&pc, 0x1f, 0x44, 1), 0x80);
	pc_config_set(&pc, 0x1f, 0xf0, 4, 0xfed1c001);
	assert_int_equal(pc_config(&pc, 0x1f, 0xf0, 4), 0); /* RCBA: there is none */
	pc_config_set(&pc, 0x1f, 0x60, 4, 0xffffffff);
	pc_config_set(&pc, 0x1f, 0x68, 4, 0x0b0a0a0b);
	assert_int_equal(pc_config(&pc, 0x1f, 0x60, 4), 0x8f8f8f8f);
	assert_int_equal(pc_config(&pc, 0x1f, 0x68, 4), 0x0b0a0a0b);
}

static void port_92_resets_and_keeps_a20(void **state)
{
	assert_int_equal(in(LPC_PORT_A, 1), 0x02);
	out(LPC_PORT_A, 1, 0x00);
	assert_int_equal(in(LPC_PORT_A, 1), 0x00);
	assert_null(reset_by);
	out(LPC_PORT_A, 1, 0x03);
	assert_string_equal(reset_by, "system control port 0x92");
	assert_int_equal(in(LPC_PORT_A, 1), 0x02);
}

/* --- power management --- */

static void the_timer_counts_24_bits_at_its_rate(void **state)
{
	uint32_t was = in(PM_BLOCK_PORT + 8, 4);

	assert_int_equal(was, 0);
	now += NS_PER_SEC;
	assert_int_equal(in(PM_BLOCK_PORT + 8, 4), 3579545);
	now += 4 * NS_PER_SEC;
	assert_int_equal(in(PM_BLOCK_PORT + 8, 4), 5 * 3579545 - (1 << 24));
	now += 3600ull * 24 * 365 * 100 * NS_PER_SEC;
	assert_true(in(PM_BLOCK_PORT + 8, 4) < 1 << 24);
	assert_int_equal(in(PM_BLOCK_PORT + 9, 1), in(PM_BLOCK_PORT + 8, 4) >> 8 & 0xff);
}

static void slp_en_of_type_0_powers_off(void **state)
{
	assert_int_equal(in(PM_BLOCK_PORT + 4, 2), 0x0001); /* SCI_EN: there is no way out of ACPI */
	out(PM_BLOCK_PORT + 4, 2, 0x0000);
	assert_int_equal(in(PM_BLOCK_PORT + 4, 2), 0x0001);
	out(PM_BLOCK_PORT + 4, 2, 0x2400); /* another type */
	assert_int_equal(offs, 0);
	assert_int_equal(in(PM_BLOCK_PORT + 4, 2), 0x0401);
	out(PM_BLOCK_PORT + 4, 2, 0x2000);
	assert_int_equal(offs, 1);
	out(PM_BLOCK_PORT + 5, 1, 0x20);
	assert_int_equal(offs, 2);
	assert_int_equal(in(PM_BLOCK_PORT + 4, 4), 0x0001); /* SLP_EN reads 0 */
}

static void the_button_interrupts_until_it_is_cleared(void **state)
{
	pm_block_button(pm); /* nobody asked to hear of it */
	assert_false(line_9);
	assert_int_equal(in(PM_BLOCK_PORT, 2), 0x0100);
	out(PM_BLOCK_PORT + 2, 2, 0x0100);
	assert_true(line_9);
	out(PM_BLOCK_PORT, 2, 0x0021); /* other bits */
	assert_true(line_9);
	out(PM_BLOCK_PORT, 2, 0x0100);
	assert_false(line_9);
	assert_int_equal(in(PM_BLOCK_PORT, 2), 0);
	pm_block_button(pm);
	assert_true(line_9);
	out(PM_BLOCK_PORT + 3, 1, 0);
	assert_false(line_9);
}

static void nobody_waits_for_management_mode(void **state)
{
	assert_int_equal(in(PM_BLOCK_PORT + 0x30, 4), 0x20);
	out(PM_BLOCK_PORT + 0x30, 4, 0);
	assert_int_equal(in(PM_BLOCK_PORT + 0x30, 4), 0x20);
	assert_int_equal(in(PM_BLOCK_PORT, 2), 0);
	out(PM_BLOCK_PORT + 2, 2, 0x0101);
	assert_int_equal(in(PM_BLOCK_PORT, 4), 0x01010000);
	assert_int_equal(in(PM_BLOCK_PORT + 0x7c, 4), 0);
}

/* --- debugcon --- */

static void say(const char *s)
{
	while (*s)
		out(DEBUGCON_PORT, 1, (uint8_t)*s++);
}

static void what_firmware_says_is_a_line_of_the_log(void **state)
{
	assert_int_equal(in(DEBUGCON_PORT, 1), DEBUGCON_HERE);
	say("SeaBIOS\r\nno end");
	assert_int_equal(log_lines, 1);
	assert_non_null(strstr(logged, "firmware: SeaBIOS\n"));
	say("\x1b[2J\n");
	assert_null(strchr(logged, 0x1b));
	assert_non_null(strstr(logged, "firmware: no end?[2J\n"));
}

static void a_guest_cannot_fill_the_log(void **state)
{
	struct state_entry s = debugcon_state_entry(con);
	uint8_t buf[64];
	size_t fresh = state_take(&s, buf, sizeof(buf));

	for (unsigned int i = 0; i < 2 * DEBUGCON_BYTES_MAX; i++)
		out(DEBUGCON_PORT, 1, 'x');
	assert_in_range(log_lines, DEBUGCON_BYTES_MAX / 160, DEBUGCON_BYTES_MAX / 160 + 2);
	log_lines = 0;
	logged[0] = '\0';
	say("more\n");
	assert_int_equal(log_lines, 0);
	assert_int_equal(state_give(&s, buf, fresh, NULL), 0); /* a reset */
	say("again\n");
	assert_int_equal(log_lines, 1);
}

/* --- CMOS --- */

static uint32_t cmos(unsigned int at, unsigned int bytes)
{
	uint32_t v = 0;

	for (unsigned int i = 0; i < bytes; i++) {
		out(RTC_PORT, 1, at + i);
		v |= in(RTC_PORT + 1, 1) << 8 * i;
	}
	return v;
}

static void cmos_says_how_much_there_is(void **state)
{
	assert_int_equal(cmos(0x34, 2), 0); /* not told: as it was */
	rtc_tell(rtc, 2048ull << 20, 5ull << 30, 255);
	assert_int_equal(cmos(0x15, 2), 640);
	assert_int_equal(cmos(0x17, 2), 0xffff);
	assert_int_equal(cmos(0x30, 2), 0xffff);
	assert_int_equal(cmos(0x34, 2), (2048 - 16) * 16);
	assert_int_equal(cmos(0x5b, 3), 5 * 16384);
	assert_int_equal(cmos(0x5f, 1), 254);
	assert_int_equal(cmos(0x3d, 1), 2);
	assert_int_equal(cmos(0x0f, 1), 0);
	rtc_tell(rtc, 8ull << 20, 0, 1);
	assert_int_equal(cmos(0x30, 2), 7 * 1024);
	assert_int_equal(cmos(0x34, 2), 0);
	assert_int_equal(cmos(0x5f, 1), 0);
}

/* --- the clock's interrupts --- */

#define C_OF(flag) (0x80 | (flag))
#define WAIT_MS 30000

static void reg(unsigned int at, uint8_t v)
{
	out(RTC_PORT, 1, at);
	out(RTC_PORT + 1, 1, v);
}

static bool wait_for_8(void)
{
	for (uint64_t end = clock_ms() + WAIT_MS; !lines[RTC_GSI] && clock_ms() < end;)
		usleep(500);
	return lines[RTC_GSI];
}

static void the_clock_interrupts_again_and_again(void **state)
{
	assert_int_equal(rtc_interrupt(rtc, pc.irq, NULL), 0);
	assert_int_equal(rtc_device.start(rtc, NULL), 0);
	reg(0x0b, 0x42); /* 1024 Hz is what register A says when it is new */
	for (int i = 0; i < 3; i++) {
		assert_true(wait_for_8());
		assert_int_equal(cmos(0x0c, 1), C_OF(0x40));
		/* Nothing waits, or the next has come already. */
		assert_int_equal(lines[RTC_GSI] ? 0 : cmos(0x0c, 1) & 0x20, 0);
	}
	reg(0x0b, 0x02);
	cmos(0x0c, 1);
	assert_false(lines[RTC_GSI]);
	assert_int_equal(cmos(0x0c, 1), 0);
}

static void a_rate_of_none_never_interrupts(void **state)
{
	assert_int_equal(rtc_interrupt(rtc, pc.irq, NULL), 0);
	rtc_device.start(rtc, NULL);
	reg(0x0a, 0x20);
	reg(0x0b, 0x42);
	usleep(20000);
	assert_false(lines[RTC_GSI]);
	assert_int_equal(cmos(0x0c, 1), 0);
}

/* Two seconds from when it is set, and told together with the second's end. */
static void the_alarm_comes_in_its_second(void **state)
{
	uint8_t c = 0, second;

	assert_int_equal(rtc_interrupt(rtc, pc.irq, NULL), 0);
	rtc_device.start(rtc, NULL);
	reg(0x0b, 0x06); /* binary, 24 hours */
	second = (uint8_t)cmos(0x00, 1);
	reg(0x01, (uint8_t)((second + 2) % 60));
	reg(0x03, 0xff);
	reg(0x05, 0xc0);
	reg(0x0b, 0x36);
	while (!(c & 0x20)) {
		assert_true(wait_for_8());
		c = (uint8_t)cmos(0x0c, 1);
		assert_int_equal(c & 0x90, 0x90);
	}
}

/* A machine that is held: what is saved then is how it stands. */
static void no_interrupt_comes_while_it_rests(void **state)
{
	struct state_entry s = rtc_state_entry(rtc);
	uint8_t buf[256];
	size_t len;

	assert_int_equal(rtc_interrupt(rtc, pc.irq, NULL), 0);
	rtc_device.start(rtc, NULL);
	reg(0x0b, 0x42);
	assert_true(wait_for_8());
	assert_int_equal(rtc_device.quiesce(rtc, 0, NULL), 0);
	cmos(0x0c, 1);
	usleep(20000);
	assert_false(lines[RTC_GSI]);
	len = state_take(&s, buf, sizeof(buf));
	/* The other host goes on with it. */
	rtc_destroy(rtc);
	assert_int_equal(rtc_create(&rtc, pc.pio, NULL, NULL), 0);
	assert_int_equal(rtc_interrupt(rtc, pc.irq, NULL), 0);
	assert_int_equal(rtc_plug(rtc, NULL), 0);
	s = rtc_state_entry(rtc);
	assert_int_equal(state_give(&s, buf, len, NULL), 0);
	usleep(5000);
	assert_false(lines[RTC_GSI]);
	rtc_device.start(rtc, NULL);
	assert_true(wait_for_8());
}

static void a_clock_without_interrupts_says_none(void **state)
{
	reg(0x0b, 0x72);
	usleep(5000);
	assert_int_equal(cmos(0x0c, 1), 0);
	assert_false(lines[RTC_GSI]);
}

/* --- to another host, and through a reset --- */

static struct state_entry bridge_entry(struct pc *p, void **dev)
{
	struct device_env env = { .pci = p->pci };
	struct state_entry s[DEVICE_STATES_MAX];

	assert_int_equal(pci_q35_device.create(&env, NULL, 0, dev, NULL), 0);
	assert_int_equal(pci_q35_device.plug(*dev, NULL), 0);
	assert_int_equal(pci_q35_device.state(*dev, s), 1);
	return s[0];
}

static void what_the_guest_wrote_moves_with_it(void **state)
{
	struct state_entry s[4];
	uint8_t buf[4][1024];
	size_t len[4];
	void *q35;

	pc_config_set(&pc, BRIDGE, 0x92, 1, 0x11);
	pc_config_set(&pc, 0x1f, 0x61, 1, 0x0b);
	out(LPC_PORT_A, 1, 0);
	out(PM_BLOCK_PORT + 2, 2, 0x0100);
	out(PM_BLOCK_PORT + 4, 2, 0x0401);
	pm_block_button(pm);
	assert_true(line_9);
	now += NS_PER_SEC;
	say("half a li");
	for (int there = 0; there < 2; there++) {
		s[0] = bridge_entry(&pc, &q35);
		s[1] = lpc_state_entry(lpc);
		s[2] = pm_block_state_entry(pm);
		s[3] = debugcon_state_entry(con);
		for (int i = 0; i < 4 && !there; i++)
			len[i] = state_take(&s[i], buf[i], sizeof(buf[i]));
		for (int i = 0; i < 4 && there; i++)
			assert_int_equal(state_give(&s[i], buf[i], len[i], NULL), 0);
		pci_q35_device.destroy(q35);
		if (there)
			break;
		teardown(state);
		setup(state);
		now = 7 * NS_PER_SEC; /* another host's clock */
		line_9 = false;
	}
	assert_int_equal(pc_config(&pc, BRIDGE, 0x92, 1), 0x11);
	assert_int_equal(pc_config(&pc, 0x1f, 0x61, 1), 0x0b);
	assert_int_equal(in(LPC_PORT_A, 1), 0);
	assert_true(line_9);
	assert_int_equal(in(PM_BLOCK_PORT, 4), 0x01000100);
	assert_int_equal(in(PM_BLOCK_PORT + 4, 2), 0x0401);
	assert_int_equal(in(PM_BLOCK_PORT + 8, 4), 3579545);
	now += NS_PER_SEC;
	assert_int_equal(in(PM_BLOCK_PORT + 8, 4), 2 * 3579545);
}

static void lies_about_them_are_refused(void **state)
{
	struct state_entry s = lpc_state_entry(lpc);
	uint8_t buf[1024];
	struct err e;
	void *q35;
	size_t len = state_take(&s, buf, sizeof(buf));

	buf[len - 1] = 0x42; /* port_a */
	assert_int_equal(state_give(&s, buf, len, &e), -EINVAL);
	assert_non_null(strstr(e.text, "port_a: 0x42"));
	s = bridge_entry(&pc, &q35);
	len = state_take(&s, buf, sizeof(buf));
	buf[len - PCI_CONFIG_SIZE + 0x60] = 0;
	assert_int_equal(state_give(&s, buf, len, &e), -EINVAL);
	assert_non_null(strstr(e.text, "byte 0x60 is 0x00, expected 0x01"));
	pci_q35_device.destroy(q35);
	s = pm_block_state_entry(pm);
	len = state_take(&s, buf, sizeof(buf));
	buf[len - 1] = 1; /* ticks */
	assert_int_equal(state_give(&s, buf, len, &e), -EINVAL);
	assert_non_null(strstr(e.text, "expected 24 bits"));
	s = debugcon_state_entry(con);
	len = state_take(&s, buf, sizeof(buf));
	buf[len - 1] = 1;
	assert_int_equal(state_give(&s, buf, len, &e), -EINVAL);
	assert_non_null(strstr(e.text, "said: "));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_bridge_is_the_one_that_firmware_knows),
		TEST(pciexbar_says_where_ecam_is_and_stays),
		TEST(pam_keeps_its_bits_and_smram_none),
		TEST(a_bios_may_put_bars_right_below_the_io_apic),
		TEST(a_device_can_have_its_slot_and_is_found_by_name),
		TEST(the_lpc_bridge_says_where_power_management_is),
		TEST(port_92_resets_and_keeps_a20),
		TEST(the_timer_counts_24_bits_at_its_rate),
		TEST(slp_en_of_type_0_powers_off),
		TEST(the_button_interrupts_until_it_is_cleared),
		TEST(nobody_waits_for_management_mode),
		TEST(what_firmware_says_is_a_line_of_the_log),
		TEST(a_guest_cannot_fill_the_log),
		TEST(cmos_says_how_much_there_is),
		TEST(the_clock_interrupts_again_and_again),
		TEST(a_rate_of_none_never_interrupts),
		TEST(the_alarm_comes_in_its_second),
		TEST(no_interrupt_comes_while_it_rests),
		TEST(a_clock_without_interrupts_says_none),
		TEST(what_the_guest_wrote_moves_with_it),
		TEST(lies_about_them_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
