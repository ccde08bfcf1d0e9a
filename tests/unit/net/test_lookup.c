/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, when nobody answers: a network and a resolv.conf of this process's own, whose server takes
 * each question and says nothing.
 */
#include "base/clock.h"
#include "net/lookup.h"
#include "net/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define SKIP 77
#define RESOLVER_MS 2000 /* until the resolver gives up by itself: options below */

static void numbers_ask_nobody(void **state)
{
	uint64_t begin = clock_ms();
	struct lookup *l = lookup_start("192.0.2.7", "80", 0);

	assert_int_equal(lookup_state(l), 0);
	assert_int_equal(lookup_addresses(l)->ai_family, AF_INET);
	lookup_free(l);
	l = lookup_start("2001:db8::7", NULL, 0);
	assert_int_equal(lookup_state(l), 0);
	lookup_free(l);
	assert_true(clock_ms() - begin < 500);
}

static void names_that_cannot_be_are_refused(void **state)
{
	char text[400];
	struct lookup *l;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	l = lookup_start(text, "80", 0);
	assert_int_equal(lookup_wait(l, 1000), EAI_NONAME);
	assert_null(lookup_addresses(l));
	lookup_free(l);
	l = lookup_start("localhost", "123456789", 0);
	assert_int_equal(lookup_wait(l, 1000), EAI_NONAME);
	lookup_free(l);
}

static void whoever_waits_for_a_name_has_a_deadline(void **state)
{
	uint64_t begin = clock_ms();
	struct lookup *l = lookup_start("nobody.example", "80", 0);

	assert_int_equal(lookup_state(l), EAI_INPROGRESS);
	assert_int_equal(lookup_wait(l, 100), EAI_INPROGRESS);
	assert_in_range(clock_ms() - begin, 100, RESOLVER_MS / 2);
	/* Gone at once, though a thread is still at it. */
	lookup_free(l);
	assert_true(clock_ms() - begin < RESOLVER_MS / 2);
	lookup_free(NULL);
}

static void a_connection_to_a_name_has_one_deadline(void **state)
{
	uint64_t begin = clock_ms();
	struct stream *s;
	struct err e;

	assert_int_equal(stream_connect("tcp:nobody.example:80", 200, &s, &e), -ETIMEDOUT);
	assert_in_range(clock_ms() - begin, 200, RESOLVER_MS / 2 + 200);
	assert_string_equal(e.text, "nobody.example:80: its name was not found out in 200 ms");
}

static void what_was_left_alone_is_cleared_up(void **state)
{
	struct lookup *l;

	poll(NULL, 0, RESOLVER_MS + 500);
	/* Under a leak checker this is what counts. */
	l = lookup_start("127.0.0.1", NULL, 0);
	lookup_free(l);
}

/* 0, or SKIP where one may not have a network of one's own. */
static int world_of_our_own(void)
{
	struct sockaddr_in dns = { .sin_family = AF_INET, .sin_port = htons(53) };
	static const char conf[] = "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n";
	char path[] = "/tmp/drover-resolv-XXXXXX", real[4096];
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd, net, server;

	if (!realpath("/etc/resolv.conf", real) || unshare(CLONE_NEWNS | CLONE_NEWNET) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return SKIP;
	fd = mkstemp(path);
	if (fd < 0 || write(fd, conf, sizeof(conf) - 1) != sizeof(conf) - 1 || mount(path, real, NULL, MS_BIND, NULL))
		return SKIP;
	unlink(path);
	close(fd);
	net = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	dns.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (ioctl(net, SIOCSIFFLAGS, &lo) || bind(server, (struct sockaddr *)&dns, sizeof(dns)))
		return SKIP;
	close(net);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_ask_nobody),
		cmocka_unit_test(names_that_cannot_be_are_refused),
		cmocka_unit_test(whoever_waits_for_a_name_has_a_deadline),
		cmocka_unit_test(a_connection_to_a_name_has_one_deadline),
		cmocka_unit_test(what_was_left_alone_is_cleared_up),
	};

#ifdef __SANITIZE_THREAD__
	puts("skipped: getaddrinfo_a(3) works in threads of the C library's own, in which this sanitizer crashes");
	return SKIP;
#endif
	if (world_of_our_own()) {
		puts("skipped: needs root, for a network and a resolv.conf of its own");
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
