/* SPDX-License-Identifier: Apache-2.0 */
/* search_world - see search_int.h: one step of the world. */
#include "cmd/drover-sim/search_int.h"

#include "base/reserve.h"

#include <stdlib.h>
#include <string.h>

static uint64_t mix_bytes(uint64_t h, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = search_mix(h, p[i]);
	return h;
}

static const uint8_t *keep(struct world *w, const uint8_t *p, size_t n)
{
	uint8_t *at = w->bytes + w->used;

	if (w->used + n > BYTES)
		abort();
	memcpy(at, p, n);
	w->used += n;
	return at;
}

void search_vmm(struct search *s, uint32_t h, uint64_t inc, enum ha_vmm_what what)
{
	struct ha_event ev = { .kind = HA_EV_VMM };

	ev.vmm.domain = "d0";
	ev.vmm.incarnation = inc;
	ev.vmm.what = what;
	ev.vmm.addr = "tcp:10.0.0.2:1";
	search_give(s, h, &ev, search_mix(inc, what));
}

void search_append_view(struct world *w, uint32_t r)
{
	struct ring *ring = &w->ring[r];
	uint32_t view = 0;

	for (uint32_t h = 0; h < w->n; h++)
		if (w->host[h].up && w->host[h].ring == r)
			view |= 1u << h;
	ring->hash = search_mix(ring->hash, 0x1000u + view);
	ring->items[ring->n++] = (struct item){ -1, view };
}

/* DECIDE: the side that it names may run from now on; both must never be told so. */
static void decided(struct search *s, const struct ha_effect *fx)
{
	struct world *w = &s->w;

	if (fx->vmm.to_incarnation != fx->vmm.incarnation)
		return;
	if (fx->vmm.incarnation == w->incarnation && (w->granted & 1))
		w->runs |= 1;
	if (fx->vmm.incarnation == w->to_incarnation)
		w->runs |= 2;
	if (w->runs == 3)
		w->broken = "H: source and destination may both run";
}

static void claim_begins(struct host *x, uint32_t h, const struct ha_effect *fx)
{
	memcpy(x->claim_nodes, fx->claim.nodes, fx->claim.n * sizeof(x->claim_nodes[0]));
	x->claim = (struct claim){
		.me = h + 1,
		.cluster = fx->claim.cluster,
		.epoch = fx->claim.epoch,
		.log = fx->claim.log,
		.nodes = x->claim_nodes,
		.n = fx->claim.n,
	};
	x->claim_step = 1;
}

static void effect(struct search *s, uint32_t h, const struct ha_effect *fx)
{
	struct world *w = &s->w;
	struct host *x = &w->host[h];

	switch (fx->kind) {
	case HA_FX_MCAST:
		w->msgs[w->n_msgs] = (struct msg){ h, (uint32_t)fx->mcast.len,
						   keep(w, fx->mcast.bytes, fx->mcast.len),
						   mix_bytes(h, fx->mcast.bytes, fx->mcast.len) };
		x->sendq[x->n_send++] = w->n_msgs++;
		break;
	case HA_FX_PERSIST:
		x->disk[x->n_disk++] = (struct ha_blob){ keep(w, fx->persist.bytes, fx->persist.len), fx->persist.len };
		x->token = fx->persist.token;
		break;
	case HA_FX_REJOIN:
		x->n_send = 0;
		search_append_view(w, x->ring);
		break;
	case HA_FX_START:
		search_vmm(s, h, fx->vmm.incarnation, HA_VMM_RUNNING);
		break;
	case HA_FX_RECEIVE:
		w->to_incarnation = fx->vmm.incarnation;
		search_vmm(s, h, fx->vmm.incarnation, HA_VMM_INCOMING);
		break;
	case HA_FX_MIGRATE:
		w->incarnation = fx->vmm.incarnation;
		w->granted = w->asks = 3;
		search_vmm(s, h, fx->vmm.incarnation, HA_VMM_PAUSED);
		break;
	case HA_FX_DECIDE:
		decided(s, fx);
		break;
	case HA_FX_CLAIM:
		claim_begins(x, h, fx);
		break;
	default:
		break;
	}
}

static void check(struct search *s, uint32_t h)
{
	struct world *w = &s->w;
	struct ha_status st;
	uint64_t digest;

	ha_core_status(w->host[h].core, &st);
	if (!st.committed || st.committed == w->host[h].committed || st.committed >= SEQS)
		return;
	w->host[h].committed = st.committed;
	digest = search_mix(st.hash, ha_record_hash(ha_core_record(w->host[h].core)));
	if (w->seen[st.committed] && w->seen[st.committed] != digest)
		w->broken = "I5: two hosts have different logs or records at one entry";
	w->seen[st.committed] = digest;
}

void search_give(struct search *s, uint32_t h, struct ha_event *ev, uint64_t digest)
{
	struct host *x = &s->w.host[h];
	struct ha_effects *fx;

	/* An effect may give its core the next event: each of these steps has its own list. */
	if (s->nested == NESTED)
		abort();
	if (!s->fx[s->nested])
		s->fx[s->nested] = malloc(sizeof(*fx));
	fx = s->fx[s->nested++];
	if (!fx)
		abort();
	ev->now_ms = 1000 + s->w.now;
	x->history = search_mix(search_mix(x->history, ev->kind), digest);
	ha_core_step(x->core, ev, fx);
	check(s, h);
	for (size_t i = 0; i < fx->n; i++)
		effect(s, h, &fx->fx[i]);
	s->nested--;
}

void search_give_item(struct search *s, uint32_t h, const struct item *it)
{
	struct world *w = &s->w;
	struct ha_event ev = { .kind = HA_EV_DELIVER };
	uint32_t ids[HOSTS], n = 0;

	if (it->msg >= 0) {
		ev.deliver.from = w->msgs[it->msg].from + 1;
		ev.deliver.bytes = w->msgs[it->msg].bytes;
		ev.deliver.len = w->msgs[it->msg].len;
		search_give(s, h, &ev, w->msgs[it->msg].hash);
		return;
	}
	if (!(it->view >> h & 1))
		return;
	for (uint32_t i = 0; i < w->n; i++)
		if (it->view >> i & 1)
			ids[n++] = i + 1;
	ev = (struct ha_event){ .kind = HA_EV_VIEW };
	ev.view.nodes = ids;
	ev.view.n = n;
	ev.view.ring = HA_RING_SILENT;
	search_give(s, h, &ev, it->view);
	ev = (struct ha_event){ .kind = HA_EV_QUORUM };
	ev.quorum.quorate = n > w->n / 2;
	ev.quorum.nodes = ids;
	ev.quorum.n = n;
	search_give(s, h, &ev, it->view);
}

void search_start(struct search *s, uint32_t h)
{
	struct world *w = &s->w;
	struct host *x = &w->host[h];
	struct ha_node_conf nodes[HOSTS] = { 0 };
	struct ha_event ev = { .kind = HA_EV_BOOT };

	x->up = true;
	x->committed = 0;
	x->durable = x->n_disk;
	ha_core_init(x->core);
	ev.boot.me = h + 1;
	ev.boot.token_ms = 1000;
	ev.boot.draw = h + 1;
	ev.boot.disk = x->disk;
	ev.boot.n_disk = x->n_disk;
	search_give(s, h, &ev, x->n_disk);
	for (uint32_t i = 0; i < w->n; i++) {
		nodes[i].id = i + 1;
		nodes[i].votes = 1;
		snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", i + 1);
	}
	ev = (struct ha_event){ .kind = HA_EV_CONFIG };
	ev.config.nodes = nodes;
	ev.config.n = w->n;
	ev.config.token_ms = 1000;
	ev.config.witness = s->o.witness;
	search_give(s, h, &ev, w->n);
	if (s->o.witness) {
		ev = (struct ha_event){ .kind = HA_EV_WITNESS, .witness = { .ok = true, .live.bits[0] = ~0ull } };
		search_give(s, h, &ev, 1);
	}
	ev = (struct ha_event){ .kind = HA_EV_VMM_LIST };
	search_give(s, h, &ev, 0);
	x->next = w->ring[x->ring].n;
	search_append_view(w, x->ring);
}

static void claim_ends(struct search *s, uint32_t h, bool ok, uint64_t seen)
{
	struct host *x = &s->w.host[h];
	struct ha_event ev = { .kind = HA_EV_WITNESS, .witness = { .claim = x->claim.epoch, .ok = ok, .seen = seen } };

	x->claim_step = 0;
	search_give(s, h, &ev, search_mix(x->claim.epoch, ok));
}

void search_claim(struct search *s, uint32_t h)
{
	struct host *x = &s->w.host[h];
	struct claim_slots *slots = &s->w.slots;
	uint64_t seen = 0;
	uint32_t by = 0;
	bool ok;

	switch (x->claim_step++) {
	case 1:
		x->before = *slots;
		if (claim_judge(&x->claim, slots, &by, &seen) != CLAIM_MAY)
			claim_ends(s, h, false, seen);
		break;
	case 2:
		slots->of[h + 1] = (struct claim_slot){ x->claim.cluster, x->claim.epoch };
		break;
	default:
		ok = claim_undisturbed(&x->claim, &x->before, slots);
		if (!ok)
			slots->of[h + 1] = x->before.of[h + 1];
		claim_ends(s, h, ok, 0);
		break;
	}
}

/* What an fsync finished: a snapshot makes what is before it superfluous. */
void search_persist(struct search *s, uint32_t h)
{
	struct host *x = &s->w.host[h];
	struct ha_event ev = { .kind = HA_EV_PERSISTED };

	x->durable = x->n_disk;
	for (uint32_t i = x->n_disk; i-- > 1;) {
		if (x->disk[i].bytes[0] != 1)
			continue;
		memmove(x->disk, x->disk + i, (x->n_disk - i) * sizeof(*x->disk));
		x->n_disk -= i;
		x->durable = x->n_disk;
		break;
	}
	ev.persisted.token = x->token;
	search_give(s, h, &ev, x->token);
}

void search_crash(struct search *s, uint32_t h, bool lose)
{
	struct host *x = &s->w.host[h];

	/* What it had sent to the witness may still arrive. */
	if (x->claim_step == 2 && !lose)
		s->w.slots.of[h + 1] = (struct claim_slot){ x->claim.cluster, x->claim.epoch };
	x->claim_step = 0;
	x->up = false;
	x->n_send = 0;
	if (lose)
		x->n_disk = x->durable;
	x->history = search_mix(x->history, 0xdead + x->n_disk);
	search_append_view(&s->w, x->ring);
}

/* Members of @group go on together from ring @old; of what was on its way they have the first @share. */
void search_regroup(struct search *s, uint32_t group, uint32_t share)
{
	struct world *w = &s->w;
	uint32_t r = w->n_rings++;

	w->ring[r].n = 0;
	w->ring[r].members = group;
	w->ring[r].hash = search_mix(0, group);
	for (uint32_t h = 0; h < w->n; h++) {
		struct host *x = &w->host[h];
		struct ring *old = &w->ring[x->ring];

		if (!(group >> h & 1))
			continue;
		for (uint32_t i = x->next; x->up && i < old->n; i++) {
			const struct item *it = &old->items[i];
			bool own = it->msg >= 0 && (group >> w->msgs[it->msg].from & 1);

			if (i < share || own)
				search_give_item(s, h, it);
		}
		x->ring = r;
		x->next = 0;
	}
	search_append_view(w, r);
}
