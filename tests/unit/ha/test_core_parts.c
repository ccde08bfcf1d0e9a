/* SPDX-License-Identifier: Apache-2.0 */
/* What does not fit into one message: reports in parts, snapshots in chunks; and texts, which stand in one place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/ha/core_alone.h"
#include "tests/unit/ha/core_bed.h"

/* -------------------------------------------------------------- the record alone */

static enum ha_code add(struct ha_core *c, const char *name, uint32_t node, const void *text, size_t len)
{
	struct ha_entry *e = entry(HA_E_OP, 1);

	e->op = HA_OP_ADD;
	e->node = node;
	e->started = e->ha = node != 0;
	ha_copy(e->domain, sizeof(e->domain), name);
	e->conf = text;
	e->conf_len = len;
	ha_applied(c, e);
	assert_null(ha_core_wrong(c));
	return c->outcome.code;
}

/* Host 1 owned d0 to d9 and comes back. */
static struct ha_core *back_with_ten(void)
{
	struct ha_core *c = core_alone(2);
	char name[8];

	for (uint32_t d = 0; d < 10; d++) {
		snprintf(name, sizeof(name), "d%u", d);
		assert_int_equal(add(c, name, 1, "x", 1), HA_OK);
	}
	c->rec.nodes[0].report_due = true;
	c->rec.nodes[0].leased = false;
	return c;
}

/* Of the domains in these slots host 1 has all but @missing. */
static void part(struct ha_core *c, uint32_t from, uint32_t to, uint32_t missing)
{
	struct ha_entry *e = entry(HA_E_REPORT, 1);

	e->from = from;
	e->to = to;
	for (uint32_t i = from; i < 10 && i < to; i++) {
		if (i == missing)
			continue;
		snprintf(e->items[e->n_items].name, sizeof(e->items[0].name), "d%u", i);
		e->items[e->n_items++].incarnation = 1;
	}
	ha_applied(c, e);
	assert_null(ha_core_wrong(c));
}

static uint32_t owned_by(const struct ha_core *c, uint32_t node)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->rec.n_domains; i++)
		n += c->rec.domains[i].owner == node;
	return n;
}

static void each_part_speaks_of_its_own_slots(void **state)
{
	struct ha_core *c = back_with_ten();

	(void)state;
	part(c, 0, 5, 2);
	assert_true(c->rec.nodes[0].report_due);
	assert_int_equal(c->rec.nodes[0].reported, 5);
	assert_int_equal(c->rec.domains[2].owner, 2); /* placed elsewhere at once */
	assert_int_equal(owned_by(c, 1), 9);
	part(c, 5, HA_REPORT_END, 7);
	assert_false(c->rec.nodes[0].report_due);
	assert_int_equal(c->rec.nodes[0].reported, 0);
	assert_int_equal(c->rec.domains[7].owner, 2);
	assert_int_equal(owned_by(c, 1), 8);
	reserve_free(c, ha_core_size());
}

static void a_part_that_is_not_the_next_is_nothing(void **state)
{
	struct ha_core *c = back_with_ten();

	(void)state;
	part(c, 5, HA_REPORT_END, 7); /* the first is missing */
	assert_true(c->rec.nodes[0].report_due);
	assert_int_equal(owned_by(c, 1), 10);
	part(c, 0, 5, 10);
	part(c, 0, 5, 3); /* once more, and it says something else */
	part(c, 0, HA_REPORT_END, 3);
	part(c, 4, 6, 4); /* across */
	part(c, 6, HA_REPORT_END, 6);
	assert_true(c->rec.nodes[0].report_due);
	assert_int_equal(c->rec.nodes[0].reported, 5);
	assert_int_equal(owned_by(c, 1), 10);
	part(c, 5, HA_REPORT_END, 10);
	assert_false(c->rec.nodes[0].report_due);
	part(c, 0, HA_REPORT_END, 1); /* nobody asked */
	assert_int_equal(owned_by(c, 1), 10);
	reserve_free(c, ha_core_size());
}

static void who_is_lost_again_begins_again(void **state)
{
	struct ha_core *c = back_with_ten();
	struct ha_entry *e;

	(void)state;
	part(c, 0, 5, 10);
	for (uint32_t with = 0; with < 2; with++) {
		e = entry(HA_E_NEW_EPOCH, 0);
		e->epoch = 6 + with;
		e->n_members = 1 + with;
		e->members[0] = 2;
		e->members[1] = 1;
		e->levels[0] = e->levels[1] = HA_LEVEL;
		ha_applied(c, e);
	}
	assert_true(c->rec.nodes[0].report_due);
	part(c, 5, HA_REPORT_END, 10); /* said before it was lost */
	assert_true(c->rec.nodes[0].report_due);
	assert_int_equal(c->rec.nodes[0].reported, 0);
	part(c, 0, HA_REPORT_END, 10);
	assert_false(c->rec.nodes[0].report_due);
	reserve_free(c, ha_core_size());
}

static void a_part_that_goes_back_or_names_too_many_cannot_be_read(void **state)
{
	static uint8_t buf[HA_ENTRY_MAX];
	static struct ha_entry out;
	struct ha_entry *e = entry(HA_E_REPORT, 1);
	size_t n, count;

	(void)state;
	e->from = 5;
	for (e->to = 3; e->to < 8; e->to++) {
		n = ha_entry_encode(e, buf, sizeof(buf));
		assert_int_equal(ha_entry_decode(&out, buf, n), e->to > 5);
	}
	count = n - 4; /* n_items is the last field */
	assert_int_equal(buf[count], 0);
	memcpy(buf + count, (uint8_t[]){ (HA_REPORT_ITEMS + 1) & 0xff, (HA_REPORT_ITEMS + 1) >> 8, 0, 0 }, 4);
	assert_false(ha_entry_decode(&out, buf, sizeof(buf)));
	memset(buf + count, 0xff, 4);
	assert_false(ha_entry_decode(&out, buf, sizeof(buf)));
}

/* --------------------------------------------------------------------------- texts */

static void texts_come_and_go_in_one_place(void **state)
{
	struct ha_core *c = core_alone(2);
	static char text[HA_CONF_MAX];
	char name[16];
	uint32_t n;

	(void)state;
	for (n = 0; n < HA_CONFS_MAX / HA_CONF_MAX; n++) {
		snprintf(name, sizeof(name), "d%u", n);
		memset(text, 'a' + n % 26, sizeof(text));
		assert_int_equal(add(c, name, 0, text, sizeof(text)), HA_OK);
	}
	assert_int_equal(add(c, "more", 0, "x", 1), HA_REFUSED);
	assert_non_null(strstr(c->outcome.text, "64 MiB of domain texts"));
	for (uint32_t i = 0; i < n; i += 2) {
		struct ha_entry *e = entry(HA_E_OP, 1);

		e->op = HA_OP_REMOVE;
		snprintf(e->domain, sizeof(e->domain), "d%u", i);
		ha_applied(c, e);
		assert_int_equal(c->outcome.code, HA_OK);
	}
	/* Their room is taken again, and the others' texts have moved together. */
	assert_int_equal(add(c, "short", 0, "x", 1), HA_OK);
	memset(text, '#', sizeof(text));
	for (uint32_t i = 1; i < n / 2; i++) {
		snprintf(name, sizeof(name), "e%u", i);
		assert_int_equal(add(c, name, 0, text, sizeof(text) - i % 2), HA_OK);
	}
	for (uint32_t i = 1; i < n; i += 2) {
		snprintf(name, sizeof(name), "d%u", i);
		memset(text, 'a' + i % 26, sizeof(text));
		assert_memory_equal(ha_text(&c->rec, (uint32_t)ha_record_find(&c->rec, name)), text, sizeof(text));
	}
	assert_memory_equal(ha_text(&c->rec, (uint32_t)ha_record_find(&c->rec, "short")), "x", 1);
	reserve_free(c, ha_core_size());
}

/* ------------------------------------------------------------------------ a cluster */

#define MANY 900u /* more than HA_REPORT_ITEMS for each of three hosts */

static struct bed *bed_with(uint32_t domains)
{
	struct bed *b = bed_new(3);
	char name[32], text[200]; /* so long that a snapshot is three chunks */

	memset(text, 'x', sizeof(text));
	for (uint32_t d = 0; d < domains; d++) {
		struct ha_command cmd = {
			.op = HA_OP_ADD,
			.domain = name,
			.conf = text,
			.conf_len = sizeof(text),
			.started = true,
			.ha = true,
		};

		snprintf(name, sizeof(name), "domain-%u", d);
		b->n_fx = 0;
		assert_int_equal(bed_command(b, 1, cmd)->code, HA_OK);
		bed_obey(b);
	}
	for (uint32_t k = 0; k < 200; k++) {
		bed_pass(b, 50);
		bed_obey(b);
	}
	return b;
}

/* The daemon of the third host begins anew, without a record; its VMMs run. */
static void forget_all(struct bed *b)
{
	const struct ha_record *r = ha_core_record(b->core[0]);
	struct ha_core *c = b->core[2];

	bed_boot(b, 2);
	c->listed = false;
	c->unseen = false;
	for (uint32_t i = 0; i < r->n_domains; i++)
		if (r->domains[i].owner == 3)
			bed_vmm(b, 3, r->domains[i].name, r->domains[i].incarnation, HA_VMM_RUNNING, 0);
	c->listed = true;
}

static void a_host_with_many_vmms_reports_them_all(void **state)
{
	struct bed *b = bed_with(MANY);
	uint64_t before = b->core[0]->log.applied;

	(void)state;
	assert_true(owned_by(b->core[0], 3) > HA_REPORT_ITEMS);
	forget_all(b);
	bed_view(b);
	bed_pass(b, 2000);
	assert_true(b->core[0]->log.applied > before);
	for (uint32_t h = 0; h < 3; h++) {
		const struct ha_record *r = ha_core_record(b->core[h]);

		assert_int_equal(r->n_domains, MANY);
		assert_false(r->nodes[2].report_due);
		assert_true(r->nodes[2].leased);
		assert_null(ha_core_wrong(b->core[h]));
		for (uint32_t i = 0; i < MANY; i++)
			assert_int_equal(r->domains[i].phase, HA_RUNNING);
	}
	assert_int_equal(owned_by(b->core[0], 3), MANY / 3);
	bed_free(b);
}

/* A chunk as it was sent, with another beginning: u8 version, kind; u64 target; u32 total, offset, length. */
static void spoil(struct bed *b, const struct bed_msg *m, uint64_t target, uint32_t total, uint32_t offset, uint32_t len)
{
	struct ha_event ev = { .kind = HA_EV_DELIVER };
	uint8_t *bytes = malloc(m->len);
	uint64_t t;
	uint32_t v[3];

	memcpy(bytes, m->bytes, m->len);
	memcpy(&t, bytes + 2, 8);
	memcpy(v, bytes + 10, 12);
	t += target;
	v[0] += total;
	v[1] += offset;
	v[2] += len;
	memcpy(bytes + 2, &t, 8);
	memcpy(bytes + 10, v, 12);
	ev.deliver.from = m->from + 1;
	ev.deliver.bytes = bytes;
	ev.deliver.len = m->len;
	bed_step(b, 2, &ev);
	free(bytes);
}

enum mischief {
	HOSTILE,
	LOSE
};

/* As bed_settle(); before each chunk the third host gets others, or it gets not all of them. */
static uint32_t deliver(struct bed *b, enum mischief how)
{
	uint32_t chunks = 0;

	while (b->head < b->tail) {
		struct bed_msg m = b->queue[b->head++];
		bool chunk = m.bytes[1] == MSG_CHUNK;

		chunks += chunk;
		if (chunk && how == HOSTILE) {
			spoil(b, &m, 1, 0, 0, 0); /* of another epoch */
			spoil(b, &m, UINT64_MAX, 0, 0, 0);
			spoil(b, &m, 0, 0, 1, 0); /* behind a gap */
			spoil(b, &m, 0, 0, UINT32_MAX, 0);
			spoil(b, &m, 0, 0, 0, UINT32_MAX); /* not what it says */
			spoil(b, &m, 0, 1u << 31, 0, 0);   /* more than there can be */
			spoil(b, &m, 0, 0, 1u << 31, 0);
			spoil(b, &m, 0, 0, 0, 1u << 31);
			if (chunks > 1)
				spoil(b, &m, 0, 1, 0, 0); /* another length than at first */
		}
		for (uint32_t i = 0; i < b->n; i++) {
			struct ha_event ev = { .kind = HA_EV_DELIVER };

			if (how == LOSE && i == 2 && chunks == 2 && chunk)
				continue;
			ev.deliver.from = m.from + 1;
			ev.deliver.bytes = m.bytes;
			ev.deliver.len = m.len;
			bed_step(b, i, &ev);
			if (how == HOSTILE && chunk && i == 2)
				bed_step(b, i, &ev); /* twice */
		}
		free(m.bytes);
	}
	b->head = b->tail = 0;
	return chunks;
}

static void view_without_delivery(struct bed *b)
{
	static const uint32_t ids[] = { 1, 2, 3 };

	for (uint32_t i = 0; i < b->n; i++) {
		struct ha_event ev = { .kind = HA_EV_VIEW };

		ev.view.nodes = ids;
		ev.view.n = 3;
		bed_step(b, i, &ev);
	}
}

static void a_snapshot_is_taken_over_whole_whatever_else_is_sent(void **state)
{
	struct bed *b = bed_with(MANY);

	(void)state;
	forget_all(b);
	view_without_delivery(b);
	assert_true(deliver(b, HOSTILE) > 2);
	bed_pass(b, 2000);
	assert_int_equal(ha_record_hash(ha_core_record(b->core[2])), ha_record_hash(ha_core_record(b->core[0])));
	assert_int_equal(ha_core_record(b->core[2])->n_domains, MANY);
	assert_null(ha_core_wrong(b->core[2]));
	bed_free(b);
}

static void a_snapshot_with_a_hole_is_not_taken_over(void **state)
{
	struct bed *b = bed_with(MANY);

	(void)state;
	forget_all(b);
	view_without_delivery(b);
	assert_true(deliver(b, LOSE) > 2);
	assert_int_equal(ha_core_record(b->core[2])->n_domains, 0);
	bed_view(b); /* in the next view it gets another one */
	bed_pass(b, 2000);
	assert_int_equal(ha_core_record(b->core[2])->n_domains, MANY);
	bed_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_part_speaks_of_its_own_slots),
		cmocka_unit_test(a_part_that_is_not_the_next_is_nothing),
		cmocka_unit_test(who_is_lost_again_begins_again),
		cmocka_unit_test(a_part_that_goes_back_or_names_too_many_cannot_be_read),
		cmocka_unit_test(texts_come_and_go_in_one_place),
		cmocka_unit_test(a_host_with_many_vmms_reports_them_all),
		cmocka_unit_test(a_snapshot_is_taken_over_whole_whatever_else_is_sent),
		cmocka_unit_test(a_snapshot_with_a_hole_is_not_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
