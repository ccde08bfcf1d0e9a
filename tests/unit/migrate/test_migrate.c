/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_migrate - the engine between two fake guests: what arrives is what left,
 * whoever writes meanwhile; and what goes wrong leaves the domain where it was.
 *
 * With the argument "mutant" only the tests run that a deliberate bug (see
 * meson.build) must make fail; with "capture" one migration is written to
 * $DROVER_CAPTURE for stream_reader.py; any other is a pattern of tests to run.
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
#include <sys/mman.h>
#include <unistd.h>

static void assert_moved(struct move *m)
{
	if (m->rc[0] || m->rc[1])
		fail_msg("source %d (%s), destination %d (%s)", m->rc[0], m->err[0].text, m->rc[1],
			 m->err[1].text);
	assert_int_equal(m->stats[0].phase, MIGRATE_DONE);
	assert_int_equal(m->stats[1].phase, MIGRATE_DONE);
	move_check(m);
}

static void memory_arrives_whatever_is_written_meanwhile(void **state)
{
	static const enum compress_mode modes[] = { COMPRESS_AUTO, COMPRESS_ON, COMPRESS_OFF };
	static struct move m;
	unsigned int seed;

	for (seed = 1; seed <= 24; seed++) {
		move_init(&m, seed * 7919, (enum move_arbiter)(seed % 3));
		m.guest[0].writes_per_ms = 1 + seed * 3 % 40;
		m.guest[0].hot_pages = seed % 4 ? 200 : 0;
		m.params[0].compress = modes[seed % 3];
		m.params[0].channels = 1 + seed % 4;
		move_run(&m);
		assert_moved(&m);
		assert_true(atomic_load(&m.guest[0].writes) > 0);
		move_free(&m);
	}
}

static void a_region_may_end_inside_an_extent(void **state)
{
	static const uint64_t sizes[] = { 64 * 4096, 2 * MB + 128 * 4096, 192 * 4096 };
	static struct move m;

	move_init_sized(&m, 3, BY_DISK, sizes, 3, false);
	move_run(&m);
	assert_moved(&m);
	move_free(&m);
}

static uint64_t resident(const struct fake_guest *g)
{
	unsigned char vec[4096];
	uint64_t page, n = 0;
	size_t r, k;

	for (r = 0; r < g->n_regions; r++) {
		for (page = 0; page < g->regions[r].size / GUEST_PAGE; page += k) {
			k = g->regions[r].size / GUEST_PAGE - page;
			if (k > sizeof(vec))
				k = sizeof(vec);
			mincore(g->regions[r].host + page * GUEST_PAGE, k * GUEST_PAGE, vec);
			for (size_t i = 0; i < k; i++)
				n += vec[i] & 1;
		}
	}
	return n;
}

static void pages_never_written_get_no_memory_on_either_side(void **state)
{
	static const uint64_t sizes[] = { 64 * MB };
	static struct move m;
	int memfd;

	for (memfd = 0; memfd < 2; memfd++) {
		move_init_sized(&m, 0, BY_DISK, sizes, 1, memfd);
		fake_guest_freeze(&m.guest[0]);
		madvise(m.guest[0].regions[0].host, sizes[0], memfd ? MADV_REMOVE : MADV_DONTNEED);
		memset(m.guest[0].regions[0].host + 5 * MB, 7, 4096);
		move_run(&m);
		assert_true(resident(&m.guest[0]) <= 1);
		assert_true(resident(&m.guest[1]) <= 1);
		assert_moved(&m);
		assert_true(m.stats[0].pages_zero >= sizes[0] / GUEST_PAGE - 1);
		move_free(&m);
	}
}

static void a_zero_page_wipes_what_the_destination_had_there(void **state)
{
	static struct move m;

	move_init(&m, 12, BY_DISK);
	fake_guest_fill(&m.guest[1], 99); /* leftovers */
	move_run(&m);
	assert_moved(&m);
	move_free(&m);
}

static void a_writer_that_slows_down_converges_to_few_pages(void **state)
{
	static const uint64_t sizes[] = { 64 * MB };
	static struct move m;

	move_init_sized(&m, 5, BY_DISK, sizes, 1, false);
	m.guest[0].writes_per_ms = 10;
	m.guest[0].hot_pages = 4096;
	/* However seldom the writer gets a core, what it leaves is too much for the first round to be the last. */
	m.guest[0].writes_per_fetch = 200;
	m.params[0].bandwidth = 256 * MB;
	m.params[0].compress = COMPRESS_OFF;
	move_run(&m);
	assert_moved(&m);
	print_message("    %u rounds, last set %llu pages, downtime %llu us\n", m.stats[0].round,
		      (unsigned long long)m.stats[0].last_pages,
		      (unsigned long long)m.stats[0].downtime_us);
	assert_true(m.stats[0].round >= 2);
	assert_true(m.stats[0].last_pages < 2000);
	move_free(&m);
}

static void what_does_not_converge_is_said_throttled_and_given_up(void **state)
{
	static struct move m;

	move_init(&m, 8, BY_DISK);
	m.guest[0].writes_per_ms = 2000;
	/* Ten pages of each region, and so many writes between two fetches that each is among them. */
	m.guest[0].writes_per_fetch = 200;
	m.guest[0].hot_pages = 10;
	m.params[0].bandwidth = 3 * MB;
	m.params[0].compress = COMPRESS_OFF;
	m.params[0].downtime_ms = 10;
	m.params[0].throttle_max = 80;
	m.params[0].timeout_ms = 5000 + 2000 * MOVE_SLOW;
	move_run(&m);
	if (m.rc[0] != -ETIMEDOUT || !strstr(m.err[0].text, "pages/s are dirtied"))
		fail_msg("source %d (%s), destination %d (%s)", m.rc[0], m.err[0].text, m.rc[1],
			 m.err[1].text);
	assert_false(m.stats[0].converging);
	assert_true(m.stats[0].throttle >= 20);
	move_check(&m);
	assert_true(m.world.running[0]);
	assert_true(m.guest[0].dirty_stopped);
	move_free(&m);
}

static void a_bandwidth_limit_is_kept(void **state)
{
	static const uint64_t sizes[] = { 64 * MB };
	static struct move m;
	uint64_t t, ms, rate;

	move_init_sized(&m, 21, BY_DISK, sizes, 1, false);
	m.guest[0].writes_per_ms = 1;
	m.params[0].bandwidth = 20 * MB;
	m.params[0].compress = COMPRESS_OFF;
	t = clock_ms();
	move_run(&m);
	ms = clock_ms() - t;
	assert_moved(&m);
	rate = m.stats[0].pages_raw * GUEST_PAGE * 1000 / ms;
	/* Never above; a busy machine may stay below. */
	assert_in_range(rate, 2 * MB, 21 * MB);
	move_free(&m);
}

static void a_slow_link_makes_it_pack_and_a_fast_one_does_not(void **state)
{
	static const uint64_t sizes[] = { 96 * MB }, more[] = { 160 * MB };
	static struct move m;

	move_init_sized(&m, 2, BY_DISK, sizes, 1, false);
	m.guest[0].writes_per_ms = 1;
	move_run(&m);
	assert_moved(&m);
	print_message("    fast: %llu raw, %llu lz4\n", (unsigned long long)m.stats[0].pages_raw,
		      (unsigned long long)m.stats[0].pages_lz4);
	assert_true(m.stats[0].pages_lz4 * 10 < m.stats[0].pages_raw);
	move_free(&m);

	/* A sender looks at some windows before it begins to pack: one, so that most of it comes after them. */
	move_init_sized(&m, 2, BY_DISK, more, 1, false);
	m.guest[0].writes_per_ms = 1;
	m.params[0].channels = 1;
	m.net.rate = 10 * MB / MOVE_SLOW; /* packing is cheaper than that even on a busy machine, slowed down by a checker */
	move_run(&m);
	assert_moved(&m);
	print_message("    slow: %llu raw, %llu lz4\n", (unsigned long long)m.stats[0].pages_raw,
		      (unsigned long long)m.stats[0].pages_lz4);
	assert_true(m.stats[0].pages_lz4 > m.stats[0].pages_raw);
	move_free(&m);
}

/* How long source_run() went on after a cancel that came @at_ms after the beginning. */
static uint64_t cancel_after(unsigned int at_ms)
{
	static struct move m;
	struct err e;
	uint64_t t;

	move_init(&m, 40 + at_ms, BY_DISK);
	m.params[0].bandwidth = 10 * MB;
	m.params[0].compress = COMPRESS_OFF;
	m.guest[0].writes_per_ms = 500;
	/* Nor does it end before the cancel comes, however seldom the writer gets a core. */
	m.guest[0].writes_per_fetch = 200;
	m.params[0].downtime_ms = 1;
	move_begin(&m);
	usleep(at_ms * 1000);
	t = clock_ns();
	assert_int_equal(source_cancel(m.source, &e), 0);
	move_end(&m);
	assert_int_equal(m.rc[0], -ECANCELED);
	assert_int_equal(m.stats[0].phase, MIGRATE_CANCELLED);
	move_check(&m);
	assert_true(m.world.running[0]);
	t = m.source_returned_ns - t;
	move_free(&m);
	return t;
}

static void cancel_works_within_100_ms_in_every_phase_before_grant(void **state)
{
	static const unsigned int at_ms[] = { 1, 3, 10, 40, 120, 350 };
	unsigned int tries;
	size_t i;

	/* Once may be late because the machine was busy elsewhere; what waits for something is late each time. */
	for (i = 0; i < sizeof(at_ms) / sizeof(at_ms[0]); i++)
		for (tries = 0; cancel_after(at_ms[i]) > 100 * MOVE_SLOW * NS_PER_MS; tries++)
			assert_true(tries < 8);
}

static void cancel_from_grant(void *arg, enum migrate_role role, enum migrate_phase phase,
			      bool before)
{
	struct move *m = arg;
	struct err e = { 0 };

	if (role != MIGRATE_SOURCE || phase != MIGRATE_GRANT || before)
		return;
	assert_int_equal(source_cancel(m->source, &e), -EBUSY);
	assert_string_equal(e.text, "too late, decision pending");
}

static void cancel_after_grant_is_refused(void **state)
{
	static struct move m;

	move_init(&m, 51, BY_CLUSTER);
	m.params[0].at_step = cancel_from_grant;
	move_run(&m);
	assert_moved(&m);
	move_free(&m);
}

static void cancel_from_ready(void *arg, enum migrate_role role, enum migrate_phase phase,
			      bool before)
{
	struct move *m = arg;
	struct err e = { 0 };

	if (role == MIGRATE_SOURCE && phase == MIGRATE_READY)
		assert_int_equal(source_cancel(m->source, &e), 0);
}

static void a_destination_that_is_ready_does_not_run_without_grant(void **state)
{
	static struct move m;

	move_init(&m, 53, BY_CLUSTER);
	m.world.diskless = true;
	m.params[0].at_step = cancel_from_ready;
	move_run(&m);
	assert_int_equal(m.rc[0], -ECANCELED);
	move_check(&m);
	assert_true(m.world.running[0]);
	assert_false(m.world.running[1]);
	move_free(&m);
}

static void the_destination_may_give_up_too(void **state)
{
	struct migrate_stats st;
	static struct move m;
	struct err e;

	move_init(&m, 52, BY_CLUSTER);
	m.params[0].bandwidth = 4 * MB;
	move_begin(&m);
	/* Before it has heard of its source it could not tell it. */
	do {
		usleep(10000);
		destination_stats(m.destination, &st);
	} while (st.phase < MIGRATE_PRECOPY);
	assert_int_equal(destination_cancel(m.destination, &e), 0);
	move_end(&m);
	assert_int_equal(m.rc[0], -ECANCELED);
	assert_string_equal(m.err[0].text, "destination: cancelled at the destination");
	move_check(&m);
	assert_true(m.world.running[0]);
	move_free(&m);
}

static void a_domain_that_does_not_fit_is_refused_with_what_differs(void **state)
{
	static struct move m;

	move_init(&m, 61, BY_DISK);
	m.abandon_ms = 300; /* the destination waits for another source */
	m.guest[1].description = "{\"vcpus\":4}";
	move_run(&m);
	assert_non_null(strstr(m.err[0].text, "vcpus: {\"vcpus\":2} there, {\"vcpus\":4} here"));
	assert_int_equal(m.rc[0], -EINVAL);
	move_check(&m);
	move_free(&m);

	move_init(&m, 62, BY_DISK);
	m.abandon_ms = 300; /* the destination waits for another source */
	m.guest[1].regions[1].gpa += 4096;
	move_run(&m);
	assert_non_null(strstr(m.err[0].text, "memory: region 8 of"));
	move_check(&m);
	move_free(&m);
}

static void another_arbiter_or_incarnation_is_refused(void **state)
{
	static struct move m;

	move_init(&m, 63, BY_DISK);
	m.abandon_ms = 300; /* the destination waits for another source */
	m.params[1].arbiter = fake_arbiter_cluster(&m.guest[1]);
	move_run(&m);
	assert_non_null(strstr(m.err[0].text, "arbiter: source uses number 1"));
	move_check(&m);
	move_free(&m);

	move_init(&m, 64, BY_DISK);
	m.abandon_ms = 300; /* the destination waits for another source */
	m.params[1].incarnation = 9;
	move_run(&m);
	assert_non_null(strstr(m.err[0].text, "incarnation: source offers 5, expected 9"));
	move_check(&m);
	move_free(&m);
}

static void a_state_that_cannot_be_loaded_leaves_the_domain_at_the_source(void **state)
{
	static struct move m;

	move_init(&m, 65, BY_DISK);
	m.guest[1].fail_load = true;
	move_run(&m);
	assert_non_null(strstr(m.err[0].text, "serial: field ier: value 99"));
	move_check(&m);
	assert_true(m.world.running[0]);
	move_free(&m);
}

static void a_peer_of_another_version_is_told_so(void **state)
{
	struct wire_hello h = { .version = 2, .role = ROLE_CONTROL, .n_channels = 1 };
	static struct move m;
	struct channel ch;
	struct stream *s;
	struct err e = { 0 };

	move_init(&m, 66, BY_DISK);
	assert_int_equal(m.params[0].link.open(m.params[0].link.arg, 100, &s, &e), 0);
	channel_init(&ch, s, CONTROL_TO_SRC);
	assert_int_equal(hello_send(&ch, &h, 1000, &e), 0);
	m.params[1].timeout_ms = 1000 * MOVE_SLOW; /* it goes on waiting for one of its own */
	assert_int_equal(destination_create(&m.destination, &m.params[1], &e), 0);
	m.rc[1] = destination_run(m.destination, &m.err[1]);
	assert_int_equal(m.rc[1], -ETIMEDOUT);
	/* It answers with its own version, so the other one can say what is wrong. */
	assert_int_equal(hello_recv(&ch, &h, 1000, &e), 0);
	assert_int_equal(h.version, WIRE_VERSION);
	channel_destroy(&ch);
	move_free(&m);
}

static void strangers_do_not_disturb_a_waiting_destination(void **state)
{
	struct iovec iov = { .iov_base = (void *)"GET / HTTP/1.1\r\nHost: x\r\n\r\n", .iov_len = 28 };
	struct stream *s[3];
	static struct move m;
	struct err e;
	int i;

	move_init(&m, 67, BY_DISK);
	for (i = 0; i < 3; i++)
		assert_int_equal(m.params[0].link.open(m.params[0].link.arg, 100, &s[i], &e), 0);
	stream_writev(s[0], &iov, 1, 100, &e);
	stream_shutdown(s[1]);
	move_run(&m); /* s[2] says nothing at all */
	assert_moved(&m);
	for (i = 0; i < 3; i++)
		stream_close(s[i]);
	move_free(&m);
}

static void two_destinations_cannot_both_commit(void **state)
{
	struct fake_world w;
	struct fake_guest g;
	uint64_t size = MB;
	struct arbiter a;
	enum outcome first, second;
	struct err e;
	int order;

	for (order = 0; order < 2; order++) {
		fake_world_init(&w);
		fake_guest_init(&g, &w, 0, &size, 1, false);
		a = fake_arbiter_cluster(&g);
		a.ops->ask(a.self, order ? MIGRATE_SOURCE : MIGRATE_DESTINATION,
			   order ? OUTCOME_ABORT : OUTCOME_COMMIT, 5, 10, &first, &e);
		a.ops->ask(a.self, order ? MIGRATE_DESTINATION : MIGRATE_SOURCE,
			   order ? OUTCOME_COMMIT : OUTCOME_ABORT, 5, 10, &second, &e);
		assert_int_equal(first, second);
		fake_guest_free(&g);
	}
}

static void cut_after_grant(void *arg, enum migrate_role role, enum migrate_phase phase, bool before)
{
	struct move *m = arg;

	if (role == MIGRATE_SOURCE && phase == MIGRATE_GRANT && !before)
		fake_net_cut(&m->net);
}

static void after_grant_a_cut_link_is_decided_by_the_arbiter(void **state)
{
	static struct move m;
	unsigned int i;

	for (i = 0; i < 20; i++) {
		move_init(&m, 70 + i, i % 2 ? BY_CLUSTER : BY_DISK);
		m.params[0].at_step = cut_after_grant;
		move_run(&m);
		assert_int_not_equal(m.rc[0], -EINPROGRESS);
		move_check(&m);
		assert_int_equal(move_runs(&m), 1);
		move_free(&m);
	}
}

/* Wait for the source to be in doubt; false when the migration ended before. */
static bool comes_into_doubt(struct move *m, struct migrate_stats *st)
{
	do {
		usleep(10000);
		source_stats(m->source, st);
	} while (st->phase < MIGRATE_DONE && st->phase != MIGRATE_IN_DOUBT);
	return st->phase == MIGRATE_IN_DOUBT;
}

static void without_arbiter_a_cut_after_grant_is_in_doubt_until_a_person_decides(void **state)
{
	struct migrate_stats st;
	static struct move m;
	unsigned int tries;

	/* The destination's answer may be quicker than the cut: then nothing is in doubt, try again. */
	for (tries = 0;; tries++) {
		move_init(&m, 91, BY_NOBODY);
		m.params[0].at_step = cut_after_grant;
		move_begin(&m);
		if (comes_into_doubt(&m, &st))
			break;
		assert_true(tries < 100);
		move_end(&m);
		move_check(&m);
		assert_int_equal(move_runs(&m), 1);
		move_free(&m);
	}
	assert_non_null(strstr(st.text, "decide commit"));
	assert_false(m.world.running[0]);
	/* The person looks before deciding. */
	assert_true(move_ended(&m, 1, 10000 * MOVE_SLOW));
	arbiter_none_decide(&m.none[0], m.world.running[1] ? OUTCOME_COMMIT : OUTCOME_ABORT);
	move_end(&m);
	move_check(&m);
	assert_int_equal(move_runs(&m), 1);
	move_free(&m);
}

static void without_quorum_nobody_runs_until_it_is_back(void **state)
{
	struct migrate_stats st;
	static struct move m;

	move_init(&m, 92, BY_CLUSTER);
	m.world.cluster_unreachable[0] = m.world.cluster_unreachable[1] = true;
	m.params[0].at_step = cut_after_grant;
	move_begin(&m);
	if (!comes_into_doubt(&m, &st))
		fail_msg("it ended: %s", st.text);
	assert_int_equal(move_runs(&m), 0);
	m.world.cluster_unreachable[0] = m.world.cluster_unreachable[1] = false;
	move_end(&m);
	move_check(&m);
	assert_int_equal(move_runs(&m), 1);
	move_free(&m);
}

static void capture_for_reader(void **state)
{
	const char *dir = getenv("DROVER_CAPTURE");
	static struct move m;

	assert_non_null(dir);
	move_init(&m, 17, BY_DISK);
	m.params[0].capture_dir = m.params[1].capture_dir = dir;
	m.params[0].compress = COMPRESS_ON;
	m.params[0].channels = 3;
	m.guest[0].writes_per_ms = 30;
	move_run(&m);
	assert_moved(&m);
	move_free(&m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest mutant_tests[] = {
		MOVE_TEST(memory_arrives_whatever_is_written_meanwhile),
		MOVE_TEST(a_destination_that_is_ready_does_not_run_without_grant),
		MOVE_TEST(after_grant_a_cut_link_is_decided_by_the_arbiter),
	};
	const struct CMUnitTest capture_tests[] = {
		MOVE_TEST(capture_for_reader),
	};
	const struct CMUnitTest tests[] = {
		MOVE_TEST(memory_arrives_whatever_is_written_meanwhile),
		MOVE_TEST(a_region_may_end_inside_an_extent),
		MOVE_TEST(pages_never_written_get_no_memory_on_either_side),
		MOVE_TEST(a_zero_page_wipes_what_the_destination_had_there),
		MOVE_TEST(a_writer_that_slows_down_converges_to_few_pages),
		MOVE_TEST(what_does_not_converge_is_said_throttled_and_given_up),
		MOVE_TEST(a_bandwidth_limit_is_kept),
		MOVE_TEST(a_slow_link_makes_it_pack_and_a_fast_one_does_not),
		MOVE_TEST(cancel_works_within_100_ms_in_every_phase_before_grant),
		MOVE_TEST(cancel_after_grant_is_refused),
		MOVE_TEST(a_destination_that_is_ready_does_not_run_without_grant),
		MOVE_TEST(the_destination_may_give_up_too),
		MOVE_TEST(a_domain_that_does_not_fit_is_refused_with_what_differs),
		MOVE_TEST(another_arbiter_or_incarnation_is_refused),
		MOVE_TEST(a_state_that_cannot_be_loaded_leaves_the_domain_at_the_source),
		MOVE_TEST(a_peer_of_another_version_is_told_so),
		MOVE_TEST(strangers_do_not_disturb_a_waiting_destination),
		MOVE_TEST(two_destinations_cannot_both_commit),
		MOVE_TEST(after_grant_a_cut_link_is_decided_by_the_arbiter),
		MOVE_TEST(without_arbiter_a_cut_after_grant_is_in_doubt_until_a_person_decides),
		MOVE_TEST(without_quorum_nobody_runs_until_it_is_back),
	};

	if (argc > 1 && !strcmp(argv[1], "capture"))
		return cmocka_run_group_tests(capture_tests, NULL, NULL);
	if (argc > 1 && !strcmp(argv[1], "mutant"))
		return cmocka_run_group_tests(mutant_tests, NULL, NULL);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
