/* SPDX-License-Identifier: Apache-2.0 */
/* cpu - hosts' processors, as they are told of (hv/cpu/cpuid.h, GET /v1/nodes), and what they have in common. */
#ifndef DROVER_CMD_CPU_H
#define DROVER_CMD_CPU_H

#include "conf/cpu_model.h"

#include <jansson.h>

/* Of one host, or what several have. */
struct cpu_of {
	enum cpu_vendor vendor; /* CPU_VENDOR_ANY: several, or another one */
	unsigned int address_bits;
	struct cpu_features has;
};

/** cpu_of_json() - from {vendor, address_bits, features}; names that this version does not know are left out; false: no such thing */
bool cpu_of_json(json_t *o, struct cpu_of *out);
/** cpu_of_both() - what of @c is in @other too */
void cpu_of_both(struct cpu_of *c, const struct cpu_of *other);

/** cpu_more() - those of @c's features that its best model has not */
void cpu_more(const struct cpu_of *c, struct cpu_features *more);
/** cpu_next() - the least level that @c does not have all of, or NULL */
const struct cpu_model *cpu_next(const struct cpu_of *c);

/** cpu_names_json() - a list of names */
json_t *cpu_names_json(const struct cpu_features *s);
/** cpu_add_json() - "model", "level", "more" of @c, into @o */
void cpu_add_json(json_t *o, const struct cpu_of *c);
/** cpu_print() - the same for people */
void cpu_print(const struct cpu_of *c);
/** cpu_print_lack() - "n2 lacks avx, avx2 of x86-64-v3", when @who does; @next may be NULL */
void cpu_print_lack(const char *who, const struct cpu_model *next, const struct cpu_features *has);
/** cpu_print_names() - names behind @head, in lines that a terminal has room for */
void cpu_print_names(const char *head, const struct cpu_features *s);

#endif
