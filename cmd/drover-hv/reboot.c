/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reboot - `reset` and `reboot`: the guest begins anew in this very process, so that its cluster has nothing to decide.
 *
 * A reset is what the guest's own is.  A reboot presses the power button and leaves a wish: when the guest powers off it is
 * reset, where else the process would end.  The wish is here and not with whoever gave it, so that no
 * droverd that crashes in between turns a reboot into a power-off.
 *
 *     asked    the button is pressed
 *     late     the guest did not power off in the time that was given.  It may be slow, so the wish stays for LINGER_NS; but
 *              not for ever, or who shuts the guest down days later from inside would see it start
 *     done     it has begun anew, by whatever reset it
 *     dropped  something else was ordered that wins: a stop, or a migration once it was late
 */
#include "cmd/drover-hv/migration.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>

#define REBOOT_TIMEOUT_MS 60000
#define REBOOT_TIMEOUT_MAX_MS (24 * 3600 * 1000)
#define LINGER_NS (600ull * 1000 * NS_PER_MS)

static const char *phase_str(enum vmm_reboot_phase p)
{
	switch (p) {
	case REBOOT_ASKED:
		return "asked";
	case REBOOT_LATE:
		return "late";
	case REBOOT_DONE:
		return "done";
	case REBOOT_DROPPED:
		return "dropped";
	case REBOOT_NEVER:
		break;
	}
	return "never";
}

static json_t *reboot_json(const struct drover_hv *v)
{
	return json_pack("{s:s, s:s}", "phase", phase_str(v->reboot.phase), "why", v->reboot.why);
}

static void set_phase(struct drover_hv *v, enum vmm_reboot_phase p, const char *why)
{
	v->reboot.phase = p;
	snprintf(v->reboot.why, sizeof(v->reboot.why), "%s", why);
	log_info("reboot: %s%s%s%s", phase_str(p), *why ? " (" : "", why, *why ? ")" : "");
	ctl_event(v->ctl, "reboot", reboot_json(v));
}

static void drop(struct drover_hv *v, const char *why)
{
	loop_timer_set(v->reboot.timer, 0);
	set_phase(v, REBOOT_DROPPED, why);
}

static void on_reboot_timer(void *arg)
{
	struct drover_hv *v = arg;

	if (v->reboot.phase == REBOOT_LATE) {
		drop(v, "the guest did not power off");
	} else if (v->reboot.phase == REBOOT_ASKED) {
		set_phase(v, REBOOT_LATE, "the guest does not power off");
		loop_timer_set(v->reboot.timer, clock_ns() + LINGER_NS);
	}
}

int vmm_reboot_init(struct drover_hv *v, struct err *e)
{
	return loop_timer_create(v->loop, on_reboot_timer, v, &v->reboot.timer, e);
}

bool vmm_reboot_wanted(const struct drover_hv *v)
{
	return v->reboot.phase == REBOOT_ASKED || v->reboot.phase == REBOOT_LATE;
}

void vmm_reboot_done(struct drover_hv *v)
{
	if (!vmm_reboot_wanted(v))
		return;
	loop_timer_set(v->reboot.timer, 0);
	set_phase(v, REBOOT_DONE, "");
}

void vmm_reboot_drop(struct drover_hv *v, const char *why)
{
	if (vmm_reboot_wanted(v))
		drop(v, why);
}

int vmm_reboot_may_move(struct drover_hv *v, struct err *e)
{
	/* The destination knows of no wish: its guest would be powered off there. */
	if (v->reboot.phase == REBOOT_ASKED)
		return err_set(e, -EBUSY, "cannot migrate: the guest is being rebooted");
	vmm_reboot_drop(v, "a migration was ordered");
	return 0;
}

void vmm_reboot_query(const struct drover_hv *v, json_t *answer)
{
	if (v->reboot.phase != REBOOT_NEVER)
		json_object_set_new(answer, "reboot", reboot_json(v));
}

/* What neither may be done to, in the words of @verb. */
static int may_begin_anew(const struct drover_hv *v, const char *verb, struct err *e)
{
	unsigned int h = machine_holders(v->machine);

	if (v->state != VMM_RUNNING && v->state != VMM_PAUSED && v->state != VMM_GATED)
		return err_set(e, -EPERM, "cannot %s: the domain is %s", verb, vmm_state_str(v->state));
	if (v->stopping)
		return err_set(e, -EPERM, "cannot %s: the domain is being stopped", verb);
	if (h & HOLD_START)
		return err_set(e, -EPERM, "cannot %s: the domain has not been started", verb);
	if (h & HOLD_GATE) /* somebody else may own it by now (rule G) */
		return err_set(e, -EPERM, "cannot %s: this host has no valid lease", verb);
	if (h & HOLD_MIGRATION)
		return err_set(e, -EBUSY, "cannot %s: %s", verb,
			       v->stands_why[0] ? v->stands_why : "a migration is about to end, and holds the domain");
	return 0;
}

static int cmd_reset(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
	int code = may_begin_anew(v, "reset", e);

	(void)args;
	if (code)
		return code;
	log_info("reset by an operator");
	ctl_event(v->ctl, "guest", json_pack("{s:s, s:s}", "what", "reset", "why", "operator"));
	code = vmm_reset(v, e);
	if (code != -EBUSY && code != -ETIMEDOUT)
		return code;
	*ret = json_pack("{s:s}", "waits", e->text); /* it is tried again until that is over */
	return 0;
}

static int cmd_reboot(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
	json_t *t = json_object_get(args, "timeout_ms");
	json_int_t timeout_ms = t ? json_integer_value(t) : REBOOT_TIMEOUT_MS;
	int code = may_begin_anew(v, "reboot", e);

	(void)ret;
	if (code)
		return code;
	if (timeout_ms < 0 || timeout_ms > REBOOT_TIMEOUT_MAX_MS)
		return err_set(e, -EINVAL, "timeout_ms: %lld, expected 0 to a day", (long long)timeout_ms);
	if (v->state != VMM_RUNNING)
		return err_set(e, -EPERM, "cannot reboot: the guest stands still (%s) and hears no power button", v->why);
	if (v->migration && v->migration->started)
		return err_set(e, -EBUSY, "cannot reboot: a migration is under way");
	set_phase(v, REBOOT_ASKED, "");
	machine_power_button(v->machine);
	loop_timer_set(v->reboot.timer, clock_ns() + (uint64_t)timeout_ms * NS_PER_MS + 1);
	return 0;
}

const struct ctl_command vmm_reboot_commands[] = {
	{ "reset", "", cmd_reset },
	{ "reboot", "timeout_ms:i", cmd_reboot },
	{ NULL, NULL, NULL },
};
