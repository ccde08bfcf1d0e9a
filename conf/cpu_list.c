/* SPDX-License-Identifier: Apache-2.0 */
/* cpu_list - see cpu_list.h. */
#include "conf/cpu_list.h"

#include <stdio.h>
#include <string.h>

#define WORDS (CPU_LIST_MAX / 64)

bool cpu_list_any(const struct cpu_list *l)
{
	uint64_t any = 0;

	for (int i = 0; i < WORDS; i++)
		any |= l->word[i];
	return any != 0;
}

void cpu_list_without(struct cpu_list *l, const struct cpu_list *less)
{
	for (int i = 0; i < WORDS; i++)
		l->word[i] &= ~less->word[i];
}

/* A number that a CPU can have, at *@p, which goes behind it. */
static bool number(const char **p, unsigned int *out)
{
	unsigned int n = 0;
	const char *s = *p;

	for (; *s >= '0' && *s <= '9' && n < CPU_LIST_MAX; s++)
		n = 10 * n + (unsigned int)(*s - '0');
	if (s == *p || n >= CPU_LIST_MAX)
		return false;
	*p = s;
	*out = n;
	return true;
}

bool cpu_list_read(const char *text, struct cpu_list *out)
{
	unsigned int first, last;

	memset(out, 0, sizeof(*out));
	for (;; text++) {
		if (!number(&text, &first))
			return false;
		last = first;
		if (*text == '-' && (text++, !number(&text, &last)))
			return false;
		if (last < first)
			return false;
		while (first <= last)
			cpu_list_put(out, first++);
		if (*text != ',')
			return !*text;
	}
}

char *cpu_list_print(const struct cpu_list *l, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned int i = 0; i < CPU_LIST_MAX; i++) {
		unsigned int first = i;
		char piece[24];

		if (!cpu_list_has(l, i))
			continue;
		while (i + 1 < CPU_LIST_MAX && cpu_list_has(l, i + 1))
			i++;
		if (i > first)
			snprintf(piece, sizeof(piece), "%s%u-%u", n ? "," : "", first, i);
		else
			snprintf(piece, sizeof(piece), "%s%u", n ? "," : "", first);
		if (n + strlen(piece) >= size)
			break;
		n += (size_t)snprintf(buf + n, size - n, "%s", piece);
	}
	return buf;
}
