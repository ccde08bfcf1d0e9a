/* SPDX-License-Identifier: Apache-2.0 */
/* usage - what this process has, for tests that nothing is left of what went. */
#ifndef DROVER_TESTS_USAGE_H
#define DROVER_TESTS_USAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>

/** usage_entries() - of a directory: "/proc/self/fd", "/proc/self/task" */
static inline unsigned int usage_entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

#endif
