/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_alloc - clusters of the file found, and counts for them.
 *
 * Tables are made at the end of the file alone, where nothing was ever written: what of them is not written reads as zeroes.
 * A guest's clusters go where there is room.  Blocks of counts that are missing lie behind what is taken, and are counted
 * themselves, in themselves where they have to.  Where the table of blocks is full it moves to the end, larger.
 */
#include "hv/disk/qcow2_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT64_MAX

/* --- at the end --- */

/* @n clusters in a row that were never written and are not counted: a cut may have left counts behind the end of the file. */
static uint64_t fresh_end(const struct qcow2_refs *r, uint64_t n)
{
	uint64_t at = r->end;

	for (uint64_t i = 0; i < n; i++)
		if (qcow2_refs_get(r, at + i) || qcow2_refs_meta(r, at + i)) {
			at += i + 1;
			i = NONE; /* once more, from there */
		}
	return at;
}

/* Blocks that are missing to count @n clusters from @at. */
static uint64_t missing(const struct qcow2_refs *r, uint64_t at, uint64_t n)
{
	uint64_t count = 0;

	for (uint64_t b = at / r->per_block; b <= (at + n - 1) / r->per_block; b++)
		count += b >= r->table.entries || !r->blocks[b].counts;
	return count;
}

/* Where @n clusters go, and *@k blocks behind them. */
static uint64_t find_end(const struct qcow2_refs *r, uint64_t n, uint64_t *k)
{
	uint64_t at = fresh_end(r, n), need;

	for (*k = 0; (need = missing(r, at, n + *k)) > *k; at = fresh_end(r, n + *k))
		*k = need;
	return at;
}

/* Slices that counts for @n clusters make dirty: those in the middle of it, two at the ends, two more where blocks meet. */
static uint64_t slices_of(const struct qcow2_refs *r, uint64_t n)
{
	uint64_t clusters = r->slice * 8ull >> r->l->h.order;

	return n / clusters + 2 + 2 * (n / r->per_block + 1);
}

static int make_blocks(struct qcow2_refs *r, uint64_t first, uint64_t last)
{
	int ret = 0;

	for (uint64_t b = first; !ret && b <= last; b++)
		if (!r->blocks[b].counts)
			ret = qcow2_refs_block_new(r, (uint32_t)b);
	for (uint64_t b = first; ret && b <= last; b++)
		if (!r->table.now[b])
			qcow2_refs_block_end(r, (uint32_t)b);
	return ret;
}

/* -ENOSPC: the table has no entries for them. */
static int take_end(struct qcow2_image *q, uint64_t n, uint64_t *host)
{
	struct qcow2_refs *r = &q->refs;
	uint64_t k, at = find_end(r, n, &k), block = at + n, last = (at + n + k - 1) / r->per_block;
	int ret;

	if (at + n + k > 1ull << (QCOW2_PLACE_BITS - q->l.h.bits))
		return -EFBIG;
	if (last >= r->table.entries)
		return -ENOSPC;
	if (slices_of(r, n + k) > QCOW2_REF_SLICES)
		return -EFBIG;
	if (!qcow2_refs_room(r, (unsigned int)slices_of(r, n + k)))
		return -EAGAIN;
	ret = make_blocks(r, at / r->per_block, last);
	if (ret)
		return ret;
	qcow2_refs_take(r, at, n);
	for (uint64_t b = at / r->per_block; b <= last; b++) {
		if (r->table.now[b])
			continue;
		qcow2_table_set(&r->table, (uint32_t)b, block << q->l.h.bits);
		qcow2_refs_take(r, block, 1);
		qcow2_refs_claim(r, block++, 1);
	}
	*host = at;
	return 0;
}

/* --- a larger table of blocks --- */

static int grow_memory(struct qcow2_refs *r, uint32_t entries)
{
	struct qcow2_block *blocks = calloc(entries, sizeof(*blocks));
	uint32_t were = r->table.entries;

	if (!blocks || qcow2_table_grow(&r->table, entries)) {
		free(blocks);
		return -ENOMEM;
	}
	memcpy(blocks, r->blocks, were * sizeof(*blocks));
	free(r->blocks);
	r->blocks = blocks;
	return 0;
}

/* Clusters of one that has entries for all of the file, and some more. */
static uint64_t larger(const struct qcow2_image *q)
{
	uint32_t had = q->l.h.table_clusters, max = QCOW2_TABLE_BYTES >> q->l.h.bits;
	uint64_t want = q->refs.end / q->refs.per_block / q->l.l2_entries + had / 4 + 2;

	want = want > had ? want : had + 1;
	return want > max ? max : want;
}

static int grow(struct qcow2_image *q)
{
	struct qcow2_refs *r = &q->refs;
	uint32_t were = r->table.entries, had = q->l.h.table_clusters, clusters = (uint32_t)larger(q);
	uint64_t host, at = r->at >> q->l.h.bits;
	int ret;

	if (clusters <= had)
		return -EFBIG;
	if (q->going) /* its sectors are on their way */
		return -EAGAIN;
	ret = grow_memory(r, clusters * q->l.l2_entries);
	if (ret)
		return ret;
	ret = take_end(q, clusters, &host);
	if (ret) {
		r->table.entries = were; /* none behind it is in use */
		r->table.n_sectors = were / (IMAGE_SECTOR / 8);
		return ret == -ENOSPC ? -EFBIG : ret;
	}
	qcow2_free(q, at, had);
	qcow2_refs_claim(r, host, clusters);
	q->l.h.table_clusters = clusters;
	q->l.h.table_at = r->at = host << q->l.h.bits;
	r->moved = true;
	return 0;
}

int qcow2_alloc_fresh(struct qcow2_image *q, uint32_t n, bool meta, uint64_t *host)
{
	int ret = take_end(q, n, host);

	if (ret == -ENOSPC) {
		ret = grow(q);
		if (!ret)
			ret = take_end(q, n, host);
	}
	if (!ret && meta)
		qcow2_refs_claim(&q->refs, *host, n);
	return ret == -ENOSPC ? -EFBIG : ret;
}

/* --- anywhere --- */

static bool is_free(const struct qcow2_refs *r, uint64_t host)
{
	return host / r->per_block < r->table.entries && r->blocks[host / r->per_block].counts && !qcow2_refs_get(r, host) &&
	       !qcow2_refs_meta(r, host);
}

bool qcow2_alloc_reuses(struct qcow2_image *q)
{
	struct qcow2_refs *r = &q->refs;

	while (r->hint < r->end && !is_free(r, r->hint))
		r->hint++;
	return r->hint < r->end;
}

int qcow2_alloc(struct qcow2_image *q, uint64_t *host, uint32_t *n)
{
	struct qcow2_refs *r = &q->refs;
	uint32_t got = 1;

	if (!qcow2_alloc_reuses(q))
		return qcow2_alloc_fresh(q, *n, false, host);
	while (got < *n && r->hint + got < r->end && is_free(r, r->hint + got))
		got++;
	if (!qcow2_refs_room(r, (unsigned int)slices_of(r, got)))
		return -EAGAIN;
	*host = r->hint;
	*n = got;
	qcow2_refs_take(r, *host, got);
	r->hint += got;
	return 0;
}

/* What is left dirty where there is no room for that is a count too many: it costs space until the image is checked. */
void qcow2_alloc_back(struct qcow2_image *q, uint64_t host, uint64_t n)
{
	while (n--)
		qcow2_refs_drop(&q->refs, host++);
}
