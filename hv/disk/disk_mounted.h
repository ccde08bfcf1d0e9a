/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_mounted - does this host itself use a disk that a guest is to write?
 *
 * A file system that is mounted here and a guest that has the same disk destroy each other's
 * data, and no lock of ours is in the way: mount(8), swapon(8), losetup(8) take none.  Somebody
 * mounted the guest's disk to mend it, or gave the domain the path of the host's own.
 *
 * Looked at are the disk, its partitions, what the kernel has built on them (LVM, md, dm-crypt),
 * and, for a file, the loop devices over it.  Another host's mounts nobody sees.
 */
#ifndef DROVER_HV_DISK_DISK_MOUNTED_H
#define DROVER_HV_DISK_DISK_MOUNTED_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * disk_unmounted() - nothing of it is mounted or swapped to here
 * @fd: the disk, a file or a block device
 * @path: for errors
 * Return: 0, also when it cannot be known (no sysfs); -EBUSY with the place in @e
 */
int disk_unmounted(int fd, const char *path, struct err *e);

/**
 * disk_mounted_at() - the first mount of one of @devs
 * @mountinfo: as /proc/self/mountinfo
 * @where: mount point, decoded
 */
bool disk_mounted_at(const char *mountinfo, const dev_t *devs, size_t n, char *where, size_t size);

#endif
