/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vnc - a screen, keyboard and pointer for viewers that speak RFB (RFC 6143), at a UNIX socket.
 *
 * Whoever may open the socket may see and type: there is no password.  All of it, the library (libvncserver) too, runs on
 * one thread, which sleeps while nobody is connected.  A viewer that does not read, or does not go on with what it began
 * to say, holds up other viewers for a few seconds and is dropped.  A VMM has this in a process of its own
 * (cmd/drover-hv/viewer.c).
 */
#ifndef DROVER_HV_DISPLAY_VNC_H
#define DROVER_HV_DISPLAY_VNC_H

#include "base/err.h"
#include "hv/display/picture.h"

#define VNC_VIEWERS_MAX 4

struct seat;
struct vnc;

struct vnc_options {
	int listen_fd;    /* where viewers come, of unix_socket_listen(); stays the caller's */
	const char *name; /* of the domain, as viewers show it; copied */
	struct seat *seat;
	/* What is on the screen now, as display_look(). */
	const uint8_t *(*look)(void *arg, struct picture *p);
	int news_fd;             /* stays the caller's; when it has something to read, or hangs up ... */
	bool (*news)(void *arg); /* ... this is called; false: all viewers are to go */
	void *arg;
};

/** vnc_create() - 0 and *@out, vnc_destroy() it, before its seat; -ENOMEM */
int vnc_create(struct vnc **out, const struct vnc_options *o, struct err *e);
/** vnc_run() - serve whoever comes: until somebody was there and the last one has gone, or news() says so */
void vnc_run(struct vnc *v);
/** vnc_destroy() - hang up on all; NULL is nothing */
void vnc_destroy(struct vnc *v);

#endif
