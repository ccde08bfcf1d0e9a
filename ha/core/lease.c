/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease - until when this host may run domains (rules T and G).
 *
 * Every h this host multicasts RENEW(k) and keeps t_s(k), its own clock when it
 * sent it.  A RENEW also says which is the newest k it heard of every other
 * member: that is the acknowledgement.  The lease lasts until t_s(k*) + L, where
 * k* is the newest k that members with a majority of all votes heard.
 *
 * Why nobody's clock has to agree with ours: whoever heard RENEW(k*) heard it
 * after t_s(k*).  It counts P from when it heard it, P being longer than L + W
 * on any clock that is off by at most 1 %.
 *
 * A RENEW counts only between nodes of the same epoch.  So once a majority has
 * adopted a new epoch without us, no majority can renew our lease any more.  A RENEW says by which list of
 * votes its sender counts too: the list is changed again when all members have the change before (wanted.c).
 *
 * What is published goes to the pages of admitted VMMs only (role.c): a VMM that the
 * record gives to somebody else gets no more, so who is admitted is said before (rule H).
 */
#include "ha/core/core_int.h"

#include <assert.h>

#define FIRST_ACK_MS 2 /* long enough to take the others' first words along */

static bool in_epoch(const struct ha_core *c, const struct ha_peer *p)
{
	int slot = ha_record_slot(&c->rec, p->conf.id);

	return slot >= 0 && ha_set_has(c->rec.members, slot);
}

static void send_renew(struct ha_core *c)
{
	struct ha_lease *l = &c->lease;
	struct ha_writer w;
	uint32_t n = 0;

	assert(c->form.stage != ST_ALONE);
	assert(l->k + 1 >= l->epoch_k);
	l->k++;
	l->sent_ms[l->k % RENEW_RING] = c->now;
	l->next_ms = c->now + c->t.renew;
	for (uint32_t i = 0; i < c->n_peers; i++)
		n += c->peers[i].heard_k != 0;
	ha_msg_begin(c, &w, MSG_RENEW);
	ha_put_u64(&w, c->epoch);
	ha_put_u64(&w, l->k);
	ha_put_u64(&w, c->log.applied);
	ha_put_u64(&w, c->log.applied ? ha_log_record_hash(c) : 0);
	ha_put_u64(&w, c->wanted_hash);
	ha_put_u64(&w, c->log.voters.version);
	ha_put_u8(&w, ha_witness_sees(c));
	ha_put_u32(&w, n);
	for (uint32_t i = 0; i < c->n_peers; i++) {
		if (!c->peers[i].heard_k)
			continue;
		ha_put_u32(&w, c->peers[i].conf.id);
		ha_put_u64(&w, c->peers[i].heard_k);
	}
	ha_msg_send(c, &w);
}

/*
 * The newest own k that a majority heard; 0 = none.  Where the epoch leans on the witness all members
 * have, and only as long as it stands: who promised a later one may be outdone by those who had its
 * log from it, and no majority would be missing.
 */
static uint64_t majority_k(const struct ha_core *c)
{
	uint64_t at[HA_NODES_MAX];

	if (c->leans && c->form.stage != ST_STANDS && !MUTANT(M_LEAN_RENEW))
		return 0;
	for (uint32_t i = 0; i < c->n_peers; i++)
		at[i] = c->peers[i].acked_k;
	if (c->leans && !MUTANT(M_LEAN_RENEW))
		return ha_reached_all(c, at, c->parts, 0);
	return ha_reached(c, at, MUTANT(M_LEASE_FIRST_ACK) || (c->leans && MUTANT(M_LEAN_RENEW)) ? 1 : ha_majority(c), 0);
}

static void extend(struct ha_core *c)
{
	struct ha_lease *l = &c->lease;
	uint64_t k = majority_k(c), until;

	if (!k || k < l->epoch_k || k > l->k || l->k - k >= RENEW_RING)
		return;
	assert(l->sent_ms[k % RENEW_RING] <= c->now); /* rule T: a lease is counted from what was sent, and that is past */
	until = l->sent_ms[k % RENEW_RING] + c->t.lease;
	if (until > l->until_ms)
		l->until_ms = until;
}

/*
 * A majority contradicts our record. It is thrown away and taken from the others
 * (docs/ha.md). If that did not help, it is no accident but a fault in this daemon: to try
 * again at once would make everybody form epochs without end. We stay, we vote (the log is
 * the same), but do nothing by a record that we cannot trust, and try again after a pause.
 */
static void contradicted(struct ha_core *c)
{
	struct ha_trust *t = &c->trust;

	if (c->now < t->again_ms && !MUTANT(M_RESYNC_STORM)) {
		if (!t->lost)
			ha_out_note(c, HA_ALARM,
				    "this host's record differs from the others' although it was "
				    "taken from them: it runs nothing until they agree");
		t->lost = true;
		ha_wake_at(c, t->again_ms);
		return;
	}
	t->pause_ms = t->pause_ms ? t->pause_ms * 2 : 10000;
	if (t->pause_ms > c->t.retry_max)
		t->pause_ms = c->t.retry_max;
	t->again_ms = c->now + t->pause_ms;
	c->resync = true;
	ha_membership_rejoin(c, "this host's record differs from the others'");
}

/* Two replicas at the same place in the log must have the same record. */
static void compare(struct ha_core *c, struct ha_peer *p, uint64_t applied, uint64_t hash)
{
	ha_set differ = 0, same = ha_set_of(c->self);

	assert(c->self < c->n_peers);
	if (!applied || applied != c->log.applied || p == ha_self(c))
		return;
	p->differs = hash == ha_log_record_hash(c) ? 1 : -1;
	for (uint32_t i = 0; i < c->n_peers; i++) {
		if (c->peers[i].differs < 0)
			differ |= ha_set_of(i);
		else if (c->peers[i].differs > 0)
			same |= ha_set_of(i);
	}
	if (p->differs > 0) {
		p->alarmed = false;
		if (ha_votes(c, same) >= ha_needed(c))
			c->trust.lost = false;
		return;
	}
	if (!p->alarmed)
		ha_out_note(c, HA_ALARM, "record differs from that of %s at entry %llu",
			    ha_core_node_name(c, p->conf.id), (unsigned long long)applied);
	p->alarmed = true;
	if (ha_votes(c, differ) >= ha_majority(c))
		contradicted(c);
}

void ha_lease_renew(struct ha_core *c, uint32_t from, struct ha_reader *r)
{
	struct ha_peer *p = &c->peers[from];
	uint64_t epoch = ha_get_u64(r), k = ha_get_u64(r);
	uint64_t applied = ha_get_u64(r), hash = ha_get_u64(r), wants = ha_get_u64(r), list = ha_get_u64(r), mine = 0;
	uint8_t sees = ha_get_u8(r);
	uint32_t n = ha_get_u32(r);
	bool first;

	if (n > HA_NODES_MAX || sees > HA_SEES_ALL)
		r->bad = true;
	for (uint32_t i = 0; i < n && !r->bad; i++) {
		uint32_t id = ha_get_u32(r);
		uint64_t ack = ha_get_u64(r);

		if (id == c->me)
			mine = ack;
	}
	if (!ha_get_end(r)) {
		r->bad = true;
		return;
	}
	/* Another cluster's epoch may have the same number, and its hosts those of ours. */
	if (!c->epoch || epoch != c->epoch || p->evicted || !in_epoch(c, p) || ha_foreign(c, p))
		return;
	first = !p->heard_k;
	if (k > p->heard_k) {
		p->heard_k = k;
		p->heard_ms = c->now;
		p->wants = wants;
		p->list = list;
		p->sees = (enum ha_sees)sees;
	}
	if (from == c->self)
		mine = k;
	if (mine > p->acked_k && mine <= c->lease.k)
		p->acked_k = mine;
	extend(c);
	compare(c, p, applied, hash);

	/*
	 * The first word of a member in this epoch is acknowledged soon rather than after
	 * h: a new epoch, or a host that came back, has leases after a few milliseconds.
	 */
	if (first && c->lease.next_ms > c->now + FIRST_ACK_MS)
		c->lease.next_ms = c->now + FIRST_ACK_MS;
}

void ha_lease_epoch(struct ha_core *c)
{
	assert(c->form.stage == ST_STANDS);
	c->lease.stands_ms = c->now;
	c->lease.over_serial = 0; /* it is in the log before this epoch, or lost for ever */
	c->lease.epoch_k = c->lease.k + 1;
	c->lease.next_ms = c->now;
	for (uint32_t i = 0; i < c->n_peers; i++) {
		c->peers[i].heard_k = c->peers[i].acked_k = 0;
		c->peers[i].differs = 0;
	}
}

static void publish(struct ha_core *c)
{
	struct ha_lease *l = &c->lease;

	if (l->published_ms > c->now)
		ha_vmm_admit_found(c);
	if (l->until_ms <= l->published_ms || l->until_ms <= c->now)
		return;
	if (!c->quorate && !c->log.voters.witness) /* votequorum knows nothing of that vote */
		return;
	/* We have said that we have none: until all know, that stays true (standing.c). */
	if (l->over_serial || c->trust.lost)
		return;
	if (!ha_vmm_admit(c))
		return;
	l->published_ms = l->until_ms;
	ha_out_simple(c, HA_FX_LEASE, l->published_ms, 0);
}

void ha_lease_tick(struct ha_core *c)
{
	/*
	 * Also while a new epoch is being agreed: among those of the old one it holds until
	 * the new one stands. Before our first epoch it renews nothing but shows that we live.
	 */
	if (c->form.stage != ST_ALONE) {
		if (c->now >= c->lease.next_ms)
			send_renew(c);
		ha_wake_at(c, c->lease.next_ms);
	}
	publish(c);
	if (c->lease.published_ms > c->now)
		ha_wake_at(c, c->lease.published_ms);
}

bool ha_lease_valid(const struct ha_core *c)
{
	return MUTANT(M_NO_LEASE_CHECK) || c->now < c->lease.published_ms;
}
