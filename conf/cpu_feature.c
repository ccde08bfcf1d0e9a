/* SPDX-License-Identifier: Apache-2.0 */
/* cpu_feature - see cpu_feature.h: looking rows up, and sets of them. */
#include "conf/cpu_feature_int.h"

#include <stdio.h>
#include <string.h>

#define WORDS (CPU_FEATURES_MAX / 64)

unsigned int cpu_feature_count(void)
{
	return cpu_feature_table_rows;
}

const struct cpu_feature *cpu_feature_at(unsigned int i)
{
	return &cpu_feature_table[i];
}

int cpu_feature_find(const char *name, size_t len)
{
	for (unsigned int i = 0; i < cpu_feature_table_rows; i++)
		if (strlen(cpu_feature_table[i].name) == len && !memcmp(cpu_feature_table[i].name, name, len))
			return (int)i;
	return -1;
}

static bool is_in(const struct cpu_feature *f, uint32_t leaf, uint32_t index, enum cpu_reg reg)
{
	return f->leaf == leaf && f->index == index && f->reg == reg;
}

const struct cpu_feature *cpu_feature_of(uint32_t leaf, uint32_t index, enum cpu_reg reg, unsigned int bit)
{
	for (unsigned int i = 0; i < cpu_feature_table_rows; i++)
		if (is_in(&cpu_feature_table[i], leaf, index, reg) && cpu_feature_table[i].bit == bit)
			return &cpu_feature_table[i];
	return NULL;
}

uint32_t cpu_feature_allow(uint32_t leaf, uint32_t index, enum cpu_reg reg)
{
	uint32_t mask = 0;

	for (unsigned int i = 0; i < cpu_feature_table_rows; i++)
		if (is_in(&cpu_feature_table[i], leaf, index, reg))
			mask |= 1u << cpu_feature_table[i].bit;
	return mask;
}

/* --- sets --- */

void cpu_features_join(struct cpu_features *s, const struct cpu_features *more)
{
	for (int i = 0; i < WORDS; i++)
		s->word[i] |= more->word[i];
}

void cpu_features_without(struct cpu_features *s, const struct cpu_features *less)
{
	for (int i = 0; i < WORDS; i++)
		s->word[i] &= ~less->word[i];
}

void cpu_features_both(struct cpu_features *s, const struct cpu_features *other)
{
	for (int i = 0; i < WORDS; i++)
		s->word[i] &= other->word[i];
}

unsigned int cpu_features_count(const struct cpu_features *s)
{
	unsigned int n = 0;

	for (int i = 0; i < WORDS; i++)
		n += (unsigned int)__builtin_popcountll(s->word[i]);
	return n;
}

bool cpu_features_any(const struct cpu_features *s)
{
	return cpu_features_count(s) > 0;
}

bool cpu_features_read(struct cpu_features *s, const char *names)
{
	while (*names) {
		size_t len = strcspn(names, " ");
		int i = cpu_feature_find(names, len);

		if (i < 0)
			return false;
		cpu_features_put(s, (unsigned int)i);
		names += len + (names[len] == ' ');
	}
	return true;
}

/* Each turn goes one step along the chains of needs, which are short and have no circle (tests/unit/conf/test_cpu.c). */
static bool step(struct cpu_features *s, bool needed)
{
	bool more = false;

	for (unsigned int i = 0; i < cpu_feature_table_rows; i++) {
		const char *needs = cpu_feature_table[i].needs;
		unsigned int other, from, to;

		if (!needs)
			continue;
		other = (unsigned int)cpu_feature_find(needs, strlen(needs));
		from = needed ? i : other;
		to = needed ? other : i;
		if (!cpu_features_has(s, from) || cpu_features_has(s, to))
			continue;
		cpu_features_put(s, to);
		more = true;
	}
	return more;
}

void cpu_features_add_needed(struct cpu_features *s)
{
	while (step(s, true))
		;
}

void cpu_features_add_needing(struct cpu_features *s)
{
	while (step(s, false))
		;
}

char *cpu_features_text(const struct cpu_features *s, char *buf, size_t size)
{
	static const char more[] = " and 999 more";
	unsigned int left = 0;
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned int i = 0; i < cpu_feature_table_rows; i++) {
		const char *name = cpu_feature_table[i].name;

		if (!cpu_features_has(s, i))
			continue;
		if (left || n + strlen(name) + sizeof(", ") + sizeof(more) > size)
			left++;
		else
			n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", name);
	}
	if (left)
		snprintf(buf + n, size - n, "%s%u more", n ? " and " : "", left);
	return buf;
}
