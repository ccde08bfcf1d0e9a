/* SPDX-License-Identifier: Apache-2.0 */
/* Who may order what, who is told of it, and what an order brings into the record about sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/ha/core_three.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* d0, which runs on host 1. */
static struct ha_domain *runs(void)
{
	struct ha_entry *e = entry(HA_E_OP, 1);
	struct ha_domain *d;

	e->op = HA_OP_ADD;
	strcpy(e->domain, "d0");
	e->conf = (const uint8_t *)"x";
	e->conf_len = 1;
	e->started = true;
	e->node = 1;
	ha_applied(c, e);
	d = &c->rec.domains[ha_record_find(&c->rec, "d0")];
	e = entry(HA_E_RUNNING, 1);
	strcpy(e->domain, "d0");
	e->incarnation = d->incarnation;
	ha_applied(c, e);
	assert_int_equal(d->phase, HA_RUNNING);
	return d;
}

static const struct {
	enum ha_op op;
	enum ha_access least;
} takes[] = {
	{ HA_OP_START, HA_ACCESS_OPERATOR },
	{ HA_OP_STOP, HA_ACCESS_OPERATOR },
	{ HA_OP_MIGRATE, HA_ACCESS_OPERATOR },
	{ HA_OP_PAUSE, HA_ACCESS_OPERATOR },
	{ HA_OP_ADD, HA_ACCESS_ADMIN },
	{ HA_OP_REMOVE, HA_ACCESS_ADMIN },
	{ HA_OP_HA_OFF, HA_ACCESS_ADMIN },
	{ HA_OP_GROUP_SET, HA_ACCESS_ADMIN },
	{ HA_OP_FENCE, HA_ACCESS_ADMIN },
	{ HA_OP_CONFIRM, HA_ACCESS_ADMIN },
	{ HA_OP_MAINTENANCE, HA_ACCESS_ADMIN },
};

static void a_command_takes_a_role_and_changes_nothing_without_it(void **state)
{
	struct ha_domain *d = runs();
	uint64_t before;
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(takes) / sizeof(takes[0]); i++)
		for (int a = HA_ACCESS_VIEWER; a < HA_ACCESSES; a++) {
			struct ha_entry *e = entry(HA_E_OP, 1);

			if (a >= (int)takes[i].least)
				continue;
			before = ha_record_hash(&c->rec);
			e->op = takes[i].op;
			strcpy(e->domain, takes[i].op == HA_OP_ADD ? "d1" : "d0");
			strcpy(e->group, "g");
			strcpy(e->actor, "uid 7");
			e->access = (enum ha_access)a;
			e->node = 3;
			e->on = true;
			e->conf = (const uint8_t *)"x";
			e->conf_len = 1;
			assert_int_equal(judged(e, text), HA_REFUSED);
			assert_non_null(strstr(text, "uid 7 has "));
			assert_int_equal(ha_record_hash(&c->rec), before);
			assert_int_equal(d->phase, HA_RUNNING);
		}
}

static void who_ordered_what_is_told_on_every_host(void **state)
{
	struct ha_entry *e;

	(void)state;
	runs();
	e = entry(HA_E_OP, 2); /* given at another host */
	e->op = HA_OP_STOP;
	strcpy(e->domain, "d0");
	strcpy(e->actor, "uid 7");
	c->out->n = 0;
	c->booted = true;
	ha_applied(c, e);
	for (size_t i = 0; i < c->out->n; i++)
		if (c->out->fx[i].kind == HA_FX_NOTE &&
		    !strcmp(c->out->fx[i].note.text, "uid 7 on node 2: stop d0: d0 is being stopped on node 1"))
			return;
	fail_msg("nothing was said");
}

static void a_command_of_nobody_is_refused(void **state)
{
	struct ha_event ev = { .kind = HA_EV_OPERATOR, .op.cmd = { .op = HA_OP_CLEAR, .domain = "d0" } };

	(void)state;
	ha_op_event(c, &ev);
	assert_int_equal(c->out->n, 1);
	assert_int_equal(c->out->fx[0].reply.code, HA_USAGE);
}

static void sizes_are_in_the_record(void **state)
{
	struct ha_entry *e = entry(HA_E_OP, 1);
	uint64_t before;
	int i;

	(void)state;
	e->op = HA_OP_ADD;
	strcpy(e->domain, "d0");
	e->conf = (const uint8_t *)"x";
	e->conf_len = 1;
	e->size = (struct ha_size){ 3ull << 30, 5 };
	ha_applied(c, e);
	i = ha_record_find(&c->rec, "d0");
	assert_true(i >= 0);
	assert_int_equal(c->rec.domains[i].size.memory, 3ull << 30);
	assert_int_equal(c->rec.domains[i].size.cpus, 5);

	e = entry(HA_E_NEW_EPOCH, 0);
	e->epoch = c->rec.epoch + 1;
	e->n_members = 2;
	for (uint32_t k = 0; k < 2; k++) {
		e->members[k] = k + 1;
		e->tokens[k] = 1000;
		e->levels[k] = HA_LEVEL;
		e->sizes[k] = (struct ha_size){ (k + 1ull) << 40, 64 };
	}
	ha_applied(c, e);
	assert_int_equal(c->rec.nodes[1].size.memory, 2ull << 40);
	assert_int_equal(c->rec.nodes[1].size.cpus, 64);
	before = ha_record_hash(&c->rec);
	c->rec.nodes[1].size.cpus++;
	assert_int_not_equal(ha_record_hash(&c->rec), before); /* replicas that differ in it differ */
}

#define RULE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RULE(a_command_takes_a_role_and_changes_nothing_without_it),
		RULE(who_ordered_what_is_told_on_every_host),
		RULE(a_command_of_nobody_is_refused),
		RULE(sizes_are_in_the_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
