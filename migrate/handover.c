/* SPDX-License-Identifier: Apache-2.0 */
/* handover - see handover.h: the steps of rule H as two tables. */
#include "migrate/handover.h"

#include "base/clock.h"

#include <errno.h>
#include <time.h>

#define BIT(p) (1u << (p))

/* Where each side may go from each phase. */
static const unsigned int source_next[] = {
	[MIGRATE_SETUP] = BIT(MIGRATE_PRECOPY) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED),
	[MIGRATE_PRECOPY] = BIT(MIGRATE_STOP) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED),
	[MIGRATE_STOP] = BIT(MIGRATE_READY) | BIT(MIGRATE_FAILED) | BIT(MIGRATE_CANCELLED),
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

static const unsigned int destination_next[] = {
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
} steps[] = {
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
	return steps[p].name;
}

const char *outcome_name(enum outcome o)
{
	return o == OUTCOME_COMMIT ? "commit" : "abort";
}

bool handover_legal(enum migrate_role role, enum migrate_phase from, enum migrate_phase to)
{
	const unsigned int *next = role == MIGRATE_SOURCE ? source_next : destination_next;

	return next[from] & BIT(to);
}

enum may_run handover_may_run(enum migrate_role role, enum migrate_phase p)
{
	return role == MIGRATE_SOURCE ? steps[p].source : steps[p].destination;
}

static void sleep_ms(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

static int none_ask(void *self, enum migrate_role role, enum outcome proposal,
		    uint64_t incarnation, int timeout_ms, enum outcome *out, struct err *e)
{
	struct arbiter_none *n = self;
	uint64_t end = clock_ms() + (uint64_t)timeout_ms;
	int decided;

	/* The one grant there is was given to the destination. */
	if (role == MIGRATE_DESTINATION) {
		*out = OUTCOME_COMMIT;
		return 0;
	}
	for (;;) {
		decided = atomic_load(&n->decided);
		if (decided) {
			*out = (enum outcome)decided;
			return 0;
		}
		if (clock_ms() >= end)
			return err_set(e, -EAGAIN, "no arbiter: only a look at the destination can tell");
		sleep_ms(10);
	}
}

static const char *none_advice(void *self)
{
	return "look at the destination: if the domain runs there, `decide commit` here, else stop it there "
	       "and `decide abort` here";
}

static const struct arbiter_ops none_ops = {
	.name = "none",
	.wire = 0,
	.word_is_enough = true,
	.ask = none_ask,
	.advice = none_advice,
};

struct arbiter arbiter_none_make(struct arbiter_none *n)
{
	atomic_store(&n->decided, 0);
	return (struct arbiter){ .ops = &none_ops, .self = n };
}

void arbiter_none_decide(struct arbiter_none *n, enum outcome o)
{
	atomic_store(&n->decided, o);
}
