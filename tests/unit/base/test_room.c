/* SPDX-License-Identifier: Apache-2.0 */
/* Is there memory for a domain that arrives? Against /proc and /sys as a test lays them out. */
#include "base/room.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/stat.h>

#define MIB (1ull << 20)

static char root[] = "/tmp/drover-room-XXXXXX";

static void put(const char *path, const char *text)
{
	char full[256], *p;
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (p = full + strlen(root) + 1; *p; p++)
		if (*p == '/') {
			*p = '\0';
			mkdir(full, 0755);
			*p = '/';
		}
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int empty(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s && mkdir %s", root, root);
	return system(command);
}

static void assert_refused(uint64_t need, const char *text)
{
	struct err e = { 0 };

	assert_int_equal(room_check(root, need, &e), -ENOSPC);
	if (!strstr(e.text, text))
		fail_msg("%s", e.text);
}

static void what_the_host_cannot_give_is_refused_with_both_numbers(void **state)
{
	struct err e;

	put("proc/meminfo", "MemTotal:  4194304 kB\nMemFree:  1 kB\nMemAvailable:  1048576 kB\n");
	assert_int_equal(room_check(root, 960 * MIB, &e), 0);
	assert_refused(961 * MIB, "needs 961 MiB, this host has 960 MiB to give");
}

static void each_control_group_on_the_way_up_counts(void **state)
{
	struct err e;

	put("proc/self/cgroup", "0::/droverd.service/web\n");
	put("sys/fs/cgroup/droverd.service/web/memory.max", "max\n");
	put("sys/fs/cgroup/droverd.service/memory.max", "440401920\n");                       /* 420 MiB */
	put("sys/fs/cgroup/droverd.service/memory.current", "335544320\n");                   /* 320 MiB ... */
	put("sys/fs/cgroup/droverd.service/memory.stat", "anon 1\ninactive_file 10485760\n"); /* 10 of them can go */
	assert_int_equal(room_check(root, 110 * MIB, &e), 0);
	assert_refused(111 * MIB, "/droverd.service may take 110 MiB more (limit 420 MiB)");
}

static void the_older_control_groups_count_too(void **state)
{
	struct err e;

	put("proc/self/cgroup", "5:devices:/a\n4:memory:/vms\n0::/\n");
	put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
	put("sys/fs/cgroup/memory/vms/memory.limit_in_bytes", "104857600\n");
	put("sys/fs/cgroup/memory/vms/memory.usage_in_bytes", "52428800\n");
	assert_int_equal(room_check(root, 50 * MIB, &e), 0);
	assert_refused(51 * MIB, "may take 50 MiB more");
}

static void where_nothing_can_be_learned_nothing_is_refused(void **state)
{
	struct err e;

	assert_int_equal(room_check(root, 1ull << 50, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_the_host_cannot_give_is_refused_with_both_numbers, empty),
		cmocka_unit_test_setup(each_control_group_on_the_way_up_counts, empty),
		cmocka_unit_test_setup(the_older_control_groups_count_too, empty),
		cmocka_unit_test_setup(where_nothing_can_be_learned_nothing_is_refused, empty),
	};
	int failed;

	if (!mkdtemp(root))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (!empty(NULL))
		remove(root);
	return failed;
}
