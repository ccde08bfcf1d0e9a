/* SPDX-License-Identifier: Apache-2.0 */
/* applied - what this host makes of an entry that has just changed the record: it tells people, and goes on with its own part. */
#include "ha/core/core_int.h"

#include "ha/core/record/check.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOKED_AT 4 /* domains after each entry, in turn */

size_t ha_core_speak(const struct ha_core *c, const char *marked, char *buf, size_t size)
{
	size_t len = 0;

	for (const char *p = marked; *p && len + 1 < size; p++) {
		const char *name, *end = *p == HA_MARK_BEGIN ? strchr(p, HA_MARK_END) : NULL;

		if (*p == HA_MARK_BEGIN && !end)
			break; /* the text was too long for its room */
		if (!end) {
			buf[len++] = *p;
			continue;
		}
		name = ha_core_node_name(c, (uint32_t)strtoul(p + 1, NULL, 10));
		while (*name && len + 1 < size)
			buf[len++] = *name++;
		p = end;
	}
	buf[len] = 0;
	return len;
}

static void tell(struct ha_core *c, const struct ha_outcome *o)
{
	char text[HA_NOTE_MAX + 1];

	for (uint32_t i = 0; i < o->n_notes; i++) {
		ha_core_speak(c, o->notes[i].text, text, sizeof(text));
		ha_out_note(c, o->notes[i].level, "%s", text);
	}
}

/* Who ordered what, where, and what came of it: the same line on every host. */
static void tell_order(struct ha_core *c, const struct ha_entry *e, const struct ha_outcome *o)
{
	const char *about = *e->domain ? e->domain : *e->group ? e->group :
					     e->node           ? ha_core_node_name(c, e->node) :
								 "";
	char text[HA_REASON_MAX + 1], whom[HA_NAME_MAX + 1], by[HA_NAME_MAX + 1];

	ha_copy(whom, sizeof(whom), about); /* names of hosts share a buffer */
	ha_copy(by, sizeof(by), ha_core_node_name(c, e->origin));
	ha_core_speak(c, o->text, text, sizeof(text));
	ha_out_note(c, HA_INFO, "%s on %s: %s %s: %s", e->actor, by, ha_op_str(e->op), whom, text);
}

/* One of our own proposals is through. */
static void ours(struct ha_core *c, const struct ha_entry *e, const struct ha_outcome *o)
{
	char text[HA_REASON_MAX + 1];

	for (uint32_t i = 0; i < PROPS_MAX; i++)
		if (c->props[i].used && c->props[i].serial == e->serial)
			c->props[i].used = false;
	switch (e->kind) {
	case HA_E_FENCING:
		ha_proof_agreed(c, e);
		break;
	case HA_E_LEASE:
		ha_standing_told(c, e);
		break;
	case HA_E_OP:
		ha_core_speak(c, o->text, text, sizeof(text));
		ha_op_applied(c, e, o->code, text);
		break;
	default:
		break;
	}
}

static void must_hold(const char *wrong, const struct ha_entry *e)
{
	if (wrong)
		fprintf(stderr, "after %s: %s\n", ha_entry_kind_str(e->kind), wrong);
	assert(!wrong);
}

/*
 * Who has an owner in which phase, and all else that record/check.h says.  An entry about one
 * domain is looked at with a few others, so that each has its turn and no entry costs more for
 * there being many domains; one about hosts may have moved any.
 */
static void check_record(const struct ha_core *c, const struct ha_entry *e)
{
	const struct ha_record *r = &c->rec;
	int i = ha_record_find(r, e->domain), by = ha_record_slot(r, e->origin), on = ha_record_slot(r, e->node);

	if (e->kind == HA_E_NEW_EPOCH || e->kind == HA_E_FENCED) {
		must_hold(ha_record_wrong(r), e);
		return;
	}
	if (by >= 0)
		must_hold(ha_node_wrong(&r->nodes[by], ha_set_has(r->members, by), r->token), e);
	if (on >= 0)
		must_hold(ha_node_wrong(&r->nodes[on], ha_set_has(r->members, on), r->token), e);
	if (i >= 0)
		must_hold(ha_record_wrong_at(r, (uint32_t)i), e);
	for (uint32_t k = 0; k < LOOKED_AT && k < r->n_domains; k++)
		must_hold(ha_record_wrong_at(r, (uint32_t)((c->log.applied * LOOKED_AT + k) % r->n_domains)), e);
}

void ha_applied(struct ha_core *c, const struct ha_entry *e)
{
	struct ha_outcome *o = &c->outcome;

	ha_apply(&c->rec, e, o);
	if (!o->applied)
		return;
	c->rec_hash = 0;
	c->hosts_looked_at = false;
	ha_rest_changed(c);
	check_record(c, e);
	if (e->kind == HA_E_OP)
		tell_order(c, e, o);
	tell(c, o);
	if (e->origin == c->me && e->kind != HA_E_NEW_EPOCH)
		ours(c, e, o);
}
