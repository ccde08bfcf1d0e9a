/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_below - a block device under another name, or what it stands on, is the same disk.
 *
 * The lock of a disk (hv/disk/disk_lock.h) belongs to an inode.  That is the disk where it is a
 * file; a block device can have several nodes, and a partition, a logical volume or a loop
 * device shares its bytes with what is below it.  So whoever takes a block device also takes,
 * on this host, a lock on its number, and on all that is below it a lock that others may share
 * who stand on it too, but nobody who has it as a whole:
 *
 *   domain a: /dev/sdb                   domain b: a volume on /dev/sdb     one of the two
 *   domain a: a volume on /dev/sdb       domain b: another volume there     both
 *   domain a: disk.img                   domain b: a loop device over it    one of the two
 *
 * Who reads a whole disk and who writes a part of it do not keep each other out: that loses nothing.
 * The locks go with the process, like all locks here, and say nothing to other hosts.
 */
#ifndef DROVER_HV_DISK_DISK_BELOW_H
#define DROVER_HV_DISK_DISK_BELOW_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct disk_below {
	int *fds; /* each holds a lock */
	size_t n;
};

/**
 * disk_below_take() - take the file or device behind @fd and what it stands on
 * @path: for messages
 * @run_dir: where locks of devices are kept, NULL for DISK_RUN_DIR
 * @out: give back with disk_below_release(), also after an error
 * A file is taken as well, for loop devices over it; where the run directory cannot be written, it is not.
 * Return: 0; -EBUSY "disk /x: device 8:16 is in use on this host, and it stands on that".
 */
int disk_below_take(int fd, const char *path, bool readonly, const char *run_dir, struct disk_below *out,
		    struct err *e);
/** disk_below_take_device() - the same for a device of which only the number is known; @sys: where sysfs is */
int disk_below_take_device(dev_t dev, const char *path, bool readonly, const char *run_dir, const char *sys,
			   struct disk_below *out, struct err *e);
/** disk_below_release() - close all it has, and the locks go unless somebody has a copy; nothing when it is empty */
void disk_below_release(struct disk_below *b);

#endif
