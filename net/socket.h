/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket - what tcp and unix streams have in common; for net/ only.
 *
 * A transport says how to make a socket from an address; after that a stream is
 * a non-blocking descriptor, poll(2) with a deadline, sendmsg and recvmsg.
 */
#ifndef DROVER_NET_SOCKET_H
#define DROVER_NET_SOCKET_H

#include "net/stream.h"

#include <sys/socket.h>

struct stream_listener {
	int fd;
	char address[256];
	char path[108];       /* of a UNIX socket, to unlink; empty for TCP */
};

/** socket_wait() - until @fd is ready for @events: 0, -ETIMEDOUT or a negative errno from poll() */
int socket_wait(int fd, short events, int timeout_ms);

/** socket_connect_fd() - connect the non-blocking @fd within @timeout_ms; 0 or a negative errno */
int socket_connect_fd(int fd, const struct sockaddr *sa, socklen_t len, int timeout_ms);

int tcp_connect(const char *host_port, int timeout_ms, struct stream **out, struct err *e);
int tcp_listen(const char *host_port, struct stream_listener *l, struct err *e);
/** tcp_tune() - no delay, keepalive: for a socket that was accepted or connected */
void tcp_tune(int fd);
void tcp_set_dead_ms(int fd, unsigned int ms);
/** tcp_reader_limited_ns() - how long the peer's full receive window has held @fd up; 0 if nobody knows */
uint64_t tcp_reader_limited_ns(int fd);
void tcp_format_peer(const struct sockaddr_storage *ss, char *buf, size_t size);

int unix_connect(const char *path, int timeout_ms, struct stream **out, struct err *e);
int unix_listen(const char *path, struct stream_listener *l, struct err *e);

#endif
