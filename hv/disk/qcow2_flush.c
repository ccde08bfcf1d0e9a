/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_flush - what of an image's tables is written in which order (image.h has the fdatasyncs between).
 *
 *     data                   the guest's, and what was copied, before all of this
 *     0  refcounts            of what was taken; and the header, where it must say that we write
 *     1  refcount table       it has the new blocks, which are there now
 *     2  header               where that table is, when it has moved
 *     3  L2 tables
 *     4  L1 table             it has the new L2 tables
 *     5  refcounts            of what nothing on the disk refers to any more
 *
 * So what is referred to is counted, wherever the power goes, and its contents are there.
 */
#include "hv/disk/qcow2_int.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

bool qcow2_dirty(const struct image *im)
{
	const struct qcow2_image *q = (const struct qcow2_image *)im;

	return q->n_dirty || q->going || q->l1.dirty || q->refs.n_dirty || q->refs.table.dirty || q->refs.moved || q->head_dirty || q->n_frees;
}

/* Counts are nobody's data, and a table of them that has moved is not missed until there are tables that need it. */
bool qcow2_unsaved(const struct image *im)
{
	const struct qcow2_image *q = (const struct qcow2_image *)im;

	return q->n_dirty || q->going || q->l1.dirty;
}

/* --- what is written --- */

static void slice_goes(struct qcow2_l2 *s)
{
	struct qcow2_image *q = s->q;

	memcpy(s->going, s->entries, q->per_slice * 8ull);
#ifdef MUTANT_NO_SNAPSHOT
	s->going = s->entries;
#endif
	s->file = qcow2_l2_place(q, s);
	s->dirty = false;
	q->n_dirty--;
	s->is_going = true;
}

static void header_goes(struct qcow2_image *q)
{
	uint64_t at = htobe64(q->l.h.table_at);
	uint32_t clusters = htobe32(q->l.h.table_clusters);

	if (q->head_goes)
		memset(q->l.head + QCOW2_AUTOCLEAR_AT, 0, 8);
	memcpy(q->l.head + QCOW2_TABLE_AT, &at, 8);
	memcpy(q->l.head + QCOW2_TABLE_AT + 8, &clusters, 4);
}

void qcow2_flush_begin(struct image *im)
{
	struct qcow2_image *q = qcow2_of(im);

	assert(!q->going);
	q->going = true;
	q->batch = q->clock;
	q->freed = false;
	q->head_goes = q->head_dirty;
	q->move_goes = q->refs.moved;
	header_goes(q);
	for (unsigned int i = 0; i < q->n_slices; i++)
		if (q->slices[i].dirty)
			slice_goes(&q->slices[i]);
	qcow2_refs_begin(&q->refs);
	qcow2_table_begin(&q->refs.table);
	qcow2_table_begin(&q->l1);
	q->next_slice = 0;
	q->next_ref = 0;
	q->head_written = false;
}

static bool write_header(struct qcow2_image *q, bool goes, struct image_meta *out)
{
	if (!goes || q->head_written)
		return false;
	q->head_written = true;
	*out = (struct image_meta){ 0, q->l.head, IMAGE_SECTOR };
	return true;
}

static bool write_l2(struct qcow2_image *q, struct image_meta *out)
{
	while (q->next_slice < q->n_slices) {
		struct qcow2_l2 *s = &q->slices[q->next_slice++];

		if (s->is_going) {
			*out = (struct image_meta){ s->file, s->going, q->per_slice * 8ull };
			return true;
		}
	}
	return false;
}

static bool write_refs(struct qcow2_image *q, struct image_meta *out)
{
	return write_header(q, q->head_goes, out) || qcow2_refs_next(&q->refs, &q->next_ref, out);
}

/* What was written in phase 0 is there; what is free now makes some of it dirty again. */
static bool write_frees(struct qcow2_image *q, struct image_meta *out)
{
	if (!q->freed) {
		q->freed = true;
		qcow2_refs_end(&q->refs, 0);
		if (qcow2_frees_apply(q, q->batch))
			qcow2_refs_begin(&q->refs);
		q->next_ref = 0;
	}
	return qcow2_refs_next(&q->refs, &q->next_ref, out);
}

bool qcow2_flush_write(struct image *im, unsigned int phase, struct image_meta *out)
{
	struct qcow2_image *q = qcow2_of(im);
#if defined(MUTANT_REFS_LATE)
	static const unsigned int order[IMAGE_PHASES_MAX] = { 3, 4, 0, 1, 2, 5 };
#elif defined(MUTANT_TABLE_LATE)
	static const unsigned int order[IMAGE_PHASES_MAX] = { 0, 3, 4, 1, 2, 5 };
#elif defined(MUTANT_HEADER_FIRST)
	static const unsigned int order[IMAGE_PHASES_MAX] = { 0, 2, 1, 3, 4, 5 };
#elif defined(MUTANT_L1_FIRST)
	static const unsigned int order[IMAGE_PHASES_MAX] = { 0, 1, 2, 4, 3, 5 };
#else
	static const unsigned int order[IMAGE_PHASES_MAX] = { 0, 1, 2, 3, 4, 5 };
#endif

	switch (order[phase]) {
	case 0: return write_refs(q, out);
	case 1: return qcow2_table_next(&q->refs.table, q->refs.at, out);
	case 2: return write_header(q, q->move_goes, out);
	case 3: return write_l2(q, out);
	case 4: return qcow2_table_next(&q->l1, q->l.h.l1_at, out);
	default: return write_frees(q, out);
	}
}

/* --- the end --- */

void qcow2_flush_end(struct image *im, int ret)
{
	struct qcow2_image *q = qcow2_of(im);

	for (unsigned int i = 0; i < q->n_slices; i++) {
		struct qcow2_l2 *s = &q->slices[i];

		if (s->is_going && ret) {
			q->n_dirty += !s->dirty;
			s->dirty = true;
		}
		s->is_going = false;
	}
	qcow2_refs_end(&q->refs, ret);
	qcow2_table_end(&q->refs.table, ret);
	qcow2_table_end(&q->l1, ret);
	q->going = false;
	if (ret)
		return;
	if (q->head_goes) {
		q->head_dirty = false;
		q->l.h.autoclear = 0;
	}
	if (q->move_goes)
		q->refs.moved = false;
}
