/* SPDX-License-Identifier: Apache-2.0 */
/*
 * foreign - a record of another cluster is not agreed on (rule L).
 *
 * "The longest log wins" compares logs of one cluster: those that end alike are alike, and a
 * longer one holds what a shorter one does.  A host that comes from elsewhere with its state
 * directory, or got one back from the wrong backup, has a log that says nothing of the kind;
 * being longer it would replace the record of all.
 *
 * So a cluster has an id: random, drawn by one of those who agree on its first epoch, put
 * into the record by that NEW_EPOCH, and told in STATE as far as it is applied, which means
 * committed.  Two ids in one view are two clusters.  The one whose hosts there have a majority
 * of the votes goes on; if none has, the one with more hosts, as those without an id may help it
 * to one.  Hosts of another are left out of the view as if voted out, and stay out.  Who has
 * no id (an empty log, or one in which nothing is committed) goes with whoever is there.
 *
 * All must leave out the same ones, at the same message.  Votes are those of corosync.conf, as the
 * host with the longest log of each id has told it: the list in the log of another cluster says
 * nothing of the hosts here.  A witness belongs to none of them.
 */
#include "ha/core/core_int.h"

#include <assert.h>
#include <inttypes.h>

static ha_set hosts_of(const struct ha_core *c, ha_set set, uint64_t cluster)
{
	ha_set hosts = 0;

	for (uint32_t i = 0; i < c->n_peers; i++)
		if (ha_set_has(set, i) && c->peers[i].state.cluster == cluster)
			hosts |= ha_set_of(i);
	return hosts;
}

/* Hosts of one id: have they a majority, by the corosync.conf of the one that would give its log to the others? */
static bool decide(const struct ha_core *c, ha_set hosts)
{
	const struct ha_voters *l = &c->peers[ha_sync_donor(c, hosts)].state.wanted;

	return ha_votes_by(c, l, hosts) >= ha_voters_hosts(l) / 2 + 1 && !MUTANT(M_FOREIGN_HOSTS);
}

/* The id that most hosts of @set have, 0 = none has one; *@tie: another has as many. */
static uint64_t most(const struct ha_core *c, ha_set set, bool *tie)
{
	uint64_t home = 0;
	uint32_t hosts = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		uint64_t cluster = c->peers[i].state.cluster;
		uint32_t n;

		if (!ha_set_has(set, i) || !cluster || cluster == home)
			continue;
		n = ha_set_count(hosts_of(c, set, cluster));
		if (n >= hosts)
			*tie = n == hosts;
		if (n <= hosts)
			continue;
		hosts = n;
		home = cluster;
	}
	return home;
}

/* The id whose hosts in @set have a majority of the votes, else the one that most have; *@tie: so does another. */
static uint64_t home_of(const struct ha_core *c, ha_set set, bool *tie)
{
	uint64_t home = 0;

	*tie = false;
	for (uint32_t i = 0; i < c->n_peers; i++) {
		uint64_t cluster = c->peers[i].state.cluster;

		if (!ha_set_has(set, i) || !cluster || cluster == home || !decide(c, hosts_of(c, set, cluster)))
			continue;
		*tie = home != 0;
		home = cluster;
	}
	return home ? home : most(c, set, tie);
}

bool ha_foreign(const struct ha_core *c, const struct ha_peer *p)
{
	return p->state.have && p->state.cluster && c->rec.cluster && p->state.cluster != c->rec.cluster;
}

uint64_t ha_foreign_home(const struct ha_core *c, ha_set set)
{
	bool tie;

	return home_of(c, set, &tie);
}

static void leave_out(struct ha_core *c, struct ha_peer *p)
{
	assert(p->in_group && p->state.have && p->state.cluster);
	p->evicted = p->foreign = true;
	if (p->conf.id == c->me)
		ha_out_note(c, HA_ALARM,
			    "this host's record is that of another cluster (%016" PRIx64 "): it takes no part here. "
			    "Stop droverd and move its state directory away, if that cluster is no more",
			    p->state.cluster);
	else
		ha_out_note(c, HA_ALARM, "%s has the record of another cluster (%016" PRIx64 "): it takes no part",
			    ha_core_node_name(c, p->conf.id), p->state.cluster);
}

bool ha_foreign_leave_out(struct ha_core *c, ha_set set)
{
	bool tie, self = false;
	uint64_t home = home_of(c, set, &tie);

	if (tie && !MUTANT(M_FOREIGN)) {
		ha_out_note(c, HA_ALARM, "hosts of two clusters are here, as many of each: nothing is decided");
		return true;
	}
	for (uint32_t i = 0; i < c->n_peers; i++) {
		struct ha_peer *p = &c->peers[i];

		if (!ha_set_has(set, i) || !p->state.cluster || p->state.cluster == home || MUTANT(M_FOREIGN))
			continue;
		leave_out(c, p);
		self |= p->conf.id == c->me;
	}
	/* Silent until the next view: to leave the group would only bring all others back to GATHER. */
	if (self)
		ha_membership_lost(c);
	return self;
}
