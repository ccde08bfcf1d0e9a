/* SPDX-License-Identifier: Apache-2.0 */
/* names - what stands on the line of a verb, by the table's word for it: checked before anything is asked. */
#ifndef DROVER_CMD_NAMES_H
#define DROVER_CMD_NAMES_H

#include "cmd/drover/verbs.h"

#define ARG_KIND_MAX 32

/** arg_kind() - what the table says of the @i-th argument of @v, without brackets: "NAME|FILE", "NODE"; "" behind the last */
void arg_kind(const struct verb *v, int i, char kind[ARG_KIND_MAX]);

/** names_check() - every name on the line can be one, and nothing is asked for that; an exit code, error said */
int names_check(const struct drover *d, const struct verb *v);

/**
 * names_resolve() - a domain's uuid becomes its name, so that each verb knows names only
 * droverd is asked once, and only where something looks like a uuid.  Return: EXIT_OK; EXIT_NOTFOUND when no
 * domain has it as name or uuid; what http_request() says; error said.
 */
int names_resolve(struct drover *d, const struct verb *v);

#endif
