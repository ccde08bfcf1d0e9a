/* SPDX-License-Identifier: Apache-2.0 */
/*
 * destination_setup - a source is waited for, its offer compared with what is here.
 *
 * Who connects and is no source of ours is sent away and disturbs nothing.
 */
#include "migrate/session/destination/destination_int.h"

#include "base/clock.h"
#include "migrate/session/destination/greeter.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DATA_MS 5000u /* the source opens its data connections at once */

/* --- the offer --- */

static int check_caps(struct destination *d, const struct session_record *rec, struct wire_caps *c,
		      struct err *e)
{
	struct reader r = reader_make(rec->payload, rec->len);
	int rc;

	rc = wire_get_caps(&r, c, e);
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
	return 0;
}

static int check_domain(struct destination *d, const struct caller *c, struct err *e)
{
	const struct guest *g = &d->p.guest;
	struct reader r = reader_make(c->mem_map->payload, c->mem_map->len);
	int rc;

	rc = g->ops->match(g->self, (const char *)c->describe->payload, c->describe->len, e);
	return rc ? rc : wire_match_mem_map(&r, d->s.regions, d->s.n_regions, e);
}

/* Its control connection is the session's from now on. */
static int accept_offer(struct destination *d, struct caller *c, const struct wire_caps *caps,
			struct err *e)
{
	struct session *s = &d->s;

	assert(!s->control.stream && caps->dead_ms >= WIRE_DEAD_MIN_MS);
	caller_take(c, &s->control);
	memcpy(s->id, c->hello.id, sizeof(s->id));
	d->n_channels = c->hello.n_channels;
	d->incarnation = caps->incarnation;
	s->dead_ms = caps->dead_ms;
	caller_drop(c, NULL);
	return session_start(s, e);
}

static void say_caps(struct channel *ch, const struct wire_caps *c)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	struct err ignored;

	wire_put_caps(&w, c);
	channel_send(ch, WIRE_CAPS, buf, (uint32_t)writer_len(&w), (int)c->dead_ms, &ignored);
}

/* It would do, or what is in the way; and then the next one may come. */
static void answer_dry_run(struct destination *d, struct caller *c, const struct wire_caps *caps)
{
	const struct guest *g = &d->p.guest;
	struct err why;

	if (g->ops->preflight(g->self, &why)) {
		caller_drop(c, &why);
		return;
	}
	say_caps(&c->ch, caps);
	caller_drop(c, NULL);
}

/* Wait for a source whose offer fits; what does not is told why and sent away. */
static int open_control(struct destination *d, struct greeter *g, struct wire_caps *caps, struct err *e)
{
	uint64_t deadline = d->p.timeout_ms ? session_now_ms() + d->p.timeout_ms : 0;
	struct caller *c;
	struct err why;
	int rc;

	for (;;) {
		rc = greeter_next(g, ROLE_CONTROL, deadline, &c, e);
		if (rc)
			return rc;
		rc = check_caps(d, c->caps, caps, &why);
		if (!rc)
			rc = check_domain(d, c, &why);
		if (rc)
			caller_drop(c, &why);
		else if (caps->flags & WIRE_CAPS_DRY_RUN)
			answer_dry_run(d, c, caps);
		else
			return accept_offer(d, c, caps, e);
	}
}

static int send_caps(struct destination *d, struct wire_caps *c, struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));

	c->required = 0;
	c->offered &= WIRE_FEATURES;
	d->pool.transport = page_transport_pick(c->offered);
	wire_put_caps(&w, c);
	return session_send(&d->s, WIRE_CAPS, buf, (uint32_t)writer_len(&w), e);
}

/* --- data connections --- */

static bool is_ours(const struct destination *d, const struct wire_hello *h)
{
	return h->n_channels == d->n_channels && !d->s.data[h->channel].stream &&
	       !memcmp(h->id, d->s.id, sizeof(h->id));
}

static int open_data(struct destination *d, struct greeter *g, struct err *e)
{
	uint64_t deadline = session_now_ms() + DATA_MS;
	struct session *s = &d->s;
	struct caller *c;
	uint32_t have = 0;
	int rc;

	while (have < d->n_channels) {
		rc = greeter_next(g, ROLE_DATA, deadline, &c, e);
		if (rc)
			return rc;
		if (is_ours(d, &c->hello)) {
			caller_take(c, &s->data[c->hello.channel]);
			have++;
		}
		caller_drop(c, NULL);
	}
	assert(have == d->n_channels && have <= WIRE_CHANNELS_MAX);
	atomic_store(&s->n_data, have);
	return 0;
}

/* --- setup --- */

static int open_all(struct destination *d, struct greeter *g, struct err *e)
{
	const struct guest *guest = &d->p.guest;
	struct wire_caps caps;
	int rc;

	rc = open_control(d, g, &caps, e);
	prefault_hold(&d->prefault);
	if (rc)
		return rc;
	d->start_ns = clock_ns();
	rc = guest->ops->preflight(guest->self, e);
	if (!rc)
		rc = send_caps(d, &caps, e);
	return rc ? rc : open_data(d, g, e);
}

int destination_setup(struct destination *d, struct err *e)
{
	struct session *s = &d->s;
	struct greeter *g;
	int rc;

	d->pool_ok = true;
	rc = receiver_pool_init(&d->pool, s, e);
	if (rc)
		return rc;
	if (d->p.prefault)
		prefault_start(&d->prefault, s->regions, s->n_regions, d->p.plenty, d->p.arg); /* after the pool has seen what is there */
	d->pool.sink.prefault = &d->prefault;
	g = greeter_create(s);
	rc = g ? open_all(d, g, e) : err_set(e, -ENOMEM, "migration: out of memory");
	greeter_destroy(g);
	if (!rc)
		rc = receiver_pool_start(&d->pool, e);
	if (rc)
		return rc;
	atomic_store(&s->reader_phase, IN_PRECOPY);
	session_step(s, MIGRATE_PRECOPY);
	return session_send(s, WIRE_START, NULL, 0, e);
}
