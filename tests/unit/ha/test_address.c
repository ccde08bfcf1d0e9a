/* SPDX-License-Identifier: Apache-2.0 */
/* address: what other hosts could not reach is told, and what they could is not. */
#include "ha/shell/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char *why_not(const char *text)
{
	struct sockaddr_in sa4 = { .sin_family = AF_INET };
	struct sockaddr_in6 sa6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, text, &sa4.sin_addr) == 1)
		return address_why_not((struct sockaddr *)&sa4, sizeof(sa4));
	assert_int_equal(inet_pton(AF_INET6, text, &sa6.sin6_addr), 1);
	return address_why_not((struct sockaddr *)&sa6, sizeof(sa6));
}

static void an_address_that_others_cannot_reach_is_told(void **state)
{
	static const char *const loopbacks[] = { "127.0.0.1", "127.0.1.1", "127.255.255.254", "::1", "::ffff:127.0.1.1" };
	static const char *const anys[] = { "0.0.0.0", "::", "::ffff:0.0.0.0" };
	size_t i;

	for (i = 0; i < sizeof(loopbacks) / sizeof(loopbacks[0]); i++)
		assert_string_equal(why_not(loopbacks[i]), "is a loopback address, which no other host can reach");
	for (i = 0; i < sizeof(anys) / sizeof(anys[0]); i++)
		assert_non_null(strstr(why_not(anys[i]), "stands for every address"));
	/* TEST-NET-3 (RFC 5737): nobody's. */
	assert_string_equal(why_not("203.0.113.7"), "is not an address of this host");
}

struct bed {
	qb_loop_t *loop;
	char text[480];
	int n;
};

static void on_checked(void *arg, const char *text)
{
	struct bed *b = arg;

	snprintf(b->text, sizeof(b->text), "%s", text);
	b->n++;
	qb_loop_stop(b->loop);
}

static void check(const char *address, char text[480])
{
	struct bed b = { .loop = qb_loop_create() };
	struct address_check *c = address_check_open(b.loop, address, on_checked, &b);

	assert_non_null(c);
	qb_loop_run(b.loop);
	assert_int_equal(b.n, 1);
	address_check_close(c);
	qb_loop_destroy(b.loop);
	memcpy(text, b.text, 480);
}

static void a_name_is_looked_up_and_told_with_its_address(void **state)
{
	char text[480];

	check("127.0.1.1", text);
	assert_string_equal(text, "127.0.1.1 is a loopback address, which no other host can reach");
	check("localhost", text);
	assert_true(strstr(text, "localhost (127.0.0.1) is a loopback address") ||
		    strstr(text, "localhost (::1) is a loopback address"));
	check("no such host", text);
	assert_non_null(strstr(text, "no such host cannot be resolved: "));
}

/* Closed while the resolver's thread may still be busy. */
static void it_can_be_closed_at_once(void **state)
{
	qb_loop_t *loop = qb_loop_create();
	struct bed b = { .loop = loop };

	address_check_close(address_check_open(loop, "localhost", on_checked, &b));
	qb_loop_destroy(loop);
	assert_int_equal(b.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_that_others_cannot_reach_is_told),
		cmocka_unit_test(a_name_is_looked_up_and_told_with_its_address),
		cmocka_unit_test(it_can_be_closed_at_once),
	};

#ifdef __SANITIZE_THREAD__
	puts("skipped: getaddrinfo_a(3) works in threads of the C library's own, in which this sanitizer crashes");
	return 77;
#endif

	return cmocka_run_group_tests(tests, NULL, NULL);
}
