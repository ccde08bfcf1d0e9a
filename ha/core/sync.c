/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync - from an agreement to a common log (membership.c, SYNC): who has the longest log gives it
 * to those who have another, and all append the same first entry.
 */
#include "ha/core/core_int.h"

#include <assert.h>
#include <string.h>

static bool same_log(const struct ha_state *a, const struct ha_state *b)
{
	return a->epoch == b->epoch && a->seq == b->seq && a->hash == b->hash;
}

static bool longer_log(const struct ha_state *a, const struct ha_state *b)
{
	return a->epoch != b->epoch ? a->epoch > b->epoch : a->seq > b->seq;
}

uint32_t ha_sync_donor(const struct ha_core *c, ha_set set)
{
	uint32_t best = HA_NODES_MAX;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_peer *p = &c->peers[i], *b;

		if (!ha_set_has(set, i) || !p->state.have)
			continue;
		if (best == HA_NODES_MAX) {
			best = i;
			continue;
		}
		b = &c->peers[best];
		if (MUTANT(M_DONOR_LOWEST)) {
			if (p->conf.id < b->conf.id)
				best = i;
		} else if (longer_log(&p->state, &b->state) ||
			   (!longer_log(&b->state, &p->state) && p->conf.id < b->conf.id)) {
			best = i;
		}
	}
	return best;
}

static void append_first(struct ha_core *c)
{
	static const size_t off = 64; /* c->msg is used for the blob as well */
	size_t n = ha_entry_encode(&c->form.first, c->snap + HA_BLOB_MAX - HA_ENTRY_MAX,
				   HA_ENTRY_MAX - off);

	assert(n && c->log.promised == c->form.target);
	/* All of this epoch write it at the same place, behind the same log. */
	assert(c->log.seq + 1 == c->form.epoch_seq || c->resync);
	c->log.acked = 0;
	ha_log_append(c, c->form.target, c->snap + HA_BLOB_MAX - HA_ENTRY_MAX, n, true);
	/* Rule L: what follows is counted as what was agreed on. */
	assert(ha_voters_same(&c->log.voters, &c->form.voters) || MUTANT(M_NO_PROMISE) || MUTANT(M_OWN_LIST));
}

static void send_chunks(struct ha_core *c)
{
	struct ha_form *f = &c->form;

	assert(f->donor == c->self && f->snap_sent <= f->snap_len && f->snap_len <= sizeof(c->snap));
	while (f->snap_sent < f->snap_len && f->snap_sent - f->snap_got < CHUNK_WINDOW * CHUNK) {
		size_t n = f->snap_len - f->snap_sent;
		struct ha_writer w;

		if (n > CHUNK)
			n = CHUNK;
		ha_msg_begin(c, &w, MSG_CHUNK);
		ha_put_u64(&w, f->target);
		ha_put_u32(&w, (uint32_t)f->snap_len);
		ha_put_u32(&w, (uint32_t)f->snap_sent);
		ha_put_bytes(&w, c->snap + f->snap_sent, n);
		ha_msg_send(c, &w);
		f->snap_sent += n;
	}
}

/*
 * Everybody agrees on what was delivered as our STATE, so it had better be ours: a word of
 * a former daemon, kept somewhere on the way, would make the others build on a log that
 * this host does not have, or leave it out for a record that was moved away.
 */
bool ha_sync_said_by_me(const struct ha_core *c)
{
	const struct ha_state *s = &c->peers[c->self].state;
	struct ha_state mine = { .epoch = c->log.epoch, .seq = c->log.seq, .hash = c->log.hash };

	if (c->resync)
		mine = (struct ha_state){ 0 };
	else
		mine.cluster = c->rec.cluster;
	return same_log(s, &mine) && s->cluster == mine.cluster && s->promised <= c->log.promised;
}

void ha_sync_begin(struct ha_core *c, ha_set parts)
{
	struct ha_form *f = &c->form;
	const struct ha_state *best;

	f->parts = parts;
	f->donor = ha_sync_donor(c, parts);
	assert(ha_set_has(f->parts, c->self));
	assert(f->donor < c->n_peers && ha_set_has(f->parts, f->donor));
	best = &c->peers[f->donor].state;
	f->snap_needed = false;
	f->snap_len = f->snap_sent = f->snap_got = 0;
	for (uint32_t i = 0; i < c->n_peers; i++) {
		c->peers[i].ack = 0;
		c->peers[i].progress_ms = c->peers[i].owes_ms = c->now;
		if (ha_set_has(f->parts, i) && !same_log(&c->peers[i].state, best))
			f->snap_needed = true;
	}
	f->snap_done = !f->snap_needed;
	f->epoch_seq = best->seq + 1;
	ha_first_make(c);
	assert(f->first.n_members == ha_set_count(f->parts));
	ha_membership_stage(c, ST_SYNC);
	if (f->snap_needed && f->donor == c->self) {
		f->snap_len = ha_snapshot_encode(c, c->snap, HA_BLOB_MAX - HA_ENTRY_MAX);
		assert(f->snap_len <= HA_BLOB_MAX - HA_ENTRY_MAX);
		send_chunks(c);
	}
	/*
	 * Having promised more in the meantime we take no part in this epoch; our
	 * next STATE, already on its way, calls everybody back to GATHER.
	 */
	if (same_log(&ha_self(c)->state, best) && c->log.promised == f->target)
		append_first(c);
}

void ha_sync_chunk(struct ha_core *c, uint32_t from, struct ha_reader *r)
{
	struct ha_form *f = &c->form;
	uint64_t target = ha_get_u64(r);
	size_t total = ha_get_u32(r), off = ha_get_u32(r), len;
	const uint8_t *bytes = ha_get_bytes(r, CHUNK, &len);
	struct ha_state end;
	bool lagging;

	if (!ha_get_end(r) || !len || total > HA_BLOB_MAX - HA_ENTRY_MAX || off > total ||
	    len > total - off) {
		r->bad = true;
		return;
	}
	if (f->stage != ST_SYNC || target != f->target || from != f->donor || f->snap_done ||
	    off != f->snap_got)
		return;
	/* The first chunk said how long it is. */
	if (off && total != f->snap_len) {
		r->bad = true;
		return;
	}
	f->snap_len = total;
	c->peers[from].progress_ms = c->now;
	lagging = !same_log(&ha_self(c)->state, &c->peers[f->donor].state) &&
		  c->log.promised == f->target;
	if (lagging)
		memcpy(c->snap + off, bytes, len);
	f->snap_got += len;
	if (f->donor == c->self)
		send_chunks(c);
	if (f->snap_got < total)
		return;

	f->snap_done = true;
	if (lagging) {
		/* ... and it ends where the donor said: its STATE is what was agreed on. */
		if (!ha_snapshot_check(&c->seen, c->snap, total, &end) || !same_log(&end, &c->peers[f->donor].state)) {
			ha_membership_rejoin(c, "the snapshot received is not valid");
			return;
		}
		ha_snapshot_load(c, c->snap, total);
		ha_agreed_follow(c);
		c->resync = false;
		ha_snapshot_store(c);
		append_first(c);
	}
	ha_log_commit(c);
}
