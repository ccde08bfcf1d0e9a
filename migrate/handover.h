/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover - who may run the domain at which step (rule H), and the arbiter
 * that decides when the two sides can no longer ask each other.
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

#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum migrate_role { MIGRATE_SOURCE, MIGRATE_DESTINATION };

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
	MAY_RUN,          /* it is this side's domain */
	MAY_RESUME,       /* it stands, and may run on without asking anybody */
	MUST_ASK,         /* only the arbiter can say */
	MUST_NOT,
};

enum outcome { OUTCOME_COMMIT = 1, OUTCOME_ABORT = 2 };

/** migrate_phase_name() - "precopy", as in docs/control.md */
const char *migrate_phase_name(enum migrate_phase p);
const char *outcome_name(enum outcome o);

/** handover_legal() - may @role step from @from to @to? */
bool handover_legal(enum migrate_role role, enum migrate_phase from, enum migrate_phase to);
enum may_run handover_may_run(enum migrate_role role, enum migrate_phase p);

/*
 * An arbiter answers one question per migration the same way to both sides.
 * ask() is called after GRANT only; by the destination when it is prepared, by the
 * source as often as it takes.  Every hook must be there.
 */
struct arbiter_ops {
	const char *name;        /* "cluster", "disk", "none" */
	uint32_t wire;           /* its number in CAPS */
	bool word_is_enough;     /* nobody else knows more than what the destination says */
	/*
	 * The destination asks for so long after GRANT, then lets go of everything: what it has was true then.
	 * 0: as long as it takes, for an answer that says the same to both whenever it comes (a log).
	 */
	unsigned int give_up_ms;
	/**
	 * ask() - propose @proposal for @incarnation (the destination's) and learn the outcome
	 * Returns 0 and *@out, which may be the opposite; -EAGAIN when nobody can know yet;
	 * other errors count as -EAGAIN.  Waits at most @timeout_ms.
	 */
	int (*ask)(void *self, enum migrate_role role, enum outcome proposal, uint64_t incarnation,
		   int timeout_ms, enum outcome *out, struct err *e);
	/* What a person can do about a migration in doubt: one line, no newline. */
	const char *(*advice)(void *self);
};

struct arbiter {
	const struct arbiter_ops *ops;
	void *self;
};

/*
 * No arbiter: the destination takes what it is granted, and a source that does
 * not hear of the outcome stays in doubt until a person decides.
 */
struct arbiter_none {
	_Atomic int decided;     /* enum outcome, 0 = nobody has said anything */
};

struct arbiter arbiter_none_make(struct arbiter_none *n);
/** arbiter_none_decide() - a person says what became of it */
void arbiter_none_decide(struct arbiter_none *n, enum outcome o);

#endif
