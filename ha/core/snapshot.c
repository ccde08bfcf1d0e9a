/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot - the record and the log's tail as bytes: for a member that lags, and
 * for the disk.
 *
 *   u8 SNAPSHOT, u8 version
 *   u64 promised                 (of whoever wrote it; a receiver keeps its own)
 *   u64 applied, applied_epoch, applied_hash
 *   record
 *   u32 n; n x { u64 epoch; bytes entry }      what is not applied yet
 *   u64 hash                     over all before it: a snapshot that came in chunks is whole, or is none
 *
 * On disk a snapshot is followed by what was appended since:
 *
 *   u8 PROMISE, u64 promised
 *   u8 ENTRY, u64 epoch, seq, committed; bytes entry
 *
 * committed lets a booting node apply what it already knew to be committed, so
 * that its tail stays short; it may lag, never lead.
 *
 * Reading is done twice, first without touching anything: bytes that are wrong
 * anywhere change nothing (rule S).
 */
#include "ha/core/core_int.h"

#include "ha/core/record/check.h"

#include <assert.h>
#include <string.h>

enum blob_kind {
	BLOB_SNAPSHOT = 1,
	BLOB_PROMISE,
	BLOB_ENTRY
};

size_t ha_snapshot_encode(const struct ha_core *c, uint8_t *buf, size_t size)
{
	struct ha_writer w = { .p = buf, .size = size };

	ha_put_u8(&w, BLOB_SNAPSHOT);
	ha_put_u8(&w, HA_SNAPSHOT_VERSION);
	ha_put_u64(&w, c->log.promised);
	ha_put_u64(&w, c->log.applied);
	ha_put_u64(&w, c->log.applied_epoch);
	ha_put_u64(&w, c->log.applied_hash);
	ha_record_put(&w, &c->rec);
	ha_put_u32(&w, c->log.n);
	for (uint32_t i = 0; i < c->log.n; i++) {
		size_t len;
		const uint8_t *p = ha_log_bytes(c, i, &len);

		ha_put_u64(&w, c->log.tail[(c->log.first + i) % TAIL_MAX].epoch);
		ha_put_bytes(&w, p, len);
	}
	ha_put_u64(&w, w.bad ? 0 : ha_hash(0, buf, w.len));
	return w.bad ? 0 : w.len;
}

/* The bytes that its hash is over; 0: it does not fit, or there is none. */
static size_t whole(const uint8_t *bytes, size_t len)
{
	struct ha_reader r = { .p = bytes, .len = len };

	if (len < sizeof(uint64_t))
		return 0;
	r.pos = len - sizeof(uint64_t);
	return ha_get_u64(&r) == ha_hash(0, bytes, len - sizeof(uint64_t)) ? len - sizeof(uint64_t) : 0;
}

/* @c NULL: only check. @end: the last entry of the log it brings */
static bool read_snapshot(struct ha_core *c, struct ha_record_seen *seen, const uint8_t *bytes, size_t len,
			  uint64_t *promised, struct ha_state *end)
{
	struct ha_reader r = { .p = bytes, .len = c ? len - sizeof(uint64_t) : whole(bytes, len) };
	uint64_t applied, epoch, hash;
	size_t tail = 0;
	uint32_t n;

	if (ha_get_u8(&r) != BLOB_SNAPSHOT || ha_get_u8(&r) != HA_SNAPSHOT_VERSION)
		return false;
	*promised = ha_get_u64(&r);
	applied = ha_get_u64(&r);
	epoch = ha_get_u64(&r);
	hash = ha_get_u64(&r);
	ha_record_get(&r, c ? &c->rec : NULL, seen);
	n = ha_get_u32(&r);
	if (n > TAIL_MAX || *promised > COUNT_MAX || applied > COUNT_MAX || epoch > COUNT_MAX)
		return false;
	if (c) {
		struct ha_log *l = &c->log;

		ha_log_clear_tail(c);
		l->applied = l->commit = l->seq = applied;
		l->applied_epoch = l->epoch = epoch;
		l->applied_hash = l->hash = hash;
		l->voters = c->rec.voters;
		c->rec_hash = 0;
		c->hosts_looked_at = false;
		ha_rest_changed(c);
		for (uint32_t i = 0; i < c->n_vmms; i++)
			ha_bits_add(&c->awake_vmms, i);
	}
	*end = (struct ha_state){ .epoch = epoch, .seq = applied, .hash = hash };
	for (uint32_t i = 0; i < n && !r.bad; i++) {
		uint64_t e = ha_get_u64(&r);
		size_t m;
		const uint8_t *p = ha_get_bytes(&r, HA_ENTRY_MAX, &m);

		tail += m;
		if (e < end->epoch || e > COUNT_MAX || tail > TAIL_BYTES)
			r.bad = true; /* epochs only grow, and a tail fits or it is none of ours */
		if (!c && !r.bad && !ha_votes_behind(&seen->voters, &seen->entry, p, m))
			r.bad = true; /* the first entry of all says who votes */
		if (r.bad)
			break;
		end->epoch = e;
		end->seq++;
		end->hash = ha_log_hash(end->hash, e, end->seq, p, m);
		if (c)
			ha_log_append(c, e, p, m, false);
	}
	return ha_get_end(&r);
}

bool ha_snapshot_check(struct ha_record_seen *seen, const uint8_t *bytes, size_t len, struct ha_state *end)
{
	uint64_t promised;

	return read_snapshot(NULL, seen, bytes, len, &promised, end);
}

/* What was checked is loaded. */
static void load(struct ha_core *c, const uint8_t *bytes, size_t len, uint64_t *promised)
{
	struct ha_state end;
	bool good = read_snapshot(c, NULL, bytes, len, promised, &end);

	ha_votes_count(c);
	assert(good);
	assert(!ha_record_wrong(&c->rec));
	assert(c->log.epoch == end.epoch && c->log.seq == end.seq && c->log.hash == end.hash);
	(void)good;
}

void ha_snapshot_load(struct ha_core *c, const uint8_t *bytes, size_t len)
{
	uint64_t promised;

	load(c, bytes, len, &promised);
}

/* Replace all that is on disk. */
void ha_snapshot_store(struct ha_core *c)
{
	size_t n = ha_snapshot_encode(c, c->snap, HA_BLOB_MAX - HA_ENTRY_MAX);
	uint64_t token;

	if (!n)
		return;
	token = ++c->log.next_token;
	for (uint32_t i = 0; i < c->log.n; i++)
		c->log.tail[(c->log.first + i) % TAIL_MAX].token = token;
	c->log.disk_bytes = 0;
	c->log.snap_bytes = n;
	ha_out_persist(c, true, c->snap, n, token);
}

size_t ha_blob_promise(uint64_t promised, uint8_t *buf, size_t size)
{
	struct ha_writer w = { .p = buf, .size = size };

	ha_put_u8(&w, BLOB_PROMISE);
	ha_put_u64(&w, promised);
	return w.len;
}

size_t ha_blob_entry(const struct ha_core *c, uint64_t epoch, uint64_t seq, const uint8_t *p,
		     size_t len, uint8_t *buf, size_t size)
{
	struct ha_writer w = { .p = buf, .size = size };

	ha_put_u8(&w, BLOB_ENTRY);
	ha_put_u64(&w, epoch);
	ha_put_u64(&w, seq);
	ha_put_u64(&w, c->log.applied);
	ha_put_bytes(&w, p, len);
	return w.bad ? 0 : w.len;
}

/* One thing that was appended. False: not readable, and nothing behind it can be trusted. */
static bool boot_blob(struct ha_core *c, const struct ha_blob *b)
{
	struct ha_reader r = { .p = b->bytes, .len = b->len };
	uint8_t kind = ha_get_u8(&r);
	uint64_t epoch, seq, committed;
	struct ha_voters voters;
	const uint8_t *p;
	size_t len;

	if (kind == BLOB_PROMISE) {
		uint64_t v = ha_get_u64(&r);

		if (!ha_get_end(&r) || v > COUNT_MAX)
			return false;
		if (v > c->log.promised)
			c->log.promised = v;
		return true;
	}
	if (kind != BLOB_ENTRY)
		return false;
	epoch = ha_get_u64(&r);
	seq = ha_get_u64(&r);
	committed = ha_get_u64(&r);
	p = ha_get_bytes(&r, HA_ENTRY_MAX, &len);
	if (!ha_get_end(&r) || seq != c->log.seq + 1)
		return false;
	if (epoch < c->log.epoch || epoch > COUNT_MAX)
		return false;
	if (committed > c->log.commit)
		c->log.commit = committed < c->log.seq ? committed : c->log.seq;
	ha_log_apply(c);
	voters = c->log.voters;
	if (!ha_votes_behind(&voters, &c->entry, p, len))
		return false;
	ha_log_append(c, epoch, p, len, false);
	return true;
}

void ha_snapshot_boot(struct ha_core *c, const struct ha_blob *disk, size_t n)
{
	size_t i = 0;

	if (n && disk[0].len && disk[0].bytes[0] == BLOB_SNAPSHOT) {
		struct ha_state end;
		uint64_t promised;

		if (!read_snapshot(NULL, &c->seen, disk[0].bytes, disk[0].len, &promised, &end)) {
			/* Its promises are unknown: silence would break them. Take part with
			 * nothing. */
			ha_out_note(c, HA_ALARM,
				    "the stored record is not readable: starting from nothing");
			return;
		}
		load(c, disk[0].bytes, disk[0].len, &promised);
		c->log.promised = promised;
		c->log.snap_bytes = disk[0].len;
		i = 1;
	}
	for (; i < n; i++) {
		if (!boot_blob(c, &disk[i])) {
			ha_out_note(
				c, HA_ALARM,
				"stored log entry %zu of %zu is not readable: the rest is ignored",
				i, n);
			break;
		}
	}
	/* Who has an entry of an epoch promised that one before. */
	if (c->log.promised < c->log.epoch && !MUTANT(M_NO_PROMISE))
		c->log.promised = c->log.epoch;
	c->log.promise_durable = c->log.promised;
}
