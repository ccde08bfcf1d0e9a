/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sender - see sender.h.
 *
 * For each extent, in this order (migrate/guest.h, rule D):
 *
 *     re-arm the dirty log       from now on a write is reported again
 *     ask for absent pages       first round only: never written, so zero
 *     look at each page          zero, or copied to the gather buffer
 *     pack or not, send
 *
 * Pages are copied before they are sent because the guest goes on writing: the
 * checksum must be over what leaves, and the kernel reads a buffer again when
 * it retransmits.  The copy stays in the cache, memory is read once.
 */
#include "migrate/sender.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

/* Data pages per record: 512 KiB stay in a core's second-level cache between copy, checksum and send. */
#define RECORD_PAGES 128u
#define RECORD_BYTES (RECORD_PAGES * GUEST_PAGE)
#define RECORD_CHUNKS (RECORD_BYTES / CHUNK_BYTES)

struct sender {
	struct sender_pool *pool;
	struct channel *ch;
	uint32_t index;
	pthread_t thread;
	struct chooser chooser;
	struct wire_pages rec;         /* the record being made */
	struct wire_final sent;
	uint32_t round_records;
	uint64_t last_send_ns;
	uint8_t *gather;               /* RECORD_BYTES of pages, one behind the other */
	uint8_t *packed;               /* RECORD_BYTES of LZ4 blocks */
	void *lz4;
};

/* --- one record --- */

static void record_begin(struct sender *s, uint32_t region, uint64_t base, uint32_t round)
{
	s->rec.region = region;
	s->rec.base = base;
	s->rec.round = round;
	s->rec.n_runs = s->rec.n_chunks = s->rec.stored = 0;
	s->rec.data_pages = s->rec.zero_pages = 0;
}

/* Pack or keep chunk @i of the gather buffer; where its stored octets are goes to @iov. */
static void make_chunk(struct sender *s, uint32_t i, struct iovec *iov)
{
	uint32_t raw = wire_chunk_raw(&s->rec, i), n = 0;
	uint8_t *src = s->gather + (size_t)i * CHUNK_BYTES, *dst = s->packed + (size_t)i * CHUNK_BYTES;
	uint64_t t;

	if (s->pool->may_pack && chooser_try(&s->chooser)) {
		t = clock_ns();
		n = lz4_pack(s->lz4, src, raw, dst, CHUNK_BYTES);
		chooser_packed(&s->chooser, raw, n, clock_ns() - t);
	}
	iov->iov_base = n ? dst : src;
	iov->iov_len = n ? n : raw;
	s->rec.chunks[i] = (uint32_t)iov->iov_len;
	s->rec.stored += (uint32_t)iov->iov_len;
	if (n)
		atomic_fetch_add_explicit(&s->pool->lz4_pages, raw / GUEST_PAGE, memory_order_relaxed);
	else
		atomic_fetch_add_explicit(&s->pool->raw_pages, raw / GUEST_PAGE, memory_order_relaxed);
}

static int record_send(struct sender *s, struct err *e)
{
	uint8_t tables[PAGES_TABLES_MAX];
	struct writer w = writer_make(tables, sizeof(tables));
	struct iovec iov[2 + RECORD_CHUNKS];
	uint32_t raw = s->rec.data_pages * GUEST_PAGE, i;
	uint64_t before, paced, wait, now;
	int rc;

	if (!s->rec.n_runs)
		return 0;
	s->rec.n_chunks = (raw + CHUNK_BYTES - 1) / CHUNK_BYTES;
	for (i = 0; i < s->rec.n_chunks; i++)
		make_chunk(s, i, &iov[2 + i]);
	wire_put_pages(&w, &s->rec);
	iov[1].iov_base = tables;
	iov[1].iov_len = writer_len(&w);

	before = stream_send_wait_ns(s->ch->stream);
	paced = pace_wait(&s->pool->pace, WIRE_HEADER_SIZE + writer_len(&w) + s->rec.stored,
			  &s->pool->s->stop);
	rc = channel_sendv(s->ch, WIRE_PAGES, iov, (int)(2 + s->rec.n_chunks),
			   DATA_STALL_MS, e);
	if (rc)
		return rc;
	wait = stream_send_wait_ns(s->ch->stream);
	wait = wait > before ? wait - before : 0;
	now = clock_ns();
	chooser_sent(&s->chooser, raw, s->rec.stored, wait + paced, now - s->last_send_ns);
	s->last_send_ns = now;
	s->sent.records++;
	s->sent.zero_pages += s->rec.zero_pages;
	s->sent.data_pages += s->rec.data_pages;
	s->sent.stored += s->rec.stored;
	s->round_records++;
	atomic_fetch_add_explicit(&s->pool->zero_pages, s->rec.zero_pages, memory_order_relaxed);
	if (!s->rec.round)
		atomic_fetch_add_explicit(&s->pool->first_pass, s->rec.zero_pages + s->rec.data_pages,
					  memory_order_relaxed);
	record_begin(s, s->rec.region, s->rec.base, s->rec.round);
	return 0;
}

static void record_add(struct sender *s, uint32_t page, bool zero, const uint8_t *host)
{
	struct wire_pages *rec = &s->rec;
	struct wire_run *run = rec->n_runs ? &rec->runs[rec->n_runs - 1] : NULL;

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

/* --- one extent --- */

static int arm(struct sender *s, size_t region, uint64_t extent, struct err *e)
{
	struct sender_pool *p = s->pool;
	const struct guest *g = &p->s->p->guest;
	struct bitmap *b = &p->todo.maps[region];
	uint64_t batch = extent / CLEAR_EXTENTS, first, count;
	int rc = 0;

	pthread_mutex_lock(&p->clear_lock);
	if (!p->armed[region][batch]) {
		first = batch * CLEAR_EXTENTS * EXTENT_PAGES;
		count = b->n_pages - first;
		if (count > CLEAR_EXTENTS * EXTENT_PAGES)
			count = CLEAR_EXTENTS * EXTENT_PAGES;
		rc = g->ops->dirty_clear(g->self, p->s->regions[region].id, first, count, b->words, e);
		p->armed[region][batch] = 1;
	}
	pthread_mutex_unlock(&p->clear_lock);
	return rc;
}

static int send_pages(struct sender *s, size_t region, uint64_t extent, uint32_t round,
		      struct err *e)
{
	const struct guest_region *r = &s->pool->s->regions[region];
	const struct bitmap *b = &s->pool->todo.maps[region];
	const uint64_t *words = b->words + extent * EXTENT_WORDS;
	uint64_t base = extent * EXTENT_PAGES, absent[8] = { 0 }, todo;
	const uint8_t *host;
	uint32_t i, page;
	bool zero;
	int rc;

	if (!round)
		absent_find(&s->pool->absent, r, base,
			    (uint32_t)(b->n_pages - base < EXTENT_PAGES ? b->n_pages - base : EXTENT_PAGES),
			    absent);
	record_begin(s, r->id, base, round);
	for (i = 0; i < EXTENT_WORDS; i++) {
		for (todo = words[i]; todo; todo &= todo - 1) {
			page = i * 64 + (uint32_t)__builtin_ctzll(todo);
			host = r->host + (base + page) * GUEST_PAGE;
			zero = (absent[i] >> (page % 64) & 1) || page_is_zero(host);
#ifdef MUTANT_FORGET_ZERO
			if (zero && round)
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

static int send_extent(struct sender *s, size_t region, uint64_t extent, uint32_t round, bool final,
		       struct err *e)
{
	int rc = 0;

#ifndef MUTANT_CLEAR_AFTER_READ
	if (!final)
		rc = arm(s, region, extent, e);
	return rc ? rc : send_pages(s, region, extent, round, e);
#else
	rc = send_pages(s, region, extent, round, e);
	return rc || final ? rc : arm(s, region, extent, e);
#endif
}

/* --- one round --- */

static int send_end(struct sender *s, uint32_t round, bool final, struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));

	if (final) {
		s->sent.round = round;
		s->sent.channel = s->index;
		wire_put_final(&w, &s->sent);
	} else {
		writer_u32(&w, round);
		writer_u32(&w, s->round_records);
	}
	s->round_records = 0;
	return channel_send(s->ch, final ? WIRE_FINAL : WIRE_ROUND_SYNC, buf, (uint32_t)writer_len(&w),
			    DATA_STALL_MS, e);
}

static int send_round(struct sender *s, uint32_t round, bool final, struct err *e)
{
	struct sender_pool *p = s->pool;
	uint64_t extent;
	size_t region;
	int rc;

	s->last_send_ns = clock_ns();
	while (work_claim(&p->todo, &region, &extent)) {
		if (atomic_load_explicit(&p->s->stop, memory_order_relaxed))
			return err_set(e, -ECANCELED, "cancelled");
		rc = send_extent(s, region, extent, round, final, e);
		if (rc)
			return rc;
	}
	return send_end(s, round, final, e);
}

static void *sender_main(void *arg)
{
	struct sender *s = arg;
	struct sender_pool *p = s->pool;
	struct session *ss = p->s;
	uint64_t seen = 0;
	uint32_t round;
	struct err e;
	bool final;
	int rc;

	pthread_mutex_lock(&ss->lock);
	for (;;) {
		while (p->job == seen && !p->quit)
			pthread_cond_wait(&p->work, &ss->lock); /* sender_pool_stop() ends it */
		if (p->quit)
			break;
		seen = p->job;
		round = p->round;
		final = p->final;
		pthread_mutex_unlock(&ss->lock);
		rc = send_round(s, round, final, &e);
		if (rc)
			session_fail(ss, rc, &e);
		pthread_mutex_lock(&ss->lock);
		p->busy--;
		pthread_cond_broadcast(&ss->cond);
	}
	pthread_mutex_unlock(&ss->lock);
	return NULL;
}

/* --- the pool --- */

int sender_pool_init(struct sender_pool *p, struct session *s, struct err *e)
{
	size_t i;

	memset(p, 0, sizeof(*p));
	p->s = s;
	pthread_mutex_init(&p->clear_lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pace_init(&p->pace, s->p->bandwidth);
	absent_init(&p->absent);
	if (work_init(&p->todo, s->regions, s->n_regions))
		return err_set(e, -ENOMEM, "dirty bitmaps: out of memory");
	for (i = 0; i < p->todo.n; i++) {
		p->armed[i] = calloc(p->todo.maps[i].n_extents / CLEAR_EXTENTS + 1, 1);
		if (!p->armed[i])
			return err_set(e, -ENOMEM, "dirty bitmaps: out of memory");
	}
	return 0;
}

static struct sender *sender_create(struct sender_pool *p, uint32_t index)
{
	struct sender *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->pool = p;
	s->index = index;
	s->ch = &p->s->data[index];
	chooser_init(&s->chooser, p->s->p->compress);
	s->gather = aligned_alloc(GUEST_PAGE, RECORD_BYTES);
	s->packed = aligned_alloc(GUEST_PAGE, RECORD_BYTES);
	s->lz4 = malloc(lz4_state_size());
	if (s->gather && s->packed && s->lz4)
		return s;
	free(s->gather);
	free(s->packed);
	free(s->lz4);
	free(s);
	return NULL;
}

static void sender_destroy(struct sender *s)
{
	free(s->gather);
	free(s->packed);
	free(s->lz4);
	free(s);
}

int sender_pool_start(struct sender_pool *p, struct err *e)
{
	struct sender *s;
	uint32_t i;

	for (i = 0; i < p->s->n_data; i++) {
		s = sender_create(p, i);
		if (!s)
			return err_set(e, -ENOMEM, "sender: out of memory");
		if (pthread_create(&s->thread, NULL, sender_main, s)) {
			sender_destroy(s);
			return err_set(e, -EAGAIN, "cannot start a sender");
		}
		p->senders[p->n++] = s;
	}
	return 0;
}

void sender_pool_begin(struct sender_pool *p, uint32_t round, bool final)
{
	size_t i;

	work_rewind(&p->todo);
	for (i = 0; i < p->todo.n; i++)
		memset(p->armed[i], 0, p->todo.maps[i].n_extents / CLEAR_EXTENTS + 1);
	pthread_mutex_lock(&p->s->lock);
	p->round = round;
	p->final = final;
	p->busy = p->n;
	p->job++;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->s->lock);
}

int sender_pool_final_here(struct sender_pool *p, uint32_t round, struct err *e)
{
	unsigned int i;
	int rc = 0;

	work_rewind(&p->todo);
	for (i = 0; !rc && i < p->n; i++)
		rc = send_round(p->senders[i], round, true, e);
	return rc;
}

bool sender_pool_idle(const struct sender_pool *p)
{
	return !p->busy;
}

void sender_pool_stop(struct sender_pool *p)
{
	unsigned int i;

	pthread_mutex_lock(&p->s->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->s->lock);
	for (i = 0; i < p->n; i++) {
		pthread_join(p->senders[i]->thread, NULL);
		sender_destroy(p->senders[i]);
	}
	p->n = 0;
}

void sender_pool_free(struct sender_pool *p)
{
	size_t i;

	for (i = 0; i < GUEST_REGIONS_MAX; i++)
		free(p->armed[i]);
	work_free(&p->todo);
	absent_free(&p->absent);
	pace_destroy(&p->pace);
	pthread_mutex_destroy(&p->clear_lock);
	pthread_cond_destroy(&p->work);
}
