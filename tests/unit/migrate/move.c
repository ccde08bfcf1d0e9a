/* SPDX-License-Identifier: Apache-2.0 */
/* move - see move.h. */
#include "tests/unit/migrate/move.h"

#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define WHY_SIZE 1600

/* The move of the test that this thread runs, until move_free(). */
static _Thread_local struct move *current;

static void watch_progress(void *arg, const struct migrate_stats *st)
{
	struct move *m = arg;

	if (st->role != MIGRATE_SOURCE)
		return;
	if (st->done < m->last_done)
		m->saw_backwards = true;
	m->last_done = st->done;
}

void move_init_sized(struct move *m, unsigned int seed, enum move_arbiter arbiter,
		     const uint64_t *sizes, size_t n, bool memfd)
{
	int side;

	memset(m, 0, sizeof(*m));
	current = m;
	fake_world_init(&m->world);
	fake_net_init(&m->net);
	for (side = 0; side < 2; side++) {
		fake_guest_init(&m->guest[side], &m->world, side, sizes, n, memfd);
		m->params[side] = (struct migrate_params){
			.guest = fake_guest_ops(&m->guest[side]),
			.link = side ? fake_net_destination(&m->net) : fake_net_source(&m->net),
			.arbiter = arbiter == BY_DISK    ? fake_arbiter_disk(&m->guest[side]) :
				   arbiter == BY_CLUSTER ? fake_arbiter_cluster(&m->guest[side]) :
							   arbiter_none_make(&m->none[side]),
			.incarnation = 5,
			.own_incarnation = 4,
			.back_incarnation = 6,
			.channels = 2,
			.notify = watch_progress,
			.arg = m,
			.timeout_ms = 60000,
			.dead_ms = MOVE_DEAD_MS,
		};
	}
	m->guest[0].incarnation = 4;
	m->guest[0].disk_seen = m->guest[1].disk_seen = 4;
	m->guest[0].writes_per_ms = 5;
	fake_guest_fill(&m->guest[0], seed);
	fake_guest_run(&m->guest[0]);
}

void move_init(struct move *m, unsigned int seed, enum move_arbiter arbiter)
{
	static const uint64_t sizes[] = { 6 * MB, 3 * MB + 64 * 4096 };

	move_init_sized(m, seed, arbiter, sizes, 2, seed % 2);
}

static void *source_thread(void *arg)
{
	struct move *m = arg;

	m->rc[0] = source_run(m->source, &m->err[0]);
	m->source_returned_ns = clock_ns();
	return NULL;
}

static void *destination_thread(void *arg)
{
	struct move *m = arg;

	m->rc[1] = destination_run(m->destination, &m->err[1]);
	return NULL;
}

bool move_ended(struct move *m, int side, uint64_t ms)
{
	struct timespec ts;

	if (!m->lives[side])
		return true;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += (long)(ms % 1000 * 1000000);
	ts.tv_sec += (time_t)(ms / 1000) + ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	m->lives[side] = pthread_timedjoin_np(m->thread[side], NULL, &ts);
	return !m->lives[side];
}

static bool begin(struct move *m, char *why, size_t size)
{
	struct err e = { 0 };

	if (source_create(&m->source, &m->params[0], &e) ||
	    destination_create(&m->destination, &m->params[1], &e)) {
		snprintf(why, size, "create: %s", e.text);
		return false;
	}
	m->lives[1] = !pthread_create(&m->thread[1], NULL, destination_thread, m);
	m->lives[0] = !pthread_create(&m->thread[0], NULL, source_thread, m);
	if (!m->lives[0] || !m->lives[1])
		snprintf(why, size, "create: no threads");
	return m->lives[0] && m->lives[1];
}

static unsigned int patience(const struct move *m)
{
	return m->abandon_ms ? m->abandon_ms : 3000;
}

static void end(struct move *m, char *why, size_t size)
{
	struct migrate_stats st;
	struct err e;

	if (!move_ended(m, 0, 60000 + patience(m))) {
		snprintf(why, size, "the source hangs");
		return;
	}
	/* A destination that never heard of its source waits for the next one; its VMM would be told to quit. */
	if (move_ended(m, 1, patience(m)))
		goto out;
	destination_stats(m->destination, &st);
	if (st.phase == MIGRATE_SETUP || st.phase == MIGRATE_IN_DOUBT) {
		if (destination_cancel(m->destination, &e))
			destination_abandon(m->destination);
		if (!move_ended(m, 1, 5000 * MOVE_SLOW))
			snprintf(why, size, "the destination hangs");
	} else if (!move_ended(m, 1, 10000 * MOVE_SLOW)) {
		snprintf(why, size, "the destination does not end by itself: %s",
			 migrate_phase_name(st.phase));
	}
out:
	source_stats(m->source, &m->stats[0]);
	destination_stats(m->destination, &m->stats[1]);
}

static void run(struct move *m, char *why, size_t size)
{
	struct migrate_stats st;
	uint64_t limit = clock_ms() + patience(m);

	if (!begin(m, why, size))
		return;
	/* Whoever is in doubt stays so: that is what is to be seen, then the test goes on. */
	while (!move_ended(m, 0, 5)) {
		source_stats(m->source, &st);
		if (st.phase != MIGRATE_IN_DOUBT && st.phase != MIGRATE_TAKE_BACK)
			limit = clock_ms() + patience(m);
		if (clock_ms() > limit)
			source_abandon(m->source);
	}
	end(m, why, size);
}

void move_begin(struct move *m)
{
	char why[WHY_SIZE] = "";

	if (!begin(m, why, sizeof(why)))
		fail_msg("%s", why);
}

void move_end(struct move *m)
{
	char why[WHY_SIZE] = "";

	end(m, why, sizeof(why));
	if (*why)
		fail_msg("%s", why);
}

void move_run(struct move *m)
{
	char why[WHY_SIZE] = "";

	run(m, why, sizeof(why));
	if (*why)
		fail_msg("%s", why);
}

void move_free(struct move *m)
{
	source_destroy(m->source);
	destination_destroy(m->destination);
	fake_guest_free(&m->guest[0]);
	fake_guest_free(&m->guest[1]);
	fake_net_free(&m->net);
	current = NULL;
}

int move_teardown(void **state)
{
	struct move *m = current;
	struct err e;
	int side;

	if (!m)
		return 0;
	fake_net_cut(&m->net);
	if (m->source && source_cancel(m->source, &e))
		source_abandon(m->source);
	if (m->destination && destination_cancel(m->destination, &e))
		destination_abandon(m->destination);
	for (side = 0; side < 2; side++)
		if (!move_ended(m, side, 20000 * MOVE_SLOW))
			abort(); /* no later test would mean anything */
	move_free(m);
	return 0;
}

int move_runs(struct move *m)
{
	return m->world.running[0] + m->world.running[1];
}

/* The state and all memory arrived; else false and @why. */
static bool same(struct move *m, char *why, size_t size)
{
	size_t region = 0;
	int64_t page = fake_guest_compare(&m->guest[0], &m->guest[1], &region);

	if (page >= 0)
		snprintf(why, size, "page %lld of region %zu differs", (long long)page, region);
	else if (m->guest[0].state_len != m->guest[1].state_len ||
		 memcmp(m->guest[0].state, m->guest[1].state, m->guest[0].state_len))
		snprintf(why, size, "the device state differs");
	return !*why;
}

/* Whoever runs has the disk; the source, if it ever granted, under a number that beats the granted one. */
static bool has_disk(const struct fake_world *w, int side)
{
	uint64_t n = w->disk_incarnation;

	return w->diskless || (w->disk_holder == side && (side ? n == 5 : n == 4 || n == 6));
}

static void check(struct move *m, char *why, size_t size)
{
	struct fake_world *w = &m->world;
	bool in_doubt = m->rc[0] == -EINPROGRESS || m->rc[1] == -EINPROGRESS;

	if (w->double_run)
		snprintf(why, size, "both sides ran the domain");
	else if (m->rc[0] == 0 && !w->running[1] && m->rc[1] == 0)
		snprintf(why, size, "both sides report success, the destination does not run");
	else if (w->running[1] != (m->rc[1] == 0))
		snprintf(why, size, "destination returned %d (%s) and %s", m->rc[1], m->err[1].text,
			 w->running[1] ? "runs" : "does not run");
	else if (w->running[0] && (m->rc[0] == 0 || m->rc[0] == -EINPROGRESS))
		snprintf(why, size, "source returned %d and runs", m->rc[0]);
	else if (!in_doubt && !move_runs(m))
		snprintf(why, size, "nobody runs the domain: source %d (%s), destination %d (%s)",
			 m->rc[0], m->err[0].text, m->rc[1], m->err[1].text);
	else if (w->running[1] && !same(m, why, size))
		return;
	else if ((w->running[1] && !has_disk(w, 1)) || (w->running[0] && !has_disk(w, 0)))
		snprintf(why, size, "side %d runs, side %d has the disk, for incarnation %llu",
			 w->running[1], w->disk_holder, (unsigned long long)w->disk_incarnation);
	else if (w->running[0] && atomic_load(&m->guest[0].throttle))
		snprintf(why, size, "the domain stays throttled at the source");
	else if (m->guest[0].gone ? w->running[0] : m->rc[0] == 0)
		snprintf(why, size, "source returned %d, and the guest %s", m->rc[0],
			 m->guest[0].gone ? "is gone" : "was not told");
	else if (m->saw_backwards)
		snprintf(why, size, "progress ran backwards");
}

void move_check(struct move *m)
{
	char why[WHY_SIZE] = "";

	check(m, why, sizeof(why));
	if (*why)
		fail_msg("%s", why);
}

void move_try(struct move *m, char *why, size_t size)
{
	*why = '\0';
	run(m, why, size);
	if (!*why)
		check(m, why, size);
}
