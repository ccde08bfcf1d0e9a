/* SPDX-License-Identifier: Apache-2.0 */
/* packet - see packet.h; unix(7), SCM_RIGHTS. */
#include "base/packet.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The other end may go with something unread. */
static int gone(int error)
{
	return error == ECONNRESET ? -EPIPE : -error;
}

union control {
	char room[CMSG_SPACE(PACKET_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

/* #syscalls:broker,porter,main,gate,engine,viewer sendmsg */
int packet_send(int sock, const void *buf, size_t len, const int *fds, size_t n)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control c = { 0 };
	struct cmsghdr *h;
	ssize_t sent;

	assert(n <= PACKET_FDS_MAX);
	if (n) {
		m.msg_control = c.room;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(h), fds, n * sizeof(int));
	}
	do
		sent = sendmsg(sock, &m, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? gone(errno) : 0;
}

static void take_fds(struct msghdr *m, int fds[PACKET_FDS_MAX], size_t *n)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		*n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		assert(*n <= PACKET_FDS_MAX); /* there is no room for more, and one such header in a packet */
		memcpy(fds, CMSG_DATA(h), *n * sizeof(int));
	}
}

/* #syscalls:broker,porter,main,gate,engine,viewer recvmsg */
int packet_receive(int sock, void *buf, size_t len, int fds[PACKET_FDS_MAX], size_t *n)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	union control c = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.room, .msg_controllen = sizeof(c.room) };
	ssize_t got;

	*n = 0;
	do
		got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return gone(errno);
	take_fds(&m, fds, n);
	if ((size_t)got == len && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 0;
	while (*n)
		close(fds[--*n]);
	if ((size_t)got == len && !(m.msg_flags & MSG_TRUNC))
		return -EMFILE;
	return got ? -EPROTO : -EPIPE;
}
