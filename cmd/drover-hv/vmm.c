/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm - see vmm.h: building the process around a machine, the states of the domain,
 * what happens when the guest resets or powers off, and the commands about that.
 *
 * State and holders: who holds the machine decides between running, paused and
 * gated; incoming, granted, gone and stopped are set by those who know.
 */
#include "cmd/drover-hv/vmm.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOP_TIMEOUT_MS 30000
#define RESET_RETRY_NS (20 * NS_PER_MS)

/* --- states --- */

const char *vmm_state_name(enum vmm_state s)
{
	static const char *const names[] = {
		[VMM_INCOMING] = "incoming", [VMM_RUNNING] = "running", [VMM_PAUSED] = "paused",
		[VMM_GATED] = "gated",	     [VMM_GRANTED] = "granted", [VMM_GONE] = "gone",
		[VMM_STOPPED] = "stopped",
	};

	return names[s];
}

void vmm_set_state(struct vmm *v, enum vmm_state s, const char *why)
{
	char clean[sizeof(v->why)];

	text_copy(clean, sizeof(clean), why);
	if (v->state == s && strcmp(v->why, clean) == 0)
		return;
	v->state = s;
	memcpy(v->why, clean, sizeof(clean));
	log_info("%s%s%s%s", vmm_state_name(s), *why ? " (" : "", why, *why ? ")" : "");
	ctl_event(v->ctl, "state", json_pack("{s:s, s:s}", "state", vmm_state_name(s), "why", v->why));
}

void vmm_update_state(struct vmm *v)
{
	unsigned int h = machine_holders(v->machine);

	if (v->state != VMM_RUNNING && v->state != VMM_PAUSED && v->state != VMM_GATED)
		return;
	if (h & HOLD_MIGRATION && v->stands_why[0]) /* more than any pause: nothing the operator does ends it */
		vmm_set_state(v, VMM_PAUSED, v->stands_why);
	else if (h & HOLD_OPERATOR)
		vmm_set_state(v, VMM_PAUSED, "operator");
	else if (h & HOLD_MIGRATION)
		vmm_set_state(v, VMM_PAUSED, "migration");
	else if (h & HOLD_GATE)
		vmm_set_state(v, VMM_GATED, "the lease has ended");
	else if (h & HOLD_START)
		vmm_set_state(v, VMM_PAUSED, "not started");
	else if (h & HOLD_DISK)
		vmm_set_state(v, VMM_PAUSED, v->disk_why);
	else if (!h)
		vmm_set_state(v, VMM_RUNNING, "");
}

int vmm_start(struct vmm *v, struct err *e)
{
	int ret = machine_release(v->machine, HOLD_START, e);

	if (ret)
		return ret;
	if (v->state == VMM_INCOMING || v->state == VMM_GRANTED)
		v->state = VMM_PAUSED;
	vmm_update_state(v);
	return 0;
}

static void announce(void *arg)
{
	struct vmm *v = arg;
	int delay_ms = machine_announce(v->machine, v->announce_round++);

	if (delay_ms >= 0)
		loop_timer_set(v->announce_timer, clock_ns() + (uint64_t)delay_ms * NS_PER_MS);
}

void vmm_announce(struct vmm *v)
{
	v->announce_round = 0;
	announce(v);
}

void vmm_end(struct vmm *v, enum vmm_end how, int exit_code, const char *text)
{
	vmm_life_end(v->opt.life, how, exit_code, text);
	v->exit_code = exit_code;
	loop_quit(v->loop);
}

/* --- what the guest does --- */

struct guest_event {
	struct vmm *vmm;
	enum machine_event what;
	char text[160];
};

static const char *event_name(enum machine_event what)
{
	switch (what) {
	case MACHINE_RESET:
		return "reset";
	case MACHINE_POWEROFF:
		return "poweroff";
	case MACHINE_CRASH:
		return "crash";
	}
	return "?";
}

static void stopped(struct vmm *v, enum vmm_end how, const char *why, int exit_code)
{
	vmm_set_state(v, VMM_STOPPED, why);
	vmm_end(v, how, exit_code, why);
}

static void try_reset(void *arg)
{
	struct vmm *v = arg;
	struct err e;
	int ret;

	if (v->state == VMM_GONE || v->state == VMM_GRANTED || v->state == VMM_STOPPED)
		return;
	ret = machine_reset(v->machine, &e);
	if (ret == -EBUSY) { /* after the migration has failed, or never, if it succeeds */
		loop_timer_set(v->reset_timer, clock_ns() + RESET_RETRY_NS);
		return;
	}
	if (ret) {
		log_error("the guest cannot be reset: %s", e.text);
		stopped(v, VMM_END_FAILED, e.text, EXIT_ERROR);
		return;
	}
	vmm_update_state(v);
}

/* A guest may reset as often as it likes, but not be told about as often. */
static void tell_guest_event(struct vmm *v, const struct guest_event *g)
{
	uint64_t left_out = 0;

	if (g->what == MACHINE_RESET && !log_limit_pass(&v->resets, &left_out))
		return;
	log_info("guest: %s (%s)%s", event_name(g->what), g->text,
		 left_out ? ", and others before that were not told" : "");
	ctl_event(v->ctl, "guest",
		  json_pack("{s:s, s:s, s:I}", "what", event_name(g->what), "why", g->text, "left_out",
			    (json_int_t)left_out));
}

static void on_guest_event(void *arg)
{
	struct guest_event *g = arg;
	struct vmm *v = g->vmm;

	tell_guest_event(v, g);
	if (g->what == MACHINE_CRASH)
		stopped(v, VMM_END_FAILED, "the guest crashed", EXIT_ERROR);
	else if (g->what == MACHINE_POWEROFF)
		stopped(v, VMM_END_POWEROFF, "poweroff", EXIT_OK);
	else if (v->opt.no_reboot)
		stopped(v, VMM_END_POWEROFF, "reset", EXIT_OK);
	else
		try_reset(v);
	free(g);
}

/* On a vCPU thread. */
static void machine_event(void *arg, enum machine_event what, const char *text)
{
	struct vmm *v = arg;
	struct guest_event *g = calloc(1, sizeof(*g));

	if (!g)
		return; /* the guest stands still, which is what a crash looks like anyway */
	g->vmm = v;
	g->what = what;
	snprintf(g->text, sizeof(g->text), "%s", text);
	if (loop_post(v->loop, on_guest_event, g))
		free(g);
}

/* Rule G, asked by disk threads. */
static bool may_submit(void *arg)
{
	struct vmm *v = arg;

	return gate_allows(__atomic_load_n(&v->gate, __ATOMIC_ACQUIRE));
}

/* --- commands --- */

static int cmd_query(struct vmm *v, const json_t *args, json_t **ret, struct err *e)
{
	char uuid[DOMAIN_UUID_TEXT];

	(void)args;
	(void)e;
	domain_uuid_print(v->conf->uuid, uuid);
	*ret = json_pack("{s:s, s:s, s:I, s:s, s:s, s:i, s:I, s:s}", "name", v->conf->name, "uuid",
			 uuid, "incarnation", (json_int_t)v->incarnation, "state",
			 vmm_state_name(v->state), "why", v->why, "vcpus", (int)v->conf->vcpus, "memory",
			 (json_int_t)v->conf->memory, "console", console_where(v->console));
	if (v->query_more)
		v->query_more(v, *ret);
	return 0;
}

static int cmd_pause(struct vmm *v, const json_t *args, json_t **ret, struct err *e)
{
	int code;

	(void)args;
	(void)ret;
	if (v->state == VMM_INCOMING || v->state == VMM_GONE || v->state == VMM_STOPPED)
		return err_set(e, -EPERM, "cannot pause: the domain is %s", vmm_state_name(v->state));
	code = machine_hold(v->machine, HOLD_OPERATOR, e);
	vmm_update_state(v);
	return code;
}

static int cmd_resume(struct vmm *v, const json_t *args, json_t **ret, struct err *e)
{
	int code;

	(void)args;
	(void)ret;
	if (v->state == VMM_INCOMING || v->state == VMM_GRANTED || v->state == VMM_GONE ||
	    v->state == VMM_STOPPED)
		return err_set(e, -EPERM, "cannot resume: the domain is %s", vmm_state_name(v->state));
	if (machine_holders(v->machine) & HOLD_GATE)
		return err_set(e, -EPERM, "cannot resume: this host has no valid lease");
	if (machine_holders(v->machine) & HOLD_MIGRATION)
		return err_set(e, -EBUSY, "cannot resume: %s", v->stands_why[0] ? v->stands_why :
			       "a migration is about to end, and holds the domain");
	code = machine_release(v->machine, HOLD_OPERATOR, e);
	if (!code && machine_holders(v->machine) & HOLD_START)
		code = vmm_start(v, e); /* it was started with --paused */
	if (!code && machine_holders(v->machine) & HOLD_DISK)
		code = disk_hold_retry(v, e);
	vmm_update_state(v);
	return code;
}

static void stop_by_force(void *arg)
{
	struct vmm *v = arg;

	log_warn("the guest did not power off in time: stopped by force");
	stopped(v, VMM_END_STOPPED, "stopped by force", EXIT_OK);
}

static int cmd_stop(struct vmm *v, const json_t *args, json_t **ret, struct err *e)
{
	json_t *t = json_object_get(args, "timeout_ms");
	json_int_t timeout_ms = t ? json_integer_value(t) : STOP_TIMEOUT_MS;

	(void)ret;
	if (v->state == VMM_GRANTED)
		return err_set(e, -EPERM, "cannot stop: a migration waits for its decision");
	if (timeout_ms < 0 || timeout_ms > 24 * 3600 * 1000)
		return err_set(e, -EINVAL, "timeout_ms: %lld, expected 0 to a day", (long long)timeout_ms);
	if (json_is_true(json_object_get(args, "force")) || v->state == VMM_INCOMING) {
		stopped(v, VMM_END_STOPPED, "operator", EXIT_OK);
		return 0;
	}
	machine_power_button(v->machine);
	loop_timer_set(v->stop_timer, clock_ns() + (uint64_t)timeout_ms * NS_PER_MS + 1);
	return 0;
}

static int cmd_quit(struct vmm *v, const json_t *args, json_t **ret, struct err *e)
{
	(void)args;
	(void)ret;
	(void)e;
	vmm_end(v, VMM_END_STOPPED, EXIT_OK, "quit");
	return 0;
}

static int cmd_stats(struct vmm *v, const json_t *args, json_t **ret, struct err *e)
{
	(void)args;
	(void)e;
	*ret = machine_stats(v->machine);
	if (v->stats_more)
		v->stats_more(v, *ret);
	return 0;
}

/* Devices are read while nothing moves: a running domain stands still for it, a millisecond or two. */
static int cmd_state(struct vmm *v, const json_t *args, json_t **ret, struct err *e)
{
	const char *device = json_string_value(json_object_get(args, "device"));
	bool ran = machine_holders(v->machine) == 0;
	int code = 0;

	if (ran)
		code = machine_hold(v->machine, HOLD_OPERATOR, e);
	if (!code)
		*ret = machine_print(v->machine, device);
	if (ran) {
		int back = machine_release(v->machine, HOLD_OPERATOR, code ? NULL : e);

		code = code ? code : back;
	}
	if (!code && !*ret)
		code = err_set(e, -ENOENT, "device %s: there is none", device);
	return code;
}

const struct ctl_command vmm_commands[] = {
	{ "query", "", cmd_query },
	{ "pause", "", cmd_pause },
	{ "resume", "", cmd_resume },
	{ "stop", "force:b timeout_ms:i", cmd_stop },
	{ "stats", "", cmd_stats },
	{ "state", "device:s", cmd_state },
	{ "quit", "", cmd_quit },
	{ NULL, NULL, NULL },
};

/* --- life --- */

static int open_console(struct vmm *v, struct err *e)
{
	char path[4096];
	const char *where = v->opt.console;
	size_t len;

	if (!where && v->opt.control) {
		len = strlen(v->opt.control);
		if (len > 5 && strcmp(v->opt.control + len - 5, ".sock") == 0)
			len -= 5;
		snprintf(path, sizeof(path), "%.*s.console", (int)len, v->opt.control);
		where = path;
	}
	return console_create(&v->console, v, where ? where : "stdio", e);
}

static int load_conf(struct vmm *v, struct err *e)
{
	int ret = domain_conf_load(v->opt.file, &v->conf, e);
	char *name;

	if (ret || !v->opt.name)
		return ret;
	name = strdup(v->opt.name);
	if (!name)
		return err_set(e, -ENOMEM, "out of memory");
	free(v->conf->name);
	v->conf->name = name;
	return 0;
}

static int open_gate(struct vmm *v, struct err *e)
{
	struct gate *g;
	int ret;

	if (!v->opt.lease)
		return 0;
	ret = gate_create(&g, v, v->opt.lease, e);
	if (!ret)
		__atomic_store_n(&v->gate, g, __ATOMIC_RELEASE);
	return ret;
}

int vmm_init(struct vmm *v, struct err *e)
{
	struct machine_options mo;
	int ret;

	pthread_mutex_init(&v->resets.lock, NULL);
	v->incarnation = v->opt.incarnation ? v->opt.incarnation : 1;
	v->state = v->opt.incoming ? VMM_INCOMING : VMM_PAUSED;
	ret = load_conf(v, e);
	if (ret)
		return ret;
	snprintf(v->log_name, sizeof(v->log_name), "drover-hv %s", v->conf->name);
	log_init(v->log_name, v->opt.log_level);
	ret = loop_create(&v->loop, e);
	if (!ret)
		ret = loop_timer_create(v->loop, stop_by_force, v, &v->stop_timer, e);
	if (!ret)
		ret = loop_timer_create(v->loop, announce, v, &v->announce_timer, e);
	if (!ret)
		ret = disk_hold_init(v, e);
	if (!ret)
		ret = loop_timer_create(v->loop, try_reset, v, &v->reset_timer, e);
	if (ret)
		return ret;
	mo = (struct machine_options){ .conf = v->conf, .incarnation = v->incarnation,
				       .may_submit = may_submit, .leased = v->opt.lease != NULL,
				       .cluster = v->opt.cluster,
				       .event = machine_event, .disk_held = disk_hold_event,
				       .arg = v };
	ret = machine_create(&v->machine, &mo, e);
	if (!ret)
		ret = open_console(v, e);
	if (!ret && v->opt.control)
		ret = ctl_create(&v->ctl, v, v->opt.control, e);
	if (ret)
		return ret;
	ctl_add(v->ctl, vmm_commands);
	return open_gate(v, e);
}

void vmm_fini(struct vmm *v)
{
	if (v->machine) {
		machine_hold(v->machine, HOLD_START, NULL);
		if (v->console)
			console_flush(v->console);
	}
	ctl_destroy(v->ctl);
	gate_stop(v->gate);
	machine_destroy(v->machine);
	console_destroy(v->console);
	gate_destroy(v->gate);
	loop_timer_destroy(v->stop_timer);
	loop_timer_destroy(v->reset_timer);
	loop_timer_destroy(v->announce_timer);
	loop_timer_destroy(v->disk_timer);
	loop_destroy(v->loop);
	domain_conf_free(v->conf);
}
