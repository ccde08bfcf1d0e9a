/* SPDX-License-Identifier: Apache-2.0 */
/* test_wire - records by themselves: bounds, layouts, counts that lie, the channel that carries them. */
#include "migrate/wire/channel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

/* --- records --- */

static int check(uint16_t type, uint32_t length, enum wire_way way, enum wire_phase phase)
{
	struct wire_header h = { .type = type, .length = length };
	struct err e;

	return wire_check(&h, way, phase, &e);
}

static void each_record_is_bounded_by_its_row(void **state)
{
	static const enum wire_phase phases[] = { IN_SETUP, IN_PRECOPY, IN_STOP, IN_READY, IN_GRANT };
	static const enum wire_way ways[] = { CONTROL_TO_DST, CONTROL_TO_SRC, DATA_TO_DST };
	const struct wire_rule *r;
	unsigned int type, p, w;

	for (type = 0; type < 0x10000; type++) {
		r = wire_rule((uint16_t)type);
		if (!r)
			continue;
		for (p = 0; p < 5; p++) {
			for (w = 0; w < 3; w++) {
				int legal = r->phases & phases[p] && r->ways & ways[w] ? 0 : -EPROTO;

				assert_int_equal(check(r->type, r->min, ways[w], phases[p]), legal);
				assert_int_equal(check(r->type, r->max, ways[w], phases[p]), legal);
				assert_int_equal(check(r->type, r->max + 1, ways[w], phases[p]), -EPROTO);
				if (r->min)
					assert_int_equal(check(r->type, r->min - 1, ways[w], phases[p]), -EPROTO);
			}
		}
	}
}

static void unknown_records_are_refused_unless_optional(void **state)
{
	struct wire_header h = { .type = 0x77, .length = 4 };
	struct err e;

	assert_int_equal(wire_check(&h, CONTROL_TO_DST, IN_STOP, &e), -EPROTO);
	assert_string_equal(e.text, "record type 0x77 of 4 bytes is not known here");
	assert_int_equal(check(0x8077, 100, DATA_TO_DST, IN_STOP), 1);
	assert_int_equal(check(0x8077, 1u << 30, DATA_TO_DST, IN_STOP), -EPROTO);
}

/* --- counts that lie --- */

static void map_refused(uint8_t *buf, size_t len, const char *text)
{
	static const struct guest_region mine[2] = { { .id = 0, .size = 8192 }, { .id = 1, .gpa = 1u << 30, .size = 4096 } };
	struct reader r = reader_make(buf, len);
	struct err e;

	if (!text) {
		assert_int_equal(wire_match_mem_map(&r, mine, 2, &e), 0);
		return;
	}
	assert_int_equal(wire_match_mem_map(&r, mine, 2, &e), -EINVAL);
	assert_string_equal(e.text, text);
}

static void a_map_whose_count_lies_is_refused_by_it(void **state)
{
	struct guest_region r[GUEST_REGIONS_MAX] = { { .id = 0, .size = 8192 },
						     { .id = 1, .gpa = 1u << 30, .size = 4096 } };
	uint8_t buf[1024] = { 0 };
	struct writer w = writer_make(buf, sizeof(buf));
	size_t len;

	wire_put_mem_map(&w, r, 2);
	len = writer_len(&w);
	assert_int_equal(len, 6 + 2 * 24);
	map_refused(buf, len, NULL);
	map_refused(buf, 5, "MEM_MAP: regions: ends before its count");
	map_refused(buf, len - 1, "MEM_MAP: regions: 2 elements of 24 bytes, but 47 bytes are left");
	map_refused(buf, len + 1, "MEM_MAP: 1 bytes after the last region");
	buf[2] = 1;
	map_refused(buf, 6 + 24, "memory: 1 regions there, 2 here");
	buf[2] = 0;
	map_refused(buf, 6, "memory: 0 regions there, 2 here");
	buf[2] = GUEST_REGIONS_MAX + 1;
	map_refused(buf, sizeof(buf), "MEM_MAP: regions: 17 elements there, room for 16 here");
	buf[2] = buf[3] = buf[4] = buf[5] = 0xff;
	map_refused(buf, len, "MEM_MAP: regions: 4294967295 elements there, room for 16 here");
	buf[0] = 0;
	map_refused(buf, len, "MEM_MAP: regions: elements of 0 bytes, expected 24");
	w = writer_make(buf, sizeof(buf));
	wire_put_mem_map(&w, r, 2);
	buf[6 + 24 + 4] = 2;
	map_refused(buf, len, "memory: region 1 is of kind 2, which is not known here");
}

static void pages_refused(struct wire_pages *p, uint32_t runs, uint32_t chunks, uint32_t length, const char *text)
{
	static uint8_t head[PAGES_HEAD_SIZE];
	struct writer w = writer_make(head, sizeof(head));
	uint32_t tables;
	struct err e;

	writer_u32(&w, 0);
	writer_u32(&w, 0);
	writer_u64(&w, 0);
	writer_u16(&w, (uint16_t)runs);
	writer_u16(&w, (uint16_t)chunks);
	writer_u32(&w, 0);
	assert_int_equal(wire_get_pages_head(head, length, p, &tables, &e), -EPROTO);
	assert_string_equal(e.text, text);
}

/* Before a byte of the tables is read: they go to a buffer for the most there may be. */
static void a_pages_record_whose_counts_lie_is_refused_at_its_head(void **state)
{
	static struct wire_pages p;

	pages_refused(&p, 0, 0, 24, "PAGES: 0 runs, 0 chunks, expected 1 to 512, 0 to 32");
	pages_refused(&p, 513, 0, 24 + 4 * 513, "PAGES: 513 runs, 0 chunks, expected 1 to 512, 0 to 32");
	pages_refused(&p, 1, 33, 24 + 4 * 34, "PAGES: 1 runs, 33 chunks, expected 1 to 512, 0 to 32");
	pages_refused(&p, 9, 2, 24 + 4 * 10, "PAGES: length 64, but its parts make 68");
}

static int get_pages(uint8_t *buf, uint32_t len, uint64_t region_pages, struct wire_pages *p)
{
	uint32_t tables;
	struct reader r;
	struct err e;
	int rc;

	rc = wire_get_pages_head(buf, len + p->stored, p, &tables, &e);
	if (rc)
		return rc;
	r = reader_make(buf + PAGES_HEAD_SIZE, tables);
	return wire_get_pages_tables(&r, region_pages, p, &e);
}

static uint32_t put_pages(uint8_t *buf, const struct wire_pages *p)
{
	struct writer w = writer_make(buf, PAGES_TABLES_MAX);

	wire_put_pages(&w, p);
	assert_false(w.bad);
	return (uint32_t)writer_len(&w);
}

static void page_tables_survive_the_wire_and_lies_are_refused(void **state)
{
	static struct wire_pages out, in;
	static uint8_t buf[PAGES_TABLES_MAX];
	uint32_t len;

	out = (struct wire_pages){
		.region = 3,
		.round = 9,
		.base = 1024,
		.n_runs = 3,
		.n_chunks = 2,
		.stored = 65536 + 100,
		.data_pages = 18,
		.runs = { { 0, 4, true }, { 4, 17, false }, { 511, 1, false } },
		.chunks = { 65536, 100 },
	};
	len = put_pages(buf, &out);
	in.stored = out.stored;
	assert_int_equal(get_pages(buf, len, 1536, &in), 0);
	assert_int_equal(in.data_pages, 18);
	assert_int_equal(in.zero_pages, 4);
	assert_int_equal(in.runs[1].count, 17);
	assert_int_equal(wire_chunk_raw(&in, 1), 2 * 4096);
	/* the region ends before the last run */
	assert_int_equal(get_pages(buf, len, 1535, &in), -EPROTO);
	assert_int_equal(get_pages(buf, len, 1000, &in), -EPROTO);
	/* runs overlap, descend, are empty, leave the extent */
	out.runs[1].first = 3;
	put_pages(buf, &out);
	assert_int_equal(get_pages(buf, len, 1536, &in), -EPROTO);
	out.runs[1] = (struct wire_run){ 4, 0, false };
	put_pages(buf, &out);
	assert_int_equal(get_pages(buf, len, 1536, &in), -EPROTO);
	out.runs[1] = (struct wire_run){ 4, 17, false };
	out.runs[2] = (struct wire_run){ 511, 2, false };
	put_pages(buf, &out);
	assert_int_equal(get_pages(buf, len, 1536, &in), -EPROTO);
	/* a chunk that is longer than what it unpacks to, or empty */
	out.runs[2] = (struct wire_run){ 511, 1, false };
	out.chunks[0] = 65537;
	out.chunks[1] = 99;
	put_pages(buf, &out);
	assert_int_equal(get_pages(buf, len, 1536, &in), -EPROTO);
	/* not a multiple of an extent */
	out.chunks[0] = 65536;
	out.chunks[1] = 100;
	out.base = 1000;
	put_pages(buf, &out);
	assert_int_equal(get_pages(buf, len, 1536, &in), -EPROTO);
}

static void abort_text_is_made_printable(void **state)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	struct reader r;
	char text[16];

	wire_put_abort(&w, -EIO, "disk\n\x1b[31m is broken and more");
	r = reader_make(buf, writer_len(&w));
	assert_int_equal(wire_get_abort(&r, text, sizeof(text)), -EIO);
	assert_string_equal(text, "disk??[31m is b");
	/* The C1 set, as bytes and as UTF-8; and a text that is cut inside a character. */
	w = writer_make(buf, sizeof(buf));
	wire_put_abort(&w, -EIO, "\x9b"
				 "2J\xc2\x9b"
				 "2J abcde\xe2\x82\xac");
	r = reader_make(buf, writer_len(&w));
	assert_int_equal(wire_get_abort(&r, text, sizeof(text)), -EIO);
	assert_string_equal(text, "?2J?2J abcde");
}

/* --- channel --- */

static void pair(struct channel *a, struct channel *b)
{
	struct stream *s[2];
	struct err e;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(stream_from_fd(fds[0], "a", &s[0], &e), 0);
	assert_int_equal(stream_from_fd(fds[1], "b", &s[1], &e), 0);
	channel_init(a, s[0], CONTROL_TO_SRC);
	channel_init(b, s[1], CONTROL_TO_DST);
}

static void an_optional_record_is_skipped_and_a_repeated_one_refused(void **state)
{
	static const _Atomic int phase = IN_READY;
	struct channel a, b;
	struct wire_header h;
	uint64_t incarnation = 5;
	struct err e;

	pair(&a, &b);
	assert_int_equal(channel_send(&a, 0x8abc, "whatever", 8, 100, &e), 0);
	assert_int_equal(channel_send(&a, WIRE_GRANT, &incarnation, 8, 100, &e), 0);
	a.tx_seq--;
	assert_int_equal(channel_send(&a, WIRE_GRANT, &incarnation, 8, 100, &e), 0);
	assert_int_equal(channel_begin(&b, &phase, &h, 100, &e), 0);
	assert_int_equal(h.type, WIRE_GRANT);
	assert_int_equal(channel_take(&b, &incarnation, 8, 100, &e), 0);
	assert_int_equal(channel_end(&b, &e), 0);
	assert_int_equal(channel_begin(&b, &phase, &h, 100, &e), -EPROTO);
	assert_non_null(strstr(e.text, "sequence 1, expected 2"));
	channel_destroy(&a);
	channel_destroy(&b);
}

static void a_silent_peer_is_a_timeout(void **state)
{
	static const _Atomic int phase = IN_READY;
	struct channel a, b;
	struct wire_header h;
	struct err e;

	pair(&a, &b);
	assert_int_equal(channel_begin(&b, &phase, &h, 50, &e), -ETIMEDOUT);
	channel_destroy(&a);
	assert_int_equal(channel_begin(&b, &phase, &h, 50, &e), -ECONNRESET);
	channel_destroy(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_record_is_bounded_by_its_row),
		cmocka_unit_test(unknown_records_are_refused_unless_optional),
		cmocka_unit_test(a_map_whose_count_lies_is_refused_by_it),
		cmocka_unit_test(a_pages_record_whose_counts_lie_is_refused_at_its_head),
		cmocka_unit_test(page_tables_survive_the_wire_and_lies_are_refused),
		cmocka_unit_test(abort_text_is_made_printable),
		cmocka_unit_test(an_optional_record_is_skipped_and_a_repeated_one_refused),
		cmocka_unit_test(a_silent_peer_is_a_timeout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
