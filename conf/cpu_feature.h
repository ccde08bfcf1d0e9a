/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_feature - features of a processor by name: which bit of CPUID each one is, and which others it needs.
 *
 * One table (cpu_feature_table.c) for all who speak of features: a domain's file, the models
 * (conf/cpu_model.h), what a guest is shown and what a host is told to lack.  It is an allow list: a bit
 * without a row is shown to no guest, because it was made after this was written and nobody has looked at
 * whether its state is carried.
 *
 * A name is the one that /proc/cpuinfo has, else Linux's own in small letters.  Linux puts speculation
 * controls of both vendors under one name; here they are apart: spec_ctrl (Intel), amd_ibrs (AMD).
 */
#ifndef DROVER_CONF_CPU_FEATURE_H
#define DROVER_CONF_CPU_FEATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPU_LEAF_KVM 0x40000001u /* paravirtual features (Documentation/virt/kvm/x86/cpuid.rst) */

enum cpu_reg {
	CPU_EAX,
	CPU_EBX,
	CPU_ECX,
	CPU_EDX
};

enum cpu_feature_kind {
	CPU_FEATURE_PLAIN,   /* of models, and of a domain's file */
	CPU_FEATURE_FOLLOWS, /* shown with what it needs, where the host has it */
	CPU_FEATURE_MADE,    /* Drover's own: follows from topology, or from there being a hypervisor */
};

struct cpu_feature {
	const char *name;
	uint32_t leaf, index;
	enum cpu_reg reg;
	unsigned int bit;
	enum cpu_feature_kind kind;
	const char *needs; /* the name of another feature without which it is not there, or NULL */
};

#define CPU_FEATURES_MAX 256 /* room in a set */

/* Features by their place in the table. */
struct cpu_features {
	uint64_t word[CPU_FEATURES_MAX / 64];
};

/** cpu_feature_count() - rows of the table; their places are 0 to this - 1 */
unsigned int cpu_feature_count(void);
/** cpu_feature_at() - the row at place @i */
const struct cpu_feature *cpu_feature_at(unsigned int i);
/** cpu_feature_find() - the place of the first @len bytes of @name, of any kind; -1: no such feature */
int cpu_feature_find(const char *name, size_t len);
/** cpu_feature_meant() - what who wrote @name, which is none, may have meant: the name of a feature, or NULL */
const char *cpu_feature_meant(const char *name);
/** cpu_feature_of() - the row of a bit of CPUID, or NULL */
const struct cpu_feature *cpu_feature_of(uint32_t leaf, uint32_t index, enum cpu_reg reg, unsigned int bit);
/** cpu_feature_allow() - those bits of a register that have a row */
uint32_t cpu_feature_allow(uint32_t leaf, uint32_t index, enum cpu_reg reg);

static inline bool cpu_features_has(const struct cpu_features *s, unsigned int i)
{
	return s->word[i / 64] >> i % 64 & 1;
}

static inline void cpu_features_put(struct cpu_features *s, unsigned int i)
{
	s->word[i / 64] |= 1ull << i % 64;
}

/** cpu_features_join() - @s and all of @more */
void cpu_features_join(struct cpu_features *s, const struct cpu_features *more);
/** cpu_features_without() - @s without all of @less */
void cpu_features_without(struct cpu_features *s, const struct cpu_features *less);
/** cpu_features_both() - what of @s is in @other too */
void cpu_features_both(struct cpu_features *s, const struct cpu_features *other);
/** cpu_features_count() - how many */
unsigned int cpu_features_count(const struct cpu_features *s);
/** cpu_features_any() - is there one? */
bool cpu_features_any(const struct cpu_features *s);

/** cpu_features_read() - add the features that @names names, apart by a blank; false: one of them is none */
bool cpu_features_read(struct cpu_features *s, const char *names);
/** cpu_features_add_needed() - and whatever the features of @s need */
void cpu_features_add_needed(struct cpu_features *s);
/** cpu_features_add_needing() - and whatever needs a feature of @s: all that goes when those go */
void cpu_features_add_needing(struct cpu_features *s);

/**
 * cpu_features_text() - "avx, avx2 and 3 more": as many names as @size bytes have room for
 * Return: @buf; "" when @s is empty
 */
char *cpu_features_text(const struct cpu_features *s, char *buf, size_t size);

#endif
