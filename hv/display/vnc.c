/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vnc - see vnc.h.
 *
 * libvncserver does the protocol.  It is used without its threads and its sockets: vnc_run() waits, takes who comes,
 * has the library handle what was said (rfbProcessEvents), and looks at the screen from time to time.
 *
 *     nobody there                 sleeps
 *     viewers, the screen still    looks every SLOW_MS
 *     the screen changes           looks every FAST_MS
 *     it has another size          looks again after RESIZED_MS: a guest that plays with modes has us fill tens of megabytes
 */
#include "hv/display/vnc.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "hv/display/view.h"
#include "hv/display/vnc_viewer.h"

#include <errno.h>
#include <poll.h>
#include <rfb/rfb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#define FAST_MS 33u
#define SLOW_MS 150u
#define RESIZED_MS 250u
#define STILL_MS 1000u      /* a screen that has not changed for so long is still */
#define VIEWER_WAIT_MS 2000 /* for one that is in the middle of a message, or does not read */
#define BITS 8
#define SAMPLES 3

struct vnc {
	struct vnc_options o;
	char name[80];
	rfbScreenInfoPtr rfb;
	struct view *view;
	unsigned int n_viewers;
	uint64_t looked_ms, changed_ms, resized_ms;
	bool ending;
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

	c->clientData = vnc_viewer_create(v->o.seat);
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
	v->changed_ms = v->resized_ms = clock_ms();
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
	const uint8_t *memory = v->o.look(v->o.arg, &p);

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
	int fd = unix_socket_accept(v->o.listen_fd);

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

/* --- waiting --- */

static unsigned int wait_for(struct vnc *v, struct pollfd p[2 + VNC_VIEWERS_MAX])
{
	rfbClientIteratorPtr i = rfbGetClientIterator(v->rfb);
	unsigned int n = 2;
	rfbClientPtr c;

	p[0] = (struct pollfd){ .fd = v->o.listen_fd, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = v->o.news_fd, .events = POLLIN };
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
	if (now - v->resized_ms < RESIZED_MS)
		every = RESIZED_MS;
	return now - v->looked_ms >= every ? 0 : (int)(every - (now - v->looked_ms));
}

/*
 * What the library asks for beside that: it makes who comes non-blocking once more, and takes his socket for one of TCP.
 * #syscalls:viewer pselect6 recvfrom fcntl(1=F_GETFL) fcntl(1=F_SETFL) setsockopt(1=IPPROTO_TCP) getpeername
 * And for somebody who speaks of web sockets, once for its hashes, which the library of those complains of to syslog(3),
 * with the time: it does without, or one such viewer would end the view of all others.
 * #syscalls:viewer openat!EACCES newfstatat!EACCES access!EACCES socket!EACCES
 */
static void turn(struct vnc *v)
{
	struct pollfd p[2 + VNC_VIEWERS_MAX];

	poll(p, wait_for(v, p), next_look_ms(v));
	if (v->n_viewers && !next_look_ms(v))
		look(v);
	rfbProcessEvents(v->rfb, 0); /* who has gone gives his place to who comes */
	if (p[0].revents)
		take_viewer(v);
	if (p[1].revents)
		v->ending = !v->o.news(v->o.arg);
}

void vnc_run(struct vnc *v)
{
	while (!v->ending && !v->n_viewers)
		turn(v);
	while (!v->ending && v->n_viewers)
		turn(v);
	view_forget(v->view);
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

int vnc_create(struct vnc **out, const struct vnc_options *o, struct err *e)
{
	struct vnc *v = calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return err_set(e, -ENOMEM, "vnc: out of memory");
	v->o = *o;
	snprintf(v->name, sizeof(v->name), "%s", o->name);
	ret = rfb_build(v, e);
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
	if (v->rfb) {
		rfbShutdownServer(v->rfb, TRUE);
		rfbScreenCleanup(v->rfb);
	}
	view_destroy(v->view);
	free(v);
}
