/* SPDX-License-Identifier: Apache-2.0 */
/* search - exhaustive, bounded search on the real cores (search.c). */
#ifndef DROVER_SIM_SEARCH_H
#define DROVER_SIM_SEARCH_H

#include "ha/core/core.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct search_opts {
	uint32_t hosts;   /* 2 or 3 */
	uint32_t depth;   /* events */
	uint32_t breaks;  /* how often the ring may break */
	uint32_t crashes; /* how often a daemon may die */
	uint32_t calm;    /* begin at up to so many steps of the calm way ... */
	uint32_t stride;  /* ... at each such step */
	bool witness;     /* there is a storage witness, and claims are events, step by step */
};

/** search_run() - try everything within @o; prints the bound and the number of states. False: something broke */
bool search_run(const struct search_opts *o, bool expect_failure);

#endif
