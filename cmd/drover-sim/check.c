/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check - what must always hold, checked after every step; tests/sim has a
 * mutant of the core for each rule that one of these must catch.
 *
 *   I1  never two VMMs of a domain able to write at one instant
 *   I2  a domain that should run, runs, when the cluster has been whole for a while
 *   I3  nothing is started, moved, decided or fenced by a host without a lease
 *   I4  no start while another VMM of the domain could still write
 *   I5  two replicas at the same log position have the same log and the same record
 *   I6  a command that was answered with success is in the record, and stays
 *   I9  no ping-pong: a healed cluster moves a domain at most a few times
 *   I10 no state without an exit: a healed cluster comes to rest
 *   I12 a VMM that has stood still writes again only if no other VMM of the domain has written since
 *   INDEX what the core keeps beside the record is what a search through it finds
 */
#include "cmd/drover-sim/sim.h"

#include <string.h>

/* Who wrote before, and then another one did, remembers an older disk. */
static void check_memory(struct sim *s, uint32_t h, uint32_t d)
{
	struct sim_vmm *v = &s->host[h].vmm[d];

	if (!v->writer)
		v->writer = ++s->writers[d];
	if (v->writer != s->writers[d])
		sim_fail(s, "I12", "%s.%llu on n%u writes again, and another VMM of it has written since", sim_dom_name(d),
			 (unsigned long long)v->incarnation, h + 1);
}

/* A record that is older than what runs knows no better: docs/ha.md, "A lost disk has no vote". */
void check_memory_anew(struct sim *s)
{
	memset(s->writers, 0, sizeof(s->writers));
	for (uint32_t h = 0; h < s->o.hosts; h++)
		for (uint32_t d = 0; d < SIM_DOMAINS; d++)
			s->host[h].vmm[d].writer = 0;
}

void check_writers(struct sim *s)
{
	for (uint32_t d = 0; d < s->o.domains && !s->failed; d++) {
		uint32_t who = SIM_HOSTS;

		for (uint32_t h = 0; h < s->o.hosts; h++) {
			if (s->host[h].vmm[d].state != VM_RUN || !vmm_can_write(s, h, d))
				continue;
			if (who != SIM_HOSTS)
				sim_fail(s, "I1",
					 "%s can write on n%u (incarnation %llu) and on n%u (%llu)",
					 sim_dom_name(d), who + 1,
					 (unsigned long long)s->host[who].vmm[d].incarnation, h + 1,
					 (unsigned long long)s->host[h].vmm[d].incarnation);
			who = h;
			check_memory(s, h, d);
		}
		for (uint32_t h = 0; h < s->o.hosts && who != SIM_HOSTS; h++)
			if (vmm_hidden_may_write(s, h, d))
				sim_fail(s, "I1", "%s can write on n%u, and so can a VMM of it on n%u that no daemon knows",
					 sim_dom_name(d), who + 1, h + 1);
	}
}

void check_step(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];
	struct ha_status st;
	struct sim_seen *seen;
	uint64_t hash;

	ha_core_status(x->core, &st);
	/* A lost disk holds again what this host is counted for. */
	if (st.committed && x->disk.durable == x->disk.n && !x->copied && !x->foreign)
		s->filled |= 1u << h;
	if (!st.committed || st.committed == x->checked || x->foreign)
		return;
	rules_placed(s, h, st.committed == x->checked + 1);
	x->checked = st.committed;
	if (ha_core_wrong(x->core))
		sim_fail(s, "INDEX", "n%u passes over what it should look at, or counted wrong: %s", x->id, ha_core_wrong(x->core));
	hash = st.hash ^ ha_record_hash(ha_core_record(x->core)) * 3;
	seen = &s->seen[st.committed % SEEN_MAX];
	if (seen->seq == st.committed && seen->hash != hash && !s->split)
		sim_fail(s, "I5", "n%u has another log or record than somebody had at entry %llu",
			 x->id, (unsigned long long)st.committed);
	seen->seq = st.committed;
	seen->hash = hash;
}

void check_effect(struct sim *s, uint32_t h, const struct ha_effect *fx)
{
	struct sim_host *x = &s->host[h];
	uint32_t d;

	switch (fx->kind) {
	case HA_FX_DECIDE:
		if (fx->vmm.to_incarnation != fx->vmm.incarnation)
			return; /* "you lost": needs no lease */
		break;
	case HA_FX_START:
	case HA_FX_RECEIVE:
	case HA_FX_MIGRATE:
	case HA_FX_FENCE:
		break;
	default:
		return;
	}
	if (host_now(s, h) >= x->lease_ms)
		sim_fail(s, "I3", "n%u without a lease: %s", x->id, ha_effect_kind_str(fx->kind));
	if (fx->kind != HA_FX_START)
		return;
	d = sim_dom(fx->vmm.name);
	for (uint32_t o = 0; o < s->o.hosts; o++) {
		struct sim_host *y = &s->host[o];

		if (vmm_hidden_may_write(s, o, d))
			sim_fail(s, "I4", "n%u starts %s.%llu, but a VMM of it on n%u that no daemon knows may still write",
				 x->id, fx->vmm.name, (unsigned long long)fx->vmm.incarnation, o + 1);
		if (o != h && y->up && y->vmm[d].state != VM_NONE &&
		    y->vmm[d].state <= VM_STOPPHASE && !y->vmm[d].incoming &&
		    host_now(s, o) < y->vmm[d].lease_ms + vmm_gate_us(s, o, d) / 1000)
			sim_fail(s, "I4", "n%u starts %s.%llu, but %s.%llu on n%u may still write",
				 x->id, fx->vmm.name, (unsigned long long)fx->vmm.incarnation,
				 fx->vmm.name, (unsigned long long)y->vmm[d].incarnation, y->id);
	}
}

void check_reply(struct sim *s, uint32_t h, const struct ha_effect *fx)
{
	struct sim_request *q = &s->requests[fx->reply.request % REQUESTS_MAX];
	uint32_t d = q->dom;

	if (q->done)
		sim_fail(s, "I6", "request %llu was answered twice",
			 (unsigned long long)fx->reply.request);
	q->done = true;
	operator_answered(s, h, q, fx->reply.code);
	if (fx->reply.code != HA_OK || q->op != HA_OP_ADD)
		return;
	s->added[d] = true;
	if (!s->removed[d] && ha_record_find(ha_core_record(s->host[h].core), sim_dom_name(d)) < 0)
		sim_fail(s, "I6", "%s was acknowledged, but n%u's record does not hold it",
			 sim_dom_name(d), h + 1);
}

/* --------------------------------------------------------------- at the end */

static bool domain_settled(struct sim *s, const struct ha_record *r, uint32_t d, char *why,
			   size_t size)
{
	int i = ha_record_find(r, sim_dom_name(d));
	const struct ha_domain *dom = i < 0 ? NULL : &r->domains[i];
	uint32_t vmms = 0, writers = 0;

	for (uint32_t h = 0; h < s->o.hosts; h++) {
		vmms += s->host[h].vmm[d].state != VM_NONE;
		writers += vmm_can_write(s, h, d);
	}
	if (!dom) {
		snprintf(why, size, "I6: %s is lost", sim_dom_name(d));
		return (!s->added[d] || s->removed[d]) && !vmms;
	}
	ha_domain_print(dom, why, size);
	if (dom->phase == HA_STOPPED && dom->wanted)
		return false;
	if (dom->phase == HA_STOPPED)
		return !vmms && !(s->added[d] && dom->ha && !s->stop_asked[d] && !s->removed[d] && !s->unprotected[d] &&
				  !s->powered_off[d]);
	return dom->phase == HA_RUNNING && vmms == 1 && writers == 1 &&
	       vmm_can_write(s, dom->owner - 1, d) &&
	       s->host[dom->owner - 1].vmm[d].incarnation == dom->incarnation &&
	       s->host[dom->owner - 1].vmm[d].paused == dom->paused;
}

/* Who counts for how much is what everybody's corosync.conf says. */
static bool votes_settled(const struct sim *s, uint32_t h)
{
	struct ha_node_status n;

	for (size_t i = 0; ha_core_node(s->host[h].core, i, &n); i++)
		if (n.votes != n.conf.votes)
			return false;
	return true;
}

bool check_settled(struct sim *s, char *why, size_t size)
{
	const struct ha_record *first = NULL;
	uint64_t hash = 0;

	for (uint32_t h = 0; h < s->o.hosts; h++) {
		struct sim_host *x = &s->host[h];
		const struct ha_record *r;
		struct ha_status st;

		snprintf(why, size, "n%u is not up and joined", x->id);
		if (!x->up || !x->daemon || !x->joined)
			return false;
		ha_core_status(x->core, &st);
		snprintf(why, size, "n%u is %s in epoch %llu", x->id, ha_standing_str(st.standing),
			 (unsigned long long)st.epoch);
		if (st.standing != HA_STANDS || host_now(s, h) >= st.lease_until_ms)
			return false;
		snprintf(why, size, "n%u counts other votes than corosync.conf has", x->id);
		if (!votes_settled(s, h))
			return false;
		r = ha_core_record(x->core);
		for (uint32_t i = 0; i < HA_NODES_MAX; i++) {
			snprintf(why, size, "node %u has a debt, owes a report or has no lease", r->nodes[i].id);
			if (r->nodes[i].debt || r->nodes[i].report_due ||
			    (r->nodes[i].id && !r->nodes[i].leased))
				return false;
		}
		snprintf(why, size, "n%u's record differs", x->id);
		if (first && ha_record_hash(r) != hash)
			return false;
		first = r;
		hash = ha_record_hash(r);
	}
	if (first && operator_missing(s, first))
		sim_fail(s, "I6", "%s was answered with success and is gone", operator_missing(s, first));
	for (uint32_t d = 0; first && d < s->o.domains; d++) {
		if (!domain_settled(s, first, d, why, size))
			return false;
		if (s->starts_quiet[d] > 4)
			sim_fail(s, "I9", "%s was started %llu times after the cluster had healed",
				 sim_dom_name(d), (unsigned long long)s->starts_quiet[d]);
	}
	return true;
}
