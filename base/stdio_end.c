/* SPDX-License-Identifier: Apache-2.0 */
/* stdio_end - see stdio_end.h. */
#include "base/stdio_end.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void stdio_begin(void)
{
	int fd;

	for (fd = 0; fd <= 2; fd++)
		/* The lowest free number is fd itself.  Input: not readable; output: not writable. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
			return;
}

int stdio_end(const char *program, int code)
{
	int failed_before = ferror(stdout), err = 0;

	if (fclose(stdout) != 0)
		err = errno;
	if (!failed_before && !err)
		return code;
	fprintf(stderr, "%s: standard output: %s\n", program,
		err ? strerror(err) : "not everything was written");
	return code ? code : 1;
}
