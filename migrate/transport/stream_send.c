/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_send - pages of an extent as PAGES records (docs/stream.md), the source's end of the stream.
 *
 * Each page is looked at: zero, or copied to the gather buffer; then packed or not, and sent.
 *
 * Pages are copied before they are sent because the guest goes on writing: the
 * checksum must be over what leaves, and the kernel reads a buffer again when
 * it retransmits.  The copy stays in the cache, memory is read once.
 */
#include "migrate/transport/stream_pages.h"

#include "base/clock.h"
#include "migrate/wire/codec.h"

#include <assert.h>
#include <stdlib.h>

/*
 * A data connection may stand for long while its peer is well: the other side reads on only when all
 * connections have come to the end of a round, or has to make room first.  Whether the peer lives, the control
 * connection's heartbeat knows, and its end cuts the others.
 */
#define STALL_MS 60000
/* Data pages per record: 512 KiB stay in a core's second-level cache between copy, checksum and send. */
#define RECORD_PAGES 128u
#define RECORD_BYTES (RECORD_PAGES * GUEST_PAGE)
#define RECORD_CHUNKS (RECORD_BYTES / CHUNK_BYTES)

struct page_sender {
	struct page_source *src;
	struct channel *ch;
	uint32_t index;
	struct chooser chooser;
	struct wire_pages rec; /* the record being made */
	struct wire_final sent;
	uint32_t round_records;
	uint64_t last_send_ns;
	uint8_t *gather; /* RECORD_BYTES of pages, one behind the other */
	uint8_t *packed; /* RECORD_BYTES of LZ4 blocks */
	void *lz4;
};

/* --- one record --- */

static void record_begin(struct page_sender *s, uint32_t region, uint64_t base, uint32_t round)
{
	s->rec.region = region;
	s->rec.base = base;
	s->rec.round = round;
	s->rec.n_runs = s->rec.n_chunks = s->rec.stored = 0;
	s->rec.data_pages = s->rec.zero_pages = 0;
}

/* Pack or keep chunk @i of the gather buffer; where its stored bytes are goes to @iov. */
static void make_chunk(struct page_sender *s, uint32_t i, struct iovec *iov)
{
	uint32_t raw = wire_chunk_raw(&s->rec, i), n = 0;
	uint8_t *src = s->gather + (size_t)i * CHUNK_BYTES, *dst = s->packed + (size_t)i * CHUNK_BYTES;
	uint64_t t;

	assert(i < RECORD_CHUNKS && raw && raw % GUEST_PAGE == 0);
	if (s->src->may_pack && chooser_try(&s->chooser)) {
		t = clock_ns();
		n = lz4_pack(s->lz4, src, raw, dst, CHUNK_BYTES);
		chooser_packed(&s->chooser, raw, n, clock_ns() - t);
	}
	iov->iov_base = n ? dst : src;
	iov->iov_len = n ? n : raw;
	s->rec.chunks[i] = (uint32_t)iov->iov_len;
	s->rec.stored += (uint32_t)iov->iov_len;
	if (n)
		atomic_fetch_add_explicit(&s->src->lz4_pages, raw / GUEST_PAGE, memory_order_relaxed);
	else
		atomic_fetch_add_explicit(&s->src->raw_pages, raw / GUEST_PAGE, memory_order_relaxed);
}

static int record_send(struct page_sender *s, struct err *e)
{
	uint8_t tables[PAGES_TABLES_MAX];
	struct writer w = writer_make(tables, sizeof(tables));
	struct iovec iov[2 + RECORD_CHUNKS];
	uint32_t raw = s->rec.data_pages * GUEST_PAGE, i;
	uint64_t before, limited, wait, now;
	int rc;

	if (!s->rec.n_runs)
		return 0;
	assert(s->rec.base % EXTENT_PAGES == 0 && s->rec.n_runs <= RUNS_MAX);
	s->rec.n_chunks = (raw + CHUNK_BYTES - 1) / CHUNK_BYTES;
	for (i = 0; i < s->rec.n_chunks; i++)
		make_chunk(s, i, &iov[2 + i]);
	assert(s->rec.stored <= raw);
	wire_put_pages(&w, &s->rec);
	iov[1].iov_base = tables;
	iov[1].iov_len = writer_len(&w);

	before = stream_send_wait_ns(s->ch->stream);
	limited = rate_limit_wait(&s->src->rate_limit, WIRE_HEADER_SIZE + writer_len(&w) + s->rec.stored,
				  s->src->stop);
	rc = channel_sendv(s->ch, WIRE_PAGES, iov, (int)(2 + s->rec.n_chunks),
			   STALL_MS, e);
	if (rc)
		return rc;
	wait = stream_send_wait_ns(s->ch->stream);
	wait = wait > before ? wait - before : 0;
	now = clock_ns();
	chooser_sent(&s->chooser, raw, s->rec.stored, wait + limited, now - s->last_send_ns);
	s->last_send_ns = now;
	s->sent.records++;
	s->sent.zero_pages += s->rec.zero_pages;
	s->sent.data_pages += s->rec.data_pages;
	s->sent.stored += s->rec.stored;
	s->round_records++;
	atomic_fetch_add_explicit(&s->src->zero_pages, s->rec.zero_pages, memory_order_relaxed);
	if (!s->rec.round)
		atomic_fetch_add_explicit(&s->src->first_pass, s->rec.zero_pages + s->rec.data_pages,
					  memory_order_relaxed);
	record_begin(s, s->rec.region, s->rec.base, s->rec.round);
	return 0;
}

static void record_add(struct page_sender *s, uint32_t page, bool zero, const uint8_t *host)
{
	struct wire_pages *rec = &s->rec;
	struct wire_run *run = rec->n_runs ? &rec->runs[rec->n_runs - 1] : NULL;

	assert(page < EXTENT_PAGES && rec->data_pages < RECORD_PAGES);
	assert(!run || page >= (uint32_t)run->first + run->count); /* pages rise, so there are never more runs than pages */
	if (run && run->zero == zero && (uint32_t)run->first + run->count == page)
		run->count++;
	else
		rec->runs[rec->n_runs++] = (struct wire_run){ (uint16_t)page, 1, zero };
	if (zero) {
		rec->zero_pages++;
		return;
	}
	memcpy(s->gather + (size_t)rec->data_pages * GUEST_PAGE, host, GUEST_PAGE);
	rec->data_pages++;
}

/* --- the row's hooks --- */

int stream_sender_send(struct page_sender *s, const struct page_extent *x, struct err *e)
{
	const struct guest_region *r = &s->src->regions[x->region];
	const uint8_t *host;
	uint32_t i, page;
	uint64_t todo;
	bool zero;
	int rc;

	if (!s->round_records)
		s->last_send_ns = clock_ns(); /* a round begins: what lay between was no cycle */
	record_begin(s, r->id, x->base, x->round);
	for (i = 0; i < EXTENT_WORDS; i++) {
		for (todo = x->pages[i]; todo; todo &= todo - 1) {
			page = i * 64 + (uint32_t)__builtin_ctzll(todo);
			host = r->host + (x->base + page) * GUEST_PAGE;
			zero = (x->unpopulated[i] >> (page % 64) & 1) || page_is_zero(host);
#ifdef MUTANT_FORGET_ZERO
			if (zero && x->round)
				continue;
#endif
			record_add(s, page, zero, host);
			if (s->rec.data_pages == RECORD_PAGES) {
				rc = record_send(s, e);
				if (rc)
					return rc;
			}
		}
	}
	return record_send(s, e);
}

int stream_sender_mark(struct page_sender *s, const struct page_mark *m, struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));

	if (m->final) {
		s->sent.round = m->round;
		s->sent.channel = s->index;
		wire_put_final(&w, &s->sent);
	} else {
		wire_put_sync(&w, &(struct wire_sync){ .round = m->round, .records = s->round_records });
	}
	s->round_records = 0;
	return channel_send(s->ch, m->final ? WIRE_FINAL : WIRE_ROUND_SYNC, buf, (uint32_t)writer_len(&w),
			    STALL_MS, e);
}

struct page_sender *stream_sender_create(struct page_source *src, struct channel *ch, uint32_t index)
{
	struct page_sender *s = calloc(1, sizeof(*s));

	assert(index < WIRE_CHANNELS_MAX);
	if (!s)
		return NULL;
	s->src = src;
	s->index = index;
	s->ch = ch;
	chooser_init(&s->chooser, src->compress);
	s->gather = aligned_alloc(GUEST_PAGE, RECORD_BYTES);
	s->packed = aligned_alloc(GUEST_PAGE, RECORD_BYTES);
	s->lz4 = malloc(lz4_state_size());
	if (s->gather && s->packed && s->lz4)
		return s;
	stream_sender_destroy(s);
	return NULL;
}

void stream_sender_destroy(struct page_sender *s)
{
	free(s->gather);
	free(s->packed);
	free(s->lz4);
	free(s);
}
