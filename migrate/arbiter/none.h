/* SPDX-License-Identifier: Apache-2.0 */
/*
 * none - no arbiter: the destination takes what it is granted, and a source that does
 * not hear of the outcome stays in doubt until a person decides.
 */
#ifndef DROVER_MIGRATE_ARBITER_NONE_H
#define DROVER_MIGRATE_ARBITER_NONE_H

#include "migrate/arbiter.h"

#include <stdatomic.h>

struct arbiter_none {
	_Atomic int decided; /* enum outcome, 0 = nobody has said anything */
};

/** arbiter_none_make() - an arbiter that lasts as long as @n, in which nobody has decided yet */
struct arbiter arbiter_none_make(struct arbiter_none *n);
/** arbiter_none_decide() - a person says what became of it; any thread */
void arbiter_none_decide(struct arbiter_none *n, enum outcome o);

#endif
