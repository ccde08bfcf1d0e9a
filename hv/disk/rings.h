/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rings - io_uring instances for disks, made before there is a guest.
 *
 * A ring does what a filter of system calls (base/confine.h) does not see: it could open files and connect sockets.  So
 * each of ours is told what it may be asked for before it is enabled (IORING_REGISTER_RESTRICTIONS, Linux 5.10): reads,
 * writes, syncs and fallocate on open files.  And whoever deals with a guest makes none: disks are opened late, and
 * closed and opened again, with rings that were there from the start.
 *
 * Threads: any.
 */
#ifndef DROVER_HV_DISK_RINGS_H
#define DROVER_HV_DISK_RINGS_H

#include "base/err.h"

#include <liburing.h>
#include <stddef.h>

struct rings;

/** rings_create() - none yet; -ENOMEM */
int rings_create(struct rings **out, struct err *e);
/** rings_destroy() - all have been given back; NULL is nothing */
void rings_destroy(struct rings *r);

/** rings_add() - make @n more, for @depth requests each; -errno, with nothing made */
int rings_add(struct rings *r, size_t n, unsigned int depth, struct err *e);
/** rings_remove() - @n of those for @depth, a power of two, which are free: as many as were added for who is no more */
void rings_remove(struct rings *r, size_t n, unsigned int depth);

/**
 * rings_take() - one for at least @depth requests, which are all free; it tells nobody (no eventfd)
 * @r: NULL: make one
 * Return: 0 and *@out, rings_give() it back to the same @r; -ENFILE: none is free; -errno.
 */
int rings_take(struct rings *r, unsigned int depth, struct io_uring *out);
/** rings_give() - nothing is in flight in @ring, and what was has been reaped */
void rings_give(struct rings *r, struct io_uring *ring);

#endif
