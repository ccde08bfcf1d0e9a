/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agree - may those who have spoken agree on an epoch, and by which list of votes (rule L)?
 *
 * All that is asked was said in STATE, so all of a view have the same answer at the same message
 * (membership.c).  The proof: docs/ha.md, "Epochs", "Votes", "A witness".
 */
#include "ha/core/core_int.h"

/*
 * How long after its start a host is haunted.  From which token that lease came it has forgotten too:
 * it was the largest of all at that time, and not of this host's corosync.  So the largest counts that
 * any of @set has, or whose record says that somebody may still use it.
 */
uint64_t ha_agree_haunted_for(const struct ha_core *c, ha_set set)
{
	struct ha_timing t;
	uint32_t token = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_state *s = &c->peers[i].state;

		if (!ha_set_has(set, i) || !s->have)
			continue;
		token = s->token > token ? s->token : token;
		if (!MUTANT(M_FORGET_TOKEN))
			token = s->uses > token ? s->uses : token;
	}
	ha_timing_derive(token, &t);
	return (uint64_t)t.lease + t.gate;
}

/* Whatever host has a vote by @l is one of @set. */
static bool all_here(const struct ha_core *c, ha_set set, const struct ha_voters *l)
{
	return l->n && ha_votes_by(c, l, set) == ha_voters_hosts(l);
}

/*
 * By its corosync.conf a host sees no majority in @set: so its vote does not help to agree.  Its log may
 * say otherwise where it is older than this cluster: of a time, or of another cluster, in which it
 * was alone.  The witness counts where it has a vote by @l as well; @leans: it has given it.
 */
static bool wants_more(const struct ha_core *c, ha_set set, const struct ha_voters *wanted, const struct ha_voters *l,
		       bool leans)
{
	bool witness = l->witness && wanted->witness == l->witness;
	uint64_t votes = ha_votes_by(c, wanted, set) + (witness && leans);

	return votes < (ha_voters_hosts(wanted) + witness) / 2 + 1 && !MUTANT(M_LOG_ALONE);
}

/* None of @set has a witness in its cluster.yaml; @which: the one that is in all of those that have any, or 0. */
static bool want_no_witness(const struct ha_core *c, ha_set set, uint64_t *which)
{
	bool none = true;

	*which = 0;
	for (uint32_t i = 0; i < c->n_peers; i++) {
		uint64_t id = c->peers[i].state.wanted.witness;

		if (!ha_set_has(set, i) || !id)
			continue;
		*which = none || *which == id ? id : 0;
		none = false;
	}
	return none;
}

/*
 * A member with an empty log is new, or its disk was lost and with it what it had
 * acknowledged. Its vote does not help to agree: else one lost disk and one absent
 * host could outvote what a majority had committed. Unless everybody's log is
 * empty (the first start of a cluster), or nobody is absent.  Nor does the vote of one whose
 * disk holds a copy: it has forgotten what it acknowledged since that was made.
 *
 * Where all are there but those who have forgotten are a majority, what is agreed on may be
 * older than what runs: a domain may be given to one host while another has it under a lease of
 * that time.  So not before none of those who have forgotten can have such a lease.
 *
 * @leans: with the vote of a witness.  Where there is one, one host may have gone on with it, and be the
 * one that has forgotten: that nobody is absent is not enough then, the witness is asked too.  Also where
 * @l has none: the entry that gave it its vote, or took it, may be in one host's log alone.
 */
static bool enough(const struct ha_core *c, ha_set set, const struct ha_voters *l, bool leans)
{
	ha_set knowing = 0, content = 0;
	uint64_t wait = ha_agree_haunted_for(c, set);
	const struct ha_voters *own = &c->peers[c->self].state.wanted;
	bool logs = false, ghosts = false, all = all_here(c, set, l);
	bool own_more = wants_more(c, set, own, l, leans), own_all = all_here(c, set, own);
	uint64_t which;

	for (uint32_t i = 0; i < HA_NODES_MAX; i++) {
		const struct ha_state *s = &c->peers[i].state;
		bool same; /* as nearly always: then it need not be counted again */

		if (!ha_set_has(set, i))
			continue;
		same = ha_voters_same(&s->wanted, own);
		ghosts |= s->haunted && s->up_ms < wait;
		if (!(same ? own_more : wants_more(c, set, &s->wanted, l, leans)))
			content |= ha_set_of(i);
		all &= (same ? own_all : all_here(c, set, &s->wanted)) || MUTANT(M_LOG_ALONE);
		if (!s->seq)
			continue;
		logs = true;
		if (!s->copied || MUTANT(M_COPY_VOTES))
			knowing |= ha_set_of(i);
	}
	ghosts &= ha_votes_enough(c, l, set & ~knowing, true);
	if (!logs || (all && !ghosts && (leans || (!l->witness && want_no_witness(c, set, &which)))) || MUTANT(M_EMPTY_VOTES))
		knowing = set;
	return ha_votes_enough(c, l, knowing & content, leans);
}

/* All of @set have the same corosync.conf, as they said in this view. */
static bool want_the_same(const struct ha_core *c, ha_set set)
{
	for (uint32_t i = 0; i < c->n_peers; i++)
		if (ha_set_has(set, i) && !ha_voters_same_hosts(&c->peers[i].state.wanted, &c->peers[c->self].state.wanted))
			return false;
	return true;
}

/*
 * By which list, and do those of @set have a majority of it?  The list of the longest log.  Where
 * nobody has a log it is what corosync.conf says, if it says the same to all.  And where those who
 * are left of a disaster are no majority it is that too, if it has been changed so that they are all
 * there is: on each of them an operator has taken out all others, and answers for it, and the witness, if there was one.
 *
 * A witness's vote is asked for when nothing else is missing (witness.c).
 */
bool ha_agree_may(struct ha_core *c, ha_set set)
{
	const struct ha_voters *l = ha_votes_told(c, set), *wanted = &c->peers[c->self].state.wanted;
	bool first = !c->peers[ha_sync_donor(c, set)].state.seq, alike = want_the_same(c, set);
	struct ha_form *f = &c->form;
	bool no_witness;

	f->voters = *l;
	if (first)
		f->voters.witness = 0; /* it gets its vote when an epoch stands (wanted.c) */
	f->brings = first;
	f->leans = f->lacks = false;
	f->unlike = first && !alike;
	if (f->unlike)
		ha_out_note(c, HA_ALARM, "corosync.conf has other hosts or votes on some hosts than on others: "
					 "nothing begins until it is the same on all");
	if (enough(c, set, &f->voters, false))
		return !first || alike;
	no_witness = want_no_witness(c, set, &f->asks);
	if (f->voters.witness)
		f->asks = f->voters.witness;
	if (!no_witness && f->asks && enough(c, set, &f->voters, true)) {
		f->lacks = !ha_witness_votes(c, set);
		f->leans = !f->lacks && f->voters.witness;
		return !f->lacks;
	}
	if (first || !alike || !no_witness || !all_here(c, set, wanted) || !enough(c, set, wanted, false))
		return false;
	f->voters = *wanted;
	f->brings = true;
	return true;
}

bool ha_agree_kept_by_witness(const struct ha_core *c)
{
	const struct ha_voters *wanted = &c->wanted;

	return wanted->witness && !c->form.lacks && all_here(c, ha_membership_present(c), wanted);
}
