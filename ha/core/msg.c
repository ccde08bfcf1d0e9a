/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msg - what goes over CPG.
 *
 *   u8 version, u8 kind, then
 *   STATE   u64 promised, epoch, seq, hash; u8 fresh, copied, haunted; u32 up, token, uses; u8 level;
 *           size; u64 cluster, draw; u64 version, voters of its log; voters by its corosync.conf;
 *           whom it saw go: u32 n; n x { u32 node; u64 epoch; u8 sight }
 *   EVICT   u64 target; u32 node
 *   CHUNK   u64 target; u32 total, offset; bytes
 *   ENTRY   u64 epoch; bytes (entry.c)
 *   ACK     u64 epoch, seq
 *   RENEW   u64 epoch, k, applied, hash, digest of voters by its corosync.conf; u32 n; n x { u32 node; u64 k }
 *
 * Anything that is not exactly this is dropped with a note (rule S).
 */
#include "ha/core/core_int.h"

#include <assert.h>

void ha_msg_begin(struct ha_core *c, struct ha_writer *w, enum ha_msg_kind kind)
{
	assert(kind >= MSG_STATE && kind < MSG_KINDS);
	*w = (struct ha_writer){ .p = c->msg, .size = sizeof(c->msg) };
	ha_put_u8(w, HA_MSG_VERSION);
	ha_put_u8(w, (uint8_t)kind);
}

void ha_msg_send(struct ha_core *c, struct ha_writer *w)
{
	/* The largest of each kind fits: its sender bounds what goes in. */
	assert(!w->bad && w->p == c->msg && w->len >= 2);
	if (!w->bad)
		ha_out_mcast(c, w->p, w->len);
}

void ha_msg_deliver(struct ha_core *c, const struct ha_event *ev)
{
	struct ha_reader r = { .p = ev->deliver.bytes, .len = ev->deliver.len };
	struct ha_peer *p = ha_peer_find(c, ev->deliver.from);
	bool alone = c->form.stage == ST_ALONE;
	uint8_t version, kind;
	uint32_t from;

	/* Only group members can send; a message that was queued while we were cut off finds no view. */
	if (!p || (!p->in_group && !alone))
		return;
	from = (uint32_t)(p - c->peers);
	assert(from < c->n_peers);
	version = ha_get_u8(&r);
	kind = ha_get_u8(&r);
	if (r.bad || version != HA_MSG_VERSION) {
		ha_out_note(c, HA_WARNING, "message of version %u from %s ignored", version,
			    ha_core_node_name(c, p->conf.id));
		return;
	}
	if (alone && (kind != MSG_STATE || MUTANT(M_OUT_DEAF)))
		return; /* but who then leaves has left the epoch that it promises here (first.c) */
	p->spoke_ms = c->now;
	switch (kind) {
	case MSG_STATE:
		ha_membership_state(c, from, &r);
		break;
	case MSG_EVICT:
		ha_evict_vote(c, from, &r);
		break;
	case MSG_CHUNK:
		ha_sync_chunk(c, from, &r);
		break;
	case MSG_ENTRY:
		ha_log_entry(c, from, &r);
		break;
	case MSG_ACK:
		ha_log_ack(c, from, &r);
		break;
	case MSG_RENEW:
		ha_lease_renew(c, from, &r);
		break;
	case MSG_WITNESS:
		ha_membership_witness(c, from, &r);
		break;
	default:
		r.bad = true;
	}
	if (r.bad)
		ha_out_note(c, HA_WARNING, "malformed message (kind %u, %zu bytes) from %s ignored",
			    kind, ev->deliver.len, ha_core_node_name(c, p->conf.id));
}
