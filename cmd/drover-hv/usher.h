/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher - who lets viewers in, for a VMM that begins no processes.
 *
 * A VMM has no viewers' code in it and pays for it only while somebody looks.  Its usher, a process that it forks before
 * there is a guest (base/helper.h), waits at the socket of the screen.  When somebody comes it begins
 * drover-hv-viewer (viewer.c), which takes him and all who come meanwhile and ends with the last one, and hands the VMM
 * its end of a pair of sockets to that.
 *
 *     viewers ── .vnc ── usher, while nobody is there
 *                  └──── drover-hv-viewer ══ packets (viewer_int.h) ══ VMM (viewers.c)
 *                              └── the display's memory, which it can only read
 *
 * It is the user of the domain and has no capabilities, as what it begins.  It needs no filter of system calls: nobody
 * speaks to it.  What it is given it has from a VMM that has not met its guest yet.
 */
#ifndef DROVER_HV_CMD_USHER_H
#define DROVER_HV_CMD_USHER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct usher;

struct usher_place {
	const char *name; /* of the domain */
	int listen_fd, memory_fd;
	bool sandbox; /* is drover-hv-viewer to have one? */
};

/**
 * usher_start() - fork one; as helper_start()
 * @args, @args_len: as in struct helper_role
 * Return: 0 and *@out, usher_stop() it; -ENOENT: drover-hv-viewer is neither beside this program nor where it was
 * installed; -errno.
 */
int usher_start(struct usher **out, char *args, size_t args_len, struct err *e);
/** usher_begin() - where it waits from now on; once; -errno: it has ended */
int usher_begin(struct usher *u, const struct usher_place *p, struct err *e);
/** usher_fd() - has something to read when usher_take() has somebody; -1 for none */
int usher_fd(const struct usher *u);
/** usher_take() - the VMM's end of a pair to a drover-hv-viewer that has begun, not blocking, the caller's; -errno: it has ended */
int usher_take(struct usher *u);
/** usher_stop() - end it; who serves viewers ends with his pair; NULL is nothing */
void usher_stop(struct usher *u);

#endif
