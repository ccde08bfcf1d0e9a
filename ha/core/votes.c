/* SPDX-License-Identifier: Apache-2.0 */
/*
 * votes - whose votes make a majority: a list in the log (rule L).
 *
 * corosync.conf is local: while a change of it is rolled out hosts have different ones, and after a
 * slip for good.  Were each to count by its own, two might each see a majority.  So they count by one
 * list, which stands in the log and is changed by entries:
 *
 *   NEW_EPOCH   of a cluster that has no log yet brings the first one: all who agree on it have
 *               said the same corosync.conf
 *   VOTES       one vote of one host, more or less.  Proposed while an epoch stands and all its
 *               members' corosync.conf (told with RENEW) are alike and say something else than the
 *               list, step by step, each when the one before is applied
 *
 * A list is in force from where it stands in the log, committed or not, as in Raft (Ongaro 2014, 4.1):
 *
 *   - An agreement is counted by the list in the longest log of those who agree, which each says in
 *     STATE: all look at the same one, at the same message.
 *   - Entries and leases are counted by the list of the own log.
 *
 * Lists that follow each other have no two majorities apart (record/voters.h), and each is proposed
 * when the one before is applied, in an epoch whose NEW_EPOCH is: so a list that another one followed
 * was committed, and all that was proved for one list (membership.c) is true from each to the next.
 *
 * Proof by waiting (proof.c) looks further back: those who renewed the lease of a lost host may have
 * been a majority of a list that is several changes older.  Whoever got another list since knows
 * nothing of such renewals, so it waits from then (counted_ms).  Why that is enough: docs/ha.md.
 */
#include "ha/core/core_int.h"

#include <assert.h>

const struct ha_voters *ha_votes_list(const struct ha_core *c)
{
	return c->log.voters.n && !MUTANT(M_OWN_LIST) ? &c->log.voters : &c->wanted;
}

uint64_t ha_votes_by(const struct ha_core *c, const struct ha_voters *l, ha_set set)
{
	uint64_t votes = 0;

	for (uint32_t i = 0; i < c->n_peers; i++)
		if (ha_set_has(set, i))
			votes += ha_voters_of(l, c->peers[i].conf.id);
	return votes;
}

bool ha_votes_enough(const struct ha_core *c, const struct ha_voters *l, ha_set set, bool leans)
{
	return ha_votes_by(c, l, set) + (leans && l->witness) >= ha_voters_majority(l);
}

void ha_votes_count(struct ha_core *c)
{
	const struct ha_voters *l = ha_votes_list(c);
	uint64_t hash = c->log.voters.n ? ha_voters_hash(&c->log.voters) : 0;

	c->all_votes = ha_voters_total(l);
	for (uint32_t i = 0; i < c->n_peers; i++)
		c->peers[i].votes = ha_voters_of(l, c->peers[i].conf.id);
	/* One that says the same may have been another one in between, while we were away. */
	if (hash != c->counted || c->log.voters.version != c->counted_version)
		c->counted_ms = c->now;
	c->counted = hash;
	c->counted_version = c->log.voters.version;
}

bool ha_votes_behind(struct ha_voters *l, struct ha_entry *scratch, const uint8_t *bytes, size_t len)
{
	/* All others leave the list as it is, and are nearly all there are. */
	if (!ha_entry_says(HA_E_NEW_EPOCH, bytes, len) && !ha_entry_says(HA_E_VOTES, bytes, len))
		return l->n != 0;
	if (ha_entry_decode(scratch, bytes, len))
		ha_votes_follow(l, scratch);
	return l->n != 0;
}

void ha_votes_appended(struct ha_core *c, const uint8_t *bytes, size_t len)
{
	uint64_t version = c->log.voters.version;

	ha_votes_behind(&c->log.voters, &c->entry, bytes, len);
	if (c->log.voters.version == version)
		return;
	ha_votes_count(c);
	c->lease.next_ms = c->now; /* the next change waits until all have said that they have this one */
}

/*
 * The list by which those of @set agree who have said STATE in this view: of the longest log, or what
 * its corosync.conf says where nobody has a log.  NULL: nobody has spoken.
 */
const struct ha_voters *ha_votes_told(const struct ha_core *c, ha_set set)
{
	uint32_t donor = ha_sync_donor(c, set);
	const struct ha_state *s;

	if (donor == HA_NODES_MAX)
		return NULL;
	s = &c->peers[donor].state;
	return s->voters.n && !MUTANT(M_OWN_LIST) ? &s->voters : &s->wanted;
}

uint64_t ha_votes(const struct ha_core *c, ha_set set)
{
	uint64_t v = 0;

	for (uint32_t i = 0; i < c->n_peers; i++)
		if (ha_set_has(set, i))
			v += c->peers[i].votes;
	return v;
}

/*
 * By how far each has come: from the furthest down until their votes are enough.  Nearly all have
 * come equally far, so what is sorted is nearly sorted.
 */
uint64_t ha_reached(const struct ha_core *c, const uint64_t *at, uint64_t need, uint64_t floor)
{
	uint64_t votes = 0, sorted[HA_NODES_MAX];
	uint32_t of[HA_NODES_MAX], n = 0;

	assert(need);
	for (uint32_t i = 0; i < c->n_peers; i++) {
		uint32_t k;

		if (at[i] <= floor || !c->peers[i].votes)
			continue;
		votes += c->peers[i].votes;
		for (k = n++; k > 0 && sorted[k - 1] < at[i]; k--) {
			sorted[k] = sorted[k - 1];
			of[k] = of[k - 1];
		}
		sorted[k] = at[i];
		of[k] = i;
	}
	if (votes < need)
		return floor;
	votes = 0;
	for (uint32_t k = 0; k < n; k++) {
		votes += c->peers[of[k]].votes;
		if (votes >= need)
			return sorted[k];
	}
	return floor;
}

uint64_t ha_reached_all(const struct ha_core *c, const uint64_t *at, ha_set set, uint64_t floor)
{
	uint64_t least = UINT64_MAX;

	assert(set);
	for (uint32_t i = 0; i < c->n_peers; i++)
		if (ha_set_has(set, i) && at[i] < least)
			least = at[i];
	return least > floor && least != UINT64_MAX ? least : floor;
}

/* More than half of all votes, whoever is alive. */
uint64_t ha_majority(const struct ha_core *c)
{
	return c->all_votes / 2 + 1;
}

uint64_t ha_needed(const struct ha_core *c)
{
	uint64_t need = ha_majority(c);

	return c->leans && c->log.voters.witness && need > 1 ? need - 1 : need;
}

uint64_t ha_group_votes(const struct ha_core *c)
{
	ha_set set = 0;

	for (uint32_t i = 0; i < c->n_peers; i++)
		if (c->peers[i].in_group)
			set |= ha_set_of(i);
	return ha_votes(c, set);
}
