/* SPDX-License-Identifier: Apache-2.0 */
/*
 * destination - the side the domain comes to.
 *
 * It believes nothing until the end: pages are counted and checked, the state
 * is loaded, and only then does it say READY.  It runs nothing before it was
 * granted and the arbiter said commit (rule H).  Whatever goes wrong before
 * GRANT ends here: the caller throws the half-filled machine away, the domain
 * is the source's.
 */
#include "migrate/migrate.h"

#include "base/clock.h"
#include "migrate/ahead.h"
#include "migrate/hello.h"
#include "migrate/receiver.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define HELLO_MS 1000         /* a connection that says nothing is not waited for */
#define SETUP_MS 10000u
#define DATA_MS 5000u         /* the source opens its data connections at once */
#define ACCEPT_SLICE_MS 50    /* how late a cancel may be noticed */
#define GRANT_MS 60000u       /* a dead source is noticed long before */

struct destination {
	struct migrate_params p;
	struct session s;
	struct receiver_pool pool;
	bool pool_ok;
	struct ahead ahead;
	uint64_t incarnation;     /* what it will have here */
	uint8_t *state;
	uint32_t state_len, state_got;
	uint64_t start_ns, load_ns;
};

static void no_notify(void *arg, const struct migrate_stats *st)
{
}

static void no_step(void *arg, enum migrate_role role, enum migrate_phase phase, bool before)
{
}

int destination_create(struct destination **out, const struct migrate_params *p, struct err *e)
{
	struct destination *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return err_set(e, -ENOMEM, "migration: out of memory");
	d->p = *p;
	if (!d->p.notify)
		d->p.notify = no_notify;
	if (!d->p.at_step)
		d->p.at_step = no_step;
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

/* --- connections --- */

static int cancelled(struct destination *d, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&d->s.lock);
	if (d->s.failed || d->s.cancelled) {
		*e = d->s.err;
		rc = d->s.err.code;
	}
	pthread_mutex_unlock(&d->s.lock);
	return rc;
}

/* The next connection, until @deadline_ms (0: for ever), a cancel or a failure. */
static int next_stream(struct destination *d, uint64_t deadline_ms, struct stream **out,
		       struct err *e)
{
	int rc;

	for (;;) {
		rc = cancelled(d, e);
		if (rc)
			return rc;
		rc = d->p.link.open(d->p.link.arg, ACCEPT_SLICE_MS, out, e);
		if (rc != -ETIMEDOUT)
			return rc;
		if (deadline_ms && session_now_ms() >= deadline_ms)
			return err_set(e, -ETIMEDOUT, "no source connected in time");
	}
}

/* Wait for a source; what is none is sent away. -EPROTONOSUPPORT: one of another version came. */
static int open_control(struct destination *d, struct wire_hello *h, struct err *e)
{
	uint64_t deadline = d->p.timeout_ms ? session_now_ms() + d->p.timeout_ms : 0;
	struct channel *ch = &d->s.control;
	struct stream *stream;
	struct wire_hello answer;
	int rc, told;

	for (;;) {
		rc = next_stream(d, deadline, &stream, e);
		if (rc)
			return rc;
		channel_init(ch, stream, CONTROL_TO_DST);
		rc = hello_recv(ch, h, HELLO_MS, e);
		if ((!rc && h->role == ROLE_CONTROL) || rc == -EPROTONOSUPPORT)
			break;
		channel_destroy(ch);
	}
	session_capture(&d->s, ch, "control.dst");
	answer = (struct wire_hello){
		.version = WIRE_VERSION,
		.role = ROLE_ANSWER,
		.n_channels = rc ? 1 : h->n_channels,
	};
	if (!rc)
		memcpy(answer.id, h->id, sizeof(answer.id));
	told = hello_send(ch, &answer, HELLO_MS, rc ? NULL : e);
	if (rc || told)
		return rc ? rc : told;
	memcpy(d->s.id, h->id, sizeof(d->s.id));
	return session_start(&d->s, e);
}

static int open_data(struct destination *d, uint32_t n, struct err *e)
{
	uint64_t deadline = session_now_ms() + DATA_MS;
	struct session *s = &d->s;
	struct channel ch;
	struct stream *stream;
	struct wire_hello h;
	struct err ignored;
	uint32_t have = 0;
	int rc;

	while (have < n) {
		rc = next_stream(d, deadline, &stream, e);
		if (rc)
			return rc;
		channel_init(&ch, stream, DATA_TO_DST);
		rc = hello_recv(&ch, &h, HELLO_MS, &ignored);
		if (rc == -EBADMSG) { /* somebody who knows the format: the link is bad */
			channel_destroy(&ch);
			*e = ignored;
			return rc;
		}
		if (rc || h.role != ROLE_DATA || h.n_channels != n || s->data[h.channel].stream ||
		    memcmp(h.id, s->id, sizeof(h.id))) {
			channel_destroy(&ch); /* not ours: does not disturb */
			continue;
		}
		s->data[h.channel] = ch;
		pthread_mutex_init(&s->data[h.channel].tx_lock, NULL); /* it has moved */
		have++;
	}
	atomic_store(&s->n_data, n);
	return 0;
}

/* --- setup --- */

static int expect(struct destination *d, uint16_t type, struct session_record **out, struct err *e)
{
	int rc = session_recv(&d->s, out, session_now_ms() + SETUP_MS, e);

	if (rc == -EAGAIN)
		return err_set(e, -ETIMEDOUT, "source did not send %s within %u ms", wire_type_name(type),
			       SETUP_MS);
	if (rc)
		return rc;
	if ((*out)->type == type)
		return 0;
	rc = err_set(e, -EPROTO, "source sent %s, expected %s", wire_type_name((*out)->type),
		     wire_type_name(type));
	free(*out);
	return rc;
}

static int check_caps(struct destination *d, struct wire_caps *c, struct err *e)
{
	struct session_record *rec;
	struct reader r;
	int rc;

	rc = expect(d, WIRE_CAPS, &rec, e);
	if (rc)
		return rc;
	r = reader_make(rec->payload, rec->len);
	rc = wire_get_caps(&r, c, e);
	free(rec);
	if (rc)
		return rc;
	if (d->p.pick_arbiter)
		rc = d->p.pick_arbiter(d->p.arg, c->arbiter, &d->p.arbiter, e);
	if (rc)
		return rc;
	if (c->arbiter != d->p.arbiter.ops->wire)
		return err_set(e, -EINVAL, "arbiter: source uses number %u, this side %u (%s)", c->arbiter,
			       d->p.arbiter.ops->wire, d->p.arbiter.ops->name);
	if (d->p.incarnation && c->incarnation != d->p.incarnation)
		return err_set(e, -EINVAL, "incarnation: source offers %llu, expected %llu",
			       (unsigned long long)c->incarnation,
			       (unsigned long long)d->p.incarnation);
	d->incarnation = c->incarnation;
	d->s.dead_ms = c->dead_ms;
	d->s.heard_caps = true;
	stream_set_dead_ms(d->s.control.stream, c->dead_ms);
	c->required = 0;
	c->offered &= WIRE_FEATURES;
	return 0;
}

static int check_domain(struct destination *d, struct err *e)
{
	const struct guest *g = &d->p.guest;
	struct session_record *rec;
	struct reader r;
	int rc;

	rc = expect(d, WIRE_DESCRIBE, &rec, e);
	if (rc)
		return rc;
	rc = g->ops->match(g->self, (const char *)rec->payload, rec->len, e);
	free(rec);
	if (rc)
		return rc;
	rc = expect(d, WIRE_MEM_MAP, &rec, e);
	if (rc)
		return rc;
	r = reader_make(rec->payload, rec->len);
	rc = wire_match_mem_map(&r, d->s.regions, d->s.n_regions, e);
	free(rec);
	return rc;
}

static int setup(struct destination *d, struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	struct session *s = &d->s;
	struct wire_hello h;
	struct wire_caps c;
	int rc;

	d->pool_ok = true;
	rc = receiver_pool_init(&d->pool, s, e);
	if (rc)
		return rc;
	if (d->p.populate_ahead)
		ahead_start(&d->ahead, s->regions, s->n_regions);  /* after the pool has seen what is there */
	d->pool.ahead = &d->ahead;
	rc = open_control(d, &h, e);
	ahead_hold(&d->ahead);
	if (rc)
		return rc;
	d->start_ns = clock_ns();
	rc = check_caps(d, &c, e);
	if (!rc)
		rc = check_domain(d, e);
	if (rc)
		return rc;
	wire_put_caps(&w, &c);
	rc = session_send(s, WIRE_CAPS, buf, (uint32_t)writer_len(&w), e);
	if (!rc)
		rc = open_data(d, h.n_channels, e);
	if (!rc)
		rc = receiver_pool_start(&d->pool, e);
	if (rc)
		return rc;
	atomic_store(&s->reader_phase, IN_PRECOPY);
	session_step(s, MIGRATE_PRECOPY);
	return session_send(s, WIRE_START, NULL, 0, e);
}

/* --- receiving --- */

/* session.lock held */
static void refresh_stats(struct destination *d)
{
	struct migrate_stats *st = &d->s.stats;
	uint64_t n = atomic_load(&d->s.control.rx_bytes);
	uint32_t i;

	for (i = 0; i < d->s.n_data; i++)
		n += atomic_load(&d->s.data[i].rx_bytes);
	st->sent = n;
	st->channels = d->s.n_data;
	st->pages_lz4 = atomic_load(&d->pool.lz4_pages);
	st->pages_raw = atomic_load(&d->pool.data_pages) - st->pages_lz4;
	st->pages_zero = atomic_load(&d->pool.zero_pages);
	if (d->start_ns)
		st->total_us = (clock_ns() - d->start_ns) / 1000;
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
	refresh_stats(d);
	pthread_mutex_unlock(&d->s.lock);
	session_notify(&d->s);
}

static int take_state(struct destination *d, const struct session_record *rec, struct err *e)
{
	struct reader r = reader_make(rec->payload, rec->len);
	uint32_t total = reader_u32(&r), offset = reader_u32(&r), n = (uint32_t)reader_left(&r);

	if (!d->state) {
		if (!total || total > GUEST_STATE_MAX)
			return err_set(e, -EPROTO, "DEV_STATE: %u octets in all, expected 1 to %u", total,
				       GUEST_STATE_MAX);
		d->state = malloc(total);
		if (!d->state)
			return err_set(e, -ENOMEM, "device state: out of memory");
		d->state_len = total;
		session_step(&d->s, MIGRATE_STOP);
	}
	if (total != d->state_len || offset != d->state_got || n > total - offset)
		return err_set(e, -EPROTO, "DEV_STATE: %u octets at %u of %u, expected them at %u of %u", n,
			       offset, total, d->state_got, d->state_len);
	memcpy(d->state + offset, reader_take(&r, n), n);
	d->state_got += n;
	return 0;
}

/* Everything up to the last octet of state and the last connection's FINAL. */
static int receive(struct destination *d, struct err *e)
{
	struct session *s = &d->s;
	struct session_record *rec;
	int rc = 0;

	while (!rc && (!d->state || d->state_got < d->state_len)) {
		rc = session_recv(s, &rec, session_now_ms() + GRANT_MS, e);
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
		session_wait_until(s, session_now_ms() + GRANT_MS);
	if (s->failed || s->cancelled) {
		*e = s->err;
		rc = s->err.code;
	}
	pthread_mutex_unlock(&s->lock);
	return rc ? rc : receiver_pool_complete(&d->pool, e);
}

static int say_ready(struct destination *d, struct err *e)
{
	const struct guest *g = &d->p.guest;
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	uint64_t t = clock_ns();
	int rc;

	rc = g->ops->load(g->self, d->state, d->state_len, e);
	if (rc)
		return rc;
	d->load_ns = clock_ns() - t;
	writer_u64(&w, atomic_load(&d->pool.data_pages) + atomic_load(&d->pool.zero_pages));
	writer_u64(&w, d->load_ns);
	session_step(&d->s, MIGRATE_READY);
	atomic_store(&d->s.reader_phase, IN_READY); /* before the source can answer */
	return session_send(&d->s, WIRE_READY, buf, (uint32_t)writer_len(&w), e);
}

/* --- handover --- */

static int wait_grant(struct destination *d, struct err *e)
{
	struct session *s = &d->s;
	struct session_record *rec;
	struct reader r;
	uint64_t incarnation;
	int rc;

	rc = session_recv(s, &rec, session_now_ms() + GRANT_MS, e);
	if (rc == -EAGAIN)
		return err_set(e, -ETIMEDOUT, "source did not grant within %u ms", GRANT_MS);
	if (rc)
		return rc;
	r = reader_make(rec->payload, rec->len);
	incarnation = reader_u64(&r);
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
		s->phase = MIGRATE_GRANT;
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static void say_decision(struct destination *d, enum outcome o, uint64_t grant_ns,
			 uint64_t decision_ns)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	uint64_t now = clock_ns();
	struct err ignored;

	writer_u32(&w, (uint32_t)o);
	writer_u32(&w, 0);
	writer_u64(&w, d->incarnation);
	session_send(&d->s, WIRE_DECISION, buf, (uint32_t)writer_len(&w), &ignored);
	if (o != OUTCOME_COMMIT)
		return;
	w = writer_make(buf, sizeof(buf));
	writer_u64(&w, decision_ns - grant_ns);
	writer_u64(&w, now - decision_ns);
	session_send(&d->s, WIRE_RUNNING, buf, (uint32_t)writer_len(&w), &ignored);
}

static int run_here(struct destination *d, uint64_t grant_ns, struct err *e)
{
	const struct guest *g = &d->p.guest;
	uint64_t decision_ns = clock_ns();
	int rc;

	session_step(&d->s, MIGRATE_COMMITTED);
	rc = g->ops->take_over(g->self, d->incarnation, e);
	if (!rc)
		rc = g->ops->resume(g->self, e);
	/* Also when it cannot run: the record says that it is ours, the source must not take it back. */
	say_decision(d, OUTCOME_COMMIT, grant_ns, decision_ns);
	if (rc) {
		err_prefix(e, "the domain belongs here now, but cannot run");
		return rc;
	}
	pthread_mutex_lock(&d->s.lock);
	refresh_stats(d);
	pthread_mutex_unlock(&d->s.lock);
	session_step(&d->s, MIGRATE_DONE);
	return 0;
}

static int handover(struct destination *d, struct err *e)
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
	session_notify(s);
	/* Where nobody else has said that the domain is ours, what we cannot take we must hand back. */
	if (s->p->arbiter.ops->word_is_enough) {
		rc = d->p.guest.ops->take_over(d->p.guest.self, d->incarnation, e);
		if (rc) {
			say_decision(d, OUTCOME_ABORT, grant_ns, grant_ns);
			return rc;
		}
	}
	rc = session_ask(s, OUTCOME_COMMIT, d->incarnation, &outcome, e);
	if (rc)
		return rc;
	if (outcome == OUTCOME_COMMIT)
		return run_here(d, grant_ns, e);
	say_decision(d, OUTCOME_ABORT, grant_ns, grant_ns);
	return err_set(e, -ECANCELED, "the source kept the domain");
}

int destination_run(struct destination *d, struct err *e)
{
	struct session *s = &d->s;
	bool granted;
	int rc;

	session_notify(s);
	rc = setup(d, e);
	if (!rc)
		rc = receive(d, e);
	if (!rc)
		rc = say_ready(d, e);
	if (!rc)
		rc = handover(d, e);
	granted = s->phase >= MIGRATE_GRANT;
	if (rc && !granted) {
		session_fail(s, rc, e);
		session_say_abort(s, e);
		rc = session_error(s, e);
	}
	session_cut(s);
	if (d->pool_ok)
		receiver_pool_stop(&d->pool);
	ahead_stop(&d->ahead);
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
	} else if (!s->cancelled) {
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
	struct session *s = &d->s;

	pthread_mutex_lock(&s->lock);
	*out = s->stats;
	out->phase = s->phase;
	pthread_mutex_unlock(&s->lock);
}
