/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_broker - who looks disks up by their paths, for a process that no longer may.
 *
 * Disks are opened late, by whoever may write them now: at a take-over, again after a lease came
 * back.  A VMM that runs a guest opens nothing by path; its broker, a process that it forks before
 * there is a guest, does so in its place and hands over descriptors:
 *
 *     VMM                                        broker
 *     disk_broker_prepare(path)  ──────────────> open, lock, what is below, mounts, the record
 *          <────── disk and locks below it, ──── and closes its own copies
 *                  whom the record named
 *     disk_lock_commit(), _undo(), _release() ─> writes the record, while it is shown the lock
 *     disk_lock_named() ───────────────────────> what has the disk's path now, while it is shown the disk
 *
 * It serves the paths that it was started with and no others.  It keeps no descriptor of a disk, so
 * a lock goes away with the VMM, as ever: at once, or, if it is killed while a record is written, when
 * that is done.  It ends with the VMM.
 *
 * Where there is no broker (NULL) the same is done in the calling process.
 *
 * Threads: any.
 */
#ifndef DROVER_HV_DISK_DISK_BROKER_H
#define DROVER_HV_DISK_DISK_BROKER_H

#include "base/err.h"
#include "hv/disk/disk_lock.h"
#include "hv/disk/disk_store.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

struct disk_broker;

#define DISK_BROKER_GONE (-EPIPE) /* it has ended, and there will be no other; nothing else gives this error */

/* A disk that may be asked for. */
struct disk_broker_disk {
	const char *path;
	bool readonly; /* ... only to read it */
};

/**
 * disk_broker_start() - fork one for @disks; before this process has threads, or anything that another should not hold
 * @disks: read during the call only
 * @args, @args_len: where this process's arguments are, for ps(1) and others not to take the broker for it; NULL: it
 *                   looks like its parent
 * Return: 0 and *@out; -errno.
 */
int disk_broker_start(struct disk_broker **out, const struct disk_broker_disk *disks, size_t n, char *args,
		      size_t args_len, struct err *e);
/** disk_broker_stop() - end it, without waiting for long; no lock that it gave is held any more; NULL is nothing */
void disk_broker_stop(struct disk_broker *b);

/**
 * disk_broker_prepare() - disk_lock_prepare(), and what else has to be known of a disk that is opened
 * @unmounted: refuse a disk that this host uses itself (disk_mounted.h)
 * @store: what it lies on
 * Return: as disk_lock_prepare(); -EPERM for a path it does not serve; DISK_BROKER_GONE.
 */
int disk_broker_prepare(struct disk_broker *b, const char *path, bool readonly, bool unmounted,
			struct disk_lock **out, struct disk_store *store, struct err *e);
/** disk_broker_probe() - disk_lock_probe(); a disk that is to be written must not be in use by this host; close *@fd */
int disk_broker_probe(struct disk_broker *b, const char *path, bool readonly, int *fd, struct disk_store *store,
		      struct err *e);
/** disk_broker_record() - disk_lock_record() */
int disk_broker_record(struct disk_broker *b, const char *path, struct disk_holder *out, struct err *e);
/** disk_broker_arbitrates() - disk_lock_arbitrates() */
bool disk_broker_arbitrates(struct disk_broker *b, const char *path);

#endif
