/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_piece - the answer to "where is this piece?" written down, for reads and writes. */
#include "hv/disk/qcow2_int.h"

#include <errno.h>

void qcow2_map_clip(const struct qcow2_image *q, struct image_extent *x, uint64_t guest, uint64_t n)
{
	uint64_t end = (guest + n) << q->l.h.bits;

	if (x->at + x->len > end)
		x->len = end - x->at;
}

uint64_t qcow2_map_more(const struct qcow2_image *q, const struct image_extent *x, uint64_t guest)
{
	uint64_t last = (x->at + x->len - 1) >> q->l.h.bits, slice = guest / q->per_slice * q->per_slice + q->per_slice - 1;

	return (last < slice ? last : slice) - guest + 1;
}

void qcow2_map_data(struct qcow2_image *q, struct image_req *r, struct image_extent *x, uint64_t guest, uint64_t host, uint64_t n)
{
	qcow2_map_clip(q, x, guest, n);
	x->where = IMAGE_DATA;
	x->file = (host << q->l.h.bits) + x->at % q->l.cluster;
	r->mark = qcow2_mark(q);
}

int qcow2_map_wait(struct qcow2_image *q, struct image_req *r, struct image_extent *x, int ret)
{
	if (ret == -EAGAIN)
		return image_wait_for_flush(&q->image, r, x);
	x->where = IMAGE_WAIT;
	return ret;
}
