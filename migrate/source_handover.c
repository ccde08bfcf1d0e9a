/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_handover - the stop, the last set, and the domain given away: STOP, READY
 * and GRANT as this side lives them (rule H, handover.h).
 */
#include "migrate/source_int.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

#define READY_MS 60000u       /* it loads the device state; a dead peer is noticed long before */
#define DECISION_MS 3000u     /* after GRANT, before this side asks the arbiter by itself */
#define FINAL_HERE_PAGES 64u  /* a last set up to here is sent without waking the senders */

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
int source_stop(struct source *src, struct err *e)
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

	rc = session_expect(&src->s, WIRE_DECISION, DECISION_MS, &rec, e);
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
	if (said == OUTCOME_ABORT && incarnation == src->p.incarnation) {
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
	if (!session_expect(&src->s, WIRE_RUNNING, src->s.dead_ms, &rec, &ignored))
		free(rec);
	pthread_mutex_lock(&src->s.lock);
	st->downtime_us = us_since(src->pause_ns);
	st->error = 0;
	st->text[0] = '\0';
	source_refresh_stats(src);
	st->remaining = 0;
	pthread_mutex_unlock(&src->s.lock);
	session_step(&src->s, MIGRATE_COMMITTED);
	ops(src)->gone(self(src));
	session_step(&src->s, MIGRATE_DONE);
	return 0;
}

int source_take_back(struct source *src, struct err *e)
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

int source_handover(struct source *src, struct err *e)
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
	rc = source_take_back(src, e);
	return rc ? rc : err_set(e, -ECANCELED, "%s: the domain stays here", why.text);
}
