/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - the words of the command line that say what to do; README.md lists them. */
#include "payload.h"

struct options opt = {
	.fill = FILL_MIXED,
	.ws = 64ul << 20,
	.rate = 100,
	.sweep = 16,
	.cpus = 1,
	.tick_us = 1000,
	.report_ms = 1000,
	.disk_ms = 10,
	.net_size = 60,
};

static bool word_is(const char *s, size_t len, const char *word)
{
	while (len && *word && *s == *word)
		s++, word++, len--;
	return !len && !*word;
}

/* Digits with K, M or G behind; false when it is anything else. */
static bool number(const char *s, size_t len, uint64_t *out)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < len && s[i] >= '0' && s[i] <= '9'; i++)
		v = v * 10 + (s[i] - '0');
	if (!i || i + 1 < len)
		return false;
	if (i < len) {
		const char *units = "KMG";
		int shift = 10;

		for (; *units && *units != s[i]; units++)
			shift += 10;
		if (!*units)
			return false;
		v <<= shift;
	}
	*out = v;
	return true;
}

static bool option_fill(const char *s, size_t len)
{
	static const char *const names[] = { "zero", "text", "random", "mixed" };

	for (int i = 0; i < 4; i++)
		if (word_is(s, len, names[i])) {
			opt.fill = i;
			return true;
		}
	return false;
}

static bool option_set(const char *s, size_t key, const char *value, size_t len)
{
	static const struct {
		const char *name;
		uint64_t *to, min, max;
	} table[] = {
		{ "mem", &opt.mem, 1 << 20, 1ull << 37 },
		{ "ws", &opt.ws, 0, 1ull << 37 },
		{ "rate", &opt.rate, 0, 100000 },
		{ "sweep", &opt.sweep, 0, 100000 },
		{ "cpus", &opt.cpus, 1, CPUS_MAX },
		{ "tick_us", &opt.tick_us, 200, 100000 },
		{ "report", &opt.report_ms, 10, 3600000 },
		{ "disk", &opt.disk, 0, 1 },
		{ "disk_ms", &opt.disk_ms, 1, 60000 },
		{ "net", &opt.net, 0, 3 },
		{ "net_size", &opt.net_size, 60, 65535 },
		{ "inc", &opt.inc, 0, 1ull << 62 },
		{ "tsc_khz", &opt.tsc_khz, 0, 100000000 },
		{ "poweroff", &opt.poweroff_ms, 0, 1ull << 40 },
		{ "reset", &opt.reset_ms, 0, 1ull << 40 },
		{ "break", &opt.break_ms, 0, 1ull << 40 },
	};
	uint64_t v;

	if (word_is(s, key, "fill"))
		return option_fill(value, len);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (!word_is(s, key, table[i].name))
			continue;
		if (!number(value, len, &v) || v < table[i].min || v > table[i].max)
			return false;
		*table[i].to = v;
		return true;
	}
	return false;
}

void options_read(const char *s)
{
	while (*s) {
		const char *start, *eq = NULL;

		while (*s == ' ')
			s++;
		for (start = s; *s && *s != ' '; s++)
			if (*s == '=' && !eq)
				eq = s;
		if (s == start)
			break;
		if (eq && option_set(start, eq - start, eq + 1, s - eq - 1))
			continue;
		/* A loader may add words of its own: say so and go on. */
		put_str("D: ignored ");
		for (; start < s; start++)
			put_str((char[]){ *start, 0 });
		put_str("\n");
	}
}
