/* SPDX-License-Identifier: Apache-2.0 */
/* porter: it does the few things it is there for, and believes nothing that it is asked (cmd/drover-hv/porter.h). */
#include "cmd/drover-hv/porter_int.h"

#include "base/unix_socket.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/drover-test-porter-XXXXXX";
static char control[64], other[64];

static struct porter *started(void)
{
	const char *const sockets[PORTER_SOCKETS] = { [PORTER_CONTROL] = control, [PORTER_CONSOLE] = other };
	struct porter *p;
	struct err e;

	if (porter_start(&p, sockets, NULL, 0, &e))
		fail_msg("%s", e.text);
	return p;
}

static void test_it_connects_and_hands_the_socket_over(void **state)
{
	int listener = unix_socket_listen(control, 0600, 4, "test", NULL), there;
	struct porter *p = started();
	struct stream *s;
	char address[80], buf[2] = { 0 };
	struct err e;

	(void)state;
	snprintf(address, sizeof(address), "unix:%s", control);
	assert_int_equal(porter_connect(p, address, 1000, &s, &e), 0);
	assert_string_equal(s->peer, address);
	there = accept(listener, NULL, NULL);
	assert_true(there >= 0);
	assert_int_equal(write(there, "hi", 2), 2);
	assert_int_equal(stream_read_full(s, buf, 2, 1000, &e), 0);
	assert_memory_equal(buf, "hi", 2);
	/* It keeps nothing of it. */
	stream_close(s);
	assert_int_equal(read(there, buf, 1), 0);
	close(there);
	close(listener);
	porter_stop(p);
	unlink(control);
}

static void test_why_there_is_no_connection_is_told(void **state)
{
	char address[80], longest[PORTER_ADDRESS_MAX + 1] = { 0 };
	struct porter *p = started();
	struct stream *s;
	struct err e;

	(void)state;
	snprintf(address, sizeof(address), "unix:%s", control);
	assert_int_equal(porter_connect(p, address, 1000, &s, &e), -ENOENT);
	assert_non_null(strstr(e.text, control));
	assert_int_equal(porter_connect(p, "tcp:127.0.0.1:1", 1000, &s, &e), -ECONNREFUSED);
	assert_int_equal(porter_connect(p, "nonsense", 1000, &s, &e), -EINVAL);
	memset(longest, 'a', PORTER_ADDRESS_MAX);
	assert_int_equal(porter_connect(p, longest, 1000, &s, &e), -ENAMETOOLONG);
	porter_stop(p);
}

static void test_it_removes_its_sockets_and_nothing_else(void **state)
{
	int fd = unix_socket_listen(control, 0600, 4, "test", NULL);
	struct porter *p = started();
	struct stat st;
	FILE *f = fopen(other, "w");

	(void)state;
	fclose(f);
	close(fd);
	porter_remove(p, PORTER_CONTROL);
	porter_remove(p, PORTER_CONSOLE);  /* a file has come there meanwhile */
	porter_remove(p, PORTER_INCOMING); /* there is none */
	assert_int_equal(lstat(control, &st), -1);
	assert_int_equal(lstat(other, &st), 0);
	porter_stop(p);
	unlink(other);
}

static void test_paths_may_lie_where_it_is_named(void **state)
{
	int fd = unix_socket_listen(control, 0600, 4, "test", NULL);
	char args[64];
	const char *const sockets[PORTER_SOCKETS] = { [PORTER_CONTROL] = args };
	struct porter *p;
	struct stat st;

	(void)state;
	snprintf(args, sizeof(args), "%s", control);
	assert_int_equal(porter_start(&p, sockets, args, sizeof(args), NULL), 0);
	close(fd);
	porter_remove(p, PORTER_CONTROL);
	assert_int_equal(lstat(control, &st), -1);
	porter_stop(p);
}

static void test_room_is_what_the_host_has(void **state)
{
	struct porter *p = started();
	struct err e;

	(void)state;
	assert_int_equal(porter_room(p, 1, false, &e), 0);
	assert_int_equal(porter_room(p, 1ull << 60, false, &e), -ENOSPC);
	assert_int_equal(porter_room(p, 1ull << 60, true, &e), -ENOSPC);
	porter_stop(p);
}

/* Two threads of one process: what is tried is the server. */
static void *serve(void *arg)
{
	static const char *const sockets[PORTER_SOCKETS] = { [PORTER_CONTROL] = control };
	int sock = *(int *)arg;

	porter_serve(sock, sockets);
	close(sock);
	return NULL;
}

static int asked(int sock, const struct porter_question *q)
{
	struct porter_answer a;
	int fds[PACKET_FDS_MAX];
	size_t n;

	assert_int_equal(packet_send(sock, q, sizeof(*q), NULL, 0), 0);
	assert_int_equal(packet_receive(sock, &a, sizeof(a), fds, &n), 0);
	assert_int_equal(n, 0);
	return a.ret;
}

static void test_hostile_questions_are_refused(void **state)
{
	struct porter_question q = { .op = 77 };
	struct porter_answer a;
	int pair[2], fds[PACKET_FDS_MAX];
	pthread_t thread;
	size_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, &pair[1]), 0);
	assert_int_equal(asked(pair[0], &q), -EINVAL);
	q = (struct porter_question){ .op = PORTER_OP_REMOVE, .which = 0xffffffff };
	assert_int_equal(asked(pair[0], &q), -EINVAL);
	q = (struct porter_question){ .op = PORTER_OP_REMOVE, .which = PORTER_CONSOLE };
	assert_int_equal(asked(pair[0], &q), -EINVAL);
	q = (struct porter_question){ .op = PORTER_OP_CONNECT, .timeout_ms = -1 };
	assert_int_equal(asked(pair[0], &q), -EINVAL);
	q.timeout_ms = PORTER_WAIT_MAX_MS + 1;
	assert_int_equal(asked(pair[0], &q), -EINVAL);
	q.timeout_ms = 100;
	memset(q.address, 'x', sizeof(q.address)); /* no end */
	assert_int_equal(asked(pair[0], &q), -EINVAL);
	/* Descriptors that nobody asked for are closed; a packet of another size ends it. */
	q = (struct porter_question){ .op = 77 };
	assert_int_equal(packet_send(pair[0], &q, sizeof(q), pair, 2), 0);
	assert_int_equal(packet_receive(pair[0], &a, sizeof(a), fds, &n), 0);
	assert_int_equal(a.ret, -EINVAL);
	assert_int_equal(packet_send(pair[0], &q, sizeof(q) - 1, NULL, 0), 0);
	pthread_join(thread, NULL);
	assert_int_equal(packet_receive(pair[0], &a, sizeof(a), fds, &n), -EPIPE);
	close(pair[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_connects_and_hands_the_socket_over),
		cmocka_unit_test(test_why_there_is_no_connection_is_told),
		cmocka_unit_test(test_it_removes_its_sockets_and_nothing_else),
		cmocka_unit_test(test_paths_may_lie_where_it_is_named),
		cmocka_unit_test(test_room_is_what_the_host_has),
		cmocka_unit_test(test_hostile_questions_are_refused),
	};
	int ret;

	if (!mkdtemp(dir))
		return 1;
	snprintf(control, sizeof(control), "%s/control", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return ret;
}
