/* SPDX-License-Identifier: Apache-2.0 */
/* operator - random commands of operators, and what may be relied on afterwards. */
#ifndef DROVER_SIM_OPERATOR_H
#define DROVER_SIM_OPERATOR_H

#include "ha/core/core.h"

#include <stdbool.h>
#include <stdint.h>

struct sim;

enum sim_wish_kind {
	WISH_EXISTS,
	WISH_PROTECTED,
	WISH_WANTED,
	WISH_GROUP,
	WISH_MAINTENANCE,
	WISH_KINDS
};

struct sim_wish {
	bool known, value; /* granted: so it is since entry hi at the latest */
	bool unknown;      /* something may have happened, or not, or in another order */
	uint32_t open;     /* commands without an answer */
	uint64_t hi;
};

struct sim_request { /* a command that an operator gave */
	enum ha_op op;
	uint32_t dom, host;
	uint64_t lo; /* what its host had applied then */
	bool done;
	uint32_t n_wishes;
	struct sim_wish *wish[3];
	bool value[3];
};

void operator_add(struct sim *s, uint32_t d, bool plain); /* plain: protected, started, anywhere */
void operator_random(struct sim *s);                      /* one command, or none */
/** operator_peace() - chaos is over: no host stays in maintenance, and all domains are cleared */
void operator_peace(struct sim *s);
void operator_clear(struct sim *s); /* what of peace was not taken yet */
/** operator_asked() - @h is given @cmd as request s->request: note what may come of it */
void operator_asked(struct sim *s, uint32_t h, const struct ha_command *cmd);
/** operator_answered() - @h answered @q with @code: note what may be relied on from now on, or no more */
void operator_answered(struct sim *s, uint32_t h, struct sim_request *q, enum ha_code code);
/** operator_missing() - in words, what was answered with success and is not in @r; NULL: nothing */
const char *operator_missing(struct sim *s, const struct ha_record *r);
bool operator_keeps_stopped(struct sim *s, uint32_t d, uint64_t *since); /* since that entry */

#endif
