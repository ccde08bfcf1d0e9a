/* SPDX-License-Identifier: Apache-2.0 */
/* A network card with several pairs of queues: socket pairs where the tap's queues would be, and a real tap. */
#include "driver.h"

#include "base/clock.h"
#include "hv/virtio/virtio_int.h"
#include "hv/virtio/virtio_net_abi.h"
#include "net/link/port.h"
#include "net/link/tap.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PAIRS 4u
#define CTRL (2 * PAIRS)
#define FEATURES (NET_F_MRG_RXBUF | NET_F_CTRL_VQ)
#define CONFIG_MAX_PAIRS 0x2008 /* offset in the BAR: VIRTIO 1.2 5.1.4 behind the mac and status */
#define FLOOD 3000              /* commands, while packets go both ways */

static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

struct rig {
	struct bed bed;
	struct virtio_dev *net;
	struct drv drv;
	int wire[PAIRS];
};

static struct rig *rig_make(uint64_t features)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct virtio_net_conf c = { .n_more = PAIRS - 1 };
	struct err e = { 0 };
	int taps[PAIRS], pair[2];
	unsigned int i;

	for (i = 0; i < PAIRS; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
		taps[i] = pair[0];
		r->wire[i] = pair[1];
	}
	memcpy(c.mac, mac, sizeof(mac));
	c.tap_fd = taps[0];
	c.more_taps = taps + 1;
	assert_int_equal(bed_init(&r->bed), 0);
	assert_int_equal(virtio_net_create(&r->bed.env, 0, &c, &r->net, &e), 0);
	virtio_dev_plug(r->net);
	assert_int_equal(virtio_dev_start(r->net, &e), 0);
	drv_probe(&r->drv, &r->bed, r->net, 1);
	drv_features(&r->drv, features);
	drv_vectors(&r->drv, CTRL + 1);
	for (i = 0; i <= CTRL; i++)
		drv_queue(&r->drv, i, 32);
	drv_ok(&r->drv);
	return r;
}

static void rig_free(struct rig *r)
{
	virtio_dev_destroy(r->net);
	bed_fini(&r->bed);
	for (unsigned int i = 0; i < PAIRS; i++)
		close(r->wire[i]);
	free(r);
}

static uint8_t command(struct rig *r, unsigned int ctrl, const void *bytes, uint32_t n)
{
	uint64_t gpa = bed_alloc(&r->bed, 64);
	struct drv_buf b[2] = { { gpa, n, false }, { gpa + 32, 1, true } };
	uint8_t answer = 0xee;
	uint16_t head;
	uint32_t len;

	gmem_write(r->bed.mem, gpa, bytes, n);
	drv_add(&r->drv, ctrl, b, 2);
	drv_kick(&r->drv, ctrl);
	assert_true(drv_wait(&r->drv, ctrl, &head, &len));
	gmem_read(r->bed.mem, gpa + 32, &answer, 1);
	return answer;
}

static uint8_t use_pairs(struct rig *r, unsigned int pairs)
{
	return command(r, CTRL, (const uint8_t[]){ 4, 0, (uint8_t)pairs, (uint8_t)(pairs >> 8) }, 4);
}

/* A packet on each wire arrives in that pair's queue, and one sent by each pair on that wire. */
static bool pair_works(struct rig *r, unsigned int i, bool expected)
{
	uint64_t gpa = bed_alloc(&r->bed, 4096);
	struct drv_buf in = { gpa, 2048, true }, out = { gpa + 2048, 100, false };
	uint8_t packet[80] = { [TAP_HEADER] = (uint8_t)(0xa0 | i) }, back[200];
	struct pollfd p = { .fd = r->wire[i], .events = POLLIN };
	uint16_t head;
	uint32_t len;
	bool came;

	gmem_write(r->bed.mem, gpa + 2048, packet, sizeof(packet));
	drv_add(&r->drv, 2 * i, &in, 1);
	drv_kick(&r->drv, 2 * i);
	assert_int_equal(write(r->wire[i], packet, sizeof(packet)), sizeof(packet));
	if (!expected)
		usleep(50000);
	came = expected ? drv_wait(&r->drv, 2 * i, &head, &len) : drv_poll(&r->drv, 2 * i, &head, &len);
	if (came)
		assert_int_equal(len, sizeof(packet));
	drv_add(&r->drv, 2 * i + 1, &out, 1);
	drv_kick(&r->drv, 2 * i + 1);
	assert_true(drv_wait(&r->drv, 2 * i + 1, &head, &len));
	assert_int_equal(poll(&p, 1, 20000), 1);
	assert_int_equal(read(r->wire[i], back, sizeof(back)), 100);
	assert_int_equal(back[TAP_HEADER], 0xa0 | i);
	return came;
}

static void test_a_driver_uses_as_many_pairs_as_it_says(void **state)
{
	struct rig *r = rig_make(FEATURES | NET_F_MQ);

	assert_int_equal(drv_read(&r->drv, CONFIG_MAX_PAIRS, 2), PAIRS);
	assert_true(pair_works(r, 0, true));
	assert_false(pair_works(r, 1, false));
	assert_int_equal(use_pairs(r, PAIRS), 0);
	/* The one that came when nobody looked is there now. */
	for (unsigned int i = 0; i < PAIRS; i++)
		assert_true(pair_works(r, i, true));
	assert_int_equal(use_pairs(r, 2), 0);
	assert_true(pair_works(r, 1, true));
	assert_false(pair_works(r, 2, false));
	rig_free(r);
}

static void test_a_driver_that_knows_of_one_pair_finds_control_behind_it(void **state)
{
	struct rig *r = rig_make(FEATURES);

	assert_true(pair_works(r, 0, true));
	assert_int_equal(command(r, 2, (const uint8_t[]){ 0, 0, 1 }, 3), 0);
	assert_int_equal(command(r, 2, (const uint8_t[]){ 4, 0, 2, 0 }, 4), 1); /* it did not negotiate this */
	assert_true(pair_works(r, 0, true));
	rig_free(r);
}

static void test_a_number_of_pairs_that_there_is_not_is_refused(void **state)
{
	static const unsigned int wrong[] = { 0, PAIRS + 1, 17, 0x100, 0x8000, 0xffff };
	struct rig *r = rig_make(FEATURES | NET_F_MQ);

	assert_int_equal(use_pairs(r, 2), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(use_pairs(r, wrong[i]), 1);
	assert_int_equal(command(r, CTRL, (const uint8_t[]){ 4, 0, 3 }, 3), 1);
	assert_int_equal(command(r, CTRL, (const uint8_t[]){ 4, 0, 3, 0, 0 }, 5), 1);
	assert_int_equal(command(r, CTRL, (const uint8_t[]){ 4, 0 }, 2), 1);
	assert_int_equal(command(r, CTRL, (const uint8_t[]){ 4, 1, 3, 0 }, 4), 1); /* RSS */
	assert_true(pair_works(r, 1, true));
	assert_false(pair_works(r, 2, false));
	rig_free(r);
}

static void test_a_reset_leaves_one_pair(void **state)
{
	struct rig *r = rig_make(FEATURES | NET_F_MQ);

	assert_int_equal(use_pairs(r, PAIRS), 0);
	memset(r->drv.q, 0, sizeof(r->drv.q));
	drv_features(&r->drv, FEATURES | NET_F_MQ); /* begins with a reset */
	for (unsigned int i = 0; i <= CTRL; i++)
		drv_queue(&r->drv, i, 32);
	drv_ok(&r->drv);
	assert_false(pair_works(r, 3, false));
	assert_true(pair_works(r, 0, true));
	rig_free(r);
}

static void test_a_pair_that_breaks_the_rules_stops_the_card_alone(void **state)
{
	struct rig *r = rig_make(FEATURES | NET_F_MQ);
	struct drv_buf b = { 0xfffffffffff0ull, 64, false };

	assert_int_equal(use_pairs(r, PAIRS), 0);
	drv_add(&r->drv, 7, &b, 1); /* what pair 3 is to send is not RAM */
	drv_kick(&r->drv, 7);
	for (int i = 0; i < 20000 && !(drv_read(&r->drv, 0x14, 1) & VIRTIO_S_NEEDS_RESET); i++)
		usleep(1000);
	assert_true(drv_read(&r->drv, 0x14, 1) & VIRTIO_S_NEEDS_RESET);
	drv_write(&r->drv, 0x14, 1, 0);
	assert_int_equal(drv_read(&r->drv, 0x14, 1), 0);
	rig_free(r);
}

/* --- state --- */

static int move_net(struct rig *a, struct rig *b, struct err *e)
{
	virtio_dev_quiesce(a->net, 20000, e);
	virtio_dev_quiesce(b->net, 20000, e);
	return drv_move_states(a->net, b->net, e);
}

static void test_pairs_move(void **state)
{
	struct rig *a = rig_make(FEATURES | NET_F_MQ), *b = rig_make(0);
	struct err e = { 0 };

	assert_int_equal(use_pairs(a, 3), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(pair_works(a, i, true));
	if (move_net(a, b, &e))
		fail_msg("%s", e.text);
	/* The guest's memory goes with it. */
	memcpy(b->bed.mem->regions[0].host, a->bed.mem->regions[0].host, BED_MEMORY);
	memcpy(b->drv.q, a->drv.q, sizeof(a->drv.q));
	b->bed.next_gpa = a->bed.next_gpa;
	assert_int_equal(virtio_dev_start(b->net, &e), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(pair_works(b, i, true));
	assert_false(pair_works(b, 3, false));
	rig_free(a);
	rig_free(b);
}

static void test_hostile_numbers_of_pairs_are_refused(void **state)
{
	static const uint16_t wrong[] = { 0, PAIRS + 1, 0xffff };
	struct rig *a = rig_make(FEATURES | NET_F_MQ), *plain = rig_make(FEATURES);
	struct state_entry st[DEVICE_STATES_MAX];
	struct err e = { 0 };
	uint16_t *pairs;

	virtio_dev_quiesce(a->net, 20000, &e);
	assert_int_equal(virtio_dev_state(a->net, st), 2);
	st[1].desc->pre_save(st[1].dev, &e);
	assert_string_equal(st[1].desc->fields[3].name, "loaded_pairs");
	pairs = (uint16_t *)(void *)((char *)st[1].dev + st[1].desc->fields[3].offset);
	assert_int_equal(*pairs, 1);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		*pairs = wrong[i];
		assert_int_equal(st[1].desc->post_load(st[1].dev, &e), -EINVAL);
		assert_non_null(strstr(e.text, "expected 1 to 4"));
	}
	virtio_dev_quiesce(plain->net, 20000, &e);
	virtio_dev_state(plain->net, st);
	pairs = (uint16_t *)(void *)((char *)st[1].dev + st[1].desc->fields[3].offset);
	*pairs = 2; /* of a driver that knows of one */
	assert_int_equal(st[1].desc->post_load(st[1].dev, &e), -EINVAL);
	rig_free(a);
	rig_free(plain);
}

/* --- at the same time --- */

struct flood {
	struct rig *r;
	unsigned int i;
	_Atomic bool *stop;
	unsigned int sent;
};

/* As fast as it goes: packets on one wire, what comes back is thrown away. */
static void *flood_wire(void *arg)
{
	struct flood *f = arg;
	uint8_t packet[80] = { 0 }, back[200];

	while (!atomic_load(f->stop)) {
		if (write(f->r->wire[f->i], packet, sizeof(packet)) > 0)
			f->sent++;
		while (read(f->r->wire[f->i], back, sizeof(back)) > 0)
			;
	}
	return NULL;
}

static void test_commands_in_a_flood_change_pairs_under_traffic(void **state)
{
	struct rig *r = rig_make(FEATURES | NET_F_MQ);
	struct flood f[PAIRS];
	pthread_t t[PAIRS];
	_Atomic bool stop = false;
	uint64_t gpa = bed_alloc(&r->bed, 64), rx = bed_alloc(&r->bed, PAIRS * 32 * 128);
	struct drv_buf b[2] = { { gpa, 4, false }, { gpa + 32, 1, true } };
	uint16_t head;
	uint32_t len;
	unsigned int i, k, rng = 1;

	for (i = 0; i < PAIRS; i++) {
		for (k = 0; k < 31; k++) {
			struct drv_buf in = { rx + 128 * (32 * i + k), 128, true };

			drv_add(&r->drv, 2 * i, &in, 1);
		}
		drv_kick(&r->drv, 2 * i);
		f[i] = (struct flood){ r, i, &stop, 0 };
		assert_int_equal(pthread_create(&t[i], NULL, flood_wire, &f[i]), 0);
	}
	for (k = 0; k < FLOOD; k++) {
		uint8_t c[4] = { 4, 0, 0, 0 };

		rng = rng * 1103515245 + 12345;
		c[2] = (uint8_t)(rng >> 16) % (PAIRS + 2);
		gmem_write(r->bed.mem, gpa, c, sizeof(c));
		drv_add(&r->drv, CTRL, b, 2);
		drv_kick(&r->drv, CTRL);
		assert_true(drv_wait(&r->drv, CTRL, &head, &len));
		for (i = 0; i < PAIRS; i++) /* buffers go round */
			if (drv_poll(&r->drv, 2 * i, &head, &len)) {
				struct drv_buf in = { rx + 128 * (32 * i + k % 31), 128, true };

				drv_add(&r->drv, 2 * i, &in, 1);
				drv_kick(&r->drv, 2 * i);
			}
		if (k % 500 == 499) {
			struct err e;

			assert_int_equal(virtio_dev_quiesce(r->net, 20000, &e), 0);
			assert_int_equal(virtio_dev_start(r->net, &e), 0);
		}
	}
	assert_int_equal(use_pairs(r, PAIRS), 0);
	atomic_store(&stop, true);
	for (i = 0; i < PAIRS; i++)
		pthread_join(t[i], NULL);
	assert_false(drv_read(&r->drv, 0x14, 1) & VIRTIO_S_NEEDS_RESET);
	rig_free(r);
}

/* --- a real tap --- */

static void test_queues_of_a_tap_take_part_when_they_are_wanted(void **state)
{
	struct port_conf c = { .tap = "t0", .mac = mac, .queues = PAIRS };
	uint8_t packet[80] = { 0 };
	struct err e = { 0 };
	struct port *p;
	int fd[PAIRS];

	if (unshare(CLONE_NEWNET) || access("/dev/net/tun", R_OK | W_OK))
		skip();
	if (port_open(&c, &p, &e))
		fail_msg("%s", e.text);
	for (unsigned int i = 0; i < PAIRS; i++) {
		fd[i] = port_take_fd(p, i);
		/* Only one that is attached can be detached. */
		assert_int_equal(tap_attach_queue(fd[i], false, &e), i ? -EINVAL : 0);
		assert_int_equal(tap_attach_queue(fd[i], true, &e), 0);
		assert_int_equal(write(fd[i], packet, sizeof(packet)), sizeof(packet));
	}
	assert_int_equal(tap_attach_queue(fd[1], true, &e), -EINVAL);
	assert_string_equal(e.text, "tap: attach a queue: Invalid argument");
	for (unsigned int i = 0; i < PAIRS; i++)
		close(fd[i]);
	port_close(p);
	/* One that is there, made for one queue. */
	assert_int_equal(system("ip tuntap add t0 mode tap"), 0);
	assert_int_equal(port_open(&c, &p, &e), -EINVAL);
	assert_string_equal(e.text, "tap t0: is there, and not a tap device with multi_queue");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_driver_uses_as_many_pairs_as_it_says),
		cmocka_unit_test(test_a_driver_that_knows_of_one_pair_finds_control_behind_it),
		cmocka_unit_test(test_a_number_of_pairs_that_there_is_not_is_refused),
		cmocka_unit_test(test_a_reset_leaves_one_pair),
		cmocka_unit_test(test_a_pair_that_breaks_the_rules_stops_the_card_alone),
		cmocka_unit_test(test_pairs_move),
		cmocka_unit_test(test_hostile_numbers_of_pairs_are_refused),
		cmocka_unit_test(test_commands_in_a_flood_change_pairs_under_traffic),
		cmocka_unit_test(test_queues_of_a_tap_take_part_when_they_are_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
