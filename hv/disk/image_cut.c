/* SPDX-License-Identifier: Apache-2.0 */
/* image_cut - vectors of which a part is used at a time, without a copy of them: the last one is shortened, and mended later. */
#include "hv/disk/image_int.h"

#include <assert.h>

void image_cut_make(struct image_cut *c, struct iovec *iov, unsigned int n, uint64_t len)
{
	c->n = 0;
	for (;;) {
		struct iovec *v = &iov[c->n++];

		assert(c->n <= n);
		if (v->iov_len >= len) {
			c->last = *v;
			c->used = (size_t)len;
			v->iov_len = c->used;
			return;
		}
		len -= v->iov_len;
	}
}

void image_cut_pass(const struct image_cut *c, struct iovec **iov, unsigned int *n)
{
	struct iovec *v = *iov + c->n - 1;

	v->iov_base = (uint8_t *)c->last.iov_base + c->used;
	v->iov_len = c->last.iov_len - c->used;
	*iov = v;
	*n -= c->n - 1;
	if (!v->iov_len && *n > 1) {
		(*iov)++;
		(*n)--;
	}
}
