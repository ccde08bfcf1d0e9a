/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load - see load.h.
 *
 * Both are their own checkers: the pump's byte at position n of the stream is a
 * function of n alone, so a lost, repeated or exchanged piece shows at once, and a
 * block carries its number and how often it was written, so an old copy of it
 * (a write that was answered and is not there) shows as well.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_FLIGHT (512u << 10) /* bytes sent and not yet back: more than the sockets hold stalls nobody */
#define SILENT_MS 60000        /* a stream that moves nothing for so long has died */
#define BLOCK 4096u
#define BLOCKS 2048u /* 8 MiB */

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static void watch_term(void)
{
	struct sigaction term = { .sa_handler = on_term };

	sigaction(SIGTERM, &term, NULL);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int fail(const char *what)
{
	printf("work: %s: %s\n", what, strerror(errno));
	return 1;
}

/* --- pump --- */

/* 251 is prime, so the pattern never lines up with a page or a segment. */
static uint8_t byte_at(uint64_t at)
{
	return (uint8_t)(at % 251 ^ at >> 16);
}

static void fill(uint8_t *buf, size_t n, uint64_t at)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = byte_at(at + i);
}

static int check(const uint8_t *buf, size_t n, uint64_t at)
{
	for (size_t i = 0; i < n; i++) {
		if (buf[i] == byte_at(at + i))
			continue;
		printf("work: CORRUPT byte %" PRIu64 " of the stream: %02x, expected %02x\n", at + i,
		       buf[i], byte_at(at + i));
		return -1;
	}
	return 0;
}

static int pump(int fd)
{
	static uint8_t buf[64 << 10];
	uint64_t sent = 0, back = 0, told = now_ms(), heard = told, longest = 0;

	while (!stop) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now;
		ssize_t n;

		if (sent - back < IN_FLIGHT)
			p.events |= POLLOUT;
		if (poll(&p, 1, 1000) < 0 && errno != EINTR)
			return fail("poll");
		if (p.revents & POLLOUT) {
			fill(buf, sizeof(buf), sent);
			n = send(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0 && errno != EAGAIN && errno != EINTR)
				return fail("pump: send");
			sent += n > 0 ? (uint64_t)n : 0;
		}
		now = now_ms();
		if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
			n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
				return fail("pump: the other side hung up");
			if (n > 0 && check(buf, (size_t)n, back))
				return 1;
			back += n > 0 ? (uint64_t)n : 0;
			if (now - heard > longest)
				longest = now - heard;
			heard = now;
		}
		if (now - heard > SILENT_MS) {
			printf("work: STALLED: nothing came back for %d ms after %" PRIu64 " bytes\n",
			       SILENT_MS, back);
			return 1;
		}
		if (now - told >= 1000) {
			printf("work: pumped %" PRIu64 " KiB, longest silence %" PRIu64 " ms\n", back >> 10,
			       longest);
			told = now;
		}
	}
	printf("work: all %" PRIu64 " KiB came back, longest silence %" PRIu64 " ms\n", back >> 10, longest);
	return 0;
}

static int connect_to(const char *host, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	watch_term();
	if (fd < 0 || inet_pton(AF_INET, host, &a.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		fail(host);
		return -1;
	}
	return fd;
}

int load_pump(const char *host, const char *port)
{
	int fd = connect_to(host, port);

	return fd < 0 ? 1 : pump(fd);
}

/* --- flood --- */

int load_flood(const char *host, const char *port)
{
	static uint8_t buf[64 << 10];
	int fd = connect_to(host, port);
	uint64_t at = 0;

	while (fd >= 0 && !stop) {
		ssize_t n;

		fill(buf, sizeof(buf), at);
		n = send(fd, buf, sizeof(buf), MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail("flood: send");
		at += (uint64_t)n;
	}
	return fd < 0;
}

/* One connection, to its end. */
static int sink(int fd)
{
	static uint8_t buf[64 << 10];
	uint64_t at = 0, told = now_ms();
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		if (check(buf, (size_t)n, at))
			return 1;
		at += (uint64_t)n;
		if (now_ms() - told < 1000)
			continue;
		printf("work: took in %" PRIu64 " KiB\n", at >> 10);
		told = now_ms();
	}
	return n < 0 ? fail("sink") : 0;
}

int load_sink(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, ret = 0;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1))
		return fail(port);
	while (!ret) {
		int peer = accept(fd, NULL, NULL);

		if (peer < 0)
			return fail("accept");
		ret = sink(peer);
		close(peer);
	}
	return ret;
}

/* --- blocks --- */

struct disk {
	int fd;
	uint64_t *buf;            /* one block, aligned */
	uint32_t version[BLOCKS]; /* how often each was written, 0 = never */
	uint64_t written, read, longest;
};

static uint64_t word(uint32_t block, uint32_t version, uint32_t i)
{
	return ((uint64_t)block << 40 ^ (uint64_t)version << 16 ^ i) * 0x9e3779b97f4a7c15ull;
}

static int write_block(struct disk *d, uint32_t block)
{
	uint32_t version = d->version[block] + 1;

	for (uint32_t i = 0; i < BLOCK / 8; i++)
		d->buf[i] = word(block, version, i);
	if (pwrite(d->fd, d->buf, BLOCK, (off_t)block * BLOCK) != BLOCK)
		return fail("blocks: write");
	d->version[block] = version;
	d->written++;
	return 0;
}

static int read_block(struct disk *d, uint32_t block)
{
	if (!d->version[block])
		return 0;
	if (pread(d->fd, d->buf, BLOCK, (off_t)block * BLOCK) != BLOCK)
		return fail("blocks: read");
	d->read++;
	for (uint32_t i = 0; i < BLOCK / 8; i++) {
		if (d->buf[i] == word(block, d->version[block], i))
			continue;
		printf("work: CORRUPT block %u, word %u: not what was written the %u. time\n", block, i,
		       d->version[block]);
		return 1;
	}
	return 0;
}

static int check_all(struct disk *d)
{
	for (uint32_t b = 0; b < BLOCKS; b++)
		if (read_block(d, b))
			return 1;
	printf("work: all blocks right, %" PRIu64 " written, longest request %" PRIu64 " ms\n", d->written,
	       d->longest);
	return 0;
}

int load_blocks(const char *device)
{
	struct disk d = { .fd = open(device, O_RDWR | O_DIRECT) };
	uint64_t told = now_ms();
	void *buf;

	watch_term();
	if (d.fd < 0)
		return fail(device);
	if (posix_memalign(&buf, BLOCK, BLOCK))
		return fail("blocks");
	d.buf = buf;
	srandom((unsigned int)getpid());
	while (!stop) {
		uint64_t start = now_ms(), took;

		if (write_block(&d, (uint32_t)random() % BLOCKS) ||
		    read_block(&d, (uint32_t)random() % BLOCKS))
			return 1;
		if (d.written % 64 == 0 && fdatasync(d.fd))
			return fail("blocks: flush");
		took = now_ms() - start;
		if (took > d.longest)
			d.longest = took;
		if (now_ms() - told >= 1000) {
			printf("work: %s: %" PRIu64 " blocks written, longest request %" PRIu64 " ms\n",
			       device, d.written, d.longest);
			told = now_ms();
		}
	}
	return check_all(&d);
}
