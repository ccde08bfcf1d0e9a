/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converge - when to stop the domain, and what to do when that moment never comes.
 *
 * After each round it is told how many pages were sent, how long that took and
 * how many are dirty now, and predicts the downtime if the domain stopped at
 * once:
 *
 *      pause + last pages / goodput + state (save, send, load) + commit
 *
 * It stops the domain when that fits the limit *and* waiting longer would not
 * make it smaller: each round sends what the one before left over, so what is
 * left shrinks by (dirty rate / send rate) until the fixed cost of a round
 * dominates; stopping at the first fit would give away downtime for nothing.
 *
 * If it does not fit and no longer shrinks, vCPUs are throttled in steps, as far as
 * the operator has allowed it (not at all, unless he said so).  If for two minutes
 * nothing helps, it is given up with the domain where it was: each step of progress
 * is a quarter less to send, so a migration ends, one way or the other.
 *
 * A pure calculation: no clock, no I/O.
 */
#ifndef DROVER_MIGRATE_SESSION_SOURCE_CONVERGE_H
#define DROVER_MIGRATE_SESSION_SOURCE_CONVERGE_H

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_MAX 80u            /* percent, whatever is allowed */
#define HOPELESS_NS 120000000000ull /* without progress, and nothing left to try */

struct converge {
	uint64_t limit_ns; /* downtime the operator accepts */
	uint64_t fixed_ns; /* pause, state, commit: expected, then learned */

	/* results of the last round */
	uint64_t remaining; /* pages dirty now */
	double send_rate;   /* pages per second, all rounds so far smoothed */
	double dirty_rate;  /* pages per second in the last round */
	uint64_t predicted_ns;
	bool converging; /* what is left shrinks, or fits already */

	uint64_t best;       /* fewest pages left after any round */
	uint64_t stalled_ns; /* since there was progress of any kind */
	unsigned int throttle_max;
	unsigned int rounds, stalled, fitting;
	unsigned int throttle; /* percent */
};

enum verdict {
	VERDICT_ROUND,
	VERDICT_STOP,
	VERDICT_HOPELESS
};

/** converge_init() - @limit_ms: downtime; @throttle_max: percent, how far vCPUs may be held back */
void converge_init(struct converge *c, uint64_t limit_ms, unsigned int throttle_max);
/**
 * converge_round() - a round is over
 * @sent: pages it sent (zero pages included)
 * @ns: how long it took
 * @remaining: pages dirty now
 */
enum verdict converge_round(struct converge *c, uint64_t sent, uint64_t ns, uint64_t remaining);

#endif
