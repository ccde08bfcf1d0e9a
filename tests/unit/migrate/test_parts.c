/* SPDX-License-Identifier: Apache-2.0 */
/* test_parts - the engine's parts by themselves: records, pages, bitmaps, codecs, convergence, steps. */
#include "migrate/absent.h"
#include "migrate/bitmap.h"
#include "migrate/channel.h"
#include "migrate/codec.h"
#include "migrate/converge.h"
#include "migrate/handover.h"
#include "migrate/hello.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <cmocka.h>
#include <unistd.h>

/* --- wire --- */

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
	assert_string_equal(e.text, "record type 0x77 of 4 octets is not known here");
	assert_int_equal(check(0x8077, 100, DATA_TO_DST, IN_STOP), 1);
	assert_int_equal(check(0x8077, 1u << 30, DATA_TO_DST, IN_STOP), -EPROTO);
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

	out = (struct wire_pages){ .region = 3, .round = 9, .base = 1024, .n_runs = 3, .n_chunks = 2,
				   .stored = 65536 + 100, .data_pages = 18,
				   .runs = { { 0, 4, true }, { 4, 17, false }, { 511, 1, false } },
				   .chunks = { 65536, 100 } };
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
	/* The C1 set, as octets and as UTF-8; and a text that is cut inside a character. */
	w = writer_make(buf, sizeof(buf));
	wire_put_abort(&w, -EIO, "\x9b" "2J\xc2\x9b" "2J abcde\xe2\x82\xac");
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

/* --- bitmap --- */

static void bitmap_ranges_agree_with_single_bits(void **state)
{
	struct bitmap b;
	unsigned int i, n, seed = 1;
	uint64_t page, missing;
	bool model[1000];

	assert_int_equal(bitmap_init(&b, 1000), 0);
	memset(model, 0, sizeof(model));
	for (i = 0; i < 300; i++) {
		page = rand_r(&seed) % 1000;
		n = 1 + rand_r(&seed) % 130;
		if (page + n > 1000)
			continue;
		if (i % 2) {
			bool all = true;

			for (unsigned int k = 0; k < n; k++)
				all = all && model[page + k];
			assert_int_equal(bitmap_test_range(&b, page, n), all);
			continue;
		}
		bitmap_set_range(&b, page, n % 5);
		memset(model + page, 1, n % 5);
	}
	bitmap_fill(&b);
	assert_int_equal(bitmap_count(&b), 1000);
	assert_false(bitmap_first_clear(&b, &missing));
	b.words[999 / 64] &= ~(1ull << (999 % 64));
	assert_true(bitmap_first_clear(&b, &missing));
	assert_int_equal(missing, 999);
	bitmap_free(&b);
}

static void work_hands_out_each_extent_with_pages_once(void **state)
{
	struct guest_region r[2] = { { .size = 5 * 2097152 }, { .size = 64 * 4096 } };
	struct work w;
	uint64_t extent;
	size_t region;

	assert_int_equal(work_init(&w, r, 2), 0);
	bitmap_set_range(&w.maps[0], 512 * 3 + 511, 1);
	bitmap_set_range(&w.maps[1], 63, 1);
	assert_int_equal(work_count(&w), 2);
	assert_true(work_claim(&w, &region, &extent));
	assert_int_equal(region, 0);
	assert_int_equal(extent, 3);
	assert_true(work_claim(&w, &region, &extent));
	assert_int_equal(region, 1);
	assert_int_equal(extent, 0);
	assert_false(work_claim(&w, &region, &extent));
	assert_false(work_claim(&w, &region, &extent));
	work_rewind(&w);
	assert_true(work_claim(&w, &region, &extent));
	work_free(&w);
}

static void only_pages_never_written_are_absent(void **state)
{
	struct guest_region r = { .size = 512 * 4096, .fd = -1 };
	uint64_t bits[8];
	struct absent a;
	int memfd, page;

	absent_init(&a);
	for (memfd = 0; memfd < 2; memfd++) {
		if (memfd) {
			r.fd = memfd_create("t", 0);
			assert_int_equal(ftruncate(r.fd, (off_t)r.size), 0);
		}
		r.host = mmap(NULL, r.size, PROT_READ | PROT_WRITE,
			      memfd ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, r.fd, 0);
		r.host[7 * 4096] = 1;
		r.host[300 * 4096 + 5] = 0;
		absent_find(&a, &r, 0, 512, bits);
		for (page = 0; page < 512; page++)
			assert_int_equal(bits[page / 64] >> (page % 64) & 1, page != 7 && page != 300);
		munmap(r.host, r.size);
	}
	close(r.fd);
	absent_free(&a);
}

/* --- codec --- */

static void zero_test_finds_every_single_bit(void **state)
{
	uint8_t *page = aligned_alloc(4096, 4096);
	unsigned int i;

	memset(page, 0, 4096);
	assert_true(page_is_zero(page));
	assert_true(page_is_zero_scalar(page));
	for (i = 0; i < 4096; i++) {
		page[i] = (uint8_t)(1 << (i % 8));
		assert_false(page_is_zero(page));
		assert_false(page_is_zero_scalar(page));
		page[i] = 0;
	}
	free(page);
}

static void lz4_refuses_what_is_damaged_or_of_another_length(void **state)
{
	static uint8_t src[65536], packed[65536], out[65536];
	void *lz4 = malloc(lz4_state_size());
	unsigned int i, seed = 3;
	uint32_t n;

	for (i = 0; i < sizeof(src); i++)
		src[i] = (uint8_t)(i / 100);
	n = lz4_pack(lz4, src, sizeof(src), packed, sizeof(packed));
	assert_in_range(n, 1, 10000);
	assert_true(lz4_unpack(packed, n, out, sizeof(out)));
	assert_memory_equal(src, out, sizeof(out));
	assert_false(lz4_unpack(packed, n, out, sizeof(out) - 4096));
	assert_false(lz4_unpack(packed, n - 1, out, sizeof(out)));
	for (i = 0; i < sizeof(src); i++)
		src[i] = (uint8_t)rand_r(&seed);
	assert_int_equal(lz4_pack(lz4, src, sizeof(src), packed, sizeof(packed)), 0);
	free(lz4);
}

/* A model of a link that takes @w ns per octet, of LZ4 at 2.2 ns per octet and ratio @r. */
static bool packs_in_the_end(double w, double r)
{
	struct chooser c;
	uint64_t raw = 524288, stored, link, pack;
	int i;

	chooser_init(&c, COMPRESS_AUTO);
	for (i = 0; i < 3000; i++) {
		bool try = chooser_try(&c);

		stored = try ? (uint64_t)((double)raw * r) : raw;
		pack = try ? (uint64_t)((double)raw * 2.2) : 0;
		if (try)
			chooser_packed(&c, (uint32_t)raw, r < 0.9 ? (uint32_t)stored : 0, pack);
		link = (uint64_t)((double)stored * w);
		chooser_sent(&c, raw, stored, link > pack ? link - pack : 0, link > pack ? link : pack);
	}
	return c.packing;
}

static void packing_is_chosen_where_it_pays(void **state)
{
	assert_false(packs_in_the_end(0.3, 0.4));  /* a loopback */
	assert_false(packs_in_the_end(0.8, 0.4));  /* 10 Gbit/s on one connection */
	assert_true(packs_in_the_end(8.0, 0.4));   /* 1 Gbit/s */
	assert_true(packs_in_the_end(16.0, 0.7));
	assert_false(packs_in_the_end(2.0, 0.95));
}

/* --- convergence --- */

static unsigned int allowed = THROTTLE_MAX;

/* Rounds until it stops, with @send and @dirty pages per ms; 0 = never in 200 rounds. */
static unsigned int rounds_until_stop(double send, double dirty, uint64_t pages, uint64_t limit_ms,
				      struct converge *c)
{
	uint64_t left = pages, sent, ns;
	unsigned int i;

	converge_init(c, limit_ms, allowed);
	for (i = 1; i <= 200; i++) {
		sent = left;
		ns = (uint64_t)((double)sent / send * 1e6) + 300000;
		left = (uint64_t)((double)ns / 1e6 * dirty * (100 - c->throttle) / 100);
		if (left > pages)
			left = pages;
		if (converge_round(c, sent, ns, left) == VERDICT_STOP)
			return i;
	}
	return 0;
}

static void it_stops_at_the_minimum_not_at_the_first_fit(void **state)
{
	struct converge c;

	assert_in_range(rounds_until_stop(300, 100, 262144, 300, &c), 4, 12);
	assert_true(c.remaining < 200);
	assert_true(c.converging);
	assert_int_equal(c.throttle, 0);
}

static void an_idle_domain_stops_after_one_round(void **state)
{
	struct converge c;

	assert_int_equal(rounds_until_stop(300, 0, 262144, 300, &c), 1);
}

static void a_domain_that_dirties_faster_is_throttled_until_it_fits(void **state)
{
	struct converge c;

	assert_in_range(rounds_until_stop(100, 300, 1000000, 50, &c), 5, 100);
	assert_true(c.throttle > 60);
	assert_true(c.predicted_ns <= c.limit_ns);
}

static void the_limit_is_never_exceeded_by_what_it_predicts(void **state)
{
	struct converge c;

	assert_int_equal(rounds_until_stop(10, 1000, 1000000, 20, &c), 0);
	assert_false(c.converging);
	assert_int_equal(c.throttle, THROTTLE_MAX);
}

static void nobody_is_throttled_further_than_was_allowed(void **state)
{
	struct converge c;

	for (allowed = 0; allowed <= 50; allowed += 50) {
		assert_int_equal(rounds_until_stop(10, 1000, 1000000, 20, &c), 0);
		assert_int_equal(c.throttle, allowed);
	}
	allowed = THROTTLE_MAX;
}

/* Until it is given up, with rounds of @ms that leave what they found. */
static uint64_t seconds_until_hopeless(unsigned int throttle_max, uint64_t ms)
{
	struct converge c;
	uint64_t at;

	converge_init(&c, 10, throttle_max);
	for (at = 0; at < 10000000; at += ms)
		if (converge_round(&c, 100000, ms * 1000000, 100000) == VERDICT_HOPELESS)
			return at / 1000;
	return 0;
}

static void what_makes_no_progress_ends_when_all_that_is_allowed_was_tried(void **state)
{
	assert_in_range(seconds_until_hopeless(0, 1000), 115, 130);
	assert_in_range(seconds_until_hopeless(0, 20), 115, 130);
	assert_in_range(seconds_until_hopeless(THROTTLE_MAX, 1000), 115, 200);
}

/* --- handover --- */

static void at_no_pair_of_steps_may_both_sides_run(void **state)
{
	/* Pairs that can exist at once: the destination is never ahead of what the source has allowed. */
	static const struct {
		enum migrate_phase source, destination;
	} pairs[] = {
		{ MIGRATE_SETUP, MIGRATE_SETUP }, { MIGRATE_PRECOPY, MIGRATE_PRECOPY },
		{ MIGRATE_STOP, MIGRATE_STOP }, { MIGRATE_STOP, MIGRATE_READY },
		{ MIGRATE_READY, MIGRATE_READY }, { MIGRATE_GRANT, MIGRATE_READY },
		{ MIGRATE_GRANT, MIGRATE_GRANT }, { MIGRATE_GRANT, MIGRATE_COMMITTED },
		{ MIGRATE_GRANT, MIGRATE_DONE }, { MIGRATE_IN_DOUBT, MIGRATE_DONE },
		{ MIGRATE_COMMITTED, MIGRATE_DONE }, { MIGRATE_DONE, MIGRATE_DONE },
		{ MIGRATE_FAILED, MIGRATE_READY }, { MIGRATE_FAILED, MIGRATE_GRANT },
		{ MIGRATE_FAILED, MIGRATE_IN_DOUBT }, { MIGRATE_CANCELLED, MIGRATE_READY },
	};
	size_t i;

	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		enum may_run s = handover_may_run(MIGRATE_SOURCE, pairs[i].source);
		enum may_run d = handover_may_run(MIGRATE_DESTINATION, pairs[i].destination);

		assert_false((s == MAY_RUN || s == MAY_RESUME) && d == MAY_RUN);
	}
}

static void from_grant_no_step_leads_back_without_an_outcome(void **state)
{
	static const enum migrate_phase never[] = { MIGRATE_SETUP, MIGRATE_PRECOPY, MIGRATE_STOP,
						    MIGRATE_READY, MIGRATE_CANCELLED };
	size_t i;

	for (i = 0; i < 5; i++) {
		assert_false(handover_legal(MIGRATE_SOURCE, MIGRATE_GRANT, never[i]));
		assert_false(handover_legal(MIGRATE_SOURCE, MIGRATE_IN_DOUBT, never[i]));
		assert_false(handover_legal(MIGRATE_SOURCE, MIGRATE_COMMITTED, never[i]));
		assert_false(handover_legal(MIGRATE_DESTINATION, MIGRATE_COMMITTED, never[i]));
	}
	assert_int_equal(handover_may_run(MIGRATE_SOURCE, MIGRATE_GRANT), MUST_ASK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_record_is_bounded_by_its_row),
		cmocka_unit_test(unknown_records_are_refused_unless_optional),
		cmocka_unit_test(page_tables_survive_the_wire_and_lies_are_refused),
		cmocka_unit_test(abort_text_is_made_printable),
		cmocka_unit_test(an_optional_record_is_skipped_and_a_repeated_one_refused),
		cmocka_unit_test(a_silent_peer_is_a_timeout),
		cmocka_unit_test(bitmap_ranges_agree_with_single_bits),
		cmocka_unit_test(work_hands_out_each_extent_with_pages_once),
		cmocka_unit_test(only_pages_never_written_are_absent),
		cmocka_unit_test(zero_test_finds_every_single_bit),
		cmocka_unit_test(lz4_refuses_what_is_damaged_or_of_another_length),
		cmocka_unit_test(packing_is_chosen_where_it_pays),
		cmocka_unit_test(it_stops_at_the_minimum_not_at_the_first_fit),
		cmocka_unit_test(an_idle_domain_stops_after_one_round),
		cmocka_unit_test(a_domain_that_dirties_faster_is_throttled_until_it_fits),
		cmocka_unit_test(the_limit_is_never_exceeded_by_what_it_predicts),
		cmocka_unit_test(nobody_is_throttled_further_than_was_allowed),
		cmocka_unit_test(what_makes_no_progress_ends_when_all_that_is_allowed_was_tried),
		cmocka_unit_test(at_no_pair_of_steps_may_both_sides_run),
		cmocka_unit_test(from_grant_no_step_leads_back_without_an_outcome),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
