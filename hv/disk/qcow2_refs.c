/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_refs - how often each cluster of the file is referred to, in memory, as it will be on the disk.
 *
 * Counts in memory may be more than tables on the disk refer to, never less: one is added before anything refers to the cluster, and
 * taken away when what referred to it is gone from the disk (qcow2_flush.c).  So they may be written at any time, and
 * what a power cut leaves is at worst a cluster that is counted and not used.
 *
 * What has changed waits in slices, of which there are QCOW2_REF_SLICES; who finds none waits for a flush.
 */
#include "hv/disk/qcow2_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- counts as they lie on the disk --- */

/* [QCOW2], Refcount block entry: the first of a byte is in its lowest bits. */
uint64_t qcow2_refs_count(const uint8_t *block, uint32_t i, uint32_t order)
{
	uint64_t v = 0;

	if (order < 3)
		return block[(i << order) / 8] >> ((i << order) % 8) & ((1u << (1u << order)) - 1);
	for (uint32_t k = 0; k < 1u << (order - 3); k++)
		v = v << 8 | block[((size_t)i << (order - 3)) + k];
	return v;
}

void qcow2_refs_put(uint8_t *block, uint32_t i, uint32_t order, uint64_t count)
{
	uint32_t bytes, shift, mask;

	if (order < 3) {
		shift = (i << order) % 8;
		mask = ((1u << (1u << order)) - 1) << shift;
		block[(i << order) / 8] = (uint8_t)((block[(i << order) / 8] & ~mask) | (count << shift & mask));
		return;
	}
	bytes = 1u << (order - 3);
	for (uint32_t k = bytes; k--; count >>= 8)
		block[(size_t)i * bytes + k] = (uint8_t)count;
}

/* --- memory --- */

int qcow2_refs_init(struct qcow2_refs *r, const struct qcow2_layout *l, uint32_t entries)
{
	r->l = l;
	r->per_block = (uint32_t)(l->cluster * 8ull >> l->h.order);
	r->slice = l->cluster < QCOW2_SLICE ? l->cluster : QCOW2_SLICE;
	r->blocks = calloc(entries, sizeof(*r->blocks));
	if (!r->blocks || qcow2_table_init(&r->table, entries) ||
	    posix_memalign(&r->room, IMAGE_ALIGN, (size_t)QCOW2_REF_SLICES * r->slice))
		return -ENOMEM;
	for (unsigned int i = 0; i < QCOW2_REF_SLICES; i++)
		r->dirty[i].data = (uint8_t *)r->room + (size_t)i * r->slice;
	return 0;
}

void qcow2_refs_exit(struct qcow2_refs *r)
{
	for (uint32_t i = 0; r->blocks && i < r->table.entries; i++)
		qcow2_refs_block_end(r, i);
	free(r->blocks);
	qcow2_table_exit(&r->table);
	free(r->room);
	r->blocks = NULL;
	r->room = NULL;
}

void qcow2_refs_block_end(struct qcow2_refs *r, uint32_t i)
{
	struct qcow2_block *b = &r->blocks[i];

	if (b->counts)
		r->bytes -= r->l->cluster + r->per_block / 8ull + 1;
	free(b->counts);
	free(b->meta);
	*b = (struct qcow2_block){ 0 };
}

int qcow2_refs_block_new(struct qcow2_refs *r, uint32_t i)
{
	struct qcow2_block *b = &r->blocks[i];
	uint64_t bytes = r->l->cluster + r->per_block / 8ull + 1;

	if (r->bytes + bytes > QCOW2_REFS_BYTES)
		return -EFBIG;
	b->counts = calloc(1, r->l->cluster);
	b->meta = calloc(1, r->per_block / 8 + 1);
	if (b->counts && b->meta) {
		r->bytes += bytes;
		return 0;
	}
	r->bytes += bytes;
	if (!b->counts)
		r->bytes -= bytes;
	qcow2_refs_block_end(r, i);
	return -ENOMEM;
}

/* --- tables have places of their own --- */

bool qcow2_refs_claim(struct qcow2_refs *r, uint64_t host, uint64_t n)
{
	for (; n; host++, n--) {
		struct qcow2_block *b = host / r->per_block < r->table.entries ? &r->blocks[host / r->per_block] : NULL;

		/* not counted: then it is no cluster that we will ever take, but the next of these would be as good */
		if (!b || !b->counts || qcow2_bit(b->meta, host % r->per_block))
			return false;
		qcow2_bit_set(b->meta, host % r->per_block);
	}
	return true;
}

bool qcow2_refs_meta(const struct qcow2_refs *r, uint64_t host)
{
	const struct qcow2_block *b;

	if (!r->blocks || host / r->per_block >= r->table.entries)
		return false;
	b = &r->blocks[host / r->per_block];
	return b->meta && qcow2_bit(b->meta, host % r->per_block);
}

uint64_t qcow2_refs_get(const struct qcow2_refs *r, uint64_t host)
{
	uint64_t i = host / r->per_block;

	if (i >= r->table.entries || !r->blocks[i].counts)
		return 0;
	return qcow2_refs_count(r->blocks[i].counts, (uint32_t)(host % r->per_block), r->l->h.order);
}

/* --- what has changed --- */

bool qcow2_refs_room(const struct qcow2_refs *r, unsigned int n)
{
	return r->n_dirty + n <= QCOW2_REF_SLICES;
}

static struct qcow2_ref_slice *slice_find(struct qcow2_refs *r, uint32_t block, uint32_t slice)
{
	struct qcow2_ref_slice *s = &r->dirty[r->last];

	if (s->used && s->block == block && s->slice == slice)
		return s;
	for (unsigned int i = 0; i < QCOW2_REF_SLICES; i++) {
		s = &r->dirty[i];
		if (s->used && s->block == block && s->slice == slice) {
			r->last = i;
			return s;
		}
	}
	return NULL;
}

static bool slice_dirty(struct qcow2_refs *r, uint64_t host)
{
	uint32_t block = (uint32_t)(host / r->per_block);
	uint32_t slice = (uint32_t)((host % r->per_block << r->l->h.order) / 8 / r->slice);
	struct qcow2_ref_slice *s = slice_find(r, block, slice);

	if (!s && qcow2_refs_room(r, 1)) {
		for (s = r->dirty; s->used; s++)
			;
		*s = (struct qcow2_ref_slice){ .block = block, .slice = slice, .used = true, .data = s->data };
		r->n_dirty++;
	}
	if (s)
		s->dirty = true;
	return s;
}

/* Its slice is dirty as well. */
static bool set(struct qcow2_refs *r, uint64_t host, uint64_t count)
{
	if (!slice_dirty(r, host))
		return false;
	qcow2_refs_put(r->blocks[host / r->per_block].counts, (uint32_t)(host % r->per_block), r->l->h.order, count);
	return true;
}

/* --- changing --- */

void qcow2_refs_take(struct qcow2_refs *r, uint64_t host, uint64_t n)
{
	for (uint64_t i = host; i < host + n; i++) {
		bool ok;

		assert(!qcow2_refs_get(r, i));
		ok = set(r, i, 1);
		assert(ok);
	}
	if (host + n > r->end)
		r->end = host + n;
}

bool qcow2_refs_drop(struct qcow2_refs *r, uint64_t host)
{
	uint64_t count = qcow2_refs_get(r, host);

	if (!count) /* a lie of the image's; nobody takes it from those who refer to it */
		return true;
	if (!set(r, host, count - 1))
		return false;
	if (count == 1) {
		qcow2_bit_clear(r->blocks[host / r->per_block].meta, host % r->per_block);
		if (host < r->hint)
			r->hint = host;
	}
	return true;
}

/* --- on the way to the disk --- */

void qcow2_refs_begin(struct qcow2_refs *r)
{
	for (unsigned int i = 0; i < QCOW2_REF_SLICES; i++) {
		struct qcow2_ref_slice *s = &r->dirty[i];

		if (!s->used || !s->dirty)
			continue;
		memcpy(s->data, r->blocks[s->block].counts + (size_t)s->slice * r->slice, r->slice);
		s->dirty = false;
		s->going = true;
	}
}

bool qcow2_refs_next(struct qcow2_refs *r, unsigned int *next, struct image_meta *out)
{
	while (*next < QCOW2_REF_SLICES) {
		struct qcow2_ref_slice *s = &r->dirty[(*next)++];

		if (!s->going)
			continue;
		*out = (struct image_meta){ qcow2_table_get(&r->table, s->block) + (uint64_t)s->slice * r->slice, s->data, r->slice };
		return true;
	}
	return false;
}

void qcow2_refs_end(struct qcow2_refs *r, int ret)
{
	for (unsigned int i = 0; i < QCOW2_REF_SLICES; i++) {
		struct qcow2_ref_slice *s = &r->dirty[i];

		if (!s->going)
			continue;
		s->going = false;
		s->dirty |= ret != 0;
		s->used = s->dirty;
		r->n_dirty -= !s->used;
	}
}
