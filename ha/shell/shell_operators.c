/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shell_operators - what operators order, and whom the answer is for.
 *
 * A command goes to the core, and is answered by what the cluster came to.  An order goes to one VMM of
 * this host and is answered by that: it changes nothing that another host would have to know.
 */
#include "ha/shell/shell_int.h"

#include <stdlib.h>
#include <string.h>

struct request {
	struct request *next;
	uint64_t id;
	shell_reply reply;
	void *arg;
	char about[HA_NAME_MAX + HA_ACTOR_MAX + 40]; /* an order's: "root on n1: reset web" */
	char domain[HA_NAME_MAX + 1];
	bool reboot;
};

/* NULL without memory, and the answer is given. */
static struct request *begin(struct shell *s, shell_reply reply, void *arg)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r) {
		reply(arg, HA_ERROR, "out of memory");
		return NULL;
	}
	r->id = ++s->next_request;
	r->reply = reply;
	r->arg = arg;
	r->next = s->requests;
	s->requests = r;
	return r;
}

static struct request *take(struct shell *s, uint64_t id)
{
	struct request **p, *r;

	for (p = &s->requests; (r = *p) != NULL; p = &r->next)
		if (r->id == id) {
			*p = r->next;
			return r;
		}
	return NULL;
}

void shell_answer(struct shell *s, uint64_t request, enum ha_code code, const char *text)
{
	struct request *r = take(s, request);

	if (r)
		r->reply(r->arg, code, text);
	free(r);
}

void shell_forget(struct shell *s, uint64_t request)
{
	struct request *r = take(s, request);

	if (!r || !r->about[0]) {
		free(r);
		return;
	}
	r->reply = NULL; /* the history hears what came of an order all the same */
	r->next = s->requests;
	s->requests = r;
}

void shell_forget_all(struct shell *s)
{
	while (s->requests)
		free(take(s, s->requests->id));
}

uint64_t shell_command(struct shell *s, const struct ha_command *cmd, shell_reply reply, void *arg)
{
	struct ha_event ev = { .kind = HA_EV_OPERATOR };
	struct request *r = begin(s, reply, arg);
	uint64_t id = s->next_request;

	if (!r)
		return 0;
	ev.op.request = id;
	ev.op.cmd = *cmd;
	shell_event(s, &ev);
	return id;
}

/* ------------------------------------------------------------------ orders */

/* The VMM that runs @name here, in the record's name; or NULL with why not. */
static struct vmm *vmm_here(struct shell *s, const struct shell_order *o, enum ha_code *code, char *why, size_t size)
{
	const struct ha_record *r = ha_core_record(s->core);
	int i = ha_record_find(r, o->domain);
	const struct ha_domain *d = i < 0 ? NULL : &r->domains[i];
	struct vmm *v = d && d->owner == s->me ? executor_find(s->executor, o->domain) : NULL;

	*code = d ? HA_REFUSED : HA_NOT_FOUND;
	if (!d)
		snprintf(why, size, "no domain called %s", o->domain);
	else if (!d->owner)
		snprintf(why, size, "domain '%s' is %s", d->name, ha_phase_str(d->phase));
	else if (ha_record_debt(r, d->owner))
		snprintf(why, size, "domain '%s' was on %s, which is lost", d->name, ha_core_node_name(s->core, d->owner));
	else if (d->owner != s->me)
		snprintf(why, size, "domain '%s' runs on %s: use drover %s there", d->name,
			 ha_core_node_name(s->core, d->owner), o->what);
	else if ((d->phase != HA_RUNNING && d->phase != HA_MIGRATING) || !v || vmm_incarnation(v) != d->incarnation)
		snprintf(why, size, "domain '%s' is %s", d->name, ha_phase_str(d->phase));
	else
		return v;
	return NULL;
}

/* For the history too, whoever waits for it: who did what to whom stays. */
static void on_ordered(void *arg, uint64_t number, int code, const json_t *ret, const char *text)
{
	const char *waits = json_string_value(json_object_get(ret, "waits"));
	struct shell *s = arg;
	struct request *r = take(s, number);
	char said[HA_REASON_MAX + 1];

	if (!r)
		return;
	/* What was asked is right: a VMM that outlived an upgrade of droverd does not know it yet. */
	if (code == EXIT_USAGE) {
		code = EXIT_REFUSED;
		snprintf(said, sizeof(said), "the VMM of domain '%s' was started by an older drover-hv and cannot: %s", r->domain, text);
	} else if (code)
		snprintf(said, sizeof(said), "%s", text);
	else if (waits)
		snprintf(said, sizeof(said), "domain '%s' will be reset; it waits: %s", r->domain, waits);
	else
		snprintf(said, sizeof(said), "domain '%s' is %s", r->domain, r->reboot ? "being rebooted" : "reset");
	shell_say(s, code != 0, "%s: %s", r->about, code || waits ? said : "done");
	if (r->reply)
		r->reply(r->arg, code >= HA_ERROR && code <= HA_REFUSED ? (enum ha_code)code : code ? HA_ERROR :
												      HA_OK,
			 said);
	free(r);
}

uint64_t shell_order(struct shell *s, const struct shell_order *o, shell_reply reply, void *arg)
{
	char why[HA_REASON_MAX + 1];
	struct request *r;
	struct vmm *v;
	enum ha_code code;
	json_t *args;

	v = vmm_here(s, o, &code, why, sizeof(why));
	if (v && o->access < HA_ACCESS_OPERATOR) {
		v = NULL;
		snprintf(why, sizeof(why), "%s takes the role operator", o->what);
	}
	if (!v) {
		reply(arg, code, why);
		return 0;
	}
	r = begin(s, reply, arg);
	if (!r)
		return 0;
	r->reboot = strcmp(o->what, "reboot") == 0;
	snprintf(r->domain, sizeof(r->domain), "%s", o->domain);
	snprintf(r->about, sizeof(r->about), "%s on %s: %s %s", o->actor, ha_core_node_name(s->core, s->me), o->what, o->domain);
	args = o->timeout_ms ? json_pack("{s:I}", "timeout_ms", (json_int_t)o->timeout_ms) : NULL;
	if (vmm_order(v, o->what, args, r->id, on_ordered, s) == 0)
		return r->id;
	snprintf(why, sizeof(why), "the VMM of domain '%s' (pid %d) cannot be reached", o->domain, (int)vmm_pid(v));
	shell_answer(s, r->id, HA_ERROR, why);
	return 0;
}
