/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_receive - PAGES records into guest memory, the destination's end of the stream.
 *
 * Raw pages go from the socket straight to their place: the tables in front of
 * them are checked first, and make a list of vectors.  Only LZ4 blocks take a
 * detour.  The checksum is known last; until the source's FINAL nothing in this
 * memory is believed anyway, and one wrong byte ends the migration.
 *
 *      runs      |A B|  |C D E|            chunk 0 = A B C D E ... (16 pages)
 *      vectors   raw:  [A B] [C D E] ...   straight from the socket
 *                LZ4:  [packed]            then unpacked: in place if its pages
 *                                          lie side by side, else scattered
 *
 * Memory is populated just before it is needed and a whole run (or huge page)
 * at a time: a page fault inside recvmsg() costs many times more.  A zero page
 * that was never written is left alone.
 */
#include "migrate/transport/stream_pages.h"

#include "migrate/wire/codec.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* A quiet data connection is no fault; that the peer lives is seen on the control connection. */
#define IDLE_MS INT_MAX
#define CHUNK_PAGES (CHUNK_BYTES / GUEST_PAGE)
#define HUGE_PAGE (2u << 20)
#define MUCH_DATA 2048u /* pages on one connection: more will come, it pays to touch memory ahead */

struct page_receiver {
	struct page_sink *sink;
	struct channel *ch;
	uint32_t index;
	struct wire_pages rec;
	struct wire_final got;
	uint32_t round_records;
	uint16_t order[EXTENT_PAGES]; /* n-th data page of the record: its place in the extent */
	uint8_t *packed;              /* EXTENT_BYTES of LZ4 blocks */
	uint8_t *raw;                 /* CHUNK_BYTES, unpacked but not contiguous */
};

/* --- one PAGES record --- */

static uint8_t *extent_host(const struct page_receiver *r, uint32_t region)
{
	assert(region < r->sink->n_regions);
	return r->sink->regions[region].host + r->rec.base * GUEST_PAGE;
}

static void list_pages(struct page_receiver *r)
{
	uint32_t i, k, n = 0;

	for (i = 0; i < r->rec.n_runs; i++)
		for (k = 0; !r->rec.runs[i].zero && k < r->rec.runs[i].count; k++)
			r->order[n++] = (uint16_t)(r->rec.runs[i].first + k);
	assert(n == r->rec.data_pages); /* the tables were checked: wire_get_pages_tables() */
}

/* Give memory to the pages that are about to be written. Failing is no harm: then faults do it. */
static void populate(struct page_receiver *r, uint32_t region)
{
	const struct guest_region *gr = &r->sink->regions[region];
	struct bitmap *written = &r->sink->written[region];
	uint64_t base = r->rec.base;
	const struct wire_run *run;
	uint32_t i;

	if (gr->page_size >= HUGE_PAGE) {
		if (r->rec.data_pages && bitmap_extent_empty(written, base / EXTENT_PAGES) &&
		    gr->size / GUEST_PAGE - base >= EXTENT_PAGES)
			madvise(extent_host(r, region), EXTENT_BYTES, MADV_POPULATE_WRITE);
		return;
	}
	for (i = 0; i < r->rec.n_runs; i++) {
		run = &r->rec.runs[i];
		if (!run->zero && run->count > 1 && !bitmap_test(written, base + run->first))
			madvise(extent_host(r, region) + (size_t)run->first * GUEST_PAGE,
				(size_t)run->count * GUEST_PAGE, MADV_POPULATE_WRITE);
	}
}

/* Vectors for the pages [@first, @first + @count) in order, neighbours joined. */
static int page_vectors(const struct page_receiver *r, uint8_t *host, uint32_t first, uint32_t count,
			struct iovec *iov, int n)
{
	uint8_t *at;
	uint32_t i;

	assert(first + count <= r->rec.data_pages);
	for (i = first; i < first + count; i++) {
		at = host + (size_t)r->order[i] * GUEST_PAGE;
		if (n && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == at) {
			iov[n - 1].iov_len += GUEST_PAGE;
			continue;
		}
		iov[n++] = (struct iovec){ at, GUEST_PAGE };
	}
	return n;
}

static int read_chunks(struct page_receiver *r, uint32_t region, struct err *e)
{
	struct iovec iov[EXTENT_PAGES + CHUNKS_MAX];
	uint8_t *host = extent_host(r, region);
	uint32_t i, raw;
	int n = 0;

	for (i = 0; i < r->rec.n_chunks; i++) {
		raw = wire_chunk_raw(&r->rec, i);
		if (r->rec.chunks[i] == raw)
			n = page_vectors(r, host, i * CHUNK_PAGES, raw / GUEST_PAGE, iov, n);
		else
			iov[n++] = (struct iovec){ r->packed + (size_t)i * CHUNK_BYTES,
						   r->rec.chunks[i] };
	}
	assert(n <= (int)(EXTENT_PAGES + CHUNKS_MAX));
	return n ? channel_takev(r->ch, iov, n, r->sink->dead_ms, e) : 0;
}

static int unpack_chunk(struct page_receiver *r, uint32_t region, uint32_t i, struct err *e)
{
	uint32_t raw = wire_chunk_raw(&r->rec, i), first = i * CHUNK_PAGES, pages = raw / GUEST_PAGE, k;
	uint8_t *host = extent_host(r, region), *src = r->packed + (size_t)i * CHUNK_BYTES;
	bool together = r->order[first + pages - 1] - r->order[first] == pages - 1;
	uint8_t *dst = together ? host + (size_t)r->order[first] * GUEST_PAGE : r->raw;

	assert(pages && first + pages <= r->rec.data_pages);
	if (!lz4_unpack(src, r->rec.chunks[i], dst, raw))
		return err_set(e, -EPROTO, "PAGES: chunk %u is no LZ4 block of %u bytes", i, raw);
	for (k = 0; !together && k < pages; k++)
		memcpy(host + (size_t)r->order[first + k] * GUEST_PAGE, r->raw + (size_t)k * GUEST_PAGE,
		       GUEST_PAGE);
	atomic_fetch_add_explicit(&r->sink->lz4_pages, pages, memory_order_relaxed);
	return 0;
}

static void note_runs(struct page_receiver *r, uint32_t region)
{
	struct bitmap *written = &r->sink->written[region], *seen = &r->sink->seen[region];
	const struct wire_run *run;
	uint64_t page;
	uint32_t i, k;

	for (i = 0; i < r->rec.n_runs; i++) {
		run = &r->rec.runs[i];
		page = r->rec.base + run->first;
		bitmap_set_range(seen, page, run->count);
		if (!run->zero) {
			bitmap_set_range(written, page, run->count);
			continue;
		}
		for (k = 0; k < run->count; k++)
			if (bitmap_test(written, page + k))
				memset(extent_host(r, region) + (size_t)(run->first + k) * GUEST_PAGE, 0,
				       GUEST_PAGE);
	}
}

static int find_region(const struct page_receiver *r, uint32_t id, uint32_t *index, struct err *e)
{
	const struct page_sink *s = r->sink;
	uint32_t i;

	for (i = 0; i < s->n_regions; i++) {
		if (s->regions[i].id == id) {
			*index = i;
			return 0;
		}
	}
	return err_set(e, -EPROTO, "PAGES: region %u does not exist", id);
}

static int take_tables(struct page_receiver *r, uint32_t length, uint32_t *region,
		       struct err *e)
{
	uint8_t head[PAGES_TABLES_MAX];
	const struct page_sink *s = r->sink;
	uint32_t tables;
	struct reader rd;
	int rc;

	rc = channel_take(r->ch, head, PAGES_HEAD_SIZE, s->dead_ms, e);
	if (!rc)
		rc = wire_get_pages_head(head, length, &r->rec, &tables, e);
	if (!rc)
		rc = channel_take(r->ch, head, tables, s->dead_ms, e);
	if (!rc)
		rc = find_region(r, r->rec.region, region, e);
	if (rc)
		return rc;
	rd = reader_make(head, tables);
	return wire_get_pages_tables(&rd, s->regions[*region].size / GUEST_PAGE, &r->rec, e);
}

int stream_receiver_take_pages(struct page_receiver *r, uint32_t round, uint32_t length, struct err *e)
{
	uint32_t region, i;
	int rc;

	rc = take_tables(r, length, &region, e);
	if (rc)
		return rc;
	if (r->rec.round != round)
		return err_set(e, -EPROTO, "PAGES: round %u, expected %u", r->rec.round, round);
	list_pages(r);
	populate(r, region);
	rc = read_chunks(r, region, e);
	if (!rc)
		rc = channel_end(r->ch, e);
	for (i = 0; !rc && i < r->rec.n_chunks; i++)
		if (r->rec.chunks[i] != wire_chunk_raw(&r->rec, i))
			rc = unpack_chunk(r, region, i, e);
	if (rc)
		return rc;
	note_runs(r, region);
	if (r->sink->prefault && r->got.data_pages < MUCH_DATA && r->got.data_pages + r->rec.data_pages >= MUCH_DATA)
		prefault_go(r->sink->prefault);
	r->round_records++;
	r->got.records++;
	r->got.zero_pages += r->rec.zero_pages;
	r->got.data_pages += r->rec.data_pages;
	r->got.stored += r->rec.stored;
	atomic_fetch_add_explicit(&r->sink->data_pages, r->rec.data_pages, memory_order_relaxed);
	atomic_fetch_add_explicit(&r->sink->zero_pages, r->rec.zero_pages, memory_order_relaxed);
	return 0;
}

/* --- marks --- */

static int take_small(struct page_receiver *r, uint32_t length, uint8_t *buf, struct reader *rd, struct err *e)
{
	int rc = channel_take(r->ch, buf, length, r->sink->dead_ms, e);

	*rd = reader_make(buf, length);
	return rc ? rc : channel_end(r->ch, e);
}

static int take_sync(struct page_receiver *r, uint32_t round, uint32_t length, struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct wire_sync sync;
	struct reader rd;
	int rc;

	rc = take_small(r, length, buf, &rd, e);
	if (rc)
		return rc;
	wire_get_sync(&rd, &sync);
	if (sync.round != round || sync.records != r->round_records)
		return err_set(e, -EPROTO, "ROUND_SYNC: %u records in round %u, got %u in round %u", sync.records,
			       sync.round, r->round_records, round);
	r->round_records = 0;
	return 0;
}

static int take_final(struct page_receiver *r, uint32_t round, uint32_t length, struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct wire_final f;
	struct reader rd;
	int rc;

	rc = take_small(r, length, buf, &rd, e);
	if (rc)
		return rc;
	wire_get_final(&rd, &f);
	if (f.round != round)
		return err_set(e, -EPROTO, "FINAL: round %u, expected %u", f.round, round);
	if (f.records != r->got.records || f.zero_pages != r->got.zero_pages ||
	    f.data_pages != r->got.data_pages || f.stored != r->got.stored || f.channel != r->index)
		return err_set(e, -EPROTO,
			       "FINAL: connection %u sent %llu records, %llu zero and %llu data pages; "
			       "%llu, %llu and %llu came on connection %u",
			       f.channel, (unsigned long long)f.records, (unsigned long long)f.zero_pages,
			       (unsigned long long)f.data_pages, (unsigned long long)r->got.records,
			       (unsigned long long)r->got.zero_pages,
			       (unsigned long long)r->got.data_pages, r->index);
	return 0;
}

/* --- the row's hooks --- */

int stream_receiver_receive(struct page_receiver *r, uint32_t round, struct page_mark *m, struct err *e)
{
	/* Beside the control connection's phases, pages may come until FINAL. */
	static const _Atomic int phase = IN_PRECOPY;
	struct wire_header h;
	int rc;

	do {
		rc = channel_begin(r->ch, &phase, &h, IDLE_MS, e);
		if (!rc && h.type == WIRE_PAGES)
			rc = stream_receiver_take_pages(r, round, h.length, e);
	} while (!rc && h.type == WIRE_PAGES);
	if (rc)
		return rc;
	*m = (struct page_mark){ .round = round, .final = h.type == WIRE_FINAL };
	return m->final ? take_final(r, round, h.length, e) : take_sync(r, round, h.length, e);
}

struct page_receiver *stream_receiver_create(struct page_sink *sink, struct channel *ch, uint32_t index)
{
	struct page_receiver *r = calloc(1, sizeof(*r));

	assert(index < WIRE_CHANNELS_MAX);
	if (!r)
		return NULL;
	r->sink = sink;
	r->index = index;
	r->ch = ch;
	r->packed = malloc(EXTENT_BYTES);
	r->raw = malloc(CHUNK_BYTES);
	if (r->packed && r->raw)
		return r;
	stream_receiver_destroy(r);
	return NULL;
}

void stream_receiver_destroy(struct page_receiver *r)
{
	free(r->packed);
	free(r->raw);
	free(r);
}
