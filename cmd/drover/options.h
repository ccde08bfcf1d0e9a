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

#endif
