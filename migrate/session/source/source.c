/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source - the side the domain leaves, from its making to its last word.
 *
 * source_setup.c finds the other side, source_precopy.c copies while the domain
 * runs, source_handover.c stops it and gives it away (rule H).
 *
 * Up to GRANT every way out leads through give_up(): the domain goes on here,
 * first of all, then the rest is cleared away.  From GRANT on the only ways out
 * are an outcome from the arbiter (or the destination's word that it committed,
 * which it can only say after the arbiter did).
 */
#include "migrate/session/source/source_int.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int source_create(struct source **out, const struct migrate_params *p, struct err *e)
{
	struct source *src = calloc(1, sizeof(*src));
	int rc;

	if (!src)
		return err_set(e, -ENOMEM, "migration: out of memory");
	src->p = *p;
	rc = session_init(&src->s, MIGRATE_SOURCE, &src->p, e);
	if (rc) {
		free(src);
		return rc;
	}
	src->start_ns = clock_ns();
	src->s.stats.dry_run = p->dry_run;
	src->s.stats.limits.timeout_ms = p->timeout_ms;
	src->s.stats.limits.bandwidth = p->bandwidth;
	src->s.stats.limits.downtime_ms = p->downtime_ms ? p->downtime_ms : MIGRATE_DOWNTIME_MS;
	src->s.stats.limits.throttle = p->throttle_max;
	converge_init(&src->conv, p->downtime_ms ? p->downtime_ms : MIGRATE_DOWNTIME_MS,
		      p->throttle_max);
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

static int keep_error(struct source *src, int code, const struct err *e)
{
	struct session *s = &src->s;

	pthread_mutex_lock(&s->lock);
	s->stats.error = code;
	snprintf(s->stats.text, sizeof(s->stats.text), "%s", e->text);
	source_refresh_stats(src);
	pthread_mutex_unlock(&s->lock);
	return code;
}

/* Before GRANT: the domain goes on here. */
static int give_up(struct source *src, int rc, struct err *e)
{
	struct session *s = &src->s;
	bool released = src->released;
	struct err why;
	int bad = 0;

	assert(s->phase < MIGRATE_GRANT); /* rule H: after it only an outcome leads out */
	assert(!released || src->paused);
	session_fail(s, rc, e);
	if (released) /* getting it back may take its time: the other side need not wait for that */
		session_say_abort(s, e);
	if (src->paused)
		bad = source_take_back(src, src->p.own_incarnation, &why);
	if (!released)
		session_say_abort(s, e);
	rc = session_error(s, e);
	if (bad)
		err_prefix(e, "%s, after", why.text);
	session_cut(s);
	return bad ? bad : rc;
}

int source_run(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	bool granted;
	int rc;

	assert(s->phase == MIGRATE_SETUP && !src->paused && !src->released);
	src->start_ns = clock_ns();
	session_notify(s);
	rc = source_setup(src, e);
	if (rc == -ECANCELED && src->p.dry_run && !session_cancelled(s)) {
		session_cut(s);
		session_step(s, MIGRATE_CANCELLED);
		sender_pool_free(&src->pool);
		return 0;
	}
	if (!rc)
		rc = source_precopy(src, e);
	if (!rc)
		rc = source_stop(src, e);
	if (!rc)
		rc = source_handover(src, e);
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
		rc = err_set(e, -EBUSY, "too late, %s",
			     s->phase == MIGRATE_GRANT || s->phase == MIGRATE_IN_DOUBT ? "decision pending" : "it is over");
	} else if (!s->cancelled && !s->failed) { /* what failed already is not told as cancelled */
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
	session_stats(&src->s, out);
}
