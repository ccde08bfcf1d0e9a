/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_bed - a few cores on a perfect network, for tests that read as stories.
 * Messages are delivered in one order at once, disks are durable at once, time
 * moves only when the test says so. What is not perfect belongs into drover-sim.
 */
#ifndef CORE_BED_H
#define CORE_BED_H

#include "base/reserve.h"
#include "ha/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BED_MAX 5
#define BED_LOG 256

struct bed_fx {
	uint32_t node;
	enum ha_effect_kind kind;
	char name[64];
	uint64_t incarnation, arg;
	int code;
	char text[256];
};

static uint64_t bed_draws; /* each daemon would call a new cluster something else */

struct bed_msg {
	uint32_t from;
	size_t len;
	uint8_t *bytes;
};

struct bed {
	uint32_t n, cut;         /* cut: set of nodes nobody reaches (0-based) */
	enum ha_ring ring;       /* why the ring breaks */
	uint32_t left;           /* of the cut ones, who left in order: the others are told in the next view */
	uint64_t now, delivered; /* ms; messages, each counted for each that it reached */
	struct ha_core *core[BED_MAX];
	struct ha_effects *fx;
	struct bed_msg *queue;
	size_t head, tail, size;
	uint32_t n_fx;
	struct bed_fx seen[BED_LOG]; /* what cores did, messages and disk aside */
};

static inline void bed_step(struct bed *b, uint32_t i, struct ha_event *ev);

static inline void bed_effect(struct bed *b, uint32_t i, const struct ha_effect *fx,
			      uint64_t *token)
{
	struct bed_fx *s;
	struct bed_msg *m;

	if (fx->kind == HA_FX_PERSIST) {
		*token = fx->persist.token;
		return;
	}
	if (fx->kind == HA_FX_MCAST) {
		if (b->tail == b->size) {
			b->size = b->size ? b->size * 2 : 64;
			b->queue = realloc(b->queue, b->size * sizeof(*b->queue));
		}
		m = &b->queue[b->tail++];
		m->from = i;
		m->len = fx->mcast.len;
		m->bytes = malloc(m->len);
		memcpy(m->bytes, fx->mcast.bytes, m->len);
		return;
	}
	if (fx->kind == HA_FX_LEASE || fx->kind == HA_FX_NOTE || b->n_fx == BED_LOG)
		return;
	s = &b->seen[b->n_fx++];
	memset(s, 0, sizeof(*s));
	s->node = i + 1;
	s->kind = fx->kind;
	if (fx->kind == HA_FX_REPLY) {
		s->code = fx->reply.code;
		snprintf(s->text, sizeof(s->text), "%s", fx->reply.text);
	} else if (fx->kind == HA_FX_FENCE || fx->kind == HA_FX_FENCE_CANCEL) {
		s->incarnation = fx->fence.debt;
		s->arg = fx->fence.node;
	} else if (fx->kind == HA_FX_CLAIM) {
		s->arg = fx->claim.epoch;
	} else if (fx->vmm.name) {
		snprintf(s->name, sizeof(s->name), "%s", fx->vmm.name);
		s->incarnation = fx->vmm.incarnation;
		s->arg = fx->vmm.to_incarnation;
		s->code = fx->kind == HA_FX_ADMIT ? fx->vmm.admit : fx->vmm.commit;
	}
}

static inline void bed_step(struct bed *b, uint32_t i, struct ha_event *ev)
{
	uint64_t token = 0;

	ev->now_ms = b->now;
	ha_core_step(b->core[i], ev, b->fx);
	for (size_t k = 0; k < b->fx->n; k++)
		bed_effect(b, i, &b->fx->fx[k], &token);
	if (token) {
		struct ha_event p = { .kind = HA_EV_PERSISTED };

		p.persisted.token = token;
		bed_step(b, i, &p);
	}
}

/* Deliver until nothing is on its way. */
static inline void bed_settle(struct bed *b)
{
	while (b->head < b->tail) {
		struct bed_msg m = b->queue[b->head++];

		for (uint32_t i = 0; i < b->n; i++) {
			struct ha_event ev = { .kind = HA_EV_DELIVER };

			if ((b->cut >> i & 1) != (b->cut >> m.from & 1))
				continue;
			ev.deliver.from = m.from + 1;
			ev.deliver.bytes = m.bytes;
			ev.deliver.len = m.len;
			bed_step(b, i, &ev);
			b->delivered++;
		}
		free(m.bytes);
	}
	b->head = b->tail = 0;
}

/* Time passes, in steps of 50 ms. */
static inline void bed_pass(struct bed *b, uint64_t ms)
{
	for (uint64_t end = b->now + ms; b->now < end;) {
		b->now += 50;
		for (uint32_t i = 0; i < b->n; i++) {
			struct ha_event ev = { .kind = HA_EV_TICK };

			if (ha_core_next_wakeup(b->core[i]) <= b->now)
				bed_step(b, i, &ev);
		}
		bed_settle(b);
	}
}

/* Everybody sees the view that b->cut makes: the ones in it, and the others. */
static inline void bed_view(struct bed *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		struct ha_event ev = { .kind = HA_EV_VIEW };
		uint32_t ids[BED_MAX], went[BED_MAX], n = 0;

		for (uint32_t j = 0; j < b->n; j++) {
			if ((b->cut >> i & 1) == (b->cut >> j & 1))
				ids[n++] = j + 1;
			else if (b->left >> j & 1)
				went[ev.view.n_left++] = j + 1;
		}
		ev.view.left = went;
		ev.view.ring = b->ring;
		ev.view.nodes = ids;
		ev.view.n = n;
		bed_step(b, i, &ev);
		ev = (struct ha_event){ .kind = HA_EV_QUORUM };
		ev.quorum.quorate = n > b->n / 2;
		ev.quorum.nodes = ids;
		ev.quorum.n = n;
		bed_step(b, i, &ev);
	}
	bed_settle(b);
}

/*
 * The hosts of @cut are silent; when that is noticed, a token later, there is a view without them,
 * and with those who were cut before.
 */
static inline void bed_crash(struct bed *b, uint32_t cut)
{
	b->cut |= cut;
	bed_pass(b, 1100);
	b->cut = cut;
	b->ring = HA_RING_SILENT;
	bed_view(b);
	b->ring = HA_RING_CALLED;
}

static inline void bed_boot(struct bed *b, uint32_t i)
{
	struct ha_node_conf nodes[BED_MAX];
	struct ha_event ev = { .kind = HA_EV_BOOT };

	ha_core_init(b->core[i]);
	ev.boot.me = i + 1;
	ev.boot.token_ms = 1000;
	ev.boot.draw = ++bed_draws;
	bed_step(b, i, &ev);
	memset(nodes, 0, sizeof(nodes));
	for (uint32_t j = 0; j < b->n; j++) {
		nodes[j].id = j + 1;
		nodes[j].votes = 1;
		snprintf(nodes[j].name, sizeof(nodes[j].name), "n%u", j + 1);
	}
	ev = (struct ha_event){ .kind = HA_EV_CONFIG };
	ev.config.nodes = nodes;
	ev.config.n = b->n;
	bed_step(b, i, &ev);
	ev = (struct ha_event){ .kind = HA_EV_VMM_LIST };
	bed_step(b, i, &ev);
}

static inline struct bed *bed_new(uint32_t n)
{
	struct bed *b = calloc(1, sizeof(*b));

	b->n = n;
	b->now = 1000;
	b->fx = malloc(sizeof(*b->fx));
	for (uint32_t i = 0; i < n; i++) {
		b->core[i] = reserve_make(ha_core_size());
		bed_boot(b, i);
	}
	bed_view(b);
	bed_pass(b, 1000);
	return b;
}

static inline void bed_free(struct bed *b)
{
	for (size_t i = b->head; i < b->tail; i++)
		free(b->queue[i].bytes);
	for (uint32_t i = 0; i < b->n; i++)
		reserve_free(b->core[i], ha_core_size());
	free(b->queue);
	free(b->fx);
	free(b);
}

/* @node is 1-based from here on. Return: the newest reply. */
static inline struct bed_fx *bed_command(struct bed *b, uint32_t node, struct ha_command cmd)
{
	struct ha_event ev = { .kind = HA_EV_OPERATOR };
	uint32_t before = b->n_fx;

	ev.op.request = 1;
	ev.op.cmd = cmd;
	if (!cmd.size.memory)
		ev.op.cmd.size = (struct ha_size){ 1 << 30, 1 };
	if (!cmd.actor) {
		ev.op.cmd.actor = "root";
		ev.op.cmd.access = HA_ACCESS_ADMIN;
	}
	bed_step(b, node - 1, &ev);
	bed_settle(b);
	for (uint32_t i = before; i < b->n_fx; i++)
		if (b->seen[i].kind == HA_FX_REPLY)
			return &b->seen[i];
	return NULL;
}

static inline void bed_vmm(struct bed *b, uint32_t node, const char *name, uint64_t inc,
			   enum ha_vmm_what what, int rc)
{
	struct ha_event ev = { .kind = HA_EV_VMM };

	ev.vmm.domain = name;
	ev.vmm.incarnation = inc;
	ev.vmm.what = what;
	ev.vmm.rc = rc;
	ev.vmm.end = rc ? HA_END_FAILED : HA_END_POWEROFF;
	ev.vmm.addr = "tcp:10.0.0.1:1";
	ev.vmm.text = rc ? "test" : "";
	bed_step(b, node - 1, &ev);
	bed_settle(b);
}

/* Each START of a host that is not cut off is obeyed at once; all that cores did is forgotten. */
static inline void bed_obey(struct bed *b)
{
	static struct bed_fx todo[BED_LOG];
	uint32_t n = b->n_fx;

	memcpy(todo, b->seen, n * sizeof(*todo));
	b->n_fx = 0;
	for (uint32_t i = 0; i < n; i++)
		if (todo[i].kind == HA_FX_START && !(b->cut >> (todo[i].node - 1) & 1))
			bed_vmm(b, todo[i].node, todo[i].name, todo[i].incarnation, HA_VMM_RUNNING, 0);
}

static inline struct bed_fx *bed_find(struct bed *b, enum ha_effect_kind kind, const char *name)
{
	for (uint32_t i = b->n_fx; i-- > 0;)
		if (b->seen[i].kind == kind && (!name || !strcmp(b->seen[i].name, name)))
			return &b->seen[i];
	return NULL;
}

static inline const struct ha_domain *bed_domain(struct bed *b, uint32_t node, const char *name)
{
	const struct ha_record *r = ha_core_record(b->core[node - 1]);
	int i = ha_record_find(r, name);

	return i < 0 ? NULL : &r->domains[i];
}

#endif
