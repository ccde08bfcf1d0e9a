/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of any member against one record: whatever a decoder lets through and the log commits, what
 * holds in every record still does (record/check.h), the index is what the record says, and a member
 * that lags takes the record as it stands.
 *
 * The input is not the bytes of entries, which are never good by chance: each byte chooses among a
 * few values that matter for the next field.
 */
#include "base/reserve.h"
#include "ha/core/apply/apply.h"
#include "ha/core/record/bytes.h"
#include "ha/core/record/check.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SNAPSHOT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p, *end;
};

static uint8_t pick(struct input *in, unsigned int of)
{
	return in->p < in->end ? *in->p++ % of : 0;
}

static const char *a_name(struct input *in)
{
	static const char *const names[] = { "a", "b", "c", "" };
	uint8_t n = pick(in, 32);

	return names[n ? n % 3 : 3];
}

static uint32_t a_host(struct input *in)
{
	static const uint32_t hosts[] = { 129, 257, UINT32_MAX, 0 };
	uint8_t n = pick(in, 32);

	return n < 4 ? hosts[n] : n % 4 + 1;
}

static uint64_t a_number(struct input *in, uint64_t near)
{
	static const uint64_t numbers[] = { 0, 1, 2, COUNT_MAX, COUNT_MAX + 1, UINT64_MAX };
	uint8_t n = pick(in, 64);

	return n < 6 ? numbers[n] : n < 8 ? near + n - 7 :
					    near;
}

static void fill_epoch(struct input *in, const struct ha_record *r, struct ha_entry *e)
{
	e->epoch = a_number(in, r->epoch + 1);
	e->cluster = a_number(in, 7);
	e->n_members = pick(in, 16);
	e->n_members = e->n_members == 15 ? HA_NODES_MAX : e->n_members % 5;
	for (uint32_t i = 0; i < e->n_members; i++) {
		e->members[i] = e->n_members == HA_NODES_MAX ? 1000 + i : pick(in, 8) ? i + 1 :
											a_host(in);
		e->fresh[i] = pick(in, 2);
		e->tokens[i] = (uint32_t)a_number(in, 1000);
		e->levels[i] = pick(in, 3);
	}
	e->left.n = pick(in, 3);
	e->unsure.n = pick(in, 3);
	for (uint32_t i = 0; i < 2; i++) {
		e->left.id[i] = a_host(in);
		e->left.epoch[i] = a_number(in, r->epoch);
		e->unsure.id[i] = a_host(in);
		e->unsure.epoch[i] = a_number(in, r->epoch);
	}
	for (uint32_t i = pick(in, 4); i == 3 && !e->voters.n;)
		ha_voters_set(&e->voters, 1 + pick(in, 4), 1 + pick(in, 3));
}

static void fill_report(struct input *in, struct ha_entry *e)
{
	static const uint32_t ends[] = { HA_REPORT_END, 0, 1, 2, 3, HA_DOMAINS_MAX, UINT32_MAX - 1 };

	e->from = ends[pick(in, 7)];
	e->to = ends[pick(in, 7)];
	e->n_items = pick(in, 4);
	for (uint32_t i = 0; i < e->n_items; i++) {
		snprintf(e->items[i].name, sizeof(e->items[i].name), "%s", a_name(in));
		e->items[i].incarnation = a_number(in, e->incarnation);
	}
}

static void fill_op(struct input *in, struct ha_entry *e)
{
	static const uint8_t text[64];

	e->op = (enum ha_op)pick(in, HA_OPS + 4);
	if (e->op >= HA_OPS)
		e->op = HA_OP_MIGRATE;
	snprintf(e->group, sizeof(e->group), "%s", a_name(in));
	if (e->op == HA_OP_ADD && pick(in, 2))
		e->group[0] = 0;
	e->ha = pick(in, 2);
	e->started = pick(in, 2);
	e->force = pick(in, 2);
	e->restricted = pick(in, 2);
	e->on = pick(in, 2);
	e->max_restart = (uint32_t)a_number(in, 3);
	e->conf = text;
	e->conf_len = pick(in, sizeof(text));
	e->n_hosts = pick(in, 5);
	for (uint32_t i = 0; i < e->n_hosts; i++) {
		e->hosts[i].node = a_host(in);
		e->hosts[i].priority = (int32_t)a_number(in, 10);
	}
	e->n_claims = pick(in, 3);
	for (uint32_t i = 0; i < e->n_claims; i++) {
		e->claims[i].kind = (enum ha_claim_kind)pick(in, HA_CLAIM_KINDS);
		e->claims[i].shared = pick(in, 2);
		e->claims[i].key = pick(in, 8);
	}
}

/* Of a domain that is there, mostly: its owner or its destination says something of its VMM. */
static void fill_domain(struct input *in, const struct ha_record *r, struct ha_entry *e)
{
	const struct ha_domain *d;
	int i;

	snprintf(e->domain, sizeof(e->domain), "%s", a_name(in));
	i = ha_record_find(r, e->domain);
	d = i < 0 ? NULL : &r->domains[i];
	e->incarnation = a_number(in, !d ? 1 : pick(in, 2) && d->target_incarnation ? d->target_incarnation :
										      d->incarnation);
	if (d && pick(in, 4))
		e->origin = pick(in, 2) && d->target ? d->target : d->owner;
}

/* What comes next for the domain when all goes well, so that its later phases are reached. */
static void follow(struct input *in, const struct ha_record *r, struct ha_entry *e)
{
	int i = ha_record_find(r, e->domain);
	const struct ha_domain *d = i < 0 ? NULL : &r->domains[i];

	if (!d)
		return;
	e->origin = d->owner ? d->owner : 1;
	e->incarnation = d->incarnation;
	switch (d->phase) {
	case HA_STARTING:
		e->kind = HA_E_RUNNING;
		break;
	case HA_MIGRATING:
		e->kind = d->move == HA_MOVE_INTENT ? HA_E_READY : pick(in, 2) ? HA_E_COMMIT :
										 HA_E_ABORT;
		e->origin = d->target;
		e->incarnation = d->target_incarnation;
		break;
	default:
		e->kind = HA_E_OP;
		break;
	}
}

static void fill(struct input *in, const struct ha_record *r, struct ha_entry *e)
{
	int slot;

	memset(e, 0, sizeof(*e));
	e->kind = (enum ha_entry_kind)(HA_E_REPORT + pick(in, HA_E_KINDS - HA_E_REPORT));
	slot = pick(in, 32);
	if (slot < 16)
		e->kind = slot ? HA_E_OP : HA_E_NEW_EPOCH;
	e->level = pick(in, 16) ? 0 : 1;
	e->origin = a_host(in);
	fill_domain(in, r, e);
	if (pick(in, 2))
		follow(in, r, e);
	slot = ha_record_slot(r, e->origin);
	e->serial = a_number(in, slot < 0 ? 1 : r->nodes[slot].last_op + 1);
	e->rc = (int32_t)a_number(in, 1);
	e->end = (enum ha_end)pick(in, HA_ENDS);
	snprintf(e->text, sizeof(e->text), "%s", pick(in, 2) ? "tcp:10.0.0.1:4444" : "\xff\xc3");
	e->node = a_host(in);
	slot = ha_record_slot(r, e->node);
	e->debt = a_number(in, slot < 0 ? 0 : r->nodes[slot].debt);
	e->has_lease = pick(in, 2);
	e->over = pick(in, 2);
	e->leaving = pick(in, 2);
	e->token = (uint32_t)a_number(in, 1000);
	e->token_changes = a_number(in, r->token_changes);
	e->settled = pick(in, 2);
	e->version = a_number(in, r->voters.version + 1);
	e->more = pick(in, 2);
	if (e->kind == HA_E_NEW_EPOCH)
		fill_epoch(in, r, e);
	else if (e->kind == HA_E_REPORT)
		fill_report(in, e);
	else if (e->kind == HA_E_OP)
		fill_op(in, e);
}

static void check(struct ha_record *r, const struct ha_entry *e)
{
	static struct ha_record_seen seen;
	static uint8_t bytes[SNAPSHOT_MAX];
	struct ha_writer w = { .p = bytes, .size = sizeof(bytes) };
	struct ha_reader rd = { .p = bytes };
	const char *wrong = ha_record_wrong(r);
	char line[256];

	if (!wrong)
		wrong = ha_index_wrong(r);
	if (!wrong) {
		ha_record_put(&w, r);
		rd.len = w.len;
		ha_record_get(&rd, NULL, &seen);
		wrong = w.bad || !ha_get_end(&rd) ? "a member that lags takes it" : NULL;
	}
	if (!wrong)
		return;
	ha_entry_print(e, line, sizeof(line));
	fprintf(stderr, "after %s: %s\n", line, wrong);
	abort();
}

static void clear(struct ha_record *r)
{
	memset(r, 0, offsetof(struct ha_record, domains));
	memset(r->domains, 0, 16 * sizeof(r->domains[0]));
	r->texts.used = r->texts.live = 0;
	ha_index_build(r);
}

/* Four hosts that may run something, or all that follows is about a record in which nothing can happen. */
static void begin(struct ha_record *r, struct ha_entry *e, struct ha_outcome *o)
{
	clear(r);
	memset(e, 0, sizeof(*e));
	e->kind = HA_E_NEW_EPOCH;
	e->epoch = 1;
	e->cluster = 7;
	e->n_members = 4;
	for (uint32_t i = 0; i < 4; i++) {
		e->members[i] = i + 1;
		e->tokens[i] = 1000;
		e->levels[i] = HA_LEVEL;
		ha_voters_set(&e->voters, i + 1, 1);
	}
	ha_apply(r, e, o);
	for (uint32_t i = 0; i < 8; i++) {
		memset(e, 0, sizeof(*e));
		e->kind = i < 4 ? HA_E_REPORT : HA_E_LEASE;
		e->origin = i % 4 + 1;
		e->serial = i / 4 + 1;
		e->to = HA_REPORT_END;
		e->has_lease = true;
		ha_apply(r, e, o);
	}
	check(r, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[HA_ENTRY_MAX];
	static struct ha_record *r;
	static struct ha_outcome o;
	static struct ha_entry e, got;
	struct input in = { data, data + size };
	size_t len;

	if (!r)
		r = reserve_make(sizeof(*r));
	if (!r)
		return 0;
	begin(r, &e, &o);
	while (in.p < in.end) {
		fill(&in, r, &e);
		len = ha_entry_encode(&e, bytes, sizeof(bytes));
		if (!len || !ha_entry_decode(&got, bytes, len))
			continue;
		ha_apply(r, &got, &o);
		check(r, &got);
	}
	return 0;
}
