/* SPDX-License-Identifier: Apache-2.0 */
/* viewers - see viewers.h. */
#include "cmd/drover-hv/viewers.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "base/packet.h"
#include "base/unix_socket.h"
#include "cmd/drover-hv/usher.h"
#include "cmd/drover-hv/viewer_int.h"
#include "hv/display/display.h"
#include "hv/display/seat.h"
#include "net/control/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BACKLOG 4
/* Four viewers that move a fast mouse say half as much. */
#define HEARD_MAX 64
#define REST_NS (10 * NS_PER_MS)
#define LEFT_MS 10000 /* on a busy host */
#define LOOK_AGAIN_MS 5

struct viewers {
	struct viewers_options o;
	char path[UNIX_SOCKET_PATH_MAX + 1];
	int fd;                  /* who serves them; -1: nobody, for there are none */
	struct loop_timer *rest; /* until it is heard again */
	bool down[SEAT_KEYS];    /* by it */
	struct seat_pointer last;
	struct log_limit lies; /* how often they are told */
};

/* --- who goes --- */

/* What it held down is let go. */
static void let_go(struct viewers *w)
{
	for (uint16_t code = 0; code < SEAT_KEYS; code++)
		if (w->down[code])
			seat_key(w->o.seat, code, false);
	if (w->last.buttons) {
		w->last.buttons = 0;
		seat_pointer(w->o.seat, &w->last);
	}
	for (uint16_t code = 0; code < SEAT_KEYS; code++)
		w->down[code] = false;
}

static void hang_up(struct viewers *w)
{
	if (w->fd < 0)
		return;
	loop_timer_set(w->rest, 0);
	loop_del(w->o.loop, w->fd);
	close(w->fd);
	w->fd = -1;
	let_go(w);
}

/* --- what it says --- */

static bool hear_look(struct viewers *w, const struct viewer_question *q)
{
	struct viewer_answer a = { .number = q->number };

	display_registers(w->o.display, a.dispi);
	return !packet_send(w->fd, &a, sizeof(a), NULL, 0); /* one question at a time: there is room, or it lies */
}

static bool hear_key(struct viewers *w, const struct viewer_question *q)
{
	if (q->code >= SEAT_KEYS || q->down > 1)
		return false;
	seat_key(w->o.seat, q->code, q->down);
	w->down[q->code] = q->down;
	return true;
}

static bool hear_pointer(struct viewers *w, const struct viewer_question *q)
{
	struct seat_pointer p = { .x = q->x, .y = q->y, .buttons = q->buttons, .wheel = q->wheel };

	if (p.x > SEAT_SIDE || p.y > SEAT_SIDE || p.buttons & ~(SEAT_LEFT | SEAT_MIDDLE | SEAT_RIGHT) || p.wheel < -1 || p.wheel > 1)
		return false;
	seat_pointer(w->o.seat, &p);
	p.wheel = 0;
	w->last = p;
	return true;
}

/* Return: false: nobody says that. */
static bool hear(struct viewers *w, const struct viewer_question *q)
{
	switch (q->op) {
	case VIEWER_LOOK:
		return hear_look(w, q);
	case VIEWER_KEY:
		return hear_key(w, q);
	case VIEWER_POINTER:
		return hear_pointer(w, q);
	default:
		return false;
	}
}

static int hear_one(struct viewers *w)
{
	struct viewer_question q;
	int fds[PACKET_FDS_MAX], ret;
	size_t n;

	ret = packet_receive(w->fd, &q, sizeof(q), fds, &n);
	if (ret)
		return ret;
	ret = n || !hear(w, &q) ? -EPROTO : 0;
	while (n)
		close(fds[--n]);
	return ret;
}

/* Its end is nothing to tell: it comes with that of the last viewer. */
static void tell_lie(struct viewers *w, int ret)
{
	uint64_t left_out = 0;

	if (ret != -EPIPE && log_limit_pass(&w->lies, &left_out))
		log_warn("screen: who serves its viewers said what nobody says, and is hung up on (%llu times more before that)",
			 (unsigned long long)left_out);
}

static void on_said(void *arg, uint32_t events)
{
	struct viewers *w = arg;
	int n = HEARD_MAX, ret = 0;

	(void)events;
	while (n && !ret) {
		ret = hear_one(w);
		n--;
	}
	if (ret == -EAGAIN)
		return;
	if (ret) {
		tell_lie(w, ret);
		hang_up(w);
		return;
	}
	loop_del(w->o.loop, w->fd); /* also its end waits, or the loop would spin for it */
	loop_timer_set(w->rest, clock_ns() + REST_NS);
}

static void watch(struct viewers *w)
{
	if (loop_add(w->o.loop, w->fd, EPOLLIN, on_said, w, NULL))
		hang_up(w);
}

static void rested(void *arg)
{
	struct viewers *w = arg;

	if (w->fd >= 0)
		watch(w);
}

/* --- who comes --- */

static void on_usher(void *arg, uint32_t events)
{
	struct viewers *w = arg;
	int fd = usher_take(w->o.usher);

	(void)events;
	if (fd == -EMFILE) /* that one sees that it is alone, and ends */
		return;
	if (fd < 0) {
		loop_del(w->o.loop, usher_fd(w->o.usher));
		log_warn("screen: the process that lets viewers in has ended: none can come any more");
		return;
	}
	hang_up(w);
	w->fd = fd;
	watch(w);
}

/* --- life --- */

/*
 * What a VMM that was killed has left behind may listen for some moments more, for it hears of that end first.  Who is
 * alive is found before: he has a console and a control socket there.
 */
static int listen_at(const char *path, struct err *e)
{
	uint64_t end = clock_ms() + LEFT_MS;
	int fd;

	do
		fd = unix_socket_listen(path, 0600, BACKLOG, "drover-hv", e);
	while (fd == -EBUSY && clock_ms() < end && !poll(NULL, 0, LOOK_AGAIN_MS));
	if (fd < 0)
		err_prefix(e, "screen");
	return fd;
}

static int begin(struct viewers *w, const struct viewers_options *o, struct err *e)
{
	struct usher_place p = { .name = o->name, .memory_fd = display_memory(o->display), .sandbox = o->sandbox };
	int ret = loop_timer_create(o->loop, rested, w, &w->rest, e);

	if (ret)
		return ret;
	p.listen_fd = listen_at(o->path, e);
	if (p.listen_fd < 0)
		return p.listen_fd;
	snprintf(w->path, sizeof(w->path), "%s", o->path);
	ret = usher_begin(o->usher, &p, e);
	close(p.listen_fd); /* the usher's */
	return ret ? ret : loop_add(o->loop, usher_fd(o->usher), EPOLLIN, on_usher, w, e);
}

int viewers_create(struct viewers **out, const struct viewers_options *o, struct err *e)
{
	struct viewers *w = calloc(1, sizeof(*w));
	int ret;

	if (!w)
		return err_set(e, -ENOMEM, "screen: out of memory");
	w->o = *o;
	w->fd = -1;
	pthread_mutex_init(&w->lies.lock, NULL);
	ret = begin(w, o, e);
	if (ret)
		viewers_destroy(w);
	else
		*out = w;
	return ret;
}

void viewers_destroy(struct viewers *w)
{
	if (!w)
		return;
	hang_up(w);
	loop_del(w->o.loop, usher_fd(w->o.usher));
	loop_timer_destroy(w->rest);
	pthread_mutex_destroy(&w->lies.lock);
	free(w);
}

const char *viewers_path(const struct viewers *w)
{
	return w->path;
}
