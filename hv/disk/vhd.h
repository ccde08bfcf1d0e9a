/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd - disk images in Microsoft's VHD format: made, described, and traced to their parents.
 *
 * Reading and writing them is block_open("vhd", ...), hv/disk/block.h.  The format is that of the "Virtual Hard
 * Disk Image Format Specification", version 1.0 of October 11, 2006, called [VHD] here.  There are three kinds:
 *
 *     fixed          the guest's bytes, and a footer behind them
 *     dynamic        blocks of 2 MiB, in the order in which the guest first wrote to them
 *     differencing   the same, with what differs from another image, its parent, sector by sector
 *
 * How large is it?  A footer has two answers: the current size, or the product of cylinders, heads and sectors,
 * which is what an ATA guest of Virtual PC saw, and less.  The geometry counts where one of the programs made the
 * image whose guests saw no more than that ("vpc ", "vs  ", "qemu"), and where it is below its maximum (65535 * 16 *
 * 255 sectors); else the current size.  QEMU (block/vpc.c) has it the other way around, a list of those who mean
 * the current size, and cuts off the ends of what all others have made: VirtualBox ("vbox"), XCP-ng's exports
 * ("caml").  A disk that is too large by less than a cylinder is one; one that is too small has lost what its guest
 * wrote there.  What vhd_create() makes has a size of which both say the same, as far as geometries go.
 *
 * Threads: any; a descriptor is one caller's at a time.
 */
#ifndef DROVER_HV_DISK_VHD_H
#define DROVER_HV_DISK_VHD_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define VHD_BLOCK_DEFAULT (2u << 20) /* bytes ([VHD], Block Size) */
#define VHD_SIZE_MAX (2040ull << 30) /* bytes ([VHD], Dynamic Hard Disk Image) */
#define VHD_PATH_MAX 1024            /* of a parent, bytes of UTF-8 with the NUL */

enum vhd_kind { /* [VHD], Disk Type */
	VHD_FIXED = 2,
	VHD_DYNAMIC = 3,
	VHD_DIFFERENCING = 4,
};

struct vhd_info {
	enum vhd_kind kind;
	uint64_t size;         /* bytes that a guest sees */
	uint64_t current_size; /* ... that the footer says; more where the geometry counts */
	uint32_t block_size;   /* bytes; 0: fixed */
	uint32_t blocks;       /* of the disk; 0: fixed */
	uint32_t allocated;    /* ... that have a place in the file */
	uint64_t file_size;
	uint64_t unused;  /* bytes of the file that nothing refers to */
	bool footer_lost; /* the last bytes of the file are no footer; its copy at the start is used */
	uint8_t id[16];   /* its own: what images made from it call their parent */
	uint32_t time;    /* of its creation, seconds since 2000-01-01 UTC */
	char creator[5];  /* program that made it, as the footer has it */
};

/* Where an image says its parent is.  Believe none of it: it is text from a file. */
struct vhd_parent {
	uint8_t id[16];
	uint32_t time;               /* of the parent's last change, seconds since 2000-01-01 UTC; 0: not said */
	char name[VHD_PATH_MAX];     /* parent's unicode name */
	char relative[VHD_PATH_MAX]; /* to the directory of the image (W2ru) */
	char absolute[VHD_PATH_MAX]; /* W2ku */
	char url[VHD_PATH_MAX];      /* MacX; what tapdisk writes */
};

/* What is to be made. */
struct vhd_new {
	enum vhd_kind kind;
	uint64_t size;       /* bytes; DIFFERENCING: 0, it is the parent's */
	uint32_t block_size; /* bytes, a power of two; 0: VHD_BLOCK_DEFAULT */
	/* DIFFERENCING: */
	int parent_fd;      /* an image of any kind, which nobody may write to from now on */
	const char *parent; /* its path from the image's directory, or an absolute one; UTF-8 */
};

/**
 * vhd_create() - make an image of an empty file
 * @fd: an empty file, writable
 * @path: for errors
 * @size: gets the size in bytes that a guest will see, which is @n->size or up to 2 MiB more (see above); may be NULL
 * All is on stable storage on return.  After an error the file is not empty any more.
 * Return: 0; -EINVAL for sizes that cannot be, a parent that is no VHD, or a file that is not empty; -errno.
 */
int vhd_create(int fd, const char *path, const struct vhd_new *n, uint64_t *size, struct err *e);

/**
 * vhd_info() - describe an image, after all of its tables were checked
 * @fd: need not be writable; may have O_DIRECT
 * Return: 0; -EINVAL when it is not sound, with what is wrong, where, and what was expected; -errno.
 */
int vhd_info(int fd, const char *path, struct vhd_info *out, struct err *e);

/**
 * vhd_parent_of() - where an image says its parent is
 * Texts are UTF-8, with / for \; empty when there is none of the kind.  Who opens the chain asks each image for the next one,
 * and gives them all to block_open_on(), which checks that they belong together.
 * Return: 0; -ENOENT when it has no parent; as vhd_info().
 */
int vhd_parent_of(int fd, const char *path, struct vhd_parent *out, struct err *e);

/** vhd_parent_text() - what an image says of its parent, for people: the first that it says anything of */
const char *vhd_parent_text(const struct vhd_parent *p);

#endif
