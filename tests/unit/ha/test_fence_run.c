/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence_run: an outcome belongs to the debt it was started for (rule F), and a
 * run that is no longer wanted ends without proof.
 */
#include "ha/shell/fence_run.h"

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

struct bed {
	qb_loop_t *loop;
	char dir[64];
	struct cluster_conf *conf;
	struct fence_runs *runs;
	int n, want;
	uint32_t node[8];
	uint64_t debt[8];
	int rc[8];
	char text[8][480];
};

static void on_done(void *arg, uint32_t node, uint64_t debt, int rc, const char *text)
{
	struct bed *b = arg;

	b->node[b->n] = node;
	b->debt[b->n] = debt;
	b->rc[b->n] = rc;
	snprintf(b->text[b->n++], sizeof(b->text[0]), "%s", text);
	if (b->n == b->want)
		qb_loop_stop(b->loop);
}

static void on_deadline(void *data)
{
	qb_loop_stop(data);
}

static void wait_for(struct bed *b, int n)
{
	qb_loop_timer_handle t;

	b->want = n;
	qb_loop_timer_add(b->loop, QB_LOOP_LOW, 5000 * QB_TIME_NS_IN_MSEC, b->loop, on_deadline, &t);
	if (b->n < n)
		qb_loop_run(b->loop);
	qb_loop_timer_del(b->loop, t);
	assert_int_equal(b->n, n);
}

static void agent(struct bed *b, const char *name, const char *script)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	f = fopen(path, "w");
	fprintf(f, "#!/bin/sh\ncat >/dev/null\n%s\n", script);
	fclose(f);
	assert_int_equal(chmod(path, 0755), 0);
}

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	char yaml[512];
	struct err e = { 0 };

	strcpy(b->dir, "/tmp/drover-fence-run-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	agent(b, "ok", "exit 0");
	agent(b, "bad", "echo BMC is deaf >&2; exit 1");
	agent(b, "slow", "sleep 20");
	snprintf(yaml, sizeof(yaml), "agents_dir: %s\nhosts:\n"
				     "  - name: n1\n    fence: [{agent: ok}]\n  - name: n2\n    fence: [{agent: bad}]\n"
				     "  - name: n3\n    fence: [{agent: slow}]\n  - name: n4\n",
		 b->dir);
	if (cluster_conf_parse("test", yaml, strlen(yaml), &b->conf, &e) < 0)
		fail_msg("%s", e.text);
	b->loop = qb_loop_create();
	b->runs = fence_runs_open(b->loop, b->conf, on_done, b);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	char cmd[96];

	fence_runs_close(b->runs);
	cluster_conf_free(b->conf);
	qb_loop_destroy(b->loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", b->dir);
	assert_int_equal(system(cmd), 0);
	free(b);
	return 0;
}

static void success_is_told_with_its_debt(void **state)
{
	struct bed *b = *state;

	fence_runs_start(b->runs, 1, 7, "n1");
	assert_true(fence_runs_busy(b->runs, 1));
	wait_for(b, 1);
	assert_int_equal(b->node[0], 1);
	assert_int_equal(b->debt[0], 7);
	assert_int_equal(b->rc[0], 0);
	assert_false(fence_runs_busy(b->runs, 1));
}

static void failure_is_no_proof_and_says_why(void **state)
{
	struct bed *b = *state;

	fence_runs_start(b->runs, 2, 7, "n2");
	wait_for(b, 1);
	assert_true(b->rc[0] < 0);
	assert_non_null(strstr(b->text[0], "BMC is deaf"));
}

static void a_host_without_a_device_fails_at_once(void **state)
{
	struct bed *b = *state;

	fence_runs_start(b->runs, 4, 7, "n4");
	fence_runs_start(b->runs, 5, 8, "unknown");
	assert_int_equal(b->n, 2);
	assert_int_equal(b->rc[0], -ENODEV);
	assert_int_equal(b->rc[1], -ENODEV);
	assert_string_equal(b->text[0], "no fence device is configured for n4");
}

static void the_same_debt_is_fenced_once(void **state)
{
	struct bed *b = *state;

	fence_runs_start(b->runs, 1, 7, "n1");
	fence_runs_start(b->runs, 1, 7, "n1");
	wait_for(b, 1);
}

/* The host may have been back since the old run began: its success would prove nothing. */
static void a_new_debt_ends_the_old_run_without_proof(void **state)
{
	struct bed *b = *state;

	fence_runs_start(b->runs, 3, 7, "n3");
	fence_runs_start(b->runs, 3, 8, "n3");
	assert_int_equal(b->n, 1);
	assert_int_equal(b->debt[0], 7);
	assert_int_equal(b->rc[0], -ECANCELED);
	assert_true(fence_runs_busy(b->runs, 3));
}

static void a_cancelled_run_is_told_and_gone(void **state)
{
	struct bed *b = *state;

	fence_runs_start(b->runs, 3, 7, "n3");
	fence_runs_cancel(b->runs, 3);
	assert_int_equal(b->n, 1);
	assert_int_equal(b->rc[0], -ECANCELED);
	assert_false(fence_runs_busy(b->runs, 3));
	fence_runs_cancel(b->runs, 3);
	assert_int_equal(b->n, 1);
}

static void two_hosts_are_fenced_side_by_side(void **state)
{
	struct bed *b = *state;

	fence_runs_start(b->runs, 1, 7, "n1");
	fence_runs_start(b->runs, 2, 7, "n2");
	wait_for(b, 2);
	assert_int_equal(b->node[0] + b->node[1], 3);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(success_is_told_with_its_debt),
		T(failure_is_no_proof_and_says_why),
		T(a_host_without_a_device_fails_at_once),
		T(the_same_debt_is_fenced_once),
		T(a_new_debt_ends_the_old_run_without_proof),
		T(a_cancelled_run_is_told_and_gone),
		T(two_hosts_are_fenced_side_by_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
