/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receiver - see receiver.h.
 *
 * Raw pages go from the socket straight to their place: the tables in front of
 * them are checked first, and make a list of vectors.  Only LZ4 blocks take a
 * detour.  The checksum is known last; until the source's FINAL nothing in this
 * memory is believed anyway, and one wrong octet ends the migration.
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
#include "migrate/receiver.h"

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
#define MUCH_DATA 2048u           /* pages on one connection: more will come, it pays to touch memory ahead */

struct receiver {
	struct receiver_pool *pool;
	struct channel *ch;
	uint32_t index;
	pthread_t thread;
	struct wire_pages rec;
	struct wire_final got;
	uint32_t round_records;
	uint16_t order[EXTENT_PAGES];  /* n-th data page of the record: its place in the extent */
	uint8_t *packed;               /* EXTENT_BYTES of LZ4 blocks */
	uint8_t *raw;                  /* CHUNK_BYTES, unpacked but not contiguous */
};

/* --- one PAGES record --- */

static uint8_t *extent_host(const struct receiver *r, uint32_t region)
{
	return r->pool->s->regions[region].host + r->rec.base * GUEST_PAGE;
}

static void list_pages(struct receiver *r)
{
	uint32_t i, k, n = 0;

	for (i = 0; i < r->rec.n_runs; i++)
		for (k = 0; !r->rec.runs[i].zero && k < r->rec.runs[i].count; k++)
			r->order[n++] = (uint16_t)(r->rec.runs[i].first + k);
}

/* Give memory to the pages that are about to be written. Failing is no harm: then faults do it. */
static void populate(struct receiver *r, uint32_t region)
{
	const struct guest_region *gr = &r->pool->s->regions[region];
	struct bitmap *written = &r->pool->written[region];
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
static int page_vectors(const struct receiver *r, uint8_t *host, uint32_t first, uint32_t count,
			struct iovec *iov, int n)
{
	uint8_t *at;
	uint32_t i;

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

static int read_chunks(struct receiver *r, struct channel *ch, uint32_t region, struct err *e)
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
	return n ? channel_takev(ch, iov, n, (int)r->pool->s->dead_ms, e) : 0;
}

static int unpack_chunk(struct receiver *r, uint32_t region, uint32_t i, struct err *e)
{
	uint32_t raw = wire_chunk_raw(&r->rec, i), first = i * CHUNK_PAGES, pages = raw / GUEST_PAGE, k;
	uint8_t *host = extent_host(r, region), *src = r->packed + (size_t)i * CHUNK_BYTES;
	bool together = r->order[first + pages - 1] - r->order[first] == pages - 1;
	uint8_t *dst = together ? host + (size_t)r->order[first] * GUEST_PAGE : r->raw;

	if (!lz4_unpack(src, r->rec.chunks[i], dst, raw))
		return err_set(e, -EPROTO, "PAGES: chunk %u is no LZ4 block of %u octets", i, raw);
	for (k = 0; !together && k < pages; k++)
		memcpy(host + (size_t)r->order[first + k] * GUEST_PAGE, r->raw + (size_t)k * GUEST_PAGE,
		       GUEST_PAGE);
	atomic_fetch_add_explicit(&r->pool->lz4_pages, pages, memory_order_relaxed);
	return 0;
}

static void note_runs(struct receiver *r, uint32_t region)
{
	struct bitmap *written = &r->pool->written[region], *seen = &r->pool->seen[region];
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

static int find_region(const struct receiver *r, uint32_t id, uint32_t *index, struct err *e)
{
	const struct session *s = r->pool->s;
	uint32_t i;

	for (i = 0; i < s->n_regions; i++) {
		if (s->regions[i].id == id) {
			*index = i;
			return 0;
		}
	}
	return err_set(e, -EPROTO, "PAGES: region %u does not exist", id);
}

static int take_tables(struct receiver *r, struct channel *ch, uint32_t length, uint32_t *region,
		       struct err *e)
{
	uint8_t head[PAGES_TABLES_MAX];
	struct session *s = r->pool->s;
	uint32_t tables;
	struct reader rd;
	int rc;

	rc = channel_take(ch, head, PAGES_HEAD_SIZE, (int)s->dead_ms, e);
	if (!rc)
		rc = wire_get_pages_head(head, length, &r->rec, &tables, e);
	if (!rc)
		rc = channel_take(ch, head, tables, (int)s->dead_ms, e);
	if (!rc)
		rc = find_region(r, r->rec.region, region, e);
	if (rc)
		return rc;
	rd = reader_make(head, tables);
	return wire_get_pages_tables(&rd, s->regions[*region].size / GUEST_PAGE, &r->rec, e);
}

int receiver_take_pages(struct receiver *r, struct channel *ch, uint32_t length, struct err *e)
{
	uint32_t region, i;
	int rc;

	rc = take_tables(r, ch, length, &region, e);
	if (rc)
		return rc;
	if (r->rec.round != r->pool->round)
		return err_set(e, -EPROTO, "PAGES: round %u, expected %u", r->rec.round, r->pool->round);
	list_pages(r);
	populate(r, region);
	rc = read_chunks(r, ch, region, e);
	if (!rc)
		rc = channel_end(ch, e);
	for (i = 0; !rc && i < r->rec.n_chunks; i++)
		if (r->rec.chunks[i] != wire_chunk_raw(&r->rec, i))
			rc = unpack_chunk(r, region, i, e);
	if (rc)
		return rc;
	note_runs(r, region);
	if (r->pool->ahead && r->got.data_pages < MUCH_DATA && r->got.data_pages + r->rec.data_pages >= MUCH_DATA)
		ahead_go(r->pool->ahead);
	r->round_records++;
	r->got.records++;
	r->got.zero_pages += r->rec.zero_pages;
	r->got.data_pages += r->rec.data_pages;
	r->got.stored += r->rec.stored;
	atomic_fetch_add_explicit(&r->pool->data_pages, r->rec.data_pages, memory_order_relaxed);
	atomic_fetch_add_explicit(&r->pool->zero_pages, r->rec.zero_pages, memory_order_relaxed);
	return 0;
}

/* --- ends of rounds --- */

static int take_small(struct receiver *r, uint32_t length, uint8_t *buf, struct err *e)
{
	int rc = channel_take(r->ch, buf, length, (int)r->pool->s->dead_ms, e);

	return rc ? rc : channel_end(r->ch, e);
}

static int say_round_done(struct session *s, uint32_t round, struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));

	writer_u32(&w, round);
	writer_u32(&w, 0);
	return session_send(s, WIRE_ROUND_DONE, buf, (uint32_t)writer_len(&w), e);
}

/*
 * No connection goes on before all have come here (docs/stream.md, ROUND_SYNC).
 * The last one tells the source, which must not count as sent what still lies in
 * socket buffers: it would have to be waited for with the vCPUs stopped.
 */
static int barrier(struct receiver *r, uint32_t round, struct err *e)
{
	struct receiver_pool *p = r->pool;
	struct session *s = p->s;
	bool last = false;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (++p->at_barrier == p->n) {
		last = true;
		p->at_barrier = 0;
		p->round = round + 1;
		if (p->ahead)
			ahead_enough(p->ahead);
		pthread_cond_broadcast(&s->cond);
	}
	while (p->round == round && !s->failed && !atomic_load(&s->stop))
		pthread_cond_wait(&s->cond, &s->lock); /* a dead source fails the session */
	if (p->round == round)
		rc = err_set(e, -ECANCELED, "cancelled");
	pthread_mutex_unlock(&s->lock);
	return rc || !last ? rc : say_round_done(s, round, e);
}

static int take_sync(struct receiver *r, uint32_t length, struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	uint32_t round, records;
	struct reader rd;
	int rc;

	rc = take_small(r, length, buf, e);
	if (rc)
		return rc;
	rd = reader_make(buf, length);
	round = reader_u32(&rd);
	records = reader_u32(&rd);
	if (round != r->pool->round || records != r->round_records)
		return err_set(e, -EPROTO, "ROUND_SYNC: %u records in round %u, got %u in round %u", records,
			       round, r->round_records, r->pool->round);
	r->round_records = 0;
	return barrier(r, round, e);
}

static int take_final(struct receiver *r, uint32_t length, struct err *e)
{
	struct session *s = r->pool->s;
	uint8_t buf[WIRE_SMALL_MAX];
	struct wire_final f;
	struct reader rd;
	int rc;

	rc = take_small(r, length, buf, e);
	if (rc)
		return rc;
	rd = reader_make(buf, length);
	wire_get_final(&rd, &f);
	if (f.records != r->got.records || f.zero_pages != r->got.zero_pages ||
	    f.data_pages != r->got.data_pages || f.stored != r->got.stored || f.channel != r->index)
		return err_set(e, -EPROTO,
			       "FINAL: connection %u sent %llu records, %llu zero and %llu data pages; "
			       "%llu, %llu and %llu came on connection %u",
			       f.channel, (unsigned long long)f.records, (unsigned long long)f.zero_pages,
			       (unsigned long long)f.data_pages, (unsigned long long)r->got.records,
			       (unsigned long long)r->got.zero_pages,
			       (unsigned long long)r->got.data_pages, r->index);
	pthread_mutex_lock(&s->lock);
	r->pool->done++;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int take_one(struct receiver *r, bool *end, struct err *e)
{
	/* Beside the control connection's phases, pages may come until FINAL. */
	static const _Atomic int phase = IN_PRECOPY;
	struct wire_header h;
	int rc;

	rc = channel_begin(r->ch, &phase, &h, IDLE_MS, e);
	if (rc)
		return rc;
	if (h.type == WIRE_PAGES)
		return receiver_take_pages(r, r->ch, h.length, e);
	if (h.type == WIRE_ROUND_SYNC)
		return take_sync(r, h.length, e);
	*end = true;
	return take_final(r, h.length, e);
}

static void *receiver_main(void *arg)
{
	struct receiver *r = arg;
	struct err e = { 0 };
	bool end = false;
	int rc = 0;

	while (!rc && !end)
		rc = take_one(r, &end, &e);
	if (rc)
		session_fail(r->pool->s, rc, &e);
	return NULL;
}

/* --- the pool --- */

struct receiver *receiver_create(struct receiver_pool *p, uint32_t index)
{
	struct receiver *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->pool = p;
	r->index = index;
	r->ch = &p->s->data[index];
	r->packed = malloc(EXTENT_BYTES);
	r->raw = malloc(CHUNK_BYTES);
	if (r->packed && r->raw)
		return r;
	receiver_destroy(r);
	return NULL;
}

void receiver_destroy(struct receiver *r)
{
	free(r->packed);
	free(r->raw);
	free(r);
}

/* What has memory already may hold anything: a zero page there must be written. */
static void find_written(struct receiver_pool *p, size_t region)
{
	const struct guest_region *gr = &p->s->regions[region];
	struct bitmap *b = &p->written[region];
	uint64_t extent, absent[EXTENT_WORDS], first, left;
	struct absent a;
	unsigned int i;

	absent_init(&a);
	for (extent = 0; extent < b->n_extents; extent++) {
		first = extent * EXTENT_PAGES;
		left = b->n_pages - first;
		absent_find(&a, gr, first, (uint32_t)(left < EXTENT_PAGES ? left : EXTENT_PAGES), absent);
		for (i = 0; i < EXTENT_WORDS; i++)
			b->words[extent * EXTENT_WORDS + i] = ~absent[i];
	}
	bitmap_trim(b);
	absent_free(&a);
}

int receiver_pool_init(struct receiver_pool *p, struct session *s, struct err *e)
{
	size_t i;

	memset(p, 0, sizeof(*p));
	p->s = s;
	for (i = 0; i < s->n_regions; i++) {
		if (bitmap_init(&p->written[i], s->regions[i].size / GUEST_PAGE) ||
		    bitmap_init(&p->seen[i], s->regions[i].size / GUEST_PAGE))
			return err_set(e, -ENOMEM, "page bitmaps: out of memory");
		p->n_regions++;
		find_written(p, i);
	}
	return 0;
}

int receiver_pool_start(struct receiver_pool *p, struct err *e)
{
	struct receiver *r;
	uint32_t i;

	p->n = p->s->n_data;  /* before the first thread can come to a barrier */
	for (i = 0; i < p->n; i++) {
		r = receiver_create(p, i);
		if (r && !pthread_create(&r->thread, NULL, receiver_main, r)) {
			p->receivers[i] = r;
			continue;
		}
		if (r)
			receiver_destroy(r);
		return err_set(e, -EAGAIN, "cannot start a receiver");
	}
	return 0;
}

bool receiver_pool_done(const struct receiver_pool *p)
{
	return p->done == p->n;
}

int receiver_pool_complete(struct receiver_pool *p, struct err *e)
{
	uint64_t page;
	size_t i;

	for (i = 0; i < p->n_regions; i++)
		if (bitmap_first_clear(&p->seen[i], &page))
			return err_set(e, -EPROTO, "region %u: page %llu never came", p->s->regions[i].id,
				       (unsigned long long)page);
	return 0;
}

void receiver_pool_stop(struct receiver_pool *p)
{
	unsigned int i;

	for (i = 0; i < p->n; i++) {
		if (!p->receivers[i])
			continue;
		pthread_join(p->receivers[i]->thread, NULL);
		receiver_destroy(p->receivers[i]);
		p->receivers[i] = NULL;
	}
	p->n = 0;
}

void receiver_pool_free(struct receiver_pool *p)
{
	size_t i;

	for (i = 0; i < GUEST_REGIONS_MAX; i++) {
		bitmap_free(&p->written[i]);
		bitmap_free(&p->seen[i]);
	}
	p->n_regions = 0;
}
