/* SPDX-License-Identifier: Apache-2.0 */
/* commands - what may be asked of a VMM on its control socket (docs/control.md), but for migrations (migrate.c, receive.c). */
#include "cmd/drover-hv/vmm.h"

#include "base/clock.h"

#include <errno.h>
#include <unistd.h>

#define STOP_TIMEOUT_MS 30000

static int cmd_query(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
	char uuid[DOMAIN_UUID_TEXT];

	(void)args;
	(void)e;
	domain_uuid_print(v->conf->uuid, uuid);
	*ret = json_pack("{s:s, s:s, s:I, s:s, s:s, s:i, s:I, s:s}", "name", v->conf->name, "uuid",
			 uuid, "incarnation", (json_int_t)v->incarnation, "state",
			 vmm_state_str(v->state), "why", v->why, "vcpus", (int)v->conf->vcpus, "memory",
			 (json_int_t)v->conf->memory, "console", console_where(v->console));
	vmm_reboot_query(v, *ret);
	screen_query(v, *ret);
	agent_query(v, *ret);
	if (v->query_more)
		v->query_more(v, *ret);
	return 0;
}

static int cmd_pause(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
	int code;

	(void)args;
	(void)ret;
	if (v->state == VMM_INCOMING || v->state == VMM_GONE || v->state == VMM_STOPPED)
		return err_set(e, -EPERM, "cannot pause: the domain is %s", vmm_state_str(v->state));
	code = machine_hold(v->machine, HOLD_OPERATOR, e);
	vmm_update_state(v);
	return code;
}

static int cmd_resume(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
	int code;

	(void)args;
	(void)ret;
	if (v->state == VMM_INCOMING || v->state == VMM_GRANTED || v->state == VMM_GONE ||
	    v->state == VMM_STOPPED)
		return err_set(e, -EPERM, "cannot resume: the domain is %s", vmm_state_str(v->state));
	if (machine_holders(v->machine) & HOLD_GATE)
		return err_set(e, -EPERM, "cannot resume: this host has no valid lease");
	if (machine_holders(v->machine) & HOLD_MIGRATION)
		return err_set(e, -EBUSY, "cannot resume: %s",
			       v->stands_why[0] ? v->stands_why : "a migration is about to end, and holds the domain");
	code = machine_release(v->machine, HOLD_OPERATOR, e);
	if (!code && machine_holders(v->machine) & HOLD_START)
		code = vmm_start(v, e); /* it was started with --paused */
	if (!code && v->reset_why[0])
		code = err_set(e, -EBUSY, "%s; the domain goes on when that has come to its end", v->reset_why);
	else if (!code && machine_holders(v->machine) & HOLD_DISK)
		code = disk_hold_retry(v, e);
	vmm_update_state(v);
	return code;
}

static int cmd_stop(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
	json_t *t = json_object_get(args, "timeout_ms");
	json_int_t timeout_ms = t ? json_integer_value(t) : STOP_TIMEOUT_MS;

	(void)ret;
	if (v->state == VMM_GRANTED)
		return err_set(e, -EPERM, "cannot stop: a migration waits for its decision");
	if (timeout_ms < 0 || timeout_ms > 24 * 3600 * 1000)
		return err_set(e, -EINVAL, "timeout_ms: %lld, expected 0 to a day", (long long)timeout_ms);
	if (json_is_true(json_object_get(args, "force")) || v->state == VMM_INCOMING) {
		vmm_stopped(v, VMM_END_STOPPED, "operator", EXIT_OK);
		return 0;
	}
	vmm_reboot_drop(v, "a stop was ordered");
	v->stopping = true;
	machine_power_button(v->machine);
	loop_timer_set(v->stop_timer, clock_ns() + (uint64_t)timeout_ms * NS_PER_MS + 1);
	return 0;
}

static int cmd_quit(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;

	(void)args;
	(void)ret;
	(void)e;
	vmm_end(v, VMM_END_STOPPED, EXIT_OK, "quit");
	return 0;
}

static int cmd_stats(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;

	(void)args;
	(void)e;
	*ret = machine_stats(v->machine);
	if (v->stats_more)
		v->stats_more(v, *ret);
	return 0;
}

/* Devices are read while nothing moves: a running domain stands still for it, a millisecond or two. */
static int cmd_state(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
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
