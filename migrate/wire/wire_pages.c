/* SPDX-License-Identifier: Apache-2.0 */
/* wire_pages - the layout of PAGES: a head, which pages they are, how long each chunk of their bytes is. */
#include "migrate/wire/wire.h"

#include <assert.h>
#include <errno.h>

void wire_put_pages(struct writer *w, const struct wire_pages *p)
{
	size_t before = writer_len(w);
	uint32_t i;

	assert(p->n_runs <= RUNS_MAX && p->n_chunks <= CHUNKS_MAX);
	writer_u32(w, p->region);
	writer_u32(w, p->round);
	writer_u64(w, p->base);
	writer_u16(w, (uint16_t)p->n_runs);
	writer_u16(w, (uint16_t)p->n_chunks);
	writer_u32(w, p->stored);
	for (i = 0; i < p->n_runs; i++) {
		writer_u16(w, p->runs[i].first);
		writer_u16(w, (uint16_t)(p->runs[i].count | (p->runs[i].zero ? RUN_ZERO : 0)));
	}
	for (i = 0; i < p->n_chunks; i++)
		writer_u32(w, p->chunks[i]);
	assert(!w->bad && writer_len(w) - before == PAGES_HEAD_SIZE + 4 * (p->n_runs + p->n_chunks));
}

int wire_get_pages_head(const uint8_t *head, uint32_t length, struct wire_pages *p,
			uint32_t *tables, struct err *e)
{
	struct reader r = reader_make(head, PAGES_HEAD_SIZE);
	uint64_t expected;

	p->region = reader_u32(&r);
	p->round = reader_u32(&r);
	p->base = reader_u64(&r);
	p->n_runs = reader_u16(&r);
	p->n_chunks = reader_u16(&r);
	p->stored = reader_u32(&r);
	if (!p->n_runs || p->n_runs > RUNS_MAX || p->n_chunks > CHUNKS_MAX)
		return err_set(e, -EPROTO, "PAGES: %u runs, %u chunks, expected 1 to %u, 0 to %u",
			       p->n_runs, p->n_chunks, RUNS_MAX, CHUNKS_MAX);
	*tables = 4 * (p->n_runs + p->n_chunks);
	expected = (uint64_t)PAGES_HEAD_SIZE + *tables + p->stored;
	if (length != expected)
		return err_set(e, -EPROTO, "PAGES: length %u, but its parts make %llu", length,
			       (unsigned long long)expected);
	if (p->base % EXTENT_PAGES)
		return err_set(e, -EPROTO, "PAGES: first page %llu, expected a multiple of %u",
			       (unsigned long long)p->base, EXTENT_PAGES);
	return 0;
}

/* Pages of this extent that exist: the region may end inside it. */
static uint32_t extent_limit(uint64_t region_pages, uint64_t base)
{
	if (base >= region_pages)
		return 0;
	return region_pages - base < EXTENT_PAGES ? (uint32_t)(region_pages - base) : EXTENT_PAGES;
}

static int get_runs(struct reader *r, uint32_t limit, struct wire_pages *p, struct err *e)
{
	uint32_t i, next = 0;
	uint16_t v;

	p->data_pages = p->zero_pages = 0;
	for (i = 0; i < p->n_runs; i++) {
		struct wire_run *run = &p->runs[i];

		run->first = reader_u16(r);
		v = reader_u16(r);
		run->zero = v & RUN_ZERO;
		run->count = v & (uint16_t)~RUN_ZERO;
		if (!run->count || run->first < next || (uint32_t)run->first + run->count > limit)
			return err_set(e, -EPROTO,
				       "PAGES: run %u is %u pages at %u, expected it within %u..%u",
				       i, run->count, run->first, next, limit);
		next = (uint32_t)run->first + run->count;
		if (run->zero)
			p->zero_pages += run->count;
		else
			p->data_pages += run->count;
	}
	return 0;
}

uint32_t wire_chunk_raw(const struct wire_pages *p, uint32_t i)
{
	uint32_t all = p->data_pages * GUEST_PAGE, before = i * CHUNK_BYTES;

	assert(p->data_pages <= EXTENT_PAGES && before < all);
	return all - before < CHUNK_BYTES ? all - before : CHUNK_BYTES;
}

int wire_get_pages_tables(struct reader *r, uint64_t region_pages, struct wire_pages *p,
			  struct err *e)
{
	uint32_t i, want, raw;
	uint64_t sum = 0;
	int rc;

	rc = get_runs(r, extent_limit(region_pages, p->base), p, e);
	if (rc)
		return rc;
	want = (p->data_pages * GUEST_PAGE + CHUNK_BYTES - 1) / CHUNK_BYTES;
	if (p->n_chunks != want)
		return err_set(e, -EPROTO, "PAGES: %u chunks for %u data pages, expected %u",
			       p->n_chunks, p->data_pages, want);
	for (i = 0; i < p->n_chunks; i++) {
		p->chunks[i] = reader_u32(r);
		raw = wire_chunk_raw(p, i);
		if (!p->chunks[i] || p->chunks[i] > raw)
			return err_set(e, -EPROTO, "PAGES: chunk %u holds %u bytes, expected 1 to %u",
				       i, p->chunks[i], raw);
		sum += p->chunks[i];
	}
	if (r->bad || sum != p->stored)
		return err_set(e, -EPROTO, "PAGES: chunks hold %llu bytes, the head says %u",
			       (unsigned long long)sum, p->stored);
	return 0;
}
