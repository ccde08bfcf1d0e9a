/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - a socket for who speaks to the agent in the guest, one at a time.
 *
 * Bytes go between him and the guest's port on the device's thread (hv/virtio/virtio_console.c).  What they mean is
 * nothing to a VMM: the agent is the guest's, and hostile.
 */
#include "cmd/drover-hv/vmm.h"

#include "base/log.h"
#include "base/unix_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BACKLOG 4

struct agent_port {
	struct drover_hv *vmm;
	int fd;
	char path[UNIX_SOCKET_PATH_MAX + 1];
};

static void on_connect(void *arg, uint32_t events)
{
	struct agent_port *a = arg;
	int fd = unix_socket_accept(a->fd);
	struct err e;

	(void)events;
	if (fd < 0)
		return;
	if (machine_agent_attach(a->vmm->machine, fd, &e)) {
		log_debug("agent: refused: %s", e.text);
		close(fd);
	}
}

int agent_open(struct drover_hv *v, const char *path, struct err *e)
{
	struct agent_port *a;
	int ret;

	if (!v->conf->guest_agent || !*path)
		return 0;
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(e, -ENOMEM, "out of memory");
	a->vmm = v;
	a->fd = unix_socket_listen(path, 0600, BACKLOG, "drover-hv", e);
	if (a->fd < 0) {
		ret = a->fd;
		err_prefix(e, "agent");
		free(a);
		return ret;
	}
	memcpy(a->path, path, strlen(path) + 1);
	v->agent = a;
	return loop_add(v->loop, a->fd, EPOLLIN, on_connect, a, e);
}

void agent_close(struct drover_hv *v)
{
	struct agent_port *a = v->agent;

	if (!a)
		return;
	loop_del(v->loop, a->fd);
	close(a->fd);
	porter_remove(v->porter, PORTER_AGENT);
	free(a);
	v->agent = NULL;
}

void agent_query(const struct drover_hv *v, json_t *answer)
{
	if (v->agent)
		json_object_set_new(answer, "agent", json_pack("{s:s, s:b}", "path", v->agent->path, "open", machine_agent_is_open(v->machine)));
}
