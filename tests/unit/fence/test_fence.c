/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence: what counts as proof of death and what does not.
 *
 * The agents are programs, as in life: tests/unit/fence/agent behaves as its
 * `mode` says, and fence_dummy is one of ClusterLabs' own.
 */
#include "base/clock.h"
#include "fence/fence.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define DUMMY "/usr/sbin/fence_dummy"

struct bed {
	char dir[64];
	char state[96], log[96], grave[96];
	struct cluster_option options[CLUSTER_FENCE_MAX][5];
	struct cluster_fence fence[CLUSTER_FENCE_MAX];
	struct cluster_host host;
};

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));

	snprintf(b->dir, sizeof(b->dir), "/tmp/test_fence.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->state, sizeof(b->state), "%s/state", b->dir);
	snprintf(b->log, sizeof(b->log), "%s/log", b->dir);
	snprintf(b->grave, sizeof(b->grave), "%s/grave", b->dir);
	b->host = (struct cluster_host){ .name = "n2", .fence = b->fence };
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;

	unlink(b->state);
	unlink(b->log);
	unlink(b->grave);
	rmdir(b->dir);
	free(b);
	return 0;
}

static void device(struct bed *b, uint32_t level, const char *mode, uint64_t timeout_ms)
{
	size_t i = b->host.n_fence++;
	struct cluster_option *o = b->options[i];

	o[0] = (struct cluster_option){ "mode", (char *)mode };
	o[1] = (struct cluster_option){ "state", b->state };
	o[2] = (struct cluster_option){ "log", b->log };
	o[3] = (struct cluster_option){ "grave", b->grave };
	o[4] = (struct cluster_option){ "action", "on" }; /* must not win over ours */
	b->fence[i] = (struct cluster_fence){
		.level = level,
		.agent = FENCE_TEST_AGENT,
		.timeout_ms = timeout_ms,
		.options = o,
		.n_options = 5,
	};
}

static int run(struct bed *b, enum fence_action a, struct fence_result *r)
{
	return fence_run(&b->host, "/usr/sbin", a, r, NULL);
}

static void contents(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(buf, 1, size - 1, f) : 0;

	buf[n] = '\0';
	if (f)
		fclose(f);
}

static void assert_file(const char *path, const char *want)
{
	char buf[256];

	contents(path, buf, sizeof(buf));
	assert_string_equal(buf, want);
}

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_size;
}

static void a_host_without_devices_cannot_be_fenced(void **state)
{
	struct bed *b = *state;
	struct fence_result r;
	struct err e = { 0 };

	assert_int_equal(fence_run(&b->host, "/usr/sbin", FENCE_OFF, &r, &e), -ENODEV);
	assert_string_equal(e.text, "no fence device is configured for n2");
}

static void a_confirmed_off_is_proof_whatever_action_the_options_name(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "good", 5000);
	assert_int_equal(run(b, FENCE_OFF, &r), 0);
	assert_file(b->state, "off\n");
	assert_file(b->log, "off good\n");
	assert_non_null(strstr(r.text, "off by "));
	assert_non_null(strstr(r.text, "(level 1)"));
}

static void a_late_success_within_the_deadline_is_proof(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "late", 5000);
	assert_int_equal(run(b, FENCE_OFF, &r), 0);
	assert_true(r.took_ms >= 500 && r.took_ms < 4000);
}

static void a_silent_agent_is_killed_at_its_deadline_and_proves_nothing(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "hang", 300);
	assert_int_equal(run(b, FENCE_OFF, &r), -ETIMEDOUT);
	assert_true(r.took_ms >= 300 && r.took_ms < 2500);
	assert_non_null(strstr(r.text, "no success within 300 ms, killed"));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* reaped: no child is left */
}

static void a_failure_tells_the_agents_last_line(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "fail", 5000);
	assert_int_equal(run(b, FENCE_OFF, &r), -EIO);
	assert_non_null(strstr(r.text, "exit status 1: Failed: wrong password"));
	assert_int_equal(size_of(b->state), 0);
}

static void an_agent_ended_by_a_signal_proves_nothing(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "signal", 5000);
	assert_int_equal(run(b, FENCE_OFF, &r), -EIO);
	assert_non_null(strstr(r.text, "killed by signal 9"));
}

static void megabytes_of_noise_neither_block_nor_hide_the_reason(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "noise", 10000);
	assert_int_equal(run(b, FENCE_OFF, &r), -EIO);
	assert_non_null(strstr(r.text, "exit status 3: the reason  at the end"));
}

/* What an agent leaves behind could cut the power of a host that is alive again. */
static void nothing_an_agent_started_outlives_it(void **state)
{
	struct bed *b = *state;
	struct fence_result r;
	off_t size;

	device(b, 1, "family", 5000);
	assert_int_equal(run(b, FENCE_OFF, &r), 0);
	assert_true(r.took_ms < 4000); /* the child holds standard error open: not waited for */
	size = size_of(b->grave);
	usleep(350000);
	assert_int_equal(size_of(b->grave), size);

	b->host.n_fence = 0;
	device(b, 1, "orphans", 400);
	assert_int_equal(run(b, FENCE_OFF, &r), -ETIMEDOUT);
	size = size_of(b->grave);
	assert_true(size > 0);
	usleep(350000);
	assert_int_equal(size_of(b->grave), size);
}

static void a_missing_agent_is_a_failed_device(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "good", 5000);
	b->fence[0].agent = "fence_of_nowhere";
	assert_int_equal(run(b, FENCE_OFF, &r), -ENOENT);
	assert_string_equal(r.text, "level 1: fence_of_nowhere: no such agent");
}

static void all_devices_of_a_level_must_confirm_and_the_next_level_is_tried(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "late", 5000);
	device(b, 1, "fail", 5000);
	device(b, 3, "good", 5000);
	assert_int_equal(run(b, FENCE_OFF, &r), 0);
	assert_int_equal(r.level, 3);
	assert_file(b->state, "off\n");

	b->host.n_fence = 2;
	assert_int_equal(run(b, FENCE_OFF, &r), -EIO);
	assert_int_equal(r.level, 1);
}

static void a_level_that_succeeds_ends_it(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "good", 5000);
	device(b, 2, "hang", 300);
	assert_int_equal(run(b, FENCE_OFF, &r), 0);
	assert_int_equal(r.level, 1);
	assert_file(b->log, "off good\n");
}

static void every_level_that_failed_is_named(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "fail", 5000);
	device(b, 2, "hang", 200);
	assert_int_equal(run(b, FENCE_OFF, &r), -ETIMEDOUT);
	assert_non_null(strstr(r.text, "level 1: "));
	assert_non_null(strstr(r.text, "wrong password; level 2: "));
}

static void devices_of_one_level_run_side_by_side(void **state)
{
	struct bed *b = *state;
	struct fence_result r;
	int i;

	for (i = 0; i < 4; i++)
		device(b, 1, "late", 5000);
	assert_int_equal(run(b, FENCE_OFF, &r), 0);
	assert_true(r.took_ms < 1800); /* one after the other would be over 2,000 */
}

static void a_status_is_off_only_when_every_device_says_off(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "good", 5000);
	assert_int_equal(run(b, FENCE_ON, &r), 0);
	assert_int_equal(run(b, FENCE_STATUS, &r), 0);
	assert_int_equal(r.power, FENCE_POWER_ON);
	assert_int_equal(run(b, FENCE_OFF, &r), 0);
	assert_int_equal(run(b, FENCE_STATUS, &r), 0);
	assert_int_equal(r.power, FENCE_POWER_OFF);
	device(b, 1, "good", 5000);
	b->options[1][1].value = "/dev/null";
	assert_int_equal(run(b, FENCE_STATUS, &r), 0);
	assert_int_equal(r.power, FENCE_POWER_ON);
}

static void a_monitor_asks_the_devices_of_every_level(void **state)
{
	struct bed *b = *state;
	struct fence_result r;

	device(b, 1, "good", 5000);
	device(b, 2, "good", 5000);
	assert_int_equal(run(b, FENCE_MONITOR, &r), 0);
	assert_file(b->log, "monitor good\nmonitor good\n");
	device(b, 3, "fail", 5000);
	assert_int_equal(run(b, FENCE_MONITOR, &r), -EIO);
	assert_non_null(strstr(r.text, "level 3: "));
}

static void a_cancelled_operation_leaves_no_process(void **state)
{
	struct bed *b = *state;
	struct fence_op *op;

	device(b, 1, "orphans", 60000);
	assert_int_equal(fence_start(&b->host, "/usr/sbin", FENCE_OFF, &op, NULL), 0);
	assert_int_equal(fence_step(op), -EINPROGRESS);
	fence_end(op);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void an_event_loop_is_woken_though_no_agent_could_be_run(void **state)
{
	struct bed *b = *state;
	struct pollfd p = { .events = POLLIN };
	struct fence_op *op;

	device(b, 1, "good", 5000);
	b->fence[0].agent = "/nonexistent";
	assert_int_equal(fence_start(&b->host, "/usr/sbin", FENCE_OFF, &op, NULL), 0);
	p.fd = fence_fd(op);
	assert_int_equal(poll(&p, 1, 2000), 1);
	assert_int_equal(fence_step(op), -ENOENT);
	fence_end(op);
}

static void clusterlabs_own_agent_agrees(void **state)
{
	struct bed *b = *state;
	struct cluster_option o[3] = { { "type", "file" }, { "status_file", b->state }, { "power_timeout", "1" } };
	struct fence_result r;

	if (access(DUMMY, X_OK)) {
		print_message("skipped: no %s (package fence-agents)\n", DUMMY);
		skip();
	}
	b->fence[0] = (struct cluster_fence){ .level = 1, .agent = "fence_dummy", .timeout_ms = 20000, .options = o, .n_options = 3 };
	b->host.n_fence = 1;
	assert_int_equal(run(b, FENCE_ON, &r), 0);
	assert_int_equal(run(b, FENCE_STATUS, &r), 0);
	assert_int_equal(r.power, FENCE_POWER_ON);
	assert_int_equal(run(b, FENCE_OFF, &r), 0);
	assert_file(b->state, "off");
	assert_int_equal(run(b, FENCE_STATUS, &r), 0);
	assert_int_equal(r.power, FENCE_POWER_OFF);
	o[0].value = "fail";
	assert_int_equal(run(b, FENCE_OFF, &r), -EIO);
}

#define RULE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RULE(a_host_without_devices_cannot_be_fenced),
		RULE(a_confirmed_off_is_proof_whatever_action_the_options_name),
		RULE(a_late_success_within_the_deadline_is_proof),
		RULE(a_silent_agent_is_killed_at_its_deadline_and_proves_nothing),
		RULE(a_failure_tells_the_agents_last_line),
		RULE(an_agent_ended_by_a_signal_proves_nothing),
		RULE(megabytes_of_noise_neither_block_nor_hide_the_reason),
		RULE(nothing_an_agent_started_outlives_it),
		RULE(a_missing_agent_is_a_failed_device),
		RULE(all_devices_of_a_level_must_confirm_and_the_next_level_is_tried),
		RULE(a_level_that_succeeds_ends_it),
		RULE(every_level_that_failed_is_named),
		RULE(devices_of_one_level_run_side_by_side),
		RULE(a_status_is_off_only_when_every_device_says_off),
		RULE(a_monitor_asks_the_devices_of_every_level),
		RULE(a_cancelled_operation_leaves_no_process),
		RULE(an_event_loop_is_woken_though_no_agent_could_be_run),
		RULE(clusterlabs_own_agent_agrees),
	};

	return cmocka_run_group_tests_name("fence", tests, NULL, NULL);
}
