/* SPDX-License-Identifier: Apache-2.0 */
/* counted - see counted.h. */
#include "base/counted.h"

#include <errno.h>

void counted_put(struct writer *w, uint16_t size, uint32_t count)
{
	assert(size);
	writer_u16(w, size);
	writer_u32(w, count);
}

int counted_get(struct reader *r, const char *what, uint16_t size, uint32_t room, uint32_t *count,
		struct reader *elements, struct err *e)
{
	uint16_t theirs = reader_u16(r);
	uint32_t n = reader_u32(r);
	uint64_t bytes = (uint64_t)n * size;

	assert(size);
	if (r->bad)
		return err_set(e, -EINVAL, "%s: ends before its count", what);
	if (theirs != size)
		return err_set(e, -EINVAL, "%s: elements of %u bytes, expected %u", what, theirs, size);
	if (n > room)
		return err_set(e, -EINVAL, "%s: %u elements there, room for %u here", what, n, room);
	if (bytes > reader_left(r))
		return err_set(e, -EINVAL, "%s: %u elements of %u bytes, but %zu bytes are left", what, n, size,
			       reader_left(r));
	*count = n;
	*elements = reader_make(reader_take(r, (size_t)bytes), (size_t)bytes);
	return 0;
}
