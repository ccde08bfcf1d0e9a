/* SPDX-License-Identifier: Apache-2.0 */
/* net_bed - a network namespace for each test, and frames sent into and read from taps in it. */
#ifndef DROVER_TESTS_UNIT_NET_NET_BED_H
#define DROVER_TESTS_UNIT_NET_NET_BED_H

#include "net/link/port.h"
#include "net/link/tap.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#define LOST 0xffff       /* instead of a tag: the frame does not arrive */
#define TEST_TYPE 0x88b5  /* IEEE 802: local experimental */
#define PATIENCE_MS 20000 /* for what must come */
#define NOTHING_MS 50     /* for what must not */
#define FRAME_MAX 2048

static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 }, peer[6] = { 0x52, 0x54, 0, 9, 9, 9 };

/* Everything a test makes goes with its namespace. */
static inline void need_network(void)
{
	if (unshare(CLONE_NEWNET) || access("/dev/net/tun", R_OK | W_OK))
		skip();
}

static inline void sh(const char *command)
{
	if (system(command))
		fail_msg("%s", command);
}

/* A kernel may be built without; tests/lab/test_port.py runs these tests on one that is not. */
static inline void need_vlans(void)
{
	need_network();
	if (system("ip link add probe type bridge vlan_filtering 1 2> /dev/null && ip link del probe"))
		skip();
}

static inline int wire_open(const char *name)
{
	char actual[TAP_NAME_MAX + 1];
	struct err e = { 0 };
	int fd = tap_open(name, 1, actual, &e);

	if (fd < 0)
		fail_msg("%s", e.text);
	return fd;
}

static inline size_t put_bytes(uint8_t *frame, size_t at, const void *bytes, size_t n)
{
	memcpy(frame + at, bytes, n);
	return at + n;
}

static inline size_t put_u16(uint8_t *frame, size_t at, uint16_t v)
{
	frame[at] = (uint8_t)(v >> 8);
	frame[at + 1] = (uint8_t)v;
	return at + 2;
}

/* Ethernet's header from @from, with @tag if it is not 0; returns its length. */
static inline size_t put_ethernet(uint8_t *frame, const uint8_t *from, uint16_t tag, uint16_t type)
{
	size_t n = put_bytes(frame, 0, "\xff\xff\xff\xff\xff\xff", 6);

	n = put_bytes(frame, n, from, 6);
	if (tag)
		n = put_u16(frame, put_u16(frame, n, 0x8100), tag);
	return put_u16(frame, n, type);
}

static inline void wire_frame(int fd, const uint8_t *frame, size_t len)
{
	uint8_t header[TAP_HEADER] = { 0 };
	struct iovec iov[2] = { { header, sizeof(header) }, { (void *)frame, len } };

	assert_int_equal(writev(fd, iov, 2), (ssize_t)(sizeof(header) + len));
}

/* A frame that bears @mark. */
static inline void wire_send(int fd, const uint8_t *from, uint16_t tag, uint8_t mark)
{
	uint8_t frame[64] = { 0 };

	frame[put_ethernet(frame, from, tag, TEST_TYPE)] = mark;
	wire_frame(fd, frame, sizeof(frame));
}

/* The next frame without its header, or 0 after @ms. */
static inline size_t wire_next(int fd, uint8_t frame[FRAME_MAX], int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t buf[TAP_HEADER + FRAME_MAX];
	ssize_t n;

	if (poll(&p, 1, ms) != 1)
		return 0;
	n = read(fd, buf, sizeof(buf));
	assert_true(n > TAP_HEADER);
	memcpy(frame, buf + TAP_HEADER, (size_t)n - TAP_HEADER);
	return (size_t)n - TAP_HEADER;
}

/* In which VLAN the frame with @mark arrives, if it does; the host's own frames are passed over. */
static inline uint16_t wire_tag(int fd, uint8_t mark, bool lost)
{
	uint8_t f[FRAME_MAX] = { 0 };
	uint16_t tag;

	while (wire_next(fd, f, lost ? NOTHING_MS : PATIENCE_MS)) {
		size_t at = f[12] == 0x81 && !f[13] ? 16 : 12;

		tag = at == 16 ? (uint16_t)((f[14] & 0x0f) << 8 | f[15]) : 0;
		if (f[at] == TEST_TYPE >> 8 && f[at + 1] == (TEST_TYPE & 0xff) && f[at + 2] == mark)
			return tag;
	}
	return LOST;
}

#endif
