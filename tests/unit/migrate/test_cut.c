/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cut - a migration is broken at every kind of message, in each way, at each side:
 * whatever happens, exactly one side runs the domain afterwards, with all of its
 * memory (rule H).
 *
 * Which messages there are is learned from an undisturbed run.  A message is
 * named by its type and the how-manieth it is, so that one of the handover is
 * met however many rounds came before it.  The runs of one kind go side by
 * side, each with a world of its own, since all they do is wait for deadlines.
 */
#include "tests/unit/migrate/move.h"

#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Of each type so many of the first and of the last: those between only carry more pages. */
#define OF_TYPE_FIRST 4u
#define OF_TYPE_LAST 3u

/* Each run mostly waits for a deadline: so many go on side by side. */
#define SIDE_BY_SIDE 16u
#define KINDS_MAX 3u
#define POSITIONS_MAX (KINDS_MAX * 2 * FAKE_TYPES * (OF_TYPE_FIRST + OF_TYPE_LAST))

static const char *const fault_names[FAULTS] = {
	"none",
	"cut before",
	"cut after",
	"cut in the middle of",
	"silence from",
	"bit flipped in",
	"truncated",
};

struct position {
	enum fake_fault fault;
	enum move_arbiter arbiter;
	int side;
	uint16_t type;
	unsigned int at; /* how many of that type before */
	bool certain;    /* every run has it, however many rounds it takes */
};

/* What is to be tried; the threads take the next one until one has failed. */
struct sweep {
	struct position positions[POSITIONS_MAX];
	unsigned int n;
	pthread_mutex_t lock;
	unsigned int next, reached;
	char why[2000];
};

static void begin(struct move *m, enum move_arbiter arbiter, unsigned int dead_ms)
{
	static const uint64_t sizes[] = { 3 * MB };

	move_init_sized(m, 4, arbiter, sizes, 1, false);
	m->world.diskless = arbiter != BY_DISK;
	m->guest[0].writes_per_ms = 3;
	m->params[0].dead_ms = dead_ms;
	m->params[1].dead_ms = dead_ms;
	m->abandon_ms = 300;
}

/* How many of each type each side sends. */
static void count_messages(unsigned int n[2][FAKE_TYPES])
{
	static struct move m;
	unsigned int side, type;

	begin(&m, BY_DISK, MOVE_DEAD_MS);
	move_run(&m);
	if (m.rc[0] || m.rc[1])
		fail_msg("undisturbed: source %s, destination %s", m.err[0].text, m.err[1].text);
	for (side = 0; side < 2; side++)
		for (type = 0; type < FAKE_TYPES; type++)
			n[side][type] = atomic_load(&m.net.sent[side][type]);
	move_free(&m);
}

/* False and @why when a rule is broken; @reached: the migration came as far as that message. */
static bool break_at(const struct position *p, bool *reached, char *why, size_t size)
{
	struct move *m = calloc(1, sizeof(*m));
	bool cut = p->fault == FAULT_CUT_BEFORE || p->fault == FAULT_CUT_AFTER ||
		   p->fault == FAULT_CUT_MIDDLE,
	     in_doubt;

	/* A cut is seen at once.  Of what else may happen, silence is the only sign. */
	begin(m, p->arbiter, cut ? MOVE_DEAD_MS : 200 * MOVE_SLOW);
	m->net.fault = p->fault;
	m->net.fault_side = p->side;
	m->net.fault_type = p->type;
	m->net.fault_at = p->at;
	move_try(m, why, size);
	if (*why)
		return false; /* its threads may still use it */
	in_doubt = m->rc[0] == -EINPROGRESS || m->rc[1] == -EINPROGRESS;
	*reached = atomic_load(&m->net.sent[p->side][fake_type(p->type)]) > p->at;
	if (cut && p->certain && !*reached)
		snprintf(why, size, "never sent (source %s, destination %s)", m->err[0].text,
			 m->err[1].text);
	else if (in_doubt && p->arbiter != BY_NOBODY)
		snprintf(why, size, "in doubt although the arbiter can be asked");
	/* Without an arbiter a source in doubt stands; it may be that the destination never got it. */
	else if (!in_doubt && move_runs(m) != 1)
		snprintf(why, size, "%d sides run", move_runs(m));
	move_free(m);
	free(m);
	return !*why;
}

static void *sweep_main(void *arg)
{
	struct sweep *sw = arg;
	struct position p;
	bool reached, good;
	char why[1600];

	pthread_mutex_lock(&sw->lock);
	while (sw->next < sw->n && !*sw->why) {
		p = sw->positions[sw->next++];
		pthread_mutex_unlock(&sw->lock);
		good = break_at(&p, &reached, why, sizeof(why));
		pthread_mutex_lock(&sw->lock);
		if (good)
			sw->reached += reached;
		else
			snprintf(sw->why, sizeof(sw->why), "%s %s %u of side %d: %s", fault_names[p.fault],
				 wire_type_name(p.type), p.at, p.side, why);
	}
	pthread_mutex_unlock(&sw->lock);
	return NULL;
}

static void add_type(struct sweep *sw, struct position p, unsigned int n)
{
	bool every_run = p.type != WIRE_PAGES && p.type != WIRE_ROUND_SYNC && p.type != WIRE_ROUND_DONE;

	for (p.at = 0; p.at < n; p.at++) {
		p.certain = every_run && !p.at;
		if (p.at < OF_TYPE_FIRST || p.at + OF_TYPE_LAST >= n)
			sw->positions[sw->n++] = p;
	}
}

static void add_everywhere(struct sweep *sw, enum fake_fault fault, enum move_arbiter arbiter,
			   unsigned int n[2][FAKE_TYPES])
{
	int side, type;

	for (side = 0; side < 2; side++)
		for (type = WIRE_HELLO; type <= WIRE_ROUND_DONE; type++)
			if (type != WIRE_PING)
				add_type(sw, (struct position){ fault, arbiter, side, (uint16_t)type, 0, false },
					 n[side][fake_type((uint16_t)type)]);
}

struct kind {
	enum fake_fault fault;
	enum move_arbiter arbiter;
};

static void break_everywhere(const struct kind *kinds, unsigned int n_kinds)
{
	static struct sweep sw;
	pthread_t threads[SIDE_BY_SIDE];
	unsigned int i, n[2][FAKE_TYPES];

	memset(&sw, 0, sizeof(sw));
	count_messages(n);
	/* Else the sweep would be blind where it matters most. */
	assert_int_equal(n[0][WIRE_GRANT], 1);
	assert_int_equal(n[1][WIRE_DECISION], 1);
	assert_int_equal(n[1][WIRE_RUNNING], 1);
	assert_true(n_kinds <= KINDS_MAX);
	for (i = 0; i < n_kinds; i++)
		add_everywhere(&sw, kinds[i].fault, kinds[i].arbiter, n);
	pthread_mutex_init(&sw.lock, NULL);
	for (i = 0; i < SIDE_BY_SIDE; i++)
		if (pthread_create(&threads[i], NULL, sweep_main, &sw))
			abort();
	for (i = 0; i < SIDE_BY_SIDE; i++)
		pthread_join(threads[i], NULL);
	pthread_mutex_destroy(&sw.lock);
	if (*sw.why)
		fail_msg("%s", sw.why);
	/* A run with fewer rounds ends before the last few positions. */
	print_message("    %u positions, %u reached\n", sw.n, sw.reached);
	assert_true(sw.reached >= sw.n / 2);
}

static void exactly_one_runs_after_a_cut_before_any_message(void **state)
{
	static const struct kind kinds[] = {
		{ FAULT_CUT_BEFORE, BY_DISK },
		{ FAULT_CUT_BEFORE, BY_CLUSTER },
	};

	break_everywhere(kinds, 2);
}

static void exactly_one_runs_after_a_cut_after_any_message(void **state)
{
	static const struct kind kinds[] = {
		{ FAULT_CUT_AFTER, BY_DISK },
		{ FAULT_CUT_AFTER, BY_CLUSTER },
	};

	break_everywhere(kinds, 2);
}

static void exactly_one_runs_after_a_cut_inside_any_message(void **state)
{
	static const struct kind kind = { FAULT_CUT_MIDDLE, BY_CLUSTER };

	break_everywhere(&kind, 1);
}

static void never_both_run_without_an_arbiter(void **state)
{
	static const struct kind kinds[] = {
		{ FAULT_CUT_BEFORE, BY_NOBODY },
		{ FAULT_CUT_AFTER, BY_NOBODY },
	};

	break_everywhere(kinds, 2);
}

/* Together, since each waits several seconds for an answer that never comes. */
static void damage_and_silence_are_noticed_and_exactly_one_runs(void **state)
{
	static const struct kind kinds[] = {
		{ FAULT_FLIP, BY_DISK },
		{ FAULT_TRUNCATE, BY_DISK },
		{ FAULT_SILENCE, BY_DISK },
	};

	break_everywhere(kinds, 3);
}

static void a_dead_peer_is_noticed_in_time(void **state)
{
	static struct move m;
	uint64_t t;

	begin(&m, BY_DISK, 1000);
	m.params[0].bandwidth = MB;
	m.params[0].compress = COMPRESS_OFF;
	m.net.fault = FAULT_SILENCE;
	m.net.fault_side = 0;
	m.net.fault_type = WIRE_PAGES;
	m.net.fault_at = 0;
	t = clock_ms();
	move_run(&m);
	assert_in_range(clock_ms() - t, 900, 5000 * MOVE_SLOW); /* a dead host would be noticed by TCP in minutes */
	/* Both wait for the other; whoever notices first hangs up, and the other sees that. */
	if (m.rc[0] == -ETIMEDOUT)
		assert_non_null(strstr(m.err[0].text, "no sign of life for 1000 ms"));
	else
		assert_int_equal(m.rc[0], -ECONNRESET);
	move_check(&m);
	move_free(&m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest mutant_tests[] = {
		MOVE_TEST(exactly_one_runs_after_a_cut_before_any_message),
		MOVE_TEST(exactly_one_runs_after_a_cut_after_any_message),
	};
	const struct CMUnitTest tests[] = {
		MOVE_TEST(exactly_one_runs_after_a_cut_before_any_message),
		MOVE_TEST(exactly_one_runs_after_a_cut_after_any_message),
		MOVE_TEST(exactly_one_runs_after_a_cut_inside_any_message),
		MOVE_TEST(never_both_run_without_an_arbiter),
		MOVE_TEST(damage_and_silence_are_noticed_and_exactly_one_runs),
		MOVE_TEST(a_dead_peer_is_noticed_in_time),
	};

	if (argc > 1 && !strcmp(argv[1], "mutant"))
		return cmocka_run_group_tests(mutant_tests, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
