/* SPDX-License-Identifier: Apache-2.0 */
/* Keys by name, by character and by keysym; and the seat, which gives each to one device. */
#include "hv/display/keys.h"
#include "hv/display/seat.h"

#include <ctype.h>
#include <errno.h>
#include <linux/input-event-codes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_names_are_those_of_linux_and_of_people(void **state)
{
	static const struct {
		const char *name;
		uint16_t code;
	} some[] = {
		{ "KEY_A", KEY_A },
		{ "key_a", KEY_A },
		{ "a", KEY_A },
		{ "F12", KEY_F12 },
		{ "Ctrl", KEY_LEFTCTRL },
		{ "del", KEY_DELETE },
		{ "ret", KEY_ENTER },
		{ "102nd", KEY_102ND },
	};

	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		assert_int_equal(key_by_name(some[i].name, strlen(some[i].name)), some[i].code);
	assert_int_equal(key_by_name("", 0), 0);
	assert_int_equal(key_by_name("KEY_", 4), 0);
	assert_int_equal(key_by_name("deleted", 7), 0);
	assert_int_equal(key_by_name("deleted", 6), KEY_DELETE);
}

static void test_a_chord_is_names_with_dashes(void **state)
{
	uint16_t keys[KEYS_AT_ONCE];
	struct err e;

	assert_int_equal(keys_by_names("ctrl-alt-delete", keys, &e), 3);
	assert_int_equal(keys[0], KEY_LEFTCTRL);
	assert_int_equal(keys[1], KEY_LEFTALT);
	assert_int_equal(keys[2], KEY_DELETE);
	assert_int_equal(keys_by_names("a-b-c-d-e-f-g-h", keys, &e), 8);
	assert_int_equal(keys_by_names("a-b-c-d-e-f-g-h-i", keys, &e), -EINVAL);
	assert_string_equal(e.text, "keys: more than 8 at once");
	assert_int_equal(keys_by_names("ctrl-hyper", keys, &e), -EINVAL);
	assert_string_equal(e.text, "keys: 'hyper' is no key; expected names such as ctrl-alt-delete, f5, KEY_A");
	assert_int_equal(keys_by_names("", keys, &e), -EINVAL);
	assert_int_equal(keys_by_names("a-", keys, &e), -EINVAL);
	assert_int_equal(keys_by_names("-a", keys, &e), -EINVAL);
}

/* Every printable character is on a key; two on the same differ by shift. */
static void test_each_character_has_its_key(void **state)
{
	bool shift, other;
	uint16_t key;

	for (int c = ' '; c <= '~'; c++) {
		key = key_by_char((char)c, &shift);
		assert_int_not_equal(key, 0);
		assert_int_equal(key_by_keysym((uint32_t)c), key);
		for (int d = c + 1; d <= '~'; d++)
			if (key_by_char((char)d, &other) == key)
				assert_true(shift != other);
		if (isalpha(c)) {
			assert_int_equal(key_by_name((const char[]){ (char)c }, 1), key);
			assert_int_equal(shift, isupper(c) != 0);
		}
	}
	assert_int_equal(key_by_char('\n', &shift), KEY_ENTER);
	assert_int_equal(key_by_char('|', &shift), KEY_BACKSLASH);
	assert_true(shift);
	assert_int_equal(key_by_char('?', &shift), KEY_SLASH);
	assert_int_equal(key_by_char('\0', &shift), 0);
	assert_int_equal(key_by_char('\x1b', &shift), 0);
	assert_int_equal(key_by_char('\xe4', &shift), 0);
}

static void test_keysyms_of_keys_without_characters(void **state)
{
	assert_int_equal(key_by_keysym(0xff1b), KEY_ESC);
	assert_int_equal(key_by_keysym(0xff0d), KEY_ENTER);
	assert_int_equal(key_by_keysym(0xff52), KEY_UP);
	assert_int_equal(key_by_keysym(0xffbe), KEY_F1);
	assert_int_equal(key_by_keysym(0xffc9), KEY_F12);
	assert_int_equal(key_by_keysym(0xffe3), KEY_LEFTCTRL);
	assert_int_equal(key_by_keysym(0xffe9), KEY_LEFTALT);
	assert_int_equal(key_by_keysym(0xffff), KEY_DELETE);
	for (uint32_t k = 0; k < 0x20000; k++)
		assert_in_range(key_by_keysym(k), 0, SEAT_KEYS - 1);
	assert_int_equal(key_by_keysym(0), 0);
	assert_int_equal(key_by_keysym(~0u), 0);
}

/* --- the seat --- */

struct fake {
	bool listens;
	unsigned int downs, ups;
};

static bool fake_key(void *dev, uint16_t code, bool down)
{
	struct fake *f = dev;

	if (!f->listens)
		return false;
	*(down ? &f->downs : &f->ups) += 1;
	return true;
}

static bool fake_listens(void *dev)
{
	return ((struct fake *)dev)->listens;
}

static const struct seat_device fake_keyboard = { .key = fake_key, .listens = fake_listens };

static void test_a_key_goes_to_the_first_who_listens_and_up_where_it_went_down(void **state)
{
	struct fake a = { 0 }, b = { 0 };
	struct seat *s;

	assert_int_equal(seat_create(&s), 0);
	assert_int_equal(seat_join(s, &fake_keyboard, &a), 0);
	assert_int_equal(seat_join(s, &fake_keyboard, &b), 0);
	assert_false(seat_has_keyboard(s));
	assert_false(seat_key(s, KEY_A, true));
	b.listens = true;
	assert_true(seat_has_keyboard(s));
	assert_true(seat_key(s, KEY_A, true));
	a.listens = true; /* a driver has come */
	assert_true(seat_key(s, KEY_B, true));
	assert_true(seat_key(s, KEY_A, false));
	assert_true(seat_key(s, KEY_B, false));
	assert_int_equal(a.downs, 1);
	assert_int_equal(a.ups, 1);
	assert_int_equal(b.downs, 1);
	assert_int_equal(b.ups, 1);
	/* one that goes takes with it what was down there */
	assert_true(seat_key(s, KEY_A, true));
	seat_leave(s, &a);
	assert_false(seat_key(s, KEY_A, false));
	assert_int_equal(a.ups, 1);
	assert_true(seat_key(s, KEY_A, true));
	assert_int_equal(b.downs, 2);
	seat_destroy(s);
}

static void test_a_seat_is_full(void **state)
{
	struct fake f[SEAT_DEVICES_MAX + 1] = { 0 };
	struct seat *s;

	assert_int_equal(seat_create(&s), 0);
	for (unsigned int i = 0; i < SEAT_DEVICES_MAX; i++)
		assert_int_equal(seat_join(s, &fake_keyboard, &f[i]), 0);
	assert_int_equal(seat_join(s, &fake_keyboard, &f[SEAT_DEVICES_MAX]), -ENOSPC);
	seat_leave(s, &f[1]);
	assert_int_equal(seat_join(s, &fake_keyboard, &f[SEAT_DEVICES_MAX]), 0);
	seat_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_are_those_of_linux_and_of_people),
		cmocka_unit_test(test_a_chord_is_names_with_dashes),
		cmocka_unit_test(test_each_character_has_its_key),
		cmocka_unit_test(test_keysyms_of_keys_without_characters),
		cmocka_unit_test(test_a_key_goes_to_the_first_who_listens_and_up_where_it_went_down),
		cmocka_unit_test(test_a_seat_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
