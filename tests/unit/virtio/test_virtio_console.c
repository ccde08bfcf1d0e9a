/* SPDX-License-Identifier: Apache-2.0 */
/* The port of the guest's agent: how a driver learns of it, what crosses it both ways, and who can hold up whom. */
#include "driver.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "hv/virtio/virtio_console_int.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SLOT 1
#define QUEUE 64
#define PIECE 4096
#define WAIT_MS 20000

/* VIRTIO 1.2 5.3.6.2 */
enum {
	DEVICE_READY,
	PORT_ADD,
	PORT_READY = 3,
	PORT_OPEN = 6,
	PORT_NAME
};

struct message {
	uint32_t id;
	uint16_t event, value;
};

struct rig {
	struct bed bed;
	struct virtio_dev *dev;
	struct drv drv;
	uint64_t buffers[CONSOLE_QUEUES]; /* PIECE bytes for each descriptor of a queue */
	int fd;                           /* who is connected */
};

static void rig_open(struct rig *r)
{
	struct err e;

	memset(r, 0, sizeof(*r));
	r->fd = -1;
	assert_int_equal(bed_init(&r->bed), 0);
	assert_int_equal(virtio_console_create(&r->bed.env, "the.port", &r->dev, &e), 0);
	virtio_dev_plug(r->dev);
	drv_probe(&r->drv, &r->bed, r->dev, SLOT);
	r->bed.mem->tracking = true;
}

static void rig_close(struct rig *r)
{
	if (r->fd >= 0)
		close(r->fd);
	virtio_dev_destroy(r->dev);
	bed_fini(&r->bed);
}

static void give(struct rig *r, unsigned int q, unsigned int n)
{
	for (; n; n--) {
		struct drv_buf b = { r->buffers[q] + PIECE * (r->drv.q[q].next_desc % QUEUE), PIECE, true };

		drv_add(&r->drv, q, &b, 1);
	}
	drv_kick(&r->drv, q);
}

static void put(struct rig *r, unsigned int q, const void *bytes, uint32_t len)
{
	struct drv_buf b = { r->buffers[q] + PIECE * (r->drv.q[q].next_desc % QUEUE), len, false };

	assert_int_equal(gmem_write(r->bed.mem, b.gpa, bytes, len), 0);
	drv_add(&r->drv, q, &b, 1);
	drv_kick(&r->drv, q);
}

static uint32_t take(struct rig *r, unsigned int q, void *bytes, uint32_t room)
{
	uint32_t len;
	uint16_t head;

	assert_true(drv_wait(&r->drv, q, &head, &len));
	assert_true(len <= room);
	assert_int_equal(gmem_read(r->bed.mem, r->buffers[q] + PIECE * (uint64_t)head, bytes, len), 0);
	assert_true(!len || bed_is_dirty(&r->bed, r->buffers[q] + PIECE * (uint64_t)head));
	return len;
}

static void tell(struct rig *r, uint32_t id, uint16_t event, uint16_t value)
{
	struct message m = { id, event, value };
	uint8_t nothing[1];

	put(r, CONSOLE_Q_CONTROL_OUT, &m, sizeof(m));
	assert_int_equal(take(r, CONSOLE_Q_CONTROL_OUT, nothing, 0), 0);
}

static void is_told(struct rig *r, uint16_t event, uint16_t value, const char *text)
{
	uint8_t buf[PIECE];
	struct message m;
	uint32_t len = take(r, CONSOLE_Q_CONTROL_IN, buf, sizeof(buf));

	memcpy(&m, buf, sizeof(m));
	assert_int_equal(m.id, 1);
	assert_int_equal(m.event, event);
	assert_int_equal(m.value, value);
	assert_int_equal(len, sizeof(m) + strlen(text));
	assert_memory_equal(buf + sizeof(m), text, strlen(text));
}

static void not_told(struct rig *r)
{
	uint32_t len;
	uint16_t head;

	assert_false(drv_poll(&r->drv, CONSOLE_Q_CONTROL_IN, &head, &len));
}

static void driver_comes(struct rig *r)
{
	drv_features(&r->drv, 2);
	for (unsigned int q = 0; q < CONSOLE_QUEUES; q++) {
		drv_queue(&r->drv, q, QUEUE);
		r->buffers[q] = bed_alloc(&r->bed, PIECE * QUEUE);
	}
	drv_ok(&r->drv);
	assert_int_equal(virtio_dev_start(r->dev, NULL), 0);
	give(r, CONSOLE_Q_CONTROL_IN, 8);
}

/* Up to an agent that has its port open. */
static void agent_comes(struct rig *r)
{
	driver_comes(r);
	tell(r, 0xffffffff, DEVICE_READY, 1);
	is_told(r, PORT_ADD, 1, "");
	tell(r, 1, PORT_READY, 1);
	is_told(r, PORT_NAME, 1, "the.port");
	tell(r, 1, PORT_OPEN, 1);
	assert_true(virtio_console_is_open(r->dev));
}

static void connects(struct rig *r)
{
	struct err e;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	if (virtio_console_attach(r->dev, pair[0], &e))
		fail_msg("%s", e.text);
	r->fd = pair[1];
}

static size_t hears(struct rig *r, void *buf, size_t room)
{
	struct pollfd p = { .fd = r->fd, .events = POLLIN };
	ssize_t n;

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	n = recv(r->fd, buf, room, MSG_DONTWAIT);
	assert_true(n >= 0);
	return (size_t)n;
}

static void test_a_driver_learns_of_its_port(void **state)
{
	struct rig r;

	rig_open(&r);
	assert_int_equal(drv_config_read(&r.bed, SLOT, 0, 4), (0x1040u + 3) << 16 | 0x1af4);
	assert_int_equal(drv_read(&r.drv, 0x2004, 4), 2);
	agent_comes(&r);
	not_told(&r); /* nobody is connected, which it believes anyway */
	connects(&r);
	is_told(&r, PORT_OPEN, 1, "");
	close(r.fd);
	r.fd = -1;
	is_told(&r, PORT_OPEN, 0, "");
	tell(&r, 1, PORT_OPEN, 0);
	assert_false(virtio_console_is_open(r.dev));
	rig_close(&r);
}

static void test_bytes_go_both_ways(void **state)
{
	char buf[PIECE];
	struct rig r;

	rig_open(&r);
	agent_comes(&r);
	connects(&r);
	is_told(&r, PORT_OPEN, 1, "");
	assert_int_equal(send(r.fd, "hello", 5, 0), 5);
	give(&r, CONSOLE_Q_IN, 2); /* also when it comes later */
	assert_int_equal(take(&r, CONSOLE_Q_IN, buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(send(r.fd, "again", 5, 0), 5);
	assert_int_equal(take(&r, CONSOLE_Q_IN, buf, sizeof(buf)), 5);
	put(&r, CONSOLE_Q_OUT, "answer", 6);
	assert_int_equal(take(&r, CONSOLE_Q_OUT, buf, 0), 0);
	assert_int_equal(hears(&r, buf, sizeof(buf)), 6);
	assert_memory_equal(buf, "answer", 6);
	rig_close(&r);
}

static void test_one_at_a_time_speaks_to_it(void **state)
{
	struct rig r;
	struct err e;
	int pair[2];

	rig_open(&r);
	agent_comes(&r);
	connects(&r);
	is_told(&r, PORT_OPEN, 1, "");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(virtio_console_attach(r.dev, pair[0], &e), -EBUSY);
	assert_string_equal(e.text, "console0: somebody is connected already");
	close(r.fd); /* also while nobody in the guest takes what he has said */
	r.fd = -1;
	is_told(&r, PORT_OPEN, 0, "");
	assert_int_equal(virtio_console_attach(r.dev, pair[0], &e), 0);
	is_told(&r, PORT_OPEN, 1, "");
	close(pair[1]);
	is_told(&r, PORT_OPEN, 0, "");
	rig_close(&r);
}

/* What is said while the guest has the port closed waits; who hangs up meanwhile takes it along. */
static void test_nothing_is_read_for_a_port_that_is_closed(void **state)
{
	char buf[PIECE];
	struct rig r;

	rig_open(&r);
	agent_comes(&r);
	tell(&r, 1, PORT_OPEN, 0);
	give(&r, CONSOLE_Q_IN, 4);
	connects(&r);
	is_told(&r, PORT_OPEN, 1, "");
	assert_int_equal(send(r.fd, "old", 3, 0), 3);
	close(r.fd);
	is_told(&r, PORT_OPEN, 0, "");
	connects(&r);
	is_told(&r, PORT_OPEN, 1, "");
	assert_int_equal(send(r.fd, "new", 3, 0), 3);
	tell(&r, 1, PORT_OPEN, 1);
	assert_int_equal(take(&r, CONSOLE_Q_IN, buf, sizeof(buf)), 3);
	assert_memory_equal(buf, "new", 3);
	rig_close(&r);
}

/* A guest that writes and writes, to somebody who does not read: it waits, and so does nobody else. */
static void test_who_does_not_read_holds_up_the_guest_alone(void **state)
{
	static uint8_t piece[PIECE], got[PIECE];
	unsigned int given = 0;
	uint64_t total = 0, end;
	uint32_t len;
	uint16_t head;
	struct rig r;

	rig_open(&r);
	agent_comes(&r);
	connects(&r);
	is_told(&r, PORT_OPEN, 1, "");
	for (unsigned int i = 0; i < QUEUE; i++)
		put(&r, CONSOLE_Q_OUT, piece, sizeof(piece));
	for (end = clock_ms() + WAIT_MS; clock_ms() < end; usleep(1000)) {
		while (drv_poll(&r.drv, CONSOLE_Q_OUT, &head, &len)) {
			given++;
			if (given < 5000)
				put(&r, CONSOLE_Q_OUT, piece, sizeof(piece));
		}
		if (virtio_dev_quiesce(r.dev, 100, NULL) == 0) /* nothing is in flight, whatever waits */
			assert_int_equal(virtio_dev_start(r.dev, NULL), 0);
		if (given > 20 && !drv_poll(&r.drv, CONSOLE_Q_OUT, &head, &len))
			break;
	}
	assert_in_range(given, 1, 1000); /* a socket's buffer full, and no more */
	while (total < (uint64_t)(given + QUEUE / 2) * PIECE) {
		total += hears(&r, got, sizeof(got));
		while (drv_poll(&r.drv, CONSOLE_Q_OUT, &head, &len))
			;
	}
	rig_close(&r);
}

static void test_nobody_connected_loses_what_the_guest_writes(void **state)
{
	char buf[PIECE];
	struct rig r;

	rig_open(&r);
	agent_comes(&r);
	for (int i = 0; i < 200; i++) {
		put(&r, CONSOLE_Q_OUT, "lost", 4);
		assert_int_equal(take(&r, CONSOLE_Q_OUT, buf, 0), 0);
	}
	connects(&r);
	put(&r, CONSOLE_Q_OUT, "kept", 4);
	assert_int_equal(hears(&r, buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "kept", 4);
	rig_close(&r);
}

static void test_nonsense_of_a_driver_is_nothing(void **state)
{
	struct rig r;
	uint8_t nothing[1];

	rig_open(&r);
	driver_comes(&r);
	put(&r, CONSOLE_Q_CONTROL_OUT, "short", 5);
	take(&r, CONSOLE_Q_CONTROL_OUT, nothing, 0);
	tell(&r, 0, PORT_READY, 1);
	tell(&r, 7, PORT_READY, 1);
	tell(&r, 0, PORT_OPEN, 1);
	tell(&r, 1, 0xffff, 1);
	tell(&r, 1, DEVICE_READY, 0);
	assert_false(virtio_console_is_open(r.dev));
	not_told(&r);
	for (int i = 0; i < 1000; i++)
		tell(&r, 1, PORT_READY, 1); /* what is owed does not grow */
	is_told(&r, PORT_NAME, 1, "the.port");
	rig_close(&r);
}

static void test_more_at_once_than_there_is_room_for_breaks_the_device(void **state)
{
	struct drv_buf b[CONSOLE_CHUNK / PIECE + 1];
	struct rig r;
	uint64_t end = clock_ms() + WAIT_MS;

	rig_open(&r);
	agent_comes(&r);
	for (unsigned int i = 0; i < sizeof(b) / sizeof(b[0]); i++)
		b[i] = (struct drv_buf){ r.buffers[CONSOLE_Q_OUT] + i * PIECE, PIECE, false };
	drv_add(&r.drv, CONSOLE_Q_OUT, b, sizeof(b) / sizeof(b[0]));
	drv_kick(&r.drv, CONSOLE_Q_OUT);
	while (!(drv_read(&r.drv, 0x14, 1) & VIRTIO_S_NEEDS_RESET) && clock_ms() < end)
		usleep(1000);
	assert_true(drv_read(&r.drv, 0x14, 1) & VIRTIO_S_NEEDS_RESET);
	rig_close(&r);
}

static void test_a_guest_that_resets_hangs_up(void **state)
{
	char buf[16];
	struct rig r;

	rig_open(&r);
	agent_comes(&r);
	connects(&r);
	drv_write(&r.drv, 0x14, 1, 0);
	assert_int_equal(hears(&r, buf, sizeof(buf)), 0);
	assert_false(virtio_console_is_open(r.dev));
	rig_close(&r);
}

/* The agent's port stays open; that nobody is connected at the new host is told, and who comes there is heard. */
static void test_a_move_hangs_up_and_keeps_the_port(void **state)
{
	struct state_entry st[DEVICE_STATES_MAX];
	char buf[PIECE];
	struct rig r, s;
	struct err e;

	rig_open(&r);
	rig_open(&s);
	agent_comes(&r);
	connects(&r);
	is_told(&r, PORT_OPEN, 1, "");
	assert_int_equal(virtio_dev_quiesce(r.dev, 5000, NULL), 0);
	assert_int_equal(virtio_dev_state(r.dev, st), 2);
	assert_int_equal(virtio_dev_state(s.dev, st), 2);
	memcpy(s.bed.mem->regions[0].host, r.bed.mem->regions[0].host, BED_MEMORY);
	if (drv_move_states(r.dev, s.dev, &e))
		fail_msg("%s", e.text);
	memcpy(s.drv.q, r.drv.q, sizeof(s.drv.q));
	memcpy(s.buffers, r.buffers, sizeof(s.buffers));
	assert_int_equal(virtio_dev_start(s.dev, NULL), 0);
	is_told(&s, PORT_OPEN, 0, "");
	assert_true(virtio_console_is_open(s.dev));
	connects(&s);
	is_told(&s, PORT_OPEN, 1, "");
	put(&s, CONSOLE_Q_OUT, "here", 4);
	assert_int_equal(hears(&s, buf, sizeof(buf)), 4);
	rig_close(&r);
	rig_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_driver_learns_of_its_port),
		cmocka_unit_test(test_bytes_go_both_ways),
		cmocka_unit_test(test_one_at_a_time_speaks_to_it),
		cmocka_unit_test(test_nothing_is_read_for_a_port_that_is_closed),
		cmocka_unit_test(test_who_does_not_read_holds_up_the_guest_alone),
		cmocka_unit_test(test_nobody_connected_loses_what_the_guest_writes),
		cmocka_unit_test(test_nonsense_of_a_driver_is_nothing),
		cmocka_unit_test(test_more_at_once_than_there_is_room_for_breaks_the_device),
		cmocka_unit_test(test_a_guest_that_resets_hangs_up),
		cmocka_unit_test(test_a_move_hangs_up_and_keeps_the_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
