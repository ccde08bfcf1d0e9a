/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_corpus - streams that earlier versions sent are still taken (tests/streams/README.md).
 *
 *   test_corpus DIR...       play each to a destination of this version
 *   test_corpus record DIR   write a new one
 *
 * A stream is played byte by byte, as it was recorded; the player only waits where the source of
 * docs/stream.md waits: for START before pages, for READY before GRANT.  Then the destination's
 * memory must be what DIR/expected says.
 */
#include "tests/unit/migrate/move.h"

#include "base/crc32c.h"
#include "migrate/wire/channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CHANNELS_MAX 4u
#define CONTROL CHANNELS_MAX /* index of the control connection's bytes */

static const char *dir;

struct kept {
	uint8_t *p;
	size_t len, sent;
	struct stream *stream;
	pthread_t thread;
};

/* --- files --- */

static void path_of(const char *name, char *buf, size_t size)
{
	assert_true(snprintf(buf, size, "%s/%s", dir, name) < (int)size);
}

static void load(const char *name, struct kept *o)
{
	char path[512];
	FILE *f;
	long len;

	path_of(name, path, sizeof(path));
	f = fopen(path, "rb");
	print_message("%s\n", path);
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	len = ftell(f);
	assert_true(len > 0);
	rewind(f);
	memset(o, 0, sizeof(*o));
	o->len = (size_t)len;
	o->p = malloc(o->len);
	assert_int_equal(fread(o->p, 1, o->len, f), o->len);
	fclose(f);
}

/* "region 0: crc32c 1234abcd" for each. */
static void describe_memory(const struct fake_guest *g, char *buf, size_t size)
{
	size_t i, at = 0;

	for (i = 0; i < g->n_regions; i++)
		at += (size_t)snprintf(buf + at, size - at, "region %u: %llu bytes, crc32c %08x\n", g->regions[i].id,
				       (unsigned long long)g->regions[i].size,
				       crc32c(0, g->regions[i].host, g->regions[i].size));
}

static void expected(char *buf, size_t size)
{
	struct kept o;

	load("expected", &o);
	assert_true(o.len < size);
	memcpy(buf, o.p, o.len);
	buf[o.len] = '\0';
	free(o.p);
}

/* --- what the source offered --- */

struct offer {
	unsigned int channels;
	struct wire_caps caps;
	char *describe;
	size_t n_regions;
	struct guest_region regions[GUEST_REGIONS_MAX];
};

static size_t record_at(const struct kept *o, uint16_t type, size_t *end);

static struct reader payload_of(const struct kept *o, uint16_t type)
{
	size_t end, at = record_at(o, type, &end) + WIRE_HEADER_SIZE;

	return reader_make(o->p + at, end - at);
}

static void read_offer(const struct kept *control, struct offer *o)
{
	struct reader r = payload_of(control, WIRE_HELLO);
	struct wire_hello h;
	struct err e;
	size_t len, i;

	assert_int_equal(wire_get_hello(&r, &h, &e), 0);
	o->channels = h.n_channels;
	assert_in_range(o->channels, 1, CHANNELS_MAX);
	r = payload_of(control, WIRE_CAPS);
	assert_int_equal(wire_get_caps(&r, &o->caps, &e), 0);
	r = payload_of(control, WIRE_DESCRIBE);
	len = reader_left(&r);
	o->describe = strndup((const char *)reader_take(&r, len), len);
	r = payload_of(control, WIRE_MEM_MAP);
	assert_int_equal(reader_u16(&r), WIRE_MEM_MAP_ENTRY);
	o->n_regions = reader_u32(&r);
	assert_in_range(o->n_regions, 1, GUEST_REGIONS_MAX);
	for (i = 0; i < o->n_regions; i++) {
		o->regions[i].id = reader_u32(&r);
		reader_u32(&r);
		o->regions[i].gpa = reader_u64(&r);
		o->regions[i].size = reader_u64(&r);
	}
	assert_false(r.bad);
}

/* A destination of the same domain. */
static void expect_it(struct move *m, const struct offer *o)
{
	uint64_t sizes[GUEST_REGIONS_MAX];
	size_t i;

	for (i = 0; i < o->n_regions; i++)
		sizes[i] = o->regions[i].size;
	move_init_sized(m, 1, o->caps.arbiter ? BY_DISK : BY_NOBODY, sizes, o->n_regions, false);
	fake_guest_freeze(&m->guest[0]);
	for (i = 0; i < o->n_regions; i++) {
		m->guest[1].regions[i].id = o->regions[i].id;
		m->guest[1].regions[i].gpa = o->regions[i].gpa;
	}
	m->guest[1].description = o->describe;
	m->params[1].incarnation = o->caps.incarnation;
	m->world.disk_holder = -1; /* the source that was recorded has let go of it */
	m->world.running[0] = false;
}

/* --- playing --- */

static void send_bytes(struct kept *o, size_t to)
{
	struct iovec iov = { o->p + o->sent, to - o->sent };
	struct err e;

	if (stream_writev(o->stream, &iov, 1, 10000, &e))
		fail_msg("%s", e.text);
	o->sent = to;
}

/* Where the first record of @type begins in @o, and ends. */
static size_t record_at(const struct kept *o, uint16_t type, size_t *end)
{
	struct wire_header h;
	struct err e;
	size_t at;

	for (at = 0; at + WIRE_HEADER_SIZE <= o->len; at += WIRE_HEADER_SIZE + h.length) {
		if (wire_get_header(o->p + at, &h, &e))
			fail_msg("%s", e.text);
		*end = at + WIRE_HEADER_SIZE + h.length;
		if (h.type == type)
			return at;
	}
	fail_msg("%s: no %s in it", dir, wire_type_name(type));
	return 0;
}

/* Records of the destination, until @type, whose payload is in @buf then. */
static void hear(struct channel *ch, uint16_t type, uint8_t *buf)
{
	static const _Atomic int phase = IN_ANY;
	struct wire_header h;
	struct err e = { 0 };

	do {
		if (channel_begin(ch, &phase, &h, 10000, &e))
			fail_msg("waiting for %s: %s", wire_type_name(type), e.text);
		assert_true(h.length <= WIRE_SMALL_MAX);
		if (channel_take(ch, buf, h.length, 10000, &e) || channel_end(ch, &e))
			fail_msg("waiting for %s: %s", wire_type_name(type), e.text);
		if (h.type == WIRE_ABORT) {
			struct reader r = reader_make(buf, h.length);

			wire_get_abort(&r, e.text, sizeof(e.text));
			fail_msg("waiting for %s: ABORT: %s", wire_type_name(type), e.text);
		}
	} while (h.type != type);
}

static void *send_all(void *arg)
{
	struct kept *o = arg;

	send_bytes(o, o->len);
	return NULL;
}

static void *run_destination(void *arg)
{
	struct move *m = arg;

	m->rc[1] = destination_run(m->destination, &m->err[1]);
	return NULL;
}

static void open_link(struct move *m, struct kept *o)
{
	struct migrate_link *link = &m->params[0].link;
	struct err e;

	assert_int_equal(link->open(link->arg, 5000, &o->stream, &e), 0);
}

static void play(struct move *m, struct kept *o, unsigned int channels)
{
	struct kept *c = &o[CONTROL];
	uint8_t buf[WIRE_SMALL_MAX];
	struct wire_decision d;
	struct channel ch;
	struct reader r;
	unsigned int i;
	size_t end;

	open_link(m, c);
	channel_init(&ch, c->stream, CONTROL_TO_SRC);
	record_at(c, WIRE_MEM_MAP, &end);
	send_bytes(c, end);
	hear(&ch, WIRE_HELLO, buf);
	for (i = 0; i < channels; i++) {
		open_link(m, &o[i]);
		send_bytes(&o[i], WIRE_HEADER_SIZE + 40); /* HELLO */
	}
	hear(&ch, WIRE_START, buf);
	for (i = 0; i < channels; i++)
		assert_int_equal(pthread_create(&o[i].thread, NULL, send_all, &o[i]), 0);
	for (i = 0; i < channels; i++)
		pthread_join(o[i].thread, NULL);
	send_bytes(c, record_at(c, WIRE_GRANT, &end));
	hear(&ch, WIRE_READY, buf);
	send_bytes(c, c->len);
	hear(&ch, WIRE_DECISION, buf);
	r = reader_make(buf, 16);
	wire_get_decision(&r, &d);
	assert_int_equal(d.outcome, OUTCOME_COMMIT);
	hear(&ch, WIRE_RUNNING, buf);
	channel_destroy(&ch);
	for (i = 0; i < channels; i++)
		stream_close(o[i].stream);
}

static void a_recorded_stream_is_taken_and_its_memory_is_right(void **state)
{
	char is[256], must_be[256], name[32];
	struct kept o[CHANNELS_MAX + 1];
	struct offer offer;
	static struct move m;
	pthread_t thread;
	unsigned int i;
	struct err e;

	expected(must_be, sizeof(must_be));
	load("control.src", &o[CONTROL]);
	read_offer(&o[CONTROL], &offer);
	for (i = 0; i < offer.channels; i++) {
		snprintf(name, sizeof(name), "data%u.src", i);
		load(name, &o[i]);
	}
	expect_it(&m, &offer);
	assert_int_equal(destination_create(&m.destination, &m.params[1], &e), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_destination, &m), 0);
	play(&m, o, offer.channels);
	pthread_join(thread, NULL);
	if (m.rc[1])
		fail_msg("%s", m.err[1].text);
	fake_guest_freeze(&m.guest[1]);
	assert_true(m.world.running[1]);
	m.guest[1].writes_per_ms = 0;
	describe_memory(&m.guest[1], is, sizeof(is));
	assert_string_equal(is, must_be);
	for (i = 0; i < offer.channels; i++)
		free(o[i].p);
	free(o[CONTROL].p);
	move_free(&m);
	free(offer.describe);
}

/* --- recording --- */

static void record(void **state)
{
	static const uint64_t sizes[] = { 128 * GUEST_PAGE, 64 * GUEST_PAGE };
	char text[256], path[512];
	static struct move m;
	FILE *f;

	move_init_sized(&m, 21, BY_DISK, sizes, 2, false);
	m.params[0].capture_dir = m.params[1].capture_dir = dir;
	m.params[0].compress = COMPRESS_ON;
	m.params[0].channels = 2;
	m.guest[0].state_max = 20000;
	m.guest[0].writes_per_ms = 30;
	move_run(&m);
	move_check(&m);
	assert_int_equal(m.rc[0], 0);
	describe_memory(&m.guest[0], text, sizeof(text));
	path_of("expected", path, sizeof(path));
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	move_free(&m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest recording[] = { MOVE_TEST(record) };
	const struct CMUnitTest tests[] = { MOVE_TEST(a_recorded_stream_is_taken_and_its_memory_is_right) };
	int failed = 0;

	if (argc == 3 && !strcmp(argv[1], "record")) {
		dir = argv[2];
		return cmocka_run_group_tests(recording, NULL, NULL);
	}
	if (argc < 2) {
		fprintf(stderr, "usage: test_corpus DIR... | record DIR\n");
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		dir = argv[i];
		printf("%s\n", dir);
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	}
	return failed != 0;
}
