/* SPDX-License-Identifier: Apache-2.0 */
/* child - see child.h. */
#include "base/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

void child_keep_only(const char *name, int sock)
{
	int null;

	prctl(PR_SET_NAME, name);
	if (sock > 0)
		close_range(0, (unsigned int)sock - 1, 0);
	close_range((unsigned int)sock + 1, ~0u, 0);
	for (null = open("/dev/null", O_RDWR); null >= 0 && null < STDERR_FILENO; null = open("/dev/null", O_RDWR))
		;
}
