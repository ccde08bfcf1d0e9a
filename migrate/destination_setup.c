/* SPDX-License-Identifier: Apache-2.0 */
/*
 * destination_setup - a source is waited for, its offer compared with what is here.
 *
 * Who connects and is no source of ours is sent away and disturbs nothing.
 */
#include "migrate/destination_int.h"

#include "base/clock.h"
#include "migrate/hello.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HELLO_MS 1000         /* a connection that says nothing is not waited for */
#define SETUP_MS 10000u
#define DATA_MS 5000u         /* the source opens its data connections at once */
#define ACCEPT_SLICE_MS 50    /* how late a cancel may be noticed */

/* --- connections --- */

static int cancelled(struct destination *d, struct err *e)
{
	int rc;

	pthread_mutex_lock(&d->s.lock);
	rc = session_over(&d->s, e);
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

static int check_caps(struct destination *d, struct wire_caps *c, struct err *e)
{
	struct session_record *rec;
	struct reader r;
	int rc;

	rc = session_expect(&d->s, WIRE_CAPS, SETUP_MS, &rec, e);
	if (rc)
		return rc;
	r = reader_make(rec->payload, rec->len);
	rc = wire_get_caps(&r, c, e);
	free(rec);
	if (rc)
		return rc;
	if (d->p.pick_arbiter)
		rc = d->p.pick_arbiter(d->p.arg, c->arbiter, c->incarnation, &d->p.arbiter, e);
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

	rc = session_expect(&d->s, WIRE_DESCRIBE, SETUP_MS, &rec, e);
	if (rc)
		return rc;
	rc = g->ops->match(g->self, (const char *)rec->payload, rec->len, e);
	free(rec);
	if (rc)
		return rc;
	rc = session_expect(&d->s, WIRE_MEM_MAP, SETUP_MS, &rec, e);
	if (rc)
		return rc;
	r = reader_make(rec->payload, rec->len);
	rc = wire_match_mem_map(&r, d->s.regions, d->s.n_regions, e);
	free(rec);
	return rc;
}

int destination_setup(struct destination *d, struct err *e)
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
