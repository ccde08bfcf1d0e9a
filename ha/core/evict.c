/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evict - a member that says nothing is voted out, so that nobody is waited for
 * without a bound (rule L).
 *
 * What a member owes depends on the stage (membership.c): its STATE while an epoch is
 * agreed on, its snapshot when it is the donor, any word while the epoch stands; where the epoch leans
 * on the witness, that it has written what all have to.  Who misses it votes; the vote of a majority counts, at the same message for all.
 */
#include "ha/core/core_int.h"

#include <assert.h>

/*
 * Those who are left may need the witness's vote.  Where it cannot be read a member that says nothing is
 * better than no epoch at all.
 */
static bool go_on_without(const struct ha_core *c, const struct ha_peer *p)
{
	const struct ha_voters *l = ha_membership_voters(c);
	ha_set left = ha_membership_present(c) & ~ha_set_of((uint32_t)(p - c->peers));

	return !l || !l->witness || (c->asking.ok && c->witness == l->witness) || ha_votes_enough(c, l, left, false);
}

static void vote_out(struct ha_core *c, struct ha_peer *p, const char *why)
{
	struct ha_writer w;

	assert(p != ha_self(c) && p->in_group && !p->evicted);
	if (!go_on_without(c, p))
		return;
	/* Said for one number it is nothing for the next, and may have been counted by a list that was an older one. */
	if (p->evict_sent_ms && p->evict_target == c->form.target && c->now - p->evict_sent_ms < c->t.evict) {
		ha_wake_at(c, p->evict_sent_ms + c->t.evict);
		return;
	}
	p->evict_sent_ms = c->now;
	p->evict_target = c->form.target;
	ha_wake_at(c, c->now + c->t.evict);
	ha_out_note(c, HA_WARNING, "voting %s out: %s", ha_core_node_name(c, p->conf.id), why);
	ha_msg_begin(c, &w, MSG_EVICT);
	ha_put_u64(&w, c->form.target);
	ha_put_u32(&w, p->conf.id);
	ha_msg_send(c, &w);
}

/*
 * Votes are counted in total order and need a majority, so that a host which
 * was itself asleep cannot throw the others out.
 */
void ha_evict_vote(struct ha_core *c, uint32_t from, struct ha_reader *r)
{
	uint64_t target = ha_get_u64(r);
	uint32_t id = ha_get_u32(r);
	const struct ha_voters *l;
	struct ha_peer *p;

	if (!ha_get_end(r)) {
		r->bad = true;
		return;
	}
	p = ha_peer_find(c, id);
	if (!p || !p->in_group || p->evicted || c->peers[from].evicted || target != c->form.target)
		return;
	p->evict_votes |= ha_set_of(from);
	l = ha_membership_voters(c);
	/* The witness has its vote by a log, and not by cluster.yaml. */
	if (!l || !ha_votes_enough(c, l, p->evict_votes, l->version != 0))
		return;
	p->evicted = true;
	if (p->conf.id == c->me) {
		ha_membership_voted_out(c);
		return;
	}
	ha_membership_evicted(c);
}

/*
 * Nothing is committed without @p: all have to hold it, or no majority is left of hosts; but with the
 * witness's vote the others can go on.
 */
static bool keeps_all(const struct ha_core *c, const struct ha_peer *p)
{
	const struct ha_voters *l = ha_membership_voters(c);
	ha_set left = c->form.parts & ~ha_set_of((uint32_t)(p - c->peers));

	return c->form.leans || (l && l->witness && !ha_votes_enough(c, l, left, false) && ha_votes_enough(c, l, left, true));
}

static const char *mute(const struct ha_core *c, const struct ha_peer *p, uint64_t *due)
{
	const struct ha_form *f = &c->form;
	uint64_t since = f->since_ms;

	switch (f->stage) {
	case ST_ALONE:
		return NULL;
	case ST_GATHER:
		if (p->state.have && p->state.promised == f->target)
			return NULL;
		/* Who said nothing before, in this very view, does not get that time once more: another was voted out first. */
		if (p->spoke_ms < since)
			since = p->spoke_ms;
		/* In CPG's list but not in votequorum's: a ghost, it will never speak (corosync
		 * #828). */
		*due = since + (c->quorate && !p->alive ? c->t.renew * 2 : c->t.evict);
		return "no answer to the new view";
	case ST_SYNC:
		if (f->snap_done && p->ack < f->epoch_seq && c->peers[c->self].ack >= f->epoch_seq && keeps_all(c, p)) {
			since = c->peers[f->donor].progress_ms > p->owes_ms ? c->peers[f->donor].progress_ms : p->owes_ms;
			*due = since + c->t.evict;
			return "it does not write what all have to";
		}
		if (f->snap_done || p != &c->peers[f->donor])
			return NULL;
		if (p->progress_ms > since)
			since = p->progress_ms;
		*due = since + c->t.evict;
		return "its snapshot does not come";
	case ST_STANDS:
		if (p->spoke_ms > since)
			since = p->spoke_ms;
		*due = since + c->t.evict;
		/* Who owes itself knows of nobody that he writes slower. */
		if (f->leans && p->ack < c->log.seq && c->peers[c->self].ack > p->ack && p->owes_ms + c->t.evict < *due) {
			*due = p->owes_ms + c->t.evict;
			return "it does not write what all have to";
		}
		return "silent";
	}
	return NULL;
}

void ha_evict_tick(struct ha_core *c)
{
	uint64_t first = UINT64_MAX;

	/* Who spoke later is mute later: while an epoch stands nobody is before the first of them was, last time. */
	if (c->form.stage == ST_STANDS && ha_self(c)->spoke_ms < c->mute_ms && c->mute_after == c->t.evict)
		return;
	for (uint32_t i = 0; i < c->n_peers; i++) {
		struct ha_peer *p = &c->peers[i];
		uint64_t due = UINT64_MAX;
		const char *why;

		if (!p->in_group || p->evicted || i == c->self)
			continue;
		why = mute(c, p, &due);
		first = due < first ? due : first;
		/*
		 * Silence is measured while we hear ourselves: when the whole ring stands
		 * still nobody is mute, and corosync will tell who is gone.
		 */
		if (why && ha_self(c)->spoke_ms >= due)
			vote_out(c, p, why);
	}
	c->mute_ms = first;
	c->mute_after = c->t.evict;
}
