/* SPDX-License-Identifier: Apache-2.0 */
/* vmm_heard - what a VMM says unasked (docs/control.md, events): kept, as far as it is used, and told on. */
#include "ha/vmm/vmm_int.h"

#include "base/log.h"

#include <string.h>

static void on_migration(struct vmm *v, json_t *data)
{
	const char *phase = json_string_value(json_object_get(data, "phase"));
	const char *text = json_string_value(json_object_get(data, "error"));

	json_decref(v->migration);
	v->migration = json_incref(data);
	if (phase && (strcmp(phase, "failed") == 0 || strcmp(phase, "cancelled") == 0))
		vmm_say(v, (struct vmm_news){ .what = VMM_SAID_MIGRATE_FAILED,
					      .text = text ? text : json_is_true(json_object_get(data, "dry_run")) ? "" :
														     phase });
	else
		vmm_say(v, (struct vmm_news){ .what = VMM_SAID_PROGRESS });
}

static void on_ask(struct vmm *v, json_t *data)
{
	const char *outcome = json_string_value(json_object_get(data, "outcome"));
	json_int_t inc = json_integer_value(json_object_get(data, "incarnation"));

	v->about = (uint64_t)inc;
	if (outcome && strcmp(outcome, "commit") == 0)
		vmm_say(v, (struct vmm_news){ .what = VMM_SAID_ASK_COMMIT, .incarnation = (uint64_t)inc });
	else if (outcome && strcmp(outcome, "abort") == 0)
		vmm_say(v, (struct vmm_news){ .what = VMM_SAID_ASK_ABORT, .incarnation = (uint64_t)inc });
	else
		log_limited(&v->limit, LOG_LEVEL_WARN, "%s: its VMM asks for something unknown", v->name);
}

/* Of what it says only what is used is kept: keys of its invention would pile up here. */
static void keep_texts(json_t *in, const json_t *data, const char *const keys[2])
{
	json_t *value;

	for (size_t i = 0; in && i < 2; i++) {
		value = json_object_get(data, keys[i]);
		if (json_is_string(value))
			json_object_set(in, keys[i], value);
	}
}

static void keep_state(struct vmm *v, const json_t *data)
{
	keep_texts(v->query, data, (const char *const[]){ "state", "why" });
}

static void keep_reboot(struct vmm *v, const json_t *data)
{
	json_t *o = json_object();

	keep_texts(o, data, (const char *const[]){ "phase", "why" });
	if (v->query)
		json_object_set(v->query, "reboot", o);
	json_decref(o);
}

void vmm_heard(struct vmm *v, const char *name, json_t *data)
{
	const char *what = json_string_value(json_object_get(data, "what"));

	if (strcmp(name, "state") == 0) {
		if (vmm_state_parse(json_string_value(json_object_get(data, "state")), &v->state) < 0)
			return;
		keep_state(v, data);
		vmm_send_stop(v);
		if (v->state == VMM_INCOMING)
			vmm_ask(v); /* the news carry its address */
		else
			vmm_say(v, (struct vmm_news){ .what = VMM_SAID_STATE });
	} else if (strcmp(name, "migration") == 0) {
		on_migration(v, data);
	} else if (strcmp(name, "ask") == 0) {
		on_ask(v, data);
	} else if (strcmp(name, "reboot") == 0) {
		keep_reboot(v, data);
	} else if (strcmp(name, "guest") == 0) {
		log_limited(&v->limit, LOG_LEVEL_INFO, "%s: guest %s", v->name, what ? what : "event");
	}
}
