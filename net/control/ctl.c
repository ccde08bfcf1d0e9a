/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl - see ctl.h and docs/control.md.
 *
 * Each client has an input buffer of one line and an output buffer that grows up
 * to CTL_OUT_MAX: a client that does not read is dropped, it must not hold the
 * domain back.  Of more than CTL_CLIENTS_MAX the one that asked longest ago, or never, is
 * dropped: droverd must come in again, for it kills a VMM that it cannot steer.  What a
 * client sends is not trusted further than its permission to open the socket: lines too
 * long, no JSON, unknown commands and arguments are answered with an error (rule S).
 */
#include "net/control/ctl.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "net/control/loop.h"
#include "net/control/protocol.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CTL_OUT_MAX (4u << 20)
#define CTL_TABLES_MAX 8
#define BACKLOG 16

struct client {
	struct client *next;
	struct ctl *ctl;
	int fd;
	bool dead;
	uint64_t asked; /* its last request, counted over all clients; 0: none yet */
	char in[CTL_LINE_MAX];
	size_t in_len;
	char *out;
	size_t out_len, out_size;
};

struct ctl {
	struct loop *loop;
	json_t *(*greeting)(void *owner);
	void *owner;
	int fd;
	char path[UNIX_SOCKET_PATH_MAX + 1];
	struct client *clients;
	unsigned int n_clients;
	uint64_t n_asked;
	const struct ctl_command *tables[CTL_TABLES_MAX];
	size_t n_tables;
};

/* --- output --- */

static void client_drop(struct client *c, const char *why)
{
	if (c->dead)
		return;
	if (why)
		log_warn("control: client dropped: %s", why);
	c->dead = true;
	loop_del(c->ctl->loop, c->fd);
	close(c->fd);
	c->fd = -1;
}

/* #syscalls:main sendto */
static void client_flush(struct client *c)
{
	ssize_t n;

	while (!c->dead && c->out_len) {
		n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			client_drop(c, NULL);
			return;
		}
		memmove(c->out, c->out + n, c->out_len - (size_t)n);
		c->out_len -= (size_t)n;
	}
	if (!c->dead)
		loop_change(c->ctl->loop, c->fd, EPOLLIN | (c->out_len ? EPOLLOUT : 0u));
}

static void client_append(struct client *c, const char *text, size_t len)
{
	size_t need = c->out_len + len;

	if (c->dead)
		return;
	if (need > CTL_OUT_MAX) {
		client_drop(c, "it does not read its answers");
		return;
	}
	if (need > c->out_size) {
		char *p = realloc(c->out, need * 2);

		if (!p) {
			client_drop(c, "out of memory");
			return;
		}
		c->out = p;
		c->out_size = need * 2;
	}
	assert(need <= c->out_size);
	memcpy(c->out + c->out_len, text, len);
	c->out_len += len;
}

static void client_send(struct client *c, const json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);

	if (!text) {
		client_drop(c, "out of memory");
		return;
	}
	client_append(c, text, strlen(text));
	client_append(c, "\n", 1);
	free(text);
	client_flush(c);
}

/* --- commands --- */

static const struct ctl_command *find(struct ctl *c, const char *name)
{
	for (size_t i = 0; i < c->n_tables; i++)
		for (const struct ctl_command *t = c->tables[i]; t->name; t++)
			if (strcmp(t->name, name) == 0)
				return t;
	return NULL;
}

static bool type_fits(char type, const json_t *v)
{
	switch (type) {
	case 's':
		return json_is_string(v);
	case 'i':
		return json_is_integer(v);
	case 'b':
		return json_is_boolean(v);
	default:
		return false;
	}
}

static const char *type_name(char type)
{
	return type == 's' ? "a string" : type == 'i' ? "a whole number" :
							"true or false";
}

/* @spec: "to:s! channels:i"; every argument given must be in it, every "!" must be given. */
static int check_args(const char *spec, const json_t *args, struct err *e)
{
	size_t known = 0;

	while (*spec) {
		const char *colon = strchr(spec, ':');
		char name[32] = "";
		bool required;
		json_t *v;

		assert(colon && colon[1]);
		memcpy(name, spec, (size_t)(colon - spec) < sizeof(name) - 1 ? (size_t)(colon - spec) : sizeof(name) - 1);
		required = colon[2] == '!';
		v = json_object_get(args, name);
		if (!v && required)
			return err_set(e, -EINVAL, "arguments: %s is missing", name);
		if (v && !type_fits(colon[1], v))
			return err_set(e, -EINVAL, "arguments: %s: expected %s", name,
				       type_name(colon[1]));
		known += v != NULL;
		spec = colon + (required ? 3 : 2);
		spec += *spec == ' ';
	}
	if (json_object_size(args) != known)
		return err_set(e, -EINVAL, "arguments: one is not known");
	return 0;
}

static int run(struct ctl *c, const json_t *request, json_t **ret, struct err *e)
{
	const char *name = json_string_value(json_object_get(request, "execute"));
	json_t *args = json_object_get(request, "arguments");
	const struct ctl_command *cmd;
	json_t *none = NULL;
	int code;

	if (!name)
		return err_set(e, -EINVAL, "expected {\"execute\": \"command\", ...}");
	cmd = find(c, name);
	if (!cmd)
		return err_set(e, -EINVAL, "%.64s: no such command", name);
	if (args && !json_is_object(args))
		return err_set(e, -EINVAL, "arguments: expected an object");
	if (!args)
		args = none = json_object();
	code = check_args(cmd->args, args, e);
	if (!code)
		code = cmd->run(c->owner, args, ret, e);
	json_decref(none);
	return code;
}

static void answer(struct client *c, const char *line, size_t len)
{
	json_t *request, *reply = json_object(), *ret = NULL, *id;
	struct err e = { 0 };
	json_error_t bad;
	int code;

	c->asked = ++c->ctl->n_asked;
	request = json_loadb(line, len, 0, &bad);
	if (!request)
		code = err_set(&e, -EINVAL, "not JSON: %s", bad.text);
	else
		code = run(c->ctl, request, &ret, &e);
	if (code) {
		json_object_set_new(reply, "error",
				    json_pack("{s:i, s:s}", "code", err_exit_code(code), "text", e.text));
		json_decref(ret);
	} else {
		json_object_set_new(reply, "return", ret ? ret : json_object());
	}
	id = json_object_get(request, "id");
	if (id)
		json_object_set(reply, "id", id);
	client_send(c, reply);
	json_decref(reply);
	json_decref(request);
}

/* --- input --- */

static void take_lines(struct client *c)
{
	char *start = c->in, *nl;

	while (!c->dead && (nl = memchr(start, '\n', c->in_len - (size_t)(start - c->in)))) {
		if (nl > start)
			answer(c, start, (size_t)(nl - start));
		start = nl + 1;
	}
	assert(start <= c->in + c->in_len);
	c->in_len -= (size_t)(start - c->in);
	memmove(c->in, start, c->in_len);
	if (!c->dead && c->in_len == sizeof(c->in))
		client_drop(c, "a line is longer than 64 KiB");
}

static void client_free_dead(struct ctl *c)
{
	struct client **p = &c->clients, *x;

	while ((x = *p)) {
		if (x->dead) {
			assert(c->n_clients);
			*p = x->next;
			c->n_clients--;
			free(x->out);
			free(x);
		} else {
			p = &x->next;
		}
	}
}

/* #syscalls:main recvfrom */
static void client_ready(void *arg, uint32_t events)
{
	struct client *c = arg;
	struct ctl *ctl = c->ctl;
	ssize_t n;

	if (events & EPOLLOUT)
		client_flush(c);
	if (!c->dead && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);
		if (n > 0) {
			c->in_len += (size_t)n;
			take_lines(c);
		} else if (n == 0 || errno != EAGAIN) {
			client_drop(c, NULL);
		}
	}
	client_free_dead(ctl);
}

static void greet(struct client *c)
{
	json_t *o = c->ctl->greeting(c->ctl->owner);

	if (o)
		client_send(c, o);
	else
		client_drop(c, "out of memory");
	json_decref(o);
}

/* The list begins with the newest. */
static void make_room(struct ctl *ctl)
{
	struct client *victim = NULL;

	for (struct client *x = ctl->clients; x; x = x->next)
		if (!victim || x->asked <= victim->asked)
			victim = x;
	if (ctl->n_clients < CTL_CLIENTS_MAX || !victim)
		return;
	client_drop(victim, NULL);
	client_free_dead(ctl);
}

static void client_new(void *arg, uint32_t events)
{
	struct ctl *ctl = arg;
	struct client *c;
	int fd;

	(void)events;
	fd = unix_socket_accept(ctl->fd);
	if (fd < 0)
		return;
	make_room(ctl);
	c = calloc(1, sizeof(*c));
	if (!c || loop_add(ctl->loop, fd, EPOLLIN, client_ready, c, NULL)) {
		log_warn("control: client refused: out of memory");
		free(c);
		close(fd);
		return;
	}
	assert(ctl->n_clients < CTL_CLIENTS_MAX);
	c->ctl = ctl;
	c->fd = fd;
	c->next = ctl->clients;
	ctl->clients = c;
	ctl->n_clients++;
	greet(c);
	client_free_dead(ctl);
}

/* --- the socket --- */

int ctl_create(struct ctl **out, const struct ctl_conf *conf, struct err *e)
{
	struct ctl *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	c->loop = conf->loop;
	c->greeting = conf->greeting;
	c->owner = conf->owner;
	c->fd = unix_socket_listen(conf->path, 0600, BACKLOG, conf->program, e);
	if (c->fd < 0) {
		ret = c->fd;
		err_prefix(e, "control socket");
		free(c);
		return ret;
	}
	memcpy(c->path, conf->path, strlen(conf->path) + 1);
	ret = loop_add(c->loop, c->fd, EPOLLIN, client_new, c, e);
	if (ret) {
		ctl_destroy(c);
		return ret;
	}
	*out = c;
	return 0;
}

/*
 * The name may stay: whoever has no right to remove it has somebody who does (cmd/drover-hv/porter.h).
 * #syscalls:main,engine unlink!EACCES
 */
void ctl_destroy(struct ctl *c)
{
	if (!c)
		return;
	for (struct client *x = c->clients; x; x = x->next) {
		if (!x->dead)
			client_flush(x);
		client_drop(x, NULL);
	}
	client_free_dead(c);
	loop_del(c->loop, c->fd);
	close(c->fd);
	unlink(c->path);
	free(c);
}

void ctl_add(struct ctl *c, const struct ctl_command *table)
{
	if (!c)
		return;
	assert(c->n_tables < CTL_TABLES_MAX);
	c->tables[c->n_tables++] = table;
}

void ctl_event(struct ctl *c, const char *event, json_t *data)
{
	json_t *o = json_pack("{s:s, s:o, s:I}", "event", event, "data", data, "time_ns",
			      (json_int_t)clock_ns());

	if (!c) {
		json_decref(o);
		return;
	}
	for (struct client *x = c->clients; x; x = x->next)
		if (!x->dead)
			client_send(x, o);
	json_decref(o);
}
