/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_peer - a destination and who connects to it: a source that does not keep to
 * the stream (docs/stream.md) is refused, whoever is no source disturbs nothing.
 */
#include "tests/unit/migrate/move.h"

#include "base/clock.h"
#include "migrate/wire/hello.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <unistd.h>

#define PAGES 128u

/* A source that a test plays by hand: a control and one data connection. */
struct player {
	struct move *m;
	struct channel control, data;
	pthread_t thread;
};

static void *run_destination(void *arg)
{
	struct move *m = arg;

	m->rc[1] = destination_run(m->destination, &m->err[1]);
	return NULL;
}

static void *run_source(void *arg)
{
	struct move *m = arg;

	m->rc[0] = source_run(m->source, &m->err[0]);
	return NULL;
}

static void put(struct channel *ch, uint16_t type, const void *payload, uint32_t len)
{
	struct err e = { 0 };

	if (channel_send(ch, type, payload, len, 1000, &e))
		fail_msg("%s: %s", wire_type_name(type), e.text);
}

static void connect_as(struct player *p, struct channel *ch, enum wire_role role)
{
	struct wire_hello h = { .version = WIRE_VERSION, .role = (uint16_t)role, .n_channels = 1 };
	struct migrate_link *link = &p->m->params[0].link;
	struct stream *s;
	struct err e = { 0 };

	assert_int_equal(link->open(link->arg, 1000, &s, &e), 0);
	channel_init(ch, s, CONTROL_TO_SRC);
	assert_int_equal(hello_send(ch, &h, 1000, &e), 0);
}

static void put_offer(struct player *p)
{
	struct wire_caps c = { .page_size = GUEST_PAGE, .arbiter = 2, .incarnation = 5, .dead_ms = 20000 };
	struct fake_guest *g = &p->m->guest[1];
	uint8_t buf[64];
	struct writer w = writer_make(buf, sizeof(buf));

	wire_put_caps(&w, &c);
	put(&p->control, WIRE_CAPS, buf, (uint32_t)writer_len(&w));
	put(&p->control, WIRE_DESCRIBE, g->description, (uint32_t)strlen(g->description));
	w = writer_make(buf, sizeof(buf));
	wire_put_mem_map(&w, g->regions, g->n_regions);
	put(&p->control, WIRE_MEM_MAP, buf, (uint32_t)writer_len(&w));
}

/* Records of the destination, until @type. */
static void hear(struct player *p, uint16_t type)
{
	static const _Atomic int phase = IN_ANY;
	struct wire_header h;
	struct err e = { 0 };
	uint8_t buf[4096];

	do {
		if (channel_begin(&p->control, &phase, &h, 5000, &e) ||
		    channel_take(&p->control, buf, h.length, 5000, &e) || channel_end(&p->control, &e))
			fail_msg("waiting for %s: %s", wire_type_name(type), e.text);
	} while (h.type != type);
}

static void put_pages(struct player *p)
{
	struct wire_pages z = { .n_runs = 1, .runs = { { 0, PAGES, true } } };
	struct wire_final f = { .records = 1, .zero_pages = PAGES };
	uint8_t buf[64];
	struct writer w = writer_make(buf, sizeof(buf));

	z.region = p->m->guest[1].regions[0].id;
	wire_put_pages(&w, &z);
	put(&p->data, WIRE_PAGES, buf, (uint32_t)writer_len(&w));
	w = writer_make(buf, sizeof(buf));
	wire_put_final(&w, &f);
	put(&p->data, WIRE_FINAL, buf, (uint32_t)writer_len(&w));
}

/* Two numbers and a byte: a piece of state, which reads like a GRANT for incarnation @a. */
static void put_state(struct player *p, uint32_t a, uint32_t b)
{
	uint8_t buf[9];
	struct writer w = writer_make(buf, sizeof(buf));

	writer_u32(&w, a);
	writer_u32(&w, b);
	writer_u8(&w, 7);
	put(&p->control, WIRE_DEV_STATE, buf, sizeof(buf));
}

static void begin(struct player *p, struct move *m, unsigned int seed)
{
	static const uint64_t sizes[] = { PAGES * GUEST_PAGE };
	struct err e = { 0 };

	memset(p, 0, sizeof(*p));
	p->m = m;
	move_init_sized(m, seed, BY_CLUSTER, sizes, 1, false);
	assert_int_equal(destination_create(&m->destination, &m->params[1], &e), 0);
	assert_int_equal(pthread_create(&p->thread, NULL, run_destination, m), 0);
}

/* As an honest source does it, until every page and FINAL have left. */
static void come_to_stop(struct player *p)
{
	connect_as(p, &p->control, ROLE_CONTROL);
	hear(p, WIRE_HELLO);
	put_offer(p);
	hear(p, WIRE_CAPS);
	connect_as(p, &p->data, ROLE_DATA);
	hear(p, WIRE_START);
	put_pages(p);
}

static void end(struct player *p)
{
	pthread_join(p->thread, NULL);
	channel_destroy(&p->control);
	channel_destroy(&p->data);
	assert_false(p->m->world.running[1]);
	move_free(p->m);
}

/* --- S9: only a GRANT grants --- */

static void a_surplus_piece_of_state_is_no_grant(void **state)
{
	static struct move m;
	struct player p;

	begin(&p, &m, 1);
	come_to_stop(&p);
	put_state(&p, 1, 0);
	put_state(&p, 5, 0); /* as eight bytes: GRANT for incarnation 5 */
	end(&p);
	assert_int_equal(m.rc[1], -EPROTO);
	assert_non_null(strstr(m.err[1].text, "DEV_STATE"));
}

/* --- G5: strangers --- */

/* Each begins like a source, and none of them is one. */
static void who_begins_like_a_source_and_leaves_ends_nothing(void **state)
{
	static struct move m;
	struct player strangers[5] = { 0 };
	const char other[] = "{\"vcpus\":9}";
	struct wire_caps c = { .page_size = GUEST_PAGE, .arbiter = 2, .incarnation = 5, .dead_ms = 20000 };
	uint8_t buf[64];
	struct writer w = writer_make(buf, sizeof(buf));
	struct err e = { 0 };
	unsigned int i;

	move_init(&m, 3, BY_CLUSTER);
	for (i = 0; i < 5; i++) {
		strangers[i].m = &m;
		connect_as(&strangers[i], &strangers[i].control, i == 4 ? ROLE_DATA : ROLE_CONTROL);
	}
	channel_cut(&strangers[0].control); /* HELLO, and gone */
	wire_put_caps(&w, &c);
	put(&strangers[1].control, WIRE_CAPS, buf, (uint32_t)writer_len(&w));
	put(&strangers[1].control, WIRE_DESCRIBE, other, sizeof(other) - 1);
	w = writer_make(buf, sizeof(buf));
	wire_put_mem_map(&w, m.guest[1].regions, m.guest[1].n_regions);
	put(&strangers[1].control, WIRE_MEM_MAP, buf, (uint32_t)writer_len(&w));
	put(&strangers[2].control, WIRE_READY, buf, 16); /* not legal there */
	/* 3 and 4 say no more. The source comes last, else the move may be over before 1 has its turn. */
	assert_int_equal(destination_create(&m.destination, &m.params[1], &e), 0);
	assert_int_equal(pthread_create(&strangers[0].thread, NULL, run_destination, &m), 0);
	hear(&strangers[1], WIRE_ABORT); /* the wrong domain is told so */
	assert_int_equal(source_create(&m.source, &m.params[0], &e), 0);
	run_source(&m);
	pthread_join(strangers[0].thread, NULL);
	assert_int_equal(m.rc[0], 0);
	assert_int_equal(m.rc[1], 0);
	move_check(&m);
	for (i = 0; i < 5; i++)
		channel_destroy(&strangers[i].control);
	move_free(&m);
}

/* A HELLO with a wrong checksum, in a migration called @id. */
static void damaged_hello(struct player *p, struct channel *ch, uint8_t id)
{
	struct wire_header h = { .type = WIRE_HELLO, .length = 40 };
	struct wire_hello hello = { .version = WIRE_VERSION, .role = ROLE_DATA, .n_channels = 1 };
	struct migrate_link *link = &p->m->params[0].link;
	uint8_t header[WIRE_HEADER_SIZE], payload[40];
	struct iovec iov[2] = { { header, sizeof(header) }, { payload, sizeof(payload) } };
	struct writer w = writer_make(payload, sizeof(payload));
	struct stream *s;
	struct err e = { 0 };

	memset(hello.id, id, sizeof(hello.id));
	wire_put_hello(&w, &hello);
	wire_put_header(header, &h);
	assert_int_equal(link->open(link->arg, 1000, &s, &e), 0);
	channel_init(ch, s, CONTROL_TO_SRC);
	assert_int_equal(stream_writev(s, iov, 2, 1000, &e), 0);
}

/* Between the offer and the data connections as at any other time. */
static void a_damaged_hello_ends_only_its_own_migration(void **state)
{
	static struct move m;
	struct channel stranger;
	struct player p;

	for (int own = 0; own < 2; own++) {
		begin(&p, &m, 8);
		connect_as(&p, &p.control, ROLE_CONTROL);
		hear(&p, WIRE_HELLO);
		put_offer(&p);
		hear(&p, WIRE_CAPS);
		damaged_hello(&p, &stranger, own ? 0 : 0x5a);
		usleep(50000);
		if (!own) {
			connect_as(&p, &p.data, ROLE_DATA);
			hear(&p, WIRE_START);
			channel_cut(&p.control);
		}
		end(&p);
		channel_destroy(&stranger);
		assert_int_equal(m.rc[1], own ? -EBADMSG : -ECONNRESET);
	}
}

/* --- a data connection that takes nothing --- */

static void accept_as(struct player *p, struct channel *ch, struct wire_hello *h)
{
	struct migrate_link *link = &p->m->params[1].link;
	struct stream *s;
	struct err e = { 0 };

	assert_int_equal(link->open(link->arg, 5000, &s, &e), 0);
	channel_init(ch, s, CONTROL_TO_DST);
	assert_int_equal(hello_recv(ch, h, 1000, &e), 0);
}

/* The source of @p's move begins, and we are a destination that has what it asks for. */
static void meet_source(struct player *p, const struct wire_caps *c)
{
	struct wire_hello h;
	struct err e;
	uint8_t buf[64];
	struct writer w = writer_make(buf, sizeof(buf));

	assert_int_equal(source_create(&p->m->source, &p->m->params[0], &e), 0);
	pthread_create(&p->thread, NULL, run_source, p->m);
	accept_as(p, &p->control, &h);
	h.role = ROLE_ANSWER;
	hello_send(&p->control, &h, 1000, &e);
	hear(p, WIRE_MEM_MAP);
	wire_put_caps(&w, c);
	put(&p->control, WIRE_CAPS, buf, (uint32_t)writer_len(&w));
}

static void a_data_connection_may_stand_while_the_heartbeat_lives(void **state)
{
	struct wire_caps c = { .page_size = GUEST_PAGE, .arbiter = 2, .incarnation = 5, .dead_ms = 300 };
	struct migrate_stats st;
	static struct move m;
	struct player p = { .m = &m };
	struct wire_hello h;
	struct err e;
	int i;

	move_init(&m, 5, BY_CLUSTER);
	m.params[0].dead_ms = 300;
	m.params[0].channels = 1;
	m.params[0].compress = COMPRESS_OFF;
	meet_source(&p, &c);
	accept_as(&p, &p.data, &h);
	put(&p.control, WIRE_START, NULL, 0);
	for (i = 0; i < 30; i++) { /* four times the dead time */
		put(&p.control, WIRE_PING, NULL, 0);
		usleep(40000);
	}
	source_stats(m.source, &st);
	assert_int_equal(st.phase, MIGRATE_PRECOPY);
	assert_int_equal(source_cancel(m.source, &e), 0);
	pthread_join(p.thread, NULL);
	assert_int_equal(m.rc[0], -ECANCELED);
	channel_destroy(&p.control);
	channel_destroy(&p.data);
	move_free(&m);
}

/* --- a destination that talks while nobody listens --- */

/* A link whose connections after the first take their time: meanwhile the source takes no record. */
struct late {
	struct migrate_link link;
	unsigned int opened;
	_Atomic bool now;
};

static int open_late(void *arg, int timeout_ms, struct stream **out, struct err *e)
{
	struct late *l = arg;

	for (int i = 0; l->opened && i < 20000 && !atomic_load(&l->now); i++)
		usleep(1000);
	l->opened++;
	return l->link.open(l->link.arg, timeout_ms, out, e);
}

static void records_without_payload_fill_no_memory(void **state)
{
	struct wire_caps c = { .page_size = GUEST_PAGE, .arbiter = 2, .incarnation = 5, .dead_ms = 20000 };
	static struct late late;
	static struct move m;
	struct player p = { .m = &m };
	struct err e = { 0 };
	uint32_t n = 0;

	move_init(&m, 6, BY_CLUSTER);
	late = (struct late){ .link = m.params[0].link };
	m.params[0].link = (struct migrate_link){ open_late, &late };
	m.params[0].channels = 1;
	meet_source(&p, &c);
	while (n < 1000000 && !channel_send(&p.control, WIRE_START, NULL, 0, 300, &e))
		n++;
	assert_true(n < 200000);
	atomic_store(&late.now, true);
	channel_cut(&p.control);
	pthread_join(p.thread, NULL);
	assert_int_equal(m.rc[0], -EPROTO);
	assert_non_null(strstr(m.err[0].text, "faster than it is heard"));
	channel_destroy(&p.control);
	move_free(&m);
}

/* --- O8: how it ended --- */

/* A daemon that sees a host go tells its VMM to stop, a moment after the link has died. */
static void a_link_that_died_is_not_told_as_cancelled(void **state)
{
	static struct move m;
	struct migrate_stats st;
	struct err e;

	move_init(&m, 4, BY_CLUSTER);
	m.params[0].bandwidth = MB;
	m.params[0].compress = COMPRESS_OFF;
	move_begin(&m);
	do {
		usleep(1000);
		source_stats(m.source, &st);
	} while (st.phase < MIGRATE_PRECOPY);
	fake_net_cut(&m.net);
	usleep(20000);
	source_cancel(m.source, &e);
	move_end(&m);
	assert_int_equal(m.stats[0].phase, MIGRATE_FAILED);
	assert_null(strstr(m.err[0].text, "cancel"));
	move_check(&m);
	move_free(&m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		MOVE_TEST(a_surplus_piece_of_state_is_no_grant),
		MOVE_TEST(a_data_connection_may_stand_while_the_heartbeat_lives),
		MOVE_TEST(a_damaged_hello_ends_only_its_own_migration),
		MOVE_TEST(records_without_payload_fill_no_memory),
		MOVE_TEST(a_link_that_died_is_not_told_as_cancelled),
		MOVE_TEST(who_begins_like_a_source_and_leaves_ends_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
