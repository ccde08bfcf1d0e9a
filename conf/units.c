/* SPDX-License-Identifier: Apache-2.0 */
/*
 * units - one table per kind of quantity, largest unit first, used for both
 * reading and printing so that the two cannot drift apart.
 */
#include "conf/units.h"

#include "base/number.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name, *also;
	uint64_t factor;
};

static const struct unit sizes[] = {
	{ "T", "TiB", 1ull << 40 },
	{ "G", "GiB", 1ull << 30 },
	{ "M", "MiB", 1ull << 20 },
	{ "K", "KiB", 1ull << 10 },
	{ "B", "B", 1 },
};

static const struct unit times[] = {
	{ "h", "h", 3600000 },
	{ "m", "min", 60000 },
	{ "s", "s", 1000 },
	{ "ms", "ms", 1 },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int units_parse(const char *text, const struct unit *units, size_t n, uint64_t *out)
{
	uint64_t v;
	int rc = number_digits(&text, &v);

	if (rc)
		return rc;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(text, units[i].name) && strcmp(text, units[i].also))
			continue;
		if (__builtin_mul_overflow(v, units[i].factor, &v))
			return -ERANGE;
		*out = v;
		return 0;
	}
	return -EINVAL;
}

static const char *units_print(uint64_t v, const struct unit *units, size_t n,
			       char buf[UNITS_TEXT_MAX])
{
	size_t i = 0;

	while (i < n - 1 && (v == 0 || v % units[i].factor))
		i++;
	snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64 "%s", v / units[i].factor, units[i].name);
	return buf;
}

int units_parse_size(const char *text, uint64_t *bytes)
{
	return units_parse(text, sizes, COUNT(sizes), bytes);
}

int units_parse_ms(const char *text, uint64_t *ms)
{
	return units_parse(text, times, COUNT(times), ms);
}

const char *units_print_size(uint64_t bytes, char buf[UNITS_TEXT_MAX])
{
	return units_print(bytes, sizes, COUNT(sizes), buf);
}

const char *units_print_ms(uint64_t ms, char buf[UNITS_TEXT_MAX])
{
	return units_print(ms, times, COUNT(times), buf);
}
