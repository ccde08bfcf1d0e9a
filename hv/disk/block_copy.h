/* SPDX-License-Identifier: Apache-2.0 */
/* block_copy - all of one disk into another. */
#ifndef DROVER_HV_DISK_BLOCK_COPY_H
#define DROVER_HV_DISK_BLOCK_COPY_H

#include "hv/disk/block.h"

/**
 * block_copy() - copy all bytes of @from to the start of @to, and make them durable; waits
 * @to: new, so that all of it reads as zeroes: what is zero is not written.  At least as large as @from, and both opened for
 *      at least BLOCK_COPY_DEPTH requests, not in use by others.
 * @progress: called now and then with the bytes that are done; NULL: nobody
 * Return: 0; -EINVAL when @to is too small; -ENOMEM; -errno of the first transfer that failed, with what and where.
 */
#define BLOCK_COPY_DEPTH 8
int block_copy(struct block *from, struct block *to, void (*progress)(void *arg, uint64_t done), void *arg, struct err *e);

#endif
