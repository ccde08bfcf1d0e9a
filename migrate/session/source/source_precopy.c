/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_precopy - rounds while the domain runs: send what is set, fetch what was
 * written meanwhile, and let converge.c judge whether another round pays.
 */
#include "migrate/session/source/source_int.h"

#include "base/clock.h"
#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define ROUND_DONE_MS 60000u /* what lies in socket buffers, over a slow link */
#define TICK_MS 100u         /* progress while a long round runs */
#define ROUNDS_MAX 100000u

static uint64_t wire_bytes(const struct source *src)
{
	uint64_t n = atomic_load(&src->s.control.tx_bytes);
	uint32_t i;

	for (i = 0; i < src->s.n_data; i++)
		n += atomic_load(&src->s.data[i].tx_bytes);
	return n;
}

void source_refresh_stats(struct source *src)
{
	struct migrate_stats *st = &src->s.stats;
	uint64_t first = atomic_load(&src->pool.out.first_pass) * GUEST_PAGE;

	assert(lock_is_held(&src->s.lock));
	assert(first <= st->total); /* each page is sent once in the first round */
	st->sent = wire_bytes(src);
	st->pages_raw = atomic_load(&src->pool.out.raw_pages);
	st->pages_lz4 = atomic_load(&src->pool.out.lz4_pages);
	st->pages_zero = atomic_load(&src->pool.out.zero_pages);
	if (first > st->done)
		st->done = first;
	if (st->phase < MIGRATE_DONE)
		st->total_us = (clock_ns() - src->start_ns) / 1000;
}

int source_fetch_dirty(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	size_t i;
	int rc = 0;

	assert(src->pool.todo.n == s->n_regions);
	for (i = 0; !rc && i < s->n_regions; i++) {
		rc = ops(src)->dirty_fetch(self(src), s->regions[i].id, src->pool.todo.maps[i].words, e);
		bitmap_trim(&src->pool.todo.maps[i]);
	}
	return rc;
}

/* Why, and what an operator could allow. */
static int not_done(struct source *src, const char *what, struct err *e)
{
	const struct converge *c = &src->conv;

	return err_set(e, -ETIMEDOUT,
		       "%s after %llu ms: %.0f pages/s are dirtied, %.0f pages/s can be sent, stopping now would take "
		       "%llu ms of %llu allowed; vCPUs were held back %u %% of the time, %u %% allowed",
		       what,
		       (unsigned long long)((clock_ns() - src->start_ns) / NS_PER_MS), c->dirty_rate, c->send_rate,
		       (unsigned long long)(c->predicted_ns / NS_PER_MS),
		       (unsigned long long)(c->limit_ns / NS_PER_MS), c->throttle, c->throttle_max);
}

static int check_timeout(struct source *src, struct err *e)
{
	uint64_t ms = (clock_ns() - src->start_ns) / NS_PER_MS;

	if (!src->p.timeout_ms || ms < src->p.timeout_ms)
		return 0;
	return not_done(src, "not done", e);
}

int source_wait_senders(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	while (!sender_pool_idle(&src->pool) && !s->failed && !s->cancelled) {
		if (session_wait_until(s, session_now_ms() + TICK_MS))
			continue;
		source_refresh_stats(src);
		pthread_mutex_unlock(&s->lock);
		session_notify(s);
		rc = check_timeout(src, e);
		pthread_mutex_lock(&s->lock);
		if (rc)
			break;
	}
	if (!rc)
		rc = session_over(s, e);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* What was sent has arrived: now the time the round took is known, and nothing is left in buffers. */
static int wait_round_done(struct source *src, uint32_t round, struct err *e)
{
	struct session_record *rec;
	struct reader r;
	uint32_t said;
	int rc;

	rc = session_expect(&src->s, WIRE_ROUND_DONE, ROUND_DONE_MS, &rec, e);
	if (rc)
		return rc;
	r = reader_make(rec->payload, rec->len);
	said = wire_get_round_done(&r);
	free(rec);
	if (said != round)
		return err_set(e, -EPROTO, "ROUND_DONE: round %u, expected %u", said, round);
	return 0;
}

static int send_progress(struct source *src, struct err *e)
{
	const struct migrate_stats *st = &src->s.stats;
	struct wire_progress p = {
		.round = st->round,
		.total = st->total,
		.sent = st->sent,
		.remaining = st->remaining,
		.dirty_rate = st->dirty_rate,
	};
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));

	wire_put_progress(&w, &p);
	return session_send(&src->s, WIRE_PROGRESS, buf, (uint32_t)writer_len(&w), e);
}

static int one_round(struct source *src, uint32_t round, enum verdict *verdict, struct err *e)
{
	struct session *s = &src->s;
	uint64_t begin = clock_ns(), pages = work_count(&src->pool.todo), bytes = wire_bytes(src), ns;
	unsigned int throttle = src->conv.throttle;
	int rc;

	sender_pool_begin(&src->pool, round, false);
	rc = source_wait_senders(src, e);
	if (!rc)
		rc = wait_round_done(src, round, e);
	if (rc)
		return rc;
	assert(!src->paused);
	work_clear(&src->pool.todo);
	rc = source_fetch_dirty(src, e);
	if (rc)
		return rc;
	ns = clock_ns() - begin;
	*verdict = converge_round(&src->conv, pages, ns, work_count(&src->pool.todo));
	if (src->conv.throttle != throttle)
		ops(src)->throttle(self(src), src->conv.throttle);

	pthread_mutex_lock(&s->lock);
	source_refresh_stats(src);
	s->stats.done = s->stats.total;
	s->stats.round = round + 1;
	s->stats.remaining = src->conv.remaining * GUEST_PAGE;
	s->stats.dirty_rate = (uint64_t)src->conv.dirty_rate;
	s->stats.rate = (wire_bytes(src) - bytes) * NS_PER_SEC / (ns ? ns : 1);
	s->stats.expected_downtime_us = src->conv.predicted_ns / 1000;
	s->stats.converging = src->conv.converging;
	s->stats.throttle = src->conv.throttle;
	pthread_mutex_unlock(&s->lock);
	session_notify(s);
	rc = send_progress(src, e);
	return rc ? rc : check_timeout(src, e);
}

int source_precopy(struct source *src, struct err *e)
{
	enum verdict verdict = VERDICT_ROUND;
	uint32_t round;
	size_t i;
	int rc;

	atomic_store(&src->s.reader_phase, IN_PRECOPY);
	session_step(&src->s, MIGRATE_PRECOPY);
	src->logging = true;
	rc = ops(src)->dirty_start(self(src), e);
	for (i = 0; i < src->pool.todo.n; i++)
		bitmap_fill(&src->pool.todo.maps[i]);
	for (round = 0; !rc && verdict == VERDICT_ROUND; round++) {
		if (round == ROUNDS_MAX)
			return err_set(e, -ETIMEDOUT, "not done after %u rounds", ROUNDS_MAX);
		rc = one_round(src, round, &verdict, e);
	}
	if (!rc && verdict == VERDICT_HOPELESS)
		rc = not_done(src, "no progress any more", e);
	return rc;
}
