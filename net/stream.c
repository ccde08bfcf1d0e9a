/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream - picks the transport by address, and is the one implementation of
 * stream_ops over a socket (see socket.h).
 */
#include "net/socket.h"

#include "base/clock.h"

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
	bool local;           /* a UNIX socket: there is no link that could be slow */
	_Atomic uint64_t wait_ns;
};

static struct socket_stream *from_stream(struct stream *s)
{
	return (struct socket_stream *)s;
}

int socket_wait(int fd, short events, int timeout_ms)
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

int socket_connect_fd(int fd, const struct sockaddr *sa, socklen_t len, int timeout_ms)
{
	socklen_t size = sizeof(int);
	int rc, code = 0;

	if (connect(fd, sa, len) == 0)
		return 0;
	if (errno != EINPROGRESS && errno != EAGAIN)
		return -errno;
	rc = socket_wait(fd, POLLOUT, timeout_ms);
	if (rc)
		return rc;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size))
		return -errno;
	return -code;
}

/* Drop the first @done bytes from the vectors; returns how many vectors are used up. */
static int iov_advance(struct iovec *iov, int n, size_t done)
{
	int i = 0;

	while (i < n && done >= iov[i].iov_len)
		done -= iov[i++].iov_len;
	if (i < n) {
		iov[i].iov_base = (uint8_t *)iov[i].iov_base + done;
		iov[i].iov_len -= done;
	}
	return i;
}

static int wait_writable(struct socket_stream *ss, int timeout_ms, struct err *e)
{
	uint64_t t = clock_ns();
	int rc = socket_wait(ss->fd, POLLOUT, timeout_ms);

	atomic_fetch_add_explicit(&ss->wait_ns, clock_ns() - t, memory_order_relaxed);
	if (rc)
		return err_set(e, rc, "%s: sending: nothing taken for %d ms: %s", ss->s.peer,
			       timeout_ms, strerror(-rc));
	return 0;
}

static int socket_writev(struct stream *s, struct iovec *iov, int n, int timeout_ms, struct err *e)
{
	struct socket_stream *ss = from_stream(s);
	struct msghdr m = { 0 };
	ssize_t done;
	int used, rc;

	for (;;) {
		used = iov_advance(iov, n, 0); /* step over empty vectors */
		iov += used;
		n -= used;
		if (!n)
			return 0;
		m.msg_iov = iov;
		m.msg_iovlen = n < IOV_BATCH ? (size_t)n : IOV_BATCH;
		done = sendmsg(ss->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (done >= 0) {
			used = iov_advance(iov, n, (size_t)done);
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
		rc = socket_wait(ss->fd, POLLIN, timeout_ms);
		if (rc)
			return err_set(e, rc, "%s: receiving: nothing came for %d ms: %s", s->peer,
				       timeout_ms, strerror(-rc));
	}
}

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

int stream_from_fd(int fd, const char *peer, struct stream **out, struct err *e)
{
	struct socket_stream *ss = calloc(1, sizeof(*ss));
	struct sockaddr sa;
	socklen_t len = sizeof(sa);

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

int stream_connect(const char *address, int timeout_ms, struct stream **out, struct err *e)
{
	if (!strncmp(address, "unix:", 5))
		return unix_connect(address + 5, timeout_ms, out, e);
	if (!strncmp(address, "tcp:", 4))
		address += 4;
	return tcp_connect(address, timeout_ms, out, e);
}

int stream_listen(const char *address, struct stream_listener **out, struct err *e)
{
	struct stream_listener *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(e, -ENOMEM, "%s: out of memory", address);
	l->fd = -1;
	if (!strncmp(address, "unix:", 5))
		rc = unix_listen(address + 5, l, e);
	else if (!strncmp(address, "tcp:", 4))
		rc = tcp_listen(address + 4, l, e);
	else
		rc = tcp_listen(address, l, e);
	if (rc) {
		free(l);
		return rc;
	}
	*out = l;
	return 0;
}

int stream_accept(struct stream_listener *l, int timeout_ms, struct stream **out, struct err *e)
{
	struct sockaddr_storage ss;
	socklen_t len;
	char peer[108];
	int fd, rc;

	for (;;) {
		rc = socket_wait(l->fd, POLLIN, timeout_ms);
		if (rc)
			return err_set(e, rc, "%s: nobody connected within %d ms", l->address, timeout_ms);
		len = sizeof(ss);
		fd = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			break;
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			return err_errno(e, "%s: accepting", l->address);
	}
	if (ss.ss_family == AF_UNIX) {
		snprintf(peer, sizeof(peer), "unix:%.*s", (int)sizeof(peer) - 6, l->path);
	} else {
		tcp_tune(fd);
		tcp_format_peer(&ss, peer, sizeof(peer));
	}
	return stream_from_fd(fd, peer, out, e);
}

const char *stream_listener_address(const struct stream_listener *l)
{
	return l->address;
}

int stream_listener_fd(const struct stream_listener *l)
{
	return l->fd;
}

void stream_listener_close(struct stream_listener *l)
{
	if (!l)
		return;
	close(l->fd);
	if (l->path[0])
		unlink(l->path);
	free(l);
}

int stream_writev(struct stream *s, struct iovec *iov, int n, int timeout_ms, struct err *e)
{
	return s->ops->writev(s, iov, n, timeout_ms, e);
}

int stream_readv_full(struct stream *s, struct iovec *iov, int n, int timeout_ms, struct err *e)
{
	ssize_t got;
	int used;

	for (;;) {
		used = iov_advance(iov, n, 0);
		iov += used;
		n -= used;
		if (!n)
			return 0;
		got = s->ops->readv(s, iov, n, timeout_ms, e);
		if (got < 0)
			return (int)got;
		if (got == 0)
			return err_set(e, -ECONNRESET, "%s: closed the connection", s->peer);
		used = iov_advance(iov, n, (size_t)got);
		iov += used;
		n -= used;
	}
}

int stream_read_full(struct stream *s, void *buf, size_t len, int timeout_ms, struct err *e)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };

	return stream_readv_full(s, &iov, 1, timeout_ms, e);
}

uint64_t stream_send_wait_ns(struct stream *s)
{
	return s->ops->send_wait_ns(s);
}

void stream_set_dead_ms(struct stream *s, unsigned int ms)
{
	s->ops->set_dead_ms(s, ms);
}

void stream_shutdown(struct stream *s)
{
	s->ops->shutdown(s);
}

void stream_close(struct stream *s)
{
	if (s)
		s->ops->close(s);
}
