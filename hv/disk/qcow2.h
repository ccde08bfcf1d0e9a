/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 - disk images in QEMU's format qcow2: made, described, checked, and traced to what they lie on.
 *
 * Reading and writing them is block_open("qcow2", ...), hv/disk/block.h.  The format is that of docs/interop/qcow2.txt of
 * QEMU, called [QCOW2] here; versions 2 and 3 of it.  An image may lie on another one, its backing file, of which its header
 * has a name and a format.  The format is believed; the name is for people, and never opened.
 *
 * Threads: any; a descriptor is one caller's at a time.
 */
#ifndef DROVER_HV_DISK_QCOW2_H
#define DROVER_HV_DISK_QCOW2_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define QCOW2_CLUSTER_DEFAULT 65536u /* bytes; what qemu-img makes */
#define QCOW2_NAME_MAX 1024u         /* of a backing file, with the NUL ([QCOW2], backing_file_size) */
#define QCOW2_FORMAT_MAX 16u         /* of its format, with the NUL; ours: longer ones are none that we know */

struct qcow2_info {
	uint32_t version, cluster; /* cluster: bytes */
	uint32_t refcount_bits;
	uint64_t size; /* bytes that a guest sees */
	uint64_t file_size;
	uint32_t snapshots; /* internal ones */
	bool lazy, dirty;   /* refcounts: written late; not all written */
	/* Where it says that what it lies on is; empty: it lies on nothing.  Believe none of it: it is text from a file. */
	char backing[QCOW2_NAME_MAX], backing_format[QCOW2_FORMAT_MAX];
};

/* What is to be made; what is not named is 0. */
struct qcow2_new {
	uint64_t size;              /* bytes, rounded up to sectors of 512 */
	uint32_t version;           /* 2, 3; 0: 3 */
	uint32_t cluster;           /* bytes, a power of two; 0: QCOW2_CLUSTER_DEFAULT */
	uint32_t refcount_order;    /* version 3: bits of a refcount are 1 << this; 0: 4 */
	const char *backing;        /* from the image's directory, or absolute; NULL: it lies on nothing */
	const char *backing_format; /* "raw", "qcow2", "vhd" */
};

/**
 * qcow2_create() - make an image of an empty file
 * @fd: an empty file, writable
 * @path: for errors
 * All is on stable storage on return.  After an error the file is not empty any more.
 * Return: 0; -EINVAL for sizes that cannot be, or a file that is not empty; -errno.
 */
int qcow2_create(int fd, const char *path, const struct qcow2_new *n, struct err *e);

/**
 * qcow2_info() - describe an image by its header
 * @fd: need not be writable; may have O_DIRECT
 * Return: 0; -EINVAL when it is not sound, with what is wrong, where, and what was expected; -EOPNOTSUPP for what we do not
 * know; -errno.
 */
int qcow2_info(int fd, const char *path, struct qcow2_info *out, struct err *e);

/* What qcow2_check() has found. */
struct qcow2_checked {
	uint64_t clusters;  /* of the disk */
	uint64_t allocated; /* ... that have contents of their own */
	uint64_t leaks;     /* clusters of the file that nothing refers to, though they are counted: space is lost, no data */
	uint64_t wrong;     /* lies of any other kind */
};

/**
 * qcow2_check() - look at all tables: does each count say how often its cluster is referred to?
 * @tell: called with a line for each of the first lies; may be NULL
 * Nobody may write to it meanwhile.
 * Return: 0, also when something is wrong; as qcow2_info() when there is nothing that could be looked at.
 */
int qcow2_check(int fd, const char *path, struct qcow2_checked *out, void (*tell)(void *arg, const char *line), void *arg, struct err *e);

#endif
