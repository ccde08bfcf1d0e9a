/* SPDX-License-Identifier: Apache-2.0 */
/* State tables: the round trip, and every way in which a stream may lie (rule S). */
#include "hv/state.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct toy {
	uint8_t a;
	uint16_t b;
	uint32_t c;
	uint64_t d;
	uint16_t list[3];
	uint8_t blob[5];
	int not_in_the_table;
	int saves, loads;
};

static int toy_pre_save(void *dev, struct err *e)
{
	((struct toy *)dev)->saves++;
	return 0;
}

static int toy_post_load(void *dev, struct err *e)
{
	struct toy *t = dev;

	t->loads++;
	if (t->a > 100)
		return err_set(e, -EINVAL, "a: %u, expected at most 100", t->a);
	return 0;
}

static const struct state_field toy_fields[] = {
	STATE_U8(struct toy, a),
	STATE_U16(struct toy, b),
	STATE_U32(struct toy, c),
	STATE_U64(struct toy, d),
	STATE_ARRAY(struct toy, list, sizeof(uint16_t)),
	STATE_ARRAY(struct toy, blob, sizeof(uint8_t)),
	STATE_END,
};

static const struct state_desc toy_desc = {
	.name = "toy", .version = 3, .min_version = 2, .fields = toy_fields,
	.pre_save = toy_pre_save, .post_load = toy_post_load,
};

static struct toy sample(void)
{
	return (struct toy){ .a = 7, .b = 0x1234, .c = 0xdeadbeef, .d = 1ull << 60,
			     .list = { 1, 2, 0xffff }, .blob = "hall", .not_in_the_table = 9 };
}

static size_t save(struct toy *t, uint8_t *buf, size_t len)
{
	struct state_entry s = { .desc = &toy_desc, .instance = "toy0", .dev = t };
	struct writer w = writer_make(buf, len);

	assert_int_equal(state_save_one(&s, &w, NULL), 0);
	return writer_len(&w);
}

static int load(struct toy *t, uint16_t version, const uint8_t *buf, size_t len, struct err *e)
{
	struct state_entry s = { .desc = &toy_desc, .instance = "toy0", .dev = t };
	struct reader r = reader_make(buf, len);

	return state_load_one(&s, version, &r, e);
}

static void test_what_is_saved_is_loaded(void **state)
{
	struct toy a = sample(), b = { .not_in_the_table = 42 };
	uint8_t buf[256];
	size_t n = save(&a, buf, sizeof(buf));

	assert_int_equal(load(&b, 3, buf, n, NULL), 0);
	assert_int_equal(b.b, 0x1234);
	assert_int_equal(b.c, 0xdeadbeef);
	assert_true(b.d == 1ull << 60);
	assert_int_equal(b.list[2], 0xffff);
	assert_string_equal((char *)b.blob, "hall");
	assert_int_equal(b.not_in_the_table, 42);
	assert_int_equal(a.saves, 1);
	assert_int_equal(b.loads, 1);
}

static void test_numbers_cross_in_little_endian(void **state)
{
	struct toy a = sample();
	uint8_t buf[256];

	save(&a, buf, sizeof(buf));
	/* field 0: tag 0 size 1 value 7; field 1: tag 1 size 2 value 0x1234 */
	assert_memory_equal(buf, "\x00\x00\x01\x00\x07\x01\x00\x02\x00\x34\x12", 11);
}

static void test_absent_field_keeps_its_reset_value(void **state)
{
	struct toy b = { .c = 55 };

	assert_int_equal(load(&b, 2, (const uint8_t *)"\x00\x00\x01\x00\x07", 5, NULL), 0);
	assert_int_equal(b.a, 7);
	assert_int_equal(b.c, 55);
}

static void test_unknown_field_is_refused_with_its_number(void **state)
{
	struct toy b = { 0 };
	struct err e;

	assert_int_equal(load(&b, 3, (const uint8_t *)"\x63\x00\x01\x00\x07", 5, &e), -EINVAL);
	assert_non_null(strstr(e.text, "toy0: unknown field 99"));
}

static void test_wrong_size_is_refused(void **state)
{
	struct toy b = { 0 };
	struct err e;

	assert_int_equal(load(&b, 3, (const uint8_t *)"\x01\x00\x01\x00\x07", 5, &e), -EINVAL);
	assert_non_null(strstr(e.text, "b: 1 bytes, expected 2"));
}

/* The same device in a program with room for more, and for less. */
struct long_list {
	uint16_t list[40];
};

struct short_list {
	uint16_t list[2];
};

static int nothing(void *dev, struct err *e)
{
	return 0;
}

static const struct state_field long_fields[] = { STATE_ARRAY(struct long_list, list, sizeof(uint16_t)), STATE_END };
static const struct state_field short_fields[] = { STATE_ARRAY(struct short_list, list, sizeof(uint16_t)), STATE_END };

static int carry(const struct state_field *from, void *a, const struct state_field *to, void *b, size_t *n,
		 struct err *e)
{
	struct state_desc there = { .name = "l", .version = 1, .min_version = 1, .fields = from,
				    .pre_save = nothing, .post_load = nothing }, here = there;
	struct state_entry s = { .desc = &there, .instance = "l0", .dev = a };
	struct state_entry l = { .desc = &here, .instance = "l0", .dev = b };
	uint8_t buf[256];
	struct writer w = writer_make(buf, sizeof(buf));
	struct reader r;

	here.fields = to;
	assert_int_equal(state_save_one(&s, &w, NULL), 0);
	*n = writer_len(&w);
	r = reader_make(buf, *n);
	return state_load_one(&l, 1, &r, e);
}

static void test_a_larger_maximum_changes_no_stream(void **state)
{
	struct short_list a = { { 7, 8 } }, back;
	struct long_list b;
	size_t n, m;

	memset(&b, 0xee, sizeof(b));
	assert_int_equal(carry(short_fields, &a, long_fields, &b, &n, NULL), 0);
	assert_int_equal(b.list[1], 8);
	assert_int_equal(b.list[2], 0);
	assert_int_equal(b.list[39], 0);
	/* And back, as long as no more is in use than there is room for. */
	assert_int_equal(carry(long_fields, &b, short_fields, &back, &m, NULL), 0);
	assert_int_equal(n, m);
	assert_memory_equal(&a, &back, sizeof(a));
}

static void test_more_elements_in_use_than_there_is_room_for_are_refused_by_name(void **state)
{
	struct long_list b = { { 1, 0, 3 } };
	struct short_list a;
	struct err e;
	size_t n;

	assert_int_equal(carry(long_fields, &b, short_fields, &a, &n, &e), -EINVAL);
	assert_string_equal(e.text, "l0: list: 3 elements in use there, room for 2 here");
}

static void test_every_truncation_inside_a_field_is_refused(void **state)
{
	struct toy a = sample();
	uint8_t buf[256];
	size_t n = save(&a, buf, sizeof(buf)), accepted = 0;

	for (size_t len = 0; len < n; len++) {
		struct toy b = { 0 };

		if (load(&b, 3, buf, len, NULL) == 0)
			accepted++;
	}
	assert_int_equal(accepted, 6); /* only at the six boundaries between fields */
}

static void test_version_outside_the_range_is_refused(void **state)
{
	struct toy b = { 0 };
	struct err e;

	assert_int_equal(load(&b, 1, NULL, 0, &e), -EINVAL);
	assert_int_equal(load(&b, 4, NULL, 0, &e), -EINVAL);
	assert_non_null(strstr(e.text, "reads 2 to 3"));
	assert_int_equal(b.loads, 0);
}

static void test_device_may_refuse_a_value(void **state)
{
	struct toy b = { 0 };
	struct err e;

	assert_int_equal(load(&b, 3, (const uint8_t *)"\x00\x00\x01\x00\xc8", 5, &e), -EINVAL);
	assert_string_equal(e.text, "toy0: a: 200, expected at most 100");
}

static void test_full_buffer_is_an_error(void **state)
{
	struct toy a = sample();
	struct state_entry s = { .desc = &toy_desc, .instance = "toy0", .dev = &a };
	uint8_t buf[8];
	struct writer w = writer_make(buf, sizeof(buf));

	assert_int_equal(state_save_one(&s, &w, NULL), -ENOSPC);
}

static void test_print_names_every_field(void **state)
{
	struct toy a = sample();
	struct state_entry s = { .desc = &toy_desc, .instance = "toy0", .dev = &a };
	json_t *j = state_print(&s);

	assert_int_equal(json_integer_value(json_object_get(j, "b")), 0x1234);
	assert_int_equal(json_integer_value(json_array_get(json_object_get(j, "list"), 2)), 0xffff);
	assert_string_equal(json_string_value(json_object_get(j, "blob")), "68616c6c00");
	assert_int_equal(json_object_size(j), 6);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_saved_is_loaded),
		cmocka_unit_test(test_numbers_cross_in_little_endian),
		cmocka_unit_test(test_absent_field_keeps_its_reset_value),
		cmocka_unit_test(test_unknown_field_is_refused_with_its_number),
		cmocka_unit_test(test_wrong_size_is_refused),
		cmocka_unit_test(test_a_larger_maximum_changes_no_stream),
		cmocka_unit_test(test_more_elements_in_use_than_there_is_room_for_are_refused_by_name),
		cmocka_unit_test(test_every_truncation_inside_a_field_is_refused),
		cmocka_unit_test(test_version_outside_the_range_is_refused),
		cmocka_unit_test(test_device_may_refuse_a_value),
		cmocka_unit_test(test_full_buffer_is_an_error),
		cmocka_unit_test(test_print_names_every_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
