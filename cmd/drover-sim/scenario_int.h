/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_int - a story as it was read (scenario_read.c) and as it is played (scenario.c). */
#ifndef DROVER_SIM_SCENARIO_INT_H
#define DROVER_SIM_SCENARIO_INT_H

#include "cmd/drover-sim/sim.h"

#define SCENARIO_STEPS_MAX 256
#define SCENARIO_WORDS_MAX 8

struct scenario_line {
	uint32_t number;
	uint64_t at;
	uint32_t n;
	char *word[SCENARIO_WORDS_MAX];
	char text[160];
};

struct script {
	const char *path;
	uint32_t n;
	struct scenario_line line[SCENARIO_STEPS_MAX + 1]; /* the last is not a step: what the reader is at */
};

/**
 * scenario_read() - the story at @path into the zeroed @sc, what it says of the whole into @o
 * Return: 0; or an exit code (2, 3), and what is wrong with it, and where, is on standard error.
 * scenario_free() @sc in either case.
 */
int scenario_read(struct script *sc, struct sim_opts *o, const char *path);
/** scenario_free() - what scenario_read() made */
void scenario_free(struct script *sc);
/** scenario_time() - "1.5", seconds up to a day, as microseconds; false: @w is none, or NULL */
bool scenario_time(const char *w, uint64_t *us);

#endif
