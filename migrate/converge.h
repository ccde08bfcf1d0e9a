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
 * If it does not fit and no longer shrinks, vCPUs are throttled in steps; if
 * that does not help either it says so, and the migration ends at its timeout
 * with the domain where it was.
 *
 * A pure calculation: no clock, no I/O.
 */
#ifndef DROVER_MIGRATE_CONVERGE_H
#define DROVER_MIGRATE_CONVERGE_H

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_MAX 80u

struct converge {
	uint64_t limit_ns;       /* downtime the operator accepts */
	uint64_t fixed_ns;       /* pause, state, commit: expected, then learned */

	/* results of the last round */
	uint64_t remaining;      /* pages dirty now */
	double send_rate;        /* pages per second, all rounds so far smoothed */
	double dirty_rate;       /* pages per second in the last round */
	uint64_t predicted_ns;
	bool converging;         /* what is left shrinks, or fits already */

	uint64_t best;           /* fewest pages left after any round */
	unsigned int rounds, stalled, fitting;
	unsigned int throttle;   /* percent */
};

enum verdict { VERDICT_ROUND, VERDICT_STOP };

void converge_init(struct converge *c, uint64_t limit_ms);
/**
 * converge_round() - a round is over
 * @sent: pages it sent (zero pages included)
 * @ns: how long it took
 * @remaining: pages dirty now
 */
enum verdict converge_round(struct converge *c, uint64_t sent, uint64_t ns, uint64_t remaining);

#endif
