/* SPDX-License-Identifier: Apache-2.0 */
/* verbs - the table of verbs: their words, what may follow them, which options they take; help walks the same table. */
#ifndef DROVER_CMD_VERBS_H
#define DROVER_CMD_VERBS_H

#include "cmd/drover/drover.h"

enum {
	TAKES_FORCE = 1 << 0,
	TAKES_YES = 1 << 1,
	TAKES_WAIT = 1 << 2,
	TAKES_WHY = 1 << 3,
	TAKES_RESTRICTED = 1 << 4,
	TAKES_FOLLOW = 1 << 5,
	TAKES_GROUP = 1 << 6,
	TAKES_NODE = 1 << 7,
	TAKES_MAX_RESTART = 1 << 8,
	TAKES_NO_JSON = 1 << 9, /* a verb whose output is not ours to shape */
	GIVEN_JSON = 1 << 10,
	GIVEN_NO_WAIT = 1 << 11,
	GIVEN_TIMEOUT = 1 << 12,
	TAKES_DRY_RUN = 1 << 13,
	TAKES_FORMAT = 1 << 14,
	TAKES_PARENT = 1 << 15,
	TAKES_FROM = 1 << 16,
	TAKES_CANONICAL = 1 << 17,
	TAKES_OFFLINE = 1 << 18,
	TAKES_TEXT = 1 << 19,
	GIVEN_EVERYWHERE = GIVEN_JSON | GIVEN_NO_WAIT | GIVEN_TIMEOUT,
};

struct verb {
	const char *words;
	const char *args;
	int min, max;
	unsigned int takes;
	verb_fn fn;
	const char *help;
};

/** verb_at() - the @i-th of the table; NULL behind the last */
const struct verb *verb_at(size_t i);
/** verb_match() - in the table @at: the verb that @argv begins with, and how many words that are; NULL: none (names.c) */
const struct verb *verb_match(verb_at_fn at, int argc, char **argv, int *used);
/** verb_find() - the verb that @argv begins with, and how many words that are; NULL: there is none */
const struct verb *verb_find(int argc, char **argv, int *used);
/** verb_unknown() - say so; EXIT_USAGE */
int verb_unknown(int argc, char **argv);
/** verb_help() - about the verb that @argv begins with, those that begin so, or all; an exit code */
int verb_help(int argc, char **argv);
/** verb_usage() - all verbs, a line each */
void verb_usage(FILE *to);

#endif
