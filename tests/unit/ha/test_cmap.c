/* SPDX-License-Identifier: Apache-2.0 */
/* What corosync.conf says of hosts, without corosync. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ha/cmap.h"

/* An entry that was copied, and its name not changed: whoever is fenced by it is the wrong one half of the time. */
static void a_name_that_two_hosts_have_means_nobody(void **state)
{
	const struct cmap_cluster c = { .n_nodes = 3, .nodes = {
		{ .id = 1, .name = "n1" }, { .id = 2, .name = "n2" }, { .id = 3, .name = "n2" } } };

	(void)state;
	assert_int_equal(cmap_find(&c, "n1"), 0);
	assert_int_equal(cmap_find(&c, "n2"), -2);
	assert_int_equal(cmap_find(&c, "n3"), -1);
	assert_int_equal(cmap_find(&c, ""), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_that_two_hosts_have_means_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
