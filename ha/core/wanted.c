/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wanted - the votes that corosync.conf gives to hosts, and how the list in the log (votes.c) comes
 * to say the same.
 *
 * Each member tells the digest of its own with RENEW.  While they differ a change is being rolled
 * out, or somebody made a slip, and nothing happens.  When they are alike, and the list is another
 * one, the lowest member proposes one step after the other, each when the one before is applied:
 * a host gets votes only while it is here, for then it has the log; and no step is taken by which
 * those who are here would lose the majority, as nothing could be committed any more, that step
 * included.
 */
#include "ha/core/core_int.h"

#include <stdio.h>

#define APART_MS 60000 /* a host that starts is seen after two looks at the witness, 20 s (ha/witness/witness.h) */

static uint32_t votes_of(const struct ha_node_conf *n)
{
	if (MUTANT(M_ONE_VOTE_EACH))
		return 1;
	return n->votes < HA_VOTES_MAX ? n->votes : HA_VOTES_MAX;
}

void ha_wanted_configure(struct ha_core *c)
{
	c->wanted.n = 0;
	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_node_conf *n = &c->peers[i].conf;

		if (c->peers[i].configured)
			ha_voters_set(&c->wanted, n->id, votes_of(n));
	}
	c->wanted.witness = c->wanted.n ? c->witness : 0; /* no list has a witness alone, and a STATE with one is none */
	c->wanted_hash = ha_voters_hash(&c->wanted);
	ha_votes_count(c);
}

/*
 * The members' corosync.conf, as they said in this epoch, are all like ours, and all have the list that is to be changed.  One that
 * has not may be cut off, and renew its lease by its own in this epoch, with others who are: by that list and by
 * the next but one two majorities may be apart.  And who has renewed in this epoch hears nobody of an older one any more
 * (docs/ha.md, "Leases look further back").
 */
static bool all_want_the_same(const struct ha_core *c)
{
	for (uint32_t i = 0; i < c->n_peers; i++)
		if (ha_set_has(c->form.parts, i) && (!c->peers[i].heard_k || c->peers[i].wants != c->wanted_hash || c->peers[i].list != c->log.voters.version))
			return false;
	return true;
}

/* Nothing would be committed any more by a list of which those who are here have no majority. */
static bool carried(const struct ha_core *c, const struct ha_voters *l)
{
	return ha_votes_enough(c, l, c->form.parts, c->leans);
}

/* All members see all members write at the witness: a path may lead each to storage of its own. */
static bool together(const struct ha_core *c)
{
	for (uint32_t i = 0; i < c->n_peers; i++)
		if (ha_set_has(c->form.parts, i) && c->peers[i].sees != HA_SEES_ALL)
			return false;
	return true;
}

/* Two who reach it do not see each other there: each may get a vote of its own. */
static bool two_places(const struct ha_core *c)
{
	for (uint32_t i = 0; i < c->n_peers; i++)
		if (ha_set_has(c->form.parts, i) && c->peers[i].sees == HA_SEES_SOME)
			return true;
	return false;
}

/*
 * For so long that nobody can rely on it.  Who does not reach it does no harm: without the vote no
 * majority is smaller, and who reaches it can go on when that host is lost.
 */
static bool apart(struct ha_core *c)
{
	if (c->asking.together_ms < c->lease.stands_ms || !two_places(c))
		c->asking.together_ms = c->now;
	return c->now - c->asking.together_ms > APART_MS;
}

/* Hosts with an odd number of votes cannot be halved: with one vote more they would need more, and have nothing for it. */
static bool can_be_halved(const struct ha_core *c)
{
	return ha_voters_hosts(&c->log.voters) % 2 == 0;
}

/*
 * The witness gets its vote when all can ask it, and loses it when it is no more configured, or is no use, or
 * not one and the same: *@id, *@more.
 */
static bool witness_step(const struct ha_core *c, bool lost, uint64_t *id, bool *more)
{
	uint64_t wanted = can_be_halved(c) ? c->wanted.witness : 0;
	struct ha_voters next;

	if (c->log.voters.witness == wanted && !lost)
		return false;
	next = c->log.voters;
	*more = !next.witness;
	*id = *more ? wanted : next.witness;
	return (!*more || (together(c) && c->asking.newest <= c->epoch)) && ha_voters_witness(&next, *id, *more) && carried(c, &next);
}

/* A step towards @id's votes in corosync.conf; a host gets one only while it is here, and so has the log. */
static bool step_of(const struct ha_core *c, uint32_t id, bool more)
{
	uint32_t has = ha_voters_of(&c->log.voters, id), gets = ha_voters_of(&c->wanted, id);
	struct ha_voters next;

	if (more ? has >= gets || !ha_record_is_member(&c->rec, id) : has <= gets)
		return false;
	next = c->log.voters;
	return ha_voters_step(&next, id, more) && carried(c, &next);
}

/* Whose votes are to change next, 0 = nobody's: first those who get more, so that never fewer than needed count. */
static uint32_t next_step(const struct ha_core *c, bool *more)
{
	*more = true;
	for (uint32_t i = 0; i < c->wanted.n; i++)
		if (step_of(c, c->wanted.of[i].id, true))
			return c->wanted.of[i].id;
	*more = false;
	for (uint32_t i = 0; i < c->log.voters.n; i++)
		if (step_of(c, c->log.voters.of[i].id, false))
			return c->log.voters.of[i].id;
	return 0;
}

void ha_wanted_tick(struct ha_core *c)
{
	struct ha_entry *e;
	uint64_t witness = 0;
	uint32_t id;
	bool more, lost;

	if (c->form.stage != ST_STANDS)
		return;
	lost = c->log.voters.witness && apart(c);
	if ((c->counted == c->wanted_hash && !lost) || !ha_record_is_member(&c->rec, c->me))
		return;
	/* One of them proposes, the lowest.  The list before is committed: what follows it has no majority apart from it. */
	if (c->rec.voters.version != c->log.voters.version || !c->wanted.n || !ha_membership_lowest(c) || !all_want_the_same(c))
		return;
	id = next_step(c, &more);
	if (!id && !witness_step(c, lost, &witness, &more))
		return;
	e = ha_log_prepare(c, HA_E_VOTES, "", id);
	if (!e)
		return;
	e->version = c->log.voters.version + 1;
	e->witness = witness;
	if (witness && more)
		c->asking.together_ms = c->now;
	e->more = more;
	ha_log_propose(c, e);
}

/* Of those who do not see each other there it is mostly one who does not write; "" where this host sees all. */
static void who_does_not_write(const struct ha_core *c, char *buf, size_t size)
{
	for (uint32_t i = 0; i < c->n_peers && c->asking.ok && !buf[0]; i++) {
		const struct ha_node_conf *n = &c->peers[i].conf;

		if (!ha_set_has(c->form.parts, i) || claim_nodes_has(&c->asking.live, n->id))
			continue;
		if (n->id >= CLAIM_SLOTS)
			snprintf(buf, size, "%s has the node id %u: a witness has room for ids below %d", ha_core_node_name(c, n->id), n->id, CLAIM_SLOTS);
		else
			snprintf(buf, size, "%s is not seen to write there (yet)", ha_core_node_name(c, n->id));
	}
}

void ha_core_witness_why(const struct ha_core *c, char *buf, size_t size)
{
	buf[0] = 0;
	if (c->form.stage != ST_STANDS || !c->witness)
		return;
	if (!can_be_halved(c))
		snprintf(buf, size, "the hosts have %llu votes together, an odd number: they cannot be halved, and do without it",
			 (unsigned long long)ha_voters_hosts(&c->log.voters));
	for (uint32_t i = 0; i < c->n_peers && !buf[0]; i++) {
		const struct ha_peer *p = &c->peers[i];

		if (!ha_set_has(c->form.parts, i) || !p->heard_k)
			continue;
		if (c->asking.newest > c->epoch)
			snprintf(buf, size, "it knows of epochs that no host here has been in: make a new one");
		else if (p->wants != c->wanted_hash)
			snprintf(buf, size, "cluster.yaml or corosync.conf of %s is another than this host's", ha_core_node_name(c, p->conf.id));
	}
	if (!buf[0])
		who_does_not_write(c, buf, size);
	for (uint32_t i = 0; i < c->n_peers && !buf[0]; i++)
		if (ha_set_has(c->form.parts, i) && c->peers[i].heard_k && c->peers[i].sees != HA_SEES_ALL)
			snprintf(buf, size, "%s does not see that all hosts write there (yet)", ha_core_node_name(c, c->peers[i].conf.id));
}

void ha_wanted_why(const struct ha_core *c, const struct ha_peer *p, char *buf, size_t size)
{
	uint32_t gets = ha_voters_of(&c->wanted, p->conf.id);

	buf[0] = 0;
	if (c->form.stage != ST_STANDS)
		return;
	if (ha_set_has(c->form.parts, (uint32_t)(p - c->peers)) && p->heard_k && p->wants != c->wanted_hash)
		snprintf(buf, size, "its corosync.conf has other hosts or votes than this host's, or its cluster.yaml another witness: the votes stay as they are");
	else if (p->votes != gets)
		snprintf(buf, size, "its votes: %u by corosync.conf, which counts when all members' is alike%s", gets,
			 p->votes < gets && !p->in_group ? " and it has come" : "");
}
