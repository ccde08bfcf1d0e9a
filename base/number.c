/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

#include <assert.h>
#include <errno.h>

int number_digits(const char **text, uint64_t *out)
{
	const char *p = *text;
	uint64_t n = 0;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return -ERANGE;
	if (p == *text)
		return -EINVAL;
	*text = p;
	*out = n;
	return 0;
}

bool number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t n;

	assert(min <= max);
	if (number_digits(&text, &n) || *text || n < min || n > max)
		return false;
	*out = n;
	return true;
}
