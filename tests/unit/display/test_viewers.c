/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMM's end of a conversation with who serves its viewers (cmd/drover-hv/viewers.h), which may be in the hands of one:
 * what he may, and that he gets nothing else.  The usher is a fake: it hands over an end of a pair, this test has the other.
 */
#include "driver.h"

#include "base/clock.h"
#include "base/packet.h"
#include "cmd/drover-hv/usher.h"
#include "cmd/drover-hv/viewer_int.h"
#include "cmd/drover-hv/viewers.h"
#include "hv/display/display.h"
#include "net/control/loop.h"
#include "tests/unit/usage.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TURN_NS (100 * NS_PER_MS)

/* --- a fake usher --- */

struct usher {
	int pair[2]; /* the VMM's end, and the test's */
};

int usher_begin(struct usher *u, const struct usher_place *p, struct err *e)
{
	assert_string_equal(p->name, "web");
	assert_true(p->listen_fd >= 0 && p->memory_fd >= 0 && p->sandbox);
	return 0;
}

int usher_fd(const struct usher *u)
{
	return u->pair[0];
}

int usher_take(struct usher *u)
{
	int fds[PACKET_FDS_MAX], ret;
	char byte;
	size_t n;

	ret = packet_receive(u->pair[0], &byte, 1, fds, &n);
	return ret ? ret : fds[0];
}

/* --- the bed --- */

struct rig {
	struct bed bed;
	struct display *d;
	struct loop *loop;
	struct loop_timer *timer;
	struct usher usher;
	struct viewers *w;
	char path[64];
	int said; /* the other end of the conversation */
	unsigned int downs, ups, points;
	struct seat_pointer last;
};

static bool hear_key(void *dev, uint16_t code, bool down)
{
	struct rig *r = dev;

	*(down ? &r->downs : &r->ups) += 1;
	return true;
}

static bool hear_pointer(void *dev, const struct seat_pointer *p)
{
	struct rig *r = dev;

	r->points++;
	r->last = *p;
	return true;
}

static bool always(void *dev)
{
	return true;
}

static const struct seat_device listener = { .key = hear_key, .pointer = hear_pointer, .listens = always };

static void enough(void *arg)
{
	loop_quit(((struct rig *)arg)->loop);
}

/* The main thread, for a moment. */
static void turn(struct rig *r)
{
	loop_timer_set(r->timer, clock_ns() + TURN_NS);
	loop_run(r->loop);
}

/* Somebody begins to serve viewers. */
static void serve(struct rig *r)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(packet_send(r->usher.pair[1], "", 1, &pair[0], 1), 0);
	close(pair[0]);
	if (r->said >= 0)
		close(r->said);
	r->said = pair[1];
	turn(r);
}

static void rig_open(struct rig *r)
{
	struct viewers_options o = { .name = "web", .path = r->path, .usher = &r->usher, .sandbox = true };
	struct err e;

	memset(r, 0, sizeof(*r));
	r->said = -1;
	assert_int_equal(bed_init(&r->bed), 0);
	assert_int_equal(display_create(&r->bed.env, 4u << 20, &r->d, &e), 0);
	display_plug(r->d);
	assert_int_equal(seat_join(r->bed.seat, &listener, r), 0);
	assert_int_equal(loop_create(&r->loop, &e), 0);
	assert_int_equal(loop_timer_create(r->loop, enough, r, &r->timer, &e), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, r->usher.pair), 0);
	snprintf(r->path, sizeof(r->path), "/tmp/drover-viewers-%d", (int)getpid());
	o.loop = r->loop;
	o.display = r->d;
	o.seat = r->bed.seat;
	if (viewers_create(&r->w, &o, &e))
		fail_msg("%s", e.text);
	serve(r);
}

static void rig_close(struct rig *r)
{
	viewers_destroy(r->w);
	unlink(r->path);
	if (r->said >= 0)
		close(r->said);
	close(r->usher.pair[0]);
	close(r->usher.pair[1]);
	loop_timer_destroy(r->timer);
	loop_destroy(r->loop);
	display_destroy(r->d);
	bed_fini(&r->bed);
}

static int say(struct rig *r, struct viewer_question q)
{
	return packet_send(r->said, &q, sizeof(q), NULL, 0);
}

static bool hung_up(struct rig *r)
{
	struct pollfd p = { .fd = r->said };

	turn(r);
	return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

/* --- what he may --- */

static void test_he_is_told_the_registers_and_no_more(void **state)
{
	int fds[PACKET_FDS_MAX];
	struct viewer_answer a;
	struct rig r;
	size_t n;

	rig_open(&r);
	assert_int_equal(say(&r, (struct viewer_question){ .op = VIEWER_LOOK, .number = 0xfffffff0 }), 0);
	turn(&r);
	assert_int_equal(packet_receive(r.said, &a, sizeof(a), fds, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(a.number, 0xfffffff0);
	assert_int_equal(packet_receive(r.said, &a, sizeof(a), fds, &n), -EAGAIN);
	rig_close(&r);
}

static void test_he_presses_and_points_and_it_is_let_go_when_he_is_gone(void **state)
{
	struct rig r;

	rig_open(&r);
	say(&r, (struct viewer_question){ .op = VIEWER_KEY, .code = KEY_A, .down = 1 });
	say(&r, (struct viewer_question){ .op = VIEWER_KEY, .code = KEY_B, .down = 1 });
	say(&r, (struct viewer_question){ .op = VIEWER_KEY, .code = KEY_B });
	say(&r, (struct viewer_question){ .op = VIEWER_POINTER, .x = SEAT_SIDE, .buttons = SEAT_LEFT, .wheel = -1 });
	turn(&r);
	assert_int_equal(r.downs, 2);
	assert_int_equal(r.ups, 1);
	assert_int_equal(r.last.wheel, -1);
	close(r.said);
	r.said = -1;
	turn(&r);
	assert_int_equal(r.ups, 2);
	assert_int_equal(r.points, 2);
	assert_int_equal(r.last.buttons, 0);
	assert_int_equal(r.last.wheel, 0);
	serve(&r); /* and the next one may as well */
	say(&r, (struct viewer_question){ .op = VIEWER_KEY, .code = KEY_A, .down = 1 });
	turn(&r);
	assert_int_equal(r.downs, 3);
	rig_close(&r);
	assert_int_equal(r.ups, 3);
}

/* --- what he may not --- */

static void test_what_nobody_says_is_hung_up_on(void **state)
{
	static const struct viewer_question lies[] = {
		{ .op = 3 },
		{ .op = UINT32_MAX },
		{ .op = VIEWER_KEY, .code = SEAT_KEYS, .down = 1 },
		{ .op = VIEWER_KEY, .code = 0xffff },
		{ .op = VIEWER_KEY, .code = KEY_A, .down = 2 },
		{ .op = VIEWER_POINTER, .x = SEAT_SIDE + 1 },
		{ .op = VIEWER_POINTER, .y = 0xffff },
		{ .op = VIEWER_POINTER, .buttons = 8 },
		{ .op = VIEWER_POINTER, .wheel = 2 },
		{ .op = VIEWER_POINTER, .wheel = -128 },
	};
	struct rig r;

	rig_open(&r);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		serve(&r);
		assert_false(hung_up(&r));
		say(&r, lies[i]);
		assert_true(hung_up(&r));
	}
	assert_int_equal(r.downs + r.ups + r.points, 0);
	rig_close(&r);
}

static void test_other_sizes_and_descriptors_are_hung_up_on(void **state)
{
	static const char long_one[4096];
	struct viewer_question q = { .op = VIEWER_LOOK };
	int some[PACKET_FDS_MAX];
	unsigned int fds;
	struct rig r;

	rig_open(&r);
	for (size_t len = 1; len < sizeof(q) + 3; len++) {
		serve(&r);
		packet_send(r.said, long_one, len, NULL, 0);
		assert_int_equal(hung_up(&r), len != sizeof(q));
	}
	serve(&r);
	packet_send(r.said, long_one, sizeof(long_one), NULL, 0);
	assert_true(hung_up(&r));
	serve(&r);
	fds = usage_entries("/proc/self/fd");
	for (size_t i = 0; i < PACKET_FDS_MAX; i++)
		some[i] = STDIN_FILENO;
	packet_send(r.said, &q, sizeof(q), some, PACKET_FDS_MAX);
	assert_true(hung_up(&r));
	assert_int_equal(usage_entries("/proc/self/fd"), fds - 1); /* the conversation's, and none of his */
	rig_close(&r);
}

static void test_who_does_not_hear_his_answers_is_hung_up_on(void **state)
{
	struct rig r;

	rig_open(&r);
	for (int i = 0; i < 100000 && !say(&r, (struct viewer_question){ .op = VIEWER_LOOK }); i++)
		if (i % 50 == 49)
			turn(&r);
	assert_true(hung_up(&r));
	rig_close(&r);
}

/* As fast as he can: the loop has time for others, and hears no more than it means to. */
static void test_who_says_too_much_is_heard_later(void **state)
{
	struct viewer_question q = { .op = VIEWER_POINTER };
	uint64_t begin, ms;
	struct rig r;

	rig_open(&r);
	begin = clock_ms();
	for (int i = 0; i < 5; i++) {
		while (!say(&r, q))
			;
		turn(&r);
	}
	ms = clock_ms() - begin;
	assert_true(r.points > 0);
	assert_true(r.points <= (ms / 10 + 2) * 64);
	assert_false(hung_up(&r));
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_he_is_told_the_registers_and_no_more),
		cmocka_unit_test(test_he_presses_and_points_and_it_is_let_go_when_he_is_gone),
		cmocka_unit_test(test_what_nobody_says_is_hung_up_on),
		cmocka_unit_test(test_other_sizes_and_descriptors_are_hung_up_on),
		cmocka_unit_test(test_who_does_not_hear_his_answers_is_hung_up_on),
		cmocka_unit_test(test_who_says_too_much_is_heard_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
