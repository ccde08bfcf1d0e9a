/* SPDX-License-Identifier: Apache-2.0 */
/* move - one migration between two fake guests, from power-on to its outcome, for tests to bend. */
#ifndef DROVER_TESTS_MOVE_H
#define DROVER_TESTS_MOVE_H

#include "migrate/arbiter/none.h"
#include "tests/unit/migrate/fake_guest.h"
#include "tests/unit/migrate/fake_net.h"

#define MB (1ull << 20)

enum move_arbiter {
	BY_DISK,
	BY_CLUSTER,
	BY_NOBODY
};

struct move {
	struct fake_world world;
	struct fake_guest guest[2];
	struct fake_net net;
	struct migrate_params params[2];
	struct arbiter_none none[2];
	struct source *source;
	struct destination *destination;
	int rc[2];
	struct err err[2];
	struct migrate_stats stats[2];
	uint64_t source_returned_ns;
	bool saw_backwards; /* progress ran backwards */
	uint64_t last_done;
	unsigned int abandon_ms; /* a side in doubt for so long stops waiting; 0: 3000 */
	pthread_t thread[2];     /* of source, destination */
	_Atomic bool lives[2];   /* not joined yet */
};

/* What a machine that is slowed down by a checker needs more of each deadline. */
#ifdef __SANITIZE_THREAD__
#define MOVE_SLOW 4u
#else
#define MOVE_SLOW 1u
#endif

/* Nobody is slow to answer for so long, however busy the machine: what is not about dead peers meets none. */
#define MOVE_DEAD_MS 20000u

/* A test with a move of its own: when it fails in the middle, the move's threads end before the next begins. */
#define MOVE_TEST(test) cmocka_unit_test_teardown(test, move_teardown)

/** move_init() - two guests of the same size, the source filled and running */
void move_init(struct move *m, unsigned int seed, enum move_arbiter arbiter);
void move_init_sized(struct move *m, unsigned int seed, enum move_arbiter arbiter,
		     const uint64_t *sizes, size_t n, bool memfd);
/** move_begin(), move_end() - run it in the background; wait for both sides */
void move_begin(struct move *m);
void move_end(struct move *m);
/** move_ended() - @side has returned, at the latest after @ms */
bool move_ended(struct move *m, int side, uint64_t ms);
/** move_run() - both */
void move_run(struct move *m);
void move_free(struct move *m);
/** move_teardown() - cmocka's: clear away what a failed test left; such a move must not be on its stack */
int move_teardown(void **state);

/**
 * move_try() - as move_run(), but what goes wrong (also with the rules of move_check()) is said in
 * @why, empty if nothing: for threads that are no test themselves
 */
void move_try(struct move *m, char *why, size_t size);
/** move_check() - the rules that hold whatever happened; fails the test with what broke */
void move_check(struct move *m);
/** move_runs() - how many sides run the domain now */
int move_runs(struct move *m);

#endif
