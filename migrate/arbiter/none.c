/* SPDX-License-Identifier: Apache-2.0 */
/* none - see none.h. */
#include "migrate/arbiter/none.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

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
	.wire = ARBITER_WIRE_NONE,
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
	assert(o == OUTCOME_COMMIT || o == OUTCOME_ABORT);
	atomic_store(&n->decided, o);
}
