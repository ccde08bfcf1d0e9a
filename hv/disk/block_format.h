/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block_format - how the bytes that a guest sees lie in an open file: the table behind block.h.
 *
 * A format is a row of `formats` in block_open.c and files of its own.  It embeds struct block as its
 * first member.  block.c has done what is the same for all before a hook is called: a request
 * that comes to queue() is inside the disk, whole sectors, and no write to a read-only disk.
 */
#ifndef DROVER_HV_DISK_BLOCK_FORMAT_H
#define DROVER_HV_DISK_BLOCK_FORMAT_H

#include "hv/disk/block.h"

#include <stdatomic.h>

struct block_format {
	const char *name; /* as after `format:` in a domain file */
	/*
	 * Fill size, sector and event_fd of *@out; the rest of struct block is block_open.c's.  The block may be
	 * another format's, which is then in ->format: an image may turn out to be one that has no tables.
	 */
	int (*open)(const struct block_open_args *a, struct block **out, struct err *e);
	/* How many requests its file's ring has, where its own are @depth; NULL: as many. */
	unsigned int (*ring_depth)(unsigned int depth);
	void (*close)(struct block *b);
	/* All that completed is on stable storage, or a negative errno; *@kept, false before: as in struct block_req.  Any thread. */
	int (*flush)(struct block *b, bool *kept);
	/* Would closing it now lose what completed, since only this block's memory has where that lies?  Any thread; NULL: it never would. */
	bool (*unsaved)(struct block *b);
	/* The rest: the thread of the disk's device alone. */
	int (*queue)(struct block *b, struct block_req *r);
	void (*kick)(struct block *b);
	void (*reap)(struct block *b);
};

struct block {
	const struct block_format *format; /* whose hooks are called; NULL from open(): its own */
	const char *path;                  /* the caller's */
	bool readonly;
	uint64_t size; /* bytes that the guest sees */
	uint32_t sector;
	int event_fd;
	_Atomic int owed; /* writes were lost and the guest has not been told: its next flush fails */
};

extern const struct block_format block_raw, block_vhd, block_qcow2;

/** block_flush_result() - what the guest's BLOCK_FLUSH ends with: @res, or what it was owed and hears now */
int block_flush_result(struct block *b, int res);

#endif
