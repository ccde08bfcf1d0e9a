/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz what the agent in a guest says to `drover guest`:
 *
 *   byte 0    bit 0: it is in step first, bit 1: what follows comes before that as well
 *   rest      what it says then, before it hangs up
 *
 * The agent is a thread behind a socket, as the VMM's is.
 */
#include "cmd/drover/agent.h"

#include "base/unix_socket.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[64];
static const uint8_t *input;
static size_t input_len;
static pthread_barrier_t turn;

static void wait_in(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	poll(&p, 1, PATIENCE_MS);
}

/* A line with "id": N in it, or nothing; N. */
static long hear_number(int fd)
{
	char line[4096] = "", *id;
	size_t len = 0;
	ssize_t n;

	while (len + 1 < sizeof(line) && !memchr(line, '\n', len)) {
		wait_in(fd);
		n = recv(fd, line + len, sizeof(line) - 1 - len, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	line[len] = '\0';
	id = strstr(line, "\"id\":");
	return id ? strtol(id + 5, NULL, 10) : 0;
}

static void say(int fd, const void *bytes, size_t len)
{
	if (send(fd, bytes, len, MSG_NOSIGNAL) < 0)
		return; /* it has gone */
}

static void *agent(void *arg)
{
	int listen_fd = *(int *)arg, fd;
	char text[64];
	long number;

	for (;;) {
		pthread_barrier_wait(&turn);
		wait_in(listen_fd);
		fd = unix_socket_accept(listen_fd);
		if (fd < 0)
			abort();
		number = hear_number(fd);
		if (input[0] & 2)
			say(fd, input + 1, input_len - 1);
		snprintf(text, sizeof(text), "\xff{\"return\": %ld}\n", number);
		if (input[0] & 1)
			say(fd, text, strlen(text));
		say(fd, input + 1, input_len - 1);
		close(fd);
		pthread_barrier_wait(&turn);
	}
	return NULL;
}

static void begin(void)
{
	static int listen_fd;
	pthread_t thread;
	struct err e;

	snprintf(path, sizeof(path), "/tmp/drover-fuzz-agent-%d", (int)getpid());
	listen_fd = unix_socket_listen(path, 0600, 4, "fuzz", &e);
	if (listen_fd < 0 || pthread_barrier_init(&turn, NULL, 2) || pthread_create(&thread, NULL, agent, &listen_fd))
		abort();
}

static void end(void)
{
	unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct agent_link *l;
	struct err e = { 0 };
	json_t *out = NULL;

	if (!size)
		return 0;
	if (!path[0]) {
		begin();
		atexit(end);
	}
	input = data;
	input_len = size;
	pthread_barrier_wait(&turn);
	if (!agent_link_open(&l, path, PATIENCE_MS, &e)) {
		if (!agent_link_ask(l, "guest-info", NULL, PATIENCE_MS, &out, &e))
			json_decref(out);
		agent_link_close(l);
	}
	pthread_barrier_wait(&turn);
	return 0;
}
