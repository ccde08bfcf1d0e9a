/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arbiter - who decides a migration when its two sides can no longer ask each other (rule H, handover.h).
 * The kinds are in migrate/arbiter/: a disk's lock and record, the cluster's log, nobody.
 */
#ifndef DROVER_MIGRATE_ARBITER_H
#define DROVER_MIGRATE_ARBITER_H

#include "base/err.h"
#include "migrate/handover.h"

#include <stdbool.h>
#include <stdint.h>

/* In CAPS (docs/stream.md); any other number is nobody's. */
enum arbiter_wire {
	ARBITER_WIRE_NONE,
	ARBITER_WIRE_DISK,
	ARBITER_WIRE_CLUSTER
};

/*
 * An arbiter answers one question per migration the same way to both sides.
 * ask() is called after GRANT only; by the destination when it is prepared, by the
 * source as often as it takes.  Every hook must be there.
 */
struct arbiter_ops {
	const char *name; /* "cluster", "disk", "none" */
	enum arbiter_wire wire;
	bool word_is_enough; /* nobody else knows more than what the destination says */
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

#endif
