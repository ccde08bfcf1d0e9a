/* SPDX-License-Identifier: Apache-2.0 */
/*
 * step - the only door (core.h).
 *
 * An event goes to the file that knows it; then, whatever the event was, all
 * that is level-triggered looks at the new state: formation, lease, commands,
 * debts, VMMs.  What must happen later asks for a wakeup.
 */
#include "ha/core/core_int.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

size_t ha_core_size(void)
{
	return sizeof(struct ha_core);
}

/* From the first member to just before the second. */
#define CLEAR(c, from, to)                                      \
	memset((char *)(c) + offsetof(struct ha_core, from), 0, \
	       offsetof(struct ha_core, to) - offsetof(struct ha_core, from))

void ha_core_init(struct ha_core *c)
{
	/* What is large is guarded by a count or a flag and needs no clearing. */
	CLEAR(c, booted, peers);
	memset(&c->form, 0, offsetof(struct ha_form, first));
	memset(&c->log, 0, offsetof(struct ha_log, tail));
	c->log.bytes_start = c->log.bytes_end = 0;
	c->log.disk_bytes = c->log.snap_bytes = 0;
	CLEAR(c, lease, ops);
	for (uint32_t i = 0; i < OPS_MAX; i++)
		c->ops[i].used = false;
	CLEAR(c, op_order, vmm_names);
	ha_names_clear(&c->vmm_names);
	CLEAR(c, drain_ms, backoff_ms);
	memset(&c->rec, 0, offsetof(struct ha_record, index));
	c->rec.n_domains = c->rec.texts.used = c->rec.texts.live = 0;
	ha_index_build(&c->rec);
	c->wake = UINT64_MAX;
}

static void boot(struct ha_core *c, const struct ha_event *ev)
{
	c->me = ev->boot.me;
	c->boot_ms = c->last_ms = ev->now_ms;
	c->token = ev->boot.token_ms;
	c->draw = ev->boot.draw;
	c->size = ev->boot.size;
	c->fresh = true;
	c->copied = ev->boot.copied;
	c->form.stage = ST_ALONE;
	assert(c->me && !c->booted);
	c->self = (uint32_t)(ha_peer_get(c, c->me) - c->peers);
	ha_snapshot_boot(c, ev->boot.disk, ev->boot.n_disk);
	c->counted_ms = 0; /* what this daemon began with is no change that it saw; it waits from its start (proof.c) */
	/*
	 * What tells that no daemon ran here before lies beside the record: where that is a copy, so
	 * is this, and where that was lost or taken away, this may be what was left there.
	 */
	c->unseen = ev->boot.unseen || ((c->copied || !c->log.seq) && !MUTANT(M_COPIED_MARK));
	ha_agreed_follow(c);
	c->booted = true;
}

/*
 * A daemon that was stopped for a while must not think that the others were
 * silent: it did not listen.
 */
static void notice_gap(struct ha_core *c)
{
	if (c->now - c->last_ms > c->t.token / 2) {
		for (uint32_t i = 0; i < c->n_peers; i++)
			c->peers[i].spoke_ms = c->peers[i].progress_ms = c->now;
		c->form.since_ms = c->now;
	}
	c->last_ms = c->now;
	if (c->form.stage != ST_ALONE)
		ha_wake_at(c, c->now + c->t.token / 4);
}

static void dispatch(struct ha_core *c, const struct ha_event *ev)
{
	switch (ev->kind) {
	case HA_EV_CONFIG:
		ha_membership_config(c, ev);
		break;
	case HA_EV_VIEW:
		ha_membership_view(c, ev);
		break;
	case HA_EV_CPG_LOST:
		ha_membership_lost(c);
		break;
	case HA_EV_QUORUM:
		ha_membership_quorum(c, ev);
		break;
	case HA_EV_DELIVER:
		ha_msg_deliver(c, ev);
		break;
	case HA_EV_PERSISTED:
		ha_log_persisted(c, ev->persisted.token);
		ha_membership_persisted(c);
		break;
	case HA_EV_VMM:
		ha_vmm_event(c, ev);
		break;
	case HA_EV_VMM_LIST:
		c->listed = true;
		break;
	case HA_EV_LEAVE:
		c->leaving = true;
		break;
	case HA_EV_FENCE_DONE:
		ha_proof_fence_done(c, ev);
		break;
	case HA_EV_OPERATOR:
		ha_op_event(c, ev);
		break;
	case HA_EV_WITNESS:
		ha_witness_event(c, ev);
		break;
	case HA_EV_TICK:
	case HA_EV_BOOT:
	case HA_EV_KINDS:
		break;
	}
}

/*
 * The store is rewritten now and then, when as much was appended as the snapshot is long: so what
 * is written is at most twice what has to be.  Never while the buffer serves a formation.
 */
static void compact(struct ha_core *c)
{
	if (c->form.stage == ST_STANDS && c->log.disk_bytes > COMPACT_BYTES && c->log.disk_bytes > c->log.snap_bytes)
		ha_snapshot_store(c);
}

/* What each step leaves behind, whatever the event was. */
static void check(const struct ha_core *c)
{
	ha_log_check(c);
	ha_membership_invariants(c);
	assert(c->now >= c->boot_ms && c->last_ms == c->now);
	assert(c->lease.published_ms <= c->lease.until_ms);
	assert(c->n_vmms <= VMMS_MAX);
	assert(c->n_ops <= OPS_MAX);
	assert(c->out->n <= HA_EFFECTS_MAX && c->out->used <= HA_ARENA_MAX);
}

void ha_core_step(struct ha_core *c, const struct ha_event *ev, struct ha_effects *out)
{
	assert(!c->out); /* one step at a time: what an effect causes is another event */
	out->n = 0;
	out->used = 0;
	c->out = out;
	/* BOOTTIME never goes back; an event stamped before its predecessor was stamped by another
	 * thread. */
	if (ev->now_ms > c->now)
		c->now = ev->now_ms;
	c->wake = UINT64_MAX;
	if (ev->kind == HA_EV_BOOT)
		boot(c, ev);
	if (c->booted) {
		notice_gap(c);
		dispatch(c, ev);
		ha_membership_tick(c);
		ha_witness_tick(c);
		ha_evict_tick(c);
		ha_lease_tick(c);
		ha_reconcile(c);
		ha_proof_tick(c);
		ha_agreed_tick(c);
		ha_wanted_tick(c);
		c->hosts_looked_at = true;
		ha_standing_tick(c);
		ha_op_tick(c);
		compact(c);
		check(c);
	}
	c->out = NULL;
}

uint64_t ha_core_next_wakeup(const struct ha_core *c)
{
	return c->wake;
}

/* ------------------------------------------------------------------- reading */

void ha_core_status(const struct ha_core *c, struct ha_status *out)
{
	*out = (struct ha_status){
		.me = c->me,
		.quorate = c->quorate,
		.votes = ha_group_votes(c) + (c->form.stage == ST_STANDS && c->leans),
		.needed = ha_majority(c),
		.epoch = c->epoch,
		.seq = c->log.seq,
		.committed = c->log.applied,
		.hash = c->log.applied_hash,
		.lease_until_ms = c->lease.published_ms,
		.witness = c->log.voters.witness,
		.witness_ok = c->asking.ok,
		.leans = c->form.stage == ST_STANDS && c->leans,
		.n_nodes = c->n_peers,
	};
	switch (c->form.stage) {
	case ST_ALONE:
		out->standing = HA_ALONE;
		break;
	case ST_GATHER:
	case ST_SYNC:
		out->standing = HA_FORMING;
		break;
	case ST_STANDS:
		out->standing = HA_STANDS;
		break;
	}
}

static const struct ha_peer *nth_peer(const struct ha_core *c, size_t nth)
{
	return nth < c->n_peers ? &c->peers[c->by_id[nth]] : NULL;
}

bool ha_core_node(const struct ha_core *c, size_t i, struct ha_node_status *out)
{
	const struct ha_peer *p = nth_peer(c, i);
	int slot;

	if (!p)
		return false;
	memset(out, 0, sizeof(*out));
	out->conf = p->conf;
	out->alive = p->alive;
	out->in_group = p->in_group;
	out->heard_ms = p->heard_ms;
	out->votes = p->votes;
	ha_wanted_why(c, p, out->why, sizeof(out->why));
	if (p->foreign)
		snprintf(out->why, sizeof(out->why), "its record is that of another cluster: it takes no part");
	slot = ha_record_slot(&c->rec, p->conf.id);
	if (slot < 0)
		return true;
	out->member = c->form.stage == ST_STANDS && ha_set_has(c->rec.members, slot);
	out->debt = c->rec.nodes[slot].debt != 0;
	out->report_due = c->rec.nodes[slot].report_due;
	out->maintenance = c->rec.nodes[slot].maintenance;
	out->leased = out->member && c->rec.nodes[slot].leased;
	out->size = c->rec.nodes[slot].size;
	out->domains = c->rec.index.owned[slot];
	if (out->debt || !out->why[0])
		ha_why_node(c, (uint32_t)slot, c->now, out->why, sizeof(out->why));
	return true;
}

bool ha_core_parted(const struct ha_core *c)
{
	int slot = ha_record_slot(&c->rec, c->me);

	return c->leaving && slot >= 0 && c->rec.nodes[slot].parted;
}

const struct ha_record *ha_core_record(const struct ha_core *c)
{
	return &c->rec;
}

const struct ha_timing *ha_core_timing(const struct ha_core *c)
{
	return &c->t;
}

const char *ha_core_node_name(const struct ha_core *c, uint32_t id)
{
	struct ha_core *m = (struct ha_core *)c; /* name_buf is scratch, no state */
	const struct ha_peer *p = ha_peer_find(m, id);

	if (p && p->conf.name[0])
		return p->conf.name;
	snprintf(m->name_buf, sizeof(m->name_buf), "node %u", id);
	return c->name_buf;
}

static bool is_number_of(const char *name, uint32_t id)
{
	char text[32];

	snprintf(text, sizeof(text), "node %u", id);
	return id && (strcmp(name, text) == 0 || strcmp(name, text + strlen("node ")) == 0);
}

uint32_t ha_core_node_id(const struct ha_core *c, const char *name)
{
	const struct ha_peer *gone = NULL, *here = NULL;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_peer *p = &c->peers[i];

		if (strcmp(p->conf.name, name) != 0)
			continue;
		if (here && p->configured)
			return 0; /* a name that two have means neither */
		if (p->configured)
			here = p;
		gone = p;
	}
	if (here)
		return here->conf.id;
	if (gone && *name)
		return gone->conf.id;
	for (uint32_t i = 0; i < c->n_peers; i++)
		if (is_number_of(name, c->peers[i].conf.id))
			return c->peers[i].conf.id;
	/* A daemon that began after the host was taken out has never read its name. */
	for (uint32_t i = 0; i < HA_NODES_MAX; i++)
		if (is_number_of(name, c->rec.nodes[i].id))
			return c->rec.nodes[i].id;
	return 0;
}
