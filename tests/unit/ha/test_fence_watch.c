/* SPDX-License-Identifier: Apache-2.0 */
/* fence_watch: a device that could not fence is told before it is needed, and again when it could. */
#include "ha/shell/fence_watch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define NEWS_MAX 16

struct bed {
	qb_loop_t *loop;
	char dir[64];
	struct cluster_conf *conf;
	struct fence_watch *watch;
	int n, want;
	char news[NEWS_MAX][600];
	const char *busy;
};

static void on_changed(void *arg, const char *name, enum fence_ready now, const char *text)
{
	struct bed *b = arg;

	assert_true(b->n < NEWS_MAX);
	snprintf(b->news[b->n++], sizeof(b->news[0]), "%s %s: %s", name, fence_ready_str(now), text);
	if (b->n == b->want)
		qb_loop_stop(b->loop);
}

static bool is_on(void *arg, const char *name)
{
	return true;
}

static bool busy(void *arg, const char *name)
{
	struct bed *b = arg;

	return b->busy && strcmp(b->busy, name) == 0;
}

static const struct fence_watch_ops ops = { .changed = on_changed, .is_on = is_on, .busy = busy };

static void on_deadline(void *data)
{
	qb_loop_stop(data);
}

/* Until there are @n news, or for @ms. */
static void run(struct bed *b, int n, unsigned int ms)
{
	qb_loop_timer_handle t;

	b->want = n;
	qb_loop_timer_add(b->loop, QB_LOOP_LOW, ms * QB_TIME_NS_IN_MSEC, b->loop, on_deadline, &t);
	if (b->n < n)
		qb_loop_run(b->loop);
	qb_loop_timer_del(b->loop, t);
}

static void agent(struct bed *b, const char *name, const char *script)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	f = fopen(path, "w");
	fprintf(f, "#!/bin/sh\naction=$(sed -n s/^action=//p)\n%s\n", script);
	fclose(f);
	assert_int_equal(chmod(path, 0755), 0);
}

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));

	strcpy(b->dir, "/tmp/drover-fence-watch-XXXXXX");
	if (!mkdtemp(b->dir))
		return -1;
	b->loop = qb_loop_create();
	*state = b;
	return 0;
}

static void watch(struct bed *b, const char *hosts)
{
	struct err e = { 0 };
	char yaml[1024];

	snprintf(yaml, sizeof(yaml), "agents_dir: %s\nhosts:\n%s", b->dir, hosts);
	if (cluster_conf_parse("test", yaml, strlen(yaml), &b->conf, &e) < 0)
		fail_msg("%s", e.text);
	b->watch = fence_watch_open(b->loop, b->conf, "n1", 30, 30, &ops, b);
	assert_non_null(b->watch);
}

static int teardown(void **state)
{
	struct bed *b = *state;
	char cmd[96];

	fence_watch_close(b->watch);
	cluster_conf_free(b->conf);
	qb_loop_destroy(b->loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", b->dir);
	assert_int_equal(system(cmd), 0);
	free(b);
	return 0;
}

static void each_fault_is_told_once_with_its_reason(void **state)
{
	struct bed *b = *state;
	const char *text;

	agent(b, "ok", "exit 0");
	agent(b, "locked", "echo Unable to connect/login to fencing device >&2; exit 1");
	agent(b, "off", "[ $action = status ] && exit 2; exit 0");
	watch(b, "  - name: n1\n    fence: [{agent: missing}]\n"
		 "  - name: n2\n    fence: [{agent: ok}]\n"
		 "  - name: n3\n    fence: [{agent: missing}]\n"
		 "  - name: n4\n    fence: [{agent: locked}]\n"
		 "  - name: n5\n"
		 "  - name: n6\n    fence: [{agent: off}]\n"
		 "  - name: n7\n    fence: [{agent: ok}, {agent: locked, level: 2}]\n");
	run(b, 6, 5000);
	assert_string_equal(b->news[0], "n2 ready: ");
	assert_string_equal(b->news[1], "n3 fails: level 1: missing: no such agent");
	assert_non_null(strstr(b->news[2], "n4 fails: level 1: locked: "));
	assert_non_null(strstr(b->news[2], "Unable to connect/login to fencing device"));
	assert_string_equal(b->news[3], "n5 none: ");
	assert_non_null(strstr(b->news[4], "n6 fails: its device says that it is off"));
	assert_non_null(strstr(b->news[5], "n7 fails: level 2: locked: "));
	assert_int_equal(fence_watch_get(b->watch, "n4", &text), FENCE_FAILS);
	assert_non_null(strstr(text, "login"));
	assert_int_equal(fence_watch_get(b->watch, "n1", &text), FENCE_NOT_ASKED);
	assert_int_equal(fence_watch_get(b->watch, "n9", &text), FENCE_NO_DEVICE);
	run(b, 7, 300); /* several rounds */
	assert_int_equal(b->n, 6);
}

static void a_device_that_is_mended_is_told_too(void **state)
{
	struct bed *b = *state;

	agent(b, "bmc", "exit 1");
	watch(b, "  - name: n2\n    fence: [{agent: bmc}]\n");
	run(b, 1, 5000);
	assert_non_null(strstr(b->news[0], "n2 fails"));
	agent(b, "bmc", "exit 0");
	run(b, 2, 5000);
	assert_string_equal(b->news[1], "n2 ready: ");
	agent(b, "bmc", "exit 1");
	run(b, 3, 5000);
	assert_non_null(strstr(b->news[2], "n2 fails"));
}

static void a_host_that_is_fenced_has_its_device_for_itself(void **state)
{
	struct bed *b = *state;

	agent(b, "slow", "sleep 20");
	agent(b, "ok", "exit 0");
	watch(b, "  - name: n2\n    fence: [{agent: slow}]\n  - name: n3\n    fence: [{agent: ok}]\n");
	run(b, 1, 200);
	assert_int_equal(b->n, 0);
	b->busy = "n2";
	fence_watch_yield(b->watch, "n3"); /* not the one that is asked */
	fence_watch_yield(b->watch, "n2");
	run(b, 1, 5000);
	assert_string_equal(b->news[0], "n3 ready: ");
}

/* Whose password may look and not switch, says yes when it is asked. */
static void a_device_that_failed_when_it_was_used_is_not_ready(void **state)
{
	struct bed *b = *state;
	const char *text;

	agent(b, "ok", "exit 0");
	watch(b, "  - name: n2\n    fence: [{agent: ok}]\n  - name: n3\n");
	run(b, 2, 5000);
	assert_int_equal(fence_watch_get(b->watch, "n2", &text), FENCE_READY);
	fence_watch_used(b->watch, "n2", -EIO, "level 1: ok: insufficient privilege level");
	fence_watch_used(b->watch, "n3", -EIO, "it has none");
	fence_watch_used(b->watch, "n9", -EIO, "nobody knows it");
	assert_int_equal(b->n, 2); /* told by who used it */
	assert_int_equal(fence_watch_get(b->watch, "n2", &text), FENCE_FAILS);
	assert_string_equal(text, "level 1: ok: insufficient privilege level");
	assert_int_equal(fence_watch_get(b->watch, "n3", &text), FENCE_NO_DEVICE);
	fence_watch_used(b->watch, "n2", 0, "off");
	assert_int_equal(fence_watch_get(b->watch, "n2", &text), FENCE_READY);
	assert_string_equal(text, "");
	fence_watch_used(b->watch, "n2", -EIO, "level 1: ok: busy");
	run(b, 3, 5000); /* asked again */
	assert_string_equal(b->news[2], "n2 ready: ");
}

#define WATCH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WATCH(each_fault_is_told_once_with_its_reason),
		WATCH(a_device_that_is_mended_is_told_too),
		WATCH(a_host_that_is_fenced_has_its_device_for_itself),
		WATCH(a_device_that_failed_when_it_was_used_is_not_ready),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
