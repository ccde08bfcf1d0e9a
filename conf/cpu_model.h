/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_model - processors by name: what a guest sees on every host that has at least so much.
 *
 * A model is a row over the table of features, and who the guest is told it runs on: family, model and
 * stepping, and a name.  x86-64-v1 to v4 are the levels of the x86-64 psABI (3.1.1, table 3.1) with what each
 * 64-bit processor and each KVM has.  A model never changes once it was released: a guest that was started
 * with it must start with the same again.
 *
 * The vendor is not part of a level: it is the host's.  SYSCALL and SYSENTER behave differently on Intel and AMD and
 * cannot be made alike, so no domain moves between the two.
 */
#ifndef DROVER_CONF_CPU_MODEL_H
#define DROVER_CONF_CPU_MODEL_H

#include "conf/cpu_feature.h"

enum cpu_vendor {
	CPU_VENDOR_ANY, /* of a model: every host; of a host: neither of the others */
	CPU_VENDOR_INTEL,
	CPU_VENDOR_AMD,
};

#define CPU_BRAND_MAX 47 /* CPUID 0x80000002 to 0x80000004, without the NUL */

struct cpu_model {
	const char *name, *about;
	enum cpu_vendor vendor;
	uint32_t signature;   /* EAX of leaf 1: SDM 2A 3.3, figure 3-6; APM 3 E.3.2 */
	const char *brand;    /* at most CPU_BRAND_MAX bytes */
	const char *base;     /* it has all that this one has, or NULL */
	const char *features; /* ... and these, apart by a blank */
};

/** cpu_model_count() - how many there are */
unsigned int cpu_model_count(void);
/** cpu_model_at() - the one at place @i; from the least to the most within a vendor */
const struct cpu_model *cpu_model_at(unsigned int i);
/** cpu_model_find() - the one called @name, or NULL ("host" is none) */
const struct cpu_model *cpu_model_find(const char *name);
/** cpu_model_features() - all that @m has, its base's included */
void cpu_model_features(const struct cpu_model *m, struct cpu_features *out);

/**
 * cpu_model_lacks() - what of @m is not in @has
 * Return: true when there is any; *@lack may be NULL
 */
bool cpu_model_lacks(const struct cpu_model *m, const struct cpu_features *has, struct cpu_features *lack);
/**
 * cpu_model_best() - the largest model that hosts of @vendor with @has have all of, or NULL
 * @vendor: CPU_VENDOR_ANY, as for hosts of several vendors: levels only
 * @levels: levels only
 */
const struct cpu_model *cpu_model_best(const struct cpu_features *has, enum cpu_vendor vendor, bool levels);

/** cpu_vendor_of() - the vendor of that name; CPU_VENDOR_ANY for all others */
enum cpu_vendor cpu_vendor_of(const char *name);
/** cpu_vendor_name() - "Intel", "AMD", "any" */
const char *cpu_vendor_name(enum cpu_vendor v);

#endif
