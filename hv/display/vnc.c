/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vnc - see vnc.h.
 *
 * libvncserver does the protocol.  It is used without its threads and its sockets: this thread waits, takes who comes,
 * has the library handle what was said (rfbProcessEvents), and looks at the screen from time to time.
 *
 *     nobody there                 sleeps
 *     viewers, the screen still    looks every SLOW_MS
 *     the screen changes           looks every FAST_MS
 */
#include "hv/display/vnc.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "hv/display/display.h"
#include "hv/display/view.h"
#include "hv/display/vnc_viewer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <rfb/rfb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <unistd.h>

#define BACKLOG 4
#define FAST_MS 33u
#define SLOW_MS 150u
#define STILL_MS 1000u      /* a screen that has not changed for so long is still */
#define VIEWER_WAIT_MS 2000 /* for one that is in the middle of a message, or does not read */
#define BITS 8
#define SAMPLES 3

struct vnc {
	struct display *display;
	struct seat *seat;
	char path[UNIX_SOCKET_PATH_MAX + 1], name[80];
	int listen_fd, wake_fd;
	pthread_t thread;
	bool running;
	_Atomic bool ending;
	/* the thread's own */
	rfbScreenInfoPtr rfb;
	struct view *view;
	unsigned int n_viewers;
	uint64_t looked_ms, changed_ms;
};

/* --- what the library calls --- */

static void on_key(rfbBool down, rfbKeySym keysym, rfbClientPtr c)
{
	vnc_viewer_key(c->clientData, (uint32_t)keysym, down);
}

static void on_pointer(int buttons, int x, int y, rfbClientPtr c)
{
	vnc_viewer_pointer(c->clientData, x, y, (uint32_t)c->screen->width, (uint32_t)c->screen->height, buttons);
}

static void on_gone(rfbClientPtr c)
{
	struct vnc *v = c->screen->screenData;

	vnc_viewer_destroy(c->clientData);
	c->clientData = NULL;
	v->n_viewers--;
}

static enum rfbNewClientAction on_new(rfbClientPtr c)
{
	struct vnc *v = c->screen->screenData;

	c->clientData = vnc_viewer_create(v->seat);
	if (!c->clientData)
		return RFB_CLIENT_REFUSE;
	c->clientGoneHook = on_gone;
	v->n_viewers++;
	return RFB_CLIENT_ACCEPT;
}

/* What viewers cut is not for the guest. */
static void on_cut(char *text, int len, rfbClientPtr c)
{
	(void)text;
	(void)len;
	(void)c;
}

/* --- what the view tells --- */

static void on_resized(void *arg, uint8_t *pixels, uint32_t width, uint32_t height)
{
	struct vnc *v = arg;

	rfbNewFramebuffer(v->rfb, (char *)pixels, (int)width, (int)height, BITS, SAMPLES, VIEW_PIXEL);
	v->changed_ms = clock_ms();
}

static void on_changed(void *arg, uint32_t x, uint32_t y, uint32_t x_end, uint32_t y_end)
{
	struct vnc *v = arg;

	rfbMarkRectAsModified(v->rfb, (int)x, (int)y, (int)x_end, (int)y_end);
	v->changed_ms = clock_ms();
}

static const struct view_events view_events = { .resized = on_resized, .changed = on_changed };

static void look(struct vnc *v)
{
	struct picture p;
	const uint8_t *memory = display_look(v->display, &p);

	view_look(v->view, &p, memory); /* without memory it is tried again the next time */
	v->looked_ms = clock_ms();
}

/* --- who comes --- */

/* One that has not finished its greeting has no right to its place. */
static bool make_room(struct vnc *v)
{
	rfbClientIteratorPtr i = rfbGetClientIterator(v->rfb);
	rfbClientPtr c, greets = NULL;

	while ((c = rfbClientIteratorNext(i)))
		greets = c->state == RFB_NORMAL ? greets : c;
	rfbReleaseClientIterator(i);
	if (v->n_viewers < VNC_VIEWERS_MAX)
		return true;
	if (!greets)
		return false;
	rfbCloseClient(greets);
	rfbClientConnectionGone(greets);
	return true;
}

/* The library waits by select(2), which knows no higher descriptors. */
static void take_viewer(struct vnc *v)
{
	int fd = unix_socket_accept(v->listen_fd);

	if (fd < 0)
		return;
	if (fd >= FD_SETSIZE || !make_room(v)) {
		log_warn("vnc: a viewer is refused: %s", fd >= FD_SETSIZE ? "too many descriptors are open" : "there are four already");
		close(fd);
		return;
	}
	if (!v->n_viewers)
		look(v);
	rfbNewClient(v->rfb, fd);
}

/* --- the thread --- */

static unsigned int wait_for(struct vnc *v, struct pollfd p[2 + VNC_VIEWERS_MAX])
{
	rfbClientIteratorPtr i = rfbGetClientIterator(v->rfb);
	unsigned int n = 2;
	rfbClientPtr c;

	p[0] = (struct pollfd){ .fd = v->listen_fd, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = v->wake_fd, .events = POLLIN };
	while ((c = rfbClientIteratorNext(i)) && n < 2 + VNC_VIEWERS_MAX)
		p[n++] = (struct pollfd){ .fd = c->sock, .events = POLLIN };
	rfbReleaseClientIterator(i);
	return n;
}

static int next_look_ms(const struct vnc *v)
{
	uint64_t now = clock_ms(), every = now - v->changed_ms < STILL_MS ? FAST_MS : SLOW_MS;

	if (!v->n_viewers)
		return -1;
	return now - v->looked_ms >= every ? 0 : (int)(every - (now - v->looked_ms));
}

static void *vnc_thread(void *arg)
{
	struct pollfd p[2 + VNC_VIEWERS_MAX];
	struct vnc *v = arg;

	pthread_setname_np(pthread_self(), "vnc");
	while (!atomic_load(&v->ending)) {
		poll(p, wait_for(v, p), next_look_ms(v));
		if (v->n_viewers && !next_look_ms(v))
			look(v);
		rfbProcessEvents(v->rfb, 0); /* who has gone gives his place to who comes */
		if (p[0].revents)
			take_viewer(v);
		if (!v->n_viewers)
			view_forget(v->view);
	}
	return NULL;
}

/* --- life --- */

static int rfb_build(struct vnc *v, struct err *e)
{
	uint32_t width, height;
	uint8_t *pixels;

	if (view_create(&v->view, &view_events, v))
		return err_set(e, -ENOMEM, "vnc: out of memory");
	pixels = view_pixels(v->view, &width, &height);
	rfbLogEnable(FALSE);
	v->rfb = rfbGetScreen(NULL, NULL, (int)width, (int)height, BITS, SAMPLES, VIEW_PIXEL);
	if (!v->rfb)
		return err_set(e, -ENOMEM, "vnc: out of memory");
	v->rfb->frameBuffer = (char *)pixels;
	v->rfb->screenData = v;
	v->rfb->desktopName = v->name;
	v->rfb->autoPort = FALSE;
	v->rfb->port = v->rfb->ipv6port = 0; /* it listens nowhere */
	v->rfb->httpDir = NULL;
	v->rfb->alwaysShared = TRUE;
	v->rfb->permitFileTransfer = FALSE;
	v->rfb->maxClientWait = VIEWER_WAIT_MS;
	v->rfb->deferUpdateTime = 0;   /* looks are rare enough */
	v->rfb->ignoreSIGPIPE = FALSE; /* the program does that */
	v->rfb->kbdAddEvent = on_key;
	v->rfb->ptrAddEvent = on_pointer;
	v->rfb->setXCutText = on_cut;
	v->rfb->newClientHook = on_new;
	rfbSetCursor(v->rfb, NULL);
	rfbInitServer(v->rfb);
	return 0;
}

static int thread_start(struct vnc *v, struct err *e)
{
	sigset_t all, old;
	int ret;

	/* Signals are for the main thread and the vCPUs. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&v->thread, NULL, vnc_thread, v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return err_set(e, -ret, "vnc: thread: %s", strerror(ret));
	v->running = true;
	return 0;
}

static int build(struct vnc *v, const struct vnc_options *o, struct err *e)
{
	int ret = rfb_build(v, e);

	if (ret)
		return ret;
	v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->wake_fd < 0)
		return err_errno(e, "vnc: eventfd");
	v->listen_fd = unix_socket_listen(o->path, 0600, BACKLOG, "drover-hv", e);
	if (v->listen_fd < 0) {
		err_prefix(e, "vnc");
		return v->listen_fd;
	}
	snprintf(v->path, sizeof(v->path), "%s", o->path);
	return thread_start(v, e);
}

int vnc_create(struct vnc **out, const struct vnc_options *o, struct err *e)
{
	struct vnc *v = calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return err_set(e, -ENOMEM, "vnc: out of memory");
	v->display = o->display;
	v->seat = o->seat;
	v->listen_fd = v->wake_fd = -1;
	snprintf(v->name, sizeof(v->name), "%s", o->name);
	ret = build(v, o, e);
	if (ret)
		vnc_destroy(v);
	else
		*out = v;
	return ret;
}

void vnc_destroy(struct vnc *v)
{
	if (!v)
		return;
	atomic_store(&v->ending, true);
	if (v->running) {
		eventfd_write(v->wake_fd, 1);
		pthread_join(v->thread, NULL);
	}
	if (v->rfb) {
		rfbShutdownServer(v->rfb, TRUE);
		rfbScreenCleanup(v->rfb);
	}
	view_destroy(v->view);
	if (v->listen_fd >= 0) {
		close(v->listen_fd);
		unlink(v->path);
	}
	if (v->wake_fd >= 0)
		close(v->wake_fd);
	free(v);
}

const char *vnc_path(const struct vnc *v)
{
	return v->path;
}
