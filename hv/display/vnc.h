/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vnc - a screen, keyboard and pointer for viewers that speak RFB (RFC 6143), at a UNIX socket.
 *
 * Whoever may open the socket may see and type: its mode is 0600, and there is no password.  All of it, the library
 * (libvncserver) too, runs on a thread of its own, which sleeps while nobody is connected.  A viewer that does not read, or
 * does not go on with what it began to say, holds up other viewers for a few seconds and is dropped; the domain never waits.
 */
#ifndef DROVER_HV_DISPLAY_VNC_H
#define DROVER_HV_DISPLAY_VNC_H

#include "base/err.h"

#define VNC_VIEWERS_MAX 4

struct display;
struct seat;
struct vnc;

struct vnc_options {
	const char *path; /* of the socket; copied */
	const char *name; /* of the domain, as viewers show it; copied */
	struct display *display;
	struct seat *seat; /* both must outlive it */
};

/** vnc_create() - listen; 0 and *@out, vnc_destroy() it; what unix_socket_listen() says; -ENOMEM */
int vnc_create(struct vnc **out, const struct vnc_options *o, struct err *e);
/** vnc_destroy() - hang up on all, remove the socket; waits for the thread, which may be at a viewer (seconds); NULL is nothing */
void vnc_destroy(struct vnc *v);

/** vnc_path() - of its socket; owned by @v */
const char *vnc_path(const struct vnc *v);

#endif
