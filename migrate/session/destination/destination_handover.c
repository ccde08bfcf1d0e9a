/* SPDX-License-Identifier: Apache-2.0 */
/*
 * destination_handover - READY, GRANT and the outcome as this side lives them (rule H,
 * handover.h): what it loads stands still until the arbiter has said commit.
 */
#include "migrate/session/destination/destination_int.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define PREPARE_MS 2000u /* what passes is waited for: well before the source asks by itself (DECISION_MS) */
#define RETRY_MS 50

int destination_ready(struct destination *d, struct err *e)
{
	const struct guest *g = &d->p.guest;
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	uint64_t t = clock_ns();
	int rc;

	assert(d->state && d->state_got == d->state_len); /* whole */
	rc = g->ops->load(g->self, d->state, d->state_len, e);
	if (rc)
		return rc;
	d->load_ns = clock_ns() - t;
	wire_put_ready(&w, atomic_load(&d->pool.sink.data_pages) + atomic_load(&d->pool.sink.zero_pages), d->load_ns);
	session_enter(&d->s, MIGRATE_READY);
	atomic_store(&d->s.reader_phase, IN_READY); /* before the source can answer */
	rc = session_send(&d->s, WIRE_READY, buf, (uint32_t)writer_len(&w), e);
	session_notify(&d->s);
	return rc;
}

static int wait_grant(struct destination *d, struct err *e)
{
	struct session *s = &d->s;
	struct session_record *rec;
	struct reader r;
	uint64_t incarnation;
	int rc;

	/* Its type too: what else is left in the queue (a piece of state too many) grants nothing. */
	rc = session_expect(s, WIRE_GRANT, DESTINATION_GRANT_MS, &rec, e);
	if (rc)
		return rc;
	r = reader_make(rec->payload, rec->len);
	incarnation = wire_get_grant(&r);
	free(rec);
	if (incarnation != d->incarnation)
		return err_set(e, -EPROTO, "GRANT: incarnation %llu, expected %llu",
			       (unsigned long long)incarnation, (unsigned long long)d->incarnation);
	/* A cancel that came first stands: this side will never ask, so the source gets it back. */
	pthread_mutex_lock(&s->lock);
	if (s->cancelled) {
		*e = s->err;
		rc = s->err.code;
	} else {
		assert(handover_legal(s->role, s->phase, MIGRATE_GRANT)); /* rule H */
		s->phase = MIGRATE_GRANT;
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static void say_decision(struct destination *d, enum outcome o)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	struct err ignored;

	wire_put_decision(&w, &(struct wire_decision){ .outcome = (uint32_t)o, .incarnation = d->incarnation });
	session_send(&d->s, WIRE_DECISION, buf, (uint32_t)writer_len(&w), &ignored);
}

static void say_running(struct destination *d, uint64_t grant_ns, uint64_t decision_ns)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	struct err ignored;

	wire_put_running(&w, decision_ns - grant_ns, clock_ns() - decision_ns);
	session_send(&d->s, WIRE_RUNNING, buf, (uint32_t)writer_len(&w), &ignored);
}

static void say_cannot_run(struct destination *d, const struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	struct err ignored;

	wire_put_abort(&w, e->code, e->text);
	session_send(&d->s, WIRE_CANNOT_RUN, buf, (uint32_t)writer_len(&w), &ignored);
}

/* Until @end_ms of clock_ms(); false when it has passed, or nobody wants to know any more. */
static bool wait_a_little(struct destination *d, uint64_t end_ms)
{
	struct timespec t = { .tv_nsec = RETRY_MS * (long)NS_PER_MS };

	if (clock_ms() >= end_ms || atomic_load(&d->s.abandoned))
		return false;
	nanosleep(&t, NULL);
	return true;
}

/* Everything in hand before anybody is asked: what fails here costs the domain a moment, not its life. */
static int prepare(struct destination *d, struct err *e)
{
	const struct guest *g = &d->p.guest;
	uint64_t end = clock_ms() + PREPARE_MS;
	int rc;

	do {
		rc = g->ops->prepare(g->self, e);
	} while (rc && rc != -EPERM && wait_a_little(d, end));
	return rc;
}

/* The arbiter has said so already: nobody else may run it now, so what passes is waited for. */
static int commit(struct destination *d, struct err *e)
{
	const struct guest *g = &d->p.guest;
	uint64_t end = clock_ms() + PREPARE_MS;
	int rc;

	do {
		rc = g->ops->commit(g->self, d->incarnation, e);
	} while (rc && rc != -EPERM && wait_a_little(d, end));
	return rc ? rc : g->ops->resume(g->self, e);
}

static int run_here(struct destination *d, uint64_t grant_ns, struct err *e)
{
	uint64_t decision_ns = clock_ns();
	int rc;

	session_enter(&d->s, MIGRATE_COMMITTED);
	rc = commit(d, e);
	if (!rc)
		session_notify(&d->s);
	/* Also when it cannot run: it is ours by now, the source must not take it back. */
	say_decision(d, OUTCOME_COMMIT);
	if (rc) {
		err_prefix(e, "the domain belongs here now, but cannot run");
		say_cannot_run(d, e);
		return rc;
	}
	say_running(d, grant_ns, decision_ns);
	pthread_mutex_lock(&d->s.lock);
	destination_refresh_stats(d);
	pthread_mutex_unlock(&d->s.lock);
	session_step(&d->s, MIGRATE_DONE);
	return 0;
}

/* The source takes it back: by then nothing of it may be left here.  @why: not to be forgotten meanwhile. */
static int give_back(struct destination *d, int why, struct err *e)
{
	const struct guest *g = &d->p.guest;
	struct err ignored;

	while (g->ops->let_go(g->self, &ignored))
		if (!wait_a_little(d, UINT64_MAX))
			return err_set(e, -EINPROGRESS, "cannot let go of the domain: %s", ignored.text);
	say_decision(d, OUTCOME_ABORT);
	return why;
}

int destination_handover(struct destination *d, struct err *e)
{
	struct session *s = &d->s;
	uint64_t grant_ns;
	enum outcome outcome;
	int rc;

	rc = wait_grant(d, e);
#ifdef MUTANT_RUN_WITHOUT_GRANT
	pthread_mutex_lock(&s->lock);
	s->phase = MIGRATE_GRANT;
	pthread_mutex_unlock(&s->lock);
	rc = 0;
#endif
	if (rc)
		return rc;
	grant_ns = clock_ns();
	s->p->at_step(s->p->arg, MIGRATE_DESTINATION, MIGRATE_GRANT, false);
	rc = prepare(d, e);
#ifdef MUTANT_COMMIT_UNPREPARED
	rc = 0;
#endif
	if (rc)
		return give_back(d, rc, e);
	rc = session_ask(s, OUTCOME_COMMIT, d->incarnation, &outcome, e);
	if (!rc && outcome == OUTCOME_COMMIT)
		return run_here(d, grant_ns, e);
	if (!rc)
		rc = err_set(e, -ECANCELED, "the source kept the domain");
	return rc == -EINPROGRESS ? rc : give_back(d, rc, e);
}
