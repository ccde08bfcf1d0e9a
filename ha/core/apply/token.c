/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token - rule T in the record: the one token from which all members derive their times, and the
 * largest from which each may still derive a lease.  Why that is enough: ha/core/agreed.c.
 */
#include "ha/core/apply/apply_int.h"

#include <assert.h>
#include <stdio.h>

static bool is_member(const struct ha_record *r, uint32_t slot)
{
	return ha_set_has(r->members, slot);
}

uint32_t ha_token_largest(const struct ha_record *r)
{
	uint32_t token = 0;

	for (uint32_t i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++)
		if (is_member(r, i) && r->nodes[i].token > token)
			token = r->nodes[i].token;
	return token;
}

size_t ha_token_differs(const struct ha_record *r, char *buf, size_t size)
{
	size_t len = 0;
	int n;

	buf[0] = 0;
	for (uint32_t i = 0; i < HA_NODES_MAX && r->nodes[i].id && len < size; i++) {
		const struct ha_node_rec *m = &r->nodes[i];

		if (!is_member(r, i) || !m->token || m->token == r->token)
			continue;
		n = snprintf(buf + len, size - len, "%s%s has %u ms", len ? ", " : "",
			     NODE(m->id), m->token);
		len += n < 0 ? 0 : (size_t)n;
	}
	return len;
}

static void agree_on(struct ha_record *r, uint32_t token, struct ha_outcome *o)
{
	char differ[256];

	assert(token >= ha_token_largest(r)); /* rule T: nobody's lease is longer than what all reckon with */
	if (token != r->token) {
		r->token = token;
		r->token_changes++;
		ha_outcome_note(o, HA_INFO, "all times come from a token of %u ms now", token);
	}
	if (ha_token_differs(r, differ, sizeof(differ)))
		ha_outcome_note(o, HA_WARNING,
				"corosync's token differs between hosts: %u ms is used everywhere, but %s",
				token, differ);
	for (uint32_t i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++)
		if (is_member(r, i) && r->nodes[i].uses < token)
			r->nodes[i].uses = token;
}

/* A member that went away takes nothing with it: only TIMING makes the token smaller. */
void ha_token_epoch(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	uint32_t token;

	for (uint32_t i = 0; i < e->n_members; i++) {
		int slot = ha_record_slot(r, e->members[i]);

		if (slot >= 0)
			r->nodes[slot].token = e->tokens[i];
	}
	token = ha_token_largest(r);
	agree_on(r, token > r->token ? token : r->token, o);
}

void ha_token_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	int slot = ha_record_slot(r, e->origin);

	if (slot < 0 || !is_member(r, (uint32_t)slot))
		return;
	r->nodes[slot].token = e->token;
	if (e->settled && e->token_changes == r->token_changes)
		r->nodes[slot].uses = r->token;
	agree_on(r, ha_token_largest(r), o);
}
