/* SPDX-License-Identifier: Apache-2.0 */
/* socket - see socket.h: the one implementation of stream_ops over a socket, and of listening with one. */
#include "net/socket.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kernel takes at most UIO_MAXIOV (1024) vectors in one call. */
#define IOV_BATCH 1024

struct socket_stream {
	struct stream s;
	int fd;
	bool local; /* a UNIX socket: there is no link that could be slow */
	_Atomic uint64_t wait_ns;
};

static struct socket_stream *from_stream(struct stream *s)
{
	return (struct socket_stream *)s;
}

/*
 * Until @fd is ready for @events: 0, -ETIMEDOUT or a negative errno from poll().
 * #syscalls:engine,send,receive poll
 */
static int wait_ready(int fd, short events, int timeout_ms)
{
	uint64_t end = clock_ms() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
	struct pollfd p = { .fd = fd, .events = events };
	uint64_t now;
	int n;

	for (;;) {
		now = clock_ms();
		n = poll(&p, 1, now < end ? (int)(end - now) : 0);
		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* #syscalls:porter connect getsockopt(1=SOL_SOCKET) */
int socket_connect_fd(int fd, const struct sockaddr *sa, socklen_t len, int timeout_ms)
{
	socklen_t size = sizeof(int);
	int rc, code = 0;

	if (connect(fd, sa, len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	rc = wait_ready(fd, POLLOUT, timeout_ms);
	if (rc)
		return rc;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size))
		return -errno;
	return -code;
}

static int wait_writable(struct socket_stream *ss, int timeout_ms, struct err *e)
{
	uint64_t t = clock_ns();
	int rc = wait_ready(ss->fd, POLLOUT, timeout_ms);

	atomic_fetch_add_explicit(&ss->wait_ns, clock_ns() - t, memory_order_relaxed);
	if (rc)
		return err_set(e, rc, "%s: sending: nothing taken for %d ms: %s", ss->s.peer,
			       timeout_ms, strerror(-rc));
	return 0;
}

/* #syscalls:engine,send,receive sendmsg */
static int socket_writev(struct stream *s, struct iovec *iov, int n, int timeout_ms, struct err *e)
{
	struct socket_stream *ss = from_stream(s);
	struct msghdr m = { 0 };
	ssize_t done;
	int used, rc;

	for (;;) {
		used = stream_iov_advance(iov, n, 0); /* step over empty vectors */
		iov += used;
		n -= used;
		if (!n)
			return 0;
		m.msg_iov = iov;
		m.msg_iovlen = n < IOV_BATCH ? (size_t)n : IOV_BATCH;
		done = sendmsg(ss->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (done >= 0) {
			used = stream_iov_advance(iov, n, (size_t)done);
			iov += used;
			n -= used;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return err_errno(e, "%s: sending", s->peer);
		rc = wait_writable(ss, timeout_ms, e);
		if (rc)
			return rc;
	}
}

/* #syscalls:engine,receive recvmsg */
static ssize_t socket_readv(struct stream *s, const struct iovec *iov, int n, int timeout_ms,
			    struct err *e)
{
	struct socket_stream *ss = from_stream(s);
	struct msghdr m = {
		.msg_iov = (struct iovec *)iov,
		.msg_iovlen = n < IOV_BATCH ? (size_t)n : IOV_BATCH,
	};
	ssize_t got;
	int rc;

	for (;;) {
		got = recvmsg(ss->fd, &m, MSG_DONTWAIT);
		if (got >= 0)
			return got;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return err_errno(e, "%s: receiving", s->peer);
		rc = wait_ready(ss->fd, POLLIN, timeout_ms);
		if (rc)
			return err_set(e, rc, "%s: receiving: nothing came for %d ms: %s", s->peer,
				       timeout_ms, strerror(-rc));
	}
}

/* #syscalls:main,engine,send,receive shutdown */
static void socket_shutdown(struct stream *s)
{
	shutdown(from_stream(s)->fd, SHUT_RDWR);
}

static void socket_close(struct stream *s)
{
	close(from_stream(s)->fd);
	free(s);
}

static uint64_t socket_send_wait_ns(struct stream *s)
{
	struct socket_stream *ss = from_stream(s);
	uint64_t wait = atomic_load_explicit(&ss->wait_ns, memory_order_relaxed), reader;

	if (ss->local || !wait)
		return 0;
	reader = tcp_reader_limited_ns(ss->fd);
	return wait > reader ? wait - reader : 0;
}

static void socket_set_dead_ms(struct stream *s, unsigned int ms)
{
	tcp_set_dead_ms(from_stream(s)->fd, ms);
}

static const struct stream_ops socket_ops = {
	.writev = socket_writev,
	.readv = socket_readv,
	.shutdown = socket_shutdown,
	.close = socket_close,
	.send_wait_ns = socket_send_wait_ns,
	.set_dead_ms = socket_set_dead_ms,
};

/* #syscalls:engine,porter getsockname */
int stream_from_fd(int fd, const char *peer, struct stream **out, struct err *e)
{
	struct socket_stream *ss = calloc(1, sizeof(*ss));
	struct sockaddr sa;
	socklen_t len = sizeof(sa);

	assert(fd >= 0); /* ours from now on, whatever happens */
	if (!ss) {
		close(fd);
		return err_set(e, -ENOMEM, "%s: out of memory", peer);
	}
	ss->s.ops = &socket_ops;
	ss->fd = fd;
	ss->local = !getsockname(fd, &sa, &len) && sa.sa_family == AF_UNIX;
	snprintf(ss->s.peer, sizeof(ss->s.peer), "%s", peer);
	*out = &ss->s;
	return 0;
}

int stream_to_fd(struct stream *s)
{
	int fd = from_stream(s)->fd;

	assert(s->ops == &socket_ops);
	free(s);
	return fd;
}

int socket_listener_create(const struct transport *t, struct socket_listener **out, struct err *e)
{
	struct socket_listener *l = calloc(1, sizeof(*l));

	if (!l)
		return err_set(e, -ENOMEM, "%s: out of memory", t->scheme);
	l->base.transport = t;
	l->fd = -1;
	*out = l;
	return 0;
}

/* #syscalls:engine accept4 */
int socket_accept_fd(struct socket_listener *l, int timeout_ms, struct sockaddr_storage *from, struct err *e)
{
	socklen_t len;
	int fd, rc;

	for (;;) {
		rc = wait_ready(l->fd, POLLIN, timeout_ms);
		if (rc)
			return err_set(e, rc, "%s: nobody connected within %d ms", l->base.address, timeout_ms);
		len = sizeof(*from);
		fd = accept4(l->fd, (struct sockaddr *)from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			return fd;
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			return err_errno(e, "%s: accepting", l->base.address);
	}
}

/*
 * The name may stay: whoever has no right to remove it has somebody who does (cmd/drover-hv/porter.h).
 * #syscalls:main,engine unlink!EACCES
 */
void socket_listener_close(struct stream_listener *base)
{
	struct socket_listener *l = socket_listener_of(base);

	if (l->fd >= 0)
		close(l->fd);
	if (l->path[0])
		unlink(l->path);
	free(l);
}
