/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_free - clusters that something referred to, on their way to being free.
 *
 * Two things must be over before one is written to by anybody else: tables on the disk refer to it until a flush has
 * written them; and a request may have been told to read or write there a moment ago.  So each that begins has a mark, each
 * cluster that becomes free has a stamp, both of one clock, and a cluster waits for those with older marks.
 * Who finds no room here leaves the cluster counted: that loses space, and no data.
 */
#include "hv/disk/qcow2_int.h"

#include <stdlib.h>

void qcow2_free(struct qcow2_image *q, uint64_t host, uint64_t n)
{
	struct qcow2_free *last = q->n_frees ? &q->frees[q->n_frees - 1] : NULL;

#ifdef MUTANT_FREE_AT_ONCE
	qcow2_alloc_back(q, host, n);
	return;
#endif
	q->clock++;
	/* Not with one of a flush that is under way: it would be kept back with this one. */
	if (last && last->host + last->n == host && last->stamp > q->batch) {
		last->n += n;
		last->stamp = q->clock;
	} else if (q->n_frees < QCOW2_FREES_MAX) {
		q->frees[q->n_frees++] = (struct qcow2_free){ host, n, q->clock };
	}
}

void qcow2_free_entry(struct qcow2_image *q, uint64_t entry)
{
	uint64_t at, first;
	uint32_t len, skip;

	if (entry & QCOW2_ZIP) {
		if (!qcow2_zip_span(&q->l, entry, &at, &len, &skip))
			return;
		first = at >> q->l.h.bits;
		qcow2_free(q, first, ((at + len - 1) >> q->l.h.bits) - first + 1);
		qcow2_zip_forget(q, entry);
	} else if (entry & QCOW2_PLACE) {
		qcow2_free(q, (entry & QCOW2_PLACE) >> q->l.h.bits, 1);
	}
}

/* The oldest that is under way; UINT64_MAX: nothing is. */
static uint64_t oldest(const struct qcow2_image *q)
{
	uint64_t min = UINT64_MAX;

#define SEEN(m)                       \
	do {                          \
		if ((m) && (m) < min) \
			min = (m);    \
	} while (0)
	for (unsigned int i = 0; i < q->image.depth; i++)
		SEEN(q->image.reqs[i].mark);
	for (unsigned int i = 0; i < q->n_slices; i++)
		SEEN(q->slices[i].mark);
	for (unsigned int i = 0; i < q->n_copies; i++)
		SEEN(q->copies[i].mark);
	for (unsigned int i = 0; i < q->n_zips; i++)
		SEEN(q->zips[i].mark);
#undef SEEN
	return min;
}

/* Return: false: no room; what is left of it is in @f */
static bool drop(struct qcow2_image *q, struct qcow2_free *f)
{
	for (; f->n; f->host++, f->n--)
		if (!qcow2_refs_drop(&q->refs, f->host))
			return false;
	return true;
}

bool qcow2_frees_apply(struct qcow2_image *q, uint64_t batch)
{
	uint64_t min = oldest(q);
	unsigned int kept = 0;
	bool some = false;

	for (unsigned int i = 0; i < q->n_frees; i++) {
		struct qcow2_free *f = &q->frees[i];

#ifdef MUTANT_NO_MARKS
		min = UINT64_MAX;
#endif
		bool now = f->stamp <= batch && f->stamp <= min;

		some |= now;
		if (!now || !drop(q, f))
			q->frees[kept++] = *f;
	}
	q->n_frees = kept;
	return some;
}
