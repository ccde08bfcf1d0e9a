/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_view - see api_view.h.
 *
 * What is shown of a domain comes from the committed record, the same on every
 * host; `vmm` is this host's own knowledge, `migration` what its source told.
 */
#include "ha/api/api_view.h"

#include "base/clock.h"
#include "base/text.h"
#include "conf/domain.h"

#include <stdio.h>
#include <string.h>

/* What others said, and may have been cut inside a character: one byte that is no UTF-8 and JSON takes none of it. */
static json_t *text_json(const char *text)
{
	char clean[640];

	text_copy(clean, sizeof(clean), text);
	return json_string(clean);
}

static json_t *problems(const struct shell *s)
{
	json_t *list = json_array();
	char text[640];
	size_t i;

	for (i = 0; list && shell_problem(s, i, text, sizeof(text)); i++)
		json_array_append_new(list, text_json(text));
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
			 (int)(id == here && st->witness_ok), "leans", (int)st->leans, "why", text_json(why));
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
			 "fence", fence_ready_str(ready), "fence_text", text_json(text),
			 "heard_ms_ago", n->heard_ms ? json_integer((json_int_t)(now - n->heard_ms)) : json_null(),
			 "why", text_json(n->why));
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

static const char *domain_state(const struct ha_record *r, const struct ha_domain *d,
				const struct vmm *vmm)
{
	if (ha_record_debt(r, d->owner))
		return "lost";
	if (d->phase == HA_RUNNING && vmm && vmm_incarnation(vmm) == d->incarnation &&
	    (vmm_state(vmm) == VMM_PAUSED || vmm_state(vmm) == VMM_GATED))
		return vmm_state_str(vmm_state(vmm));
	/* On other hosts the record knows of a pause. */
	if (d->phase == HA_RUNNING && d->paused && !vmm)
		return "paused";
	return ha_phase_str(d->phase);
}

/* What stands in the domain's text only. */
static void add_details(json_t *o, const struct ha_record *r, uint32_t i)
{
	const struct ha_domain *d = &r->domains[i];
	struct domain_conf *conf;
	char uuid[DOMAIN_UUID_TEXT];

	if (domain_conf_parse(d->name, ha_text(r, (uint32_t)i), d->conf_len, &conf, NULL) < 0)
		return;
	domain_uuid_print(conf->uuid, uuid);
	json_object_set_new(o, "uuid", json_string(uuid));
	json_object_set_new(o, "disks", json_integer((json_int_t)conf->n_disks));
	json_object_set_new(o, "nics", json_integer((json_int_t)conf->n_nics));
	domain_conf_free(conf);
}

static json_t *name_or_null(const struct ha_core *c, uint32_t node)
{
	return node ? json_string(ha_core_node_name(c, node)) : json_null();
}

static json_t *vmm_json(struct shell *s, const struct vmm *v)
{
	char console[EXECUTOR_PATH_MAX];

	executor_console(shell_executor(s), vmm_name(v), console);
	return json_pack("{s:s, s:I, s:I, s:s}", "state", vmm_state_str(vmm_state(v)),
			 "pid", (json_int_t)vmm_pid(v),
			 "incarnation", (json_int_t)vmm_incarnation(v), "console", console);
}

/* The source's figures; a destination that has not heard of them knows half of it. */
static json_t *migration(struct shell *s, const struct ha_domain *d)
{
	json_t *figures = progress_get(shell_progress(s), d->name, d->incarnation,
				       d->moved_incarnation);
	json_t *own = executor_migration(shell_executor(s), d->name);
	const char *role = json_string_value(json_object_get(own, "role"));

	if (!figures && role && strcmp(role, "destination") == 0)
		figures = own;
	return figures;
}

/* The record's word of a domain here may be old, and whoever waits for its VMM waits for this. */
static void domain_why(const struct ha_core *c, const struct ha_domain *d, const struct vmm *vmm, char *buf, size_t size)
{
	ha_core_why(c, d->name, clock_ms(), buf, size);
	if (vmm && !vmm_answers(vmm) && (!*buf || d->phase == HA_MIGRATING))
		snprintf(buf, size, "its VMM (pid %d) to answer; whether it is still %s is not known", (int)vmm_pid(vmm),
			 vmm_state_str(vmm_state(vmm)));
	else if (vmm && !*buf && vmm_incarnation(vmm) == d->incarnation)
		snprintf(buf, size, "%s", vmm_stands(vmm));
}

static json_t *domain_json(struct shell *s, uint32_t i, bool details)
{
	const struct ha_core *c = shell_core(s);
	const struct ha_record *r = ha_core_record(c);
	const struct ha_domain *d = &r->domains[i];
	struct vmm *vmm = executor_find(shell_executor(s), d->name);
	json_t *o, *figures;
	char why[HA_REASON_MAX + 1] = "";

	domain_why(c, d, vmm, why, sizeof(why));
	o = json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:o}",
		      "name", d->name, "state", domain_state(r, d, vmm),
		      "phase", ha_phase_str(d->phase), "wanted", (int)d->wanted, "paused", (int)d->paused, "ha", (int)d->ha,
		      "group", d->group, "node", name_or_null(c, d->owner),
		      "target", name_or_null(c, d->phase == HA_MIGRATING ? d->target : 0),
		      "incarnation", (json_int_t)d->incarnation,
		      "moved_incarnation", (json_int_t)d->moved_incarnation,
		      "failures", (json_int_t)d->failures, "moves", (json_int_t)d->moves,
		      "max_restart", (json_int_t)d->max_restart, "reason", text_json(d->reason),
		      "exit_code", (json_int_t)d->exit_code, "why", text_json(why));
	if (!o)
		return NULL;
	json_object_set_new(o, "memory", json_integer((json_int_t)d->size.memory));
	json_object_set_new(o, "vcpus", json_integer((json_int_t)d->size.cpus));
	if (details)
		add_details(o, r, i);
	if (vmm)
		json_object_set_new(o, "vmm", vmm_json(s, vmm));
	figures = details ? migration(s, d) : NULL;
	if (figures)
		json_object_set(o, "migration", figures);
	return o;
}

json_t *api_view_domains(struct shell *s)
{
	const struct ha_record *r = ha_core_record(shell_core(s));
	json_t *list = json_array();
	uint32_t i;

	for (i = 0; list && i < r->n_domains; i++)
		if (r->domains[i].used)
			json_array_append_new(list, domain_json(s, i, false));
	return list;
}

json_t *api_view_domain(struct shell *s, const char *name)
{
	int i = ha_record_find(ha_core_record(shell_core(s)), name);

	return i < 0 ? NULL : domain_json(s, (uint32_t)i, true);
}

json_t *api_view_conf(struct shell *s, const char *name)
{
	const struct ha_record *r = ha_core_record(shell_core(s));
	int i = ha_record_find(r, name);

	if (i < 0)
		return NULL;
	return json_pack("{s:s, s:s%}", "name", name, "conf", ha_text(r, (uint32_t)i),
			 (size_t)r->domains[i].conf_len);
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
