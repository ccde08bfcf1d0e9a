/* SPDX-License-Identifier: Apache-2.0 */
/* claim - see claim.h. */
#include "ha/core/claim.h"

#include <assert.h>

static bool is_here(const struct claim *c, uint32_t node)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->nodes[i] == node)
			return true;
	return false;
}

/* What its host claimed is known to those who want to agree; and a number is claimed once. */
static bool known(const struct claim *c, uint32_t node, const struct claim_slot *s)
{
	if (s->epoch <= c->log)
		return true;
	return is_here(c, node) && s->epoch < c->epoch;
}

enum claim_verdict claim_judge(const struct claim *c, const struct claim_slots *s, uint32_t *by, uint64_t *epoch)
{
	assert(c->me && c->me < CLAIM_SLOTS && c->cluster && c->log < c->epoch);
	for (uint32_t i = 1; i < CLAIM_SLOTS; i++) {
		const struct claim_slot *o = &s->of[i];

		if (!o->epoch)
			continue;
		*by = i;
		*epoch = o->epoch;
		if (o->cluster != c->cluster)
			return CLAIM_FOREIGN;
		if (!known(c, i, o))
			return CLAIM_TAKEN;
	}
	return CLAIM_MAY;
}

bool claim_undisturbed(const struct claim *c, const struct claim_slots *before, const struct claim_slots *after)
{
	if (after->of[c->me].cluster != c->cluster || after->of[c->me].epoch != c->epoch)
		return false;
	for (uint32_t i = 1; i < CLAIM_SLOTS; i++)
		if (i != c->me && (before->of[i].cluster != after->of[i].cluster || before->of[i].epoch != after->of[i].epoch))
			return false;
	return true;
}
