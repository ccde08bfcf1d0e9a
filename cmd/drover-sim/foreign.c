/* SPDX-License-Identifier: Apache-2.0 */
/*
 * foreign - the disk of a host that lived in another cluster, long enough that its log is
 * longer than anybody's here.
 *
 * A core of its own, alone with one vote, is made to agree with itself again and again;
 * what it wanted to keep is the disk.
 */
#include "cmd/drover-sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define VIEWS 300

struct lone {
	struct ha_core *core;
	struct ha_effects *fx;
	struct sim_disk *disk;
	uint32_t id;
	uint64_t now;
	struct sim_blob said[256]; /* messages on their way */
	uint32_t head, tail;
};

static struct sim_blob copy(const uint8_t *bytes, size_t len)
{
	struct sim_blob b = { .len = (uint32_t)len, .bytes = malloc(len + 1) };

	if (!b.bytes)
		abort();
	memcpy(b.bytes, bytes, len);
	return b;
}

static void keep(struct sim_disk *d, const struct ha_effect *fx)
{
	if (fx->persist.snapshot)
		disk_empty(d);
	disk_append(d, fx);
	d->durable = d->n;
}

static void give(struct lone *l, struct ha_event *ev)
{
	struct ha_event durable = { .kind = HA_EV_PERSISTED };

	ev->now_ms = ++l->now;
	ha_core_step(l->core, ev, l->fx);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is said is kept in l->said, at an index it does not know */
	for (size_t i = 0; i < l->fx->n; i++) {
		const struct ha_effect *fx = &l->fx->fx[i];

		if (fx->kind == HA_FX_PERSIST) {
			keep(l->disk, fx);
			durable.persisted.token = fx->persist.token;
		} else if (fx->kind == HA_FX_MCAST && l->tail < 256) {
			l->said[l->tail++] = copy(fx->mcast.bytes, fx->mcast.len);
		}
	}
	if (durable.persisted.token)
		give(l, &durable);
}

static void hear(struct lone *l)
{
	while (l->head < l->tail) {
		struct sim_blob m = l->said[l->head++];
		struct ha_event ev = { .kind = HA_EV_DELIVER };

		ev.deliver.from = l->id;
		ev.deliver.bytes = m.bytes;
		ev.deliver.len = m.len;
		give(l, &ev);
		free(m.bytes);
	}
	l->head = l->tail = 0;
}

void disk_foreign(struct sim *s, uint32_t h)
{
	struct ha_node_conf node = { .id = s->host[h].id, .votes = 1 };
	struct ha_event ev = { .kind = HA_EV_BOOT };
	struct lone l = { .core = s->host[h].core, .fx = s->fx, .disk = &s->host[h].disk, .id = node.id };

	disk_empty(l.disk);
	ha_core_init(l.core);
	ev.boot.me = l.id;
	ev.boot.token_ms = s->host[h].token;
	ev.boot.draw = UINT64_MAX;
	give(&l, &ev);
	ev = (struct ha_event){ .kind = HA_EV_CONFIG };
	ev.config.nodes = &node;
	ev.config.n = 1;
	give(&l, &ev);
	for (uint32_t i = 0; i < VIEWS; i++) {
		ev = (struct ha_event){ .kind = HA_EV_VIEW };
		ev.view.nodes = &l.id;
		ev.view.n = 1;
		give(&l, &ev);
		hear(&l);
	}
	s->host[h].copied = false;
	s->host[h].foreign = true;
}
