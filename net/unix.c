/* SPDX-License-Identifier: Apache-2.0 */
/* unix - "unix:/path": streams between processes of one host. */
#include "net/socket.h"

#include "base/unix_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static int make_address(const char *path, struct sockaddr_un *sa, struct err *e)
{
	size_t len = strlen(path);

	if (!len || len >= sizeof(sa->sun_path))
		return err_set(e, -EINVAL, "unix:%s: a socket path has 1 to %zu characters", path,
			       sizeof(sa->sun_path) - 1);
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	memcpy(sa->sun_path, path, len + 1);
	return 0;
}

static int unix_socket(struct err *e)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? err_errno(e, "making a UNIX socket") : fd;
}

/* The address of @path, and a socket for it. */
static int address_and_socket(const char *path, struct sockaddr_un *sa, struct err *e)
{
	int rc = make_address(path, sa, e);

	return rc ? rc : unix_socket(e);
}

int unix_connect(const char *path, int timeout_ms, struct stream **out, struct err *e)
{
	struct sockaddr_un sa;
	char peer[120];
	int fd, rc;

	fd = address_and_socket(path, &sa, e);
	if (fd < 0)
		return fd;
	rc = socket_connect_fd(fd, (struct sockaddr *)&sa, sizeof(sa), timeout_ms);
	if (rc) {
		close(fd);
		return err_set(e, rc, "unix:%s: connecting: %s", path, strerror(-rc));
	}
	snprintf(peer, sizeof(peer), "unix:%s", path);
	return stream_from_fd(fd, peer, out, e);
}

int unix_listen(const char *path, struct stream_listener *l, struct err *e)
{
	struct sockaddr_un sa;
	int fd, rc;

	fd = address_and_socket(path, &sa, e);
	if (fd < 0)
		return fd;
	unix_path_free(&sa, "", NULL); /* if it is not, bind() says so */
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 64)) {
		rc = err_errno(e, "unix:%s: listening", path);
		close(fd);
		return rc;
	}
	l->fd = fd;
	memcpy(l->path, sa.sun_path, sizeof(l->path));
	snprintf(l->address, sizeof(l->address), "unix:%s", path);
	return 0;
}
