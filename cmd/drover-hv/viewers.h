/* SPDX-License-Identifier: Apache-2.0 */
/*
 * viewers - the VMM's end of a conversation with the process that serves viewers (viewer.c, begun by the usher).
 *
 * What that process may: be told which part of the display's memory is the picture, press keys and move the pointer.  It
 * may be in the hands of a viewer, so nothing it says is believed; who says too much is heard later, and who says
 * what nobody says is hung up on, which the next viewer mends.  The VMM never waits for it, nor wakes up while it is silent.
 *
 * Main thread only.
 */
#ifndef DROVER_HV_CMD_VIEWERS_H
#define DROVER_HV_CMD_VIEWERS_H

#include "base/err.h"

#include <stdbool.h>

struct display;
struct loop;
struct seat;
struct usher;
struct viewers;

struct viewers_options {
	struct loop *loop;
	struct usher *usher;
	struct display *display;
	struct seat *seat; /* all four must outlive it */
	const char *path;  /* of the socket to be made; copied */
	const char *name;  /* of the domain */
	bool sandbox;
};

/**
 * viewers_create() - let them come
 * Return: 0 and *@out, viewers_destroy() it; what unix_socket_listen() and usher_begin() say; -ENOMEM.
 */
int viewers_create(struct viewers **out, const struct viewers_options *o, struct err *e);
/** viewers_destroy() - hang up; the socket stays (porter_remove()); NULL is nothing */
void viewers_destroy(struct viewers *w);
/** viewers_path() - of the socket; owned by @w */
const char *viewers_path(const struct viewers *w);

#endif
