/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command - commands of operators on their way: queued until an epoch stands, proposed as an
 * entry, and answered by the node that took them once they are committed (apply/operator.c judges).
 *
 * A command that was on its way when the view changed is looked for in the
 * record (last_op) before it is proposed again: it happens once.
 */
#include "ha/core/core_int.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void ha_op_done(struct ha_core *c, struct ha_pending *p)
{
	assert(p->used && c->n_ops); /* each command is answered once */
	p->used = false;
	c->n_ops--;
}

void ha_op_applied(struct ha_core *c, const struct ha_entry *e, enum ha_code code, const char *text)
{
	for (uint32_t i = 0; i < OPS_MAX; i++) {
		struct ha_pending *p = &c->ops[i];

		if (!p->used || !p->sent || p->serial != e->serial)
			continue;
		ha_op_done(c, p);
		ha_out_reply(c, p->request, code, text);
	}
}

static const char *malformed(const struct ha_command *cmd)
{
	if (cmd->op >= HA_OPS)
		return "unknown command";
	if (!cmd->actor || !cmd->actor[0] || cmd->access >= HA_ACCESSES)
		return "a command needs somebody who gives it";
	if (cmd->domain && !ha_name_valid(cmd->domain))
		return "not a valid domain name";
	if (cmd->group && cmd->group[0] && !ha_name_valid(cmd->group))
		return "not a valid group name";
	if (cmd->op == HA_OP_ADD &&
	    (!cmd->domain || !cmd->conf || !cmd->conf_len || cmd->conf_len > HA_CONF_MAX))
		return "a domain needs a name and a text of at most 64 KiB";
	if (cmd->op == HA_OP_ADD && (!cmd->size.memory || !cmd->size.cpus))
		return "a domain needs memory and CPUs";
	if (cmd->n_hosts > HA_NODES_MAX)
		return "too many hosts";
	if (cmd->n_claims > HA_CLAIMS_MAX)
		return "a domain with too many devices";
	/* Here, where hosts are numbers: a name and a number may mean the same one. */
	for (size_t i = 1; i < cmd->n_hosts; i++)
		for (size_t j = 0; j < i; j++)
			if (cmd->hosts[i].node == cmd->hosts[j].node)
				return "a host is in the list twice";
	return NULL;
}

/*
 * The loss that whoever gave this command can have looked at. A command may lie in the socket
 * of a daemon that stood still, while the host came back and was lost again.
 */
static uint64_t debt_meant(const struct ha_core *c, const struct ha_command *cmd)
{
	int slot = ha_record_slot(&c->rec, cmd->node);
	const struct ha_fencing *f = slot < 0 ? NULL : &c->fencing[slot];

	if (!f || f->debt != c->rec.nodes[slot].debt)
		return 0;
	return !cmd->asked_ms || f->seen_ms <= cmd->asked_ms || MUTANT(M_OLD_DEBT) ? f->debt : 0;
}

void ha_op_event(struct ha_core *c, const struct ha_event *ev)
{
	const struct ha_command *cmd = &ev->op.cmd;
	const char *bad = malformed(cmd);
	struct ha_pending *p = NULL;

	if (bad) {
		ha_out_reply(c, ev->op.request, HA_USAGE, bad);
		return;
	}
	if (c->form.stage == ST_ALONE || (c->form.stage != ST_STANDS && ha_group_votes(c) < ha_majority(c) && !c->form.lacks)) {
		char text[HA_REASON_MAX + 1];

		ha_why_no_view(c, text, sizeof(text));
		ha_out_reply(c, ev->op.request, HA_REFUSED, text);
		return;
	}
	for (uint32_t i = 0; i < OPS_MAX && !p; i++)
		if (!c->ops[i].used)
			p = &c->ops[i];
	if (!p) {
		ha_out_reply(c, ev->op.request, HA_ERROR, "too many commands at once; try again");
		return;
	}
	assert(c->n_ops < OPS_MAX);
	p->used = true;
	c->n_ops++;
	p->sent = false;
	p->debt = debt_meant(c, cmd);
	p->request = ev->op.request;
	p->deadline_ms = c->now + c->t.command;
	p->order = ++c->op_order;
	p->cmd = *cmd;
	if (!cmd->asked_ms)
		p->cmd.asked_ms = c->now;
	ha_copy(p->actor, sizeof(p->actor), cmd->actor);
	ha_copy(p->domain, sizeof(p->domain), cmd->domain);
	ha_copy(p->group, sizeof(p->group), cmd->group);
	if (cmd->conf)
		memcpy(p->conf, cmd->conf, cmd->conf_len);
	if (cmd->n_hosts)
		memcpy(p->hosts, cmd->hosts, cmd->n_hosts * sizeof(p->hosts[0]));
	if (cmd->n_claims)
		memcpy(p->claims, cmd->claims, cmd->n_claims * sizeof(p->claims[0]));
}

/*
 * An order to fence may come before its loss is in the record, but not before its host was a member
 * last: then it was about another loss, and what took the host away since may be no more than an upgrade.
 */
static bool came_back(const struct ha_core *c, const struct ha_pending *p)
{
	int slot = ha_record_slot(&c->rec, p->cmd.node);

	return p->cmd.op == HA_OP_FENCE && slot >= 0 && !ha_set_has(c->rec.members, slot) &&
	       c->fencing[slot].in_ms > p->cmd.asked_ms && !MUTANT(M_OLD_DEBT);
}

static bool send_op(struct ha_core *c, struct ha_pending *p)
{
	struct ha_entry *e;
	char text[160];

	if (came_back(c, p)) {
		snprintf(text, sizeof(text), "%s came back after this was said, and is away again: look again",
			 ha_core_node_name(c, p->cmd.node));
		ha_op_done(c, p);
		ha_out_reply(c, p->request, HA_REFUSED, text);
		return true;
	}
	e = ha_log_prepare(c, HA_E_OP, p->domain, p->cmd.node);
	if (!e)
		return false;
	assert(p->used && !p->sent);
	assert(p->cmd.n_hosts <= HA_NODES_MAX && p->cmd.n_claims <= HA_CLAIMS_MAX && p->cmd.op < HA_OPS);
	e->op = p->cmd.op;
	ha_copy(e->actor, sizeof(e->actor), p->actor);
	e->access = p->cmd.access;
	if (!p->debt && p->cmd.op == HA_OP_FENCE) /* given while the loss was not in the record yet */
		p->debt = ha_record_debt(&c->rec, p->cmd.node);
	e->debt = p->debt;
	ha_copy(e->group, sizeof(e->group), p->group);
	e->ha = p->cmd.ha;
	e->started = p->cmd.started;
	e->force = p->cmd.force;
	e->restricted = p->cmd.restricted;
	e->on = p->cmd.on;
	e->max_restart = p->cmd.max_restart;
	e->conf = (const uint8_t *)p->conf;
	e->conf_len = p->cmd.op == HA_OP_ADD ? p->cmd.conf_len : 0;
	e->size = p->cmd.size;
	e->n_hosts = p->cmd.op == HA_OP_GROUP_SET ? (uint32_t)p->cmd.n_hosts : 0;
	memcpy(e->hosts, p->hosts, e->n_hosts * sizeof(e->hosts[0]));
	e->n_claims = p->cmd.op == HA_OP_ADD ? (uint32_t)p->cmd.n_claims : 0;
	memcpy(e->claims, p->claims, e->n_claims * sizeof(e->claims[0]));
	if (!ha_log_propose(c, e))
		return false;
	p->sent = true;
	p->serial = e->serial;
	if (MUTANT(M_FORGET_OP)) {
		ha_out_reply(c, p->request, HA_OK, "mutant");
		ha_op_done(c, p);
	}
	return true;
}

static const char *late_text(const struct ha_pending *p)
{
	if (p->sent)
		return "not confirmed by a majority in time; it may still happen";
	return "the cluster's view did not stand in time; nothing was done";
}

void ha_op_tick(struct ha_core *c)
{
	bool text_on_its_way = false;

	if (!c->n_ops)
		return;
	for (uint32_t i = 0; i < OPS_MAX; i++) {
		struct ha_pending *p = &c->ops[i];

		if (!p->used)
			continue;
		if (c->now >= p->deadline_ms) {
			ha_op_done(c, p);
			ha_out_reply(c, p->request, HA_TIMEOUT, late_text(p));
			continue;
		}
		ha_wake_at(c, p->deadline_ms);
		text_on_its_way |= p->sent && p->cmd.op == HA_OP_ADD;
	}
	while (c->form.stage == ST_STANDS) {
		struct ha_pending *next = NULL;

		for (uint32_t i = 0; i < OPS_MAX; i++)
			if (c->ops[i].used && !c->ops[i].sent &&
			    (!next || c->ops[i].order < next->order))
				next = &c->ops[i];
		/* One domain text at a time per node keeps every log tail within its bytes. */
		if (!next || (next->cmd.op == HA_OP_ADD && text_on_its_way) || !send_op(c, next))
			return;
		text_on_its_way |= next->cmd.op == HA_OP_ADD;
	}
}
