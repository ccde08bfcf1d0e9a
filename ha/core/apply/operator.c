/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operator - commands of operators, judged when their entry is applied, so that every
 * replica judges alike, against the same record.  How they come there: ha/core/command.c.
 */
#include "ha/core/apply/apply_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum ha_code say(struct ha_outcome *o, enum ha_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static enum ha_code say(struct ha_outcome *o, enum ha_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o->text, sizeof(o->text), fmt, ap);
	va_end(ap);
	return code;
}

/*
 * Why @d, not in the record yet, cannot start on the host an operator named; NULL when it can.
 * Judged before anything is changed: a file is taken in and started, or not taken in at all.
 */
static const char *add_why_not(const struct ha_record *r, const struct ha_domain *d, const struct ha_entry *e)
{
	return e->started && e->node ? ha_place_why_not(r, d, e->node) : NULL;
}

static void add_fill(const struct ha_record *r, struct ha_domain *d, const struct ha_entry *e)
{
	memset(d, 0, sizeof(*d));
	d->used = true;
	ha_copy(d->name, sizeof(d->name), e->domain);
	ha_copy(d->group, sizeof(d->group), e->group);
	d->ha = e->ha;
	d->max_restart = e->max_restart;
	d->size = e->size;
	d->last_incarnation = r->incarnation_floor;
	d->n_claims = e->n_claims;
	memcpy(d->claims, e->claims, e->n_claims * sizeof(e->claims[0]));
	d->conf_len = (uint32_t)e->conf_len;
	d->conf_hash = ha_hash(0, e->conf, e->conf_len);
}

static enum ha_code op_add(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	struct ha_domain d;
	const char *no;
	uint32_t i, which;
	char where[32];
	int other;

	if (!e->domain[0] || !e->conf_len)
		return say(o, HA_USAGE, "a domain needs a name and a text");
	if (ha_record_find(r, e->domain) >= 0)
		return say(o, HA_REFUSED, "%s is already defined", e->domain);
	other = ha_record_claimed(r, e->claims, e->n_claims, &which);
	if (other >= 0) {
		ha_claim_print(e->claims, which, where, sizeof(where));
		return say(o, HA_REFUSED, "%s cannot be defined: its %s is that of %s", e->domain, where,
			   r->domains[other].name);
	}
	if (e->group[0] && ha_record_find_group(r, e->group) < 0)
		return say(o, HA_NOT_FOUND, "no group called %s", e->group);
	for (i = r->index.used == r->n_domains ? r->n_domains : 0; i < r->n_domains && r->domains[i].used; i++)
		;
	if (i == HA_DOMAINS_MAX)
		return say(o, HA_REFUSED, "the cluster holds at most %u domains", HA_DOMAINS_MAX);
	if (!ha_text_fits(r, (uint32_t)e->conf_len))
		return say(o, HA_REFUSED, "the cluster holds at most %u MiB of domain texts", HA_CONFS_MAX >> 20);
	add_fill(r, &d, e);
	no = add_why_not(r, &d, e);
	if (no)
		return say(o, HA_REFUSED, "%s is not defined, for it cannot start on %s: it %s", d.name,
			   NODE(e->node), no);
	if (i == r->n_domains)
		ha_record_extend(r);
	*ha_record_edit(r, i) = d;
	ha_names_add(&r->index.names, d.name, i);
	ha_text_put(r, i, e->conf, (uint32_t)e->conf_len);
	if (!e->started)
		return say(o, HA_OK, "%s is defined", d.name);
	r->domains[i].wanted = true;
	r->domains[i].phase = HA_WAITING;
	if (e->node)
		ha_apply_start(&r->domains[i], e->node);
	return say(o, HA_OK, "%s is defined and starts", d.name);
}

static enum ha_code op_remove(struct ha_record *r, struct ha_domain *d, struct ha_outcome *o)
{
	if (d->phase != HA_STOPPED)
		return say(o, HA_REFUSED, "%s is %s; stop it first", d->name,
			   ha_phase_str(d->phase));
	if (d->last_incarnation > r->incarnation_floor)
		r->incarnation_floor = d->last_incarnation;
	ha_text_drop(r, (uint32_t)(d - r->domains));
	d->used = false;
	ha_names_drop(&r->index.names, d->name, (uint32_t)(d - r->domains));
	ha_index_follow(r); /* while the slot is one */
	while (r->n_domains && !r->domains[r->n_domains - 1].used)
		r->n_domains--;
	return say(o, HA_OK, "removed");
}

static enum ha_code op_start(struct ha_record *r, struct ha_domain *d, const struct ha_entry *e,
			     struct ha_outcome *o)
{
	uint32_t node = e->node ? e->node : ha_place(r, d, 0);
	const char *no;

	switch (d->phase) {
	case HA_STARTING:
	case HA_RUNNING:
	case HA_MIGRATING:
		if (ha_record_debt(r, d->owner))
			return say(o, HA_REFUSED, "%s was on %s, which is lost and not proved dead; then it %s", d->name,
				   NODE(d->owner), d->ha ? "starts elsewhere by itself" : "can be started");
		if (e->node && e->node != d->owner)
			return say(o, HA_REFUSED, "%s runs on %s; migrate it", d->name,
				   NODE(d->owner));
		if (d->paused)
			return say(o, HA_REFUSED, "%s is paused on %s; resume it", d->name,
				   NODE(d->owner));
		return say(o, HA_OK, "%s already runs on %s", d->name,
			   NODE(d->owner));
	case HA_STOPPING:
		if (e->node)
			return say(o, HA_REFUSED, "%s is being stopped; start it on %s after that", d->name,
				   NODE(e->node));
		d->wanted = true;
		return say(o, HA_OK, "%s is being stopped and starts again after that", d->name);
	case HA_STOPPED:
	case HA_WAITING:
	case HA_BACKOFF:
		break;
	}
	no = node ? ha_place_why_not(r, d, node) : NULL;
	if (no)
		return say(o, HA_REFUSED, "%s cannot start on %s: it %s", d->name,
			   NODE(node), no);
	if (!node && !d->ha)
		return say(o, HA_REFUSED, "no host can run %s now", d->name);
	d->wanted = true;
	d->failures = 0;
	d->avoid = 0;
	d->reason[0] = 0;
	d->phase = HA_WAITING;
	if (!node)
		return say(o, HA_OK, "%s starts as soon as a host can run it", d->name);
	ha_apply_start(d, node);
	return say(o, HA_OK, "%s starts on %s", d->name, NODE(node));
}

static enum ha_code op_stop(struct ha_record *r, struct ha_domain *d, const struct ha_entry *e,
			    struct ha_outcome *o)
{
	d->wanted = false;
	switch (d->phase) {
	case HA_STOPPED:
		return say(o, HA_OK, "%s is stopped", d->name);
	case HA_WAITING:
	case HA_BACKOFF:
		d->phase = HA_STOPPED;
		d->reason[0] = 0;
		return say(o, HA_OK, "%s is stopped", d->name);
	case HA_MIGRATING:
		ha_move_drop(d, "");
		break;
	case HA_STARTING:
	case HA_RUNNING:
	case HA_STOPPING:
		break;
	}
	if (!MUTANT(M_STOP_FORGOTTEN))
		d->phase = HA_STOPPING;
	d->force_stop |= e->force;
	ha_copy(d->reason, sizeof(d->reason), "stopped by an operator");
	return say(o, HA_OK, "%s is being stopped on %s", d->name, NODE(d->owner));
}

static enum ha_code op_migrate(struct ha_record *r, struct ha_domain *d, const struct ha_entry *e,
			       struct ha_outcome *o)
{
	uint32_t node = e->node;
	const char *no;
	int owner;

	if (d->phase != HA_RUNNING)
		return say(o, HA_REFUSED, "%s is %s, not running", d->name, ha_phase_str(d->phase));
	owner = ha_record_slot(r, d->owner);
	if (owner < 0 || !ha_set_has(r->members, owner))
		return say(o, HA_REFUSED, "the host of %s, %s, is not in the cluster view", d->name,
			   NODE(d->owner));
	if (r->nodes[owner].report_due)
		return say(o, HA_REFUSED,
			   "the host of %s has just come back and has not yet told what it runs",
			   d->name);
	if (!node)
		node = ha_place(r, d, d->owner);
	if (!node)
		return say(o, HA_REFUSED, "no other host can run %s", d->name);
	if (node == d->owner)
		return say(o, HA_REFUSED, "%s already runs on %s", d->name,
			   NODE(node));
	no = ha_place_why_not(r, d, node);
	if (no)
		return say(o, HA_REFUSED, "%s cannot move to %s: it %s", d->name,
			   NODE(node), no);
	ha_move_intent(d, node);
	d->dry_run = e->on;
	return say(o, HA_OK, e->on ? "%s is tried on %s" : "%s moves to %s", d->name, NODE(node));
}

static enum ha_code op_cancel(struct ha_domain *d, struct ha_outcome *o)
{
	/*
	 * An ABORT like any other. If the source was granted already it asks the
	 * log, finds itself the owner and runs on; the destination's COMMIT, if it
	 * comes, comes too late.
	 */
	if (d->phase != HA_MIGRATING)
		return say(o, HA_REFUSED, "%s is not being migrated", d->name);
	ha_move_drop(d, "migration cancelled by an operator");
	return say(o, HA_OK, "migration of %s is cancelled", d->name);
}

static enum ha_code op_pause(struct ha_record *r, struct ha_domain *d, const struct ha_entry *e,
			     struct ha_outcome *o)
{
	if (d->phase != HA_RUNNING)
		return say(o, HA_REFUSED, "%s is %s, not running", d->name, ha_phase_str(d->phase));
	if (ha_record_debt(r, d->owner)) /* a pause ends with the VMM, and that one is not coming back but for luck */
		return say(o, HA_REFUSED, "%s was on %s, which is lost and not proved dead", d->name,
			   NODE(d->owner));
	d->paused = e->on;
	return say(o, HA_OK, "%s %s on %s", d->name, e->on ? "is paused" : "goes on",
		   NODE(d->owner));
}

static enum ha_code op_domain(struct ha_record *r, struct ha_domain *d, const struct ha_entry *e,
			      struct ha_outcome *o)
{
	switch (e->op) {
	case HA_OP_REMOVE:
		return op_remove(r, d, o);
	case HA_OP_START:
		return op_start(r, d, e, o);
	case HA_OP_STOP:
		return op_stop(r, d, e, o);
	case HA_OP_MIGRATE:
		return op_migrate(r, d, e, o);
	case HA_OP_CANCEL:
		return op_cancel(d, o);
	case HA_OP_PAUSE:
		return op_pause(r, d, e, o);
	case HA_OP_HA_ON:
		if (e->group[0] && ha_record_find_group(r, e->group) < 0)
			return say(o, HA_NOT_FOUND, "no group called %s", e->group);
		ha_copy(d->group, sizeof(d->group), e->group);
		d->ha = true;
		d->max_restart = e->max_restart;
		return say(o, HA_OK, "%s is protected", d->name);
	case HA_OP_HA_OFF:
		d->ha = false;
		if (d->phase == HA_WAITING || d->phase == HA_BACKOFF) {
			d->phase = HA_STOPPED;
			d->wanted = false;
		}
		return say(o, HA_OK, "%s is no longer protected", d->name);
	case HA_OP_CLEAR:
		d->failures = 0;
		d->avoid = 0;
		if (d->phase == HA_BACKOFF)
			d->phase = HA_WAITING;
		return say(o, HA_OK, "failures of %s forgotten", d->name);
	default:
		return say(o, HA_USAGE, "not a command");
	}
}

static enum ha_code op_group(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	int i = ha_record_find_group(r, e->group);

	if (!e->group[0])
		return say(o, HA_USAGE, "a group needs a name");
	if (e->op == HA_OP_GROUP_REMOVE) {
		if (i < 0)
			return say(o, HA_NOT_FOUND, "no group called %s", e->group);
		for (uint32_t j = 0; j < r->n_domains; j++)
			if (r->domains[j].used && !strcmp(r->domains[j].group, e->group))
				return say(o, HA_REFUSED, "group %s is used by %s", e->group,
					   r->domains[j].name);
		r->groups[i].used = false;
		return say(o, HA_OK, "removed");
	}
	for (int j = 0; i < 0 && j < HA_GROUPS_MAX; j++)
		if (!r->groups[j].used)
			i = j;
	if (i < 0)
		return say(o, HA_REFUSED, "the cluster holds at most %d groups", HA_GROUPS_MAX);
	memset(&r->groups[i], 0, sizeof(r->groups[i]));
	r->groups[i].used = true;
	ha_copy(r->groups[i].name, sizeof(r->groups[i].name), e->group);
	r->groups[i].restricted = e->restricted;
	r->groups[i].n_hosts = e->n_hosts;
	memcpy(r->groups[i].hosts, e->hosts, e->n_hosts * sizeof(e->hosts[0]));
	return say(o, HA_OK, "group %s is set", e->group);
}

static enum ha_code op_node(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	int slot = ha_record_slot(r, e->node);
	struct ha_node_rec *n;
	const struct ha_node_mark mark = ha_node_mark(e->node);
	const char *name = mark.text;

	if (slot < 0)
		return say(o, HA_NOT_FOUND, "%s was never part of this cluster", name);
	n = &r->nodes[slot];
	if (e->op == HA_OP_MAINTENANCE) {
		n->maintenance = e->on;
		return say(o, HA_OK, "%s is %s maintenance", name, e->on ? "in" : "no longer in");
	}
	if (ha_set_has(r->members, slot))
		return say(o, HA_REFUSED,
			   "%s is a member of the cluster view; a member is never fenced", name);
	/* It came back after the word was given, and was lost again: that loss was not meant. */
	if (e->debt && n->debt && e->debt != n->debt && !MUTANT(M_OLD_DEBT))
		return say(o, HA_REFUSED, "%s came back meanwhile and was lost again: look again", name);
	/* That a host is off is a word about a moment, and nobody knows what it did after that one. */
	if (e->op == HA_OP_CONFIRM && n->debt && !e->debt && !MUTANT(M_OLD_DEBT))
		return say(o, HA_REFUSED, "%s was not known to be lost when this was said: look again", name);
	if (e->op == HA_OP_CONFIRM) {
		if (!n->debt)
			return say(o, HA_OK, "nothing waits for %s", name);
		ha_debt_proved(r, (uint32_t)slot, "an operator confirmed it", o);
		return say(o, HA_OK, "%s counts as dead", name);
	}
	if (!n->debt) {
		n->debt = r->epoch;
		n->passed = 0;
	}
	n->fence_attempts = 0;
	n->fence_ordered = true;
	return say(o, HA_OK, "%s will be fenced", name);
}

static enum ha_code judge(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	int i;

	if (e->access < ha_op_access(e->op))
		return say(o, HA_REFUSED, "%s takes the role %s, and %s has %s", ha_op_str(e->op),
			   ha_access_str(ha_op_access(e->op)), e->actor, ha_access_str(e->access));
	switch (e->op) {
	case HA_OP_ADD:
		return op_add(r, e, o);
	case HA_OP_GROUP_SET:
	case HA_OP_GROUP_REMOVE:
		return op_group(r, e, o);
	case HA_OP_FENCE:
	case HA_OP_CONFIRM:
	case HA_OP_MAINTENANCE:
		return op_node(r, e, o);
	default:
		i = ha_record_find(r, e->domain);
		if (i < 0)
			return say(o, HA_NOT_FOUND, "no domain called %s", e->domain);
		return op_domain(r, ha_record_edit(r, (uint32_t)i), e, o);
	}
}

void ha_operator_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o)
{
	o->code = judge(r, e, o);
	ha_index_follow(r);
}
