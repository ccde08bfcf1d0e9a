/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shell_problems - what would fail when it is needed, told while nothing depends on it.
 *
 *   - a host of cluster.yaml that corosync does not have (its fence devices are for nobody)
 *   - a changed node list of corosync's that cannot be taken over
 *   - a name that two hosts of corosync have
 *   - a host of corosync that no device could fence
 *   - an address where no migration can arrive
 *   - a VMM that does not answer (what is shown of it may be old), or that stands still, for a disk that is full
 *   - a witness that cannot be read, or gives no vote
 *
 * Each is an alarm in the log and in the history when it begins, a line of `drover status` as
 * long as it lasts, and told again when it ends.  droverd runs all the same: domains are better off
 * with half a cluster than with none.
 */
#include "ha/shell/shell_int.h"

#include "base/log.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static void alarm_say(struct shell *s, const char *text)
{
	log_error("%s", text);
	history_add(&s->history, "alarm", text);
}

/* ----------------------------------------------------------- fence devices */

static void on_fence_changed(void *arg, const char *name, enum fence_ready now, const char *text)
{
	char line[HISTORY_TEXT_MAX + 1];
	struct shell *s = arg;

	if (now == FENCE_FAILS) {
		snprintf(line, sizeof(line), "%s could not be fenced from here: %s", name, text);
		alarm_say(s, line);
	} else if (now == FENCE_READY) {
		shell_say(s, false, "%s can be fenced from here", name);
	}
}

static bool is_member(void *arg, const char *name)
{
	const struct shell *s = arg;
	struct ha_node_status n;
	size_t i;

	for (i = 0; ha_core_node(s->core, i, &n); i++)
		if (strcmp(n.conf.name, name) == 0)
			return n.member;
	return false;
}

static bool is_being_fenced(void *arg, const char *name)
{
	const struct shell *s = arg;
	uint32_t id = shell_node_id(s, name);

	return id && fence_runs_busy(s->fence, id);
}

static const struct fence_watch_ops watch_ops = {
	.changed = on_fence_changed,
	.is_on = is_member,
	.busy = is_being_fenced,
};

/* ---------------------------------------------------------- names of hosts */

static bool in_corosync(const struct shell *s, const char *name)
{
	return cmap_find(&s->nodes, name) != -1;
}

static void shared_name(const struct cmap_node *n, char *text, size_t size)
{
	snprintf(text, size, "corosync.conf: node %u is not the only one called '%s': none of them can be fenced, or be "
			     "meant by that name",
		 n->id, n->name);
}

static void unknown_host(const struct shell *s, const char *name, char *text, size_t size)
{
	const char *meant = NULL;
	uint32_t i;

	for (i = 0; i < s->nodes.n_nodes && !meant; i++)
		if (strcasecmp(s->nodes.nodes[i].name, name) == 0)
			meant = s->nodes.nodes[i].name;
	snprintf(text, size, "cluster.yaml: host '%s' is not in corosync's node list, so what stands there is for nobody%s%s%s",
		 name, meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
}

static void refused_nodes(const char *why, char *text, size_t size)
{
	snprintf(text, size, "the changed node list is not taken over, the one before counts: %s", why);
}

void shell_problems_nodes(struct shell *s, const char *why)
{
	char line[HISTORY_TEXT_MAX + 1];

	if (!strncmp(s->nodes_problem, why, sizeof(s->nodes_problem) - 1))
		return;
	text_copy(s->nodes_problem, sizeof(s->nodes_problem), why);
	if (!*why) {
		log_info("corosync's node list can be used again");
		return;
	}
	refused_nodes(why, line, sizeof(line));
	alarm_say(s, line);
}

/* ------------------------------------------------------------------ address */

static void address_line(const char *problem, char *text, size_t size)
{
	snprintf(text, size, "no migration can arrive here: %s; set this host's address in cluster.yaml, or its "
			     "name's in /etc/hosts",
		 problem);
}

static void on_address(void *arg, const char *text)
{
	char line[HISTORY_TEXT_MAX + 1];
	struct shell *s = arg;

	snprintf(s->address_problem, sizeof(s->address_problem), "%s", text);
	if (*text && s->nodes.n_nodes > 1) {
		address_line(text, line, sizeof(line));
		alarm_say(s, line);
	} else if (!*text) {
		log_info("migrations can arrive here, at %s", s->executor_conf.address);
	}
}

const char *shell_address_problem(const struct shell *s)
{
	return s->nodes.n_nodes > 1 ? s->address_problem : "";
}

/* --------------------------------------------------------------------- door */

void shell_problems_start(struct shell *s)
{
	s->fence_watch = fence_watch_open(s->loop, s->cluster, ha_core_node_name(s->core, s->me),
					  FENCE_WATCH_MS, FENCE_WATCH_BAD_MS, &watch_ops, s);
	s->address_check = address_check_open(s->loop, s->executor_conf.address, on_address, s);
	if (!s->fence_watch || !s->address_check)
		shell_stop(s, "out of memory");
}

void shell_problems_address(struct shell *s)
{
	if (!s->address_check)
		return;
	address_check_close(s->address_check);
	s->address_problem[0] = '\0';
	s->address_check = address_check_open(s->loop, s->address, on_address, s);
	if (!s->address_check)
		shell_stop(s, "out of memory");
}

void shell_problems_stop(struct shell *s)
{
	fence_watch_close(s->fence_watch);
	s->fence_watch = NULL;
	address_check_close(s->address_check);
	s->address_check = NULL;
}

void shell_problems_config(struct shell *s)
{
	char line[HISTORY_TEXT_MAX + 1];
	struct cluster_host *h = s->cluster->hosts;
	uint32_t i;

	for (i = 0; i < s->cluster->n_hosts; i++) {
		if (in_corosync(s, h[i].name))
			continue;
		unknown_host(s, h[i].name, line, sizeof(line));
		alarm_say(s, line);
	}
	for (i = 0; i < s->nodes.n_nodes; i++) {
		if (cmap_find(&s->nodes, s->nodes.nodes[i].name) != -2)
			continue;
		shared_name(&s->nodes.nodes[i], line, sizeof(line));
		alarm_say(s, line);
	}
	for (i = 0; i < s->nodes.n_nodes && s->nodes.n_nodes > 1; i++) {
		const struct cluster_host *host = cluster_conf_host(s->cluster, s->nodes.nodes[i].name);

		if (s->nodes.nodes[i].id != s->me && (!host || !host->n_fence))
			shell_say(s, true, "%s has no fence device: when it is lost, only waiting proves that it is dead",
				  s->nodes.nodes[i].name);
	}
}

enum fence_ready shell_fence_ready(const struct shell *s, const char *name, const char **text)
{
	return fence_watch_get(s->fence_watch, name, text);
}

bool shell_problem(const struct shell *s, size_t i, char *text, size_t size)
{
	size_t n = 0, k;
	const char *why;
	const struct vmm *v;

	if (store_failing(s->store) && n++ == i) {
		snprintf(text, size, "%s: this host has no vote until that works", store_failing(s->store));
		return true;
	}
	if (*s->nodes_problem && n++ == i) {
		refused_nodes(s->nodes_problem, text, size);
		return true;
	}
	if (*shell_witness_problem(s) && n++ == i) {
		snprintf(text, size, "witness: %s", shell_witness_problem(s));
		return true;
	}
	for (k = 0; s->executor && (v = executor_hanging(s->executor, k)); k++) {
		if (n++ != i)
			continue;
		snprintf(text, size, "%s: its VMM (pid %d) does not answer: whether it is still %s is not known", vmm_name(v),
			 (int)vmm_pid(v), vmm_state_str(vmm_state(v)));
		return true;
	}
	for (k = 0; s->executor && (v = executor_standing(s->executor, k)); k++) {
		if (n++ != i)
			continue;
		snprintf(text, size, "%s stands still: %s", vmm_name(v), vmm_stands(v));
		return true;
	}
	if (*shell_address_problem(s) && n++ == i) {
		address_line(s->address_problem, text, size);
		return true;
	}
	for (k = 0; k < s->nodes.n_nodes; k++) {
		if (cmap_find(&s->nodes, s->nodes.nodes[k].name) != -2 || n++ != i)
			continue;
		shared_name(&s->nodes.nodes[k], text, size);
		return true;
	}
	for (k = 0; k < s->cluster->n_hosts; k++) {
		const char *name = s->cluster->hosts[k].name;

		if (!in_corosync(s, name) && n++ == i) {
			unknown_host(s, name, text, size);
			return true;
		}
		if (fence_watch_get(s->fence_watch, name, &why) == FENCE_FAILS && n++ == i)
			return snprintf(text, size, "%s could not be fenced from here: %s", name, why) > 0;
	}
	return false;
}
