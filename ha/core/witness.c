/* SPDX-License-Identifier: Apache-2.0 */
/*
 * witness - a vote that holds no log (rule L).
 *
 * Two hosts are no majority of each other, so a third vote decides which of them goes on alone: a few
 * blocks of storage that both of them reach.  But a vote that holds nothing proves nothing: of those
 * who agree with it nobody needs to have been among those who agreed with it the last time, or to know
 * what they have committed.  So it counts under three conditions:
 *
 *   - An epoch *leans* on it when its hosts alone are no majority.  Before they agree on it their donor
 *     claims its number at the witness (ha/core/claim.h), which knows the number of every epoch that
 *     leaned before; it grants the claim to those alone whose longest log is of each of these epochs or
 *     of a later one, or who have the claimant of it with them, without its entries.  It does so one
 *     after the other, whoever asks at once.
 *   - In an epoch that leans an entry is committed when all of its members hold it, and a lease is
 *     renewed when all of them heard: the witness does neither.
 *   - Where an epoch ever leaned, the time that proves a lost host dead counts from when a member learned
 *     of the loss, and not from when it heard that host (proof.c).
 *
 * Why that is enough: docs/ha.md, "A witness".
 *
 * An agreement is reached at a message, by all.  So the donor tells the others that its claim is
 * granted, and that message is where it happens.
 */
#include "ha/core/core_int.h"

#include <assert.h>

#define LEAP_MOST (1u << 30) /* epochs: more were never agreed on in between */

/* Who asks at the same time gets nothing; so they try again at different times. */
static uint64_t pause_after(struct ha_core *c)
{
	uint64_t draw = ha_hash_u64(c->draw + c->me, ++c->asking.tries);

	return c->t.renew + draw % (4 * c->t.renew + 1);
}

/* Nothing but the witness's vote was missing, and we have the longest log. */
static bool my_turn(struct ha_core *c)
{
	return c->form.stage == ST_GATHER && c->form.lacks && ha_log_cluster(c) && c->log.promised == c->form.target &&
	       c->asking.granted != c->form.target && ha_sync_donor(c, ha_membership_present(c)) == c->self;
}

/* Epoch of the last entry of the longest log of those of @set who have forgotten nothing. */
static uint64_t known_log(const struct ha_core *c, ha_set set)
{
	uint64_t epoch = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_state *s = &c->peers[i].state;

		if (ha_set_has(set, i) && s->have && s->seq && !s->copied && s->epoch > epoch)
			epoch = s->epoch;
	}
	return epoch;
}

static void claim(struct ha_core *c)
{
	struct ha_asking *a = &c->asking;
	ha_set set = ha_membership_present(c);
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_state *s = &c->peers[i].state;

		if (ha_set_has(set, i) && s->have && s->seq && !s->copied)
			a->nodes[n++] = c->peers[i].conf.id;
	}
	a->claim = c->form.target;
	a->log = known_log(c, set);
	assert(a->log < a->claim);
	ha_out_claim(c, a->nodes, n);
}

void ha_witness_tick(struct ha_core *c)
{
	struct ha_asking *a = &c->asking;

	if (a->claim || !my_turn(c))
		return;
	if (c->now < a->again_ms)
		ha_wake_at(c, a->again_ms);
	else if (ha_out_room(c, 1, 0))
		claim(c);
	else
		ha_wake_at(c, c->now);
}

void ha_witness_event(struct ha_core *c, const struct ha_event *ev)
{
	struct ha_asking *a = &c->asking;
	struct ha_writer w;
	uint64_t claim = ev->witness.claim;

	if (!claim) {
		a->ok = ev->witness.ok;
		a->live = a->ok ? ev->witness.live : (struct claim_nodes){ 0 };
		a->newest = ev->witness.seen;
	}
	if (!claim || claim != a->claim)
		return;
	ha_copy(a->text, sizeof(a->text), ev->witness.ok || !ev->witness.text ? "" : ev->witness.text);
	a->claim = 0;
	if (!ev->witness.ok) {
		a->again_ms = c->now + pause_after(c);
		ha_wake_at(c, a->again_ms);
		/* A number that is not above what it knows is never granted; but what it says may be nonsense. */
		if (c->form.stage == ST_GATHER && ev->witness.seen >= c->log.promised && ev->witness.seen - c->log.promised < LEAP_MOST)
			ha_log_promise(c, ev->witness.seen + 1);
		return;
	}
	a->granted = claim;
	if (c->form.stage != ST_GATHER || c->form.target != claim)
		return; /* who agrees is another question by now */
	ha_msg_begin(c, &w, MSG_WITNESS);
	ha_put_u64(&w, claim);
	ha_put_u64(&w, a->log);
	ha_msg_send(c, &w);
}

bool ha_witness_msg(struct ha_core *c, uint32_t from, struct ha_reader *r)
{
	uint64_t target = ha_get_u64(r), log = ha_get_u64(r);
	const struct ha_peer *p = &c->peers[from];

	if (!ha_get_end(r) || log >= target) {
		r->bad = true;
		return false;
	}
	/*
	 * Said in a view before, it may be delivered in this one, where somebody else has promised that
	 * number; who claimed it promised more since, and would not be a member of what it claimed.
	 */
	if (c->form.stage != ST_GATHER || target != c->form.target || p->evicted || !p->state.have ||
	    p->state.promised != target)
		return false;
	c->form.granted = target;
	c->form.granted_log = log;
	c->form.granted_by = ha_set_of(from);
	return true;
}

enum ha_sees ha_witness_sees(const struct ha_core *c)
{
	bool all = true;

	if (!c->asking.ok)
		return HA_SEES_NOTHING;
	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_peer *p = &c->peers[i];

		if (!ha_set_has(c->parts, i) || claim_nodes_has(&c->asking.live, p->conf.id))
			continue;
		if (p->heard_k && p->sees != HA_SEES_NOTHING)
			return HA_SEES_SOME;
		all = false;
	}
	return all ? HA_SEES_ALL : HA_SEES_READERS;
}

/* The witness looked at a log of that epoch, for one who is a member; either may have been voted out since. */
bool ha_witness_votes(const struct ha_core *c, ha_set set)
{
	uint32_t donor = ha_sync_donor(c, set);

	if (MUTANT(M_WITNESS_YES))
		return true;
	return c->form.granted == c->form.target && (c->form.granted_by & set) && donor < c->n_peers && known_log(c, set) >= c->form.granted_log;
}
