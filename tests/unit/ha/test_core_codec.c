/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over the wire and onto disk: round trips, and every wrong byte refused or harmless
 * (rule S). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/reserve.h"
#include "ha/core/core_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void a_writer_that_is_full_stays_bad(void **state)
{
	uint8_t buf[5];
	struct ha_writer w = { .p = buf, .size = sizeof(buf) };

	(void)state;
	ha_put_u32(&w, 1);
	assert_false(w.bad);
	ha_put_u32(&w, 2);
	assert_true(w.bad);
	ha_put_u8(&w, 3);
	assert_true(w.bad);
	assert_int_equal(w.len, 4);
}

static void a_string_with_a_control_character_is_refused(void **state)
{
	static const uint8_t bytes[] = { 3, 0, 0, 0, 'a', '\n', 'b' };
	struct ha_reader r = { .p = bytes, .len = sizeof(bytes) };
	char s[8];

	(void)state;
	ha_get_str(&r, s, sizeof(s));
	assert_true(r.bad);
}

static void fill(struct ha_entry *e, enum ha_entry_kind kind)
{
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->origin = 7;
	e->serial = 1234567890123ull;
	strcpy(e->domain, "web-1");
	e->incarnation = 42;
	e->rc = -9;
	strcpy(e->text, "why not");
	e->node = 3;
	e->debt = 99;
	e->epoch = 5;
	e->n_members = 2;
	e->members[0] = 1;
	e->members[1] = 70000;
	e->fresh[1] = true;
	e->from = 3;
	e->to = 9;
	e->n_items = 1;
	strcpy(e->items[0].name, "db");
	e->items[0].incarnation = 8;
	e->op = HA_OP_GROUP_SET;
	strcpy(e->actor, "uid 1000");
	e->access = HA_ACCESS_OPERATOR;
	e->size = (struct ha_size){ 3ull << 30, 4 };
	e->sizes[1] = (struct ha_size){ 1ull << 40, 256 };
	strcpy(e->group, "fast");
	e->restricted = true;
	e->conf = (const uint8_t *)"name: x\n";
	e->conf_len = 8;
	e->n_hosts = 1;
	e->hosts[0].node = 2;
	e->hosts[0].priority = -5;
	e->n_claims = 2;
	e->claims[1] = (struct ha_claim){ HA_CLAIM_DISK, true, 77 };
}

static void every_entry_survives_the_way_and_no_shorter_one_does(void **state)
{
	static struct ha_entry in, out;
	static uint8_t buf[HA_ENTRY_MAX], again[HA_ENTRY_MAX];

	(void)state;
	for (int k = HA_E_NEW_EPOCH; k < HA_E_KINDS; k++) {
		size_t n;

		fill(&in, (enum ha_entry_kind)k);
		n = ha_entry_encode(&in, buf, sizeof(buf));
		assert_true(n > 0);
		assert_true(ha_entry_decode(&out, buf, n));
		assert_int_equal(out.kind, k);
		assert_int_equal(out.origin, 7);
		assert_int_equal(ha_entry_encode(&out, again, sizeof(again)), n);
		assert_memory_equal(buf, again, n);
		for (size_t cut = 0; cut < n; cut++)
			assert_false(ha_entry_decode(&out, buf, cut));
		buf[n] = 0;
		assert_false(ha_entry_decode(&out, buf, n + 1));
	}
}

static void the_largest_report_fits(void **state)
{
	static struct ha_entry in;
	static uint8_t buf[HA_ENTRY_MAX];

	(void)state;
	fill(&in, HA_E_REPORT);
	in.n_items = HA_REPORT_ITEMS;
	for (int i = 0; i < HA_REPORT_ITEMS; i++)
		memset(in.items[i].name, 'a', HA_NAME_MAX);
	assert_true(ha_entry_encode(&in, buf, sizeof(buf)) > 0);
}

static struct ha_core *core_with_things(void)
{
	struct ha_core *c = reserve_make(sizeof(*c));
	struct ha_record *r;

	ha_core_init(c);
	r = &c->rec;
	r->epoch = 9;
	r->members = 1;
	r->cluster = 0xc1;
	ha_voters_set(&r->voters, 2, 3);
	ha_voters_set(&r->voters, 1, 1);
	r->voters.version = 4;
	c->log.voters = r->voters;
	r->nodes[0].id = 1;
	r->nodes[1].id = 2;
	r->nodes[1].debt = 8;
	r->n_domains = 3;
	for (uint32_t i = 0; i < 3; i += 2) {
		struct ha_domain *d = &r->domains[i];

		memset(d, 0, sizeof(*d));
		d->used = true;
		snprintf(d->name, sizeof(d->name), "d%u", i);
		d->phase = HA_MIGRATING;
		d->move = HA_MOVE_READY;
		d->wanted = true;
		d->owner = 2;
		d->incarnation = 4;
		d->target = 1;
		d->target_incarnation = d->last_incarnation = 5;
		strcpy(d->addr, "tcp:1.2.3.4:5");
		d->n_claims = 2;
		d->claims[1] = (struct ha_claim){ HA_CLAIM_MAC, false, 12 };
		ha_text_put(r, i, "a\nb\nc", 5);
		d->conf_hash = ha_hash(0, "a\nb\nc", 5);
	}
	r->domains[1].used = false;
	ha_index_build(r);
	r->groups[4].used = true;
	strcpy(r->groups[4].name, "g");
	r->groups[4].n_hosts = 1;
	r->groups[4].hosts[0] = (struct ha_group_host){ 2, -7 };
	c->log.promised = 11;
	c->log.applied = c->log.commit = c->log.seq = 77;
	ha_log_append(c, 9, (const uint8_t *)"some entry", 10, false);
	return c;
}

static void a_snapshot_carries_the_whole_record(void **state)
{
	struct ha_core *a = core_with_things(), *b = reserve_make(sizeof(*b));
	static uint8_t buf[HA_BLOB_MAX];
	size_t n = ha_snapshot_encode(a, buf, sizeof(buf));
	struct ha_state end;

	(void)state;
	ha_core_init(b);
	assert_true(ha_snapshot_check(&b->seen, buf, n, &end));
	ha_snapshot_load(b, buf, n);
	assert_int_equal(ha_record_hash(&a->rec), ha_record_hash(&b->rec));
	assert_int_equal(b->rec.cluster, 0xc1);
	assert_int_equal(b->log.voters.version, 4);
	assert_int_equal(ha_majority(b), 3);
	assert_int_equal(b->log.seq, 78);
	assert_int_equal(b->log.hash, a->log.hash);
	assert_memory_equal(ha_text(&b->rec, 2), "a\nb\nc", 5);
	for (size_t cut = 0; cut < n; cut++)
		assert_false(ha_snapshot_check(&b->seen, buf, cut, &end));
	reserve_free(a, sizeof(*a));
	reserve_free(b, sizeof(*b));
}

static void a_damaged_snapshot_is_refused_or_loads_without_harm(void **state)
{
	struct ha_core *a = core_with_things(), *b = reserve_make(sizeof(*b));
	static uint8_t buf[HA_BLOB_MAX], bad[HA_BLOB_MAX];
	size_t n = ha_snapshot_encode(a, buf, sizeof(buf));
	struct ha_state end;

	(void)state;
	for (size_t bit = 0; bit < n * 8; bit++) {
		memcpy(bad, buf, n);
		bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
		ha_core_init(b);
		if (ha_snapshot_check(&b->seen, bad, n, &end))
			ha_snapshot_load(b, bad, n);
	}
	reserve_free(a, sizeof(*a));
	reserve_free(b, sizeof(*b));
}

static void proof_outlasts_lease_and_gate_on_any_clock(void **state)
{
	(void)state;
	for (uint32_t token = HA_TOKEN_MIN; token <= HA_TOKEN_MAX; token += 37) {
		struct ha_timing t;
		double needed;

		ha_timing_derive(token, &t);
		/* the survivor's clock 1 % fast, the lost host's 1 % slow */
		needed = (t.lease + t.gate) * 1.01 / 0.99;
		assert_true(t.proof >= needed);
		assert_true(t.lease >= t.detect + 2 * t.renew);
		assert_true(t.grace >= t.lease * 1.01 / 0.99);
		assert_true(t.evict < t.lease);
		assert_true(t.peer < t.detect || t.peer == 1500);
		assert_true(t.peer <= 60000);
	}
}

static void timings_are_printed(void **state)
{
	struct ha_timing t;
	char buf[4096];
	size_t seen[sizeof(t) / sizeof(uint32_t)] = { 0 };
	const struct ha_timing_row *r;
	size_t i;

	(void)state;
	ha_timing_derive(1000, &t);
	/* Each field once: a time that people are not told of cannot be added. */
	for (i = 0; (r = ha_timing_row(i)) != NULL; i++) {
		assert_true(r->offset < sizeof(t));
		assert_int_equal(seen[r->offset / sizeof(uint32_t)]++, 0);
		assert_true(ha_timing_value(&t, r) > 0);
	}
	assert_int_equal(i * sizeof(uint32_t), sizeof(t));
	assert_true(ha_timing_print(&t, buf, 20) > 1000);
	assert_true(ha_timing_print(&t, buf, sizeof(buf)) < sizeof(buf));
	assert_non_null(strstr(buf, "3000 ms"));
	assert_int_equal(t.proof, 6526);
	assert_non_null(strstr(buf, "a domain that ran this long has got over its failures\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_writer_that_is_full_stays_bad),
		cmocka_unit_test(a_string_with_a_control_character_is_refused),
		cmocka_unit_test(every_entry_survives_the_way_and_no_shorter_one_does),
		cmocka_unit_test(the_largest_report_fits),
		cmocka_unit_test(a_snapshot_carries_the_whole_record),
		cmocka_unit_test(a_damaged_snapshot_is_refused_or_loads_without_harm),
		cmocka_unit_test(proof_outlasts_lease_and_gate_on_any_clock),
		cmocka_unit_test(timings_are_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
