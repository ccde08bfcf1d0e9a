/* SPDX-License-Identifier: Apache-2.0 */
/* verbs - the table of verbs: their words, what may follow them, which options they take; help walks the same table. */
#ifndef DROVER_CMD_VERBS_H
#define DROVER_CMD_VERBS_H

#include "cmd/drover/drover.h"

enum {
	TAKES_FORCE = 1,
	TAKES_YES = 2,
	TAKES_WAIT = 4,
	TAKES_WHY = 8,
	TAKES_RESTRICTED = 16,
	TAKES_FOLLOW = 32,
	TAKES_GROUP = 64,
	TAKES_NODE = 128,
	TAKES_MAX_RESTART = 256,
	TAKES_NO_JSON = 512, /* a verb whose output is not ours to shape */
	TAKES_DRY_RUN = 8192,
	TAKES_FORMAT = 16384,
	TAKES_PARENT = 32768,
	TAKES_FROM = 65536,
	TAKES_CANONICAL = 131072,
	TAKES_OFFLINE = 262144,
	TAKES_TEXT = 524288,
	GIVEN_JSON = 1024,
	GIVEN_NO_WAIT = 2048,
	GIVEN_TIMEOUT = 4096,
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
