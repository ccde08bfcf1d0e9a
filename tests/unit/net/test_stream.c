/* SPDX-License-Identifier: Apache-2.0 */
/* test_stream - streams over TCP and UNIX sockets: addresses, deadlines, cuts. */
#include "net/stream.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const char *const places[] = { "tcp:127.0.0.1:0", "[::1]:0", "unix:./test_stream.sock" };

static int connected(const char *where, struct stream_listener **l, struct stream *s[2])
{
	struct err e = { 0 };

	if (stream_listen(where, l, &e))
		return -1;
	assert_int_equal(stream_connect(stream_listener_address(*l), 1000, &s[0], &e), 0);
	assert_int_equal(stream_accept(*l, 1000, &s[1], &e), 0);
	return 0;
}

static void closed(struct stream_listener *l, struct stream *s[2])
{
	stream_close(s[0]);
	stream_close(s[1]);
	stream_listener_close(l);
}

static void *send_much(void *arg)
{
	static uint8_t block[100000];
	struct iovec iov[3];
	struct err e;
	int i;

	for (i = 0; i < 100; i++) {
		memset(block, i, sizeof(block));
		iov[0] = (struct iovec){ block, 1 };
		iov[1] = (struct iovec){ block, 0 };
		iov[2] = (struct iovec){ block + 1, sizeof(block) - 1 };
		if (stream_writev(arg, iov, 3, 2000, &e))
			break;
	}
	return NULL;
}

static void bytes_arrive_in_order_over_each_transport(void **state)
{
	static uint8_t buf[100000];
	struct stream_listener *l;
	struct stream *s[2];
	struct iovec iov[2];
	struct err e;
	pthread_t t;
	size_t p;
	int i;

	for (p = 0; p < 3; p++) {
		if (connected(places[p], &l, s))
			continue; /* no IPv6 here */
		pthread_create(&t, NULL, send_much, s[0]);
		for (i = 0; i < 100; i++) {
			iov[0] = (struct iovec){ buf, 33333 };
			iov[1] = (struct iovec){ buf + 33333, sizeof(buf) - 33333 };
			assert_int_equal(stream_readv_full(s[1], iov, 2, 2000, &e), 0);
			assert_int_equal(buf[0], i);
			assert_int_equal(buf[99999], i);
		}
		pthread_join(t, NULL);
		closed(l, s);
	}
}

static void every_wait_has_a_deadline(void **state)
{
	static uint8_t big[1 << 20];
	struct stream_listener *l;
	struct stream *s[2], *none;
	struct iovec iov;
	struct err e;
	uint64_t t;
	int i, rc = 0;

	assert_int_equal(connected(places[0], &l, s), 0);
	t = clock_ms();
	assert_int_equal(stream_read_full(s[1], big, 1, 60, &e), -ETIMEDOUT);
	assert_int_equal(stream_accept(l, 60, &none, &e), -ETIMEDOUT);
	for (i = 0; i < 1000 && !rc; i++) {
		iov = (struct iovec){ big, sizeof(big) };
		rc = stream_writev(s[0], &iov, 1, 60, &e); /* nobody reads */
	}
	assert_int_equal(rc, -ETIMEDOUT);
	assert_in_range(clock_ms() - t, 180, 3000);
	closed(l, s);
}

static void *cut_soon(void *arg)
{
	usleep(50000);
	stream_shutdown(arg);
	return NULL;
}

static void a_cut_wakes_who_waits(void **state)
{
	struct stream_listener *l;
	struct stream *s[2];
	uint8_t c;
	struct err e;
	uint64_t t;
	pthread_t th;

	assert_int_equal(connected(places[2], &l, s), 0);
	t = clock_ms();
	pthread_create(&th, NULL, cut_soon, s[1]);
	assert_int_equal(stream_read_full(s[1], &c, 1, 10000, &e), -ECONNRESET);
	assert_in_range(clock_ms() - t, 40, 2000);
	pthread_join(th, NULL);
	closed(l, s);
}

static void a_wrong_address_is_one_clear_line(void **state)
{
	static const char *const wrong[] = { "", "host", "host:", ":1", "host:x", "host:70000", "::1:5",
					     "[::1:5", "unix:" };
	struct stream *s;
	struct err e;
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(stream_connect(wrong[i], 100, &s, &e), -EINVAL);
		assert_null(strchr(e.text, '\n'));
		assert_true(strlen(e.text) > 10);
	}
	assert_int_equal(stream_connect("127.0.0.1:1", 1000, &s, &e), -ECONNREFUSED);
	assert_non_null(strstr(e.text, "127.0.0.1:1: connecting"));
}

static void a_socket_left_by_a_dead_process_is_taken_over(void **state)
{
	struct stream_listener *a, *b;
	char copy[] = "./left.sock";
	struct err e;

	assert_int_equal(stream_listen("unix:./left.sock", &a, &e), 0);
	assert_int_equal(stream_listen("unix:./left.sock", &b, &e), -EBUSY);
	assert_int_equal(rename(copy, "./left2.sock"), 0);
	stream_listener_close(a);
	assert_int_equal(rename("./left2.sock", copy), 0);
	assert_int_equal(stream_listen("unix:./left.sock", &b, &e), 0);
	stream_listener_close(b);
	assert_int_equal(access(copy, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_arrive_in_order_over_each_transport),
		cmocka_unit_test(every_wait_has_a_deadline),
		cmocka_unit_test(a_cut_wakes_who_waits),
		cmocka_unit_test(a_wrong_address_is_one_clear_line),
		cmocka_unit_test(a_socket_left_by_a_dead_process_is_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
