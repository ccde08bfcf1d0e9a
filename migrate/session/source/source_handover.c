/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_handover - the stop, the last set, and the domain given away: STOP, READY
 * and GRANT as this side lives them (rule H, handover.h).
 */
#include "migrate/session/source/source_int.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define READY_MS 60000u      /* it loads the device state; a dead peer is noticed long before */
#define DECISION_MS 3000u    /* after GRANT, before this side asks the arbiter by itself */
#define TAKE_BACK_MS 200     /* between two tries to get the disks back */
#define FINAL_HERE_PAGES 64u /* a last set up to here is sent without waking the senders */

/* --- stop --- */

static int send_state(struct source *src, struct err *e)
{
	uint8_t head[WIRE_STATE_HEAD], *buf = NULL;
	size_t len, at, n;
	struct iovec iov[3];
	struct writer w;
	int rc;

	rc = ops(src)->save(self(src), &buf, &len, e);
	if (rc)
		return rc;
	if (!len || len > GUEST_STATE_MAX)
		rc = err_set(e, -E2BIG, "device state: %zu bytes, at most %u", len, GUEST_STATE_MAX);
	for (at = 0; !rc && at < len; at += n) {
		n = len - at < STATE_PART_MAX ? len - at : STATE_PART_MAX;
		w = writer_make(head, sizeof(head));
		wire_put_state_part(&w, (uint32_t)len, (uint32_t)at);
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
int source_stop(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	struct migrate_stats *st = &s->stats;
	struct session_record *rec;
	uint64_t t;
	int rc;

	assert(s->phase == MIGRATE_PRECOPY && src->logging && !src->paused);
	src->pause_ns = clock_ns();
	src->paused = true;
	rc = ops(src)->pause(self(src), e);
	if (rc)
		return rc;
	atomic_store(&s->reader_phase, IN_STOP);
	note(src, &st->pause_us, us_since(src->pause_ns));
	t = clock_ns();
	rc = source_fetch_dirty(src, e);
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
		rc = source_wait_senders(src, e);
	if (rc)
		return rc;
	note(src, &st->last_us, us_since(t));
	t = clock_ns();
	rc = session_expect(&src->s, WIRE_READY, READY_MS, &rec, e);
	if (rc)
		return rc;
	free(rec);
	note(src, &st->state_us, us_since(t));
	session_enter(s, MIGRATE_READY);
	return 0;
}

/* --- handover --- */

/* READY -> GRANT, unless somebody cancelled or the link broke: one of them comes first. */
static int enter_grant(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = session_over(s, e);
	if (!rc) {
		assert(src->paused && src->released && handover_legal(s->role, s->phase, MIGRATE_GRANT)); /* rule H */
		s->phase = MIGRATE_GRANT;
		atomic_store(&s->reader_phase, IN_GRANT);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/*
 * After DECISION(commit): that it runs there, or why it does not.  A destination that says no more
 * may have died: then the arbiter is asked, so that nobody is told "moved" on its word alone.
 */
static int hear_running(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	struct session_record *rec;
	char text[400];
	struct reader r;
	int rc;

	rc = session_recv(s, &rec, session_now_ms() + DECISION_MS, e);
	if (rc)
		return rc;
	if (rec->type == WIRE_CANNOT_RUN) {
		r = reader_make(rec->payload, rec->len);
		rc = wire_get_abort(&r, text, sizeof(text));
		err_set(&src->not_running, rc, "destination: %s", text);
		rc = 0;
	} else if (rec->type != WIRE_RUNNING) {
		rc = err_set(e, -EPROTO, "destination sent %s, expected RUNNING", wire_type_name(rec->type));
	}
	free(rec);
	return rc;
}

/* What the destination says about the outcome; 0 and @out, or an error: then the arbiter knows. */
static int hear_decision(struct source *src, enum outcome *out, struct err *e)
{
	struct session_record *rec;
	struct reader r;
	struct wire_decision said;
	int rc;

	rc = session_expect(&src->s, WIRE_DECISION, DECISION_MS, &rec, e);
	if (rc)
		return rc;
	r = reader_make(rec->payload, rec->len);
	wire_get_decision(&r, &said);
	free(rec);
	if (said.outcome == OUTCOME_COMMIT && said.incarnation == src->p.incarnation) {
		*out = OUTCOME_COMMIT;
		rc = hear_running(src, e);
		return src->p.arbiter.ops->word_is_enough ? 0 : rc;
	}
	if (said.outcome == OUTCOME_ABORT && said.incarnation == src->p.incarnation) {
		*out = OUTCOME_ABORT;
		err_set(e, -ECANCELED, "the destination could not take the domain over");
		return src->p.arbiter.ops->word_is_enough ? 0 : e->code;
	}
	return err_set(e, -EPROTO, "DECISION: outcome %u for incarnation %llu", said.outcome,
		       (unsigned long long)said.incarnation);
}

static int committed(struct source *src)
{
	struct migrate_stats *st = &src->s.stats;
	const struct err *bad = &src->not_running;

	assert(src->paused && src->released);
	pthread_mutex_lock(&src->s.lock);
	/* RUNNING ends the downtime as it is seen from here; without it, the decision does. */
	st->downtime_us = us_since(src->pause_ns);
	st->error = bad->code;
	snprintf(st->text, sizeof(st->text), "%s", bad->text);
	source_refresh_stats(src);
	st->remaining = 0;
	pthread_mutex_unlock(&src->s.lock);
	session_step(&src->s, MIGRATE_COMMITTED);
	ops(src)->gone(self(src));
	session_step(&src->s, MIGRATE_DONE);
	return 0;
}

static int try_take_back(struct source *src, uint64_t incarnation, struct err *e)
{
	int rc;

	rc = ops(src)->prepare(self(src), e);
	if (!rc)
		rc = ops(src)->commit(self(src), incarnation, e);
	if (!rc)
		rc = ops(src)->resume(self(src), e);
	if (!rc)
		src->paused = src->released = false;
	return rc;
}

/* In everybody's sight: why it still stands. */
static void say_it_stands(struct source *src, const struct err *e)
{
	struct session *s = &src->s;
	bool news;

	pthread_mutex_lock(&s->lock);
	news = s->phase != MIGRATE_TAKE_BACK || strcmp(s->stats.text, e->text);
	s->stats.error = e->code;
	snprintf(s->stats.text, sizeof(s->stats.text), "%s", e->text);
	pthread_mutex_unlock(&s->lock);
	if (s->phase != MIGRATE_TAKE_BACK)
		session_step(s, MIGRATE_TAKE_BACK);
	else if (news)
		session_notify(s);
}

int source_take_back(struct source *src, uint64_t incarnation, struct err *e)
{
	struct timespec t = { .tv_nsec = TAKE_BACK_MS * (long)NS_PER_MS };
	int rc;

	assert(src->paused);
	for (;;) {
		rc = try_take_back(src, incarnation, e);
		if (!rc)
			return 0;
		err_prefix(e, "the domain stays here, but cannot go on");
		if (rc == -EPERM) /* somebody has run it since: it never may again */
			return rc;
		say_it_stands(src, e);
		if (atomic_load(&src->s.abandoned))
			return err_set(e, -EINPROGRESS, "ended while it was taken back: %s", e->text);
		nanosleep(&t, NULL);
	}
}

int source_handover(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	uint8_t buf[8];
	struct writer w = writer_make(buf, sizeof(buf));
	uint64_t t = clock_ns();
	enum outcome outcome = OUTCOME_ABORT;
	struct err why = { 0 };
	int rc;

	assert(s->phase == MIGRATE_READY && src->paused && !src->released);
	rc = ops(src)->release(self(src), e);
	src->released = true;
	if (!rc)
		rc = enter_grant(src, e);
	if (rc)
		return rc;
	/* From here on only an outcome leads out. */
	src->p.at_step(src->p.arg, MIGRATE_SOURCE, MIGRATE_GRANT, true);
	wire_put_grant(&w, src->p.incarnation);
	assert(writer_len(&w) == sizeof(buf));
	rc = session_send(s, WIRE_GRANT, buf, sizeof(buf), &why);
	session_notify(s);
	src->p.at_step(src->p.arg, MIGRATE_SOURCE, MIGRATE_GRANT, false);
	if (!rc)
		rc = hear_decision(src, &outcome, &why);
#ifdef MUTANT_RESUME_AFTER_GRANT
	if (rc) {
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
	rc = source_take_back(src, src->p.back_incarnation, e);
	return rc ? rc : err_set(e, -ECANCELED, "%s: the domain stays here", why.text);
}
