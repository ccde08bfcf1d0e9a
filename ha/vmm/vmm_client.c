/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_client - see vmm_client.h.
 *
 * Replies carry the id of their command; events may stand between them.  What
 * the VMM sends is hostile (rule S): a line longer than CTL_LINE_MAX, or one that is
 * not an object, ends the connection.  What it does not read is kept up to
 * OUT_MAX bytes; a VMM that lets more pile up is as good as dead.  The loop that reads
 * renews the leases of all domains: one look takes IN_TURN bytes, the rest waits for the
 * next, so that a VMM which never stops talking has its turn and no more.
 */
#include "ha/vmm/vmm_client.h"

#include "base/unix_socket.h"
#include "net/control/protocol.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_MAX (256u << 10)
#define PENDING_MAX 64u /* a dozen at most where answers come */
#define IN_TURN 4096u   /* some hundred of the shortest lines that mean anything */

struct pending {
	struct pending *next;
	json_int_t id;
	vmm_reply reply;
	void *arg;
};

struct vmm_client {
	qb_loop_t *loop;
	const struct vmm_client_ops *ops;
	void *arg;
	int fd;
	bool dead;
	json_int_t next_id;
	struct pending *pending;
	unsigned int n_pending;
	char *out;
	size_t out_len;
	size_t in_len;
	char in[CTL_LINE_MAX];
};

static void client_lost(struct vmm_client *c, const char *why)
{
	if (c->dead)
		return;
	c->dead = true;
	c->ops->closed(c->arg, why);
}

static struct pending *take_pending(struct vmm_client *c, json_int_t id)
{
	struct pending **p, *found;

	for (p = &c->pending; *p; p = &(*p)->next)
		if ((*p)->id == id) {
			found = *p;
			assert(c->n_pending);
			*p = found->next;
			c->n_pending--;
			return found;
		}
	return NULL;
}

static void on_reply(struct vmm_client *c, json_t *o)
{
	json_t *err = json_object_get(o, "error"), *ret = json_object_get(o, "return");
	struct pending *p = take_pending(c, json_integer_value(json_object_get(o, "id")));
	const char *text;
	int code;

	if (!p)
		return;
	if (err) {
		code = (int)json_integer_value(json_object_get(err, "code"));
		text = json_string_value(json_object_get(err, "text"));
		p->reply(p->arg, code ? code : EXIT_ERROR, NULL, text ? text : "refused without a reason");
	} else {
		p->reply(p->arg, 0, ret, "");
	}
	free(p);
}

static void on_line(struct vmm_client *c, const char *line, size_t len)
{
	json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	json_t *hello;
	const char *event;

	if (!json_is_object(o)) {
		json_decref(o);
		client_lost(c, "it sent a line that is not a JSON object");
		return;
	}
	hello = json_object_get(o, "drover-hv");
	event = json_string_value(json_object_get(o, "event"));
	if (hello)
		c->ops->hello(c->arg, hello);
	else if (event)
		c->ops->event(c->arg, event, json_object_get(o, "data"));
	else
		on_reply(c, o);
	json_decref(o);
}

/* Hand out every whole line of what has come. */
static void split_lines(struct vmm_client *c)
{
	size_t start = 0;
	char *nl;

	while (!c->dead && (nl = memchr(c->in + start, '\n', c->in_len - start)) != NULL) {
		on_line(c, c->in + start, (size_t)(nl - (c->in + start)));
		start = (size_t)(nl - c->in) + 1;
	}
	assert(start <= c->in_len);
	memmove(c->in, c->in + start, c->in_len - start);
	c->in_len -= start;
	if (c->in_len == sizeof(c->in))
		client_lost(c, "it sent a line longer than 64 KiB");
}

static void read_some(struct vmm_client *c)
{
	size_t room = sizeof(c->in) - c->in_len;
	ssize_t n;

	assert(room && c->fd >= 0); /* a line that fills it ends the connection */
	n = recv(c->fd, c->in + c->in_len, room < IN_TURN ? room : IN_TURN, MSG_DONTWAIT);

	if (n > 0) {
		c->in_len += (size_t)n;
		split_lines(c);
	} else if (n == 0) {
		client_lost(c, "closed");
	} else if (errno != EINTR && errno != EAGAIN) {
		client_lost(c, strerror(errno));
	}
}

static void write_some(struct vmm_client *c)
{
	ssize_t n;

	while (c->out_len > 0 && !c->dead) {
		n = send(c->fd, c->out, c->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) /* what it said before is still to be read; read_some() sees the end */
			return;
		memmove(c->out, c->out + n, c->out_len - (size_t)n);
		c->out_len -= (size_t)n;
	}
}

static int32_t on_ready(int32_t fd, int32_t revents, void *data);

static void set_events(struct vmm_client *c)
{
	qb_loop_poll_mod(c->loop, QB_LOOP_MED, c->fd, POLLIN | (c->out_len ? POLLOUT : 0), c,
			 on_ready);
}

static int32_t on_ready(int32_t fd, int32_t revents, void *data)
{
	struct vmm_client *c = data;
	bool had = c->out_len > 0;

	if (revents & POLLOUT)
		write_some(c);
	if (revents & (POLLIN | POLLHUP | POLLERR))
		read_some(c);
	if (c->dead) {
		close(c->fd); /* takes it out of the epoll set; see cpg.c on_ready() */
		c->fd = -1;
		return -1;
	}
	if (had != (c->out_len > 0))
		set_events(c);
	return 0;
}

int vmm_client_connect(qb_loop_t *loop, const char *path, const struct vmm_client_ops *ops,
		       void *arg, struct vmm_client **out, struct err *e)
{
	struct vmm_client *c;
	int rc;

	*out = NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	c->loop = loop;
	c->ops = ops;
	c->arg = arg;
	c->fd = unix_socket_connect(path, e);
	if (c->fd < 0) {
		rc = c->fd;
		goto out_free;
	}
	rc = qb_loop_poll_add(loop, QB_LOOP_MED, c->fd, POLLIN, c, on_ready);
	if (rc < 0) {
		rc = err_set(e, rc, "cannot watch %s: %s", path, strerror(-rc));
		goto out_close;
	}
	*out = c;
	return 0;
out_close:
	close(c->fd);
out_free:
	free(c);
	return rc;
}

static int queue_out(struct vmm_client *c, const char *line, size_t len)
{
	char *grown;

	if (c->out_len + len + 1 > OUT_MAX)
		return -ENOBUFS;
	grown = realloc(c->out, c->out_len + len + 1);
	if (!grown)
		return -ENOMEM;
	c->out = grown;
	memcpy(c->out + c->out_len, line, len);
	c->out[c->out_len + len] = '\n';
	c->out_len += len + 1;
	assert(c->out_len <= OUT_MAX);
	return 0;
}

int vmm_client_execute(struct vmm_client *c, const char *command, json_t *arguments,
		       vmm_reply reply, void *arg)
{
	json_t *o = json_pack("{s:s, s:I}", "execute", command, "id", ++c->next_id);
	struct pending *p = NULL;
	char *line = NULL;
	int rc = -ENOMEM;

	if (c->dead)
		rc = -ENOTCONN;
	else if (reply && c->n_pending == PENDING_MAX)
		rc = -ENOBUFS; /* it reads, but does not answer */
	if (rc != -ENOMEM || !o || (arguments && json_object_set(o, "arguments", arguments) < 0))
		goto out;
	line = json_dumps(o, JSON_COMPACT);
	if (!line)
		goto out;
	if (reply) {
		p = calloc(1, sizeof(*p));
		if (!p)
			goto out;
		p->id = c->next_id;
		p->reply = reply;
		p->arg = arg;
	}
	rc = queue_out(c, line, strlen(line));
	if (rc < 0)
		goto out;
	if (p) {
		assert(c->n_pending < PENDING_MAX);
		p->next = c->pending;
		c->pending = p;
		c->n_pending++;
		p = NULL;
	}
	write_some(c);
	if (c->out_len > 0)
		set_events(c);
out:
	free(p);
	free(line);
	json_decref(o);
	json_decref(arguments);
	return rc;
}

void vmm_client_close(struct vmm_client *c)
{
	struct pending *p;

	if (!c)
		return;
	if (c->fd >= 0) {
		qb_loop_poll_del(c->loop, c->fd);
		close(c->fd);
	}
	while ((p = c->pending) != NULL) {
		c->pending = p->next;
		free(p);
	}
	free(c->out);
	free(c);
}
