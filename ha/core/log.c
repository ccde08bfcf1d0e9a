/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log - rule L: append, make durable, acknowledge, and act only on what a
 * majority of all votes holds.
 *
 *   DELIVER(ENTRY)  -> appended to the tail, PERSIST
 *   PERSISTED       -> ACK(epoch, seq) to everybody
 *   DELIVER(ACK)    -> a majority? then committed, applied to the record
 *
 * CPG's order is agreed but not safe: we may be the only one who got a message.
 * An entry that only we hold is lost when we are cut off, and nobody noticed,
 * because nobody acted on it.
 *
 * Every entry has (epoch, seq) and a hash over all before it; logs that end in
 * the same (epoch, seq) are the same log, as in Raft (Ongaro 2014, 3.5): an
 * epoch's entries are appended in one total order behind one common beginning.
 *
 * The tail holds what is not yet applied.  Its place is bounded by the window
 * each node keeps (PROPS_MAX proposals, one of them with a domain's text, or a
 * part of a report), so that all nodes fit.
 */
#include "ha/core/core_int.h"

#include <assert.h>
#include <string.h>

static struct ha_tail_entry *tail_at(struct ha_log *l, uint32_t i)
{
	return &l->tail[(l->first + i) % TAIL_MAX];
}

const uint8_t *ha_log_bytes(const struct ha_core *c, uint32_t i, size_t *len)
{
	const struct ha_tail_entry *t = tail_at((struct ha_log *)&c->log, i);

	assert(i < c->log.n);
	*len = t->len;
	return c->log.bytes + t->off;
}

uint64_t ha_log_cluster(struct ha_core *c)
{
	const uint8_t *bytes;
	size_t len;

	if (c->rec.cluster || !c->log.n)
		return c->rec.cluster;
	assert(!c->log.applied);
	bytes = ha_log_bytes(c, 0, &len);
	return ha_entry_decode(&c->entry, bytes, len) && c->entry.kind == HA_E_NEW_EPOCH ? c->entry.cluster : 0;
}

void ha_log_clear_tail(struct ha_core *c)
{
	struct ha_log *l = &c->log;

	l->first = l->n = 0;
	l->bytes_start = l->bytes_end = 0;
}

uint64_t ha_log_hash(uint64_t before, uint64_t epoch, uint64_t seq, const uint8_t *bytes, size_t len)
{
	return ha_hash(ha_hash_u64(ha_hash_u64(before, epoch), seq), bytes, len);
}

/* Rule L in counters: applied, committed, written, in this order; and what is said to others is here. */
void ha_log_check(const struct ha_core *c)
{
	const struct ha_log *l = &c->log;

	assert(l->applied <= l->commit);
	assert(l->commit <= l->seq);
	assert(l->n <= TAIL_MAX && l->first < TAIL_MAX);
	assert(l->seq - l->applied == l->n);
	assert(l->applied_epoch <= l->epoch || MUTANT(M_NO_PROMISE));
	assert(l->epoch <= l->promised || MUTANT(M_NO_PROMISE));
	assert(l->acked <= l->seq);
	assert(l->voters.version >= c->rec.voters.version); /* what is applied was appended */
	assert(l->n || l->voters.version == c->rec.voters.version);
	assert(l->promise_token <= l->next_token);
	assert(l->promise_durable <= l->promised);
	assert(l->bytes_start <= l->bytes_end && l->bytes_end <= TAIL_BYTES);
}

/* Room for @len bytes behind the tail; moves it to the front of its buffer when needed. */
static bool tail_room(struct ha_log *l, size_t len)
{
	if (l->n == TAIL_MAX)
		return false;
	if (!l->n)
		l->bytes_start = l->bytes_end = 0;
	if (l->bytes_end + len <= TAIL_BYTES)
		return true;
	if (l->bytes_end - l->bytes_start + len > TAIL_BYTES)
		return false;
	memmove(l->bytes, l->bytes + l->bytes_start, l->bytes_end - l->bytes_start);
	for (uint32_t i = 0; i < l->n; i++) {
		assert(tail_at(l, i)->off >= l->bytes_start);
		tail_at(l, i)->off -= l->bytes_start;
	}
	l->bytes_end -= l->bytes_start;
	l->bytes_start = 0;
	return true;
}

static void send_ack(struct ha_core *c, uint64_t epoch, uint64_t seq)
{
	struct ha_writer w;

	ha_msg_begin(c, &w, MSG_ACK);
	ha_put_u64(&w, epoch);
	ha_put_u64(&w, seq);
	ha_msg_send(c, &w);
	c->log.acked = seq;
}

/* @store: write it to disk (else it came from there) */
void ha_log_append(struct ha_core *c, uint64_t epoch, const uint8_t *bytes, size_t len, bool store)
{
	struct ha_log *l = &c->log;
	struct ha_tail_entry *t;
	size_t n;

	if (!tail_room(l, len)) {
		/* Cannot happen while everybody keeps its window; drop out rather than diverge. */
		ha_membership_rejoin(c, "log tail is full");
		return;
	}
	assert(epoch >= l->epoch || MUTANT(M_NO_PROMISE));
	assert(epoch <= l->promised || !store || MUTANT(M_NO_PROMISE)); /* rule L: promised before it is used */
	t = tail_at(l, l->n++);
	l->epoch = epoch;
	l->seq++;
	l->hash = ha_log_hash(l->hash, epoch, l->seq, bytes, len);
	*t = (struct ha_tail_entry){ .epoch = epoch, .seq = l->seq, .hash = l->hash, .off = l->bytes_end, .len = (uint32_t)len };
	memcpy(l->bytes + t->off, bytes, len);
	l->bytes_end += (uint32_t)len;
	assert(l->bytes_end <= TAIL_BYTES);
	ha_votes_appended(c, bytes, len);
	if (!store)
		return;
	t->token = ++l->next_token;
	n = ha_blob_entry(c, epoch, l->seq, bytes, len, c->msg, sizeof(c->msg));
	assert(n > len);
	ha_out_persist(c, false, c->msg, n, t->token);
	l->disk_bytes += n;
	if (MUTANT(M_ACK_BEFORE_DISK))
		send_ack(c, epoch, l->seq);
}

void ha_log_promise(struct ha_core *c, uint64_t promised)
{
	struct ha_log *l = &c->log;
	size_t n;

	assert(promised > l->promised && promised > l->epoch); /* no epoch is promised twice */
	l->promised = promised;
	l->promise_token = ++l->next_token;
	c->form.said_state = false;
	n = ha_blob_promise(promised, c->msg, sizeof(c->msg));
	assert(n);
	ha_out_persist(c, false, c->msg, n, l->promise_token);
	l->disk_bytes += n;
}

/* Our log has this epoch's first entry: what is appended now stands where everybody has it. */
static bool log_in_epoch(const struct ha_core *c)
{
	return c->log.epoch == c->form.target;
}

/* An entry arrives. In total order: every member of the epoch does the same here. */
void ha_log_entry(struct ha_core *c, uint32_t from, struct ha_reader *r)
{
	uint64_t epoch = ha_get_u64(r);
	size_t len;
	const uint8_t *bytes = ha_get_bytes(r, HA_ENTRY_MAX, &len);

	if (!ha_get_end(r)) {
		r->bad = true;
		return;
	}
	/*
	 * Sent in another epoch, or by somebody who is not in this one: nobody
	 * appends it, its sender proposes it again when the new epoch stands.
	 */
	if (c->form.stage != ST_STANDS || epoch != c->epoch || !ha_set_has(c->form.parts, from))
		return;
	if (!log_in_epoch(c))
		return;
	assert(c->epoch == c->form.target);
	/*
	 * What we cannot read may be of a newer version: it has its place in the log as with
	 * everybody, or our log would be another one, and it changes nothing (ha_log_apply).
	 */
	if (ha_entry_decode(&c->entry, bytes, len)) {
		if (c->entry.kind == HA_E_NEW_EPOCH || c->entry.origin != c->peers[from].conf.id)
			r->bad = true;
	} else if (!len || (MUTANT(M_DROP_UNKNOWN) && c->me == 3)) {
		r->bad = true;
	}
	if (r->bad)
		return;
	for (uint32_t i = 0; c->form.leans && i < c->n_peers; i++)
		if (c->peers[i].ack == c->log.seq)
			c->peers[i].owes_ms = c->now;
	ha_log_append(c, epoch, bytes, len, true);
	if (MUTANT(M_ACT_ON_DELIVERY)) {
		c->log.commit = c->log.seq;
		ha_log_apply(c);
	}
}

/* Everything up to @token is durable: say so, for the entries of this epoch. */
void ha_log_persisted(struct ha_core *c, uint64_t token)
{
	struct ha_log *l = &c->log;
	uint64_t seq = 0;

	if (token > l->durable_token)
		l->durable_token = token;
	if (l->promise_token <= l->durable_token)
		l->promise_durable = l->promised;
	/*
	 * In GATHER we have told (or are telling) what our log holds, and nothing
	 * of an older epoch may be acknowledged behind that (rule L): a new epoch
	 * that began without this entry must not meet a majority for it.
	 */
	if (c->form.stage != ST_SYNC && c->form.stage != ST_STANDS)
		return;
	for (uint32_t i = 0; i < l->n; i++) {
		struct ha_tail_entry *t = tail_at(l, i);

		assert(t->seq == l->applied + 1 + i);
		if (t->token <= l->durable_token && t->epoch == c->form.target)
			seq = t->seq;
	}
	if (seq > l->acked)
		send_ack(c, c->form.target, seq);
}

void ha_log_ack(struct ha_core *c, uint32_t from, struct ha_reader *r)
{
	uint64_t epoch = ha_get_u64(r), seq = ha_get_u64(r);

	if (!ha_get_end(r)) {
		r->bad = true;
		return;
	}
	if ((c->form.stage != ST_SYNC && c->form.stage != ST_STANDS) || epoch != c->form.target ||
	    !ha_set_has(c->form.parts, from))
		return;
	/* Nobody has less of this epoch than its first entry. */
	if (seq < c->form.epoch_seq) {
		r->bad = true;
		return;
	}
	if (seq > c->peers[from].ack) {
		c->peers[from].ack = seq;
		c->peers[from].owes_ms = c->now;
	}
	ha_log_commit(c);
}

/*
 * Largest seq that peers with a majority of all votes hold; not below what is committed.  Where the
 * epoch stands by the witness's vote all of its members hold it, for the witness does not.
 */
static uint64_t majority_seq(const struct ha_core *c)
{
	uint64_t at[HA_NODES_MAX], need = ha_majority(c);

	if (c->form.leans && MUTANT(M_LEAN_COUNT))
		need = 1;
	if (MUTANT(M_EPOCH_MINORITY) && c->form.stage == ST_SYNC)
		need = 1;
	for (uint32_t i = 0; i < c->n_peers; i++)
		at[i] = ha_set_has(c->form.parts, i) ? c->peers[i].ack : 0;
	if (c->form.leans && !MUTANT(M_LEAN_COUNT))
		return ha_reached_all(c, at, c->form.parts, c->log.commit);
	return ha_reached(c, at, need, c->log.commit);
}

void ha_log_commit(struct ha_core *c)
{
	uint64_t seq;

	/* Until the snapshot is complete some member has nothing to append to. */
	if ((c->form.stage == ST_SYNC && !c->form.snap_done) || !log_in_epoch(c))
		return;
	seq = majority_seq(c);
	if (seq > c->log.seq)
		seq = c->log.seq;
	if (seq <= c->log.commit)
		return;
	/*
	 * Acknowledgements count in their own epoch only, so the first thing that
	 * can be committed is NEW_EPOCH, and with it all that stands before it
	 * (Raft 3.6.2: never commit an older term's entry by counting).
	 */
	assert(seq >= c->form.epoch_seq);
	c->log.commit = seq;
	ha_membership_check(c);
	ha_log_apply(c);
}

void ha_log_apply(struct ha_core *c)
{
	struct ha_log *l = &c->log;

	while (l->n && l->applied < l->commit) {
		struct ha_tail_entry *t = tail_at(l, 0);

		assert(t->seq == l->applied + 1 && (t->epoch >= l->applied_epoch || MUTANT(M_NO_PROMISE)));
		assert(t->off == l->bytes_start && t->off + t->len <= l->bytes_end);
		if (!ha_entry_decode(&c->entry, l->bytes + t->off, t->len))
			ha_out_note(c, HA_ALARM,
				    "entry %llu.%llu cannot be read by this version: it changes nothing",
				    (unsigned long long)t->epoch, (unsigned long long)t->seq);
		else
			ha_applied(c, &c->entry);
		l->applied = t->seq;
		l->applied_epoch = t->epoch;
		l->applied_hash = t->hash;
		l->bytes_start = t->off + t->len;
		l->first = (l->first + 1) % TAIL_MAX;
		l->n--;
		ha_agreed_follow(c);
	}
}

uint64_t ha_log_record_hash(struct ha_core *c)
{
	if (c->rec_hash_seq != c->log.applied || !c->rec_hash) {
		c->rec_hash = ha_record_hash(&c->rec);
		c->rec_hash_seq = c->log.applied;
	}
	return c->rec_hash;
}

/* ------------------------------------------------------------- proposals */

struct ha_entry *ha_log_prepare(struct ha_core *c, enum ha_entry_kind kind, const char *domain,
				uint32_t node)
{
	struct ha_entry *e = &c->entry;
	bool room = false;

	assert(kind >= HA_E_REPORT && kind < HA_E_KINDS); /* NEW_EPOCH is proposed by nobody */
	if (c->form.stage != ST_STANDS || !ha_out_room(c, 1, HA_ENTRY_MAX + 64))
		return NULL;
	for (uint32_t i = 0; i < PROPS_MAX; i++) {
		struct ha_prop *p = &c->props[i];

		if (p->used && c->now - p->sent_ms > c->t.propose)
			p->used = false; /* lost by our own shell; a second copy does no harm */
		if (!p->used)
			room = true;
		else if (p->kind == kind && kind != HA_E_OP && p->node == node &&
			 !strcmp(p->domain, domain))
			return NULL;
	}
	if (!room)
		return NULL;
	memset(e, 0, offsetof(struct ha_entry, members));
	e->from = e->to = e->n_items = 0;
	memset((char *)e + offsetof(struct ha_entry, op), 0,
	       offsetof(struct ha_entry, hosts) - offsetof(struct ha_entry, op));
	e->kind = kind;
	e->node = node;
	ha_copy(e->domain, sizeof(e->domain), domain);
	return e;
}

bool ha_log_propose(struct ha_core *c, struct ha_entry *e)
{
	static const size_t head = 2 + 8 + 4; /* message header, epoch, length */
	struct ha_writer w;
	struct ha_prop *p = NULL;
	int slot = ha_record_slot(&c->rec, c->me);
	size_t n;

	assert(c->form.stage == ST_STANDS && e == &c->entry);
	for (uint32_t i = 0; i < PROPS_MAX && !p; i++)
		if (!c->props[i].used)
			p = &c->props[i];
	if (!p)
		return false;
	/* Serials grow over restarts, because the record remembers the last that was applied. */
	if (slot >= 0 && c->serial < c->rec.nodes[slot].last_op)
		c->serial = c->rec.nodes[slot].last_op;
	e->origin = c->me;
	e->serial = ++c->serial;
	n = ha_entry_encode(e, c->msg + head, sizeof(c->msg) - head);
	if (!n)
		return false;
	ha_msg_begin(c, &w, MSG_ENTRY);
	ha_put_u64(&w, c->epoch);
	ha_put_u32(&w, (uint32_t)n);
	assert(w.len == head && n <= w.size - head);
	w.len += n;
	ha_msg_send(c, &w);
	*p = (struct ha_prop){ .used = true, .kind = e->kind, .node = e->node, .serial = e->serial, .sent_ms = c->now };
	ha_copy(p->domain, sizeof(p->domain), e->domain);
	ha_wake_at(c, c->now + c->t.propose + 1);
	return true;
}

/* Whatever was on its way is in the new epoch's log by now, or lost for ever. */
void ha_log_epoch_changed(struct ha_core *c)
{
	for (uint32_t i = 0; i < PROPS_MAX; i++)
		c->props[i].used = false;
	for (uint32_t i = 0; i < OPS_MAX; i++) {
		struct ha_pending *p = &c->ops[i];
		int slot = ha_record_slot(&c->rec, c->me);

		if (!p->used || !p->sent)
			continue;
		p->sent = false;
		if (slot >= 0 && c->rec.nodes[slot].last_op >= p->serial) {
			ha_op_done(c, p);
			/* It came with a snapshot: the record tells that it was judged, not how. */
			ha_out_reply(c, p->request, HA_TIMEOUT,
				     "it was decided while this host was cut off; whether it was done "
				     "or refused shows in the status");
		}
	}
}
