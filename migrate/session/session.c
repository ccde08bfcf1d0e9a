/* SPDX-License-Identifier: Apache-2.0 */
/* session - see session.h. */
#include "migrate/session/session.h"

#include "base/clock.h"
#include "base/confine.h"
#include "base/lock.h"
#include "base/text.h"
#include "base/wait.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/*
 * Records the controller has not taken yet: a device state and some news (rule S).  A short one counts
 * as more than it is, for it takes memory too, and of those without a payload there would be no end.
 */
#define QUEUE_MAX ((uint64_t)GUEST_STATE_MAX + (8u << 20))
#define RECORD_COST 1024u
#define RECORD_MAX (8u + STATE_PART_MAX)
#define LAST_WORDS_MS 300u /* how long a broken link's ABORT is waited for */
#define ASK_MS 1000        /* one question to the arbiter */
#define ABORT_SEND_MS 50   /* a cancel must be over in 100 ms */

uint64_t session_now_ms(void)
{
	return wait_now() / NS_PER_MS;
}

bool session_wait_until(struct session *s, uint64_t deadline_ms)
{
	return wait_until(&s->cond, &s->lock, deadline_ms * NS_PER_MS);
}

/* Something changed that a waiter may wait for; lock not held. */
static void wake(struct session *s)
{
	pthread_mutex_lock(&s->lock);
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void no_notify(void *arg, const struct migrate_stats *st)
{
}

static void no_step(void *arg, enum migrate_role role, enum migrate_phase phase, bool before)
{
}

int session_init(struct session *s, enum migrate_role role, struct migrate_params *p,
		 struct err *e)
{
	size_t i;
	int rc;

	memset(s, 0, sizeof(*s));
	s->role = role;
	s->p = p;
	if (!p->notify)
		p->notify = no_notify;
	if (!p->at_step)
		p->at_step = no_step;
	s->dead_ms = p->dead_ms ? p->dead_ms : MIGRATE_DEAD_MS;
	s->last = &s->first;
	s->stats.role = role;
	s->stats.converging = true;
	rc = p->guest.ops->regions(p->guest.self, s->regions, GUEST_REGIONS_MAX, &s->n_regions, e);
	if (rc)
		return rc;
	assert(s->n_regions <= GUEST_REGIONS_MAX);
	for (i = 0; i < s->n_regions; i++) {
		assert(s->regions[i].host && s->regions[i].size % GUEST_PAGE == 0);
		s->total += s->regions[i].size;
	}
	s->stats.total = s->total;
	s->stats.remaining = s->total;
	pthread_mutex_init(&s->lock, NULL);
	wait_init(&s->cond);
	wait_init(&s->beat);
	atomic_store(&s->reader_phase, IN_SETUP);
	return 0;
}

void session_destroy(struct session *s)
{
	struct session_record *r;
	uint32_t i;

	pthread_mutex_lock(&s->lock);
	atomic_store(&s->closing, true);
	pthread_cond_broadcast(&s->beat);
	pthread_mutex_unlock(&s->lock);
	session_cut(s);
	if (s->threads) {
		pthread_join(s->reader, NULL);
		pthread_join(s->heartbeat, NULL);
	}
	channel_destroy(&s->control);
	/* All of them: one that was accepted before the rest failed to come counts in no n_data. */
	for (i = 0; i < WIRE_CHANNELS_MAX; i++)
		channel_destroy(&s->data[i]);
	while ((r = s->first)) {
		s->first = r->next;
		free(r);
	}
	pthread_cond_destroy(&s->cond);
	pthread_cond_destroy(&s->beat);
	pthread_mutex_destroy(&s->lock);
}

void session_capture(struct session *s, struct channel *ch, const char *name)
{
	char path[4096];

	if (!s->p->capture_dir)
		return;
	snprintf(path, sizeof(path), "%s/%s", s->p->capture_dir, name);
	ch->capture_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* --- reader --- */

static uint32_t cost(uint32_t len)
{
	return len > RECORD_COST ? len : RECORD_COST;
}

static void queue_record(struct session *s, struct session_record *r)
{
	pthread_mutex_lock(&s->lock);
	r->next = NULL;
	assert(!*s->last && s->queued + cost(r->len) <= QUEUE_MAX);
	*s->last = r;
	s->last = &r->next;
	s->queued += cost(r->len);
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static bool from_network(int code)
{
	return code == -ECONNRESET || code == -EPIPE || code == -ECONNABORTED;
}

static void heard_abort(struct session *s, const uint8_t *payload, uint32_t len)
{
	struct reader r = reader_make(payload, len);
	char text[400];
	struct err e;
	int code;

	code = wire_get_abort(&r, text, sizeof(text));
	err_set(&e, code, "%s: %s", s->role == MIGRATE_SOURCE ? "destination" : "source", text);
	pthread_mutex_lock(&s->lock);
	if (!s->aborted_by_peer && !s->cancelled && (!s->failed || from_network(s->err.code))) {
		s->aborted_by_peer = true;
		s->err = e; /* its own words beat what the cut looked like from here, not our own reason */
	}
	pthread_mutex_unlock(&s->lock);
	session_fail(s, code, &e);
}

/* The phase the peer put this reader into by sending @type (docs/stream.md, "Records"). */
static void follow_phase(struct session *s, uint16_t type)
{
	if (type == WIRE_DEV_STATE)
		atomic_store(&s->reader_phase, IN_STOP);
	else if (type == WIRE_GRANT)
		atomic_store(&s->reader_phase, IN_GRANT);
}

static int read_one(struct session *s, uint8_t *buf, struct err *e)
{
	struct session_record *r;
	struct wire_header h;
	bool full;
	int rc;

	rc = channel_begin(&s->control, &s->reader_phase, &h, (int)s->dead_ms, e);
	if (rc)
		return rc;
	if (h.length > RECORD_MAX)
		return err_set(e, -EPROTO, "%s: %u bytes", wire_type_name(h.type), h.length);
	rc = channel_take(&s->control, buf, h.length, (int)s->dead_ms, e);
	if (!rc)
		rc = channel_end(&s->control, e);
	if (rc || h.type == WIRE_PING)
		return rc;
	if (h.type == WIRE_ABORT) {
		heard_abort(s, buf, h.length);
		return 0;
	}
	pthread_mutex_lock(&s->lock);
	full = s->queued + cost(h.length) > QUEUE_MAX;
	pthread_mutex_unlock(&s->lock);
	if (full)
		return err_set(e, -EPROTO, "peer sends faster than it is heard");
	r = malloc(sizeof(*r) + h.length);
	if (!r)
		return err_set(e, -ENOMEM, "%s: out of memory", wire_type_name(h.type));
	r->type = h.type;
	r->len = h.length;
	if (h.length) /* else @buf may be NULL */
		memcpy(r->payload, buf, h.length);
	follow_phase(s, h.type);
	queue_record(s, r);
	return 0;
}

static void link_lost(struct session *s, int code, struct err *e)
{
	bool granted;

	pthread_mutex_lock(&s->lock);
	/* In these phases the link decides nothing any more (rule H). */
	granted = s->phase >= MIGRATE_GRANT || atomic_load(&s->reader_phase) == IN_GRANT;
	pthread_mutex_unlock(&s->lock);
	if (code == -ETIMEDOUT)
		err_set(e, code, "%s: no sign of life for %d ms", s->control.stream->peer,
			(int)s->dead_ms);
	if (!granted)
		session_fail(s, code, e); /* before link_down: whoever waits wakes to the reason */
	pthread_mutex_lock(&s->lock);
	s->link_down = true;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void *reader_main(void *arg)
{
	struct session *s = arg;
	uint8_t *buf = malloc(RECORD_MAX);
	struct err e = { 0 };
	int rc;

	confine(CONFINE_RECEIVE);
	rc = buf ? 0 : err_set(&e, -ENOMEM, "control: out of memory");
	while (!rc && !atomic_load(&s->closing))
		rc = read_one(s, buf, &e);
	if (rc && !atomic_load(&s->closing))
		link_lost(s, rc, &e);
	free(buf);
	return NULL;
}

static void *heartbeat_main(void *arg)
{
	struct session *s = arg;
	struct err e;

	confine(CONFINE_SEND);
	pthread_mutex_lock(&s->lock);
	while (!atomic_load(&s->closing) && !s->link_down) {
		uint64_t tick = s->dead_ms / 4;

		wait_until(&s->beat, &s->lock, wait_now() + tick / 2 * NS_PER_MS);
		if (clock_ms() - atomic_load(&s->control.tx_last_ms) < tick / 2)
			continue;
		pthread_mutex_unlock(&s->lock);
		/* A failure shows in the reader, too: it hears nothing any more. */
		channel_send(&s->control, WIRE_PING, NULL, 0, (int)s->dead_ms, &e);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* #syscalls:engine clone(0&THREAD_FLAGS=THREAD_FLAGS) clone3!ENOSYS */
int session_start(struct session *s, struct err *e)
{
	assert(!s->threads && s->control.stream && s->dead_ms);
	stream_set_dead_ms(s->control.stream, s->dead_ms);
	pthread_mutex_lock(&s->lock);
	snprintf(s->stats.peer, sizeof(s->stats.peer), "%s", s->control.stream->peer);
	pthread_mutex_unlock(&s->lock);
	if (pthread_create(&s->reader, NULL, reader_main, s))
		return err_set(e, -EAGAIN, "cannot start the control reader");
	if (pthread_create(&s->heartbeat, NULL, heartbeat_main, s)) {
		atomic_store(&s->closing, true);
		channel_cut(&s->control);
		pthread_join(s->reader, NULL);
		return err_set(e, -EAGAIN, "cannot start the heartbeat");
	}
	s->threads = true;
	return 0;
}

/* --- phase and failure --- */

void session_stats(struct session *s, struct migrate_stats *out)
{
	pthread_mutex_lock(&s->lock);
	*out = s->stats;
	out->phase = s->phase;
	pthread_mutex_unlock(&s->lock);
}

int session_over(struct session *s, struct err *e)
{
	assert(lock_is_held(&s->lock));
	if (!s->failed && !s->cancelled)
		return 0;
	assert(s->err.code < 0); /* whoever ended it said why */
	*e = s->err;
	return s->err.code;
}

void session_notify(struct session *s)
{
	struct migrate_stats st;

	session_stats(s, &st);
	s->p->notify(s->p->arg, &st);
}

static void change_phase(struct session *s, enum migrate_phase to)
{
	pthread_mutex_lock(&s->lock);
	assert(handover_legal(s->role, s->phase, to)); /* rule H */
	s->phase = to;
	pthread_mutex_unlock(&s->lock);
}

void session_enter(struct session *s, enum migrate_phase to)
{
	change_phase(s, to);
	s->p->at_step(s->p->arg, s->role, to, false);
}

void session_step(struct session *s, enum migrate_phase to)
{
	change_phase(s, to);
	session_notify(s);
	s->p->at_step(s->p->arg, s->role, to, false);
}

void session_cut_data(struct session *s)
{
	uint32_t i, n = atomic_load(&s->n_data);

	atomic_store(&s->stop, true);
	for (i = 0; i < n; i++)
		channel_cut(&s->data[i]);
	wake(s);
}

void session_cut(struct session *s)
{
	channel_cut(&s->control);
	session_cut_data(s);
}

int session_fail(struct session *s, int code, const struct err *e)
{
	assert(code < 0);
	pthread_mutex_lock(&s->lock);
	if (!s->failed) {
		s->failed = true;
		if (!s->aborted_by_peer && !s->cancelled) {
			s->err = *e; /* after a cancel it is only an echo of that */
			s->err.code = code;
		}
	}
	pthread_mutex_unlock(&s->lock);
	session_cut_data(s);
	return code;
}

bool session_cancelled(struct session *s)
{
	bool yes;

	pthread_mutex_lock(&s->lock);
	yes = s->cancelled;
	pthread_mutex_unlock(&s->lock);
	return yes;
}

void session_say_abort(struct session *s, const struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	struct err why = *e, ignored;
	bool knows;

	pthread_mutex_lock(&s->lock);
	knows = s->aborted_by_peer;
	if (s->cancelled)
		why = s->err;
	pthread_mutex_unlock(&s->lock);
	if (!s->control.stream || knows)
		return;
	wire_put_abort(&w, why.code, why.text);
	channel_send(&s->control, WIRE_ABORT, buf, (uint32_t)writer_len(&w), ABORT_SEND_MS, &ignored);
}

int session_error(struct session *s, struct err *e)
{
	uint64_t deadline = session_now_ms() + LAST_WORDS_MS;

	pthread_mutex_lock(&s->lock);
	while (s->threads && !s->aborted_by_peer && !s->cancelled && !s->link_down &&
	       from_network(s->err.code))
		if (!session_wait_until(s, deadline))
			break;
	*e = s->err;
	pthread_mutex_unlock(&s->lock);
	return e->code;
}

int session_ask(struct session *s, enum outcome proposal, uint64_t incarnation, enum outcome *out,
		struct err *e)
{
	const struct arbiter *a = &s->p->arbiter;
	uint64_t end = clock_ms() + a->ops->give_up_ms; /* counts while the host sleeps, too */
	struct err why;

	assert(proposal == OUTCOME_COMMIT || proposal == OUTCOME_ABORT);
	assert(handover_may_run(s->role, s->phase) == MUST_ASK); /* rule H: neither earlier nor later */
	for (;;) {
		if (!a->ops->ask(a->self, s->role, proposal, incarnation, ASK_MS, out, &why))
			return 0;
		if (s->role == MIGRATE_DESTINATION && a->ops->give_up_ms && clock_ms() >= end)
			return err_set(e, -ETIME, "no decision within %u ms: %s", a->ops->give_up_ms,
				       why.text);
		if (s->phase == MIGRATE_GRANT) {
			pthread_mutex_lock(&s->lock);
			s->stats.error = -EINPROGRESS;
			snprintf(s->stats.text, sizeof(s->stats.text),
				 "in doubt who may run the domain: %s (now: %.240s)",
				 a->ops->advice(a->self), why.text);
			text_clean(s->stats.text); /* it may have been cut inside a character */
			pthread_mutex_unlock(&s->lock);
			session_step(s, MIGRATE_IN_DOUBT);
		}
		if (atomic_load(&s->abandoned))
			return err_set(e, -EINPROGRESS, "in doubt: %s", a->ops->advice(a->self));
	}
}

/* --- records --- */

int session_send(struct session *s, uint16_t type, const void *payload, uint32_t len, struct err *e)
{
	return channel_send(&s->control, type, payload, len, (int)s->dead_ms, e);
}

int session_recv(struct session *s, struct session_record **out, uint64_t deadline_ms,
		 struct err *e)
{
	struct session_record *r;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	while (!(r = s->first) && !s->failed && !s->link_down && !s->cancelled) {
		if (!session_wait_until(s, deadline_ms) && !s->first) {
			rc = -EAGAIN;
			break;
		}
	}
	if (r) {
		s->first = r->next;
		if (!s->first)
			s->last = &s->first;
		assert(s->queued >= cost(r->len));
		s->queued -= cost(r->len);
		*out = r;
	} else if (s->failed || s->cancelled) {
		rc = session_over(s, e);
	} else if (!rc) {
		rc = err_set(e, -ENOTCONN, "the connection to the peer is lost");
	} else {
		err_set(e, rc, "no answer in time");
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int session_expect(struct session *s, uint16_t type, uint32_t wait_ms, struct session_record **out,
		   struct err *e)
{
	bool source = s->role == MIGRATE_SOURCE;
	const char *peer = source ? "destination" : "source";
	int rc = session_recv(s, out, session_now_ms() + wait_ms, e);

	if (rc == -EAGAIN)
		return err_set(e, -ETIMEDOUT, "%s did not %s %s within %u ms", peer,
			       source ? "answer with" : "send", wire_type_name(type), wait_ms);
	if (rc)
		return rc;
	if ((*out)->type == type)
		return 0;
	rc = err_set(e, -EPROTO, "%s sent %s, expected %s", peer, wire_type_name((*out)->type),
		     wire_type_name(type));
	free(*out);
	return rc;
}
