/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history - the last things an operator may want to read, on this host.
 */
#ifndef DROVER_HA_SHELL_HISTORY_H
#define DROVER_HA_SHELL_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#define HISTORY_MAX 512
#define HISTORY_TEXT_MAX 255

struct history_line {
	uint64_t seq;      /* 1, 2, ... since this droverd started */
	uint64_t boot_ms;  /* CLOCK_BOOTTIME, for distances */
	int64_t wall_ms;   /* time of day, for people only (rule T) */
	const char *level; /* "debug" "info" "warning" "alarm" */
	char text[HISTORY_TEXT_MAX + 1];
};

struct history {
	uint64_t next_seq;
	struct history_line lines[HISTORY_MAX];
};

/** history_add() - @level must be a constant */
void history_add(struct history *h, const char *level, const char *text);

/** history_get() - the line numbered @seq, NULL when it is too old or not yet written */
const struct history_line *history_get(const struct history *h, uint64_t seq);

/** history_first() - the oldest number that is still there; next_seq when there is none */
uint64_t history_first(const struct history *h);

#endif
