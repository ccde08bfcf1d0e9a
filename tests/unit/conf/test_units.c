/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and times: what is read, what is refused, and that printing reads back. */
#include "conf/units.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

static void sizes_are_powers_of_two(void **state)
{
	uint64_t v;

	assert_int_equal(units_parse_size("4G", &v), 0);
	assert_true(v == 4ull << 30);
	assert_int_equal(units_parse_size("512MiB", &v), 0);
	assert_true(v == 512ull << 20);
	assert_int_equal(units_parse_size("0B", &v), 0);
	assert_true(v == 0);
}

static void a_size_without_unit_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"4096",
		"G",
		"4X",
		"4 G",
		" 4G",
		"-4G",
		"+4G",
		"0x4G",
		"4.5G",
		"4GG",
		"4g",
	};
	uint64_t v;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(units_parse_size(bad[i], &v), -EINVAL);
}

static void more_than_64_bits_is_refused(void **state)
{
	uint64_t v;

	assert_int_equal(units_parse_size("18446744073709551615B", &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(units_parse_size("18446744073709551616B", &v), -ERANGE);
	assert_int_equal(units_parse_size("16777216T", &v), -ERANGE);
	assert_int_equal(units_parse_ms("9999999999999999h", &v), -ERANGE);
}

static void times_are_milliseconds(void **state)
{
	uint64_t v;

	assert_int_equal(units_parse_ms("250ms", &v), 0);
	assert_true(v == 250);
	assert_int_equal(units_parse_ms("3s", &v), 0);
	assert_true(v == 3000);
	assert_int_equal(units_parse_ms("2m", &v), 0);
	assert_true(v == 120000);
	assert_int_equal(units_parse_ms("1h", &v), 0);
	assert_true(v == 3600000);
	assert_int_equal(units_parse_ms("3", &v), -EINVAL);
}

static void what_is_printed_reads_back(void **state)
{
	static const uint64_t values[] = {
		0,
		1,
		1023,
		1024,
		1 << 20,
		3ull << 30,
		(3ull << 30) + 1,
		1ull << 42,
		UINT64_MAX,
	};
	char buf[UNITS_TEXT_MAX];
	uint64_t v;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		assert_int_equal(units_parse_size(units_print_size(values[i], buf), &v), 0);
		assert_true(v == values[i]);
		assert_int_equal(units_parse_ms(units_print_ms(values[i], buf), &v), 0);
		assert_true(v == values[i]);
	}
	assert_string_equal(units_print_size(3ull << 30, buf), "3G");
	assert_string_equal(units_print_ms(1500, buf), "1500ms");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_powers_of_two),
		cmocka_unit_test(a_size_without_unit_is_refused),
		cmocka_unit_test(more_than_64_bits_is_refused),
		cmocka_unit_test(times_are_milliseconds),
		cmocka_unit_test(what_is_printed_reads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
