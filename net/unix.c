/* SPDX-License-Identifier: Apache-2.0 */
/* unix - "unix:/path": streams between processes of one host. */
#include "net/socket.h"

#include "base/unix_socket.h"

#include <stdio.h>

#define BACKLOG 64

/* Does not wait: who listens on this host takes a connection at once or has too many. */
static int unix_connect(const char *path, int timeout_ms, struct stream **out, struct err *e)
{
	int fd = unix_socket_connect(path, e);
	char peer[120];

	if (fd < 0) {
		err_prefix(e, "unix:%s", path);
		return fd;
	}
	snprintf(peer, sizeof(peer), "unix:%s", path);
	return stream_from_fd(fd, peer, out, e);
}

static int unix_listen(const char *path, struct stream_listener **out, struct err *e)
{
	struct socket_listener *l;
	int rc = socket_listener_create(&transport_unix, &l, e);

	if (rc)
		return rc;
	l->fd = unix_socket_listen(path, 0600, BACKLOG, "process", e);
	if (l->fd < 0) {
		rc = l->fd;
		err_prefix(e, "unix:%s", path);
		socket_listener_close(&l->base);
		return rc;
	}
	snprintf(l->path, sizeof(l->path), "%s", path);
	snprintf(l->base.address, sizeof(l->base.address), "unix:%s", path);
	*out = &l->base;
	return 0;
}

static int unix_accept(struct stream_listener *base, int timeout_ms, struct stream **out, struct err *e)
{
	struct socket_listener *l = socket_listener_of(base);
	struct sockaddr_storage from;
	int fd = socket_accept_fd(l, timeout_ms, &from, e);

	return fd < 0 ? fd : stream_from_fd(fd, l->base.address, out, e);
}

const struct transport transport_unix = {
	.scheme = "unix",
	.connect = unix_connect,
	.listen = unix_listen,
	.accept = unix_accept,
	.close = socket_listener_close,
};
