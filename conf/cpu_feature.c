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

/* As manuals, compilers and other hypervisors have them, and what Linux shows of several bits. */
static const struct {
	const char *wrote, *meant;
} other_names[] = {
	{ "sse3", "pni" },
	{ "lzcnt", "abm" },
	{ "cmpxchg16b", "cx16" },
	{ "cmpxchg8b", "cx8" },
	{ "lahf_sahf", "lahf_lm" },
	{ "sha", "sha_ni" },
	{ "1gb_pages", "pdpe1gb" },
	{ "invtsc", "nonstop_tsc" },
	{ "constant_tsc", "nonstop_tsc" },
	{ "tsc_deadline", "tsc_deadline_timer" },
	{ "avx512ifma52", "avx512ifma" },
	{ "ibrs", "spec_ctrl' (Intel) or 'amd_ibrs" },
	{ "ibpb", "spec_ctrl' (Intel) or 'amd_ibpb" },
	{ "stibp", "intel_stibp' or 'amd_stibp" },
	{ "ssbd", "intel_ssbd' or 'amd_ssbd" },
};

const char *cpu_feature_meant(const char *name)
{
	char plain[32];
	size_t n = strlen(name);
	int i;

	if (n >= sizeof(plain))
		return NULL;
	for (size_t k = 0; k <= n; k++)
		plain[k] = (char)(name[k] == '-' || name[k] == '.' ? '_' : name[k] >= 'A' && name[k] <= 'Z' ? name[k] + 32 :
													      name[k]);
	i = cpu_feature_find(plain, n);
	if (i >= 0 && cpu_feature_table[i].kind == CPU_FEATURE_PLAIN)
		return cpu_feature_table[i].name;
	for (size_t k = 0; k < sizeof(other_names) / sizeof(other_names[0]); k++)
		if (strcmp(other_names[k].wrote, plain) == 0)
			return other_names[k].meant;
	return NULL;
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
