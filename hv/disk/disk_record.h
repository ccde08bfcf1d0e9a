/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_record - the record of who holds, or held last, a disk (rule H).
 *
 * One line of JSON beside the disk ("<disk>.drover" for a file, a file in a run
 * directory for a block device).  It is written by whoever holds the disk's lock
 * (disk_lock.h) and by nobody else, replaced as a whole, and on stable storage before
 * disk_record_write() returns.  Everybody may read it at any time.
 */
#ifndef DROVER_HV_DISK_DISK_RECORD_H
#define DROVER_HV_DISK_DISK_RECORD_H

#include "base/err.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DISK_RUN_DIR "/run/drover/disks"
#define DISK_NONCE_TEXT 33 /* 32 hex digits and the NUL */

#define DISK_ANOTHER (-EREMCHG) /* a disk that was had before is another one now; nothing else gives this error */

struct disk_holder {
	char domain[64];
	uint8_t uuid[16];
	char host[65];
	pid_t pid;
	uint64_t incarnation;
	/* Who counts the incarnations: the id of a cluster's log; "": the disks' own records do. */
	char cluster[65];
	/* What the holder wants another host to find here, to prove that it sees this record; "": nothing */
	char nonce[DISK_NONCE_TEXT];
};

/** disk_record_make_dir() - @dir and all above it, if it can; who needs it will see */
void disk_record_make_dir(const char *dir);

/** disk_holder_same() - the same process under the same incarnation, whatever its nonce */
bool disk_holder_same(const struct disk_holder *a, const struct disk_holder *b);

struct disk_record {
	char file[PATH_MAX]; /* the record */
	char dir[PATH_MAX];  /* where it lies */
};

/**
 * disk_record_at() - where the record of a disk is
 * @fd: the disk; it and no path decides which disk this is
 * @path: for errors
 * @run_dir: for block devices, NULL for DISK_RUN_DIR
 * Return: 0; -EINVAL when it is neither a file nor a block device; -ESTALE when the file has no
 * name any more, or another file took it.
 */
int disk_record_at(int fd, const char *path, const char *run_dir, struct disk_record *out,
		   struct err *e);

/** disk_record_read() - 0; -ENOENT when there is none; -EINVAL when it cannot be understood */
int disk_record_read(const struct disk_record *r, struct disk_holder *out, struct err *e);

/**
 * disk_record_reserve() - make room for disk_record_write(), so that it has nothing left to ask for
 * Only with the disk's lock.  Return: 0, or what is missing: -EROFS, -ENOSPC, -EACCES.
 */
int disk_record_reserve(const struct disk_record *r, struct err *e);
/** disk_record_unreserve() - nothing will be written after all; only with the disk's lock */
void disk_record_unreserve(const struct disk_record *r);
/** disk_record_write() - replace the record; only with the disk's lock */
int disk_record_write(const struct disk_record *r, const struct disk_holder *h, struct err *e);
/** disk_record_remove() - nobody holds it, as before the first write; only with the disk's lock */
int disk_record_remove(const struct disk_record *r, struct err *e);

/** disk_record_probe() - could a record be written here?  Needs no lock and leaves nothing behind. */
int disk_record_probe(const struct disk_record *r, struct err *e);

#endif
