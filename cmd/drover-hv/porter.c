/* SPDX-License-Identifier: Apache-2.0 */
/* porter - the VMM's end; see porter.h. */
#include "cmd/drover-hv/porter_int.h"

#include "base/helper.h"
#include "base/unix_socket.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLACK_MS 20000 /* beyond what the porter itself waits: it may not get a processor at once */

struct porter {
	pthread_mutex_t lock; /* a question and its answer */
	struct helper helper;
};

static void serve(int sock, void *arg)
{
	porter_serve(sock, arg);
}

int porter_start(struct porter **out, const char *const sockets[PORTER_SOCKETS], char *args, size_t args_len,
		 struct err *e)
{
	/* Copies: paths may be arguments of this process, which are no more where the porter is named. */
	char room[PORTER_SOCKETS][UNIX_SOCKET_PATH_MAX + 1];
	const char *kept[PORTER_SOCKETS] = { NULL };
	const struct helper_role role = {
		.name = "drover-hv-door",
		.kind = CONFINE_PORTER,
		.serve = serve,
		.arg = kept,
		.args = args,
		.args_len = args_len,
	};
	struct porter *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return err_set(e, -ENOMEM, "porter: out of memory");
	/* A longer one is no socket's (base/unix_socket.h). */
	for (size_t i = 0; i < PORTER_SOCKETS; i++)
		if (sockets[i] && strlen(sockets[i]) <= UNIX_SOCKET_PATH_MAX)
			kept[i] = strcpy(room[i], sockets[i]);
	ret = helper_start(&p->helper, &role, e);
	if (ret) {
		free(p);
		return ret;
	}
	pthread_mutex_init(&p->lock, NULL);
	*out = p;
	return 0;
}

void porter_stop(struct porter *p)
{
	if (!p)
		return;
	helper_stop(&p->helper);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static int converse(int sock, const struct porter_question *q, struct porter_answer *a, int *fd)
{
	struct pollfd answered = { .fd = sock, .events = POLLIN };
	int fds[PACKET_FDS_MAX], ret;
	size_t n;

	*fd = -1;
	ret = packet_send(sock, q, sizeof(*q), NULL, 0);
	if (!ret && poll(&answered, 1, q->timeout_ms + SLACK_MS) != 1)
		ret = -ETIMEDOUT;
	if (!ret)
		ret = packet_receive(sock, a, sizeof(*a), fds, &n);
	if (ret)
		return ret;
	if (n)
		*fd = fds[0];
	while (n > 1)
		close(fds[--n]);
	return 0;
}

/*
 * After an answer that did not come whatever came next would be the answer to another question.
 * #syscalls:main,engine shutdown
 */
static int ask(struct porter *p, const struct porter_question *q, struct porter_answer *a, int *fd, struct err *e)
{
	int ret;

	pthread_mutex_lock(&p->lock);
	ret = converse(p->helper.sock, q, a, fd);
	if (ret && ret != -EMFILE)
		shutdown(p->helper.sock, SHUT_RDWR);
	pthread_mutex_unlock(&p->lock);
	if (ret == -EMFILE)
		return err_set(e, ret, "no room for a descriptor");
	if (ret)
		return err_set(e, -EPIPE, "the process that connects to other hosts has ended");
	if (a->ret && e)
		*e = a->err;
	return a->ret;
}

int porter_connect(struct porter *p, const char *address, int timeout_ms, struct stream **out, struct err *e)
{
	struct porter_question q = { .op = PORTER_OP_CONNECT, .timeout_ms = timeout_ms };
	struct porter_answer a;
	int fd, ret;

	if (strlen(address) >= sizeof(q.address))
		return err_set(e, -ENAMETOOLONG, "address '%.80s...': at most %zu bytes", address, sizeof(q.address) - 1);
	memcpy(q.address, address, strlen(address));
	ret = ask(p, &q, &a, &fd, e);
	if (ret)
		return ret;
	if (fd < 0)
		return err_set(e, -EPROTO, "%s: no connection came", address);
	a.peer[sizeof(a.peer) - 1] = '\0';
	return stream_from_fd(fd, a.peer, out, e);
}

int porter_room(struct porter *p, uint64_t need, bool plenty, struct err *e)
{
	struct porter_question q = { .op = PORTER_OP_ROOM, .need = need, .plenty = plenty };
	struct porter_answer a;
	int fd;

	return ask(p, &q, &a, &fd, e);
}

void porter_remove(struct porter *p, enum porter_socket which)
{
	struct porter_question q = { .op = PORTER_OP_REMOVE, .which = which };
	struct porter_answer a;
	int fd;

	if (p)
		ask(p, &q, &a, &fd, NULL);
}
