/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receiver - see receiver.h.
 *
 * The page transport puts pages into memory; here is what all connections do
 * together: the barrier at the end of a round, the end of all rounds, and
 * whether every page was spoken of.
 */
#include "migrate/session/destination/receiver.h"

#include "base/confine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct receiver {
	struct receiver_pool *pool;
	pthread_t thread;
	struct page_receiver *in;
};

/* --- marks --- */

static int say_round_done(struct session *s, uint32_t round, struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));

	wire_put_round_done(&w, round);
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
	assert(p->round == round && p->at_barrier < p->n);
	if (++p->at_barrier == p->n) {
		last = true;
		p->at_barrier = 0;
		p->round = round + 1;
		if (p->sink.prefault)
			prefault_enough(p->sink.prefault);
		pthread_cond_broadcast(&s->cond);
	}
	while (p->round == round && !s->failed && !atomic_load(&s->stop))
		pthread_cond_wait(&s->cond, &s->lock); /* a dead source fails the session */
	if (p->round == round)
		rc = err_set(e, -ECANCELED, "cancelled");
	pthread_mutex_unlock(&s->lock);
	return rc || !last ? rc : say_round_done(s, round, e);
}

static void end(struct receiver_pool *p)
{
	struct session *s = p->s;

	pthread_mutex_lock(&s->lock);
	assert(p->done < p->n);
	p->done++;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void *receiver_main(void *arg)
{
	struct receiver *r = arg;
	struct receiver_pool *p = r->pool;
	struct page_mark m = { 0 };
	struct err e = { 0 };
	uint32_t round;
	int rc = 0;

	confine(CONFINE_RECEIVE);
	for (round = 0; !rc && !m.final; round++) {
		rc = p->transport->receive(r->in, round, &m, &e);
		if (!rc && !m.final)
			rc = barrier(r, round, &e);
	}
	if (rc)
		session_fail(p->s, rc, &e);
	else
		end(p);
	return NULL;
}

/* --- the pool --- */

static struct receiver *receiver_create(struct receiver_pool *p, uint32_t index)
{
	struct receiver *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->pool = p;
	r->in = p->transport->receiver_create(&p->sink, &p->s->data[index], index);
	if (r->in)
		return r;
	free(r);
	return NULL;
}

static void receiver_destroy(struct receiver *r)
{
	r->pool->transport->receiver_destroy(r->in);
	free(r);
}

/* What has memory already may hold anything: a zero page there must be written. */
static void find_written(struct receiver_pool *p, size_t region)
{
	const struct guest_region *gr = &p->s->regions[region];
	struct bitmap *b = &p->sink.written[region];
	uint64_t extent, unpopulated[EXTENT_WORDS], first, left;
	struct unpopulated a;
	unsigned int i;

	unpopulated_init(&a, p->s->p->pagemap_fd);
	for (extent = 0; extent < b->n_extents; extent++) {
		first = extent * EXTENT_PAGES;
		left = b->n_pages - first;
		unpopulated_find(&a, gr, first, (uint32_t)(left < EXTENT_PAGES ? left : EXTENT_PAGES), unpopulated);
		for (i = 0; i < EXTENT_WORDS; i++)
			b->words[extent * EXTENT_WORDS + i] = ~unpopulated[i];
	}
	bitmap_trim(b);
	unpopulated_free(&a);
}

int receiver_pool_init(struct receiver_pool *p, struct session *s, struct err *e)
{
	size_t i;

	memset(p, 0, sizeof(*p));
	p->s = s;
	p->sink.regions = s->regions;
	for (i = 0; i < s->n_regions; i++) {
		if (bitmap_init(&p->sink.written[i], s->regions[i].size / GUEST_PAGE) ||
		    bitmap_init(&p->sink.seen[i], s->regions[i].size / GUEST_PAGE))
			return err_set(e, -ENOMEM, "page bitmaps: out of memory");
		p->sink.n_regions++;
		find_written(p, i);
	}
	return 0;
}

int receiver_pool_start(struct receiver_pool *p, struct err *e)
{
	struct receiver *r;
	uint32_t i;

	assert(p->transport && !p->n && p->s->n_data);
	p->sink.dead_ms = (int)p->s->dead_ms;
	p->n = p->s->n_data; /* before the first thread can come to a barrier */
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

	for (i = 0; i < p->sink.n_regions; i++)
		if (bitmap_first_clear(&p->sink.seen[i], &page))
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
		bitmap_free(&p->sink.written[i]);
		bitmap_free(&p->sink.seen[i]);
	}
	p->sink.n_regions = 0;
}
