/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover - who may run the domain at which step (rule H).  Who decides when the
 * two sides can no longer ask each other: migrate/arbiter.h.
 *
 *   phase      source                          destination
 *   SETUP      runs                            nothing yet
 *   PRECOPY    runs                            must not
 *   STOP       stands, may resume at will      must not
 *   READY      stands, may resume at will      must not: it has everything, but no grant
 *   GRANT      stands, MUST ASK                must ask
 *   COMMITTED  never again                     may run
 *   DONE       gone                            runs
 *   FAILED     runs (resumed)                  never
 *   CANCELLED  runs (resumed)                  never
 *   IN_DOUBT   stands, goes on asking          does not know whether it may run: stands
 *   TAKE_BACK  its own again, stands until it has its disks
 *
 * The destination asks for commit only when it has everything in hand that running
 * takes (guest.h, prepare()); what it cannot get in hand it gives back, and the
 * source, which still has the memory, runs on.
 *
 * Between GRANT and the outcome neither side believes the other one, only the
 * arbiter: a cut link looks the same as a dead peer.
 */
#ifndef DROVER_MIGRATE_HANDOVER_H
#define DROVER_MIGRATE_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

enum migrate_role {
	MIGRATE_SOURCE,
	MIGRATE_DESTINATION
};

enum migrate_phase {
	MIGRATE_SETUP,
	MIGRATE_PRECOPY,
	MIGRATE_STOP,
	MIGRATE_READY,
	MIGRATE_GRANT,
	MIGRATE_COMMITTED,
	MIGRATE_DONE,
	MIGRATE_FAILED,
	MIGRATE_CANCELLED,
	MIGRATE_IN_DOUBT,
	MIGRATE_TAKE_BACK,
};

enum may_run {
	MAY_RUN,    /* it is this side's domain */
	MAY_RESUME, /* it stands, and may run on without asking anybody */
	MUST_ASK,   /* only the arbiter can say */
	MUST_NOT,
};

enum outcome {
	OUTCOME_COMMIT = 1,
	OUTCOME_ABORT = 2
};

/** migrate_phase_name() - "precopy", as in docs/control.md */
const char *migrate_phase_name(enum migrate_phase p);
/** outcome_name() - "commit" or "abort", as in docs/control.md */
const char *outcome_name(enum outcome o);

/** handover_legal() - may @role step from @from to @to? */
bool handover_legal(enum migrate_role role, enum migrate_phase from, enum migrate_phase to);
/** handover_may_run() - the table above: may @role's side run the domain in @p? */
enum may_run handover_may_run(enum migrate_role role, enum migrate_phase p);

#endif
