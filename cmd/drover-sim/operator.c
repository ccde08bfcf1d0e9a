/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operator - people with commands, and what they may rely on afterwards (I6).
 *
 * Each command that leaves something behind is a wish: a thing (this domain exists, is
 * protected, is wanted; this group exists; this host is in maintenance) and its value.
 * A wish that was answered with success lies somewhere between the entry that its host
 * had applied when it was asked and the one at which it answered.  Where two answers
 * cannot be put in order by that, or a command may still happen (no answer, or "in
 * time" was not enough), nothing is expected of the thing any more.
 */
#include "cmd/drover-sim/sim.h"

#include <assert.h>
#include <string.h>

#define GROUPS 3

static const char conf[] = "name: test\nmemory: 1 GiB\n";
static const char *const groups[GROUPS] = { "g0", "g1", "g2" };

/* ---------------------------------------------------------------------- wishes */

static struct sim_wish *operator_wish(struct sim *s, enum sim_wish_kind kind, uint32_t i)
{
	return &s->wishes[kind][i];
}

static void want(struct sim *s, struct sim_request *q, enum sim_wish_kind kind, uint32_t i, bool value)
{
	q->wish[q->n_wishes] = operator_wish(s, kind, i);
	q->value[q->n_wishes] = value;
	q->wish[q->n_wishes++]->open++;
}

static uint32_t group_of(const char *name)
{
	return (uint32_t)(name[1] - '0');
}

static void wishes_of(struct sim *s, struct sim_request *q, const struct ha_command *cmd)
{
	uint32_t d = q->dom;

	switch (cmd->op) {
	case HA_OP_ADD:
		want(s, q, WISH_EXISTS, d, true);
		want(s, q, WISH_PROTECTED, d, cmd->ha);
		want(s, q, WISH_WANTED, d, cmd->started);
		break;
	case HA_OP_REMOVE:
		want(s, q, WISH_EXISTS, d, false);
		break;
	case HA_OP_START:
		want(s, q, WISH_WANTED, d, true);
		break;
	case HA_OP_STOP:
		want(s, q, WISH_WANTED, d, false);
		break;
	case HA_OP_HA_ON:
	case HA_OP_HA_OFF:
		want(s, q, WISH_PROTECTED, d, cmd->op == HA_OP_HA_ON);
		break;
	case HA_OP_GROUP_SET:
	case HA_OP_GROUP_REMOVE:
		want(s, q, WISH_GROUP, group_of(cmd->group), cmd->op == HA_OP_GROUP_SET);
		break;
	case HA_OP_MAINTENANCE:
		want(s, q, WISH_MAINTENANCE, cmd->node - 1, cmd->on);
		break;
	default:
		break;
	}
}

/* An answer that says that something was done: between which entries? */
static void wish_granted(struct sim_wish *w, bool value, uint64_t lo, uint64_t hi)
{
	if (w->known && lo < w->hi && w->value != value) {
		/* Behind it, or before it? Both are possible: nothing is known. */
		w->unknown = true;
		w->hi = hi > w->hi ? hi : w->hi;
		return;
	}
	if (w->known && lo < w->hi) {
		w->hi = hi > w->hi ? hi : w->hi;
		return;
	}
	*w = (struct sim_wish){ .known = true, .value = value, .hi = hi, .open = w->open, .unknown = w->unknown };
}

void operator_asked(struct sim *s, uint32_t h, const struct ha_command *cmd)
{
	struct sim_request *q = &s->requests[s->request % REQUESTS_MAX];

	*q = (struct sim_request){
		.op = cmd->op,
		.host = h,
		.lo = s->host[h].checked,
		.dom = cmd->domain ? sim_dom(cmd->domain) : SIM_DOMAINS,
	};
	if (q->dom < SIM_DOMAINS)
		s->asked[q->dom]++;
	wishes_of(s, q, cmd);
	if (q->dom == SIM_DOMAINS)
		return;
	s->stop_asked[q->dom] |= cmd->op == HA_OP_STOP;
	s->removed[q->dom] |= cmd->op == HA_OP_REMOVE;
	s->unprotected[q->dom] |= cmd->op == HA_OP_HA_OFF || (cmd->op == HA_OP_ADD && (!cmd->ha || !cmd->started));
}

void operator_answered(struct sim *s, uint32_t h, struct sim_request *q, enum ha_code code)
{
	struct ha_status st;

	if (q->op == HA_OP_CLEAR && code == HA_ERROR && s->quiet_world)
		s->clear_due[q->dom] = true;
	ha_core_status(s->host[h].core, &st);
	for (uint32_t i = 0; i < q->n_wishes; i++) {
		q->wish[i]->open--;
		if (code == HA_OK)
			wish_granted(q->wish[i], q->value[i], q->lo, st.committed);
		else if (code != HA_REFUSED && code != HA_NOT_FOUND && code != HA_USAGE)
			q->wish[i]->unknown = true;
	}
}

/* Can something be expected of it? */
static bool certain(const struct sim_wish *w)
{
	return w->known && !w->open && !w->unknown;
}

bool operator_keeps_stopped(struct sim *s, uint32_t d, uint64_t *since)
{
	const struct sim_wish *w = operator_wish(s, WISH_WANTED, d);

	*since = w->hi;
	return certain(w) && !w->value;
}

/* What is missing of what was answered with success, in @r; NULL: nothing. */
const char *operator_missing(struct sim *s, const struct ha_record *r)
{
	for (uint32_t d = 0; d < s->o.domains; d++) {
		const struct sim_wish *w = operator_wish(s, WISH_EXISTS, d);
		int i = ha_record_find(r, sim_dom_name(d));

		if (certain(w) && w->value != (i >= 0))
			return w->value ? "a domain that was added" : "a domain's removal";
		w = operator_wish(s, WISH_PROTECTED, d);
		if (i >= 0 && certain(w) && w->value != r->domains[i].ha)
			return "a domain's protection";
		w = operator_wish(s, WISH_WANTED, d);
		if (i >= 0 && certain(w) && !w->value && r->domains[i].wanted)
			return "a domain's stop";
	}
	for (uint32_t g = 0; g < GROUPS; g++) {
		const struct sim_wish *w = operator_wish(s, WISH_GROUP, g);

		if (certain(w) && w->value != (ha_record_find_group(r, groups[g]) >= 0))
			return "a group";
	}
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		const struct sim_wish *w = operator_wish(s, WISH_MAINTENANCE, h);
		int slot = ha_record_slot(r, h + 1);

		if (slot >= 0 && certain(w) && w->value != r->nodes[slot].maintenance)
			return "a host's maintenance";
	}
	return NULL;
}

/* ------------------------------------------------------------- random commands */

static uint32_t any_host(struct sim *s)
{
	return (uint32_t)sim_range(s, 0, s->o.hosts - 1);
}

/* Any host, or none in particular. */
static uint32_t some_node(struct sim *s)
{
	return sim_chance(s, 50) ? any_host(s) + 1 : 0;
}

static const char *some_group(struct sim *s)
{
	return sim_chance(s, 50) ? groups[sim_range(s, 0, GROUPS - 1)] : NULL;
}

void operator_add(struct sim *s, uint32_t d, bool plain)
{
	struct ha_command cmd = {
		.op = HA_OP_ADD,
		.domain = sim_dom_name(d),
		.conf = conf,
		.conf_len = sizeof(conf) - 1,
		.ha = true,
		.started = true,
	};

	if (!plain) {
		cmd.ha = sim_chance(s, 85);
		cmd.started = sim_chance(s, 85);
		cmd.node = sim_chance(s, 20) ? any_host(s) + 1 : 0;
		cmd.group = some_group(s);
		cmd.max_restart = sim_chance(s, 20) ? 2 : 0;
	}
	host_command(s, any_host(s), &cmd);
}

static void group_command(struct sim *s)
{
	struct ha_command cmd = { .op = HA_OP_GROUP_SET, .group = groups[sim_range(s, 0, GROUPS - 1)] };
	struct ha_group_host hosts[SIM_HOSTS];
	uint32_t skip = any_host(s);

	if (sim_chance(s, 30))
		cmd.op = HA_OP_GROUP_REMOVE;
	cmd.restricted = sim_chance(s, 50);
	for (uint32_t h = 0; h < s->o.hosts; h++)
		if (h != skip || s->o.hosts == 1)
			hosts[cmd.n_hosts++] = (struct ha_group_host){ h + 1, (int32_t)sim_range(s, 0, 3) };
	cmd.hosts = hosts;
	host_command(s, any_host(s), &cmd);
}

/* About a host; a human says that one is off only while it is off. */
static void node_command(struct sim *s)
{
	struct ha_command cmd = { .node = any_host(s) + 1 };

	switch (sim_range(s, 0, 3)) {
	case 0:
		cmd.op = HA_OP_FENCE;
		break;
	case 1:
		cmd.op = HA_OP_CONFIRM;
		if (s->host[cmd.node - 1].up)
			return;
		break;
	default:
		cmd.op = HA_OP_MAINTENANCE;
		cmd.on = sim_chance(s, 30);
		break;
	}
	host_command(s, any_host(s), &cmd);
}

void operator_random(struct sim *s)
{
	uint32_t d = (uint32_t)sim_range(s, 0, s->o.domains - 1);
	struct ha_command cmd = { .domain = sim_dom_name(d) };

	switch (sim_range(s, 0, 25)) {
	case 0:
	case 1:
	case 2:
		operator_add(s, d, false);
		return;
	case 3:
		cmd.op = HA_OP_STOP;
		cmd.force = sim_chance(s, 30);
		break;
	case 4:
	case 5:
	case 6:
		cmd.op = HA_OP_START;
		cmd.node = sim_chance(s, 20) ? any_host(s) + 1 : 0;
		break;
	case 7:
		if (!s->stop_asked[d])
			return;
		cmd.op = HA_OP_REMOVE;
		break;
	case 8:
		cmd.op = HA_OP_CANCEL;
		break;
	case 9:
	case 10:
	case 11:
		node_command(s);
		return;
	case 12:
		group_command(s);
		return;
	case 13:
		cmd.op = sim_chance(s, 70) ? HA_OP_HA_ON : HA_OP_HA_OFF;
		cmd.group = some_group(s);
		break;
	case 14:
		cmd.op = HA_OP_CLEAR;
		break;
	case 15:
	case 16:
		cmd.op = HA_OP_PAUSE;
		cmd.on = sim_chance(s, 60);
		break;
	default:
		cmd.op = HA_OP_MIGRATE;
		cmd.on = sim_chance(s, 15);
		cmd.node = some_node(s);
		break;
	}
	host_command(s, any_host(s), &cmd);
}

/* Nobody stays in maintenance, and nothing waits for a pause that may be five minutes. */
void operator_peace(struct sim *s)
{
	for (uint32_t n = 0; n < s->o.hosts; n++) {
		struct ha_command cmd = { .op = HA_OP_MAINTENANCE, .node = n + 1, .on = false };

		/* By two hosts: one may still be on its way back into the group. */
		host_command(s, n, &cmd);
		if (s->o.hosts > 1)
			host_command(s, (n + 1) % s->o.hosts, &cmd);
	}
	for (uint32_t d = 0; d < s->o.domains; d++)
		s->clear_due[d] = true;
	operator_clear(s);
}

/* A host takes some commands at once, and says so of the rest: those are given again. */
void operator_clear(struct sim *s)
{
	assert(s->o.hosts);
	for (uint32_t d = 0; d < s->o.domains; d++) {
		struct ha_command cmd = { .op = HA_OP_CLEAR, .domain = sim_dom_name(d) };

		if (!s->clear_due[d])
			continue;
		s->clear_due[d] = false;
		host_command(s, d % s->o.hosts, &cmd);
	}
}
