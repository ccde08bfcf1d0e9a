/* SPDX-License-Identifier: Apache-2.0 */
/* options - the options of the command line; which of them a verb takes says its row (verbs.h). */
#ifndef DROVER_CMD_OPTIONS_H
#define DROVER_CMD_OPTIONS_H

#include "cmd/drover/drover.h"

struct parsed {
	unsigned int given; /* TAKES_... */
	bool help, version;
};

/**
 * options_parse() - all options of the line, wherever they stand; errors are said as the line's -o wants them
 * What is left, verb and arguments, stands behind optind.  An exit code, error said.
 */
int options_parse(int argc, char **argv, struct options *o, struct parsed *p);

#define TAKEN_EVERYWHERE 0x80000000u /* an option of every verb */

struct option_row {
	const char *name;
	const char *value;  /* what it takes: a word of the table of verbs ("NODE"), or words to choose from ("raw|vhd"); NULL: nothing */
	int letter;         /* for getopt_long(); 'o' and 'h' are typed too */
	unsigned int takes; /* verbs with this bit take it (verbs.h) */
};

/** option_at() - the @i-th of all options; NULL behind the last */
const struct option_row *option_at(size_t i);

#endif
