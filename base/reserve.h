/* SPDX-License-Identifier: Apache-2.0 */
/* reserve - address space for something that may become large: memory is what is touched of it, and no more. */
#ifndef DROVER_BASE_RESERVE_H
#define DROVER_BASE_RESERVE_H

#include <stddef.h>

/**
 * reserve_make() - @size bytes, all zero, at the beginning of a page
 * malloc() gives the same, but not to tests: there MALLOC_PERTURB_ writes to each byte.
 * Return: NULL when there is no room; free with reserve_free().
 */
void *reserve_make(size_t size);

/** reserve_free() - @size: as it was made; NULL is fine */
void reserve_free(void *p, size_t size);

#endif
