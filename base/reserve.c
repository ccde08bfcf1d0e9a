/* SPDX-License-Identifier: Apache-2.0 */
/* reserve - see reserve.h. */
#include "base/reserve.h"

#include <sys/mman.h>

void *reserve_make(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	return p;
}

void reserve_free(void *p, size_t size)
{
	if (p)
		munmap(p, size);
}
