/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_lock - one writer per disk, and the record of who that was (rule H).
 *
 * Two things lie beside each other:
 *
 *   the lock     an OFD lock (fcntl(2), F_OFD_SETLK) on the whole disk file:
 *                exclusive for a writer, shared for readers.  It goes away with
 *                the process, also on kill -9.  QEMU respects it too.
 *   the record   {domain, uuid, host, pid, incarnation} in "<disk>.drover" for a
 *                file, in a run directory for a block device.  It stays when the
 *                process goes, and is only written by whoever holds the lock.
 *
 * Together they are the arbiter of a migration without a cluster.  The
 * destination takes the disk with incarnation + 1; the record is on stable
 * storage before disk_lock_take() returns, so before it can have written the
 * disk.  A source that wants the domain back after GRANT takes the lock again
 * with its old incarnation: -EBUSY says that the destination holds it now,
 * -EPERM says that it has held it since.  In both cases the source must never
 * run the domain again.
 *
 * That holds only where both hosts see the same file and its locks: a file on
 * one host, on NFS >= 4, on a cluster file system.  A block device has
 * neither its locks nor its record in common: disk_lock_arbitrates() is false.
 *
 * Thread: any, one at a time per disk_lock.
 */
#ifndef DROVER_HV_DISK_LOCK_H
#define DROVER_HV_DISK_LOCK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DISK_LOCK_RUN_DIR "/run/drover/disks"

struct disk_holder {
	char domain[64];
	uint8_t uuid[16];
	char host[65];
	pid_t pid;
	uint64_t incarnation;
};

struct disk_lock;

/**
 * disk_lock_take() - become the one writer (or one of the readers) of a disk
 * @path: the disk, a regular file or a block device
 * @readonly: take a shared lock and leave the record alone
 * @me: who asks; me->incarnation is what will be recorded
 * @run_dir: where records of block devices are kept, NULL for DISK_LOCK_RUN_DIR
 * @out: release with disk_lock_release()
 *
 * Never waits.  A record of another domain (other uuid) is replaced: whoever
 * holds the lock decides, and incarnations of two domains do not compare.
 *
 * Return: 0; -EBUSY "disk /x is open by domain web (host n1, pid 123)"; -EPERM
 * when the record holds a higher incarnation of the same domain; -ENOENT;
 * -EINVAL when the record cannot be understood (it is never overwritten blindly).
 */
int disk_lock_take(const char *path, bool readonly, const struct disk_holder *me,
		   const char *run_dir, struct disk_lock **out, struct err *e);

/** disk_lock_release() - let others have the disk; the record stays; NULL is fine */
void disk_lock_release(struct disk_lock *l);

/**
 * disk_lock_record() - who held the disk last, without taking it
 * Return: 0; -ENOENT when nobody ever did; -EINVAL when it cannot be understood.
 * It may be older than the answer's arrival: only disk_lock_take() decides.
 */
int disk_lock_record(const char *path, const char *run_dir, struct disk_holder *out,
		     struct err *e);

/** disk_lock_arbitrates() - whether lock and record are shared by all hosts that share the disk */
bool disk_lock_arbitrates(const char *path);

#endif
