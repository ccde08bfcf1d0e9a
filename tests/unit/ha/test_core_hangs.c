/* SPDX-License-Identifier: Apache-2.0 */
/* VMMs that no signal ends, hosts that may run nothing: who waits for them, and who does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "tests/unit/ha/core_web.h"

/* n1 alone may run things: of five domains four come up, and none of those ever says a word. */
static struct bed *four_hang(void)
{
	struct bed *b = bed_new(3);
	struct ha_command pin = { .op = HA_OP_MAINTENANCE, .on = true };
	char name[8];

	for (pin.node = 2; pin.node <= 3; pin.node++)
		bed_command(b, 1, pin);
	for (int i = 0; i <= HA_STARTS_MAX; i++) {
		struct ha_command cmd = add;

		snprintf(name, sizeof(name), "w%d", i);
		cmd.domain = name;
		bed_command(b, 1, cmd);
	}
	assert_null(bed_find(b, HA_FX_START, "w4"));
	return b;
}

/* They hang in storage that does not answer, and no signal ends them: whoever waits for its turn has it all the same. */
static void who_hangs_and_is_killed_takes_nobodys_turn(void **state)
{
	struct bed *b = four_hang();

	(void)state;
	bed_pass(b, 59000);
	assert_null(bed_find(b, HA_FX_KILL, NULL));
	assert_null(bed_find(b, HA_FX_START, "w4"));
	bed_pass(b, 2000);
	assert_non_null(bed_find(b, HA_FX_KILL, "w0"));
	assert_non_null(bed_find(b, HA_FX_START, "w4"));
	bed_vmm(b, 1, "w4", bed_domain(b, 1, "w4")->incarnation, HA_VMM_RUNNING, 0);
	assert_int_equal(bed_domain(b, 1, "w4")->phase, HA_RUNNING);
	/* That they end, or come up after all, is counted as little as that they were there. */
	bed_vmm(b, 1, "w0", bed_domain(b, 1, "w0")->incarnation, HA_VMM_RUNNING, 0);
	bed_vmm(b, 1, "w1", bed_domain(b, 1, "w1")->incarnation, HA_VMM_EXITED, 1);
	bed_pass(b, 1000);
	assert_null(ha_core_wrong(b->core[0]));
	bed_free(b);
}

/* A daemon finds VMMs of domains that others have by now; they answer nobody and do not end. Things are placed here. */
static void old_vmms_that_hang_take_nobodys_turn(void **state)
{
	struct bed *b = bed_new(3);
	struct ha_command pin = { .op = HA_OP_MAINTENANCE, .on = true };
	char name[8];

	(void)state;
	for (int i = 0; i < HA_STARTS_MAX; i++) {
		snprintf(name, sizeof(name), "old%d", i);
		bed_vmm(b, 1, name, 1, HA_VMM_STARTING, 0);
	}
	for (pin.node = 2; pin.node <= 3; pin.node++)
		bed_command(b, 1, pin);
	bed_pass(b, 1000);
	assert_non_null(bed_find(b, HA_FX_KILL, "old0"));
	bed_command(b, 1, add);
	bed_pass(b, 1000);
	assert_int_equal(bed_domain(b, 1, "web")->owner, 1);
	assert_non_null(bed_find(b, HA_FX_START, "web"));
	assert_null(ha_core_wrong(b->core[0]));
	bed_free(b);
}

/* Where it is to arrive an old VMM of it stands, and no signal ends that: it stays, and does not wait for ever. */
static void a_migration_does_not_wait_for_an_old_vmm_that_hangs(void **state)
{
	struct bed *b = web_runs(3);
	struct ha_command move = { .op = HA_OP_MIGRATE, .domain = "web", .node = 3 };

	(void)state;
	bed_vmm(b, 3, "web", 77, HA_VMM_STARTING, 0);
	assert_non_null(bed_find(b, HA_FX_KILL, "web"));
	assert_int_equal(bed_command(b, 2, move)->code, HA_OK);
	assert_int_equal(bed_domain(b, 1, "web")->phase, HA_MIGRATING);
	bed_pass(b, 11000);
	assert_null(bed_find(b, HA_FX_RECEIVE, "web"));
	assert_int_equal(bed_domain(b, 1, "web")->phase, HA_RUNNING);
	assert_int_equal(bed_domain(b, 1, "web")->owner, 1);
	assert_int_equal(bed_domain(b, 1, "web")->avoid, 1 << 2); /* another host is tried next */
	bed_free(b);
}

/* Nor for a destination that never listens, and does not end when it is killed for that. */
static void a_migration_does_not_wait_for_a_destination_that_hangs(void **state)
{
	struct bed *b = web_runs(3);
	struct ha_command move = { .op = HA_OP_MIGRATE, .domain = "web", .node = 3 };

	(void)state;
	assert_int_equal(bed_command(b, 2, move)->code, HA_OK);
	assert_non_null(bed_find(b, HA_FX_RECEIVE, "web"));
	bed_pass(b, 41000);
	assert_non_null(bed_find(b, HA_FX_KILL, "web"));
	assert_int_equal(bed_domain(b, 1, "web")->phase, HA_RUNNING);
	/* Whatever it still asks for comes too late. */
	bed_vmm(b, 3, "web", 2, HA_VMM_ASK_COMMIT, 0);
	bed_pass(b, 1000);
	assert_int_equal(bed_domain(b, 1, "web")->owner, 1);
	bed_free(b);
}

/* The destination's host has no lease when it is asked: the domain is not given to where it cannot run. */
static void a_host_without_a_lease_takes_no_domain_over(void **state)
{
	struct bed *b = web_runs(3);
	struct ha_command move = { .op = HA_OP_MIGRATE, .domain = "web", .node = 3 };
	struct ha_event quorum = { .kind = HA_EV_QUORUM };
	uint32_t ids[] = { 1, 2, 3 };
	struct ha_status status;
	struct bed_fx *f;

	(void)state;
	assert_int_equal(bed_command(b, 2, move)->code, HA_OK);
	bed_vmm(b, 3, "web", 2, HA_VMM_INCOMING, 0);
	quorum.quorum.nodes = ids;
	quorum.quorum.n = 3;
	bed_step(b, 2, &quorum); /* its votequorum says so, as it may for a moment, or for longer */
	bed_pass(b, 3500);
	ha_core_status(b->core[2], &status);
	assert_true(status.lease_until_ms <= b->now);
	bed_vmm(b, 3, "web", 2, HA_VMM_ASK_COMMIT, 0);
	assert_int_equal(bed_domain(b, 2, "web")->owner, 1);
	bed_vmm(b, 1, "web", 1, HA_VMM_ASK_ABORT, 0);
	assert_int_equal(bed_domain(b, 2, "web")->phase, HA_RUNNING);
	assert_int_equal(bed_domain(b, 2, "web")->owner, 1);
	f = bed_find(b, HA_FX_DECIDE, "web");
	assert_int_equal(f->node, 1);
	assert_int_equal(f->code, false);
	bed_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_hangs_and_is_killed_takes_nobodys_turn),
		cmocka_unit_test(old_vmms_that_hang_take_nobodys_turn),
		cmocka_unit_test(a_migration_does_not_wait_for_an_old_vmm_that_hangs),
		cmocka_unit_test(a_migration_does_not_wait_for_a_destination_that_hangs),
		cmocka_unit_test(a_host_without_a_lease_takes_no_domain_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
