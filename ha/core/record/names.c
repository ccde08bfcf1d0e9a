/* SPDX-License-Identifier: Apache-2.0 */
/* names - see names.h. */
#include "ha/core/record/names.h"

#include "ha/core/record/codec.h"

#include <assert.h>
#include <string.h>

static uint32_t bucket(const char *name)
{
	uint64_t h = ha_hash(0, name, strlen(name));

	return (uint32_t)(h ^ h >> 32) % HA_NAMES_BUCKETS;
}

void ha_names_clear(struct ha_names *n)
{
	memset(n->head, 0, sizeof(n->head));
}

void ha_names_add(struct ha_names *n, const char *name, uint32_t slot)
{
	uint16_t *head = &n->head[bucket(name)];

	assert(slot < HA_NAMES_SLOTS && *head != slot + 1);
	n->next[slot] = *head;
	*head = (uint16_t)(slot + 1);
}

void ha_names_drop(struct ha_names *n, const char *name, uint32_t slot)
{
	uint16_t *at = &n->head[bucket(name)];

	while (*at && *at != slot + 1)
		at = &n->next[*at - 1];
	if (*at)
		*at = n->next[slot];
	assert(slot < HA_NAMES_SLOTS);
}

uint32_t ha_names_first(const struct ha_names *n, const char *name)
{
	return n->head[bucket(name)];
}
