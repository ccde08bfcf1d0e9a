/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp - "HOST:PORT", "[V6]:PORT": names are looked up, each address is tried.
 *
 * Nagle is off: every record is written whole, and a READY that waits 40 ms for
 * a delayed ACK would be downtime.  Buffer sizes are left to the kernel, which
 * adapts them to the path; a fixed SO_SNDBUF would switch that off.
 */
#include "net/lookup.h"
#include "net/socket.h"

#include "base/clock.h"
#include "base/number.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LISTEN_NAME_MS 10000 /* until the name of an own address is found out */

/* Split "HOST:PORT" or "[V6]:PORT" into two strings. */
static int split_address(const char *text, char *host, size_t host_size, char *port,
			 size_t port_size, struct err *e)
{
	const char *colon = strrchr(text, ':');
	const char *from = text;
	uint64_t n;
	size_t len;

	if (!colon || colon == text)
		goto bad;
	len = (size_t)(colon - text);
	if (text[0] == '[') {
		if (len < 3 || text[len - 1] != ']')
			goto bad;
		from++;
		len -= 2;
	} else if (memchr(text, ':', len)) {
		goto bad; /* an IPv6 address without brackets: where would the port begin? */
	}
	if (!number_parse(colon + 1, 0, UINT16_MAX, &n) || len >= host_size)
		goto bad;
	memcpy(host, from, len);
	host[len] = '\0';
	snprintf(port, port_size, "%u", (unsigned int)n);
	return 0;
bad:
	return err_set(e, -EINVAL, "address '%s': expected HOST:PORT, [IPV6]:PORT or unix:/path", text);
}

/* Begin to look "HOST:PORT" up and wait for it; on success *@out is the caller's to free. */
static int look_up(const char *text, int flags, int timeout_ms, struct lookup **out, struct err *e)
{
	char host[256], port[8];
	struct lookup *l;
	int rc;

	rc = split_address(text, host, sizeof(host), port, sizeof(port), e);
	if (rc)
		return rc;
	l = lookup_start(host, port, flags);
	if (!l)
		return err_set(e, -ENOMEM, "%s: out of memory", text);
	rc = lookup_wait(l, timeout_ms > 0 ? (unsigned int)timeout_ms : 0);
	if (!rc) {
		*out = l;
		return 0;
	}
	lookup_free(l);
	if (rc == EAI_INPROGRESS)
		return err_set(e, -ETIMEDOUT, "%s: its name was not found out in %d ms", text, timeout_ms);
	return err_set(e, -ENOENT, "%s: %s", text, gai_strerror(rc));
}

/*
 * No delay: for a socket that was accepted or connected.
 * #syscalls:engine,porter setsockopt(1=IPPROTO_TCP)
 */
static void tune(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* Not by getnameinfo(3), which makes a socket to know the name of a link: whoever accepts may have no right to that. */
static void format_peer(const struct sockaddr_storage *ss, char *buf, size_t size)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)ss;
	const struct sockaddr_in *four = (const struct sockaddr_in *)ss;
	char host[INET6_ADDRSTRLEN], scope[12] = "";

	if (ss->ss_family == AF_INET6 && inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof(host))) {
		if (six->sin6_scope_id)
			snprintf(scope, sizeof(scope), "%%%u", six->sin6_scope_id);
		snprintf(buf, size, "[%s%s]:%u", host, scope, ntohs(six->sin6_port));
	} else if (ss->ss_family == AF_INET && inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host))) {
		snprintf(buf, size, "%s:%u", host, ntohs(four->sin_port));
	} else {
		snprintf(buf, size, "peer");
	}
}

/* #syscalls:porter socket(0=AF_INET,1&SOCK_KIND=SOCK_STREAM) socket(0=AF_INET6,1&SOCK_KIND=SOCK_STREAM) */
static int tcp_connect(const char *host_port, int timeout_ms, struct stream **out, struct err *e)
{
	uint64_t end = clock_ms() + (uint64_t)timeout_ms, now;
	const struct addrinfo *a;
	struct lookup *l;
	int fd, rc;

	rc = look_up(host_port, 0, timeout_ms, &l, e);
	if (rc)
		return rc;
	rc = -EADDRNOTAVAIL;
	for (a = lookup_addresses(l); a; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0) {
			rc = -errno;
			continue;
		}
		now = clock_ms();
		rc = socket_connect_fd(fd, a->ai_addr, a->ai_addrlen, now < end ? (int)(end - now) : 0);
		if (!rc) {
			tune(fd);
			lookup_free(l);
			return stream_from_fd(fd, host_port, out, e);
		}
		close(fd);
	}
	lookup_free(l);
	return err_set(e, rc, "%s: connecting: %s", host_port, strerror(-rc));
}

/* Bind and listen on the first address that allows it. */
static int listen_first(const struct addrinfo *a, int *out)
{
	int fd, on = 1, rc = -EADDRNOTAVAIL;

	for (; a; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0) {
			rc = -errno;
			continue;
		}
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 64)) {
			*out = fd;
			return 0;
		}
		rc = -errno;
		close(fd);
	}
	return rc;
}

static int tcp_listen(const char *host_port, struct stream_listener **out, struct err *e)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	struct socket_listener *l;
	struct lookup *name;
	int rc;

	rc = look_up(host_port, AI_PASSIVE, LISTEN_NAME_MS, &name, e);
	if (rc)
		return rc;
	rc = socket_listener_create(&transport_tcp, &l, e);
	if (rc) {
		lookup_free(name);
		return rc;
	}
	rc = listen_first(lookup_addresses(name), &l->fd);
	lookup_free(name);
	if (rc) {
		socket_listener_close(&l->base);
		return err_set(e, rc, "%s: listening: %s", host_port, strerror(-rc));
	}
	getsockname(l->fd, (struct sockaddr *)&ss, &len);
	memcpy(l->base.address, "tcp:", 4);
	format_peer(&ss, l->base.address + 4, sizeof(l->base.address) - 4);
	*out = &l->base;
	return 0;
}

static int tcp_accept(struct stream_listener *l, int timeout_ms, struct stream **out, struct err *e)
{
	struct sockaddr_storage from;
	char peer[108];
	int fd = socket_accept_fd(socket_listener_of(l), timeout_ms, &from, e);

	if (fd < 0)
		return fd;
	tune(fd);
	format_peer(&from, peer, sizeof(peer));
	return stream_from_fd(fd, peer, out, e);
}

const struct transport transport_tcp = {
	.scheme = "tcp",
	.connect = tcp_connect,
	.listen = tcp_listen,
	.accept = tcp_accept,
	.close = socket_listener_close,
};
