/* SPDX-License-Identifier: Apache-2.0 */
/* vmm_order: what an operator orders of one VMM, of a real process (fake_hv.c) behind the real control socket. */
#include "ha/vmm/executor.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define DEADLINE_MS 30000

struct order_bed {
	qb_loop_t *loop;
	char dir[64], log_dir[80];
	struct executor *x;
	int answers, code;
	uint64_t number;
	char text[256], waits[64];
	bool runs, came;
};

static void stop(struct order_bed *b)
{
	b->came = true;
	qb_loop_stop(b->loop);
}

static void on_news(void *arg, const char *name, uint64_t incarnation, const struct vmm_news *n)
{
	struct order_bed *b = arg;

	if (n->what == VMM_SAID_STATE && n->state == VMM_RUNNING && !b->runs) {
		b->runs = true;
		stop(b);
	}
}

static void on_scanned(void *arg)
{
	stop(arg);
}

static void on_ordered(void *arg, uint64_t number, int code, const json_t *ret, const char *text)
{
	struct order_bed *b = arg;

	b->answers++;
	b->code = code;
	b->number = number;
	snprintf(b->text, sizeof(b->text), "%s", text);
	snprintf(b->waits, sizeof(b->waits), "%s", json_string_value(json_object_get(ret, "waits")) ?: "");
	stop(b);
}

static void on_deadline(void *data)
{
	qb_loop_stop(((struct order_bed *)data)->loop);
}

static void nothing(void *data)
{
}

/* Until something happened that stops the loop. */
static void run(struct order_bed *b)
{
	qb_loop_timer_handle t;

	b->came = false;
	qb_loop_job_add(b->loop, QB_LOOP_HIGH, b, nothing); /* wakes a loop that was stopped */
	qb_loop_timer_add(b->loop, QB_LOOP_LOW, DEADLINE_MS * QB_TIME_NS_IN_MSEC, b, on_deadline, &t);
	qb_loop_run(b->loop);
	qb_loop_timer_del(b->loop, t);
	assert_true(b->came);
}

static const struct executor_ops ops = { .news = on_news, .scanned = on_scanned };

static int setup(void **state)
{
	struct order_bed *b = calloc(1, sizeof(*b));
	struct executor_conf conf = { .drover_hv = FAKE_HV, .address = "127.0.0.1" };

	strcpy(b->dir, "/tmp/drover-order-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->log_dir, sizeof(b->log_dir), "%s/log", b->dir);
	conf.run_dir = b->dir;
	conf.log_dir = b->log_dir;
	b->loop = qb_loop_create();
	assert_int_equal(executor_open(b->loop, &conf, &ops, b, &b->x, NULL), 0);
	assert_int_equal(executor_scan(b->x, NULL), 0);
	run(b);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct order_bed *b = *state;
	char cmd[128];

	if (b->x && executor_find(b->x, "web"))
		vmm_kill(executor_find(b->x, "web"));
	executor_close(b->x);
	qb_loop_destroy(b->loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", b->dir);
	assert_int_equal(system(cmd), 0);
	free(b);
	return 0;
}

static struct vmm *start(struct order_bed *b, const char *text)
{
	assert_int_equal(executor_start(b->x, "web", 3, text, strlen(text), false, NULL), 0);
	run(b);
	return executor_find(b->x, "web");
}

static void an_order_is_answered_by_what_the_vmm_says(void **state)
{
	struct order_bed *b = *state;
	struct vmm *v = start(b, "name: web\n");
	const json_t *reboot;

	assert_int_equal(vmm_order(v, "reset", NULL, 7, on_ordered, b), 0);
	run(b);
	assert_true(b->number == 7 && b->code == 0);
	assert_string_equal(b->waits, "blk0");
	assert_int_equal(vmm_order(v, "fly", NULL, 8, on_ordered, b), 0);
	run(b);
	assert_true(b->number == 8 && b->code == 2);
	assert_string_equal(b->text, "unknown");
	/* What it tells of a reboot is known before its answer is, and of that only what is used. */
	assert_int_equal(vmm_order(v, "reboot", json_pack("{s:i}", "timeout_ms", 5), 9, on_ordered, b), 0);
	run(b);
	reboot = json_object_get(vmm_query_json(v), "reboot");
	assert_string_equal(json_string_value(json_object_get(reboot, "phase")), "asked");
	assert_int_equal(json_object_size(reboot), 2);
	assert_int_equal(b->answers, 3);
}

static void whoever_gave_an_order_to_a_vmm_that_dies_is_told_once(void **state)
{
	struct order_bed *b = *state;
	struct vmm *v = start(b, "dies");

	assert_int_equal(vmm_order(v, "reset", NULL, 7, on_ordered, b), 0);
	run(b);
	assert_int_equal(b->code, EXIT_ERROR);
	assert_non_null(strstr(b->text, "hung up"));
	assert_int_equal(b->answers, 1);
}

static void orders_without_an_answer_end_with_the_supervisor(void **state)
{
	struct order_bed *b = *state;
	struct vmm *v = start(b, "deaf");

	assert_int_equal(vmm_order(v, "reset", NULL, 7, on_ordered, b), 0);
	assert_int_equal(vmm_order(v, "reset", NULL, 8, on_ordered, b), 0);
	assert_int_equal(b->answers, 0);
	vmm_kill(v);
	executor_close(b->x);
	b->x = NULL;
	assert_int_equal(b->answers, 2);
	assert_int_equal(b->code, EXIT_ERROR);
}

static void one_that_was_not_heard_yet_gets_no_orders(void **state)
{
	struct order_bed *b = *state;

	assert_int_equal(executor_start(b->x, "web", 3, "mute", 4, false, NULL), 0);
	assert_int_equal(vmm_order(executor_find(b->x, "web"), "reset", json_object(), 7, on_ordered, b), -ENOTCONN);
	assert_int_equal(b->answers, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_order_is_answered_by_what_the_vmm_says),
		T(whoever_gave_an_order_to_a_vmm_that_dies_is_told_once),
		T(orders_without_an_answer_end_with_the_supervisor),
		T(one_that_was_not_heard_yet_gets_no_orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
