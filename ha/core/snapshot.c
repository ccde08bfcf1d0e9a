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

#include <string.h>

enum blob_kind { BLOB_SNAPSHOT = 1, BLOB_PROMISE, BLOB_ENTRY };

static void put_domain(struct ha_writer *w, const struct ha_domain *d, const char *conf)
{
	ha_put_str(w, d->name);
	ha_put_str(w, d->group);
	ha_put_u8(w, d->wanted);
	ha_put_u8(w, d->ha);
	ha_put_u32(w, d->owner);
	ha_put_u64(w, d->incarnation);
	ha_put_u64(w, d->last_incarnation);
	ha_put_u8(w, (uint8_t)d->phase);
	ha_put_u8(w, d->force_stop);
	ha_put_u8(w, d->paused);
	ha_put_u8(w, (uint8_t)d->move);
	ha_put_u8(w, d->dry_run);
	ha_put_u32(w, d->target);
	ha_put_u64(w, d->target_incarnation);
	ha_put_str(w, d->addr);
	ha_put_u32(w, d->moved_from);
	ha_put_u64(w, d->moved_incarnation);
	ha_put_u32(w, d->failures);
	ha_put_u32(w, d->max_restart);
	ha_put_u64(w, d->avoid);
	ha_put_u32(w, d->moves);
	ha_put_str(w, d->reason);
	ha_put_u32(w, d->n_claims);
	for (uint32_t i = 0; i < d->n_claims; i++)
		ha_claim_put(w, &d->claims[i]);
	ha_put_u32(w, (uint32_t)d->exit_code);
	ha_put_bytes(w, conf, d->conf_len);
}

/* @rec NULL: only check. */
static void get_domain(struct ha_reader *r, struct ha_record *rec, uint32_t i)
{
	struct ha_domain scratch, *d = rec ? &rec->domains[i] : &scratch;
	const uint8_t *conf;
	size_t len;
	uint8_t phase, move;

	memset(d, 0, sizeof(*d));
	d->used = true;
	ha_get_str(r, d->name, sizeof(d->name));
	ha_get_str(r, d->group, sizeof(d->group));
	d->wanted = ha_get_bool(r);
	d->ha = ha_get_bool(r);
	d->owner = ha_get_u32(r);
	d->incarnation = ha_get_u64(r);
	d->last_incarnation = ha_get_u64(r);
	phase = ha_get_u8(r);
	d->force_stop = ha_get_bool(r);
	d->paused = ha_get_bool(r);
	move = ha_get_u8(r);
	d->dry_run = ha_get_bool(r);
	d->target = ha_get_u32(r);
	d->target_incarnation = ha_get_u64(r);
	ha_get_str(r, d->addr, sizeof(d->addr));
	d->moved_from = ha_get_u32(r);
	d->moved_incarnation = ha_get_u64(r);
	d->failures = ha_get_u32(r);
	d->max_restart = ha_get_u32(r);
	d->avoid = ha_get_u64(r);
	d->moves = ha_get_u32(r);
	ha_get_str(r, d->reason, sizeof(d->reason));
	d->n_claims = ha_get_u32(r);
	if (d->n_claims > HA_CLAIMS_MAX) {
		r->bad = true;
		d->n_claims = 0;
	}
	for (uint32_t k = 0; k < d->n_claims; k++)
		ha_claim_get(r, &d->claims[k]);
	d->exit_code = (int32_t)ha_get_u32(r);
	conf = ha_get_bytes(r, HA_CONF_MAX, &len);
	if (phase > HA_BACKOFF || move > HA_MOVE_READY || !ha_name_valid(d->name))
		r->bad = true;
	if (r->bad)
		return;
	d->phase = (enum ha_phase)phase;
	d->move = (enum ha_move)move;
	d->conf_len = (uint32_t)len;
	d->conf_hash = ha_hash(0, conf, len);
	if (rec && len)
		memcpy(rec->conf[i], conf, len);
}

static void put_nodes(struct ha_writer *w, const struct ha_record *rec)
{
	uint32_t n = 0;

	while (n < HA_NODES_MAX && rec->nodes[n].id)
		n++;
	ha_put_u32(w, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct ha_node_rec *nr = &rec->nodes[i];

		ha_put_u32(w, nr->id);
		ha_put_u8(w, nr->report_due);
		ha_put_u64(w, nr->debt);
		ha_put_u64(w, nr->passed);
		ha_put_u32(w, nr->fence_attempts);
		ha_put_u8(w, nr->fence_ordered);
		ha_put_u8(w, nr->maintenance);
		ha_put_u64(w, nr->last_op);
		ha_put_u8(w, nr->leased);
		ha_put_u8(w, nr->parted);
		ha_put_u8(w, nr->left);
		ha_put_u8(w, nr->grace);
		ha_put_u64(w, nr->last_in);
		ha_put_u32(w, nr->token);
		ha_put_u32(w, nr->uses);
	}
}

static void get_nodes(struct ha_reader *r, struct ha_record *rec)
{
	uint32_t n = ha_get_u32(r);

	if (n > HA_NODES_MAX)
		r->bad = true;
	if (rec)
		memset(rec->nodes, 0, sizeof(rec->nodes));
	for (uint32_t i = 0; i < n && !r->bad; i++) {
		struct ha_node_rec nr = { .id = ha_get_u32(r) };

		nr.report_due = ha_get_bool(r);
		nr.debt = ha_get_u64(r);
		nr.passed = ha_get_u64(r);
		nr.fence_attempts = ha_get_u32(r);
		nr.fence_ordered = ha_get_bool(r);
		nr.maintenance = ha_get_bool(r);
		nr.last_op = ha_get_u64(r);
		nr.leased = ha_get_bool(r);
		nr.parted = ha_get_bool(r);
		nr.left = ha_get_bool(r);
		nr.grace = ha_get_bool(r);
		nr.last_in = ha_get_u64(r);
		nr.token = ha_get_u32(r);
		nr.uses = ha_get_u32(r);
		if (!nr.id)
			r->bad = true;
		if (rec)
			rec->nodes[i] = nr;
	}
}

static void put_groups(struct ha_writer *w, const struct ha_record *rec)
{
	uint32_t n = 0;

	for (int i = 0; i < HA_GROUPS_MAX; i++)
		n += rec->groups[i].used;
	ha_put_u32(w, n);
	for (uint32_t i = 0; i < HA_GROUPS_MAX; i++) {
		const struct ha_group *g = &rec->groups[i];

		if (!g->used)
			continue;
		ha_put_u32(w, i);
		ha_put_str(w, g->name);
		ha_put_u8(w, g->restricted);
		ha_put_u32(w, g->n_hosts);
		for (uint32_t j = 0; j < g->n_hosts; j++) {
			ha_put_u32(w, g->hosts[j].node);
			ha_put_u32(w, (uint32_t)g->hosts[j].priority);
		}
	}
}

static void get_groups(struct ha_reader *r, struct ha_record *rec)
{
	uint32_t n = ha_get_u32(r);

	if (n > HA_GROUPS_MAX)
		r->bad = true;
	for (int i = 0; rec && i < HA_GROUPS_MAX; i++)
		rec->groups[i].used = false;
	for (uint32_t i = 0; i < n && !r->bad; i++) {
		uint32_t at = ha_get_u32(r);
		struct ha_group scratch, *g;

		if (at >= HA_GROUPS_MAX) {
			r->bad = true;
			return;
		}
		g = rec ? &rec->groups[at] : &scratch;
		memset(g, 0, sizeof(*g));
		g->used = true;
		ha_get_str(r, g->name, sizeof(g->name));
		g->restricted = ha_get_bool(r);
		g->n_hosts = ha_get_u32(r);
		if (g->n_hosts > HA_NODES_MAX) {
			g->n_hosts = 0;
			r->bad = true;
		}
		for (uint32_t j = 0; j < g->n_hosts; j++) {
			g->hosts[j].node = ha_get_u32(r);
			g->hosts[j].priority = (int32_t)ha_get_u32(r);
		}
	}
}

static void put_record(struct ha_writer *w, const struct ha_record *rec)
{
	ha_put_u64(w, rec->epoch);
	ha_put_u64(w, rec->members);
	ha_put_u64(w, rec->cluster);
	ha_put_u64(w, rec->incarnation_floor);
	ha_put_u8(w, rec->level);
	ha_put_u32(w, rec->token);
	ha_put_u64(w, rec->token_changes);
	put_nodes(w, rec);
	put_groups(w, rec);
	ha_put_u32(w, rec->n_domains);
	for (uint32_t i = 0; i < rec->n_domains; i++) {
		ha_put_u8(w, rec->domains[i].used);
		if (rec->domains[i].used)
			put_domain(w, &rec->domains[i], rec->conf[i]);
	}
}

static void get_record(struct ha_reader *r, struct ha_record *rec)
{
	uint64_t epoch = ha_get_u64(r), members = ha_get_u64(r);
	uint64_t cluster = ha_get_u64(r), floor = ha_get_u64(r);
	uint8_t level = ha_get_u8(r);
	uint32_t token = ha_get_u32(r), n;
	uint64_t token_changes = ha_get_u64(r);

	if (rec) {
		rec->epoch = epoch;
		rec->members = members;
		rec->cluster = cluster;
		rec->incarnation_floor = floor;
		rec->level = level;
		rec->token = token;
		rec->token_changes = token_changes;
	}
	get_nodes(r, rec);
	get_groups(r, rec);
	n = ha_get_u32(r);
	if (n > HA_DOMAINS_MAX) {
		r->bad = true;
		return;
	}
	if (rec) {
		rec->n_domains = n;
		memset(&rec->names, 0, sizeof(rec->names));
	}
	for (uint32_t i = 0; i < n && !r->bad; i++) {
		bool used = ha_get_bool(r);

		if (used)
			get_domain(r, rec, i);
		else if (rec)
			memset(&rec->domains[i], 0, sizeof(rec->domains[i]));
		if (used && rec)
			ha_names_add(&rec->names, rec->domains[i].name, i);
	}
}

size_t ha_snapshot_encode(const struct ha_core *c, uint8_t *buf, size_t size)
{
	struct ha_writer w = { .p = buf, .size = size };

	ha_put_u8(&w, BLOB_SNAPSHOT);
	ha_put_u8(&w, HA_SNAPSHOT_VERSION);
	ha_put_u64(&w, c->log.promised);
	ha_put_u64(&w, c->log.applied);
	ha_put_u64(&w, c->log.applied_epoch);
	ha_put_u64(&w, c->log.applied_hash);
	put_record(&w, &c->rec);
	ha_put_u32(&w, c->log.n);
	for (uint32_t i = 0; i < c->log.n; i++) {
		size_t len;
		const uint8_t *p = ha_log_bytes(c, i, &len);

		ha_put_u64(&w, c->log.tail[(c->log.first + i) % TAIL_MAX].epoch);
		ha_put_bytes(&w, p, len);
	}
	return w.bad ? 0 : w.len;
}

/* @c NULL: only check. */
static bool read_snapshot(struct ha_core *c, const uint8_t *bytes, size_t len, uint64_t *promised)
{
	struct ha_reader r = { .p = bytes, .len = len };
	uint64_t applied, epoch, hash;
	uint32_t n;

	if (ha_get_u8(&r) != BLOB_SNAPSHOT || ha_get_u8(&r) != HA_SNAPSHOT_VERSION)
		return false;
	*promised = ha_get_u64(&r);
	applied = ha_get_u64(&r);
	epoch = ha_get_u64(&r);
	hash = ha_get_u64(&r);
	get_record(&r, c ? &c->rec : NULL);
	n = ha_get_u32(&r);
	if (n > TAIL_MAX)
		return false;
	if (c) {
		struct ha_log *l = &c->log;

		ha_log_clear_tail(c);
		l->applied = l->commit = l->seq = applied;
		l->applied_epoch = l->epoch = epoch;
		l->applied_hash = l->hash = hash;
		c->rec_hash = 0;
	}
	for (uint32_t i = 0; i < n && !r.bad; i++) {
		uint64_t e = ha_get_u64(&r);
		size_t m;
		const uint8_t *p = ha_get_bytes(&r, HA_ENTRY_MAX, &m);

		if (c && !r.bad)
			ha_log_append(c, e, p, m, false);
	}
	return ha_get_end(&r);
}

bool ha_snapshot_check(const uint8_t *bytes, size_t len)
{
	uint64_t promised;

	return read_snapshot(NULL, bytes, len, &promised);
}

void ha_snapshot_load(struct ha_core *c, const uint8_t *bytes, size_t len)
{
	uint64_t promised;

	read_snapshot(c, bytes, len, &promised);
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
	const uint8_t *p;
	size_t len;

	if (kind == BLOB_PROMISE) {
		uint64_t v = ha_get_u64(&r);

		if (ha_get_end(&r) && v > c->log.promised)
			c->log.promised = v;
		return ha_get_end(&r);
	}
	if (kind != BLOB_ENTRY)
		return false;
	epoch = ha_get_u64(&r);
	seq = ha_get_u64(&r);
	committed = ha_get_u64(&r);
	p = ha_get_bytes(&r, HA_ENTRY_MAX, &len);
	if (!ha_get_end(&r) || seq != c->log.seq + 1)
		return false;
	c->log.commit = committed < c->log.seq ? committed : c->log.seq;
	ha_log_apply(c);
	ha_log_append(c, epoch, p, len, false);
	return true;
}

void ha_snapshot_boot(struct ha_core *c, const struct ha_blob *disk, size_t n)
{
	size_t i = 0;

	if (n && disk[0].len && disk[0].bytes[0] == BLOB_SNAPSHOT) {
		uint64_t promised;

		if (!read_snapshot(NULL, disk[0].bytes, disk[0].len, &promised)) {
			/* Its promises are unknown: silence would break them. Take part with
			 * nothing. */
			ha_out_note(c, HA_ALARM,
				    "the stored record is not readable: starting from nothing");
			return;
		}
		read_snapshot(c, disk[0].bytes, disk[0].len, &promised);
		c->log.promised = promised;
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
	c->log.promise_durable = c->log.promised;
}
