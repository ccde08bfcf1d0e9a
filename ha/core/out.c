/* SPDX-License-Identifier: Apache-2.0 */
/*
 * out - effects of the present step.
 *
 * The list and its arena are fixed.  Whoever can wait asks ha_out_room() first
 * and tries again in the next step; a step keeps a reserve for what cannot wait
 * (a PERSIST of what was just appended, an ACK).
 */
#include "ha/core/core_int.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RESERVE_EFFECTS 64
#define RESERVE_BYTES (128u << 10)

bool ha_out_room(const struct ha_core *c, size_t effects, size_t bytes)
{
	return c->out->n + effects + RESERVE_EFFECTS <= HA_EFFECTS_MAX &&
	       c->out->used + bytes + RESERVE_BYTES <= HA_ARENA_MAX;
}

static struct ha_effect *add(struct ha_core *c, enum ha_effect_kind kind)
{
	struct ha_effect *fx;

	assert(c->out && c->out->n <= HA_EFFECTS_MAX && kind < HA_FX_KINDS);
	if (c->out->n == HA_EFFECTS_MAX) {
		ha_wake_at(c, c->now);
		return NULL;
	}
	fx = &c->out->fx[c->out->n++];
	memset(fx, 0, sizeof(*fx));
	fx->kind = kind;
	return fx;
}

static const uint8_t *keep(struct ha_core *c, const void *p, size_t len)
{
	uint8_t *at = c->out->arena + c->out->used;

	assert(c->out->used <= HA_ARENA_MAX);
	if (HA_ARENA_MAX - c->out->used < len)
		return NULL;
	memcpy(at, p, len);
	c->out->used += len;
	return at;
}

void ha_out_claim(struct ha_core *c, const uint32_t *nodes, size_t n)
{
	struct ha_effect *fx = add(c, HA_FX_CLAIM);

	if (!fx)
		return;
	fx->claim.witness = c->form.asks;
	fx->claim.cluster = ha_log_cluster(c);
	fx->claim.epoch = c->asking.claim;
	fx->claim.log = c->asking.log;
	fx->claim.nodes = nodes;
	fx->claim.n = n;
}

void ha_out_mcast(struct ha_core *c, const uint8_t *p, size_t len)
{
	const uint8_t *bytes = keep(c, p, len);
	struct ha_effect *fx = bytes ? add(c, HA_FX_MCAST) : NULL;

	if (!fx)
		return;
	fx->mcast.bytes = bytes;
	fx->mcast.len = len;
}

void ha_out_persist(struct ha_core *c, bool snapshot, const uint8_t *p, size_t len, uint64_t token)
{
	/* A snapshot lives in c->snap until the next step; what is appended is copied. */
	const uint8_t *bytes = snapshot ? p : keep(c, p, len);
	struct ha_effect *fx = bytes ? add(c, HA_FX_PERSIST) : NULL;

	if (!fx)
		return;
	assert(len && token <= c->log.next_token);
	fx->persist.snapshot = snapshot;
	fx->persist.bytes = bytes;
	fx->persist.len = len;
	fx->persist.token = token;
}

struct ha_effect *ha_out_vmm(struct ha_core *c, enum ha_effect_kind kind, const char *name,
			     uint64_t inc)
{
	const uint8_t *kept = keep(c, name, strlen(name) + 1);
	struct ha_effect *fx = kept ? add(c, kind) : NULL;

	if (!fx)
		return NULL;
	fx->vmm.name = (const char *)kept;
	fx->vmm.incarnation = inc;
	return fx;
}

void ha_out_simple(struct ha_core *c, enum ha_effect_kind kind, uint64_t arg, uint64_t arg2)
{
	struct ha_effect *fx = add(c, kind);

	assert(kind == HA_FX_LEASE || kind == HA_FX_FENCE || kind == HA_FX_FENCE_CANCEL || kind == HA_FX_REJOIN);
	if (!fx)
		return;
	if (kind == HA_FX_LEASE) {
		fx->lease.until_ms = arg;
	} else {
		fx->fence.node = (uint32_t)arg;
		fx->fence.debt = arg2;
	}
}

void ha_out_reply(struct ha_core *c, uint64_t request, enum ha_code code, const char *text)
{
	const uint8_t *kept = keep(c, text, strlen(text) + 1);
	struct ha_effect *fx = kept ? add(c, HA_FX_REPLY) : NULL;

	if (!fx)
		return;
	fx->reply.request = request;
	fx->reply.code = code;
	fx->reply.text = (const char *)kept;
}

void ha_out_note(struct ha_core *c, enum ha_level level, const char *fmt, ...)
{
	char text[512];
	struct ha_effect *fx;
	const uint8_t *kept;
	va_list ap;

	/* While the stored log is read again its news is old. */
	if ((!c->booted && level != HA_ALARM) || !ha_out_room(c, 1, sizeof(text)))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	kept = keep(c, text, strlen(text) + 1);
	fx = kept ? add(c, HA_FX_NOTE) : NULL;
	if (!fx)
		return;
	fx->note.level = level;
	fx->note.text = (const char *)kept;
}

void ha_wake_at(struct ha_core *c, uint64_t ms)
{
	if (ms < c->wake)
		c->wake = ms;
}
