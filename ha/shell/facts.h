/* SPDX-License-Identifier: Apache-2.0 */
/*
 * facts - what hosts tell each other of themselves, so that any of them can say what all have in common.
 *
 * Each host multicasts its processor's features a moment after each change of the group, and keeps what it heard
 * last of each host.  This is for people: the core neither hears of it nor decides by it.
 *
 * A message is one JSON object, {"host": {"cpu": {...}}}, in the core's process group like those of
 * progress.h; versions that do not know it take it for progress of nothing, and pass over it.  What is in it is not
 * trusted: what is no text that a name can be, or too much, is dropped (rule S).
 */
#ifndef DROVER_HA_SHELL_FACTS_H
#define DROVER_HA_SHELL_FACTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FACTS_MESSAGE_MAX 8192
#define FACTS_FEATURES_MAX 256
#define FACTS_NAME_MAX 31 /* of a feature, bytes */

struct facts;

/** facts_open() - NULL without memory */
struct facts *facts_open(void);
/** facts_close() - NULL is fine */
void facts_close(struct facts *f);

/**
 * facts_note() - what this host, @node, has: @cpu as hv/cpu/cpuid.h describes it, NULL: nothing is known
 * Return: length of a message in @message that others should get now, 0 for none.
 */
size_t facts_note(struct facts *f, uint32_t node, const json_t *cpu, char message[FACTS_MESSAGE_MAX]);

/** facts_is() - does a message of the group belong here? */
bool facts_is(const void *buf, size_t len);
/** facts_take() - a message of @node; what is malformed is ignored */
void facts_take(struct facts *f, uint32_t node, const void *buf, size_t len);

/** facts_cpu() - the processor of @node: {vendor, name, address_bits, features}; borrowed; NULL: it told nothing */
json_t *facts_cpu(const struct facts *f, uint32_t node);

#endif
