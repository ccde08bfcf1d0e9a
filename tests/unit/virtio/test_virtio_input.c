/* SPDX-License-Identifier: Apache-2.0 */
/* Keyboard and tablet: what they say of themselves, and that whatever is pressed reaches a guest whole, or not at all. */
#include "driver.h"

#include "base/bytes.h"
#include "hv/virtio/virtio_input_int.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SLOT 1
#define DEVICE 0x2000u
#define QUEUE 64

struct rig {
	struct bed bed;
	struct virtio_dev *dev;
	struct drv drv;
	uint64_t buffers;
};

static void rig_open(struct rig *r, int (*create)(struct device_env *env, struct virtio_dev **out, struct err *e))
{
	struct err e;

	memset(r, 0, sizeof(*r));
	assert_int_equal(bed_init(&r->bed), 0);
	assert_int_equal(create(&r->bed.env, &r->dev, &e), 0);
	virtio_dev_plug(r->dev);
	drv_probe(&r->drv, &r->bed, r->dev, SLOT);
}

static void driver_comes(struct rig *r)
{
	drv_features(&r->drv, 0);
	drv_queue(&r->drv, 0, QUEUE);
	drv_queue(&r->drv, 1, QUEUE);
	drv_ok(&r->drv);
	assert_int_equal(virtio_dev_start(r->dev, NULL), 0);
	r->buffers = bed_alloc(&r->bed, 8 * QUEUE);
}

static void rig_close(struct rig *r)
{
	virtio_dev_destroy(r->dev);
	bed_fini(&r->bed);
}

static void give_buffers(struct rig *r, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct drv_buf b = { r->buffers + 8 * (r->drv.q[0].next_desc % QUEUE), 8, true };

		drv_add(&r->drv, 0, &b, 1);
	}
	drv_kick(&r->drv, 0);
}

static struct virtio_input_event next(struct rig *r)
{
	struct virtio_input_event ev;
	uint32_t len;
	uint16_t head;

	assert_true(drv_wait(&r->drv, 0, &head, &len));
	assert_int_equal(len, sizeof(ev));
	assert_int_equal(gmem_read(r->bed.mem, r->buffers + 8ull * head, &ev, sizeof(ev)), 0);
	assert_true(bed_is_dirty(&r->bed, r->buffers + 8ull * head));
	return ev;
}

static void expect(struct rig *r, uint16_t type, uint16_t code, int32_t value)
{
	struct virtio_input_event ev = next(r);

	assert_int_equal(ev.type, type);
	assert_int_equal(ev.code, code);
	assert_int_equal(ev.value, value);
}

static unsigned int config(struct rig *r, uint8_t select, uint8_t subsel, uint8_t answer[128])
{
	drv_write(&r->drv, DEVICE, 1, select);
	drv_write(&r->drv, DEVICE + 1, 1, subsel);
	for (unsigned int i = 0; i < 128; i++)
		answer[i] = (uint8_t)drv_read(&r->drv, DEVICE + 8 + i, 1);
	return (unsigned int)drv_read(&r->drv, DEVICE + 2, 1);
}

static bool has_bit(const uint8_t *bits, unsigned int n)
{
	return bits[n / 8] >> (n % 8) & 1;
}

static void test_a_keyboard_says_what_it_is(void **state)
{
	uint8_t a[128];
	struct rig r;

	rig_open(&r, virtio_keyboard_create);
	assert_int_equal(drv_config_read(&r.bed, SLOT, 0, 4), (0x1040u + 18) << 16 | 0x1af4);
	assert_int_equal(config(&r, 1, 0, a), 15);
	assert_memory_equal(a, "Drover keyboard", 15);
	assert_int_equal(config(&r, 0x11, EV_KEY, a), 32);
	assert_true(has_bit(a, KEY_A) && has_bit(a, KEY_DELETE) && !has_bit(a, 0));
	assert_int_equal(config(&r, 0x11, EV_REP, a), 1);
	assert_int_equal(config(&r, 0x11, EV_ABS, a), 0);
	assert_int_equal(config(&r, 0x12, ABS_X, a), 0);
	assert_int_equal(config(&r, 0x77, 0xff, a), 0);
	/* both bytes at once; and nothing else can be written */
	drv_write(&r.drv, DEVICE, 2, 0x0111);
	assert_int_equal(drv_read(&r.drv, DEVICE + 2, 1), 32);
	drv_write(&r.drv, DEVICE + 2, 1, 77);
	drv_write(&r.drv, DEVICE + 100, 8, ~0ull);
	assert_int_equal(drv_read(&r.drv, DEVICE + 2, 1), 32);
	assert_int_equal(drv_read(&r.drv, DEVICE + 100, 8), 0);
	rig_close(&r);
}

static void test_a_tablet_says_what_it_is(void **state)
{
	uint8_t a[128];
	struct rig r;

	rig_open(&r, virtio_tablet_create);
	assert_int_equal(config(&r, 0x11, EV_ABS, a), 1);
	assert_int_equal(a[0], 3);
	assert_int_equal(config(&r, 0x11, EV_REL, a), 2);
	assert_true(has_bit(a, REL_WHEEL));
	config(&r, 0x11, EV_KEY, a);
	assert_true(has_bit(a, BTN_LEFT) && has_bit(a, BTN_RIGHT) && has_bit(a, BTN_MIDDLE) && !has_bit(a, KEY_A));
	for (uint8_t axis = ABS_X; axis <= ABS_Y; axis++) {
		assert_int_equal(config(&r, 0x12, axis, a), 20);
		assert_memory_equal(a, "\0\0\0\0\xff\x7f\0\0", 8);
	}
	assert_int_equal(config(&r, 0x12, 2, a), 0);
	rig_close(&r);
}

static void test_a_key_goes_down_and_up(void **state)
{
	struct rig r;

	rig_open(&r, virtio_keyboard_create);
	r.bed.mem->tracking = true;
	assert_false(seat_has_keyboard(r.bed.seat));
	assert_false(seat_key(r.bed.seat, KEY_A, true)); /* there is no driver */
	driver_comes(&r);
	assert_true(seat_has_keyboard(r.bed.seat));
	give_buffers(&r, 8);
	assert_true(seat_key(r.bed.seat, KEY_A, true));
	assert_true(seat_key(r.bed.seat, KEY_A, false));
	expect(&r, EV_KEY, KEY_A, 1);
	expect(&r, EV_SYN, SYN_REPORT, 0);
	expect(&r, EV_KEY, KEY_A, 0);
	expect(&r, EV_SYN, SYN_REPORT, 0);
	assert_false(seat_key(r.bed.seat, KEY_A, false)); /* it is up */
	assert_false(seat_key(r.bed.seat, SEAT_KEYS, true));
	assert_false(seat_pointer(r.bed.seat, &(struct seat_pointer){ .x = 1 }));
	rig_close(&r);
}

static void test_the_pointer_is_where_it_is(void **state)
{
	struct rig r;

	rig_open(&r, virtio_tablet_create);
	r.bed.mem->tracking = true;
	driver_comes(&r);
	give_buffers(&r, 16);
	assert_true(seat_pointer(r.bed.seat, &(struct seat_pointer){ .x = 100, .y = SEAT_SIDE, .buttons = SEAT_RIGHT, .wheel = -1 }));
	assert_false(seat_pointer(r.bed.seat, &(struct seat_pointer){ .x = SEAT_SIDE + 1 }));
	expect(&r, EV_ABS, ABS_X, 100);
	expect(&r, EV_ABS, ABS_Y, SEAT_SIDE);
	expect(&r, EV_KEY, BTN_LEFT, 0);
	expect(&r, EV_KEY, BTN_MIDDLE, 0);
	expect(&r, EV_KEY, BTN_RIGHT, 1);
	expect(&r, EV_REL, REL_WHEEL, -1);
	expect(&r, EV_SYN, SYN_REPORT, 0);
	rig_close(&r);
}

/* A driver that takes nothing: keys are refused before there is no room any more to let them go. */
static void test_no_key_stays_down_for_want_of_room(void **state)
{
	unsigned int n = 0, down = 0, up = 0;
	struct virtio_input_event ev;
	struct rig r;

	rig_open(&r, virtio_keyboard_create);
	r.bed.mem->tracking = true;
	driver_comes(&r);
	while (n < 1000 && seat_key(r.bed.seat, KEY_A, true) && seat_key(r.bed.seat, KEY_A, false))
		n++;
	assert_in_range(n, 32, 100);
	assert_true(seat_key(r.bed.seat, KEY_B, true) == seat_key(r.bed.seat, KEY_B, false));
	for (unsigned int i = 0; i < 4 * n; i++) {
		if (i % 4 == 0)
			give_buffers(&r, 4);
		ev = next(&r);
		down += ev.type == EV_KEY && ev.value;
		up += ev.type == EV_KEY && !ev.value;
		assert_int_equal(ev.type, i % 2 ? EV_SYN : EV_KEY); /* reports are whole */
	}
	assert_int_equal(down, n);
	assert_int_equal(up, n);
	rig_close(&r);
}

static void test_no_more_keys_are_down_than_can_be_let_go(void **state)
{
	struct rig r;

	rig_open(&r, virtio_keyboard_create);
	r.bed.mem->tracking = true;
	driver_comes(&r);
	for (uint16_t code = 1; code <= INPUT_DOWN_MAX; code++) {
		give_buffers(&r, 2);
		assert_true(seat_key(r.bed.seat, code, true));
		expect(&r, EV_KEY, code, 1);
		next(&r);
	}
	give_buffers(&r, 4);
	assert_false(seat_key(r.bed.seat, INPUT_DOWN_MAX + 1, true));
	assert_true(seat_key(r.bed.seat, 7, false));
	expect(&r, EV_KEY, 7, 0);
	rig_close(&r);
}

/* Whoever held it down is at the old host; and what the driver had asked the device is answered at the new one. */
static void test_a_key_that_was_down_is_let_go_by_a_move(void **state)
{
	struct state_entry st[DEVICE_STATES_MAX];
	uint8_t a[128];
	struct rig r, s;
	struct err e;

	rig_open(&r, virtio_keyboard_create);
	rig_open(&s, virtio_keyboard_create);
	r.bed.mem->tracking = s.bed.mem->tracking = true;
	driver_comes(&r);
	config(&r, 1, 0, a);
	give_buffers(&r, 2);
	assert_true(seat_key(r.bed.seat, KEY_LEFTSHIFT, true));
	expect(&r, EV_KEY, KEY_LEFTSHIFT, 1);
	next(&r);
	give_buffers(&r, 2); /* which the device has not used when it leaves */
	assert_int_equal(virtio_dev_quiesce(r.dev, 5000, NULL), 0);
	assert_int_equal(virtio_dev_state(r.dev, st), 2);
	assert_int_equal(virtio_dev_state(s.dev, st), 2);
	assert_string_equal(st[1].instance, "keyboard0.keyboard");
	memcpy(s.bed.mem->regions[0].host, r.bed.mem->regions[0].host, BED_MEMORY);
	if (drv_move_states(r.dev, s.dev, &e))
		fail_msg("%s", e.text);
	s.drv.q[0] = r.drv.q[0];
	s.buffers = r.buffers;
	assert_int_equal(drv_read(&s.drv, DEVICE + 2, 1), 15);
	assert_int_equal(virtio_dev_start(s.dev, NULL), 0);
	expect(&s, EV_KEY, KEY_LEFTSHIFT, 0);
	expect(&s, EV_SYN, SYN_REPORT, 0);
	assert_int_equal(((struct virtio_input *)s.dev)->n_down, 0);
	rig_close(&r);
	rig_close(&s);
}

static void test_lights_are_taken(void **state)
{
	struct virtio_input_event light = { EV_LED, LED_CAPSL, 1 };
	struct rig r;
	struct drv_buf b;
	uint32_t len;
	uint16_t head;

	rig_open(&r, virtio_keyboard_create);
	driver_comes(&r);
	b = (struct drv_buf){ bed_alloc(&r.bed, 8), 8, false };
	assert_int_equal(gmem_write(r.bed.mem, b.gpa, &light, sizeof(light)), 0);
	drv_add(&r.drv, 1, &b, 1);
	drv_kick(&r.drv, 1);
	assert_true(drv_wait(&r.drv, 1, &head, &len));
	assert_int_equal(len, 0);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_keyboard_says_what_it_is),
		cmocka_unit_test(test_a_tablet_says_what_it_is),
		cmocka_unit_test(test_a_key_goes_down_and_up),
		cmocka_unit_test(test_the_pointer_is_where_it_is),
		cmocka_unit_test(test_no_key_stays_down_for_want_of_room),
		cmocka_unit_test(test_no_more_keys_are_down_than_can_be_let_go),
		cmocka_unit_test(test_a_key_that_was_down_is_let_go_by_a_move),
		cmocka_unit_test(test_lights_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
