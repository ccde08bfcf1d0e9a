/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_load - the host's side of tests/perf/net: frames into a link by a packet socket, as fast as they are taken, or one
 * at a time.
 *
 *     net_load flood LINK SIZE SECONDS     frames of SIZE bytes; above 1514 TCP over IPv4 that whoever takes it may cut
 *     net_load ping LINK SIZE SECONDS      a frame, its echo, the next; prints how many came back, and the median in us
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define TYPE 0x88b5 /* IEEE 802: local experimental */
#define BATCH 64
#define HEADERS 54 /* Ethernet, IPv4, TCP */
#define PINGS_MAX 2000000
#define LOST_MS 1000

static uint8_t frame[sizeof(struct virtio_net_hdr) + 65536];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* Behind the header that says what is still to be done with it (packet(7), PACKET_VNET_HDR). */
static size_t make_frame(size_t size)
{
	struct virtio_net_hdr *h = (struct virtio_net_hdr *)frame;
	uint8_t *f = frame + sizeof(*h);

	memcpy(f, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5", 14);
	if (size > 1514) {
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		h->hdr_len = HEADERS;
		h->gso_size = 1514 - HEADERS;
		h->csum_start = 34;
		h->csum_offset = 16;
		memcpy(f + 12, "\x08\x00\x45\x00", 4);
		f[16] = (uint8_t)((size - 14) >> 8);
		f[17] = (uint8_t)(size - 14);
		memcpy(f + 22, "\x40\x06\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02", 12);
		memcpy(f + 46, "\x50\x10", 2);
	}
	return sizeof(*h) + size;
}

/* @type: that of the frames, or the kernel does not know what it may cut */
static int open_link(const char *name, uint16_t type)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(type) };
	int fd = socket(AF_PACKET, SOCK_RAW, htons(type)), on = 1;

	a.sll_ifindex = (int)if_nametoindex(name);
	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)))
		die(name);
	return fd;
}

static void flood(int fd, size_t len, double end)
{
	struct mmsghdr m[BATCH] = { 0 };
	struct iovec iov = { frame, len };
	int i, n = len > 2000 ? 8 : BATCH;

	for (i = 0; i < n; i++) {
		m[i].msg_hdr.msg_iov = &iov;
		m[i].msg_hdr.msg_iovlen = 1;
	}
	while (now() < end)
		if (sendmmsg(fd, m, (unsigned int)n, 0) < 0) {
			if (errno != ENOBUFS && errno != EAGAIN)
				die("send");
			poll(NULL, 0, 1); /* the link's queue is full */
		}
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void ping(int fd, size_t len, double end)
{
	static uint8_t back[sizeof(frame)];
	double *took = malloc(PINGS_MAX * sizeof(*took)), begin;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t n = 0, lost = 0;

	if (!took)
		die("memory");
	while ((begin = now()) < end && n < PINGS_MAX) {
		if (send(fd, frame, len, 0) < 0)
			die("send");
		if (poll(&p, 1, LOST_MS) != 1) {
			lost++;
			continue;
		}
		if (recv(fd, back, sizeof(back), 0) < 0)
			die("receive");
		took[n++] = now() - begin;
	}
	qsort(took, n, sizeof(*took), order);
	printf("count=%zu lost=%zu median_us=%.1f\n", n, lost, n ? took[n / 2] * 1e6 : 0.0);
	free(took);
}

int main(int argc, char **argv)
{
	size_t len;
	double end;
	int fd;

	if (argc != 5)
		return 2;
	len = make_frame((size_t)atol(argv[3]));
	fd = open_link(argv[2], atol(argv[3]) > 1514 ? ETH_P_IP : TYPE);
	end = now() + atof(argv[4]);
	if (!strcmp(argv[1], "flood"))
		flood(fd, len, end);
	else
		ping(fd, len, end);
	return 0;
}
