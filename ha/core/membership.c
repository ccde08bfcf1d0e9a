/* SPDX-License-Identifier: Apache-2.0 */
/*
 * membership - from a CPG view to an epoch that stands.
 *
 *   VIEW      everybody promises its next epoch on disk, then multicasts
 *             STATE(promised, last entry of my log)
 *   GATHER    the largest promise seen is the target; who promised less
 *             promises that and says so again; when all agree:
 *   SYNC      donor = the longest log (epoch, seq), lowest node id among equals.
 *             Who differs from it gets its snapshot in chunks. Everybody appends
 *             the same first entry, NEW_EPOCH(members), makes it durable, ACKs
 *   STANDS    when a majority of all votes acknowledged that
 *
 * All of this happens in CPG's total order, so all members take the same step at
 * the same message; who drops out half way took a prefix of the same steps.
 *
 * Why an epoch number belongs to one agreement only.  SYNC is reached only when
 * members with a majority of votes have promised the target durably.  Two
 * agreements on one number would share a member that promised it twice; but a
 * member promises more in each view than ever before.  So entries with an equal
 * (epoch, seq) are equal.  Why nothing committed is lost: what was committed in
 * epoch e is held by a majority; every later agreement has a member of that
 * majority, whose STATE was said after it acknowledged (it acknowledges nothing
 * old once it promised), and the longest log wins.  docs/ha.md has the proof.
 *
 * Nobody is waited for without a bound: a mute member is voted out (evict.c), in
 * the same total order.
 */
#include "ha/core/core_int.h"

#include <assert.h>
#include <string.h>

ha_set ha_membership_present(const struct ha_core *c)
{
	ha_set set = 0;

	for (uint32_t i = 0; i < c->n_peers; i++)
		if (c->peers[i].in_group && !c->peers[i].evicted)
			set |= ha_set_of(i);
	return set;
}

bool ha_membership_lowest(const struct ha_core *c)
{
	for (uint32_t i = 0; i < c->n_peers; i++)
		if (ha_set_has(c->form.parts, i) && c->peers[i].conf.id < c->me)
			return false;
	return true;
}

const struct ha_voters *ha_membership_voters(const struct ha_core *c)
{
	switch (c->form.stage) {
	case ST_GATHER:
		return ha_votes_told(c, ha_membership_present(c));
	case ST_SYNC:
		return &c->form.voters;
	case ST_ALONE:
	case ST_STANDS:
		break;
	}
	return ha_votes_list(c);
}

void ha_membership_stage(struct ha_core *c, enum ha_stage s)
{
	c->form.stage = s;
	c->form.unlike = c->form.lacks = false;
	c->form.since_ms = c->now;
	c->mute_ms = 0;
}

/*
 * This host's record is gone, or older than it was, and an earlier daemon had a lease: what that
 * one ran may write until the lease is over (rule G), whatever the record says that is left.
 */
static bool haunted(const struct ha_core *c)
{
	return c->unseen && (!c->log.seq || c->copied) && (c->copied || !c->listed || c->n_vmms) && !MUTANT(M_HAUNTED);
}

/* The largest token that anybody may still use, by our record. */
static uint32_t largest_use(const struct ha_core *c)
{
	uint32_t token = c->rec.token;

	for (uint32_t i = 0; i < HA_NODES_MAX && c->rec.nodes[i].id; i++)
		token = c->rec.nodes[i].uses > token ? c->rec.nodes[i].uses : token;
	return token;
}

static void send_state(struct ha_core *c)
{
	static const struct ha_voters none;
	uint64_t up = c->now - c->boot_ms;
	struct ha_log *l = &c->log;
	struct ha_writer w;

	/* What we say we keep: the promise is durable before it is said, and our log is older than it. */
	assert(l->promise_durable == l->promised || MUTANT(M_NO_PROMISE));
	assert(l->epoch < l->promised || MUTANT(M_NO_PROMISE));
	ha_msg_begin(c, &w, MSG_STATE);
	ha_put_u64(&w, l->promised);
	ha_put_u64(&w, c->resync ? 0 : l->epoch);
	ha_put_u64(&w, c->resync ? 0 : l->seq);
	ha_put_u64(&w, c->resync ? 0 : l->hash);
	ha_put_u8(&w, c->fresh);
	ha_put_u8(&w, c->copied);
	c->form.said_haunted = haunted(c);
	c->form.said_up_ms = up < UINT32_MAX ? (uint32_t)up : UINT32_MAX;
	ha_put_u8(&w, c->form.said_haunted);
	ha_put_u32(&w, c->form.said_up_ms);
	ha_put_u32(&w, c->token);
	ha_put_u32(&w, largest_use(c));
	ha_put_u8(&w, HA_LEVEL);
	ha_size_put(&w, &c->size);
	ha_put_u64(&w, c->resync ? 0 : c->rec.cluster);
	ha_put_u64(&w, c->draw);
	ha_put_u64(&w, c->resync ? 0 : l->voters.version);
	ha_voters_put(&w, c->resync ? &none : &l->voters);
	ha_voters_put(&w, &c->wanted);
	ha_first_put(c, &w);
	ha_msg_send(c, &w);
	c->form.said_state = true;
}

static void promise(struct ha_core *c, uint64_t p)
{
	if (MUTANT(M_NO_PROMISE)) {
		c->log.promised = p;
		send_state(c);
		return;
	}
	ha_log_promise(c, p);
}

/*
 * Where there is no list of votes yet, or no majority of it, what corosync.conf says counts (agree.c).
 * An agreement is reached at a message, in total order, and never here; so promise more and say so,
 * which calls everybody back to GATHER, and go on from there. While an epoch stands it goes on.
 */
static void config_changed(struct ha_core *c)
{
	if ((c->form.stage == ST_GATHER || c->form.stage == ST_SYNC) && !MUTANT(M_DEAF_CONFIG)) {
		ha_membership_stage(c, ST_GATHER);
		promise(c, c->log.promised + 1);
	}
}

void ha_membership_config(struct ha_core *c, const struct ha_event *ev)
{
	uint64_t before = c->wanted_hash;

	for (uint32_t i = 0; i < c->n_peers; i++)
		c->peers[i].configured = false;
	/* First those we know: a new one takes no place that another one of the list still has. */
	for (size_t i = 0; i < ev->config.n; i++) {
		struct ha_peer *p = ha_peer_find(c, ev->config.nodes[i].id);

		if (p)
			p->configured = true;
	}
	for (size_t i = 0; i < ev->config.n; i++) {
		struct ha_peer *p = ha_peer_get(c, ev->config.nodes[i].id);

		if (!p) {
			ha_out_note(c, HA_ALARM, "more than %d nodes: node %u ignored",
				    HA_NODES_MAX, ev->config.nodes[i].id);
			continue;
		}
		p->conf = ev->config.nodes[i];
		p->conf.name[HA_NAME_MAX] = 0;
		p->configured = true;
	}
	c->self = (uint32_t)(ha_peer_get(c, c->me) - c->peers);
	assert(c->self < c->n_peers);
	if (ev->config.token_ms)
		c->token = ev->config.token_ms;
	c->witness = ev->config.witness;
	ha_agreed_follow(c);
	ha_wanted_configure(c);
	if (c->wanted_hash != before)
		config_changed(c);
}

void ha_membership_quorum(struct ha_core *c, const struct ha_event *ev)
{
	c->quorate = ev->quorum.quorate;
	c->ring_seq = ev->quorum.ring_seq;
	for (uint32_t i = 0; i < c->n_peers; i++)
		c->peers[i].alive = false;
	for (size_t i = 0; i < ev->quorum.n; i++) {
		struct ha_peer *p = ha_peer_get(c, ev->quorum.nodes[i]);

		if (p)
			p->alive = true;
	}
}

static bool written(const struct ha_core *c)
{
	return c->log.durable_token >= c->log.next_token;
}

/*
 * The others go on without us in this view.  Who cannot write could promise nothing in a new one either, and
 * would make them wait for it once more, for ever: where they need the witness their leases end meanwhile.
 */
void ha_membership_voted_out(struct ha_core *c)
{
	if (written(c)) {
		ha_membership_rejoin(c, "the others voted this host out, it was silent");
		return;
	}
	ha_out_note(c, HA_WARNING, "the others voted this host out: its record is not written, it joins them again when that works");
	ha_membership_lost(c);
	c->form.rejoin_due = true;
}

/*
 * Whatever the stage: the others may have agreed on a STATE that we said before
 * this view, while we promised more; only saying so brings everybody together.
 */
void ha_membership_persisted(struct ha_core *c)
{
	if (c->form.stage != ST_ALONE && !c->form.said_state &&
	    c->log.promise_durable == c->log.promised)
		send_state(c);
	if (c->form.rejoin_due && written(c))
		ha_membership_rejoin(c, "its record is written");
}

/* What we said kept the others from agreeing, and is over: promise more and say so. */
void ha_membership_tick(struct ha_core *c)
{
	uint64_t wait;

	if (c->form.stage != ST_GATHER || !c->form.said_state || !c->form.said_haunted)
		return;
	wait = ha_agree_haunted_for(c, ha_membership_present(c));
	if (c->form.said_up_ms >= wait)
		return;
	if (haunted(c) && c->now < c->boot_ms + wait)
		ha_wake_at(c, c->boot_ms + wait);
	else
		promise(c, c->log.promised + 1);
}

/* Back to GATHER within this view: what stood is frozen, everybody speaks again. */
static void gather(struct ha_core *c, uint64_t target)
{
	assert(c->form.stage != ST_ALONE);
	ha_membership_stage(c, ST_GATHER);
	if (target > c->form.target)
		c->form.target = target;
	if (c->log.promised < c->form.target)
		promise(c, c->form.target);
}

void ha_membership_view(struct ha_core *c, const struct ha_event *ev)
{
	ha_set were = 0, left = 0;
	bool inside = false;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		struct ha_peer *p = &c->peers[i];

		were |= (ha_set)p->in_group << i;
		p->in_group = p->evicted = p->foreign = false;
		p->evict_votes = 0;
		p->evict_sent_ms = 0;
		p->state.have = false;
		p->spoke_ms = p->progress_ms = c->now;
	}
	for (size_t i = 0; i < ev->view.n_left; i++) {
		struct ha_peer *p = ha_peer_find(c, ev->view.left[i]);

		if (p)
			left |= ha_set_of((uint32_t)(p - c->peers));
	}
	for (size_t i = 0; i < ev->view.n; i++) {
		struct ha_peer *p = ha_peer_get(c, ev->view.nodes[i]);

		if (!p)
			continue;
		p->in_group = true;
		p->spoke_ms = p->progress_ms = c->now;
		inside |= p->conf.id == c->me;
	}
	ha_first_lost(c, were, left, ev->view.ring);
	if (!inside) {
		ha_membership_lost(c);
		return;
	}
	ha_membership_stage(c, ST_GATHER);
	c->form.rejoin_due = false;
	c->form.target = c->form.granted = 0;
	c->form.anew = false;
	promise(c, c->log.promised + 1);
}

void ha_membership_lost(struct ha_core *c)
{
	ha_membership_stage(c, ST_ALONE);
	c->form.rejoin_due = false;
	for (uint32_t i = 0; i < c->n_peers; i++)
		c->peers[i].in_group = false;
}

void ha_membership_rejoin(struct ha_core *c, const char *why)
{
	ha_out_note(c, HA_WARNING, "leaving the group to join again: %s", why);
	ha_membership_lost(c);
	ha_out_simple(c, HA_FX_REJOIN, 0, 0);
}

static void try_agree(struct ha_core *c)
{
	ha_set set = ha_membership_present(c);

	if (c->form.stage != ST_GATHER)
		return;
	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_state *s = &c->peers[i].state;

		if (ha_set_has(set, i) && (!s->have || s->promised != c->form.target))
			return;
	}
	if (!ha_sync_said_by_me(c)) {
		ha_membership_rejoin(c, "what was delivered as its own STATE is not what its log holds");
		return;
	}
	if (ha_foreign_leave_out(c, set))
		return;
	set = ha_membership_present(c);
	if (!ha_agree_may(c, set) && !MUTANT(M_EPOCH_MINORITY))
		return;
	ha_sync_begin(c, set);
}

void ha_membership_witness(struct ha_core *c, uint32_t from, struct ha_reader *r)
{
	if (ha_witness_msg(c, from, r))
		try_agree(c);
}

void ha_membership_state(struct ha_core *c, uint32_t from, struct ha_reader *r)
{
	struct ha_peer *p = &c->peers[from];
	struct ha_state s = { .have = true };
	uint64_t version;

	s.promised = ha_get_u64(r);
	s.epoch = ha_get_u64(r);
	s.seq = ha_get_u64(r);
	s.hash = ha_get_u64(r);
	s.fresh = ha_get_bool(r);
	s.copied = ha_get_bool(r);
	s.haunted = ha_get_bool(r);
	s.up_ms = ha_get_u32(r);
	s.token = ha_get_u32(r);
	s.uses = ha_get_u32(r);
	s.level = ha_get_u8(r);
	ha_size_get(r, &s.size);
	s.cluster = ha_get_u64(r);
	s.draw = ha_get_u64(r);
	version = ha_get_u64(r);
	ha_voters_get(r, &s.voters);
	s.voters.version = version;
	ha_voters_get(r, &s.wanted);
	ha_first_get(r, &s);
	/* Its log is of epochs before the one it promises, says who votes, and what it counted fits. */
	if (!ha_get_end(r) || s.promised > COUNT_MAX || s.seq > COUNT_MAX || version > COUNT_MAX ||
	    !s.seq != !version || !s.seq != !s.voters.n ||
	    (s.epoch >= s.promised && !MUTANT(M_NO_PROMISE))) {
		r->bad = true;
		return;
	}
	/*
	 * A STATE said in an earlier view but delivered in this one is as true as
	 * ever: its sender has appended nothing since, for it appends only in an
	 * agreement, and for that it must first have seen this STATE delivered.
	 */
	if (p->evicted || (p->state.have && s.promised <= p->state.promised))
		return;
	p->state = s;
	p->sight = HA_SIGHT_NONE; /* it is back; that CPG lists it means less (corosync #828) */
	p->progress_ms = c->now;
	if (c->form.stage == ST_ALONE)
		return; /* voted out: the others' epochs are theirs */
	if (s.promised > c->form.target)
		gather(c, s.promised);
	try_agree(c);
}

/*
 * The epoch leans for the sake of one who had forgotten, and knows all now: its hosts can do without the
 * witness, and without a write of each of them for each entry.  Once in a view: whatever else keeps a vote of
 * theirs from counting will do so again.
 */
static void lean_no_longer(struct ha_core *c)
{
	struct ha_form *f = &c->form;

	if (!c->leans || f->anew || !ha_votes_enough(c, &c->log.voters, c->parts, false))
		return;
	f->anew = true;
	if (ha_membership_lowest(c))
		promise(c, c->log.promised + 1);
}

/* The commit index moved. */
void ha_membership_check(struct ha_core *c)
{
	struct ha_form *f = &c->form;

	if (f->stage != ST_SYNC || c->log.commit < f->epoch_seq)
		return;
	assert(f->target > c->epoch || MUTANT(M_NO_PROMISE)); /* epochs only grow */
	assert(f->snap_done && c->log.epoch == f->target);
	ha_membership_stage(c, ST_STANDS);
	c->epoch = f->target;
	c->leans = f->leans;
	c->parts = f->parts;
	c->fresh = false;
	if (c->copied) { /* whoever agreed knew all: now we do */
		c->copied = false;
		ha_snapshot_store(c);
	}
	c->proof_from_ms = ha_lease_valid(c) || MUTANT(M_FENCE_AT_ONCE) ? 0 : c->now + c->t.detect;
	ha_log_apply(c);
	assert(c->log.applied >= f->epoch_seq);
	ha_log_epoch_changed(c);
	ha_lease_epoch(c);
	ha_out_note(c, HA_INFO, "epoch %llu stands with %u members", (unsigned long long)c->epoch,
		    f->first.n_members);
	lean_no_longer(c);
}

/* What holds between two steps, by stage. */
void ha_membership_invariants(const struct ha_core *c)
{
	const struct ha_form *f = &c->form;

	assert(c->self < c->n_peers && c->n_peers <= HA_NODES_MAX);
	assert(c->peers[c->self].conf.id == c->me);
	assert(c->epoch <= c->log.promised || MUTANT(M_NO_PROMISE));
	switch (f->stage) {
	case ST_ALONE:
		assert(!c->peers[c->self].in_group);
		break;
	case ST_GATHER:
		assert(c->peers[c->self].in_group);
		assert(f->target <= c->log.promised);
		break;
	case ST_SYNC:
	case ST_STANDS:
		assert(ha_set_has(f->parts, c->self));
		assert(f->donor < c->n_peers && ha_set_has(f->parts, f->donor));
		assert(f->target <= c->log.promised);
		break;
	}
	if (f->stage != ST_STANDS)
		return;
	assert(c->epoch == f->target && c->log.epoch == f->target);
	assert(c->log.commit >= f->epoch_seq);
	assert(f->snap_done && !c->fresh);
}

/* A member was voted out: agree without it. */
void ha_membership_evicted(struct ha_core *c)
{
	if (c->form.stage == ST_GATHER) {
		/* Else it is the second of two from an epoch that stood: our STATE, which tells of a log before it, is on its way. */
		if (c->log.promised == c->form.target)
			try_agree(c);
		return;
	}
	/* An epoch with a mute member goes on without it: agree again. */
	ha_membership_stage(c, ST_GATHER);
	promise(c, c->log.promised + 1);
}
