/* SPDX-License-Identifier: Apache-2.0 */
/* State tables: the round trip, and every way in which a stream may lie (rule S). */
#include "hv/device/state.h"

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
	uint16_t n;
	uint32_t key[4];
	uint64_t value[4];
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
	STATE_COUNTED(struct toy, key, sizeof(uint32_t), n),
	STATE_COUNTED(struct toy, value, sizeof(uint64_t), n),
	STATE_END,
};

static const struct state_desc toy_desc = {
	.name = "toy",
	.version = 3,
	.min_version = 2,
	.fields = toy_fields,
	.pre_save = toy_pre_save,
	.post_load = toy_post_load,
};

static struct toy sample(void)
{
	return (struct toy){
		.a = 7,
		.b = 0x1234,
		.c = 0xdeadbeef,
		.d = 1ull << 60,
		.list = { 1, 2, 0xffff },
		.blob = "hall",
		.n = 2,
		.key = { 10, 11 },
		.value = { 100, 1ull << 40 },
		.not_in_the_table = 9,
	};
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
	assert_int_equal(b.n, 2);
	assert_int_equal(b.key[1], 11);
	assert_true(b.value[1] == 1ull << 40);
	assert_int_equal(b.not_in_the_table, 42);
	assert_int_equal(a.saves, 1);
	assert_int_equal(b.loads, 1);
}

static void test_numbers_cross_in_little_endian(void **state)
{
	struct toy a = sample();
	uint8_t buf[256];

	save(&a, buf, sizeof(buf));
	/* per field: u16 tag, u16 size of an element, u32 elements, elements */
	assert_memory_equal(buf, "\x00\x00\x01\x00\x01\x00\x00\x00\x07"
				 "\x01\x00\x02\x00\x01\x00\x00\x00\x34\x12",
			    19);
}

/* Fields as a peer might send them. */
static size_t put_field(uint8_t *buf, size_t at, uint16_t tag, uint16_t size, uint32_t count, const void *data,
			size_t len)
{
	struct writer w = writer_make(buf + at, 256 - at);

	writer_u16(&w, tag);
	writer_u16(&w, size);
	writer_u32(&w, count);
	writer_bytes(&w, data, len);
	assert_false(w.bad);
	return at + writer_len(&w);
}

static void refused(const uint8_t *buf, size_t len, const char *text)
{
	static const struct toy zero;
	struct toy b = { 0 };
	struct err e;

	assert_int_equal(load(&b, 3, buf, len, &e), -EINVAL);
	assert_string_equal(e.text, text);
	assert_memory_equal(&b, &zero, sizeof(b)); /* nothing of it was loaded */
}

static void test_absent_field_keeps_its_reset_value(void **state)
{
	struct toy b = { .c = 55 };
	uint8_t buf[256];

	assert_int_equal(load(&b, 2, buf, put_field(buf, 0, 0, 1, 1, "\x07", 1), NULL), 0);
	assert_int_equal(b.a, 7);
	assert_int_equal(b.c, 55);
}

static void test_unknown_field_is_refused_with_its_number(void **state)
{
	uint8_t buf[256];

	refused(buf, put_field(buf, 0, 99, 1, 1, "\x07", 1), "toy0: unknown field 99, this program knows 8");
}

static void test_wrong_size_is_refused(void **state)
{
	uint8_t buf[256];

	refused(buf, put_field(buf, 0, 1, 1, 1, "\x07", 1), "toy0: b: elements of 1 bytes, expected 2");
	refused(buf, put_field(buf, 0, 1, 0, 9, "\x07", 1), "toy0: b: elements of 0 bytes, expected 2");
}

/* Each comes behind a good field, which must not have been loaded either. */
static void test_a_count_that_cannot_be_is_refused_before_anything_is_loaded(void **state)
{
	uint8_t buf[256], data[64] = { 1 };
	size_t n = put_field(buf, 0, 0, 1, 1, "\x07", 1);

	refused(buf, put_field(buf, n, 6, 4, 4, data, 15),
		"toy0: key: 4 elements of 4 bytes, but 15 bytes are left");
	refused(buf, put_field(buf, n, 6, 4, 5, data, 20), "toy0: key: 5 elements there, room for 4 here");
	refused(buf, put_field(buf, n, 6, 4, 0x40000000, data, 0),
		"toy0: key: 1073741824 elements there, room for 4 here"); /* 4 times that is 0 in 32 bits */
	refused(buf, put_field(buf, n, 4, 2, 4, data, 8), "toy0: list: 4 elements there, room for 3 here");
	refused(buf, put_field(buf, n, 3, 8, 0, data, 0), "toy0: d: 0 elements, expected 1");
	refused(buf, put_field(buf, n, 3, 8, 2, data, 16), "toy0: d: 2 elements there, room for 1 here");
	refused(buf, n + 5, "toy0: d: ends before its count");
	refused(buf, n + 1, "toy0: state is truncated");
}

static void test_no_elements_are_an_array_too(void **state)
{
	struct toy b = sample();
	uint8_t buf[256];
	size_t n = put_field(buf, 0, 4, 2, 0, NULL, 0);

	n = put_field(buf, n, 6, 4, 0, NULL, 0);
	n = put_field(buf, n, 7, 8, 0, NULL, 0);
	assert_int_equal(load(&b, 3, buf, n, NULL), 0);
	assert_int_equal(b.list[0], 0);
	assert_int_equal(b.n, 0);
	assert_int_equal(b.key[1], 0);
	assert_true(b.value[1] == 0);
}

static void test_arrays_of_one_count_have_one(void **state)
{
	uint8_t buf[256], data[64] = { 1 };
	size_t n = put_field(buf, 0, 6, 4, 2, data, 8);

	refused(buf, put_field(buf, n, 7, 8, 3, data, 24), "toy0: value: 3 elements, but key has 2");
}

static void test_fields_come_once_and_in_order(void **state)
{
	uint8_t buf[256];
	size_t n = put_field(buf, 0, 1, 2, 1, "\x07", 2);

	refused(buf, put_field(buf, n, 1, 2, 1, "\x08", 2), "toy0: b comes after b");
	refused(buf, put_field(buf, n, 0, 1, 1, "\x08", 1), "toy0: a comes after b");
}

/* The same device in a program with room for more, and for less. */
struct long_list {
	uint32_t n;
	uint16_t list[40];
};

struct short_list {
	uint8_t n;
	uint16_t list[2];
};

static int nothing(void *dev, struct err *e)
{
	return 0;
}

static const struct state_field long_fields[] = {
	STATE_COUNTED(struct long_list, list, sizeof(uint16_t), n), STATE_END
};
static const struct state_field short_fields[] = {
	STATE_COUNTED(struct short_list, list, sizeof(uint16_t), n), STATE_END
};

static int carry(const struct state_field *from, void *a, const struct state_field *to, void *b, size_t *n,
		 struct err *e)
{
	struct state_desc there = {
		.name = "l",
		.version = 1,
		.min_version = 1,
		.fields = from,
		.pre_save = nothing,
		.post_load = nothing,
	};
	struct state_desc here = there;
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
	struct short_list a = { 2, { 7, 8 } }, back;
	struct long_list b;
	size_t n, m;

	memset(&b, 0xee, sizeof(b));
	memset(&back, 0, sizeof(back));
	assert_int_equal(carry(short_fields, &a, long_fields, &b, &n, NULL), 0);
	assert_int_equal(b.n, 2);
	assert_int_equal(b.list[1], 8);
	assert_int_equal(b.list[2], 0);
	assert_int_equal(b.list[39], 0);
	/* And back, as long as no more is in use than there is room for. */
	assert_int_equal(carry(long_fields, &b, short_fields, &back, &m, NULL), 0);
	assert_int_equal(n, m);
	assert_int_equal(back.n, 2);
	assert_memory_equal(a.list, back.list, sizeof(a.list));
}

static void test_more_elements_in_use_than_there_is_room_for_are_refused_by_name(void **state)
{
	struct long_list b = { 3, { 1, 0, 0 } };
	struct short_list a;
	struct err e;
	size_t n;

	assert_int_equal(carry(long_fields, &b, short_fields, &a, &n, &e), -EINVAL);
	assert_string_equal(e.text, "l0: list: 3 elements there, room for 2 here");
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
	assert_int_equal(accepted, 8); /* only at the eight boundaries between fields */
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
	uint8_t buf[256];
	struct err e;

	assert_int_equal(load(&b, 3, buf, put_field(buf, 0, 0, 1, 1, "\xc8", 1), &e), -EINVAL);
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
	assert_int_equal(json_array_size(json_object_get(j, "key")), 2); /* what is in use */
	assert_int_equal(json_object_size(j), 8);
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
		cmocka_unit_test(test_a_count_that_cannot_be_is_refused_before_anything_is_loaded),
		cmocka_unit_test(test_no_elements_are_an_array_too),
		cmocka_unit_test(test_arrays_of_one_count_have_one),
		cmocka_unit_test(test_fields_come_once_and_in_order),
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
