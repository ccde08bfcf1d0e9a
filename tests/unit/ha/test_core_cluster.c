/* SPDX-License-Identifier: Apache-2.0 */
/* Three cores on a perfect network: whole stories in a few lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "ha/core/record/codec.h"
#include "tests/unit/ha/core_web.h"

static struct ha_status status(struct bed *b, uint32_t node)
{
	struct ha_status s;

	ha_core_status(b->core[node - 1], &s);
	return s;
}

static void three_hosts_agree_and_have_leases(void **state)
{
	struct bed *b = bed_new(3);

	(void)state;
	for (uint32_t n = 1; n <= 3; n++) {
		assert_int_equal(status(b, n).standing, HA_STANDS);
		assert_int_equal(status(b, n).hash, status(b, 1).hash);
		assert_true(status(b, n).lease_until_ms > b->now);
	}
	bed_free(b);
}

static void a_domain_is_added_started_and_its_text_arrives_everywhere(void **state)
{
	struct bed *b = bed_new(3);
	struct bed_fx *reply = bed_command(b, 2, add), *start;

	(void)state;
	assert_non_null(reply);
	assert_int_equal(reply->code, HA_OK);
	start = bed_find(b, HA_FX_START, "web");
	assert_non_null(start);
	assert_int_equal(start->node, 1);
	bed_vmm(b, 1, "web", start->incarnation, HA_VMM_RUNNING, 0);
	for (uint32_t n = 1; n <= 3; n++) {
		assert_int_equal(bed_domain(b, n, "web")->phase, HA_RUNNING);
		assert_memory_equal(ha_text(ha_core_record(b->core[n - 1]), 0), "name: web\n", 10);
	}
	bed_free(b);
}

static void a_host_cut_off_loses_its_lease_and_takes_no_commands(void **state)
{
	struct bed *b = bed_new(3);
	struct bed_fx *reply;

	(void)state;
	b->cut = 1;
	bed_view(b);
	bed_pass(b, 4000);
	assert_true(status(b, 1).lease_until_ms <= b->now);
	assert_int_not_equal(status(b, 1).standing, HA_STANDS);
	reply = bed_command(b, 1, add);
	assert_non_null(reply);
	assert_int_equal(reply->code, HA_REFUSED);
	assert_int_equal(bed_command(b, 2, add)->code, HA_OK);
	bed_free(b);
}

static void fencing_makes_the_restart_fast_and_waiting_makes_it_sure(void **state)
{
	struct bed *b = web_runs(3);
	struct ha_event done = { .kind = HA_EV_FENCE_DONE };
	struct bed_fx *fence, *start;
	uint64_t lost;

	(void)state;
	lost = b->now;
	bed_crash(b, 1);
	fence = bed_find(b, HA_FX_FENCE, NULL);
	assert_non_null(fence);
	assert_int_equal(fence->node, 2); /* the lowest member */
	assert_int_equal(fence->arg, 1);
	done.fence_done.node = 1;
	done.fence_done.debt = fence->incarnation;
	done.fence_done.rc = 1;
	bed_step(b, 1, &done);
	bed_settle(b);
	fence = bed_find(b, HA_FX_FENCE, NULL);
	assert_int_equal(fence->node, 3); /* then the next */
	bed_pass(b, lost + 6000 - b->now);
	assert_int_equal(bed_find(b, HA_FX_START, "web")->node, 1);
	bed_pass(b, 1000);
	start = bed_find(b, HA_FX_START, "web");
	assert_int_not_equal(start->node, 1);
	assert_true(b->now - lost <= 7000);
	bed_free(b);
}

static uint32_t count_fx(const struct bed *b, enum ha_effect_kind kind)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->n_fx; i++)
		n += b->seen[i].kind == kind;
	return n;
}

/* Ten domains on one host: four come up, each that is up makes room for the next; none is killed for its wait. */
static void many_starts_wait_their_turn(void **state)
{
	struct bed *b = bed_new(3);
	struct ha_command pin = { .op = HA_OP_MAINTENANCE, .on = true };
	char name[8];

	(void)state;
	for (pin.node = 2; pin.node <= 3; pin.node++)
		bed_command(b, 1, pin);
	for (int i = 0; i < 10; i++) {
		struct ha_command cmd = add;

		snprintf(name, sizeof(name), "w%d", i);
		cmd.domain = name;
		bed_command(b, 1, cmd);
	}
	for (uint32_t up = 0; up < 10; up++) {
		uint32_t due = up + HA_STARTS_MAX < 10 ? up + HA_STARTS_MAX : 10;

		assert_int_equal(count_fx(b, HA_FX_START), due);
		bed_pass(b, 8000);
		snprintf(name, sizeof(name), "w%u", up);
		bed_vmm(b, 1, name, bed_domain(b, 1, name)->incarnation, HA_VMM_RUNNING, 0);
	}
	assert_int_equal(count_fx(b, HA_FX_KILL), 0);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "w%d", i);
		assert_int_equal(bed_domain(b, 1, name)->phase, HA_RUNNING);
	}
	bed_free(b);
}

/* A daemon that says it leaves is not fenced for it, however long it stays away; what it ran starts elsewhere by waiting. */
static void a_daemon_that_leaves_in_order_is_not_fenced(void **state)
{
	struct bed *b = web_runs(3);
	struct ha_event leave = { .kind = HA_EV_LEAVE };
	uint64_t left;

	(void)state;
	bed_step(b, 0, &leave);
	bed_settle(b);
	assert_true(ha_core_parted(b->core[0]));
	left = b->now;
	b->cut = 1;
	bed_view(b);
	bed_pass(b, 6000);
	assert_int_equal(bed_domain(b, 2, "web")->owner, 1); /* its lease and W are not over yet */
	bed_pass(b, 2000);
	assert_null(bed_find(b, HA_FX_FENCE, NULL));
	assert_int_not_equal(bed_domain(b, 2, "web")->owner, 1);
	assert_true(b->now - left <= 8500);
	/* Lost without a word afterwards, it is fenced like anybody. */
	bed_vmm(b, 2, "web", 2, HA_VMM_RUNNING, 0);
	bed_crash(b, 2);
	bed_pass(b, 100);
	assert_non_null(bed_find(b, HA_FX_FENCE, NULL));
	bed_free(b);
}

/*
 * A crash is noticed by a token's silence. Who is gone without one, and without a word, left in order, and
 * nobody heard it: it is not fenced, and what it ran starts elsewhere by waiting.
 */
static void who_vanishes_without_having_been_silent_did_not_crash(void **state)
{
	struct bed *b = web_runs(3);

	(void)state;
	bed_pass(b, 1000);
	b->cut = 1;
	bed_view(b);
	bed_pass(b, 6000);
	assert_int_equal(bed_domain(b, 2, "web")->owner, 1);
	bed_pass(b, 2000);
	assert_null(bed_find(b, HA_FX_FENCE, NULL));
	assert_int_not_equal(bed_domain(b, 2, "web")->owner, 1);
	bed_free(b);
}

/* Somebody did not answer when the ring was formed anew: who went then may have crashed, and has its lease's time. */
static void who_vanishes_in_a_stall_is_fenced_when_its_lease_is_over(void **state)
{
	struct bed *b = web_runs(3);

	(void)state;
	bed_pass(b, 1000);
	b->cut = 1;
	b->ring = HA_RING_STALLED;
	bed_view(b);
	bed_pass(b, 2500);
	assert_null(bed_find(b, HA_FX_FENCE, NULL));
	bed_pass(b, 1500);
	assert_non_null(bed_find(b, HA_FX_FENCE, NULL));
	bed_free(b);
}

/*
 * n5 saw n1 leave in order, and was cut off; n1 came back meanwhile, and crashes when n5 returns. What n5 saw was
 * about another loss than this one.
 */
static void what_was_seen_of_a_host_is_about_that_loss(void **state)
{
	struct bed *b = web_runs(5);

	(void)state;
	b->cut = b->left = 1;
	bed_view(b);
	b->left = 0;
	b->cut = 1 << 4;
	bed_view(b);
	bed_pass(b, 3000);
	assert_int_equal(bed_domain(b, 2, "web")->owner, 1);
	assert_null(bed_find(b, HA_FX_FENCE, NULL));
	bed_crash(b, 1);
	bed_pass(b, 100);
	assert_non_null(bed_find(b, HA_FX_FENCE, NULL));
	bed_free(b);
}

/* n1 left in order. CPG lists it once more in the next view (corosync #828), and misses it in the one after that. */
static void a_ghost_of_who_left_in_order_has_not_crashed(void **state)
{
	static const uint32_t ids[] = { 1, 2, 3 };
	struct bed *b = web_runs(3);

	(void)state;
	b->cut = 1;
	for (uint32_t i = 1; i < 3; i++) {
		struct ha_event view = { .kind = HA_EV_VIEW };

		view.view.nodes = ids + 1;
		view.view.n = 2;
		view.view.left = ids;
		view.view.n_left = 1;
		bed_step(b, i, &view);
		view.view.nodes = ids;
		view.view.n = 3;
		view.view.n_left = 0;
		bed_step(b, i, &view);
	}
	bed_settle(b);
	b->ring = HA_RING_SILENT;
	bed_view(b);
	b->ring = HA_RING_CALLED;
	bed_pass(b, 10000);
	assert_null(bed_find(b, HA_FX_FENCE, NULL));
	assert_int_not_equal(bed_domain(b, 2, "web")->owner, 1);
	bed_free(b);
}

/* A crash is answered at once; several at once are a ring that broke, and each has its lease's time. */
static void hosts_that_vanish_together_get_their_leases_time(void **state)
{
	struct bed *b = web_runs(5);

	(void)state;
	bed_crash(b, 1);
	assert_non_null(bed_find(b, HA_FX_FENCE, NULL));
	bed_free(b);

	b = web_runs(5);
	b->cut = 3;
	b->ring = HA_RING_SILENT;
	bed_view(b);
	b->ring = HA_RING_CALLED;
	bed_pass(b, 2500);
	assert_null(bed_find(b, HA_FX_FENCE, NULL));
	bed_pass(b, 1500);
	assert_non_null(bed_find(b, HA_FX_FENCE, NULL));
	bed_free(b);
}

/* n1 was cut off, web runs on n2 since; n1 is back, and web.1 lives on there. */
static struct bed *bed_with_an_old_vmm(void)
{
	struct bed *b = bed_new(3);

	bed_command(b, 2, add);
	bed_vmm(b, 1, "web", 1, HA_VMM_RUNNING, 0);
	b->cut = 1;
	bed_view(b);
	bed_pass(b, 8000);
	bed_vmm(b, 2, "web", 2, HA_VMM_RUNNING, 0);
	b->cut = 0;
	bed_view(b);
	return b;
}

static void an_old_vmm_gets_no_lease_and_its_host_does(void **state)
{
	struct bed *b = bed_with_an_old_vmm();
	struct bed_fx *kill, *no;

	(void)state;
	bed_pass(b, 1500);
	kill = bed_find(b, HA_FX_KILL, "web");
	assert_non_null(kill);
	assert_int_equal(kill->node, 1);
	assert_int_equal(kill->incarnation, 1);
	no = bed_find(b, HA_FX_ADMIT, "web");
	assert_non_null(no);
	assert_int_equal(no->node, 1);
	assert_int_equal(no->incarnation, 1);
	assert_int_equal(no->code, 0);
	assert_true(status(b, 1).lease_until_ms > b->now);
	assert_int_equal(bed_domain(b, 1, "web")->owner, 2);
	bed_free(b);
}

/* web.3 is to start on n1, where web.1 lives on: no signal ends it. */
static struct bed *bed_in_the_way(void)
{
	struct ha_command maintenance = { .op = HA_OP_MAINTENANCE, .node = 3, .on = true };
	struct bed *b = bed_with_an_old_vmm();

	bed_pass(b, 500);
	bed_command(b, 2, maintenance);
	bed_vmm(b, 2, "web", 2, HA_VMM_EXITED, 1);
	assert_int_equal(bed_domain(b, 1, "web")->owner, 1);
	assert_int_equal(bed_domain(b, 1, "web")->incarnation, 3);
	return b;
}

/* It ends at last, in the very moment in which n1 has said that it does not start web.3. */
static void what_was_declined_is_never_started(void **state)
{
	struct ha_event tick = { .kind = HA_EV_TICK }, end = { .kind = HA_EV_VMM };
	struct bed *b = bed_in_the_way();
	uint64_t declined;

	(void)state;
	while (bed_domain(b, 1, "web")->phase == HA_STARTING)
		bed_pass(b, 50);
	declined = b->now;
	bed_free(b);

	b = bed_in_the_way();
	bed_pass(b, declined - b->now - 50);
	assert_int_equal(bed_domain(b, 1, "web")->phase, HA_STARTING);
	b->now += 50;
	bed_step(b, 0, &tick);
	end.vmm.domain = "web";
	end.vmm.incarnation = 1;
	end.vmm.what = HA_VMM_EXITED;
	end.vmm.end = HA_END_KILLED;
	bed_step(b, 0, &end);
	tick = (struct ha_event){ .kind = HA_EV_TICK };
	bed_step(b, 0, &tick);
	bed_settle(b);
	for (uint32_t i = 0; i < b->n_fx; i++)
		assert_false(b->seen[i].kind == HA_FX_START && b->seen[i].incarnation == 3);
	assert_int_equal(bed_domain(b, 1, "web")->owner, 0); /* it failed twice in a row: it rests */
	bed_free(b);
}

static void a_migration_goes_its_way(void **state)
{
	struct bed *b = web_runs(3);
	struct ha_command move = { .op = HA_OP_MIGRATE, .domain = "web", .node = 3 };
	struct bed_fx *f;

	(void)state;
	assert_int_equal(bed_command(b, 2, move)->code, HA_OK);
	f = bed_find(b, HA_FX_RECEIVE, "web");
	assert_int_equal(f->node, 3);
	assert_int_equal(f->incarnation, 2);
	bed_vmm(b, 3, "web", 2, HA_VMM_INCOMING, 0);
	f = bed_find(b, HA_FX_MIGRATE, "web");
	assert_int_equal(f->node, 1);
	assert_int_equal(f->arg, 2);
	bed_vmm(b, 3, "web", 2, HA_VMM_ASK_COMMIT, 0);
	assert_int_equal(bed_domain(b, 2, "web")->owner, 3);
	bed_vmm(b, 1, "web", 1, HA_VMM_ASK_ABORT, 0);
	f = bed_find(b, HA_FX_DECIDE, "web");
	assert_int_equal(f->arg, 2); /* whoever it is for: incarnation 2 runs */
	assert_int_equal(f->code, true);
	bed_vmm(b, 1, "web", 1, HA_VMM_EXITED, 0);
	bed_vmm(b, 3, "web", 2, HA_VMM_RUNNING, 0);
	bed_pass(b, 1000);
	assert_int_equal(bed_domain(b, 1, "web")->phase, HA_RUNNING);
	assert_null(bed_find(b, HA_FX_KILL, "web"));
	bed_free(b);
}

static void what_a_domain_waits_for_is_said(void **state)
{
	struct bed *b = web_runs(3);
	char why[256];

	(void)state;
	assert_int_equal(ha_core_why(b->core[1], "web", b->now, why, sizeof(why)), 0);
	assert_string_equal(why, "");
	b->cut = 1;
	bed_view(b);
	ha_core_why(b->core[1], "web", b->now, why, sizeof(why));
	assert_non_null(strstr(why, "n1: proof of death"));
	assert_non_null(strstr(why, "its lease is over in"));
	assert_true(ha_core_why(b->core[1], "nothing", b->now, why, sizeof(why)) < 0);
	bed_free(b);
}

/* What is waited for after `stop --force` is not the guest, which nobody asks. */
static void a_stop_by_force_waits_for_its_process_and_says_so(void **state)
{
	struct bed *b = web_runs(3);
	struct ha_command stop = { .op = HA_OP_STOP, .domain = "web" };
	char why[256];

	(void)state;
	bed_command(b, 2, stop);
	ha_core_why(b->core[1], "web", b->now, why, sizeof(why));
	assert_string_equal(why, "its guest to power off on n1");
	stop.force = true;
	bed_command(b, 2, stop);
	ha_core_why(b->core[1], "web", b->now, why, sizeof(why));
	assert_non_null(strstr(why, "n1 to end its VMM by force"));
	assert_null(strstr(why, "power off"));
	bed_free(b);
}

static void a_command_that_is_wrong_is_refused_at_once(void **state)
{
	struct bed *b = bed_new(3);
	struct ha_command bad = { .op = HA_OP_START, .domain = "no such name/" };

	(void)state;
	assert_int_equal(bed_command(b, 1, bad)->code, HA_USAGE);
	bad.domain = "nobody";
	assert_int_equal(bed_command(b, 1, bad)->code, HA_NOT_FOUND);
	bad = add;
	bad.conf_len = HA_CONF_MAX + 1;
	assert_int_equal(bed_command(b, 1, bad)->code, HA_USAGE);
	bed_free(b);
}

static void noise_from_the_group_changes_nothing(void **state)
{
	struct bed *b = bed_new(3);
	struct ha_event ev = { .kind = HA_EV_DELIVER };
	uint8_t noise[64];
	uint64_t hash = status(b, 1).hash;

	(void)state;
	ev.deliver.from = 2;
	ev.deliver.bytes = noise;
	for (uint32_t i = 0; i < 20000; i++) {
		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = (uint8_t)(i * 2654435761u >> (k % 24)) ^ (uint8_t)(k * i);
		noise[0] = HA_MSG_VERSION;
		noise[1] = (uint8_t)(i % 8);
		ev.deliver.len = i % sizeof(noise);
		bed_step(b, 0, &ev);
	}
	b->head = b->tail = 0;
	assert_int_equal(status(b, 1).committed, status(b, 2).committed);
	assert_int_equal(status(b, 1).hash, hash);
	bed_free(b);
}

/* A word of a former daemon, kept on the way: the others would build on a log we do not have. */
static void a_state_that_is_not_ours_is_not_agreed_on(void **state)
{
	struct bed *b = bed_new(3), *other = bed_new(3);
	struct ha_event view = { .kind = HA_EV_VIEW };
	uint32_t ids[] = { 1, 2, 3 };
	struct bed_fx *left;
	struct bed_msg *lie;

	(void)state;
	/* The same host in another cluster: its log is longer, and it promised more. */
	assert_int_equal(bed_command(other, 1, add)->code, HA_OK);
	bed_view(other);
	view.view.nodes = ids;
	view.view.n = 3;
	bed_step(b, 0, &view);
	bed_step(other, 0, &view);
	lie = &other->queue[other->tail - 1];
	for (uint32_t from = 1; from <= 3; from++) {
		struct ha_event said = { .kind = HA_EV_DELIVER };

		said.deliver.from = from;
		said.deliver.bytes = lie->bytes;
		said.deliver.len = lie->len;
		bed_step(b, 0, &said);
	}
	left = bed_find(b, HA_FX_REJOIN, NULL);
	assert_non_null(left);
	assert_int_equal(left->node, 1);
	assert_int_not_equal(status(b, 1).standing, HA_STANDS);
	bed_free(other);
	bed_free(b);
}

/* The same, and the record was moved away since: it is not left out for what it does not have. */
static void nobody_is_left_out_for_a_record_that_is_gone(void **state)
{
	struct bed *b = bed_new(3), *other = bed_new(3);
	struct ha_event view = { .kind = HA_EV_VIEW };
	uint32_t ids[] = { 1, 2, 3 };
	struct bed_fx *left;
	struct bed_msg *lie;

	(void)state;
	assert_int_equal(bed_command(other, 1, add)->code, HA_OK);
	bed_view(other);
	view.view.nodes = ids;
	view.view.n = 3;
	bed_step(other, 0, &view);
	lie = &other->queue[other->tail - 1];
	for (uint32_t i = 0; i < 3; i++)
		bed_step(b, i, &view);
	for (uint32_t i = 0; i < 3; i++) {
		struct ha_event said = { .kind = HA_EV_DELIVER };

		said.deliver.from = 1;
		said.deliver.bytes = lie->bytes;
		said.deliver.len = lie->len;
		bed_step(b, i, &said);
	}
	bed_settle(b);
	left = bed_find(b, HA_FX_REJOIN, NULL);
	assert_non_null(left);
	assert_int_equal(left->node, 1);
	bed_view(b);
	assert_int_equal(status(b, 1).standing, HA_STANDS);
	bed_free(other);
	bed_free(b);
}

static void config(struct bed *b, uint32_t node, struct ha_node_conf *nodes, size_t n)
{
	struct ha_event ev = { .kind = HA_EV_CONFIG };

	ev.config.nodes = nodes;
	ev.config.n = n;
	bed_step(b, node - 1, &ev);
	bed_settle(b);
}

/* Its debt has to be ended by somebody, and it cannot be put back just to be named. */
static void a_host_taken_out_of_the_configuration_is_still_found_and_confirmed(void **state)
{
	struct ha_node_conf left[] = {
		{ .id = 1, .name = "n1", .votes = 1 },
		{ .id = 2, .name = "n2", .votes = 1 },
		{ .id = 4, .name = "n3", .votes = 1 },
	};
	struct bed *b = bed_new(3);
	struct ha_command confirm = { .op = HA_OP_CONFIRM };
	struct bed_fx *reply;

	(void)state;
	b->cut = 1 << 2;
	bed_view(b);
	bed_pass(b, 3000);
	config(b, 1, left, 2);
	config(b, 2, left, 2);
	bed_pass(b, 3000);
	assert_int_equal(ha_core_node_id(b->core[0], "n3"), 3);
	assert_int_equal(ha_core_node_id(b->core[0], "3"), 3);
	assert_int_equal(ha_core_node_id(b->core[0], "node 3"), 3);
	assert_int_equal(ha_core_node_id(b->core[0], "n2"), 2);
	assert_int_equal(ha_core_node_id(b->core[0], "n9"), 0);
	assert_int_equal(ha_core_node_id(b->core[0], "0"), 0);
	assert_int_equal(ha_core_node_id(b->core[0], ""), 0);
	confirm.node = ha_core_node_id(b->core[0], "n3");
	reply = bed_command(b, 1, confirm);
	assert_non_null(reply);
	assert_int_equal(reply->code, HA_OK);
	/* Built anew under its old name: the name is the new host's, the number is the old one's. */
	config(b, 1, left, 3);
	assert_int_equal(ha_core_node_id(b->core[0], "n3"), 4);
	assert_int_equal(ha_core_node_id(b->core[0], "3"), 3);
	left[1].name[1] = '1'; /* copied, and not changed */
	config(b, 1, left, 3);
	assert_int_equal(ha_core_node_id(b->core[0], "n1"), 0);
	assert_int_equal(ha_core_node_id(b->core[0], "2"), 2);
	bed_free(b);
}

/*
 * n3's record is gone, was set aside or removed, and what lies beside it tells of an earlier kernel. A
 * VMM that the new daemon does not find may run on under the lease that the old one had.
 */
static void without_a_record_no_mark_proves_that_nothing_runs(void **state)
{
	struct ha_command there = add;
	struct bed *b = bed_new(3);

	(void)state;
	there.node = 3;
	assert_int_equal(bed_command(b, 1, there)->code, HA_OK);
	bed_vmm(b, 3, "web", 1, HA_VMM_RUNNING, 0);
	bed_boot(b, 2);
	bed_view(b);
	bed_pass(b, 5000);
	assert_int_equal(status(b, 3).standing, HA_STANDS);
	assert_int_equal(bed_domain(b, 1, "web")->owner, 3);
	assert_int_equal(bed_domain(b, 1, "web")->incarnation, 1);
	bed_pass(b, 2000);
	assert_int_equal(bed_domain(b, 1, "web")->incarnation, 2);
	bed_free(b);
}

static uint64_t heard(struct bed *b, uint32_t node, uint32_t id)
{
	struct ha_node_status n;

	for (size_t i = 0; ha_core_node(b->core[node - 1], i, &n); i++)
		if (n.conf.id == id)
			return n.heard_ms;
	return 0;
}

/* As many hosts as there is room for, and another one: who is known and stays is not forgotten for it. */
static void a_new_host_takes_nobodys_place(void **state)
{
	struct ha_node_conf nodes[HA_NODES_MAX] = { 0 };
	struct bed *b = bed_new(3);

	(void)state;
	b->cut = 1 << 2;
	bed_view(b);
	for (uint32_t i = 0; i < HA_NODES_MAX; i++)
		nodes[i] = (struct ha_node_conf){ .id = i + 1, .votes = i < 3 };
	config(b, 1, nodes, HA_NODES_MAX);
	assert_int_not_equal(heard(b, 1, 3), 0);
	/* It was taken out, but it may still have the lease that we acknowledged. */
	nodes[2].id = 100;
	config(b, 1, nodes, HA_NODES_MAX);
	assert_int_not_equal(heard(b, 1, 3), 0);
	nodes[2].id = 3;
	nodes[63].id = 2;
	nodes[1].id = 101;
	bed_pass(b, 10000);
	config(b, 1, nodes, HA_NODES_MAX);
	assert_int_not_equal(heard(b, 1, 3), 0);
	bed_free(b);
}

static uint32_t fencings_of(const struct bed *b, uint32_t id)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->n_fx; i++)
		n += b->seen[i].kind == HA_FX_FENCE && b->seen[i].arg == id;
	return n;
}

/* Three hosts, n3 is lost with a domain; an operator ordered it to be fenced, and no device answers. */
static struct bed *n3_cannot_be_fenced(void)
{
	struct ha_command order = { .op = HA_OP_FENCE, .node = 3 }, there = add;
	struct ha_event done = { .kind = HA_EV_FENCE_DONE };
	struct bed *b = bed_new(3);
	struct bed_fx *fence;

	there.node = 3;
	assert_int_equal(bed_command(b, 1, there)->code, HA_OK);
	bed_vmm(b, 3, "web", 1, HA_VMM_RUNNING, 0);
	bed_crash(b, 1 << 2);
	bed_pass(b, 500);
	assert_int_equal(bed_command(b, 1, order)->code, HA_OK);
	for (int i = 0; i < 2; i++) {
		fence = bed_find(b, HA_FX_FENCE, NULL);
		assert_non_null(fence);
		done.fence_done.node = 3;
		done.fence_done.debt = fence->incarnation;
		done.fence_done.rc = -1;
		bed_step(b, fence->node - 1, &done);
		bed_settle(b);
	}
	return b;
}

/*
 * The device of a host is found by its name.  Built anew, n3 has another number: what is still
 * owed to the old one must not cut the new one's power.
 */
static void nobody_is_fenced_for_having_a_lost_hosts_name(void **state)
{
	struct ha_node_conf nodes[] = {
		{ .id = 1, .name = "n1", .votes = 1 },
		{ .id = 2, .name = "n2", .votes = 1 },
		{ .id = 4, .name = "n3", .votes = 1 },
	};
	struct bed *b = n3_cannot_be_fenced();
	uint32_t before = fencings_of(b, 3);

	(void)state;
	assert_true(before >= 2);
	config(b, 1, nodes, 3);
	config(b, 2, nodes, 3);
	bed_pass(b, 60000);
	assert_int_equal(fencings_of(b, 3), before);
	/* What ran there was freed by waiting all the same. */
	assert_int_not_equal(bed_domain(b, 1, "web")->owner, 3);
	assert_true(ha_core_record(b->core[0])->nodes[2].fence_ordered);
	bed_free(b);
}

/* Or another machine has its number. */
static void nobody_is_fenced_for_having_a_lost_hosts_number(void **state)
{
	struct ha_node_conf nodes[] = {
		{ .id = 1, .name = "n1", .votes = 1 },
		{ .id = 2, .name = "n2", .votes = 1 },
		{ .id = 3, .name = "n4", .votes = 1 },
	};
	struct bed *b = n3_cannot_be_fenced();
	uint32_t before = fencings_of(b, 3);

	(void)state;
	config(b, 1, nodes, 3);
	config(b, 2, nodes, 3);
	bed_pass(b, 60000);
	assert_int_equal(fencings_of(b, 3), before);
	assert_int_not_equal(bed_domain(b, 1, "web")->owner, 3);
	/* The name is its own again: the order stands, and is carried out. */
	nodes[2] = (struct ha_node_conf){ .id = 3, .name = "n3", .votes = 1 };
	config(b, 1, nodes, 3);
	config(b, 2, nodes, 3);
	bed_pass(b, 60000);
	assert_true(fencings_of(b, 3) > before);
	bed_free(b);
}

/* droverd stood still, or the host on which the command was given. */
static void a_word_that_lay_about_is_not_for_a_loss_that_came_later(void **state)
{
	struct bed *b = bed_new(3);
	struct ha_command confirm = { .op = HA_OP_CONFIRM, .node = 3, .asked_ms = b->now + 500 };
	struct ha_command define = {
		.op = HA_OP_ADD,
		.domain = "d0",
		.conf = "x",
		.conf_len = 1,
		.ha = true,
		.started = true,
		.node = 3,
	};
	struct bed_fx *reply;

	(void)state;
	bed_command(b, 1, define);
	b->cut = 1 << 2;
	bed_pass(b, 1000); /* it was said in this second */
	bed_view(b);
	assert_int_not_equal(ha_core_record(b->core[0])->nodes[2].debt, 0);
	b->n_fx = 0;
	reply = bed_command(b, 1, confirm);
	assert_int_equal(reply->code, HA_REFUSED);
	assert_non_null(strstr(reply->text, "look again"));
	assert_int_equal(bed_domain(b, 1, "d0")->owner, 3);
	confirm.asked_ms = b->now;
	b->n_fx = 0;
	assert_int_equal(bed_command(b, 1, confirm)->code, HA_OK);
	assert_int_not_equal(bed_domain(b, 1, "d0")->owner, 3);
	bed_free(b);
}

/* Nor is an order to fence: n3 was lost, came back, and its droverd was stopped in order since. */
static void an_order_to_fence_that_lay_about_is_not_for_who_came_back(void **state)
{
	struct bed *b = bed_new(3);
	struct ha_command fence = { .op = HA_OP_FENCE, .node = 3 };
	struct ha_command define = {
		.op = HA_OP_ADD,
		.domain = "d0",
		.conf = "x",
		.conf_len = 1,
		.ha = true,
		.started = true,
		.node = 3,
	};
	struct bed_fx *reply;
	uint32_t before;

	(void)state;
	bed_command(b, 1, define);
	b->cut = 1 << 2;
	bed_view(b);
	bed_pass(b, 1000);
	fence.asked_ms = b->now; /* ... to a droverd that stands still */
	bed_pass(b, 1000);
	b->cut = 0;
	bed_view(b);
	bed_pass(b, 2000);
	b->cut = b->left = 1 << 2;
	bed_view(b);
	b->n_fx = 0;
	before = fencings_of(b, 3);
	reply = bed_command(b, 1, fence);
	assert_int_equal(reply->code, HA_REFUSED);
	assert_non_null(strstr(reply->text, "look again"));
	bed_pass(b, 4000);
	assert_int_equal(fencings_of(b, 3), before);
	/* Who looked again has it fenced. */
	fence.asked_ms = b->now;
	b->n_fx = 0;
	assert_int_equal(bed_command(b, 1, fence)->code, HA_OK);
	bed_pass(b, 4000);
	assert_true(fencings_of(b, 3) > before);
	bed_free(b);
}

/* The loss is not in the record yet: whoever saw it before droverd did means this one. */
static void an_order_to_fence_may_come_before_its_loss(void **state)
{
	struct bed *b = bed_new(3);
	struct ha_command fence = { .op = HA_OP_FENCE, .node = 3 };

	(void)state;
	b->cut = 1 << 2;
	bed_pass(b, 500);
	fence.asked_ms = b->now;
	bed_pass(b, 500);
	bed_view(b);
	b->n_fx = 0;
	assert_int_equal(bed_command(b, 1, fence)->code, HA_OK);
	bed_pass(b, 4000);
	assert_true(fencings_of(b, 3) > 0);
	bed_free(b);
}

/*
 * A host of another cluster, where it lived longer, is put into this one's corosync.conf and
 * nobody emptied its state directory. Its log is the longest; it is not this cluster's.
 */
static void a_host_with_another_clusters_record_brings_nothing(void **state)
{
	struct bed *b, *other = bed_new(4);
	struct bed_fx *start, *reply;
	struct ha_node_status node;
	struct ha_core *own;

	(void)state;
	for (int i = 0; i < 10; i++)
		bed_view(other);
	bed_pass(other, 1000);
	b = bed_new(4);
	b->now = other->now;
	b->cut = 1 << 3; /* not there yet */
	bed_view(b);
	bed_pass(b, 1000);
	assert_int_equal(bed_command(b, 1, add)->code, HA_OK);
	start = bed_find(b, HA_FX_START, "web");
	bed_vmm(b, start->node, "web", start->incarnation, HA_VMM_RUNNING, 0);
	assert_true(status(other, 4).epoch > status(b, 1).epoch);
	own = b->core[3];
	b->core[3] = other->core[3];
	other->core[3] = own;
	b->cut = 0;
	bed_view(b);
	bed_pass(b, 5000);
	for (uint32_t n = 1; n <= 3; n++) {
		assert_int_equal(status(b, n).standing, HA_STANDS);
		assert_non_null(bed_domain(b, n, "web"));
		assert_int_equal(bed_domain(b, n, "web")->phase, HA_RUNNING);
		assert_true(status(b, n).lease_until_ms > b->now);
	}
	assert_null(bed_find(b, HA_FX_KILL, "web"));
	assert_int_not_equal(status(b, 4).standing, HA_STANDS);
	assert_true(status(b, 4).lease_until_ms <= b->now);
	assert_true(ha_core_node(b->core[0], 3, &node));
	assert_non_null(strstr(node.why, "another cluster"));
	reply = bed_command(b, 4, add);
	assert_int_equal(reply->code, HA_REFUSED);
	assert_non_null(strstr(reply->text, "another cluster"));
	/* Its directory is moved away, and it is as any new host. */
	bed_boot(b, 3);
	bed_view(b);
	bed_pass(b, 9000);
	assert_int_equal(status(b, 4).standing, HA_STANDS);
	assert_int_equal(status(b, 4).hash, status(b, 1).hash);
	assert_true(status(b, 4).lease_until_ms > b->now);
	assert_int_equal(bed_domain(b, 4, "web")->phase, HA_RUNNING);
	bed_free(other);
	bed_free(b);
}

/* Hosts come and go while this daemon lives; the hundredth is as good as the first. */
static void any_number_of_hosts_one_after_the_other(void **state)
{
	struct ha_node_conf nodes[] = {
		{ .id = 1, .name = "n1", .votes = 1 },
		{ .id = 2, .name = "n2", .votes = 1 },
		{ .id = 3, .name = "n3", .votes = 1 },
	};
	struct bed *b = bed_new(3);
	struct ha_status s;

	(void)state;
	b->cut = 1 << 2;
	bed_view(b);
	bed_pass(b, 1000);
	for (uint32_t id = 10; id < 110; id++) {
		nodes[2].id = id;
		snprintf(nodes[2].name, sizeof(nodes[2].name), "h%u", id);
		config(b, 1, nodes, 3);
		assert_int_equal(ha_core_node_id(b->core[0], nodes[2].name), id);
		ha_core_status(b->core[0], &s);
		assert_int_equal(s.needed, 2);
	}
	bed_free(b);
}

/* As many of each: nobody can say which of them is the cluster, and nobody guesses. */
static void of_two_clusters_alike_neither_is_taken(void **state)
{
	struct bed *b = bed_new(2), *other = bed_new(2);
	struct ha_core *own;

	(void)state;
	bed_command(b, 1, add);
	own = b->core[1];
	b->core[1] = other->core[1];
	other->core[1] = own;
	bed_view(b);
	bed_pass(b, 5000);
	for (uint32_t n = 1; n <= 2; n++) {
		assert_int_not_equal(status(b, n).standing, HA_STANDS);
		assert_true(status(b, n).lease_until_ms <= b->now);
	}
	assert_non_null(bed_domain(b, 1, "web"));
	assert_null(bed_domain(b, 2, "web"));
	bed_free(other);
	bed_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_hosts_agree_and_have_leases),
		cmocka_unit_test(a_domain_is_added_started_and_its_text_arrives_everywhere),
		cmocka_unit_test(a_host_cut_off_loses_its_lease_and_takes_no_commands),
		cmocka_unit_test(fencing_makes_the_restart_fast_and_waiting_makes_it_sure),
		cmocka_unit_test(a_daemon_that_leaves_in_order_is_not_fenced),
		cmocka_unit_test(many_starts_wait_their_turn),
		cmocka_unit_test(who_vanishes_without_having_been_silent_did_not_crash),
		cmocka_unit_test(who_vanishes_in_a_stall_is_fenced_when_its_lease_is_over),
		cmocka_unit_test(what_was_seen_of_a_host_is_about_that_loss),
		cmocka_unit_test(a_ghost_of_who_left_in_order_has_not_crashed),
		cmocka_unit_test(hosts_that_vanish_together_get_their_leases_time),
		cmocka_unit_test(an_old_vmm_gets_no_lease_and_its_host_does),
		cmocka_unit_test(what_was_declined_is_never_started),
		cmocka_unit_test(a_migration_goes_its_way),
		cmocka_unit_test(what_a_domain_waits_for_is_said),
		cmocka_unit_test(a_stop_by_force_waits_for_its_process_and_says_so),
		cmocka_unit_test(a_command_that_is_wrong_is_refused_at_once),
		cmocka_unit_test(a_state_that_is_not_ours_is_not_agreed_on),
		cmocka_unit_test(a_host_taken_out_of_the_configuration_is_still_found_and_confirmed),
		cmocka_unit_test(a_word_that_lay_about_is_not_for_a_loss_that_came_later),
		cmocka_unit_test(an_order_to_fence_that_lay_about_is_not_for_who_came_back),
		cmocka_unit_test(an_order_to_fence_may_come_before_its_loss),
		cmocka_unit_test(a_host_with_another_clusters_record_brings_nothing),
		cmocka_unit_test(nobody_is_fenced_for_having_a_lost_hosts_name),
		cmocka_unit_test(nobody_is_fenced_for_having_a_lost_hosts_number),
		cmocka_unit_test(any_number_of_hosts_one_after_the_other),
		cmocka_unit_test(a_new_host_takes_nobodys_place),
		cmocka_unit_test(without_a_record_no_mark_proves_that_nothing_runs),
		cmocka_unit_test(of_two_clusters_alike_neither_is_taken),
		cmocka_unit_test(nobody_is_left_out_for_a_record_that_is_gone),
		cmocka_unit_test(noise_from_the_group_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
