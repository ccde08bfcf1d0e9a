/* SPDX-License-Identifier: Apache-2.0 */
/* The network card, with a socket pair where the tap would be, and the tap itself. */
#include "driver.h"

#include "base/clock.h"
#include "hv/virtio/virtio_int.h"
#include "net/link/announce.h"
#include "net/link/tap.h"

#include <errno.h>
#include <net/if.h>
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

#define F_MTU (1ull << 3)
#define F_MRG_RXBUF (1ull << 15)
#define F_GUEST_ANNOUNCE (1ull << 21)
#define F_STATUS (1ull << 16)

#define RACES 1000 /* half a second; one in some hundred is won */

enum {
	RX,
	TX,
	CTRL
};

static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

struct rig {
	struct bed bed;
	struct virtio_dev *net;
	struct drv drv;
	int wire; /* the other end of the "tap" */
};

static void negotiate(struct rig *r, uint64_t features)
{
	drv_probe(&r->drv, &r->bed, r->net, 1);
	drv_features(&r->drv, features);
	drv_vectors(&r->drv, 3);
	drv_queue(&r->drv, RX, 64);
	drv_queue(&r->drv, TX, 64);
	drv_queue(&r->drv, CTRL, 16);
	drv_ok(&r->drv);
}

static struct rig *rig_make_mtu(uint64_t features, uint16_t mtu)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct virtio_net_conf c = { .link_mtu = mtu };
	struct err e = { 0 };
	int pair[2];

	memcpy(c.mac, mac, sizeof(mac));
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
	c.tap_fd = pair[0];
	r->wire = pair[1];
	assert_int_equal(bed_init(&r->bed), 0);
	assert_int_equal(virtio_net_create(&r->bed.env, 0, &c, &r->net, &e), 0);
	virtio_dev_plug(r->net);
	assert_int_equal(virtio_dev_start(r->net, &e), 0);
	negotiate(r, features);
	return r;
}

static struct rig *rig_make(uint64_t features)
{
	return rig_make_mtu(features, 0);
}

static void rig_free(struct rig *r)
{
	virtio_dev_destroy(r->net);
	bed_fini(&r->bed);
	close(r->wire);
	free(r);
}

static ssize_t wire_read(struct rig *r, uint8_t *buf, size_t len)
{
	struct pollfd p = { .fd = r->wire, .events = POLLIN };

	return poll(&p, 1, 2000) == 1 ? read(r->wire, buf, len) : -1;
}

static void test_config_shows_mac_and_link(void **state)
{
	struct rig *r = rig_make(F_MRG_RXBUF | F_STATUS);
	unsigned int i;

	for (i = 0; i < 6; i++)
		assert_int_equal(drv_read(&r->drv, 0x2000 + i, 1), mac[i]);
	assert_int_equal(drv_read(&r->drv, 0x2006, 2), 1);
	rig_free(r);
}

static void test_transmit_reaches_the_wire(void **state)
{
	struct rig *r = rig_make(F_MRG_RXBUF | VIRTIO_F_EVENT_IDX);
	uint64_t gpa = bed_alloc(&r->bed, 4096);
	struct drv_buf b[2] = { { gpa, TAP_HEADER, false }, { gpa + 64, 100, false } };
	uint8_t buf[4096];
	uint16_t head;
	uint32_t len;
	int i;

	memset(buf, 0x42, 100);
	gmem_write(r->bed.mem, gpa + 64, buf, 100);
	for (i = 0; i < 20; i++) {
		drv_add(&r->drv, TX, b, 2);
		drv_kick(&r->drv, TX);
		assert_int_equal(wire_read(r, buf, sizeof(buf)), TAP_HEADER + 100);
		assert_int_equal(buf[TAP_HEADER], 0x42);
		assert_true(drv_wait(&r->drv, TX, &head, &len));
	}
	rig_free(r);
}

static void post_rx(struct rig *r, uint64_t gpa, uint32_t len)
{
	struct drv_buf b = { gpa, len, true };

	drv_add(&r->drv, RX, &b, 1);
}

static void test_receive_spreads_over_buffers(void **state)
{
	struct rig *r = rig_make(F_MRG_RXBUF);
	uint64_t gpa[8];
	uint8_t packet[TAP_HEADER + 3000], back[1024];
	uint16_t head, count;
	uint32_t len, total = 0;
	size_t i;

	for (i = 0; i < sizeof(packet); i++)
		packet[i] = i < TAP_HEADER ? 0 : (uint8_t)(i * 7);
	r->bed.mem->tracking = true;
	for (i = 0; i < 8; i++) {
		r->bed.next_gpa = (r->bed.next_gpa + 4095) & ~4095ull;
		gpa[i] = bed_alloc(&r->bed, 1024);
	}
	/* Two buffers are too few for it: it waits for more. */
	post_rx(r, gpa[0], 1024);
	post_rx(r, gpa[1], 1024);
	drv_kick(&r->drv, RX);
	assert_int_equal(write(r->wire, packet, sizeof(packet)), sizeof(packet));
	usleep(30000);
	assert_false(drv_poll(&r->drv, RX, &head, &len));
	post_rx(r, gpa[2], 1024);
	post_rx(r, gpa[3], 1024);
	drv_kick(&r->drv, RX);
	for (i = 0; i < 3; i++) {
		assert_true(drv_wait(&r->drv, RX, &head, &len));
		gmem_read(r->bed.mem, gpa[i], back, len);
		if (i)
			assert_memory_equal(back, packet + total, len);
		assert_true(bed_is_dirty(&r->bed, gpa[i]));
		total += len;
	}
	assert_int_equal(total, sizeof(packet));
	gmem_read(r->bed.mem, gpa[0] + 10, &count, 2);
	assert_int_equal(count, 3);
	assert_false(bed_is_dirty(&r->bed, gpa[3]));
	/* The fourth buffer is still there for the next packet. */
	assert_int_equal(write(r->wire, packet, 100), 100);
	assert_true(drv_wait(&r->drv, RX, &head, &len));
	assert_int_equal(len, 100);
	rig_free(r);
}

/* With EVENT_IDX too: buffers that were too few for a packet, put back, must not cost the next kick. */
static void test_a_packet_that_waits_for_buffers_asks_for_a_kick(void **state)
{
	struct rig *r = rig_make(F_MRG_RXBUF | VIRTIO_F_EVENT_IDX);
	uint8_t packet[TAP_HEADER + 8000] = { 0 };
	uint16_t head;
	uint32_t len;
	int turn, i;

	for (turn = 0; turn < 20; turn++) {
		uint64_t gpa = bed_alloc(&r->bed, 8 * 1536);

		for (i = 0; i < 2; i++)
			post_rx(r, gpa + 1536u * (unsigned int)i, 1536);
		drv_kick_if_asked(&r->drv, RX);
		assert_int_equal(write(r->wire, packet, sizeof(packet)), sizeof(packet));
		/* It finds them too few, and asks to be kicked for the next. */
		for (i = 0; i < 2000 && !drv_asks(&r->drv, RX); i++)
			usleep(1000);
		assert_true(drv_asks(&r->drv, RX));
		assert_false(drv_poll(&r->drv, RX, &head, &len));
		for (i = 2; i < 6; i++)
			post_rx(r, gpa + 1536u * (unsigned int)i, 1536);
		assert_true(drv_kick_if_asked(&r->drv, RX));
		for (i = 0; i < 6; i++)
			assert_true(drv_wait(&r->drv, RX, &head, &len));
	}
	rig_free(r);
}

static void test_without_mergeable_buffers_one_must_do(void **state)
{
	struct rig *r = rig_make(0);
	uint64_t gpa = bed_alloc(&r->bed, 4096);
	uint8_t packet[2000] = { 0 };
	uint16_t head, count;
	uint32_t len;

	post_rx(r, gpa, 1024);
	post_rx(r, gpa + 2048, 1600);
	drv_kick(&r->drv, RX);
	assert_int_equal(write(r->wire, packet, 2000), 2000); /* does not fit: dropped */
	assert_true(drv_wait(&r->drv, RX, &head, &len));
	assert_int_equal(len, 0);
	assert_int_equal(write(r->wire, packet, 1500), 1500);
	assert_true(drv_wait(&r->drv, RX, &head, &len));
	assert_int_equal(len, 1500);
	gmem_read(r->bed.mem, gpa + 2048 + 10, &count, 2);
	assert_int_equal(count, 1);
	rig_free(r);
}

/* Buffers that are too few for a packet though the ring is full of them: it can never come, and they stay for others. */
static void test_a_packet_that_no_ring_of_buffers_holds_is_dropped(void **state)
{
	struct rig *r = rig_make(F_MRG_RXBUF);
	uint64_t gpa = bed_alloc(&r->bed, 64 * 16);
	uint8_t packet[2000] = { 0 };
	uint16_t head, seen = 0;
	uint32_t len;

	for (uint32_t i = 0; i < 64; i++)
		post_rx(r, gpa + 16 * i, 16);
	drv_kick(&r->drv, RX);
	assert_int_equal(write(r->wire, packet, 2000), 2000);
	assert_true(drv_wait(&r->drv, RX, &head, &len));
	assert_int_equal(len, 0);
	/* 63 are left, and do. */
	assert_int_equal(write(r->wire, packet, 63 * 16), 63 * 16);
	while (seen < 63 && drv_wait(&r->drv, RX, &head, &len))
		seen++;
	assert_int_equal(seen, 63);
	rig_free(r);
}

struct racer {
	uint16_t *avail_idx, *used_flags;
	unsigned int pause;
	_Atomic bool stop;
};

/* Says that buffers came which the ring has no room for, as soon as the device has begun to take some. */
static void *race(void *arg)
{
	struct racer *a = arg;

	while (!__atomic_load_n(a->used_flags, __ATOMIC_ACQUIRE) && !atomic_load(&a->stop))
		;
	for (unsigned int n = 0; n < 128 && !atomic_load(&a->stop); n++) {
		for (volatile unsigned int i = 0; i < a->pause; i++)
			;
		__atomic_fetch_add(a->avail_idx, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void *ring(struct rig *r, uint64_t gpa)
{
	struct iovec iov;

	assert_int_equal(gmem_iov(r->bed.mem, gpa, 2, GMEM_WRITE, &iov), 0);
	return iov.iov_base;
}

static void test_a_guest_that_adds_more_than_its_ring_holds_breaks_its_own_ring(void **state)
{
	struct rig *r = rig_make(F_MRG_RXBUF);
	uint8_t packet[4000] = { 0 };

	for (unsigned int turn = 0; turn < RACES; turn++) {
		struct racer a = { .pause = turn % 64 };
		uint64_t gpa;
		pthread_t t;

		r->bed.next_gpa = 0x100000;
		negotiate(r, F_MRG_RXBUF);
		gpa = bed_alloc(&r->bed, 64 * 48);
		a.avail_idx = ring(r, r->drv.q[RX].avail + 2);
		a.used_flags = ring(r, r->drv.q[RX].used);
		for (uint32_t i = 0; i < 64; i++)
			post_rx(r, gpa + 48 * i, 48);
		assert_int_equal(pthread_create(&t, NULL, race, &a), 0);
		/* EAGAIN: a ring that broke has left some there. */
		assert_true(write(r->wire, packet, sizeof(packet)) > 0 || errno == EAGAIN);
		drv_kick(&r->drv, RX);
		usleep(200);
		atomic_store(&a.stop, true);
		pthread_join(t, NULL);
	}
	rig_free(r);
}

static uint8_t command(struct rig *r, const uint8_t *bytes, uint32_t n)
{
	uint64_t gpa = bed_alloc(&r->bed, 64);
	struct drv_buf b[2] = { { gpa, n, false }, { gpa + 32, 1, true } };
	uint8_t answer = 0xee;
	uint16_t head;
	uint32_t len;

	gmem_write(r->bed.mem, gpa, bytes, n);
	drv_add(&r->drv, CTRL, b, 2);
	drv_kick(&r->drv, CTRL);
	assert_true(drv_wait(&r->drv, CTRL, &head, &len));
	gmem_read(r->bed.mem, gpa + 32, &answer, 1);
	return answer;
}

static void test_the_guest_announces_itself_when_asked(void **state)
{
	struct rig *r = rig_make(F_MRG_RXBUF | F_STATUS | F_GUEST_ANNOUNCE);

	drv_interrupts(&r->drv, 0);
	virtio_net_announce(r->net);
	assert_int_equal(drv_read(&r->drv, 0x2006, 2), 3);
	assert_true(drv_interrupts(&r->drv, 0) > 0);
	assert_int_equal(command(r, (const uint8_t[]){ 3, 0 }, 2), 0);
	assert_int_equal(drv_read(&r->drv, 0x2006, 2), 1);
	assert_int_equal(command(r, (const uint8_t[]){ 0, 0, 1 }, 3), 0);
	assert_int_equal(command(r, (const uint8_t[]){ 0, 77, 1 }, 3), 1);
	assert_int_equal(command(r, (const uint8_t[]){ 9, 0 }, 2), 1);
	assert_int_equal(command(r, (const uint8_t[]){ 0 }, 1), 1);
	rig_free(r);
}

static void test_quiet_takes_nothing_from_the_wire(void **state)
{
	struct rig *r = rig_make(F_MRG_RXBUF);
	uint64_t gpa = bed_alloc(&r->bed, 4096);
	uint8_t packet[200] = { 0 };
	struct err e;
	uint16_t head;
	uint32_t len;

	post_rx(r, gpa, 2048);
	drv_kick(&r->drv, RX);
	usleep(5000);
	assert_int_equal(virtio_dev_quiesce(r->net, 1000, &e), 0);
	assert_int_equal(write(r->wire, packet, sizeof(packet)), sizeof(packet));
	usleep(30000);
	assert_false(drv_poll(&r->drv, RX, &head, &len));
	virtio_dev_start(r->net, &e);
	assert_true(drv_wait(&r->drv, RX, &head, &len));
	rig_free(r);
}

static void test_state_moves(void **state)
{
	struct rig *a = rig_make(F_MRG_RXBUF | F_GUEST_ANNOUNCE), *b = rig_make(F_MRG_RXBUF);
	struct state_entry from[DEVICE_STATES_MAX], to[DEVICE_STATES_MAX];
	static uint8_t buf[16384];
	struct err e = { 0 };
	size_t n, i;

	virtio_dev_quiesce(a->net, 1000, &e);
	virtio_dev_quiesce(b->net, 1000, &e);
	((uint8_t *)(uintptr_t)virtio_net_mac(a->net))[5] = 0x77;
	n = virtio_dev_state(a->net, from);
	assert_int_equal(virtio_dev_state(b->net, to), n);
	for (i = 0; i < n; i++) {
		struct writer w = writer_make(buf, sizeof(buf));
		struct reader r;

		assert_int_equal(state_save_one(&from[i], &w, &e), 0);
		r = reader_make(buf, writer_len(&w));
		if (state_load_one(&to[i], 1, &r, &e))
			fail_msg("%s", e.text);
	}
	assert_int_equal(virtio_net_mac(b->net)[5], 0x77);
	drv_probe(&b->drv, &b->bed, b->net, 1);
	assert_int_equal(drv_read(&b->drv, 0x2005, 1), 0x77);
	assert_int_equal(drv_read(&b->drv, 0x14, 1), 15);
	rig_free(a);
	rig_free(b);
}

/* Move @a's state onto @b, both quiet. */
static int move_net(struct rig *a, struct rig *b, struct err *e)
{
	virtio_dev_quiesce(a->net, 1000, e);
	virtio_dev_quiesce(b->net, 1000, e);
	return drv_move_states(a->net, b->net, e);
}

static uint16_t mtu_seen(struct rig *r)
{
	drv_probe(&r->drv, &r->bed, r->net, 1);
	return (uint16_t)drv_read(&r->drv, 0x200a, 2);
}

static void test_a_guest_knows_what_its_link_carries_and_keeps_to_it(void **state)
{
	static const struct {
		uint64_t features;
		uint16_t there, here, seen; /* seen 0: refused */
	} rows[] = {
		{ F_MTU, 9000, 9000, 9000 },
		{ F_MTU, 1500, 9000, 1500 },
		{ F_MTU, 9000, 1500, 0 },
		{ 0, 9000, 1500, 1500 }, /* never told: nothing to keep to */
		{ F_MTU, 0, 1500, 1500 },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *a = rig_make_mtu(rows[i].features, rows[i].there), *b = rig_make_mtu(0, rows[i].here);
		struct err e = { 0 };

		assert_int_equal(mtu_seen(a), rows[i].there ? rows[i].there : 1500);
		assert_int_equal(move_net(a, b, &e), rows[i].seen ? 0 : -EINVAL);
		if (rows[i].seen)
			assert_int_equal(mtu_seen(b), rows[i].seen);
		else
			assert_string_equal(e.text, "net0.net: mtu: the guest sends packets of up to 9000 bytes, "
						    "the link here carries 1500");
		rig_free(a);
		rig_free(b);
	}
}

/* A card that is to know less than its link carries, or is in VLANs. */
static struct virtio_dev *card_make(struct bed *bed, struct virtio_net_conf *c, int *wire)
{
	struct virtio_dev *net;
	struct err e = { 0 };
	int pair[2];

	memcpy(c->mac, mac, sizeof(mac));
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
	c->tap_fd = pair[0];
	*wire = pair[1];
	assert_int_equal(bed_init(bed), 0);
	assert_int_equal(virtio_net_create(&bed->env, 0, c, &net, &e), 0);
	virtio_dev_plug(net);
	return net;
}

static void test_a_guest_is_told_the_mtu_of_its_file(void **state)
{
	struct virtio_net_conf c = { .mtu = 1400, .link_mtu = 9000 };
	struct rig *r = calloc(1, sizeof(*r));

	r->net = card_make(&r->bed, &c, &r->wire);
	assert_int_equal(mtu_seen(r), 1400);
	rig_free(r);
}

static void test_a_card_announces_itself_in_each_of_its_vlans(void **state)
{
	static const uint16_t vlans[] = { 20, 0xabc };
	static const struct {
		uint16_t vlan;
		size_t n_vlans;
		unsigned int frames;
	} rows[] = { { 0, 0, 1 }, { 10, 0, 1 }, { 10, 2, 3 }, { 0, 2, 2 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct virtio_net_conf c = { .vlan = rows[i].vlan, .vlans = vlans, .n_vlans = rows[i].n_vlans };
		uint8_t frame[ANNOUNCE_FRAME], buf[256];
		struct rig *r = calloc(1, sizeof(*r));
		unsigned int tagged, n = 0;
		struct err e;

		r->net = card_make(&r->bed, &c, &r->wire);
		announce_rarp(frame, mac);
		assert_int_equal(virtio_net_transmit(r->net, frame, sizeof(frame), &e), 0);
		if (rows[i].frames > rows[i].n_vlans) {
			assert_int_equal(read(r->wire, buf, sizeof(buf)), TAP_HEADER + ANNOUNCE_FRAME);
			assert_memory_equal(buf + TAP_HEADER, frame, ANNOUNCE_FRAME);
			n++;
		}
		for (tagged = 0; tagged < rows[i].n_vlans; tagged++, n++) {
			assert_int_equal(read(r->wire, buf, sizeof(buf)), TAP_HEADER + ANNOUNCE_FRAME + 4);
			assert_memory_equal(buf + TAP_HEADER, frame, 12);
			assert_memory_equal(buf + TAP_HEADER + 12, tagged ? "\x81\x00\x0a\xbc" : "\x81\x00\x00\x14", 4);
			assert_memory_equal(buf + TAP_HEADER + 16, frame + 12, ANNOUNCE_FRAME - 12);
		}
		assert_int_equal(n, rows[i].frames);
		assert_int_equal(read(r->wire, buf, sizeof(buf)), -1);
		rig_free(r);
	}
}

static void test_hostile_state_is_refused(void **state)
{
	struct rig *a = rig_make(F_MRG_RXBUF);
	struct virtio_saved *s = &a->net->saved;
	struct state_entry st[DEVICE_STATES_MAX];
	struct err e = { 0 };

	virtio_dev_quiesce(a->net, 1000, &e);
	virtio_dev_state(a->net, st);
	st[0].desc->pre_save(s, &e);
	assert_int_equal(st[0].desc->post_load(s, &e), 0);
	s->features |= 1ull << 60;
	assert_int_equal(st[0].desc->post_load(s, &e), -EINVAL);
	st[0].desc->pre_save(s, &e);
	s->q_used[0] = BED_MEMORY - 4;
	assert_int_equal(st[0].desc->post_load(s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "not RAM"));
	st[0].desc->pre_save(s, &e);
	s->q_size[1] = 3;
	s->q_enabled[1] = 1;
	assert_int_equal(st[0].desc->post_load(s, &e), -EINVAL);
	st[0].desc->pre_save(s, &e);
	s->pci.config[0] = 0x12;
	assert_int_equal(st[0].desc->post_load(s, &e), -EINVAL);
	st[0].desc->pre_save(s, &e);
	s->pci.n_vectors++;
	assert_int_equal(st[0].desc->post_load(s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "vectors there"));
	st[0].desc->pre_save(s, &e);
	s->n_queues++;
	assert_int_equal(st[0].desc->post_load(s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "queues there"));
	rig_free(a);
}

static void test_announcements(void **state)
{
	struct rig *r = rig_make(F_MRG_RXBUF);
	uint8_t frame[ANNOUNCE_FRAME], buf[256];
	struct err e;
	unsigned int n, gap = 0;

	announce_rarp(frame, mac);
	assert_memory_equal(frame, "\xff\xff\xff\xff\xff\xff\x52\x54\x00\x01\x02\x03\x80\x35", 14);
	assert_memory_equal(frame + 14, "\x00\x01\x08\x00\x06\x04\x00\x03", 8);
	assert_memory_equal(frame + 32, mac, 6);
	assert_int_equal(virtio_net_transmit(r->net, frame, sizeof(frame), &e), 0);
	assert_int_equal(wire_read(r, buf, sizeof(buf)), TAP_HEADER + ANNOUNCE_FRAME);
	assert_memory_equal(buf + TAP_HEADER, frame, ANNOUNCE_FRAME);
	announce_garp(frame, mac, (const uint8_t[]){ 10, 0, 0, 7 });
	assert_memory_equal(frame + 12, "\x08\x06", 2);
	assert_memory_equal(frame + 28, "\x0a\x00\x00\x07", 4);
	assert_memory_equal(frame + 38, "\x0a\x00\x00\x07", 4);
	for (n = 0; announce_delay_ms(n) >= 0; n++) {
		assert_true(announce_delay_ms(n) > (int)gap);
		gap = (unsigned int)announce_delay_ms(n);
	}
	assert_int_equal(n, ANNOUNCE_ROUNDS - 1);
	rig_free(r);
}

static void test_a_real_tap_in_a_namespace_of_its_own(void **state)
{
	char name[TAP_NAME_MAX + 1], again[TAP_NAME_MAX + 1];
	struct err e = { 0 };
	int fd;

	if (unshare(CLONE_NEWNET)) {
		skip();
		return;
	}
	fd = tap_open(NULL, 1, name, &e);
	if (fd == -ENOENT || fd == -EPERM)
		skip();
	if (fd < 0)
		fail_msg("%s", e.text);
	assert_true(if_nametoindex(name) > 0);
	assert_int_equal(tap_offload(fd, TAP_OFFLOAD_CSUM | TAP_OFFLOAD_TSO4, &e), 0);
	assert_int_equal(tap_set_up(name, true, &e), 0);
	assert_int_equal(tap_attach(name, "no-bridge", mac, &e), -ENOENT);
	assert_non_null(strstr(e.text, "no-bridge"));
	assert_int_equal(tap_attach(name, "lo", mac, &e), -EINVAL);
	assert_int_equal(tap_open(name, 1, again, &e), -EBUSY);
	assert_int_equal(tap_open("a-name-that-is-too-long", 1, again, &e), -EINVAL);
	close(fd);
}

/* What the bridge's address is, by ip(8). */
static void bridge_mac(char out[18])
{
	FILE *f = popen("ip -br link show br-test | awk '{print $3}'", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%17s", out), 1);
	pclose(f);
}

/* As low a card as a guest can have: the bridge stays with the address of the host's own. */
static void test_a_guest_does_not_change_address_and_mtu_of_its_host(void **state)
{
	static const uint8_t low[6] = { 0x02, 0, 0, 0, 0, 1 }, highest[6] = { 0xfe, 0, 0, 0, 0, 1 };
	char name[TAP_NAME_MAX + 1], second[TAP_NAME_MAX + 1], bridge[18];
	struct err e = { 0 };
	int fd, fd2;

	if (unshare(CLONE_NEWNET) || access("/dev/net/tun", R_OK | W_OK))
		skip();
	assert_int_equal(system("ip link add br-test type bridge && ip tuntap add card mode tap && "
				"ip link set card address 52:54:00:00:00:61 mtu 9000 master br-test"),
			 0);
	fd = tap_open(NULL, 1, name, &e);
	fd2 = tap_open(NULL, 1, second, &e);
	assert_true(fd >= 0 && fd2 >= 0);
	assert_int_equal(tap_attach(name, "br-test", low, &e), 0);
	bridge_mac(bridge);
	assert_string_equal(bridge, "52:54:00:00:00:61");
	assert_int_equal(tap_mtu("br-test", &e), 9000);
	assert_int_equal(tap_mtu(name, &e), 9000);
	assert_int_equal(tap_mtu("no-tap", &e), -ENODEV);
	assert_int_equal(tap_attach(second, "br-test", highest, &e), 0);
	assert_int_equal(system("ip -br link | grep -q fa:00:00:00:00:01"), 0);
	assert_int_equal(tap_attach("no-tap", "br-test", low, &e), -ENODEV);
	assert_non_null(strstr(e.text, "no-tap"));
	close(fd2);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_shows_mac_and_link),
		cmocka_unit_test(test_transmit_reaches_the_wire),
		cmocka_unit_test(test_receive_spreads_over_buffers),
		cmocka_unit_test(test_a_packet_that_waits_for_buffers_asks_for_a_kick),
		cmocka_unit_test(test_a_packet_that_no_ring_of_buffers_holds_is_dropped),
		cmocka_unit_test(test_a_guest_that_adds_more_than_its_ring_holds_breaks_its_own_ring),
		cmocka_unit_test(test_without_mergeable_buffers_one_must_do),
		cmocka_unit_test(test_the_guest_announces_itself_when_asked),
		cmocka_unit_test(test_quiet_takes_nothing_from_the_wire),
		cmocka_unit_test(test_state_moves),
		cmocka_unit_test(test_a_guest_knows_what_its_link_carries_and_keeps_to_it),
		cmocka_unit_test(test_a_guest_is_told_the_mtu_of_its_file),
		cmocka_unit_test(test_a_card_announces_itself_in_each_of_its_vlans),
		cmocka_unit_test(test_hostile_state_is_refused),
		cmocka_unit_test(test_announcements),
		cmocka_unit_test(test_a_real_tap_in_a_namespace_of_its_own),
		cmocka_unit_test(test_a_guest_does_not_change_address_and_mtu_of_its_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
