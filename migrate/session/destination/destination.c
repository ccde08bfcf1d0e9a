/* SPDX-License-Identifier: Apache-2.0 */
/*
 * destination - the side the domain comes to, from its making to its last word.
 *
 * It believes nothing until the end: pages are counted and checked, the state
 * is loaded, and only then does it say READY.  It runs nothing before it was
 * granted and the arbiter said commit (rule H).  Whatever goes wrong before
 * GRANT ends here: the caller throws the half-filled machine away, the domain
 * is the source's.
 *
 * destination_setup.c waits for the source, destination_handover.c takes the
 * domain over; what lies between, the receiving, is here.
 */
#include "migrate/session/destination/destination_int.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int destination_create(struct destination **out, const struct migrate_params *p, struct err *e)
{
	struct destination *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return err_set(e, -ENOMEM, "migration: out of memory");
	d->p = *p;
	rc = session_init(&d->s, MIGRATE_DESTINATION, &d->p, e);
	if (rc) {
		free(d);
		return rc;
	}
	*out = d;
	return 0;
}

void destination_destroy(struct destination *d)
{
	if (!d)
		return;
	session_destroy(&d->s);
	free(d->state);
	free(d);
}

static void take_progress(struct destination *d, const struct session_record *rec)
{
	struct reader r = reader_make(rec->payload, rec->len);
	struct migrate_stats *st = &d->s.stats;
	struct wire_progress p;

	wire_get_progress(&r, &p);
	pthread_mutex_lock(&d->s.lock);
	st->round = (uint32_t)p.round;
	st->remaining = p.remaining;
	st->dirty_rate = p.dirty_rate;
	st->done = st->total;
	destination_refresh_stats(d);
	pthread_mutex_unlock(&d->s.lock);
	session_notify(&d->s);
}

static int take_state(struct destination *d, const struct session_record *rec, struct err *e)
{
	struct reader r = reader_make(rec->payload, rec->len);
	struct wire_state_part p;

	wire_get_state_part(&r, &p);
	if (!d->state) {
		if (!p.total || p.total > GUEST_STATE_MAX)
			return err_set(e, -EPROTO, "DEV_STATE: %u bytes in all, expected 1 to %u", p.total,
				       GUEST_STATE_MAX);
		d->state = malloc(p.total);
		if (!d->state)
			return err_set(e, -ENOMEM, "device state: out of memory");
		d->state_len = p.total;
		session_enter(&d->s, MIGRATE_STOP);
	}
	if (p.total != d->state_len || p.offset != d->state_got || p.len > p.total - p.offset)
		return err_set(e, -EPROTO, "DEV_STATE: %u bytes at %u of %u, expected them at %u of %u", p.len,
			       p.offset, p.total, d->state_got, d->state_len);
	memcpy(d->state + p.offset, p.bytes, p.len);
	d->state_got += p.len;
	assert(d->state_got <= d->state_len);
	return 0;
}

/* Everything up to the last byte of state and the last connection's FINAL. */
static int receive(struct destination *d, struct err *e)
{
	struct session *s = &d->s;
	struct session_record *rec;
	int rc = 0;

	while (!rc && (!d->state || d->state_got < d->state_len)) {
		rc = session_recv(s, &rec, session_now_ms() + DESTINATION_GRANT_MS, e);
		if (rc == -EAGAIN) {
			rc = 0; /* a long round: that the source lives, the heartbeat shows */
			continue;
		}
		if (rc)
			break;
		if (rec->type == WIRE_PROGRESS)
			take_progress(d, rec);
		else if (rec->type == WIRE_DEV_STATE)
			rc = take_state(d, rec, e);
		else
			rc = err_set(e, -EPROTO, "%s is not legal here", wire_type_name(rec->type));
		free(rec);
	}
	if (rc)
		return rc;
	pthread_mutex_lock(&s->lock);
	while (!receiver_pool_done(&d->pool) && !s->failed && !s->cancelled)
		session_wait_until(s, session_now_ms() + DESTINATION_GRANT_MS);
	rc = session_over(s, e);
	if (!rc && s->first) /* the state was whole: nothing may come before READY has left */
		rc = err_set(e, -EPROTO, "%s after the last piece of device state",
			     wire_type_name(s->first->type));
	pthread_mutex_unlock(&s->lock);
	return rc ? rc : receiver_pool_complete(&d->pool, e);
}

int destination_run(struct destination *d, struct err *e)
{
	struct session *s = &d->s;
	bool granted;
	int rc;

	assert(s->phase == MIGRATE_SETUP && !d->pool_ok);
	session_notify(s);
	rc = destination_setup(d, e);
	if (!rc)
		rc = receive(d, e);
	if (!rc)
		rc = destination_ready(d, e);
	if (!rc)
		rc = destination_handover(d, e);
	granted = s->phase >= MIGRATE_GRANT;
	if (rc && !granted) {
		session_fail(s, rc, e);
		session_say_abort(s, e);
		rc = session_error(s, e);
	}
	session_cut(s);
	if (d->pool_ok)
		receiver_pool_stop(&d->pool);
	prefault_stop(&d->prefault);
	if (d->pool_ok)
		receiver_pool_free(&d->pool);
	if (rc && rc != -EINPROGRESS) {
		pthread_mutex_lock(&s->lock);
		s->stats.error = rc;
		snprintf(s->stats.text, sizeof(s->stats.text), "%s", e->text);
		pthread_mutex_unlock(&s->lock);
		session_step(s, session_cancelled(s) && !granted ? MIGRATE_CANCELLED : MIGRATE_FAILED);
	}
	return rc;
}

int destination_cancel(struct destination *d, struct err *e)
{
	struct session *s = &d->s;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->phase >= MIGRATE_GRANT || atomic_load(&s->reader_phase) == IN_GRANT) {
		rc = err_set(e, -EBUSY, "too late, decision pending");
	} else if (!s->cancelled && !s->failed) {
		s->cancelled = true;
		err_set(&s->err, -ECANCELED, "cancelled at the destination");
	}
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	if (!rc)
		session_cut_data(s);
	return rc;
}

void destination_abandon(struct destination *d)
{
	atomic_store(&d->s.abandoned, true);
}

void destination_stats(struct destination *d, struct migrate_stats *out)
{
	session_stats(&d->s, out);
}
