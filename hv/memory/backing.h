/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backing - host memory for a guest: where its pages come from, and how large they are.
 *
 * A piece of it starts on a 2 MiB boundary, so that huge pages on the host line up with huge
 * pages in the guest, is not part of a core dump, and is zero until somebody writes it.
 */
#ifndef DROVER_HV_MEMORY_BACKING_H
#define DROVER_HV_MEMORY_BACKING_H

#include "base/err.h"
#include "conf/domain.h"

#include <stdint.h>

struct backing {
	enum domain_backing kind; /* what was chosen, never BACKING_AUTO */
	int fd;                   /* memfd behind it, mapped shared; -1: private anonymous memory */
	uint8_t *host;            /* NULL: there is none */
	uint64_t size;            /* bytes */
	uint64_t page_size;       /* 4096, or 2 MiB where pages are huge */
};

/**
 * backing_map() - @size bytes (whole pages) of a @kind; BACKING_AUTO: the best that this host has
 * Return: 0 and *@b, backing_unmap() it; -EINVAL, -ENOMEM and what is missing.
 */
int backing_map(struct backing *b, uint64_t size, enum domain_backing kind, struct err *e);

/**
 * backing_map_small() - @size bytes of plain 4 KiB pages: for what is a few pages, whatever the guest's RAM is made of
 * Return: as backing_map().
 */
int backing_map_small(struct backing *b, uint64_t size, struct err *e);

/**
 * backing_map_shown() - the same in a memfd that may be shown to others: who has its descriptor reads it, and cannot
 * write it, map it to be written or change its size (F_SEAL_FUTURE_WRITE)
 * Return: as backing_map().
 */
int backing_map_shown(struct backing *b, uint64_t size, struct err *e);

/**
 * backing_map_fd() - the first @size bytes of the file @fd, shared with whoever else has it
 * @fd: stays the caller's; a copy of it is kept
 * Return: 0 and *@b; -EINVAL when the file is shorter, or could become so (it must be sealed with
 * F_SEAL_SHRINK): touching what is not there would be a SIGBUS.
 */
int backing_map_fd(struct backing *b, uint64_t size, int fd, struct err *e);

/** backing_unmap() - nothing is left; *@b may be all zeros */
void backing_unmap(struct backing *b);

#endif
