/* SPDX-License-Identifier: Apache-2.0 */
/* porter_serve - the porter's end (porter.h): one question after the other. */
#include "cmd/drover-hv/porter_int.h"

#include "base/room.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int serve_connect(struct porter_question *q, struct porter_answer *a, int *fd)
{
	struct stream *s;
	int ret;

	q->address[sizeof(q->address) - 1] = '\0';
	if (q->timeout_ms < 0 || q->timeout_ms > PORTER_WAIT_MAX_MS)
		return err_set(&a->err, -EINVAL, "porter: %d ms, expected 0 to %d", (int)q->timeout_ms, PORTER_WAIT_MAX_MS);
	ret = stream_connect(q->address, q->timeout_ms, &s, &a->err);
	if (ret)
		return ret;
	snprintf(a->peer, sizeof(a->peer), "%s", s->peer);
	*fd = stream_to_fd(s);
	return 0;
}

/* #syscalls:porter unlink newfstatat */
static int serve_remove(const struct porter_question *q, const char *const *sockets, struct err *e)
{
	const char *path = q->which < PORTER_SOCKETS ? sockets[q->which] : NULL;
	struct stat st;

	if (!path)
		return err_set(e, -EINVAL, "porter: there is no socket %u", q->which);
	if (lstat(path, &st) || !S_ISSOCK(st.st_mode))
		return 0;
	return unlink(path) ? err_errno(e, "%s", path) : 0;
}

static int serve_one(struct porter_question *q, const char *const *sockets, struct porter_answer *a, int *fd)
{
	switch (q->op) {
	case PORTER_OP_CONNECT:
		return serve_connect(q, a, fd);
	case PORTER_OP_ROOM:
		return q->plenty ? room_plenty("", q->need, &a->err) : room_check("", q->need, &a->err);
	case PORTER_OP_REMOVE:
		return serve_remove(q, sockets, &a->err);
	default:
		return err_set(&a->err, -EINVAL, "porter: there is no question %u", q->op);
	}
}

void porter_serve(int sock, const char *const sockets[PORTER_SOCKETS])
{
	struct porter_question q;
	int none[PACKET_FDS_MAX], fd, ret;
	size_t n;

	do {
		struct porter_answer a = { 0 };

		ret = packet_receive(sock, &q, sizeof(q), none, &n);
		if (ret)
			return;
		while (n)
			close(none[--n]);
		fd = -1;
		a.ret = serve_one(&q, sockets, &a, &fd);
		a.n_fds = fd >= 0;
		ret = packet_send(sock, &a, sizeof(a), &fd, a.n_fds);
		if (fd >= 0)
			close(fd);
	} while (!ret);
}
