/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_store - what is known of the storage a disk lies on.
 *
 * Whether hosts share it cannot be seen from one host; what kind of thing it is can:
 *
 *   kind                                      may hosts share it?   do its locks hold between them?
 *   block device                              yes                   no, there are none
 *   NFS 4, GFS2, OCFS2, CephFS, Lustre, GPFS  yes                   yes
 *   NFS 3, NFS with local_lock                yes                   no: a lost lock is told to nobody
 *   ext4, XFS, Btrfs, tmpfs, ...              no, one mount only    yes, within this host
 *   GlusterFS by FUSE                         yes                   yes
 *   anything else (9p, other FUSE, ...)       maybe                 maybe: a migration proves it
 */
#ifndef DROVER_HV_DISK_DISK_STORE_H
#define DROVER_HV_DISK_DISK_STORE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct disk_store {
	char type[32];    /* "ext4", "nfs", "block device", for messages */
	bool shared;      /* several hosts may have it: no cache may lie between it and a guest */
	bool locks;       /* OFD locks may hold between the hosts that share it */
	bool locks_known; /* ... and do: while one is held nobody else has the disk */
};

/** disk_store_of() - @fd: the disk, O_PATH will do.  0, or why it cannot be said. */
int disk_store_of(int fd, struct disk_store *out, struct err *e);

/**
 * disk_store_mount() - the same for a file, from the text of /proc/self/mountinfo
 * @id: the file's mount
 * Return: 0; -ENOENT when there is no such mount in it.
 */
int disk_store_mount(const char *mountinfo, uint64_t id, struct disk_store *out);

#endif
