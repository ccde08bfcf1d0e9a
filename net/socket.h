/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket - what tcp and unix streams have in common; for net/ only.
 *
 * A transport says how to make a socket from an address; after that a stream is
 * a non-blocking descriptor, poll(2) with a deadline, sendmsg and recvmsg.
 */
#ifndef DROVER_NET_SOCKET_H
#define DROVER_NET_SOCKET_H

#include "net/transport.h"

#include <sys/socket.h>

struct socket_listener {
	struct stream_listener base;
	int fd;
	char path[108]; /* of a UNIX socket, to unlink; empty for TCP */
};

static inline struct socket_listener *socket_listener_of(struct stream_listener *l)
{
	return (struct socket_listener *)l;
}

/** socket_listener_create() - without a socket yet: fd is -1 */
int socket_listener_create(const struct transport *t, struct socket_listener **out, struct err *e);
/** socket_accept_fd() - the next connection, non-blocking: its descriptor, or a negative errno */
int socket_accept_fd(struct socket_listener *l, int timeout_ms, struct sockaddr_storage *from, struct err *e);
/** socket_listener_close() - hook close() of a transport over sockets */
void socket_listener_close(struct stream_listener *l);

/** socket_connect_fd() - connect the non-blocking @fd within @timeout_ms; 0 or a negative errno */
int socket_connect_fd(int fd, const struct sockaddr *sa, socklen_t len, int timeout_ms);

/** tcp_set_dead_ms() - the kernel ends a connection whose peer acknowledges nothing for so long; no TCP: nothing */
void tcp_set_dead_ms(int fd, unsigned int ms);
/** tcp_reader_limited_ns() - how long the peer's full receive window has held @fd up; 0 if nobody knows */
uint64_t tcp_reader_limited_ns(int fd);

#endif
