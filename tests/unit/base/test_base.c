/* SPDX-License-Identifier: Apache-2.0 */
/* base: error text, checked byte fields, checksum. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/number.h"
#include "base/reserve.h"
#include "base/text.h"
#include "base/wait.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void an_error_keeps_its_text_behind_each_prefix(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_set(&e, -EINVAL, "memory: got '%s'", "4X"), -EINVAL);
	err_prefix(&e, "%s:%d", "web.yaml", 7);
	assert_string_equal(e.text, "web.yaml:7: memory: got '4X'");
	assert_int_equal(err_set(NULL, -EIO, "nobody reads"), -EIO);
	err_prefix(NULL, "x");
}

/* The name of a thing comes first, and what is wrong with it last. */
static void a_long_name_does_not_hide_what_is_wrong(void **state)
{
	struct err e = { 0 };
	char path[4096];

	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	errno = ENOENT;
	assert_int_equal(err_errno(&e, "disk %s", path), -ENOENT);
	assert_memory_equal(e.text, "disk ppp", 8);
	assert_non_null(strstr(e.text, "ppp: No such file or directory"));
	err_set(&e, -EINVAL, "disk %s: is empty", path);
	assert_non_null(strstr(e.text, "p ... p"));
	assert_non_null(strstr(e.text, ": is empty"));
	err_prefix(&e, "%s", path);
	assert_non_null(strstr(e.text, ": is empty"));
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

static void what_others_wrote_is_one_harmless_line(void **state)
{
	static const struct {
		const char *raw, *clean;
	} rows[] = {
		{ "", "" },
		{ "as it is", "as it is" },
		{ "Gr\xc3\xb6\xc3\x9f"
		  "e \xe2\x82\xac \xf0\x9f\x90\x84",
		  "Gr\xc3\xb6\xc3\x9f"
		  "e \xe2\x82\xac \xf0\x9f\x90\x84" },
		{ "\x1b[2Jgone", "?[2Jgone" },
		{ "one\ntwo\r\tthree\x7f", "one?two??three?" },
		{ "\xc2\x9b"
		  "2J and \x9b"
		  "2J",
		  "?2J and ?2J" }, /* CSI of C1, as UTF-8 and as a byte */
		{ "\xe2\x80\xae"
		  "abc\xe2\x81\xa6\xe2\x80\xa8",
		  "?abc??" },                                           /* right to left, isolate, line separator */
		{ "\xc0\x9b \xe0\x82\x9b \xed\xa0\x80", "?? ??? ???" }, /* overlong twice, half a surrogate */
		{ "\xf4\x90\x80\x80 \xff", "???? ?" },
		{ "\xe2\x82 x", "?? x" },
		{ "cut \xe2\x82", "cut " },
		{ "cut \xf0\x9f\x90", "cut " },
		{ "\xc3", "" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char buf[64];

		strcpy(buf, rows[i].raw);
		assert_int_equal(text_clean(buf), strlen(rows[i].clean));
		assert_string_equal(buf, rows[i].clean);
	}
}

static void a_text_is_cut_between_two_characters(void **state)
{
	struct err e;
	char buf[6], path[sizeof(e.text) + 2];
	size_t at;

	text_copy(buf, sizeof(buf), "ab\xe2\x82\xac"
				    "c");
	assert_string_equal(buf, "ab\xe2\x82\xac");
	text_copy(buf, sizeof(buf), "abc\xe2\x82\xac"
				    "c");
	assert_string_equal(buf, "abc");
	/* Wherever an error's text ends. */
	for (at = 0; at < 3; at++) {
		memset(path, 'x', at);
		for (size_t i = at; i + 2 < sizeof(path); i += 2)
			memcpy(path + i, "\xc3\xa4", 3);
		path[sizeof(path) - 1] = '\0';
		err_set(&e, -EIO, "%s", path);
		err_prefix(&e, "%s", path);
		assert_int_equal((strlen(e.text) - at) % 2, 0);
	}
}

static void an_errno_names_its_exit_code(void **state)
{
	assert_int_equal(err_exit_code(-EINVAL), EXIT_USAGE);
	assert_int_equal(err_exit_code(-ENOENT), EXIT_NOTFOUND);
	assert_int_equal(err_exit_code(-ETIMEDOUT), EXIT_TIMEOUT);
	assert_int_equal(err_exit_code(-EBUSY), EXIT_REFUSED);
	assert_int_equal(err_exit_code(-EIO), EXIT_ERROR);
}

static void a_reader_never_passes_its_end(void **state)
{
	uint8_t b[6] = { 1, 2, 3, 4, 5, 6 };
	struct reader r = reader_make(b, sizeof(b));

	assert_int_equal(reader_u32(&r), 0x04030201);
	assert_false(r.bad);
	assert_int_equal(reader_u32(&r), 0);
	assert_true(r.bad);
	assert_int_equal(reader_u16(&r), 0); /* bad stays bad though two bytes are left */
}

static void a_writer_never_passes_its_end(void **state)
{
	uint8_t b[8];
	struct writer w = writer_make(b, 6);

	writer_u32(&w, 0x04030201);
	assert_false(w.bad);
	writer_u32(&w, 7);
	assert_true(w.bad);
	assert_int_equal(writer_len(&w), 4);
	assert_int_equal(b[0], 1);
}

static void crc32c_agrees_with_rfc3720_at_every_length_and_split(void **state)
{
	enum {
		N = 10000
	};
	uint8_t *b = malloc(N);
	uint32_t whole, bit, slow;
	size_t i, len;

	/* RFC 3720 B.4 */
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	for (i = 0; i < N; i++)
		b[i] = (uint8_t)(i * 2654435761u >> 13);
	for (len = 1; len < N; len += 997) {
		slow = ~0u;
		for (i = 0; i < len; i++)
			for (slow ^= b[i], bit = 0; bit < 8; bit++)
				slow = slow >> 1 ^ (slow & 1 ? 0x82f63b78u : 0);
		whole = crc32c(0, b, len);
		assert_int_equal(whole, ~slow);
		assert_int_equal(crc32c(crc32c(0, b, len / 3), b + len / 3, len - len / 3), whole);
	}
	free(b);
}

static void a_number_is_digits_and_nothing_else(void **state)
{
	static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "-0", "0x10", "1e3", "12a", "4\n",
					   "18446744073709551616", "99999999999999999999" };
	uint64_t n = 77;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(number_parse(bad[i], 0, UINT64_MAX, &n));
	assert_false(number_parse("4", 5, 9, &n));
	assert_false(number_parse("10", 5, 9, &n));
	assert_int_equal(n, 77);
	assert_true(number_parse("5", 5, 9, &n) && n == 5);
	assert_true(number_parse("009", 5, 9, &n) && n == 9);
	assert_true(number_parse("18446744073709551615", 0, UINT64_MAX, &n) && n == UINT64_MAX);
}

static void bytes_and_their_digits(void **state)
{
	static const char *const bad[] = { "", "00ff7", "00ff7g", "00ff7f0", "00ff7f00", "0 ff7f", "-1ff7f", "00ff7\xb1" };
	uint8_t bytes[3] = { 0, 0xff, 0x7f }, back[3] = { 0 };
	char text[7];
	size_t i;

	hex_print(bytes, sizeof(bytes), text);
	assert_string_equal(text, "00ff7f");
	assert_true(hex_read("00Ff7F", back, sizeof(back)));
	assert_memory_equal(back, bytes, sizeof(bytes));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(hex_read(bad[i], back, sizeof(back)));
	assert_int_equal(hex_byte("0"), -1);
	assert_int_equal(hex_digit('`'), -1); /* 0x60, between the cases */
	assert_int_equal(hex_digit('@'), -1);
}

struct waited {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void *signal_it(void *arg)
{
	struct waited *w = arg;

	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void a_wait_ends_at_its_deadline_or_when_woken(void **state)
{
	struct waited w = { .lock = PTHREAD_MUTEX_INITIALIZER };
	uint64_t deadline = wait_now() + 20 * NS_PER_MS;
	pthread_t thread;

	wait_init(&w.cond);
	pthread_mutex_lock(&w.lock);
	while (wait_until(&w.cond, &w.lock, deadline))
		;
	assert_true(wait_now() >= deadline);
	assert_false(wait_until(&w.cond, &w.lock, 0)); /* long past: no sleep */
	assert_int_equal(pthread_create(&thread, NULL, signal_it, &w), 0);
	while (!w.done)
		assert_true(wait_until(&w.cond, &w.lock, wait_now() + 60 * NS_PER_SEC));
	pthread_mutex_unlock(&w.lock);
	pthread_join(thread, NULL);
	pthread_cond_destroy(&w.cond);
}

static void what_is_reserved_is_zero_and_costs_nothing_until_it_is_touched(void **state)
{
	const size_t size = (size_t)1 << 37; /* more than there is; of 1.5 TiB for all that the thread sanitizer leaves */
	uint8_t *p = reserve_make(size);

	(void)state;
	assert_non_null(p);
	assert_int_equal(p[0] | p[size / 2] | p[size - 1], 0);
	p[size - 1] = 1;
	reserve_free(p, size);
	reserve_free(NULL, size);
	assert_null(reserve_make((size_t)1 << 60));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_long_name_does_not_hide_what_is_wrong),
		cmocka_unit_test(what_is_reserved_is_zero_and_costs_nothing_until_it_is_touched),
		cmocka_unit_test(an_error_keeps_its_text_behind_each_prefix),
		cmocka_unit_test(what_others_wrote_is_one_harmless_line),
		cmocka_unit_test(a_text_is_cut_between_two_characters),
		cmocka_unit_test(an_errno_names_its_exit_code),
		cmocka_unit_test(a_reader_never_passes_its_end),
		cmocka_unit_test(a_writer_never_passes_its_end),
		cmocka_unit_test(a_number_is_digits_and_nothing_else),
		cmocka_unit_test(bytes_and_their_digits),
		cmocka_unit_test(a_wait_ends_at_its_deadline_or_when_woken),
		cmocka_unit_test(crc32c_agrees_with_rfc3720_at_every_length_and_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
