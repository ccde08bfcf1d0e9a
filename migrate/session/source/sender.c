/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sender - see sender.h.
 *
 * For each extent, in this order (migrate/guest.h, rule D):
 *
 *     re-arm the dirty log       from now on a write is reported again
 *     ask for unpopulated pages  first round only: never written, so zero
 *     send                       reads the pages: the page transport's business
 */
#include "migrate/session/source/sender.h"

#include "base/confine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct sender {
	struct sender_pool *pool;
	pthread_t thread;
	struct page_sender *out;
};

/* --- one extent --- */

static int arm(struct sender *s, size_t region, uint64_t extent, struct err *e)
{
	struct sender_pool *p = s->pool;
	const struct guest *g = &p->s->p->guest;
	struct bitmap *b = &p->todo.maps[region];
	uint64_t batch = extent / CLEAR_EXTENTS, first, count;
	int rc = 0;

	assert(region < p->todo.n && extent < b->n_extents);
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
	struct sender_pool *p = s->pool;
	const struct bitmap *b = &p->todo.maps[region];
	uint64_t base = extent * EXTENT_PAGES, unpopulated[EXTENT_WORDS] = { 0 };
	struct page_extent x = {
		.region = region,
		.base = base,
		.pages = b->words + extent * EXTENT_WORDS,
		.unpopulated = unpopulated,
		.round = round,
	};

	if (!round)
		unpopulated_find(&p->unpopulated, &p->s->regions[region], base,
				 (uint32_t)(b->n_pages - base < EXTENT_PAGES ? b->n_pages - base : EXTENT_PAGES),
				 unpopulated);
	return p->transport->send(s->out, &x, e);
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

static int send_round(struct sender *s, uint32_t round, bool final, struct err *e)
{
	struct page_mark mark = { .round = round, .final = final };
	struct sender_pool *p = s->pool;
	uint64_t extent;
	size_t region;
	int rc;

	while (work_claim(&p->todo, &region, &extent)) {
		if (atomic_load_explicit(&p->s->stop, memory_order_relaxed))
			return err_set(e, -ECANCELED, "cancelled");
		rc = send_extent(s, region, extent, round, final, e);
		if (rc)
			return rc;
	}
	return p->transport->mark(s->out, &mark, e);
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

	confine(CONFINE_SEND);
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
		assert(p->busy);
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
	p->out.regions = s->regions;
	p->out.stop = &s->stop;
	p->out.compress = s->p->compress;
	rate_limit_init(&p->out.rate_limit, s->p->bandwidth);
	unpopulated_init(&p->unpopulated, s->p->pagemap_fd);
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
	s->out = p->transport->sender_create(&p->out, &p->s->data[index], index);
	if (s->out)
		return s;
	free(s);
	return NULL;
}

static void sender_destroy(struct sender *s)
{
	s->pool->transport->sender_destroy(s->out);
	free(s);
}

int sender_pool_start(struct sender_pool *p, struct err *e)
{
	struct sender *s;
	uint32_t i;

	assert(p->transport && !p->n && p->s->n_data && p->s->n_data <= WIRE_CHANNELS_MAX);
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
	assert(!p->busy && !p->final && p->n); /* the round before is over, and the last one is the last */
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

	assert(!p->final && p->n);
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
	unpopulated_free(&p->unpopulated);
	rate_limit_destroy(&p->out.rate_limit);
	pthread_mutex_destroy(&p->clear_lock);
	pthread_cond_destroy(&p->work);
}
