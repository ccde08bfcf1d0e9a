/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shell_effects - one function per effect of the core (ha/core/core.h).
 *
 * An effect that cannot be carried out is answered by the event that core.h
 * names beside it; nothing is tried again here, the core does that.
 */
#include "ha/shell/shell_int.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void do_mcast(struct shell *s, const struct ha_effect *fx)
{
	int rc;

	if (!s->cpg)
		return; /* CPG_LOST is on its way to the core */
	rc = cpglink_mcast(s->cpg, fx->mcast.bytes, fx->mcast.len);
	if (rc < 0) {
		/* A gap in our own messages would break their order: start afresh. */
		log_error("multicast: %s, joining the group again", strerror(-rc));
		shell_rejoin(s);
	}
}

static void do_persist(struct shell *s, const struct ha_effect *fx)
{
	int rc = store_put(s->store, fx->persist.snapshot ? STORE_SNAPSHOT : STORE_APPEND,
			   fx->persist.bytes, fx->persist.len, fx->persist.token);

	if (rc < 0)
		shell_stop(s, rc == -EMSGSIZE ? "record too large for the disk" : "out of memory");
}

static void do_start(struct shell *s, const struct ha_effect *fx, bool incoming)
{
	struct err e = { 0 };
	int rc;

	executor_cluster(s->executor, fx->vmm.cluster);
	if (incoming && *shell_address_problem(s))
		rc = err_set(&e, -EADDRNOTAVAIL, "no migration can arrive at %s: %s", ha_core_node_name(s->core, s->me),
			     shell_address_problem(s));
	else
		rc = executor_start(s->executor, fx->vmm.name, fx->vmm.incarnation, fx->vmm.conf,
				    fx->vmm.conf_len, incoming, &e);

	if (rc < 0) {
		shell_say(s, true, "%s", e.text);
		shell_vmm_ended(s, fx->vmm.name, fx->vmm.incarnation, HA_END_FAILED, EXIT_ERROR, e.text);
		return;
	}
	shell_say(s, false, "%s: VMM started, incarnation %" PRIu64 "%s", fx->vmm.name,
		  fx->vmm.incarnation, incoming ? ", waits for a migration" : "");
}

/* The VMM an effect is for; answers EXITED for it when there is none. */
static struct vmm *vmm_of(struct shell *s, const struct ha_effect *fx, bool answer)
{
	struct vmm *v = executor_find(s->executor, fx->vmm.name);

	if (!v && answer)
		shell_vmm_ended(s, fx->vmm.name, fx->vmm.incarnation, HA_END_ABSENT, EXIT_ERROR, "");
	return v;
}

static void do_stop(struct shell *s, const struct ha_effect *fx)
{
	struct vmm *v = vmm_of(s, fx, true);

	if (v)
		vmm_stop(v, fx->vmm.force, fx->vmm.timeout_ms);
}

static void do_kill(struct shell *s, const struct ha_effect *fx)
{
	struct vmm *v = vmm_of(s, fx, true);

	if (v)
		vmm_kill(v);
}

static void do_migrate(struct shell *s, const struct ha_effect *fx)
{
	struct vmm *v = vmm_of(s, fx, false);

	if (v)
		vmm_migrate(v, fx->vmm.addr, fx->vmm.to_incarnation,
			    ha_core_timing(shell_core(s))->peer, fx->vmm.dry_run);
	else
		shell_vmm_ended(s, fx->vmm.name, fx->vmm.incarnation, HA_END_ABSENT, EXIT_ERROR, "");
}

static void do_decide(struct shell *s, const struct ha_effect *fx)
{
	struct vmm *v = vmm_of(s, fx, false);

	if (v)
		vmm_decide(v, fx->vmm.commit, fx->vmm.to_incarnation);
}

static void do_cancel(struct shell *s, const struct ha_effect *fx)
{
	struct vmm *v = vmm_of(s, fx, false);

	if (v)
		vmm_cancel(v);
}

static void do_pause(struct shell *s, const struct ha_effect *fx)
{
	struct vmm *v = vmm_of(s, fx, false);

	if (v)
		vmm_pause(v, fx->vmm.pause);
}

static void do_note(struct shell *s, const struct ha_effect *fx)
{
	switch (fx->note.level) {
	case HA_DEBUG:
		log_debug("%s", fx->note.text);
		return;
	case HA_INFO:
		log_info("%s", fx->note.text);
		history_add(&s->history, "info", fx->note.text);
		return;
	case HA_WARNING:
		log_warn("%s", fx->note.text);
		history_add(&s->history, "warning", fx->note.text);
		return;
	case HA_ALARM:
		log_error("%s", fx->note.text);
		history_add(&s->history, "alarm", fx->note.text);
		return;
	}
}

void shell_carry_out(struct shell *s, const struct ha_effect *fx)
{
	char line[512];

	assert(s->stepping); /* what it causes is an event for later */
	if (fx->kind != HA_FX_MCAST && fx->kind != HA_FX_LEASE && fx->kind != HA_FX_NOTE) {
		ha_effect_print(fx, line, sizeof(line));
		log_debug("do %s", line);
	}
	switch (fx->kind) {
	case HA_FX_MCAST:
		do_mcast(s, fx);
		break;
	case HA_FX_PERSIST:
		do_persist(s, fx);
		break;
	case HA_FX_LEASE:
		executor_publish(s->executor, fx->lease.until_ms);
		break;
	case HA_FX_ADMIT:
		executor_admit(s->executor, fx->vmm.name, fx->vmm.incarnation, fx->vmm.admit);
		break;
	case HA_FX_START:
		do_start(s, fx, false);
		break;
	case HA_FX_RECEIVE:
		do_start(s, fx, true);
		break;
	case HA_FX_STOP:
		do_stop(s, fx);
		break;
	case HA_FX_KILL:
		do_kill(s, fx);
		break;
	case HA_FX_MIGRATE:
		do_migrate(s, fx);
		break;
	case HA_FX_PAUSE:
		do_pause(s, fx);
		break;
	case HA_FX_CANCEL:
		do_cancel(s, fx);
		break;
	case HA_FX_DECIDE:
		do_decide(s, fx);
		break;
	case HA_FX_FENCE:
		fence_watch_yield(s->fence_watch, ha_core_node_name(s->core, fx->fence.node));
		fence_runs_start(s->fence, fx->fence.node, fx->fence.debt,
				 ha_core_node_name(s->core, fx->fence.node));
		break;
	case HA_FX_FENCE_CANCEL:
		fence_runs_cancel(s->fence, fx->fence.node);
		break;
	case HA_FX_CLAIM:
		shell_witness_claim(s, fx);
		break;
	case HA_FX_REPLY:
		shell_answer(s, fx->reply.request, fx->reply.code, fx->reply.text ? fx->reply.text : "");
		break;
	case HA_FX_REJOIN:
		shell_rejoin_heard(s);
		break;
	case HA_FX_NOTE:
		do_note(s, fx);
		break;
	case HA_FX_KINDS:
		break;
	}
}
