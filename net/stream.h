/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream - an ordered byte stream between two hosts, whatever carries it.
 *
 * tcp and unix sockets today (transport.h); TLS, RDMA and files fit the same table, so the
 * engine above never asks what it talks through.  Every wait has a deadline
 * (rule S): timeouts are in milliseconds, -1 is not accepted, and they bound
 * each wait *without progress*: a slow link is not an error, a silent one is.
 * Every stream can be cut from another thread with stream_shutdown(), which
 * wakes whoever waits.  One thread may write while another one reads.
 *
 * Addresses: "tcp:HOST:PORT", "HOST:PORT", "tcp:[V6]:PORT", "unix:/path".
 * Port 0 lets the kernel choose; stream_listener_address() tells which.
 */
#ifndef DROVER_NET_STREAM_H
#define DROVER_NET_STREAM_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream;
struct stream_listener;

/* Every hook must be there; nobody checks for NULL. */
struct stream_ops {
	/* All bytes of all vectors, or an error: -ETIMEDOUT, -ECONNRESET, -EPIPE. May change the vectors. */
	int (*writev)(struct stream *s, struct iovec *iov, int n, int timeout_ms, struct err *e);
	/* At least one byte into the vectors, 0 at the peer's orderly end, or an error. */
	ssize_t (*readv)(struct stream *s, const struct iovec *iov, int n, int timeout_ms, struct err *e);
	/* Cut both directions; the stream stays valid until close(). Any thread. */
	void (*shutdown)(struct stream *s);
	void (*close)(struct stream *s);
	/* Time in ns that writers have waited because the *link* is slow, not the reader behind it; roughly. */
	uint64_t (*send_wait_ns)(struct stream *s);
	/* Ask the transport to report a peer that acknowledges nothing for @ms as dead, where it can. */
	void (*set_dead_ms)(struct stream *s, unsigned int ms);
};

struct stream {
	const struct stream_ops *ops;
	char peer[108]; /* printable, for errors and logs */
};

/** stream_connect() - -EINVAL for an address that is none, -ETIMEDOUT, -ECONNREFUSED and so on */
int stream_connect(const char *address, int timeout_ms, struct stream **out, struct err *e);
/** stream_listen() - a UNIX socket path that is left over from a dead process is taken over */
int stream_listen(const char *address, struct stream_listener **out, struct err *e);
/** stream_accept() - the next one that connects */
int stream_accept(struct stream_listener *l, int timeout_ms, struct stream **out, struct err *e);
/** stream_listener_address() - where it listens, in the form stream_connect() takes; owned by @l */
const char *stream_listener_address(const struct stream_listener *l);
/** stream_listener_close() - a UNIX socket's path is removed */
void stream_listener_close(struct stream_listener *l);

/** stream_from_fd() - a stream over a connected socket, which it owns from now on, also when this fails */
int stream_from_fd(int fd, const char *peer, struct stream **out, struct err *e);

/** stream_to_fd() - the opposite: @s, which must be of a socket, is no more, and what it was over is the caller's */
int stream_to_fd(struct stream *s);

/** stream_writev() - all of it, or an error */
int stream_writev(struct stream *s, struct iovec *iov, int n, int timeout_ms, struct err *e);
/** stream_read_full() - exactly @len bytes; -ECONNRESET when the peer ends before */
int stream_read_full(struct stream *s, void *buf, size_t len, int timeout_ms, struct err *e);
/** stream_readv_full() - fill all vectors (which it changes); -ECONNRESET when the peer ends before */
int stream_readv_full(struct stream *s, struct iovec *iov, int n, int timeout_ms, struct err *e);
/** stream_send_wait_ns() - time that writes have waited for the peer so far */
uint64_t stream_send_wait_ns(struct stream *s);
/** stream_set_dead_ms() - a peer whose kernel acknowledges nothing for so long is gone; nothing for a UNIX socket */
void stream_set_dead_ms(struct stream *s, unsigned int ms);
/** stream_shutdown() - whoever reads or writes returns with an error; any thread */
void stream_shutdown(struct stream *s);
/** stream_close() - NULL is fine */
void stream_close(struct stream *s);

#endif
