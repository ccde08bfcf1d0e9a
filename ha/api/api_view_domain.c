/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_view_domain - what the API shows of domains (api_view.h).
 *
 * It comes from the committed record, the same on every host; `vmm` is this host's own knowledge,
 * `migration` what its source told.
 */
#include "ha/api/api_answer.h"
#include "ha/api/api_view.h"

#include "base/clock.h"
#include "conf/domain.h"

#include <stdio.h>
#include <string.h>

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

/* By vCPU, as in its file; null: none has a list. */
static json_t *pin_json(const struct domain_conf *conf)
{
	char text[CPU_LIST_TEXT], key[12];
	json_t *o;

	if (!conf->cpu.pin)
		return json_null();
	o = json_object();
	for (uint32_t i = 0; i < conf->vcpus; i++) {
		snprintf(key, sizeof(key), "%u", i);
		if (cpu_list_any(&conf->cpu.pin[i]))
			json_object_set_new(o, key, json_string(cpu_list_print(&conf->cpu.pin[i], text, sizeof(text))));
	}
	return o;
}

static json_t *cpu_json(const struct domain_conf *conf)
{
	const struct cpu_topology *t = &conf->cpu.topology;

	return json_pack("{s:s, s:i, s:i, s:i, s:o}", "model", conf->cpu.model ? conf->cpu.model->name : "host", "sockets",
			 (int)t->sockets, "cores", (int)t->cores, "threads", (int)t->threads, "pin", pin_json(conf));
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
	json_object_set_new(o, "cpu", cpu_json(conf));
	domain_conf_free(conf);
}

static json_t *name_or_null(const struct ha_core *c, uint32_t node)
{
	return node ? json_string(ha_core_node_name(c, node)) : json_null();
}

/* How its newest reboot went; NULL: there was none. */
static json_t *reboot_json(const struct vmm *v)
{
	json_t *o = json_object_get(vmm_query_json(v), "reboot");
	const char *phase = json_string_value(json_object_get(o, "phase")), *why = json_string_value(json_object_get(o, "why"));

	return phase ? json_pack("{s:o, s:o}", "phase", api_text(phase), "why", api_text(why ? why : "")) : NULL;
}

static json_t *vmm_json(struct shell *s, const struct vmm *v)
{
	char console[EXECUTOR_PATH_MAX], control[EXECUTOR_PATH_MAX];
	json_t *o, *reboot;

	executor_console(shell_executor(s), vmm_name(v), console);
	executor_control(shell_executor(s), vmm_name(v), control);
	o = json_pack("{s:s, s:I, s:I, s:s, s:s}", "state", vmm_state_str(vmm_state(v)),
		      "pid", (json_int_t)vmm_pid(v),
		      "incarnation", (json_int_t)vmm_incarnation(v), "console", console, "control", control);
	reboot = o ? reboot_json(v) : NULL;
	if (reboot)
		json_object_set_new(o, "reboot", reboot);
	return o;
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
		      "max_restart", (json_int_t)d->max_restart, "reason", api_text(d->reason),
		      "exit_code", (json_int_t)d->exit_code, "why", api_text(why));
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
