/* SPDX-License-Identifier: Apache-2.0 */
/* stream - picks the transport by the address (transport.h); what is the same for all of them. */
#include "net/transport.h"

#include <errno.h>
#include <string.h>

/* The first is meant where an address names none: HOST:PORT. */
static const struct transport *const transports[] = { &transport_tcp, &transport_unix };

#define N_TRANSPORTS (sizeof(transports) / sizeof(transports[0]))

static const struct transport *find(const char *address, const char **where)
{
	for (size_t i = 0; i < N_TRANSPORTS; i++) {
		size_t len = strlen(transports[i]->scheme);

		if (!strncmp(address, transports[i]->scheme, len) && address[len] == ':') {
			*where = address + len + 1;
			return transports[i];
		}
	}
	*where = address;
	return transports[0];
}

int stream_connect(const char *address, int timeout_ms, struct stream **out, struct err *e)
{
	const char *where;

	return find(address, &where)->connect(where, timeout_ms, out, e);
}

int stream_listen(const char *address, struct stream_listener **out, struct err *e)
{
	const char *where;

	return find(address, &where)->listen(where, out, e);
}

int stream_accept(struct stream_listener *l, int timeout_ms, struct stream **out, struct err *e)
{
	return l->transport->accept(l, timeout_ms, out, e);
}

const char *stream_listener_address(const struct stream_listener *l)
{
	return l->address;
}

void stream_listener_close(struct stream_listener *l)
{
	if (l)
		l->transport->close(l);
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
		used = stream_iov_advance(iov, n, 0);
		iov += used;
		n -= used;
		if (!n)
			return 0;
		got = s->ops->readv(s, iov, n, timeout_ms, e);
		if (got < 0)
			return (int)got;
		if (got == 0)
			return err_set(e, -ECONNRESET, "%s: closed the connection", s->peer);
		used = stream_iov_advance(iov, n, (size_t)got);
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
