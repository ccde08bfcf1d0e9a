/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source - the side the domain leaves: rounds of pre-copy, the stop, and the
 * handover as this side lives it (handover.h).
 *
 * Up to GRANT every way out leads through give_up(): the domain goes on here,
 * first of all, then the rest is cleared away.  From GRANT on the only ways out
 * are an outcome from the arbiter (or the destination's word that it committed,
 * which it can only say after the arbiter did).
 */
#include "migrate/source_int.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define READY_MS 60000u       /* it loads the device state; a dead peer is noticed long before */
#define DECISION_MS 3000u     /* after GRANT, before this side asks the arbiter by itself */
#define ROUND_DONE_MS 60000u  /* what lies in socket buffers, over a slow link */
#define TICK_MS 100u          /* progress while a long round runs */
#define FINAL_HERE_PAGES 64u  /* a last set up to here is sent without waking the senders */
#define ROUNDS_MAX 100000u

static void no_notify(void *arg, const struct migrate_stats *st)
{
}

static void no_step(void *arg, enum migrate_role role, enum migrate_phase phase, bool before)
{
}

int source_create(struct source **out, const struct migrate_params *p, struct err *e)
{
	struct source *src = calloc(1, sizeof(*src));
	int rc;

	if (!src)
		return err_set(e, -ENOMEM, "migration: out of memory");
	src->p = *p;
	if (!src->p.notify)
		src->p.notify = no_notify;
	if (!src->p.at_step)
		src->p.at_step = no_step;
	rc = session_init(&src->s, MIGRATE_SOURCE, &src->p, e);
	if (rc) {
		free(src);
		return rc;
	}
	src->start_ns = clock_ns();
	converge_init(&src->conv, p->downtime_ms ? p->downtime_ms : MIGRATE_DOWNTIME_MS);
	*out = src;
	return 0;
}

void source_destroy(struct source *src)
{
	if (!src)
		return;
	session_destroy(&src->s);
	free(src);
}

/* --- pre-copy --- */

static uint64_t wire_bytes(const struct source *src)
{
	uint64_t n = atomic_load(&src->s.control.tx_bytes);
	uint32_t i;

	for (i = 0; i < src->s.n_data; i++)
		n += atomic_load(&src->s.data[i].tx_bytes);
	return n;
}

/* Bring the statistics up to date; session.lock held. */
static void refresh_stats(struct source *src)
{
	struct migrate_stats *st = &src->s.stats;
	uint64_t first = atomic_load(&src->pool.first_pass) * GUEST_PAGE;

	st->sent = wire_bytes(src);
	st->pages_raw = atomic_load(&src->pool.raw_pages);
	st->pages_lz4 = atomic_load(&src->pool.lz4_pages);
	st->pages_zero = atomic_load(&src->pool.zero_pages);
	if (first > st->done)
		st->done = first;
	if (st->phase < MIGRATE_DONE)
		st->total_us = (clock_ns() - src->start_ns) / 1000;
}

static int fetch_dirty(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < s->n_regions; i++) {
		rc = ops(src)->dirty_fetch(self(src), s->regions[i].id, src->pool.todo.maps[i].words, e);
		bitmap_trim(&src->pool.todo.maps[i]);
	}
	return rc;
}

static int check_timeout(struct source *src, struct err *e)
{
	uint64_t ms = (clock_ns() - src->start_ns) / NS_PER_MS;

	if (!src->p.timeout_ms || ms < src->p.timeout_ms)
		return 0;
	return err_set(e, -ETIMEDOUT,
		       "not done after %llu ms: %.0f pages/s are dirtied, %.0f pages/s can be sent, "
		       "stopping now would take %llu ms",
		       (unsigned long long)ms, src->conv.dirty_rate, src->conv.send_rate,
		       (unsigned long long)(src->conv.predicted_ns / NS_PER_MS));
}

/* Wait until the senders have finished; fails when the session does. */
static int wait_senders(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	while (!sender_pool_idle(&src->pool) && !s->failed && !s->cancelled) {
		if (session_wait_until(s, session_now_ms() + TICK_MS))
			continue;
		refresh_stats(src);
		pthread_mutex_unlock(&s->lock);
		session_notify(s);
		rc = check_timeout(src, e);
		pthread_mutex_lock(&s->lock);
		if (rc)
			break;
	}
	if (!rc && (s->failed || s->cancelled)) {
		*e = s->err;
		rc = s->err.code;
	}
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

	rc = source_expect(src, WIRE_ROUND_DONE, ROUND_DONE_MS, &rec, e);
	if (rc)
		return rc;
	r = reader_make(rec->payload, rec->len);
	said = reader_u32(&r);
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
	rc = wait_senders(src, e);
	if (!rc)
		rc = wait_round_done(src, round, e);
	if (rc)
		return rc;
	work_clear(&src->pool.todo);
	rc = fetch_dirty(src, e);
	if (rc)
		return rc;
	ns = clock_ns() - begin;
	*verdict = converge_round(&src->conv, pages, ns, work_count(&src->pool.todo));
	if (src->conv.throttle != throttle)
		ops(src)->throttle(self(src), src->conv.throttle);

	pthread_mutex_lock(&s->lock);
	refresh_stats(src);
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

static int precopy(struct source *src, struct err *e)
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
	return rc;
}

/* --- stop --- */

static int send_state(struct source *src, struct err *e)
{
	uint8_t head[8], *buf = NULL;
	size_t len, at, n;
	struct iovec iov[3];
	struct writer w;
	int rc;

	rc = ops(src)->save(self(src), &buf, &len, e);
	if (rc)
		return rc;
	if (!len || len > GUEST_STATE_MAX)
		rc = err_set(e, -E2BIG, "device state: %zu octets, at most %u", len, GUEST_STATE_MAX);
	for (at = 0; !rc && at < len; at += n) {
		n = len - at < STATE_PART_MAX ? len - at : STATE_PART_MAX;
		w = writer_make(head, sizeof(head));
		writer_u32(&w, (uint32_t)len);
		writer_u32(&w, (uint32_t)at);
		iov[1] = (struct iovec){ head, sizeof(head) };
		iov[2] = (struct iovec){ buf + at, n };
		rc = channel_sendv(&src->s.control, WIRE_DEV_STATE, iov, 3, (int)src->s.dead_ms, e);
	}
	free(buf);
	return rc;
}

static uint64_t us_since(uint64_t ns)
{
	return (clock_ns() - ns) / 1000;
}

/* Others read the statistics while this thread works. */
static void note(struct source *src, uint64_t *stat, uint64_t value)
{
	pthread_mutex_lock(&src->s.lock);
	*stat = value;
	pthread_mutex_unlock(&src->s.lock);
}

/* The downtime begins here. */
static int stop(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	struct migrate_stats *st = &s->stats;
	struct session_record *rec;
	uint64_t t;
	int rc;

	src->pause_ns = clock_ns();
	src->paused = true;
	rc = ops(src)->pause(self(src), e);
	if (rc)
		return rc;
	atomic_store(&s->reader_phase, IN_STOP);
	note(src, &st->pause_us, us_since(src->pause_ns));
	t = clock_ns();
	rc = fetch_dirty(src, e);
	if (rc)
		return rc;
	note(src, &st->last_pages, work_count(&src->pool.todo));
	if (st->last_pages <= FINAL_HERE_PAGES)
		rc = sender_pool_final_here(&src->pool, st->round, e);
	else
		sender_pool_begin(&src->pool, st->round, true);
	if (rc)
		return rc;
	session_step(s, MIGRATE_STOP);
	rc = send_state(src, e);
	if (!rc)
		rc = wait_senders(src, e);
	if (rc)
		return rc;
	note(src, &st->last_us, us_since(t));
	t = clock_ns();
	rc = source_expect(src, WIRE_READY, READY_MS, &rec, e);
	if (rc)
		return rc;
	free(rec);
	note(src, &st->state_us, us_since(t));
	session_step(s, MIGRATE_READY);
	return 0;
}

/* --- handover --- */

/* READY -> GRANT, unless somebody cancelled or the link broke: one of them comes first. */
static int enter_grant(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->failed || s->cancelled) {
		*e = s->err;
		rc = s->err.code;
	} else {
		s->phase = MIGRATE_GRANT;
		atomic_store(&s->reader_phase, IN_GRANT);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* What the destination says about the outcome; 0 and @out, or an error: then the arbiter knows. */
static int hear_decision(struct source *src, enum outcome *out, struct err *e)
{
	struct session_record *rec;
	struct reader r;
	uint64_t incarnation;
	uint32_t said;
	int rc;

	rc = source_expect(src, WIRE_DECISION, DECISION_MS, &rec, e);
	if (rc)
		return rc;
	r = reader_make(rec->payload, rec->len);
	said = reader_u32(&r);
	reader_u32(&r);
	incarnation = reader_u64(&r);
	free(rec);
	if (said == OUTCOME_COMMIT && incarnation == src->p.incarnation) {
		*out = OUTCOME_COMMIT;
		return 0;
	}
	if (said == OUTCOME_ABORT) {
		*out = OUTCOME_ABORT;
		err_set(e, -ECANCELED, "the destination could not take the domain over");
		return src->p.arbiter.ops->word_is_enough ? 0 : e->code;
	}
	return err_set(e, -EPROTO, "DECISION: outcome %u for incarnation %llu", said,
		       (unsigned long long)incarnation);
}

static int committed(struct source *src)
{
	struct migrate_stats *st = &src->s.stats;
	struct session_record *rec;
	struct err ignored;

	/* RUNNING ends the downtime as it is seen from here; without it, DECISION did. */
	if (!source_expect(src, WIRE_RUNNING, src->s.dead_ms, &rec, &ignored))
		free(rec);
	pthread_mutex_lock(&src->s.lock);
	st->downtime_us = us_since(src->pause_ns);
	st->error = 0;
	st->text[0] = '\0';
	refresh_stats(src);
	st->remaining = 0;
	pthread_mutex_unlock(&src->s.lock);
	session_step(&src->s, MIGRATE_COMMITTED);
	ops(src)->gone(self(src));
	session_step(&src->s, MIGRATE_DONE);
	return 0;
}

/* The domain was granted and stays: its disks first, then its vCPUs. */
static int take_back(struct source *src, struct err *e)
{
	struct err why;
	int rc;

	rc = ops(src)->take_over(self(src), src->p.own_incarnation, &why);
	if (!rc)
		rc = ops(src)->resume(self(src), &why);
	src->paused = src->released = false;
	if (rc)
		err_set(e, rc, "the domain stays here, but cannot go on: %s", why.text);
	return rc;
}

static int handover(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	uint8_t buf[8];
	struct writer w = writer_make(buf, sizeof(buf));
	uint64_t t = clock_ns();
	enum outcome outcome;
	struct err why = { 0 };
	int rc;

	rc = ops(src)->release(self(src), e);
	src->released = true;
	if (!rc)
		rc = enter_grant(src, e);
	if (rc)
		return rc;
	/* From here on only an outcome leads out. */
	src->p.at_step(src->p.arg, MIGRATE_SOURCE, MIGRATE_GRANT, true);
	writer_u64(&w, src->p.incarnation);
	rc = session_send(s, WIRE_GRANT, buf, sizeof(buf), &why);
	session_notify(s);
	src->p.at_step(src->p.arg, MIGRATE_SOURCE, MIGRATE_GRANT, false);
	if (!rc)
		rc = hear_decision(src, &outcome, &why);
#ifdef MUTANT_RESUME_AFTER_GRANT
	if (rc) {
		outcome = OUTCOME_ABORT;
		rc = 0;
	}
#endif
	if (rc)
		rc = session_ask(s, OUTCOME_ABORT, src->p.incarnation, &outcome, e);
	if (rc)
		return rc;
	note(src, &s->stats.commit_us, us_since(t));
	if (outcome == OUTCOME_COMMIT)
		return committed(src);
	rc = take_back(src, e);
	return rc ? rc : err_set(e, -ECANCELED, "%s: the domain stays here", why.text);
}

/* --- ways out --- */

static int keep_error(struct source *src, int code, const struct err *e)
{
	struct session *s = &src->s;

	pthread_mutex_lock(&s->lock);
	s->stats.error = code;
	snprintf(s->stats.text, sizeof(s->stats.text), "%s", e->text);
	refresh_stats(src);
	pthread_mutex_unlock(&s->lock);
	return code;
}

/* Before GRANT: the domain goes on here. */
static int give_up(struct source *src, int rc, struct err *e)
{
	struct session *s = &src->s;
	struct err why;
	int bad = 0;

	session_fail(s, rc, e);
	if (src->paused)
		bad = src->released ? take_back(src, &why) : ops(src)->resume(self(src), &why);
	src->paused = false;
	session_say_abort(s, e);
	rc = session_error(s, e);
	if (bad)
		err_prefix(e, "%s, after", why.text);
	session_cut(s);
	return rc;
}

int source_run(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	bool granted;
	int rc;

	src->start_ns = clock_ns();
	session_notify(s);
	rc = source_setup(src, e);
	if (!rc)
		rc = precopy(src, e);
	if (!rc)
		rc = stop(src, e);
	if (!rc)
		rc = handover(src, e);
	granted = s->phase >= MIGRATE_GRANT;
	if (rc && !granted)
		rc = give_up(src, rc, e);
	session_cut(s);
	if (src->pool_ok)
		sender_pool_stop(&src->pool);
	if (rc && rc != -EINPROGRESS && src->logging) {
		ops(src)->throttle(self(src), 0);
		ops(src)->dirty_stop(self(src));
	}
	if (rc)
		keep_error(src, rc, e);
	if (rc && rc != -EINPROGRESS)
		session_step(s, session_cancelled(s) && !granted ? MIGRATE_CANCELLED : MIGRATE_FAILED);
	if (src->pool_ok)
		sender_pool_free(&src->pool);
	return rc;
}

int source_cancel(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->phase >= MIGRATE_GRANT) {
		rc = err_set(e, -EBUSY, s->phase == MIGRATE_GRANT || s->phase == MIGRATE_IN_DOUBT ?
			     "too late, decision pending" : "too late, it is over");
	} else if (!s->cancelled) {
		s->cancelled = true;
		err_set(&s->err, -ECANCELED, "cancelled");
	}
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	if (!rc)
		session_cut_data(s);
	return rc;
}

void source_abandon(struct source *src)
{
	atomic_store(&src->s.abandoned, true);
}

void source_stats(struct source *src, struct migrate_stats *out)
{
	struct session *s = &src->s;

	pthread_mutex_lock(&s->lock);
	*out = s->stats;
	out->phase = s->phase;
	pthread_mutex_unlock(&s->lock);
}
