/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work - what the guest of the lab does, and who asks it from outside.
 *
 *   work records FILE          every 100 ms one numbered record at the end of FILE,
 *                              on the disk (fdatasync) before the next; reports the
 *                              longest gap.  FILE is checked first: numbers 0,1,2,...
 *   work echo PORT             sends back what comes over TCP
 *   work control SOCKET LINE   one command to a control socket (docs/control.md), with
 *                              "id": 1 in it; prints what comes until its answer has come
 *   work ask HOST PORT         numbered lines, one per 100 ms, over one connection, until
 *                              SIGTERM; each must come back within 60 s; reports the
 *                              longest wait
 *   work pump|flood|sink|blocks  load that checks itself (load.h)
 *
 * Linked statically: the guest has no C library, and a lab host starts it sooner
 * than a script.  Gaps are seen with
 * CLOCK_MONOTONIC, which goes on while a guest is being moved.
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
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RECORD_LEN 64 /* "record 0000000012 at 0000012345 ms\n", padded with blanks */
#define PERIOD_MS 100
#define ANSWER_MS 60000
#define CLIENTS_MAX 16

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void sleep_ms(unsigned int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static int fail(const char *what)
{
	printf("work: %s: %s\n", what, strerror(errno));
	return 1;
}

/* Numbers 0..n-1 in this order, else a line that says which is wrong; n or -1. */
static int64_t records_check(int fd)
{
	char rec[RECORD_LEN + 1] = "";
	uint64_t seq;
	int64_t n = 0;
	ssize_t got;

	while ((got = pread(fd, rec, RECORD_LEN, n * RECORD_LEN)) == RECORD_LEN) {
		if (sscanf(rec, "record %" SCNu64, &seq) != 1 || seq != (uint64_t)n) {
			printf("work: CORRUPT record %" PRId64 ": '%.20s'\n", n, rec);
			return -1;
		}
		n++;
	}
	if (got) {
		printf("work: CORRUPT record %" PRId64 ": %zd bytes\n", n, got);
		return -1;
	}
	return n;
}

static int records_append(int fd, uint64_t seq, uint64_t now)
{
	char rec[RECORD_LEN], text[64];
	int len = snprintf(text, sizeof(text), "record %010" PRIu64 " at %010" PRIu64 " ms", seq, now);

	memset(rec, ' ', sizeof(rec));
	memcpy(rec, text, (size_t)len < RECORD_LEN ? (size_t)len : RECORD_LEN - 1);
	rec[RECORD_LEN - 1] = '\n';
	errno = EIO;
	if (pwrite(fd, rec, RECORD_LEN, (off_t)(seq * RECORD_LEN)) != RECORD_LEN)
		return -1;
	return fdatasync(fd);
}

static int do_records(const char *file)
{
	int fd = open(file, O_RDWR | O_CREAT, 0644);
	uint64_t last = 0, gap = 0;
	int64_t n;

	if (fd < 0)
		return fail(file);
	n = records_check(fd);
	if (n < 0)
		return 1;
	printf("work: %" PRId64 " records found\n", n);
	for (;; n++) {
		uint64_t now = now_ms();

		if (last && now - last > gap)
			gap = now - last;
		last = now;
		if (records_append(fd, (uint64_t)n, now))
			return fail(file);
		if (n % 10 == 9)
			printf("work: record %" PRId64 ", longest gap %" PRIu64 " ms\n", n, gap);
		sleep_ms(PERIOD_MS);
	}
}

static int listen_on(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, CLIENTS_MAX))
		return -1;
	return fd;
}

static int do_echo(const char *port)
{
	struct pollfd p[1 + CLIENTS_MAX] = { { .fd = listen_on(port), .events = POLLIN } };
	char buf[4096];

	if (p[0].fd < 0)
		return fail(port);
	for (int i = 1; i <= CLIENTS_MAX; i++)
		p[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
	for (;;) {
		if (poll(p, 1 + CLIENTS_MAX, -1) < 0)
			return fail("poll");
		for (int i = 1; i <= CLIENTS_MAX; i++) {
			ssize_t n;

			if (p[i].fd < 0 && p[0].revents) {
				p[i].fd = accept(p[0].fd, NULL, NULL);
				p[0].revents = 0;
				continue;
			}
			if (p[i].fd < 0 || !p[i].revents)
				continue;
			n = read(p[i].fd, buf, sizeof(buf));
			if (n <= 0 || write(p[i].fd, buf, (size_t)n) != n) {
				close(p[i].fd);
				p[i].fd = -1;
			}
		}
	}
}

static int read_line(int fd, char *buf, size_t size)
{
	size_t used = 0;

	while (used + 1 < size) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		int ready = poll(&p, 1, ANSWER_MS);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready == 0)
			errno = ETIMEDOUT;
		if (ready != 1)
			return -1;
		n = read(fd, buf + used, 1);
		if (n == 0)
			errno = ECONNRESET;
		if (n <= 0)
			return -1;
		if (buf[used] == '\n') {
			buf[used] = '\0';
			return 0;
		}
		used++;
	}
	errno = EMSGSIZE;
	return -1;
}

static volatile sig_atomic_t asked_to_stop;

static void on_term(int sig)
{
	(void)sig;
	asked_to_stop = 1;
}

static int do_ask(const char *host, const char *port)
{
	struct sigaction term = { .sa_handler = on_term, .sa_flags = SA_RESTART };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	uint64_t longest = 0;
	long i;

	sigaction(SIGTERM, &term, NULL);
	if (fd < 0 || inet_pton(AF_INET, host, &a.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fail(host);
	printf("work: connected\n");
	for (i = 0; !asked_to_stop; i++) {
		char line[64], answer[64];
		uint64_t start = now_ms();
		int len = snprintf(line, sizeof(line), "question %ld\n", i);

		if (write(fd, line, (size_t)len) != len || read_line(fd, answer, sizeof(answer)))
			return fail("question");
		line[len - 1] = '\0';
		if (strcmp(line, answer)) {
			printf("work: CORRUPT answer '%s' to '%s'\n", answer, line);
			return 1;
		}
		if (now_ms() - start > longest)
			longest = now_ms() - start;
		if (i % 10 == 9)
			printf("work: answer %ld, longest wait %" PRIu64 " ms\n", i, longest);
		sleep_ms(PERIOD_MS);
	}
	printf("work: all %ld answered, longest wait %" PRIu64 " ms\n", i, longest);
	return 0;
}

static int do_control(const char *path, const char *command)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	static char line[65536];

	if (strlen(path) >= sizeof(a.sun_path))
		return fail(path);
	strcpy(a.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fail(path);
	if (dprintf(fd, "%s\n", command) < 0)
		return fail(path);
	while (!read_line(fd, line, sizeof(line))) {
		puts(line);
		if (strstr(line, "\"id\":1}") || strstr(line, "\"id\": 1}"))
			return 0;
	}
	return fail(path);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && !strcmp(argv[1], "records"))
		return do_records(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "echo"))
		return do_echo(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "ask"))
		return do_ask(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "control"))
		return do_control(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "pump"))
		return load_pump(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "flood"))
		return load_flood(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "sink"))
		return load_sink(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "blocks"))
		return load_blocks(argv[2]);
	fprintf(stderr, "usage: work records FILE | echo PORT | ask HOST PORT | "
			"control SOCKET LINE | pump HOST PORT | flood HOST PORT | sink PORT | blocks DEVICE\n");
	return 2;
}
