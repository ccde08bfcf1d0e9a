/* SPDX-License-Identifier: Apache-2.0 */
/* debt - rule F in the record: what a lost host owes, who has waited long enough, when it counts as dead. */
#include "ha/core/apply/apply_int.h"

#include <stdio.h>

/* Its domains are certainly gone: nobody owns them. */
static void free_domains(struct ha_record *r, uint32_t slot, const char *why)
{
	struct ha_node_rec *n = &r->nodes[slot];

	n->report_due = false;
	n->reported = 0;
	ha_apply_disown(r, n->id, why);
}

void ha_debt_proved(struct ha_record *r, uint32_t slot, const char *how, struct ha_outcome *o)
{
	struct ha_node_rec *n = &r->nodes[slot];
	char why[HA_TEXT_MAX + 1];

	snprintf(why, sizeof(why), "node %u is dead: %s", n->id, how);
	n->debt = 0;
	n->passed = 0;
	n->fence_attempts = 0;
	n->fence_ordered = false;
	free_domains(r, slot, why);
	ha_outcome_note(o, HA_INFO, "%s is dead: %s", NODE(n->id), how);
}

void ha_debt_check(struct ha_record *r, uint32_t slot, struct ha_outcome *o)
{
	const struct ha_node_rec *n = &r->nodes[slot];
	bool all = (n->passed & r->members) == r->members;

	if (MUTANT(M_PASSED_ONE))
		all = n->passed != 0;
	/* Those it was with may be a majority of their own, and renew its lease. */
	if (!n->debt || !all || n->apart)
		return;
	/* Its domains may start elsewhere; that it is off, as an operator wants it, is not proved. */
	if (n->fence_ordered && !MUTANT(M_ORDER_PASSES))
		free_domains(r, slot, "its host's lease is over");
	else
		ha_debt_proved(r, slot, "its lease is over", o);
}

/*
 * The last domain of a lost host went elsewhere by a COMMIT that was on its way: there is
 * nothing left that it might run, so there is no reason to switch it off.
 */
void ha_debt_needless(struct ha_record *r)
{
	for (uint32_t i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++) {
		struct ha_node_rec *n = &r->nodes[i];

		if (!n->debt || n->fence_ordered || MUTANT(M_NEEDLESS) || ha_record_may_run(r, n->id))
			continue;
		n->debt = n->passed = 0;
		n->fence_attempts = 0;
	}
}

/*
 * Those who said PASSED did so as members of which one, at least, had heard the lost host last; by
 * another list those who are left need not have that one among them (ha/core/proof.c).
 */
void ha_debt_unproved(struct ha_record *r)
{
	for (uint32_t i = 0; i < HA_NODES_MAX && r->nodes[i].id && !MUTANT(M_PASSED_KEPT); i++)
		r->nodes[i].passed = 0;
}

void ha_debt_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	int slot = ha_record_slot(r, e->node), by = ha_record_slot(r, e->origin);
	struct ha_node_rec *n;

	if (slot < 0 || by < 0)
		return;
	n = &r->nodes[slot];
	/* A proof is for one debt: the host may have come back and been lost again since. */
	if (!n->debt || (n->debt != e->debt && !MUTANT(M_OLD_DEBT)))
		return;
	switch (e->kind) {
	case HA_E_PASSED:
		if (e->version != r->voters.version && !MUTANT(M_PASSED_KEPT))
			break;
		n->passed |= ha_set_of(by);
		ha_debt_check(r, (uint32_t)slot, o);
		break;
	case HA_E_FENCING: /* changes nothing: that it was committed is the answer (ha/core/proof.c) */
		break;
	case HA_E_FENCED:
		ha_debt_proved(r, (uint32_t)slot, "it was fenced", o);
		break;
	case HA_E_FENCE_FAILED:
		n->fence_attempts++;
		break;
	default:
		break;
	}
}
