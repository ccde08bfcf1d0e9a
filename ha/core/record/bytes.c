/* SPDX-License-Identifier: Apache-2.0 */
/* bytes - see bytes.h. */
#include "ha/core/record/bytes.h"

#include "ha/core/record/check.h"

#include <string.h>

static void put_set(struct ha_writer *w, ha_set s)
{
	ha_put_u64(w, (uint64_t)s);
	ha_put_u64(w, (uint64_t)(s >> 64));
}

static ha_set get_set(struct ha_reader *r)
{
	ha_set low = ha_get_u64(r);

	return low | (ha_set)ha_get_u64(r) << 64;
}

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
	ha_size_put(w, &d->size);
	put_set(w, d->avoid);
	ha_put_u32(w, d->moves);
	ha_put_str(w, d->reason);
	ha_put_u32(w, d->n_claims);
	for (uint32_t i = 0; i < d->n_claims; i++)
		ha_claim_put(w, &d->claims[i]);
	ha_put_u32(w, (uint32_t)d->exit_code);
	ha_put_bytes(w, conf, d->conf_len);
}

/* Domain @i may stand beside those before it: record/check.h, for a record that is not there yet. */
static bool fits(struct ha_record_seen *s, const struct ha_domain *d, uint32_t i)
{
	uint64_t h = ha_hash(0, d->name, strlen(d->name));

	for (uint32_t k = ha_names_first(&s->names, d->name); k; k = ha_names_next(&s->names, k))
		if (s->hash[k - 1] == h)
			return false;
	ha_names_add(&s->names, d->name, i);
	s->hash[i] = h;
	return !ha_domain_wrong(d) && d->last_incarnation <= COUNT_MAX &&
	       (!d->owner || ha_nodes_slot(s->nodes, d->owner) >= 0) && (!d->target || ha_nodes_slot(s->nodes, d->target) >= 0);
}

/* *@conf: conf_len bytes of what is read */
static void get_domain(struct ha_reader *r, struct ha_domain *d, const uint8_t **conf)
{
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
	ha_size_get(r, &d->size);
	d->avoid = get_set(r);
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
	*conf = ha_get_bytes(r, HA_CONF_MAX, &len);
	if (phase > HA_BACKOFF || move > HA_MOVE_READY || !ha_name_valid(d->name))
		r->bad = true;
	if (r->bad)
		return;
	d->phase = (enum ha_phase)phase;
	d->move = (enum ha_move)move;
	d->conf_len = (uint32_t)len;
	d->conf_hash = ha_hash(0, *conf, len);
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
		ha_put_u32(w, nr->reported);
		ha_put_u64(w, nr->debt);
		put_set(w, nr->passed);
		ha_put_u32(w, nr->fence_attempts);
		ha_put_u8(w, nr->fence_ordered);
		ha_put_u8(w, nr->maintenance);
		ha_put_u64(w, nr->last_op);
		ha_put_u8(w, nr->leased);
		ha_put_u8(w, nr->parted);
		ha_put_u8(w, nr->left);
		ha_put_u8(w, nr->apart);
		ha_put_u8(w, nr->grace);
		ha_put_u64(w, nr->last_in);
		ha_put_u32(w, nr->token);
		ha_put_u32(w, nr->uses);
		ha_size_put(w, &nr->size);
	}
}

/* @nodes: HA_NODES_MAX of them */
static void get_nodes(struct ha_reader *r, struct ha_node_rec *nodes)
{
	uint32_t n = ha_get_u32(r);

	if (n > HA_NODES_MAX)
		r->bad = true;
	memset(nodes, 0, HA_NODES_MAX * sizeof(nodes[0]));
	for (uint32_t i = 0; i < n && !r->bad; i++) {
		struct ha_node_rec nr = { .id = ha_get_u32(r) };

		nr.report_due = ha_get_bool(r);
		nr.reported = ha_get_u32(r);
		nr.debt = ha_get_u64(r);
		nr.passed = get_set(r);
		nr.fence_attempts = ha_get_u32(r);
		nr.fence_ordered = ha_get_bool(r);
		nr.maintenance = ha_get_bool(r);
		nr.last_op = ha_get_u64(r);
		nr.leased = ha_get_bool(r);
		nr.parted = ha_get_bool(r);
		nr.left = ha_get_bool(r);
		nr.apart = ha_get_bool(r);
		nr.grace = ha_get_bool(r);
		nr.last_in = ha_get_u64(r);
		nr.token = ha_get_u32(r);
		nr.uses = ha_get_u32(r);
		ha_size_get(r, &nr.size);
		if (!nr.id)
			r->bad = true;
		nodes[i] = nr;
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
		if (g->n_hosts > HA_NODES_MAX || !g->name[0]) {
			g->n_hosts = 0;
			r->bad = true;
		}
		for (uint32_t j = 0; j < g->n_hosts; j++) {
			g->hosts[j].node = ha_get_u32(r);
			g->hosts[j].priority = (int32_t)ha_get_u32(r);
		}
	}
}

void ha_record_put(struct ha_writer *w, const struct ha_record *rec)
{
	ha_put_u64(w, rec->epoch);
	put_set(w, rec->members);
	ha_put_u64(w, rec->cluster);
	ha_put_u64(w, rec->incarnation_floor);
	ha_put_u8(w, rec->level);
	ha_put_u32(w, rec->token);
	ha_put_u64(w, rec->token_changes);
	ha_put_u64(w, rec->leaned);
	ha_put_u64(w, rec->voters.version);
	ha_voters_put(w, &rec->voters);
	put_nodes(w, rec);
	put_groups(w, rec);
	ha_put_u32(w, rec->n_domains);
	for (uint32_t i = 0; i < rec->n_domains; i++) {
		ha_put_u8(w, rec->domains[i].used);
		if (rec->domains[i].used)
			put_domain(w, &rec->domains[i], ha_text(rec, i));
	}
}

static void get_domains(struct ha_reader *r, struct ha_record *rec, struct ha_record_seen *seen, uint32_t n)
{
	struct ha_domain scratch;
	uint64_t texts = 0;

	for (uint32_t i = 0; i < n && !r->bad; i++) {
		struct ha_domain *d = rec ? &rec->domains[i] : &scratch;
		const uint8_t *conf;

		if (!ha_get_bool(r)) {
			d->used = false;
			continue;
		}
		get_domain(r, d, &conf);
		texts += d->conf_len;
		if (r->bad || (!rec && (!fits(seen, d, i) || texts > HA_CONFS_MAX)))
			r->bad = true;
		else if (rec)
			ha_text_put(rec, i, conf, d->conf_len);
	}
}

void ha_record_get(struct ha_reader *r, struct ha_record *rec, struct ha_record_seen *seen)
{
	uint64_t epoch = ha_get_u64(r);
	ha_set members = get_set(r);
	uint64_t cluster = ha_get_u64(r), floor = ha_get_u64(r);
	uint8_t level = ha_get_u8(r);
	uint32_t token = ha_get_u32(r), n;
	uint64_t token_changes = ha_get_u64(r), leaned = ha_get_u64(r), version = ha_get_u64(r);
	struct ha_voters voters;

	ha_voters_get(r, &voters);
	voters.version = version;
	if (!rec)
		seen->voters = voters;
	if (rec) {
		rec->epoch = epoch;
		rec->members = members;
		rec->cluster = cluster;
		rec->incarnation_floor = floor;
		rec->level = level;
		rec->token = token;
		rec->token_changes = token_changes;
		rec->leaned = leaned;
		rec->voters = voters;
	}
	get_nodes(r, rec ? rec->nodes : seen->nodes);
	get_groups(r, rec);
	n = ha_get_u32(r);
	if (n > HA_DOMAINS_MAX || floor > COUNT_MAX || version > COUNT_MAX || !epoch != !voters.n || !epoch != !version ||
	    (!rec && ha_nodes_wrong(seen->nodes, members, epoch, token))) {
		r->bad = true;
		return;
	}
	if (rec) {
		rec->n_domains = n;
		rec->texts.used = rec->texts.live = 0;
	} else {
		ha_names_clear(&seen->names);
	}
	get_domains(r, rec, seen, n);
	if (rec && !r->bad)
		ha_index_build(rec);
}
