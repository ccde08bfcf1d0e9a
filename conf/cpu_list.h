/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_list - CPUs of a host by number, as the kernel writes them: "0-3,8" (Documentation/admin-guide/cputopology.rst).
 */
#ifndef DROVER_CONF_CPU_LIST_H
#define DROVER_CONF_CPU_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPU_LIST_MAX 1024  /* CPUs are numbered 0 to this - 1, as in cpu_set_t */
#define CPU_LIST_TEXT 5120 /* longest text, with its NUL */

struct cpu_list {
	uint64_t word[CPU_LIST_MAX / 64];
};

static inline bool cpu_list_has(const struct cpu_list *l, unsigned int cpu)
{
	return l->word[cpu / 64] >> cpu % 64 & 1;
}

static inline void cpu_list_put(struct cpu_list *l, unsigned int cpu)
{
	l->word[cpu / 64] |= 1ull << cpu % 64;
}

/** cpu_list_any() - is there one? */
bool cpu_list_any(const struct cpu_list *l);
/** cpu_list_without() - @l without all of @less */
void cpu_list_without(struct cpu_list *l, const struct cpu_list *less);
/** cpu_list_read() - of a text; false: that is none, or has numbers that are too large, and *@out means nothing */
bool cpu_list_read(const char *text, struct cpu_list *out);
/** cpu_list_print() - as text, ascending; what has no room is left out; Return: @buf */
char *cpu_list_print(const struct cpu_list *l, char *buf, size_t size);

#endif
