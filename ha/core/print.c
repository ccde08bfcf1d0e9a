/* SPDX-License-Identifier: Apache-2.0 */
/* print - events and effects in words; logs, replays and failing tests show the same text. */
#include "ha/core/core.h"

#include <stdarg.h>
#include <stdio.h>

static const char *ha_event_kind_str(enum ha_event_kind k)
{
	switch (k) {
	case HA_EV_BOOT: return "BOOT";
	case HA_EV_CONFIG: return "CONFIG";
	case HA_EV_VIEW: return "VIEW";
	case HA_EV_CPG_LOST: return "CPG_LOST";
	case HA_EV_QUORUM: return "QUORUM";
	case HA_EV_DELIVER: return "DELIVER";
	case HA_EV_PERSISTED: return "PERSISTED";
	case HA_EV_TICK: return "TICK";
	case HA_EV_VMM: return "VMM";
	case HA_EV_VMM_LIST: return "VMM_LIST";
	case HA_EV_LEAVE: return "LEAVE";
	case HA_EV_FENCE_DONE: return "FENCE_DONE";
	case HA_EV_OPERATOR: return "OPERATOR";
	case HA_EV_WITNESS: return "WITNESS";
	case HA_EV_KINDS: break;
	}
	return "?";
}

const char *ha_effect_kind_str(enum ha_effect_kind k)
{
	switch (k) {
	case HA_FX_MCAST: return "MCAST";
	case HA_FX_PERSIST: return "PERSIST";
	case HA_FX_LEASE: return "LEASE";
	case HA_FX_ADMIT: return "ADMIT";
	case HA_FX_PAUSE: return "PAUSE";
	case HA_FX_START: return "START";
	case HA_FX_STOP: return "STOP";
	case HA_FX_KILL: return "KILL";
	case HA_FX_RECEIVE: return "RECEIVE";
	case HA_FX_MIGRATE: return "MIGRATE";
	case HA_FX_CANCEL: return "CANCEL";
	case HA_FX_DECIDE: return "DECIDE";
	case HA_FX_CLAIM: return "CLAIM";
	case HA_FX_FENCE: return "FENCE";
	case HA_FX_FENCE_CANCEL: return "FENCE_CANCEL";
	case HA_FX_REPLY: return "REPLY";
	case HA_FX_REJOIN: return "REJOIN";
	case HA_FX_NOTE: return "NOTE";
	case HA_FX_KINDS: break;
	}
	return "?";
}

static const char *ha_vmm_what_str(enum ha_vmm_what w)
{
	switch (w) {
	case HA_VMM_STARTING: return "starting";
	case HA_VMM_INCOMING: return "incoming";
	case HA_VMM_RUNNING: return "running";
	case HA_VMM_HELD: return "held";
	case HA_VMM_PAUSED: return "paused";
	case HA_VMM_GATED: return "gated";
	case HA_VMM_MIGRATE_FAILED: return "migrate-failed";
	case HA_VMM_ASK_COMMIT: return "ask-commit";
	case HA_VMM_ASK_ABORT: return "ask-abort";
	case HA_VMM_EXITED: return "exited";
	}
	return "?";
}

const char *ha_standing_str(enum ha_standing s)
{
	switch (s) {
	case HA_ALONE: return "alone";
	case HA_FORMING: return "forming";
	case HA_STANDS: return "stands";
	}
	return "?";
}

/* snprintf() that goes on where the last one ended, and counts what did not fit. */
struct line {
	char *buf;
	size_t size, len;
};

static void add(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->len < l->size ? l->buf + l->len : NULL,
		      l->len < l->size ? l->size - l->len : 0, fmt, ap);
	va_end(ap);
	l->len += n < 0 ? 0 : (size_t)n;
}

/* What a message or a stored blob is, by its first bytes (msg.c). */
static const char *message_str(const uint8_t *p, size_t len)
{
	static const char *const names[] = { "?", "STATE", "EVICT", "CHUNK",
					     "ENTRY", "ACK", "RENEW", "WITNESS" };

	return len > 1 && p[1] < sizeof(names) / sizeof(names[0]) ? names[p[1]] : "?";
}

static void add_nodes(struct line *l, const uint32_t *nodes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add(l, "%s%u", i ? "," : " ", nodes[i]);
}

size_t ha_event_print(const struct ha_event *ev, char *buf, size_t size)
{
	struct line l = { buf, size, 0 };

	add(&l, "%s", ha_event_kind_str(ev->kind));
	switch (ev->kind) {
	case HA_EV_BOOT:
		add(&l, " node %u token %u ms, %zu stored", ev->boot.me, ev->boot.token_ms,
		    ev->boot.n_disk);
		break;
	case HA_EV_CONFIG:
		add(&l, " %zu nodes", ev->config.n);
		break;
	case HA_EV_VIEW:
		add_nodes(&l, ev->view.nodes, ev->view.n);
		if (ev->view.ring)
			add(&l, ev->view.ring == HA_RING_SILENT ? " after a silence" : " after a stall");
		break;
	case HA_EV_QUORUM:
		add(&l, " %s, alive", ev->quorum.quorate ? "quorate" : "not quorate");
		add_nodes(&l, ev->quorum.nodes, ev->quorum.n);
		break;
	case HA_EV_DELIVER:
		add(&l, " %s from %u, %zu bytes", message_str(ev->deliver.bytes, ev->deliver.len),
		    ev->deliver.from, ev->deliver.len);
		break;
	case HA_EV_PERSISTED:
		add(&l, " %llu", (unsigned long long)ev->persisted.token);
		break;
	case HA_EV_VMM:
		add(&l, " %s.%llu %s", ev->vmm.domain, (unsigned long long)ev->vmm.incarnation,
		    ha_vmm_what_str(ev->vmm.what));
		if (ev->vmm.what == HA_VMM_INCOMING)
			add(&l, " at %s", ev->vmm.addr ? ev->vmm.addr : "");
		if (ev->vmm.what == HA_VMM_EXITED)
			add(&l, " %s (%d)", ha_end_str(ev->vmm.end), ev->vmm.rc);
		if (ev->vmm.text && ev->vmm.text[0])
			add(&l, ": %s", ev->vmm.text);
		break;
	case HA_EV_FENCE_DONE:
		add(&l, " node %u debt %llu rc %d%s%s", ev->fence_done.node,
		    (unsigned long long)ev->fence_done.debt, ev->fence_done.rc,
		    ev->fence_done.text && ev->fence_done.text[0] ? ": " : "",
		    ev->fence_done.text ? ev->fence_done.text : "");
		break;
	case HA_EV_OPERATOR:
		add(&l, " #%llu %s %s", (unsigned long long)ev->op.request,
		    ha_op_str(ev->op.cmd.op),
		    ev->op.cmd.domain ? ev->op.cmd.domain : ev->op.cmd.group ? ev->op.cmd.group :
									       "");
		if (ev->op.cmd.node)
			add(&l, " node %u", ev->op.cmd.node);
		break;
	case HA_EV_WITNESS:
		add(&l, " epoch %llu %s%s%s", (unsigned long long)ev->witness.claim, ev->witness.ok ? "yes" : "no",
		    ev->witness.text && ev->witness.text[0] ? ": " : "", ev->witness.text ? ev->witness.text : "");
		break;
	case HA_EV_CPG_LOST:
	case HA_EV_TICK:
	case HA_EV_VMM_LIST:
	case HA_EV_LEAVE:
	case HA_EV_KINDS:
		break;
	}
	return l.len;
}

size_t ha_effect_print(const struct ha_effect *fx, char *buf, size_t size)
{
	struct line l = { buf, size, 0 };

	add(&l, "%s", ha_effect_kind_str(fx->kind));
	switch (fx->kind) {
	case HA_FX_MCAST:
		add(&l, " %s, %zu bytes", message_str(fx->mcast.bytes, fx->mcast.len),
		    fx->mcast.len);
		break;
	case HA_FX_PERSIST:
		add(&l, " %s, %zu bytes, token %llu", fx->persist.snapshot ? "snapshot" : "append",
		    fx->persist.len, (unsigned long long)fx->persist.token);
		break;
	case HA_FX_LEASE:
		add(&l, " until %llu ms", (unsigned long long)fx->lease.until_ms);
		break;
	case HA_FX_ADMIT:
	case HA_FX_PAUSE:
	case HA_FX_START:
	case HA_FX_STOP:
	case HA_FX_KILL:
	case HA_FX_RECEIVE:
	case HA_FX_MIGRATE:
	case HA_FX_CANCEL:
	case HA_FX_DECIDE:
		add(&l, " %s.%llu", fx->vmm.name, (unsigned long long)fx->vmm.incarnation);
		if (fx->kind == HA_FX_MIGRATE)
			add(&l, "%s to node %u.%llu at %s", fx->vmm.dry_run ? " dry run" : "", fx->vmm.peer,
			    (unsigned long long)fx->vmm.to_incarnation, fx->vmm.addr);
		if (fx->kind == HA_FX_PAUSE)
			add(&l, " %s", fx->vmm.pause ? "on" : "off");
		if (fx->kind == HA_FX_ADMIT)
			add(&l, " %s", fx->vmm.admit ? "yes" : "no");
		if (fx->kind == HA_FX_DECIDE)
			add(&l, " %s, %llu runs", fx->vmm.commit ? "commit" : "abort",
			    (unsigned long long)fx->vmm.to_incarnation);
		if (fx->kind == HA_FX_STOP && fx->vmm.force)
			add(&l, " by force");
		break;
	case HA_FX_FENCE:
	case HA_FX_FENCE_CANCEL:
		add(&l, " node %u debt %llu", fx->fence.node, (unsigned long long)fx->fence.debt);
		break;
	case HA_FX_CLAIM:
		add(&l, " epoch %llu with a log of %llu", (unsigned long long)fx->claim.epoch, (unsigned long long)fx->claim.log);
		break;
	case HA_FX_REPLY:
		add(&l, " #%llu %d: %s", (unsigned long long)fx->reply.request, (int)fx->reply.code,
		    fx->reply.text);
		break;
	case HA_FX_NOTE:
		add(&l, " %s", fx->note.text);
		break;
	case HA_FX_REJOIN:
	case HA_FX_KINDS:
		break;
	}
	return l.len;
}
