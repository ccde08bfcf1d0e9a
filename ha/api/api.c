/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api - see api.h.
 *
 * libmicrohttpd without threads: its epoll descriptor sits in the qb loop, and
 * its timeout in a qb timer.  A view is answered at once.  A command goes to the core;
 * its connection is suspended until the core's REPLY, or until it is too
 * late (COMMAND_TIMEOUT_MS: the cluster did not come to a decision).
 *
 * The loop renews leases, and a list of many domains is milliseconds of work.  So one pass answers
 * for PASS_MS and no longer, whatever many clients ask for at once or behind one another on their
 * connections; who did not get a turn is suspended as well, and the oldest goes on in a pass of its
 * own when the loop has nothing more urgent.
 */
#include "ha/api/api.h"
#include "ha/api/api_actor.h"
#include "ha/api/api_answer.h"
#include "ha/api/api_call.h"
#include "ha/api/api_room.h"
#include "ha/api/api_validate.h"
#include "ha/api/api_view.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "base/unix_socket.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMAND_TIMEOUT_MS 30000
#define CONNECTIONS_MAX (2 * API_ROOM_PLACES) /* the second half: those that were sent away and are not gone yet */
#define IDLE_TIMEOUT_S 60
#define PASS_MS 20 /* of answers, then the loop has its turn */
#define API_TARGET_MAX (2 * API_PATH_MAX)

struct exchange;

struct api {
	struct exchange *waiting;            /* suspended until the core replies */
	struct exchange *queue, **queue_end; /* suspended until it is their turn, by exchange.next */
	uint64_t pass_end_ms;
	bool pass_answered; /* somebody, in this pass */
	qb_loop_t *loop;
	struct shell *shell;
	struct MHD_Daemon *http;
	struct api_room *room;
	char path[108];
	int epfd;
	qb_loop_timer_handle timer;
	bool timer_armed, pump_queued, turn_queued;
};

/* One request, from its first header to its answer. */
struct exchange {
	struct exchange *next; /* among api->waiting or in api->queue */
	struct api *api;
	struct MHD_Connection *connection;
	bool begun;
	char target[API_TARGET_MAX]; /* path and query as they came: decoded here, once (ha/api/api_url.h) */
	char *body;
	size_t body_len;
	bool too_long;
	bool waiting, queued, answered;
	uint64_t request;
	const char *late; /* what is said when nobody replies */
	enum ha_code code;
	char text[512];
	char actor[HA_ACTOR_MAX + 1];
	qb_loop_timer_handle deadline;
	bool deadline_armed;
};

/* -------------------------------------------------------------------- loop */

static void pump(struct api *a);
static void next_turn(struct api *a);

static void on_turn_job(void *data)
{
	struct api *a = data;

	a->turn_queued = false;
	next_turn(a);
	pump(a);
}

static void on_http_timer(void *data)
{
	struct api *a = data;

	a->timer_armed = false;
	pump(a);
}

/* Let libmicrohttpd do what is due, then wake up when it next wants to. */
static void pump(struct api *a)
{
	MHD_UNSIGNED_LONG_LONG ms;

	a->pass_end_ms = clock_ms() + PASS_MS;
	a->pass_answered = false;
	MHD_run(a->http);
	if (a->queue && !a->turn_queued)
		a->turn_queued = qb_loop_job_add(a->loop, QB_LOOP_LOW, a, on_turn_job) == 0;
	if (a->timer_armed)
		qb_loop_timer_del(a->loop, a->timer);
	a->timer_armed = false;
	if (MHD_get_timeout(a->http, &ms) == MHD_YES)
		a->timer_armed = qb_loop_timer_add(a->loop, QB_LOOP_LOW, ms * QB_TIME_NS_IN_MSEC, a,
						   on_http_timer, &a->timer) == 0;
}

static void on_pump_job(void *data)
{
	struct api *a = data;

	a->pump_queued = false;
	pump(a);
}

static int32_t on_http_ready(int32_t fd, int32_t revents, void *data)
{
	pump(data);
	return 0;
}

/* ------------------------------------------------------------------- turns */

static bool pass_is_over(const struct api *a)
{
	return a->pass_answered && clock_ms() >= a->pass_end_ms;
}

static enum MHD_Result wait_for_turn(struct exchange *x)
{
	struct api *a = x->api;

	x->next = NULL;
	x->queued = true;
	if (!a->queue)
		a->queue_end = &a->queue;
	*a->queue_end = x;
	a->queue_end = &x->next;
	MHD_suspend_connection(x->connection);
	return MHD_YES;
}

static void leave_queue(struct exchange *x)
{
	struct api *a = x->api;
	struct exchange **p = &a->queue;

	while (*p != x)
		p = &(*p)->next;
	*p = x->next;
	if (!x->next)
		a->queue_end = p;
	x->queued = false;
}

static void next_turn(struct api *a)
{
	struct exchange *x = a->queue;

	if (!x)
		return;
	leave_queue(x);
	MHD_resume_connection(x->connection);
}

/* ---------------------------------------------------------------- exchange */

static void stop_waiting(struct exchange *x)
{
	struct exchange **p;

	for (p = &x->api->waiting; *p && *p != x; p = &(*p)->next)
		;
	if (*p)
		*p = x->next;
	x->waiting = false;
}

static void on_reply(void *arg, enum ha_code code, const char *text)
{
	struct exchange *x = arg;

	x->answered = true;
	x->code = code;
	text_copy(x->text, sizeof(x->text), text);
	if (x->deadline_armed)
		qb_loop_timer_del(x->api->loop, x->deadline);
	x->deadline_armed = false;
	if (x->waiting) {
		stop_waiting(x);
		/* Without threads nothing wakes up the epoll descriptor for this. */
		MHD_resume_connection(x->connection);
		if (!x->api->pump_queued)
			x->api->pump_queued = qb_loop_job_add(x->api->loop, QB_LOOP_MED, x->api,
							      on_pump_job) == 0;
	}
}

static void on_deadline(void *data)
{
	struct exchange *x = data;

	x->deadline_armed = false;
	shell_forget(x->api->shell, x->request);
	on_reply(x, HA_TIMEOUT, x->late);
}

static struct api_guest *guest_of(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return i ? i->socket_context : NULL;
}

static const char too_many[] = "too many commands at once; try again";

static uint32_t node_id(void *arg, const char *name)
{
	return shell_node_id(arg, name);
}

static enum MHD_Result wait_for_reply(struct exchange *x)
{
	struct api *a = x->api;

	if (x->answered)
		return api_answer_code(x->connection, api_http_status(x->code), x->code, x->text);
	x->deadline_armed = qb_loop_timer_add(a->loop, QB_LOOP_LOW,
					      COMMAND_TIMEOUT_MS * QB_TIME_NS_IN_MSEC, x,
					      on_deadline, &x->deadline) == 0;
	x->waiting = true;
	x->next = a->waiting;
	a->waiting = x;
	MHD_suspend_connection(x->connection);
	return MHD_YES;
}

static enum MHD_Result run_command(struct exchange *x, struct api_call *call)
{
	struct api *a = x->api;
	struct err e = { 0 };

	if (api_call_resolve(call, node_id, a->shell, &e) < 0)
		return api_answer_code(x->connection, MHD_HTTP_NOT_FOUND, HA_NOT_FOUND, e.text);
	if (!api_room_wait(a->room, guest_of(x->connection)))
		return api_answer_code(x->connection, MHD_HTTP_SERVICE_UNAVAILABLE, HA_ERROR, too_many);
	call->cmd.actor = api_actor(x->connection, x->actor);
	call->cmd.access = HA_ACCESS_ADMIN;
	x->late = "the cluster did not decide in time; it may still do so";
	x->request = shell_command(a->shell, &call->cmd, on_reply, x);
	return wait_for_reply(x);
}

static enum MHD_Result run_order(struct exchange *x, const struct api_call *call)
{
	struct api *a = x->api;
	struct shell_order o = { .domain = call->name, .what = call->order, .timeout_ms = call->timeout_ms };

	if (!api_room_wait(a->room, guest_of(x->connection)))
		return api_answer_code(x->connection, MHD_HTTP_SERVICE_UNAVAILABLE, HA_ERROR, too_many);
	o.actor = api_actor(x->connection, x->actor);
	o.access = HA_ACCESS_ADMIN;
	x->late = "the VMM of the domain did not answer in time; it may still obey";
	x->request = shell_order(a->shell, &o, on_reply, x);
	return wait_for_reply(x);
}

static enum MHD_Result run_validate(struct exchange *x, const struct api_call *call)
{
	char text[HA_REASON_MAX + 1];
	enum ha_code code = api_validate(ha_core_record(shell_core(x->api->shell)), call, text);

	return api_answer_code(x->connection, api_http_status(code), code, text);
}

/* The whole request is there. */
static enum MHD_Result serve(struct exchange *x, const char *method)
{
	char *query = strchr(x->target, '?');
	struct api_call call;
	struct err e = { 0 };
	char text[HA_NAME_MAX + 32];
	json_t *o;
	int rc;

	if (x->too_long)
		return api_answer_code(x->connection, MHD_HTTP_CONTENT_TOO_LARGE, HA_USAGE,
				       "URL or body too long");
	if (query)
		*query++ = '\0';
	rc = api_call_parse(method, x->target, query, x->body, x->body_len, &call, &e);
	if (rc == -EOPNOTSUPP)
		return api_answer_code(x->connection, MHD_HTTP_METHOD_NOT_ALLOWED, HA_USAGE, e.text);
	if (rc == -ENOENT)
		return api_answer_code(x->connection, MHD_HTTP_NOT_FOUND, HA_NOT_FOUND, e.text);
	if (rc < 0)
		return api_answer_code(x->connection, MHD_HTTP_BAD_REQUEST, HA_USAGE, e.text);
	if (call.of_domain)
		api_call_domain(&call, ha_core_record(shell_core(x->api->shell)));
	if (call.what == API_COMMAND)
		return run_command(x, &call);
	if (call.what == API_ORDER)
		return run_order(x, &call);
	if (call.what == API_VALIDATE)
		return run_validate(x, &call);
	o = api_view(x->api->shell, &call);
	if (o)
		return api_answer(x->connection, MHD_HTTP_OK, o);
	snprintf(text, sizeof(text), "no %s called %s", call.what == API_NODE ? "host" : "domain",
		 call.name);
	return api_answer_code(x->connection, MHD_HTTP_NOT_FOUND, HA_NOT_FOUND, text);
}

static void take_body(struct exchange *x, const char *data, size_t len)
{
	char *grown;

	if (x->body_len + len > API_BODY_MAX)
		x->too_long = true;
	if (x->too_long)
		return;
	grown = realloc(x->body, x->body_len + len);
	if (!grown) {
		x->too_long = true;
		return;
	}
	x->body = grown;
	memcpy(x->body + x->body_len, data, len);
	x->body_len += len;
}

/* The first that is heard of a request: its target, before anything in it is decoded. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *c)
{
	struct exchange *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->api = cls;
	x->connection = c;
	x->too_long = strlen(uri) >= sizeof(x->target);
	snprintf(x->target, sizeof(x->target), "%s", uri);
	return x;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_len, void **ctx)
{
	struct exchange *x = *ctx;

	if (!x)
		return MHD_NO;
	if (!x->begun) {
		x->begun = true;
		return MHD_YES;
	}
	if (*upload_len > 0) {
		take_body(x, upload, *upload_len);
		*upload_len = 0;
		return MHD_YES;
	}
	if (x->answered)
		return api_answer_code(c, api_http_status(x->code), x->code, x->text);
	if (pass_is_over(x->api))
		return wait_for_turn(x);
	x->api->pass_answered = true;
	return serve(x, method);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **ctx,
			 enum MHD_RequestTerminationCode why)
{
	struct exchange *x = *ctx;

	if (!x)
		return;
	api_room_served(x->api->room, guest_of(c));
	if (x->deadline_armed)
		qb_loop_timer_del(x->api->loop, x->deadline);
	if (x->request && !x->answered)
		shell_forget(x->api->shell, x->request);
	if (x->waiting)
		stop_waiting(x);
	if (x->queued)
		leave_queue(x);
	free(x->body);
	free(x);
	*ctx = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *c, void **guest,
			  enum MHD_ConnectionNotificationCode what)
{
	struct api *a = cls;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		*guest = api_room_enter(a->room,
					MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd);
	} else {
		api_room_leave(a->room, *guest);
		*guest = NULL;
	}
}

/* ------------------------------------------------------------------ its life */

int api_open(qb_loop_t *loop, struct shell *shell, const char *path, struct api **out,
	     struct err *e)
{
	struct api *a = calloc(1, sizeof(*a));
	const union MHD_DaemonInfo *info;
	int fd, rc;

	*out = NULL;
	if (!a)
		return err_set(e, -ENOMEM, "out of memory");
	a->loop = loop;
	a->shell = shell;
	a->room = api_room_open();
	fd = a->room ? unix_socket_listen(path, 0660, 64, "droverd", e) : err_set(e, -ENOMEM, "out of memory");
	if (fd < 0) {
		api_room_close(a->room);
		free(a);
		return fd;
	}
	snprintf(a->path, sizeof(a->path), "%s", path);
	a->http = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
				   on_request, a, MHD_OPTION_LISTEN_SOCKET, fd,
				   MHD_OPTION_NOTIFY_CONNECTION, on_connection, a,
				   MHD_OPTION_URI_LOG_CALLBACK, on_target, a,
				   MHD_OPTION_NOTIFY_COMPLETED, on_completed, a,
				   MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
				   MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S, MHD_OPTION_END);
	info = a->http ? MHD_get_daemon_info(a->http, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info) {
		if (!a->http)
			close(fd);
		rc = err_set(e, -EIO, "cannot start the API's HTTP server");
		goto out_close;
	}
	a->epfd = info->epoll_fd;
	rc = qb_loop_poll_add(loop, QB_LOOP_LOW, a->epfd, POLLIN, a, on_http_ready);
	if (rc < 0) {
		a->epfd = -1;
		err_set(e, rc, "cannot watch the API: %s", strerror(-rc));
		goto out_close;
	}
	*out = a;
	return 0;
out_close:
	api_close(a);
	return rc;
}

void api_close(struct api *a)
{
	if (!a)
		return;
	if (a->timer_armed)
		qb_loop_timer_del(a->loop, a->timer);
	if (a->epfd > 0)
		qb_loop_poll_del(a->loop, a->epfd);
	if (a->pump_queued)
		qb_loop_job_del(a->loop, QB_LOOP_MED, a, on_pump_job);
	if (a->turn_queued)
		qb_loop_job_del(a->loop, QB_LOOP_LOW, a, on_turn_job);
	a->pump_queued = a->turn_queued = true; /* no more of them */
	a->pass_end_ms = UINT64_MAX;            /* all that have asked are answered in what follows */
	while (a->queue)
		next_turn(a);
	while (a->waiting) { /* libmicrohttpd cannot stop with suspended connections */
		shell_forget(a->shell, a->waiting->request);
		on_reply(a->waiting, HA_ERROR, "droverd is stopping");
	}
	if (a->http) {
		MHD_run(a->http);
		MHD_stop_daemon(a->http);
	}
	api_room_close(a->room);
	unlink(a->path);
	free(a);
}
