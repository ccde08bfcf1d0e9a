/* SPDX-License-Identifier: Apache-2.0 */
/* domain_file - a domain's file on the command line: read and checked here, so that an error names the file and the line. */
#ifndef DROVER_CMD_DOMAIN_FILE_H
#define DROVER_CMD_DOMAIN_FILE_H

#include "cmd/drover/drover.h"
#include "conf/domain.h"

#define DOMAIN_FILE_MAX (64u << 10) /* what the cluster's record holds of one domain */

struct domain_file {
	char text[DOMAIN_FILE_MAX + 1]; /* as it is, no 0 behind it */
	size_t len;
};

/**
 * domain_file_read() - @file, "-" for standard input, into @f, and what it means into *@out (domain_conf_free())
 * Return: EXIT_OK; EXIT_NOTFOUND; EXIT_USAGE with "file:line: ..." for a wrong one; EXIT_ERROR; error said.
 */
int domain_file_read(const char *file, struct domain_file *f, struct domain_conf **out);

#endif
