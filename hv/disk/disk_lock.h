/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_lock - one writer per disk, and the record of who that was (rule H).
 *
 * Two things lie beside each other:
 *
 *   the lock     an OFD lock (fcntl(2), F_OFD_SETLK) on the whole disk file:
 *                exclusive for a writer, shared for readers.  It goes away with
 *                the process, also on kill -9.  QEMU respects it too.
 *   the record   {domain, uuid, host, pid, incarnation} (hv/disk/disk_record.h).  It stays
 *                when the process goes, and is only written by whoever holds the lock.
 *
 * The lock, the check of the record and the guest's I/O go through one open file
 * description, disk_lock_fd().  So they are about one file whatever happens to its
 * path, and a lock that a server took away (NFS 4 after a lost lease) is told to the
 * I/O, which fails, instead of to nobody.
 *
 * Taking a disk has two steps, so that who needs several takes all or none:
 *
 *   disk_lock_prepare()   open, lock, read the record, reserve room for the next one.
 *                         Nobody can see it but by the lock; disk_lock_release() undoes it.
 *   disk_lock_check()     may @me follow whom the record names?  Writes nothing.
 *   disk_lock_commit()    write the record.  It is on stable storage on return, so
 *                         before the new owner can have written the disk.
 *
 * A block device has more names than one, and others may stand on the same bytes: what is below
 * it is locked as well, among the programs of this host (hv/disk/disk_below.h).
 *
 * Together they are the arbiter of a migration without a cluster.  The destination
 * commits a higher incarnation than the source's.  A source that wants the domain
 * back prepares again: -EBUSY says that the destination holds the disk now; a record
 * above what the source wrote itself (disk_lock_check() with @after) that it has held
 * it since.  In both cases the source must never run the domain again.
 *
 * That holds only where both hosts see the same file, its locks and its record:
 * hv/disk/disk_store.h says what can be known of that.
 *
 * Thread: any, one at a time per disk_lock.
 */
#ifndef DROVER_HV_DISK_DISK_LOCK_H
#define DROVER_HV_DISK_DISK_LOCK_H

#include "base/err.h"
#include "hv/disk/disk_record.h"

#include <stdbool.h>
#include <stdint.h>

struct disk_lock;

/**
 * disk_lock_prepare() - become the one writer (or one of the readers) of a disk
 * @path: the disk, a regular file or a block device
 * @readonly: take a shared lock and leave the record alone
 * @run_dir: where records of block devices are kept, NULL for DISK_RUN_DIR
 * @out: release with disk_lock_release()
 *
 * Never waits for another holder.
 *
 * Return: 0; -EBUSY "disk /x is open by domain web (host n1, pid 123)"; -ENOENT; -EROFS, -ENOSPC
 * or -EACCES when the record could not be written; -EINVAL when the present one cannot be
 * understood (it is never overwritten blindly).
 */
int disk_lock_prepare(const char *path, bool readonly, const char *run_dir, struct disk_lock **out,
		      struct err *e);

/**
 * disk_lock_new_file() - a writer's lock on an image that is being made, and which is nobody's yet; held while @fd is open
 * Return: 0, also where files cannot be locked: nobody else's lock would say more; -EBUSY.
 */
int disk_lock_new_file(int fd, const char *path, struct err *e);

/** disk_lock_last() - whom the record named at disk_lock_prepare(); NULL: nobody, or a reader's lock */
const struct disk_holder *disk_lock_last(const struct disk_lock *l);

/**
 * disk_lock_check() - may @me follow whom the record names?
 * @after: the highest incarnation it may hold: me->incarnation for who was told to run it; what
 *         it wrote itself for a source that takes its disk back under a new number
 *
 * A record of another domain (other uuid) is no obstacle: whoever holds the lock decides, and
 * incarnations of two domains do not compare.  Those of two clusters do not either: a disk that
 * belongs to a cluster's domain is given to nobody else, whatever the numbers, before an operator
 * has set it free (`drover-hv adopt`).
 *
 * Return: 0, or -EPERM with the reason and the way out.
 */
int disk_lock_check(const struct disk_lock *l, const struct disk_holder *me, uint64_t after,
		    struct err *e);

/**
 * disk_lock_commit() - record @me as the holder; nothing to do for a reader
 * May be called again while the lock is held, to record something else.
 */
int disk_lock_commit(struct disk_lock *l, const struct disk_holder *me, struct err *e);
/**
 * disk_lock_named() - does the disk's path still lead to what is locked?
 * It is by their path that others open a disk: whoever gives it to another host asks first.  The lock
 * and the record say nothing of that: the one is about the file, the other lies beside its name.
 *
 * Return: 0; -ESTALE when the disk was removed, renamed or replaced since; why it cannot be said.
 */
int disk_lock_named(const struct disk_lock *l, struct err *e);
/** disk_lock_undo() - put the record back as disk_lock_prepare() found it */
int disk_lock_undo(struct disk_lock *l, struct err *e);

/** disk_lock_fd() - the one open file of this disk, blocking, without O_DIRECT; stays @l's */
int disk_lock_fd(const struct disk_lock *l);

/** disk_lock_release() - let others have the disk; a record that was written stays; NULL is fine */
void disk_lock_release(struct disk_lock *l);

/** disk_lock_take() - prepare, check and commit in one, for a single disk */
int disk_lock_take(const char *path, bool readonly, const struct disk_holder *me,
		   const char *run_dir, struct disk_lock **out, struct err *e);

/**
 * disk_lock_record() - who held the disk last, without taking it
 * Return: 0; -ENOENT when nobody ever did; -EINVAL when it cannot be understood.
 * It may be older than the answer's arrival: only disk_lock_prepare() decides.
 */
int disk_lock_record(const char *path, const char *run_dir, struct disk_holder *out,
		     struct err *e);

/**
 * disk_lock_probe() - all of disk_lock_prepare() but the lock, leaving nothing behind
 * @fd: an open file of the disk to look at further; the caller closes it
 * Somebody else may hold the disk meanwhile: that is no error.
 */
int disk_lock_probe(const char *path, bool readonly, const char *run_dir, int *fd, struct err *e);

/** disk_lock_arbitrates() - can lock and record decide between hosts, as far as can be known here? */
bool disk_lock_arbitrates(const char *path);

#endif
