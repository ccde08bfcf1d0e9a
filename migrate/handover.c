/* SPDX-License-Identifier: Apache-2.0 */
/* handover - see handover.h: the steps of rule H as two tables. */
#include "migrate/handover.h"

#include <assert.h>

#define BIT(p) (1u << (p))
#define PHASES (MIGRATE_TAKE_BACK + 1u)

/* Where each side may go from each phase. */
static const unsigned int source_next[PHASES] = {
	[MIGRATE_SETUP] = BIT(MIGRATE_PRECOPY) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED),
	[MIGRATE_PRECOPY] = BIT(MIGRATE_STOP) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED) |
			    BIT(MIGRATE_TAKE_BACK),
	[MIGRATE_STOP] = BIT(MIGRATE_READY) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED) |
			 BIT(MIGRATE_TAKE_BACK),
	[MIGRATE_READY] = BIT(MIGRATE_GRANT) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED) |
			  BIT(MIGRATE_TAKE_BACK),
	[MIGRATE_GRANT] = BIT(MIGRATE_COMMITTED) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_IN_DOUBT) |
			  BIT(MIGRATE_TAKE_BACK),
	[MIGRATE_IN_DOUBT] = BIT(MIGRATE_COMMITTED) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_TAKE_BACK),
	[MIGRATE_TAKE_BACK] = BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED),
	[MIGRATE_COMMITTED] = BIT(MIGRATE_DONE),
	[MIGRATE_DONE] = 0,
	[MIGRATE_FAILED] = 0,
	[MIGRATE_CANCELLED] = 0,
};

static const unsigned int destination_next[PHASES] = {
	[MIGRATE_SETUP] = BIT(MIGRATE_PRECOPY) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED),
	[MIGRATE_PRECOPY] = BIT(MIGRATE_STOP) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED),
	[MIGRATE_STOP] = BIT(MIGRATE_READY) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED),
	[MIGRATE_READY] = BIT(MIGRATE_GRANT) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED),
	[MIGRATE_GRANT] = BIT(MIGRATE_COMMITTED) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_IN_DOUBT),
	[MIGRATE_IN_DOUBT] = BIT(MIGRATE_COMMITTED) | BIT(MIGRATE_FAILED),
	[MIGRATE_COMMITTED] = BIT(MIGRATE_DONE) | BIT(MIGRATE_FAILED),
	[MIGRATE_DONE] = 0,
	[MIGRATE_FAILED] = 0,
	[MIGRATE_CANCELLED] = 0,
	[MIGRATE_TAKE_BACK] = 0,
};

static const struct {
	const char *name;
	enum may_run source, destination;
} steps[PHASES] = {
	[MIGRATE_SETUP] = { "setup", MAY_RUN, MUST_NOT },
	[MIGRATE_PRECOPY] = { "precopy", MAY_RUN, MUST_NOT },
	[MIGRATE_STOP] = { "stop", MAY_RESUME, MUST_NOT },
	[MIGRATE_READY] = { "ready", MAY_RESUME, MUST_NOT },
	[MIGRATE_GRANT] = { "grant", MUST_ASK, MUST_ASK },
	[MIGRATE_COMMITTED] = { "committed", MUST_NOT, MAY_RUN },
	[MIGRATE_DONE] = { "done", MUST_NOT, MAY_RUN },
	[MIGRATE_FAILED] = { "failed", MAY_RUN, MUST_NOT },
	[MIGRATE_CANCELLED] = { "cancelled", MAY_RUN, MUST_NOT },
	[MIGRATE_IN_DOUBT] = { "in-doubt", MUST_ASK, MUST_ASK },
	[MIGRATE_TAKE_BACK] = { "take-back", MAY_RESUME, MUST_NOT },
};

const char *migrate_phase_name(enum migrate_phase p)
{
	assert(p < PHASES);
	return steps[p].name;
}

const char *outcome_name(enum outcome o)
{
	return o == OUTCOME_COMMIT ? "commit" : "abort";
}

bool handover_legal(enum migrate_role role, enum migrate_phase from, enum migrate_phase to)
{
	const unsigned int *next = role == MIGRATE_SOURCE ? source_next : destination_next;

	assert(from < PHASES && to < PHASES);
	return next[from] & BIT(to);
}

enum may_run handover_may_run(enum migrate_role role, enum migrate_phase p)
{
	assert(p < PHASES);
	return role == MIGRATE_SOURCE ? steps[p].source : steps[p].destination;
}
