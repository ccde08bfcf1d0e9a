/* SPDX-License-Identifier: Apache-2.0 */
/* disk_lock_int - what a lock is made of, for the broker that makes one elsewhere; see disk_lock.h. */
#ifndef DROVER_HV_DISK_DISK_LOCK_INT_H
#define DROVER_HV_DISK_DISK_LOCK_INT_H

#include "hv/disk/disk_below.h"
#include "hv/disk/disk_lock.h"

/* Who keeps the record of a disk that is locked, where that is another process. */
struct disk_keeper {
	int (*commit)(struct disk_keeper *k, const struct disk_holder *me, struct err *e);
	int (*undo)(struct disk_keeper *k, struct err *e);
	int (*named)(struct disk_keeper *k, struct err *e);
	void (*release)(struct disk_keeper *k); /* frees @k */
};

struct disk_lock {
	int fd;                  /* the lock belongs to this open file description */
	struct disk_below below; /* of a block device: itself under any name, and what it stands on */
	bool readonly, reserved;
	bool has_last;
	struct disk_holder last; /* the record as prepare found it */
	struct disk_record record;
	struct disk_keeper *keeper; /* NULL: this process keeps `record` */
	char *path;
};

/** disk_lock_new() - one of @path that has nothing open yet; NULL and @e: no memory */
struct disk_lock *disk_lock_new(const char *path, bool readonly, struct err *e);

/** disk_lock_leads() - disk_lock_named() for who has its descriptor: does @path lead to @fd's file or device? */
int disk_lock_leads(const char *path, int fd, struct err *e);

/**
 * disk_lock_hand_over() - close what @l has open, and with that its lock, unless somebody has a copy
 * The record is still its: disk_lock_commit(), disk_lock_undo(), disk_lock_release() work on, for who has the copy.
 */
void disk_lock_hand_over(struct disk_lock *l);

#endif
