/* SPDX-License-Identifier: Apache-2.0 */
/* core_three - what the tests of the record's rules have in hand: one core_alone() of three hosts. */
#ifndef DROVER_TESTS_CORE_THREE_H
#define DROVER_TESTS_CORE_THREE_H

#include "tests/unit/ha/core_alone.h"

/* Hosts 1..3 are members, have reported and hold leases. */
static struct ha_core *c;

static inline int setup(void **state)
{
	(void)state;
	c = core_alone(3);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	reserve_free(c, ha_core_size());
	return 0;
}

/** judged() - an OP without what apply.c does for every entry: nothing is placed; @text: 256 bytes */
static inline enum ha_code judged(const struct ha_entry *e, char *text)
{
	ha_operator_apply(&c->rec, e, &c->outcome);
	ha_core_speak(c, c->outcome.text, text, 256);
	return c->outcome.code;
}

#endif
