/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_map - where a guest's bytes lie: reading.
 *
 * Clusters that lie in a row in the file are one piece, up to the end of a slice of L2.
 */
#include "hv/disk/qcow2_int.h"

#include <assert.h>
#include <errno.h>

/* Clusters from @guest whose entries are like its own, and which lie in a row. */
static uint64_t run(struct qcow2_image *q, const struct qcow2_l2 *s, uint64_t guest, uint64_t n, enum qcow2_kind kind)
{
	uint64_t first = qcow2_l2_entry(q, s, guest) & QCOW2_PLACE, i = 1;

	for (; i < n; i++) {
		uint64_t entry = qcow2_l2_entry(q, s, guest + i);

		if (qcow2_entry_kind(q, guest + i, entry) != kind)
			break;
		if (kind == QCOW2_DATA && (entry & QCOW2_PLACE) != first + (i << q->l.h.bits))
			break;
	}
	return i;
}

static void nothing(const struct qcow2_image *q, struct image_extent *x)
{
	x->where = q->image.parent ? IMAGE_PARENT : IMAGE_ZEROES;
}

static int read_zipped(struct qcow2_image *q, struct image_extent *x, uint64_t guest, uint64_t entry)
{
	const uint8_t *p;
	int ret = qcow2_zip_get(q, entry, &p);

	qcow2_map_clip(q, x, guest, 1);
	x->where = p ? IMAGE_MEMORY : IMAGE_WAIT;
	x->memory = p ? p + x->at % q->l.cluster : NULL;
	return ret;
}

static int map_read(struct qcow2_image *q, struct image_req *r, struct image_extent *x)
{
	uint64_t guest = x->at >> q->l.h.bits, entry;
	struct qcow2_l2 *s;
	enum qcow2_kind kind;
	int ret;

	x->where = IMAGE_ZEROES;
	ret = qcow2_l2_get(q, r, x, guest, false, &s);
	if (ret || x->where == IMAGE_WAIT)
		return ret;
	if (!s) {
		qcow2_map_clip(q, x, guest, q->l.l2_entries - guest % q->l.l2_entries);
		nothing(q, x);
		return 0;
	}
	entry = qcow2_l2_entry(q, s, guest);
	kind = qcow2_entry_kind(q, guest, entry);
	if (kind == QCOW2_LIE)
		return -EIO;
	if (kind == QCOW2_ZIPPED)
		return read_zipped(q, x, guest, entry);
	qcow2_map_clip(q, x, guest, run(q, s, guest, qcow2_map_more(q, x, guest), kind));
	if (kind == QCOW2_DATA)
		qcow2_map_data(q, r, x, guest, (entry & QCOW2_PLACE) >> q->l.h.bits, UINT32_MAX);
	else if (kind == QCOW2_NOTHING)
		nothing(q, x);
	return 0;
}

int qcow2_map(struct image *im, struct image_req *r, struct image_extent *x)
{
	struct qcow2_image *q = qcow2_of(im);

	if (r->guest->op == BLOCK_READ)
		return map_read(q, r, x);
	/* Others must not believe what they keep beside the disk: before the first byte of it is changed. */
	if (q->l.h.autoclear) {
		q->head_dirty = true;
		return image_wait_for_flush(im, r, x);
	}
	return r->guest->op == BLOCK_WRITE ? qcow2_map_write(q, r, x) : qcow2_map_zero(q, r, x);
}

void qcow2_mapped(struct image *im, struct image_req *r, int ret)
{
	struct qcow2_place *p = r->held;

	r->held = NULL;
	r->mark = 0;
	if (p)
		qcow2_place_end(qcow2_of(im), p, ret);
}
