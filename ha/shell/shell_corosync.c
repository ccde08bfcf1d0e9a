/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shell_corosync - the shell's three connections to corosync: process group
 * (cpg), quorum, configuration (cmap).
 *
 * corosync may go away and come back: the shell tells the core CPG_LOST and "not
 * quorate", and connects again every RECONNECT_MS, for ever.  Meanwhile nobody
 * renews the lease; domains gate themselves when it ends (rule G).
 */
#include "ha/shell/shell_int.h"

#include "ha/core/record/codec.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/number.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Versions that do not understand each other must not share a group: each would vote the other out for being mute. */
#define GROUP "drover." NUMBER_TEXT(HA_MSG_VERSION)
#define RECONNECT_MS 50
#define SAME_RING_MS 3000 /* CPG may be so far behind votequorum about one ring, or a lease
				 * (2.7 s were measured at token 1000) */
#define LEAVING_MS 2000   /* ... and a droverd that ends on this host, to be out of the group */
#define FORMING_MS 10000  /* at start: how long a running corosync may take to form its ring */

static bool knows_domain(void *arg, const char *name)
{
	const struct shell *s = arg;

	return ha_record_find(ha_core_record(s->core), name) >= 0;
}

static void on_deliver(void *arg, uint32_t from, const void *buf, size_t len)
{
	struct ha_event ev = { .kind = HA_EV_DELIVER,
			       .deliver = { .from = from, .bytes = buf, .len = len } };
	struct shell *s = arg;

	if (!progress_is(buf, len))
		shell_event(s, &ev);
	else if (facts_is(buf, len))
		facts_take(s->facts, from, buf, len);
	else if (from != s->me)
		progress_take(s->progress, buf, len, knows_domain, s);
}

/* How did the ring go since the last look?  Quorum and CPG tell of a new one each in its own time.  False: nobody knows. */
static bool look_at_ring(struct shell *s)
{
	struct cmap_waits now, before = s->waits;
	enum ha_ring ring = HA_RING_CALLED;

	if (!s->cmap || !cmaplink_waits(s->cmap, &now))
		return false;
	if (now.token != before.token)
		ring = HA_RING_SILENT;
	else if (now.answer != before.answer)
		ring = HA_RING_STALLED;
	s->waits = now;
	if (ring == HA_RING_CALLED)
		return true;
	s->ring = ring > s->ring ? ring : s->ring;
	s->ring_ms = clock_ms();
	return true;
}

/* What the view is to say of the ring before it; where corosync does not count, nobody is spared for it. */
static enum ha_ring take_ring(struct shell *s)
{
	uint32_t same_ring = ha_core_timing(s->core)->lease;
	enum ha_ring ring;

	if (!look_at_ring(s))
		return HA_RING_SILENT;
	if (same_ring < SAME_RING_MS)
		same_ring = SAME_RING_MS;
	ring = s->ring && clock_ms() - s->ring_ms < same_ring ? s->ring : HA_RING_CALLED;
	s->ring = HA_RING_CALLED;
	return ring;
}

static void on_view(void *arg, const uint32_t *members, size_t n, const uint32_t *left, size_t n_left)
{
	struct ha_event ev = { .kind = HA_EV_VIEW, .view = { .nodes = members, .n = n, .left = left, .n_left = n_left } };
	struct shell *s = arg;

	ev.view.ring = take_ring(s);
	/* The epoch in which we were still of use is over, and into the next we cannot follow. */
	if (store_failing(s->store))
		shell_step_out(s);
	else
		shell_event(s, &ev);
	shell_facts_due(s);
}

static void on_quorum(void *arg, bool quorate, uint64_t ring_seq, const uint32_t *alive, size_t n)
{
	struct ha_event ev = { .kind = HA_EV_QUORUM, .quorum = { .quorate = quorate, .nodes = alive, .n = n, .ring_seq = ring_seq } };

	look_at_ring(arg);
	shell_event(arg, &ev);
}

static void corosync_lost(struct shell *s, const char *why);

static void on_lost(void *arg, const char *why)
{
	corosync_lost(arg, why);
}

static const struct cpglink_ops cpg_ops = { .deliver = on_deliver, .view = on_view, .lost = on_lost };
static const struct quorumlink_ops quorum_ops = { .changed = on_quorum, .lost = on_lost };

static void give_config(struct shell *s)
{
	struct ha_node_conf nodes[CMAPLINK_NODES_MAX];
	struct ha_event ev = { .kind = HA_EV_CONFIG };
	uint32_t i;

	assert(s->nodes.n_nodes <= CMAPLINK_NODES_MAX && s->booted);
	shell_follow_address(s);
	for (i = 0; i < s->nodes.n_nodes; i++) {
		nodes[i].id = s->nodes.nodes[i].id;
		nodes[i].votes = s->nodes.nodes[i].votes;
		snprintf(nodes[i].name, sizeof(nodes[i].name), "%s", s->nodes.nodes[i].name);
	}
	ev.config.nodes = nodes;
	ev.config.n = s->nodes.n_nodes;
	ev.config.token_ms = s->nodes.token_ms;
	ev.config.witness = shell_witness_id(s);
	shell_event(s, &ev);
}

static void on_config_changed(void *arg)
{
	struct shell *s = arg;
	struct cmap_cluster nodes;
	struct err e = { 0 };

	if (cmaplink_read(s->cmap, &nodes, &e) < 0) {
		shell_problems_nodes(s, e.text);
		return;
	}
	shell_problems_nodes(s, "");
	if (nodes.token_ms != s->nodes.token_ms)
		log_info("corosync's token changed from %u to %u ms", s->nodes.token_ms, nodes.token_ms);
	s->nodes = nodes;
	if (s->booted) {
		give_config(s);
		shell_problems_config(s);
	}
}

/* Close all three links; what else was planned about them stays. */
static void close_links(struct shell *s)
{
	cpglink_close(s->cpg);
	s->cpg = NULL;
	quorumlink_close(s->quorum);
	s->quorum = NULL;
	cmaplink_close(s->cmap);
	s->cmap = NULL;
	s->connected = false;
}

void shell_tell_progress(struct shell *s, const char *name, uint64_t incarnation)
{
	json_t *migration = executor_migration(s->executor, name);
	char message[PROGRESS_MESSAGE_MAX];
	size_t n = progress_note(s->progress, name, incarnation, migration, clock_ms(), message);

	/* A ring that is saturated has better things to carry. */
	if (n && s->cpg && !cpglink_busy(s->cpg))
		cpglink_mcast(s->cpg, message, n);
}

/*
 * A host that cannot remember makes no promise (rule L), and a view in which it is
 * silent costs all others the time to vote it out: it stays outside until it can.
 */
static int join_group(struct shell *s, struct err *e)
{
	return cpglink_open(s->loop, GROUP, !store_failing(s->store), &cpg_ops, s, &s->cpg, e);
}

static int try_connect(struct shell *s, struct err *e)
{
	bool first = !s->booted;
	int rc;

	rc = cmaplink_open(s->loop, on_config_changed, s, &s->cmap, e);
	if (rc == 0)
		rc = cmaplink_read(s->cmap, &s->nodes, e);
	if (rc == 0) {
		look_at_ring(s);
		s->ring = HA_RING_CALLED; /* that was before our time */
		rc = join_group(s, e);
	}
	if (rc == 0)
		rc = quorumlink_open(s->loop, &quorum_ops, s, &s->quorum, e);
	if (rc == 0 && !first && cpglink_me(s->cpg) != s->me)
		rc = err_set(e, -ESTALE, "this host's node id changed from %u to %u: droverd has to start anew",
			     s->me, cpglink_me(s->cpg));
	if (rc == 0 && first) {
		s->me = cpglink_me(s->cpg);
		rc = shell_first_connection(s, e);
	}
	if (rc < 0) {
		close_links(s);
		return rc;
	}
	s->connected = true;
	give_config(s);
	if (first) {
		shell_problems_config(s);
		shell_problems_start(s);
		rc = executor_scan(s->executor, e);
	}
	return rc;
}

static void on_retry(void *data);

static void arm_retry(struct shell *s)
{
	if (!s->retry_armed && qb_loop_timer_add(s->loop, QB_LOOP_HIGH,
						 RECONNECT_MS * QB_TIME_NS_IN_MSEC, s, on_retry,
						 &s->retry) == 0)
		s->retry_armed = true;
}

/* That it is away was told when it went; that it is there and of no use is told once. */
static void tell_retry(struct shell *s, int rc, const char *why)
{
	if (rc == -ECONNREFUSED || rc == -EAGAIN || strncmp(s->retry_told, why, sizeof(s->retry_told) - 1) == 0)
		return;
	text_copy(s->retry_told, sizeof(s->retry_told), why);
	log_error("corosync is there and cannot be used: %s", s->retry_told);
	history_add(&s->history, "alarm", s->retry_told);
}

static void on_retry(void *data)
{
	struct shell *s = data;
	struct err e = { 0 };
	int rc;

	s->retry_armed = false;
	close_links(s);
	rc = try_connect(s, &e);
	if (rc == -ESTALE) {
		shell_stop(s, e.text); /* whoever supervises us starts the next one, under its number */
		return;
	}
	if (rc < 0) {
		tell_retry(s, rc, e.text);
		arm_retry(s);
		return;
	}
	s->retry_told[0] = 0;
	shell_problems_nodes(s, "");
	log_info("connected to corosync again");
}

/* corosync is gone: tell the core, try again soon */
static void corosync_lost(struct shell *s, const char *why)
{
	struct ha_event quorum = { .kind = HA_EV_QUORUM };
	struct ha_event lost = { .kind = HA_EV_CPG_LOST };

	if (!s->connected)
		return;
	s->connected = false;
	log_error("corosync is gone (%s), trying to reach it again", why);
	history_add(&s->history, "alarm", "corosync is gone");
	if (s->cpg)
		cpglink_deafen(s->cpg);
	arm_retry(s);
	shell_event(s, &quorum);
	shell_event(s, &lost);
}

static void rejoin(void *data)
{
	struct shell *s = data;
	struct err e = { 0 };

	s->rejoin_queued = false;
	if (!s->connected)
		return;
	cpglink_close(s->cpg);
	s->cpg = NULL;
	if (join_group(s, &e) < 0)
		corosync_lost(s, e.text);
}

void shell_rejoin_heard(struct shell *s)
{
	if (s->rejoin_queued || !s->cpg)
		return;
	cpglink_mute(s->cpg);
	s->rejoin_queued = qb_loop_job_add(s->loop, QB_LOOP_HIGH, s, rejoin) == 0;
	if (!s->rejoin_queued)
		shell_stop(s, "out of memory");
}

void shell_rejoin(struct shell *s)
{
	if (s->cpg)
		cpglink_deafen(s->cpg);
	shell_rejoin_heard(s);
}

void shell_step_out(struct shell *s)
{
	struct ha_event lost = { .kind = HA_EV_CPG_LOST };

	shell_say(s, true, "outside the group until the record can be written");
	shell_rejoin(s);
	shell_event(s, &lost);
}

/* Whoever started us holds these back until its loop runs (cmd/droverd/main.c). */
static bool told_to_end(void)
{
	sigset_t waiting;

	return sigpending(&waiting) == 0 && (sigismember(&waiting, SIGTERM) == 1 || sigismember(&waiting, SIGINT) == 1);
}

int shell_connect(struct shell *s, uint32_t wait_ms, struct err *e)
{
	uint64_t now = clock_ms(), until = now + wait_ms;
	uint64_t until_formed = now + (wait_ms > FORMING_MS ? wait_ms : FORMING_MS);
	bool told = false;
	int rc;

	for (;;) {
		rc = try_connect(s, e);
		if (rc != -ECONNREFUSED && rc != -EAGAIN && rc != -EBUSY)
			return rc;
		if (clock_ms() >= (rc == -EAGAIN ? until_formed : rc == -EBUSY ? now + LEAVING_MS :
										 until))
			return rc;
		if (told_to_end())
			return err_set(e, -EINTR, "told to end while it waited for corosync");
		if (!told)
			log_info("%s; waiting for it", e->text);
		told = true;
		usleep(RECONNECT_MS * 1000);
	}
}

void shell_disconnect(struct shell *s)
{
	if (s->retry_armed)
		qb_loop_timer_del(s->loop, s->retry);
	s->retry_armed = false;
	if (s->rejoin_queued)
		qb_loop_job_del(s->loop, QB_LOOP_HIGH, s, rejoin);
	s->rejoin_queued = false;
	close_links(s);
}
