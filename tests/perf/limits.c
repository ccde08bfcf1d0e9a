/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits - what this machine gives right now: memory read, memory copy and one loopback TCP
 * stream, in bytes per second, as one line of JSON.  A migration cannot be faster than
 * these, so a benchmark prints them beside its own figures.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE (256ul << 20)
#define TCP_BYTES (1ul << 30)
#define CHUNK (1ul << 20)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void *map(void)
{
	void *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("limits: mmap");
		exit(1);
	}
	madvise(p, SIZE, MADV_HUGEPAGE);
	memset(p, 1, SIZE);
	return p;
}

static double read_rate(const uint64_t *p)
{
	volatile uint64_t sink;
	double best = 0;

	for (int i = 0; i < 3; i++) {
		double t = now();
		uint64_t x = 0;

		for (size_t k = 0; k < SIZE / 8; k += 4)
			x |= p[k] | p[k + 1] | p[k + 2] | p[k + 3];
		sink = x;
		t = SIZE / (now() - t);
		best = t > best ? t : best;
	}
	(void)sink;
	return best;
}

static double copy_rate(void *to, const void *from)
{
	double best = 0;

	for (int i = 0; i < 3; i++) {
		double t = now();

		memcpy(to, from, SIZE);
		t = SIZE / (now() - t);
		best = t > best ? t : best;
	}
	return best;
}

static void receive(int listener, char *buf)
{
	int s = accept(listener, NULL, NULL);

	while (s >= 0 && read(s, buf, CHUNK) > 0)
		;
	_exit(s < 0 ? 1 : 0);
}

/* One sender, one receiver process, as in a migration with one channel. */
static double tcp_rate(char *buf)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0), s = socket(AF_INET, SOCK_STREAM, 0);
	size_t sent = 0;
	double t;
	pid_t child;

	if (l < 0 || s < 0 || bind(l, (void *)&a, len) || listen(l, 1) ||
	    getsockname(l, (void *)&a, &len)) {
		perror("limits: loopback");
		exit(1);
	}
	child = fork();
	if (!child)
		receive(l, buf);
	if (child < 0 || connect(s, (void *)&a, len)) {
		perror("limits: loopback");
		exit(1);
	}
	t = now();
	while (sent < TCP_BYTES) {
		ssize_t n = write(s, buf + sent % (SIZE - CHUNK), CHUNK);

		if (n <= 0) {
			perror("limits: write");
			exit(1);
		}
		sent += n;
	}
	shutdown(s, SHUT_WR);
	waitpid(child, NULL, 0);
	t = now() - t;
	close(s);
	close(l);
	return sent / t;
}

int main(void)
{
	void *a = map(), *b = map();
	double r = read_rate(a), c = copy_rate(b, a), t = tcp_rate(a);

	printf("{\"read\": %.0f, \"memcpy\": %.0f, \"tcp\": %.0f}\n", r, c, t);
	return 0;
}
