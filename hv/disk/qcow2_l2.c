/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_l2 - parts of L2 tables in memory: those that will be changed, those that are dirty, those used last.
 *
 * How many there are is fixed when the image is opened.  Who finds none free has to wait until the dirty ones are
 * written; so there is never more to write than fits here.
 */
#include "hv/disk/qcow2_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLICES_MIN 64u

/* --- room --- */

static uint32_t slice_bytes(const struct qcow2_image *q)
{
	return q->per_slice * 8;
}

static uint64_t slices_of_disk(const struct qcow2_image *q)
{
	return (q->l.guest_clusters + q->per_slice - 1) / q->per_slice;
}

int qcow2_l2_init(struct qcow2_image *q)
{
	uint32_t size = q->l.cluster < QCOW2_SLICE ? q->l.cluster : QCOW2_SLICE;

	q->per_slice = size / 8;
	q->n_slices = QCOW2_L2_SLICES_BYTES / QCOW2_SLICE;
	if (q->n_slices > slices_of_disk(q))
		q->n_slices = (unsigned int)slices_of_disk(q);
	if (q->n_slices < SLICES_MIN)
		q->n_slices = SLICES_MIN;
	q->slices = calloc(q->n_slices, sizeof(*q->slices));
	if (!q->slices || posix_memalign(&q->l2_room, IMAGE_ALIGN, 2ull * size * q->n_slices))
		return -ENOMEM;
	for (unsigned int i = 0; i < q->n_slices; i++) {
		q->slices[i].q = q;
		q->slices[i].entries = (uint64_t *)((uint8_t *)q->l2_room + 2ull * size * i);
		q->slices[i].going = q->slices[i].entries + q->per_slice;
	}
	return 0;
}

void qcow2_l2_exit(struct qcow2_image *q)
{
	free(q->slices);
	free(q->l2_room);
}

static struct qcow2_l2 **bucket(struct qcow2_image *q, uint64_t number)
{
	return &q->hash[number % QCOW2_HASH];
}

static struct qcow2_l2 *find(struct qcow2_image *q, uint64_t number)
{
	struct qcow2_l2 *s = *bucket(q, number);

	while (s && s->number != number)
		s = s->next;
	return s;
}

static void forget(struct qcow2_l2 *s)
{
	struct qcow2_l2 **p = bucket(s->q, s->number);

	assert(s->used && !s->users && !s->dirty && !s->is_going && !s->loading);
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	s->used = false;
}

/* One that is free, or that has not been used for longest; NULL: each is in use or dirty. */
static struct qcow2_l2 *take(struct qcow2_image *q, uint64_t number)
{
	struct qcow2_l2 *best = NULL;

	for (unsigned int i = 0; i < q->n_slices; i++) {
		struct qcow2_l2 *s = &q->slices[i];

		if (!s->used) {
			best = s;
			break;
		}
		if (!s->users && !s->dirty && !s->is_going && !s->loading && !s->failed && (!best || s->last < best->last))
			best = s;
	}
	if (!best)
		return NULL;
	if (best->used)
		forget(best);
	best->used = true;
	best->number = number;
	best->failed = 0;
	best->next = *bucket(q, number);
	*bucket(q, number) = best;
	return best;
}

/* --- reading --- */

static void loaded(struct image_io *io, int ret)
{
	struct qcow2_l2 *s = (struct qcow2_l2 *)io;

	s->loading = false;
	s->mark = 0;
	s->failed = ret;
	image_wake(&s->q->image);
	/* Who waited has been told; the next one may try again. */
	if (ret)
		forget(s);
}

uint64_t qcow2_l2_place(const struct qcow2_image *q, const struct qcow2_l2 *s)
{
	uint64_t guest = s->number * q->per_slice;

	return (qcow2_l1_entry(q, guest) & QCOW2_PLACE) + guest % q->l.l2_entries * 8;
}

static int load(struct qcow2_image *q, struct qcow2_l2 *s)
{
	int ret;

	s->iov = (struct iovec){ s->entries, slice_bytes(q) };
	s->io.req = (struct block_req){
		.op = BLOCK_READ,
		.offset = qcow2_l2_place(q, s),
		.len = slice_bytes(q),
		.iov = &s->iov,
		.n_iov = 1,
		.past_end = true, /* its table may be there since a moment ago, and on its way to the disk */
	};
	s->io.done = loaded;
	s->loading = true;
	s->mark = qcow2_mark(q);
	ret = image_io_start(&q->image, &s->io);
	if (ret) {
		s->loading = false;
		s->mark = 0;
		forget(s);
	}
	return ret;
}

/* --- a table --- */

static int new_table(struct qcow2_image *q, uint64_t guest, struct qcow2_l2 *s)
{
	uint64_t host;
	int ret = qcow2_alloc_fresh(q, 1, true, &host);

	if (ret) {
		forget(s);
		return ret;
	}
	qcow2_table_set(&q->l1, (uint32_t)(guest / q->l.l2_entries), host << q->l.h.bits | QCOW2_COPIED);
	memset(s->entries, 0, slice_bytes(q));
	/* Written in any case: no L1 table is to name a cluster behind the end of the file. */
	s->dirty = true;
	q->n_dirty++;
	return 0;
}

static int found(struct qcow2_image *q, struct qcow2_l2 *s, struct qcow2_l2 **out)
{
	s->last = ++q->use_clock;
	*out = s;
	return s->failed;
}

int qcow2_l2_new(struct qcow2_image *q, uint64_t guest, struct qcow2_l2 **out)
{
	struct qcow2_l2 *s = take(q, guest / q->per_slice);
	int ret = s ? new_table(q, guest, s) : -EAGAIN;

	return ret ? ret : found(q, s, out);
}

int qcow2_l2_slice(struct qcow2_image *q, uint64_t guest, struct qcow2_l2 **out)
{
	struct qcow2_l2 *s = find(q, guest / q->per_slice);
	int ret = 0;

	if (!s) {
		s = take(q, guest / q->per_slice);
		ret = s ? load(q, s) : -EAGAIN;
	}
	return ret ? ret : found(q, s, out);
}

void qcow2_l2_set(struct qcow2_image *q, struct qcow2_l2 *s, uint64_t guest, uint64_t entry)
{
	uint64_t was = qcow2_l2_entry(q, s, guest);

	assert(s->number == guest / q->per_slice);
	if (was == entry)
		return;
	s->entries[guest % q->per_slice] = htobe64(entry);
	q->n_dirty += !s->dirty;
	s->dirty = true;
	qcow2_free_entry(q, was);
}
