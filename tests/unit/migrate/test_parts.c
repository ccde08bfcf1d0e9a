/* SPDX-License-Identifier: Apache-2.0 */
/* test_parts - the engine's parts by themselves: bitmaps, codecs, ways for pages, convergence, steps. */
#include "migrate/handover.h"
#include "migrate/pages/unpopulated.h"
#include "migrate/pages/bitmap.h"
#include "migrate/session/source/converge.h"
#include "migrate/transport/page_transport.h"
#include "migrate/wire/codec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>
#include <unistd.h>

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

static void only_pages_never_written_are_unpopulated(void **state)
{
	struct guest_region r = { .size = 512 * 4096, .fd = -1 };
	uint64_t bits[8];
	struct unpopulated a;
	int memfd, page;

	unpopulated_init(&a, 0);
	for (memfd = 0; memfd < 2; memfd++) {
		if (memfd) {
			r.fd = memfd_create("t", 0);
			assert_int_equal(ftruncate(r.fd, (off_t)r.size), 0);
		}
		r.host = mmap(NULL, r.size, PROT_READ | PROT_WRITE,
			      memfd ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, r.fd, 0);
		r.host[7 * 4096] = 1;
		r.host[300 * 4096 + 5] = 0;
		unpopulated_find(&a, &r, 0, 512, bits);
		for (page = 0; page < 512; page++)
			assert_int_equal(bits[page / 64] >> (page % 64) & 1, page != 7 && page != 300);
		munmap(r.host, r.size);
	}
	close(r.fd);
	unpopulated_free(&a);
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

/* A model of a link that takes @w ns per byte, of LZ4 at 2.2 ns per byte and ratio @r. */
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
	assert_false(packs_in_the_end(0.3, 0.4)); /* a loopback */
	assert_false(packs_in_the_end(0.8, 0.4)); /* 10 Gbit/s on one connection */
	assert_true(packs_in_the_end(8.0, 0.4));  /* 1 Gbit/s */
	assert_true(packs_in_the_end(16.0, 0.7));
	assert_false(packs_in_the_end(2.0, 0.95));
}

/* --- page transport --- */

static int caps_with(uint64_t required, struct err *e)
{
	struct wire_caps c = { .required = required, .page_size = GUEST_PAGE, .dead_ms = WIRE_DEAD_MIN_MS };
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	struct reader r;

	wire_put_caps(&w, &c);
	r = reader_make(buf, writer_len(&w));
	return wire_get_caps(&r, &c, e);
}

static void whatever_is_agreed_on_there_is_a_way_for_pages(void **state)
{
	struct err e;
	int bit;

	assert_string_equal(page_transport_pick(0)->name, "stream");
	assert_int_equal(page_transport_pick(0)->feature, 0);
	for (bit = 0; bit < 64; bit++)
		assert_int_equal(page_transport_pick(1ull << bit)->feature & ~(1ull << bit), 0);
	assert_int_equal(page_transport_features() & ~WIRE_FEATURES, 0); /* each row's bit is one that CAPS knows */
	/* A peer that can send pages only in a way that is not known here is told so. */
	for (bit = 8; bit < 16; bit++) {
		char text[64];

		if (page_transport_features() >> bit & 1)
			continue;
		snprintf(text, sizeof(text), "CAPS: feature %d is required and not known here", bit);
		assert_int_equal(caps_with(1ull << bit, &e), -EPROTO);
		assert_string_equal(e.text, text);
	}
	assert_int_equal(caps_with(page_transport_features(), &e), 0);
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
		{ MIGRATE_SETUP, MIGRATE_SETUP },
		{ MIGRATE_PRECOPY, MIGRATE_PRECOPY },
		{ MIGRATE_STOP, MIGRATE_STOP },
		{ MIGRATE_STOP, MIGRATE_READY },
		{ MIGRATE_READY, MIGRATE_READY },
		{ MIGRATE_GRANT, MIGRATE_READY },
		{ MIGRATE_GRANT, MIGRATE_GRANT },
		{ MIGRATE_GRANT, MIGRATE_COMMITTED },
		{ MIGRATE_GRANT, MIGRATE_DONE },
		{ MIGRATE_IN_DOUBT, MIGRATE_DONE },
		{ MIGRATE_COMMITTED, MIGRATE_DONE },
		{ MIGRATE_DONE, MIGRATE_DONE },
		{ MIGRATE_FAILED, MIGRATE_READY },
		{ MIGRATE_FAILED, MIGRATE_GRANT },
		{ MIGRATE_FAILED, MIGRATE_IN_DOUBT },
		{ MIGRATE_CANCELLED, MIGRATE_READY },
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
		cmocka_unit_test(bitmap_ranges_agree_with_single_bits),
		cmocka_unit_test(work_hands_out_each_extent_with_pages_once),
		cmocka_unit_test(only_pages_never_written_are_unpopulated),
		cmocka_unit_test(zero_test_finds_every_single_bit),
		cmocka_unit_test(lz4_refuses_what_is_damaged_or_of_another_length),
		cmocka_unit_test(packing_is_chosen_where_it_pays),
		cmocka_unit_test(whatever_is_agreed_on_there_is_a_way_for_pages),
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
