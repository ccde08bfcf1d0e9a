/* SPDX-License-Identifier: Apache-2.0 */
/* api_view - see api_view.h: the cluster, hosts, groups, times, history.  Domains: api_view_domain.c. */
#include "ha/api/api_answer.h"
#include "ha/api/api_view.h"

#include "base/clock.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

static json_t *problems(const struct shell *s)
{
	json_t *list = json_array();
	char text[640];
	size_t i;

	for (i = 0; list && shell_problem(s, i, text, sizeof(text)); i++)
		json_array_append_new(list, api_text(text));
	return list;
}

/* What is configured here and what has the vote may differ, while cluster.yaml is rolled out. */
static json_t *witness_json(const struct shell *s, const struct ha_status *st)
{
	uint64_t here = shell_witness_id(s), id = st->witness ? st->witness : here;
	char text[17], why[256];

	if (!id)
		return json_null();
	snprintf(text, sizeof(text), "%016lx", (unsigned long)id);
	snprintf(why, sizeof(why), "%s", shell_witness_problem(s));
	if (id != here)
		snprintf(why, sizeof(why), "this host's cluster.yaml names %s", here ? "another" : "none");
	else if (!*why)
		ha_core_witness_why(shell_core(s), why, sizeof(why));
	return json_pack("{s:s, s:b, s:b, s:b, s:o}", "id", text, "votes", (int)(st->witness != 0), "usable",
			 (int)(id == here && st->witness_ok), "leans", (int)st->leans, "why", api_text(why));
}

/* Is something other than its guest to happen to @d, now or when something else has? */
static bool waits(const struct ha_record *r, const struct ha_domain *d)
{
	return ha_record_debt(r, d->owner) || (d->phase != HA_STOPPED && d->phase != HA_RUNNING);
}

json_t *api_view_status(struct shell *s)
{
	const struct ha_core *c = shell_core(s);
	const struct ha_record *r = ha_core_record(c);
	uint64_t now = clock_ms();
	struct ha_status st;
	uint32_t i, domains = 0, waiting = 0;
	char hash[24];
	json_t *o;

	ha_core_status(c, &st);
	for (i = 0; i < r->n_domains; i++) {
		domains += r->domains[i].used;
		waiting += r->domains[i].used && waits(r, &r->domains[i]);
	}
	snprintf(hash, sizeof(hash), "%016lx", (unsigned long)st.hash);
	o = json_pack("{s:s, s:s, s:I, s:b, s:s, s:b, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I}",
		      "version", DROVER_VERSION,
		      "node", ha_core_node_name(c, st.me), "id", (json_int_t)st.me,
		      "corosync", (int)shell_connected(s),
		      "standing", ha_standing_str(st.standing), "quorate", (int)st.quorate,
		      "epoch", (json_int_t)st.epoch, "seq", (json_int_t)st.seq,
		      "committed", (json_int_t)st.committed, "hash", hash,
		      "lease_ms", (json_int_t)(st.lease_until_ms > now ? st.lease_until_ms - now : 0),
		      "nodes", (json_int_t)st.n_nodes, "domains", (json_int_t)domains,
		      "vmms", (json_int_t)executor_count(shell_executor(s)));
	if (!o)
		return NULL;
	json_object_set_new(o, "problems", problems(s));
	json_object_set_new(o, "waiting", json_integer((json_int_t)waiting));
	json_object_set_new(o, "votes", json_integer((json_int_t)st.votes));
	json_object_set_new(o, "votes_needed", json_integer((json_int_t)st.needed));
	json_object_set_new(o, "witness", witness_json(s, &st));
	return o;
}

/* One word for people; the fields beside it say the rest. */
static const char *node_state(const struct shell *s, const struct ha_node_status *n)
{
	if (shell_fencing(s, n->conf.id))
		return "fencing";
	if (n->debt)
		return "lost";
	if (n->member && !n->leased)
		return "no lease";
	if (n->member)
		return n->maintenance ? "maintenance" : "online";
	if (n->in_group)
		return "joining";
	return n->alive ? "no daemon" : "offline";
}

static json_t *node_json(struct shell *s, const struct ha_node_status *n)
{
	uint64_t now = clock_ms();
	const char *text;
	enum fence_ready ready = shell_fence_ready(s, n->conf.name, &text);

	return json_pack("{s:s, s:I, s:s, s:I, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:I, s:I, s:s, s:o, s:o, s:o}",
			 "name", n->conf.name, "id", (json_int_t)n->conf.id,
			 "state", node_state(s, n), "votes", (json_int_t)n->votes,
			 "alive", (int)n->alive, "in_group", (int)n->in_group,
			 "member", (int)n->member, "leased", (int)n->leased, "debt", (int)n->debt,
			 "report_due", (int)n->report_due, "maintenance", (int)n->maintenance,
			 "domains", (json_int_t)n->domains,
			 "memory", (json_int_t)n->size.memory, "cpus", (json_int_t)n->size.cpus,
			 "fence", fence_ready_str(ready), "fence_text", api_text(text),
			 "heard_ms_ago", n->heard_ms ? json_integer((json_int_t)(now - n->heard_ms)) : json_null(),
			 "why", api_text(n->why));
}

json_t *api_view_nodes(struct shell *s)
{
	json_t *list = json_array();
	struct ha_node_status n;
	size_t i;

	for (i = 0; list && ha_core_node(shell_core(s), i, &n); i++)
		json_array_append_new(list, node_json(s, &n));
	return list;
}

json_t *api_view_node(struct shell *s, const char *name)
{
	uint32_t id = shell_node_id(s, name);
	struct ha_node_status n;
	size_t i;

	for (i = 0; id && ha_core_node(shell_core(s), i, &n); i++)
		if (n.conf.id == id)
			return node_json(s, &n);
	return NULL;
}

static json_t *group_json(const struct ha_core *c, const struct ha_group *g)
{
	json_t *hosts = json_array();
	uint32_t i;

	for (i = 0; hosts && i < g->n_hosts; i++)
		json_array_append_new(hosts, json_pack("{s:s, s:i}", "node",
						       ha_core_node_name(c, g->hosts[i].node),
						       "priority", g->hosts[i].priority));
	return json_pack("{s:s, s:b, s:o}", "name", g->name, "restricted", (int)g->restricted,
			 "hosts", hosts);
}

json_t *api_view_cpus(struct shell *s)
{
	json_t *list = json_array(), *cpu;
	struct ha_node_status n;
	size_t i;

	for (i = 0; list && ha_core_node(shell_core(s), i, &n); i++) {
		cpu = shell_host_cpu(s, n.conf.id);
		json_array_append_new(list, json_pack("{s:s, s:I, s:s, s:O}", "name", n.conf.name, "id", (json_int_t)n.conf.id,
						      "state", node_state(s, &n), "cpu", cpu ? cpu : json_null()));
	}
	return list;
}

json_t *api_view_groups(struct shell *s)
{
	const struct ha_core *c = shell_core(s);
	const struct ha_record *r = ha_core_record(c);
	json_t *list = json_array();
	uint32_t i;

	for (i = 0; list && i < HA_GROUPS_MAX; i++)
		if (r->groups[i].used)
			json_array_append_new(list, group_json(c, &r->groups[i]));
	return list;
}

json_t *api_view_timings(struct shell *s)
{
	const struct ha_timing *t = ha_core_timing(shell_core(s));
	const struct ha_timing_row *r;
	json_t *o = json_object();
	char text[4096], differ[512];
	size_t i, n;

	for (i = 0; o && (r = ha_timing_row(i)) != NULL; i++)
		json_object_set_new(o, r->name, json_integer(ha_timing_value(t, r)));
	n = ha_timing_print(t, text, sizeof(text));
	if (n < sizeof(text) && ha_core_token_differs(shell_core(s), differ, sizeof(differ))) {
		text_clean(differ);
		snprintf(text + n, sizeof(text) - n,
			 "Warning: corosync's token differs between hosts, the largest is used: %s\n",
			 differ);
	}
	if (o)
		json_object_set_new(o, "text", json_string(text));
	return o;
}

json_t *api_view_history(struct shell *s, uint64_t after)
{
	const struct history *h = shell_history(s);
	const struct history_line *l;
	json_t *list = json_array();
	uint64_t seq = history_first(h);

	/* A number that was not given out yet is an earlier droverd's: whoever follows has seen none of these. */
	if (after >= seq && after < h->next_seq)
		seq = after + 1;
	for (; list && (l = history_get(h, seq)) != NULL; seq++)
		json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:s, s:s}",
						      "seq", (json_int_t)l->seq,
						      "time_ms", (json_int_t)l->wall_ms,
						      "boot_ms", (json_int_t)l->boot_ms,
						      "level", l->level, "text", l->text));
	return list;
}

json_t *api_view(struct shell *s, const struct api_call *call)
{
	switch (call->what) {
	case API_STATUS:
		return api_view_status(s);
	case API_NODES:
		return api_view_nodes(s);
	case API_NODE:
		return api_view_node(s, call->name);
	case API_CPUS:
		return api_view_cpus(s);
	case API_DOMAINS:
		return api_view_domains(s);
	case API_DOMAIN:
		return api_view_domain(s, call->name);
	case API_DOMAIN_CONF:
		return api_view_conf(s, call->name);
	case API_GROUPS:
		return api_view_groups(s);
	case API_TIMINGS:
		return api_view_timings(s);
	case API_HISTORY:
		return api_view_history(s, call->after);
	case API_COMMAND:
	case API_ORDER:
	case API_VALIDATE:
		break;
	}
	return NULL;
}
