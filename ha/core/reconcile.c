/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reconcile - what the record says against what runs here.
 *
 * Level-triggered: after every step the two are compared, and the difference
 * becomes effects (what this host must do) and proposals (what the others must
 * know).  Nothing is repeated while it is on its way; what does not happen in
 * time is done harder (STOP, then KILL).  There is nothing to forget in a crash.
 *
 * What a VMM of this host is by the record is its role (role.c).
 */
#include "ha/core/core_int.h"

#include <assert.h>
#include <string.h>

bool ha_reported(const struct ha_core *c)
{
	int slot = ha_record_slot(&c->rec, c->me);

	return slot >= 0 && ha_set_has(c->rec.members, slot) && !c->rec.nodes[slot].report_due;
}

static void propose_domain(struct ha_core *c, enum ha_entry_kind kind, const char *domain,
			   uint64_t inc, const char *text)
{
	struct ha_entry *e = ha_log_prepare(c, kind, domain, 0);

	if (!e)
		return;
	e->incarnation = inc;
	ha_copy(e->text, sizeof(e->text), text);
	ha_log_propose(c, e);
}

static void propose_exited(struct ha_core *c, const struct ha_domain *d, enum ha_end end, int rc,
			   const char *text)
{
	struct ha_entry *e = ha_log_prepare(c, HA_E_EXITED, d->name, 0);

	if (!e)
		return;
	e->incarnation = d->incarnation;
	e->end = end;
	e->rc = rc;
	ha_copy(e->text, sizeof(e->text), text);
	ha_log_propose(c, e);
}

/* @why: told as the reason, NULL when nobody will ask */
static void kill_vmm(struct ha_core *c, struct ha_vmm *v, const char *why)
{
	assert(v->used && v->state != V_GONE);
	v->kill_why = why;
	ha_vmm_doom(c, v);
	if (!v->kill_ms || c->now - v->kill_ms >= c->t.kill_again) {
		if (!ha_out_room(c, 1, sizeof(v->name)))
			return;
		ha_out_vmm(c, HA_FX_KILL, v->name, v->incarnation);
		v->kill_ms = c->now;
	}
	ha_wake_at(c, v->kill_ms + c->t.kill_again);
}

/* No signal ends it: who waits for its end has waited long enough. */
static bool does_not_end(struct ha_core *c, const struct ha_vmm *v)
{
	if (!v->doomed_ms)
		return false;
	if (c->now >= v->doomed_ms + c->t.decide)
		return true;
	ha_wake_at(c, v->doomed_ms + c->t.decide);
	return false;
}

/* The outcome of a migration; a VMM that does not follow is killed when it is to end anyway. */
static void decide(struct ha_core *c, struct ha_vmm *v, bool commit, uint64_t winner)
{
	struct ha_effect *fx;

	assert(v->used && v->state != V_GONE && winner);
	if (v->decide_ms && c->now - v->decide_ms < c->t.decide) {
		ha_wake_at(c, v->decide_ms + c->t.decide);
		return;
	}
	if (v->decide_ms && winner != v->incarnation) {
		kill_vmm(c, v, "it did not follow the outcome of its migration");
		return;
	}
	if (!ha_out_room(c, 1, sizeof(v->name)))
		return;
	fx = ha_out_vmm(c, HA_FX_DECIDE, v->name, v->incarnation);
	if (fx) {
		fx->vmm.commit = commit;
		fx->vmm.to_incarnation = winner;
	}
	v->decide_ms = c->now;
	ha_wake_at(c, c->now + c->t.decide);
}

static void stop_vmm(struct ha_core *c, struct ha_vmm *v, const struct ha_domain *d)
{
	struct ha_effect *fx;

	assert(v->used && v->state != V_GONE && d->phase == HA_STOPPING);
	if (v->stop_ms && (!d->force_stop || v->stop_force)) {
		if (c->now - v->stop_ms >= c->t.stop + c->t.stop_kill)
			kill_vmm(c, v, "it did not stop");
		else
			ha_wake_at(c, v->stop_ms + c->t.stop + c->t.stop_kill);
		return;
	}
	if (!ha_out_room(c, 1, sizeof(v->name)))
		return;
	fx = ha_out_vmm(c, HA_FX_STOP, v->name, v->incarnation);
	if (fx) {
		fx->vmm.force = d->force_stop;
		fx->vmm.timeout_ms = c->t.stop;
	}
	v->stop_ms = c->now;
	v->stop_force = d->force_stop;
}

static void cancel_vmm(struct ha_core *c, struct ha_vmm *v)
{
	if (v->cancelled || !ha_out_room(c, 1, sizeof(v->name)))
		return;
	ha_out_vmm(c, HA_FX_CANCEL, v->name, v->incarnation);
	v->cancelled = true;
}

/* We are the source of a migration that is not decided. */
static void send_vmm(struct ha_core *c, struct ha_vmm *v, const struct ha_domain *d)
{
	struct ha_effect *fx;

	assert(d->phase == HA_MIGRATING && d->owner == c->me && d->target_incarnation);
	if (v->ask_abort || (v->move_failed && v->sending == d->target_incarnation)) {
		propose_domain(c, HA_E_ABORT, d->name, d->target_incarnation,
			       v->text[0] || d->dry_run ? v->text : "the source asked to go on");
		return;
	}
	if (v->sending == d->target_incarnation)
		return;
	if (d->move == HA_MOVE_INTENT)
		return;
	if (!ha_lease_valid(c) || v->state != V_UP ||
	    !ha_out_room(c, 1, sizeof(v->name) + HA_ADDR_MAX + 1))
		return;
	fx = ha_out_vmm(c, HA_FX_MIGRATE, v->name, v->incarnation);
	if (fx) {
		fx->vmm.addr = d->addr;
		fx->vmm.peer = d->target;
		fx->vmm.to_incarnation = d->target_incarnation;
		fx->vmm.dry_run = d->dry_run;
	}
	v->sending = d->target_incarnation;
	v->move_failed = v->cancelled = false;
	v->decide_ms = 0;
	v->text[0] = 0;
}

/* An operator's pause: what the VMM says of itself is held against the record, until both say the same. */
static void pause_vmm(struct ha_core *c, struct ha_vmm *v, const struct ha_domain *d)
{
	struct ha_effect *fx;

	if (v->state != V_UP || !v->seen_up || v->held == d->paused || MUTANT(M_PAUSE_FORGOTTEN))
		return;
	if (v->pause_ms && v->pause_on == d->paused && c->now - v->pause_ms < c->t.decide) {
		ha_wake_at(c, v->pause_ms + c->t.decide);
		return;
	}
	if ((!d->paused && !ha_lease_valid(c)) || !ha_out_room(c, 1, sizeof(v->name)))
		return;
	fx = ha_out_vmm(c, HA_FX_PAUSE, v->name, v->incarnation);
	if (!fx)
		return;
	fx->vmm.pause = v->pause_on = d->paused;
	v->pause_ms = c->now;
}

/* It has run for a while, and no migration failed meanwhile: what failed before is forgotten. */
static void forgive(struct ha_core *c, struct ha_vmm *v, const struct ha_domain *d)
{
	uint64_t due;

	assert(d->phase == HA_RUNNING);
	if (v->avoid != d->avoid) {
		v->avoid = d->avoid;
		v->avoid_ms = c->now;
	}
	if (!d->failures && !d->avoid)
		return;
	due = (v->avoid_ms > v->since_ms ? v->avoid_ms : v->since_ms) + c->t.stable;
	if (c->now < due)
		ha_wake_at(c, due);
	else
		propose_domain(c, HA_E_STABLE, d->name, d->incarnation, "");
}

static void do_runner(struct ha_core *c, struct ha_vmm *v, struct ha_domain *d)
{
	assert(d->owner == c->me);
	assert(d->incarnation == v->incarnation || MUTANT(M_IGNORE_INCARNATION)); /* rule H */
	if (v->state == V_GONE) {
		if (ha_reported(c))
			propose_exited(c, d, v->end, v->rc, v->text);
		return;
	}
	/* It asked for this incarnation as a destination, and the log gave it; whatever was ordered
	 * since comes after. */
	if (v->ask_commit && !v->seen_up && ha_lease_valid(c))
		decide(c, v, true, d->incarnation);
	/* It asked as a source, and the log left it with us. */
	if (v->ask_abort && d->phase != HA_MIGRATING) {
		if (ha_lease_valid(c))
			decide(c, v, false, d->incarnation);
		if (d->phase != HA_STOPPING)
			return;
	}
	if (v->sending && d->phase != HA_MIGRATING && !v->ask_abort) {
		if (!v->move_failed)
			cancel_vmm(c, v);
		v->sending = 0;
	}
	if (v->state == V_LAUNCH && c->now - v->since_ms >= c->t.launch)
		kill_vmm(c, v, "it did not say in time that it runs (launch, see `drover ha timings`)");
	else if (v->state == V_LAUNCH)
		ha_wake_at(c, v->since_ms + c->t.launch);

	switch (d->phase) {
	case HA_STARTING:
		if (v->seen_up && ha_reported(c))
			propose_domain(c, HA_E_RUNNING, d->name, d->incarnation, "");
		break;
	case HA_RUNNING:
		pause_vmm(c, v, d);
		forgive(c, v, d);
		break;
	case HA_STOPPING:
		stop_vmm(c, v, d);
		break;
	case HA_MIGRATING:
		send_vmm(c, v, d);
		break;
	case HA_STOPPED:
	case HA_WAITING:
	case HA_BACKOFF:
		assert(!d->owner); /* no owner in these phases */
		break;
	}
}

static void do_incoming(struct ha_core *c, struct ha_vmm *v, struct ha_domain *d)
{
	assert(d->phase == HA_MIGRATING && d->target == c->me && d->owner != c->me);
	assert(d->target_incarnation == v->incarnation);
	if (v->state == V_GONE) {
		propose_domain(c, HA_E_ABORT, d->name, d->target_incarnation,
			       v->text[0] ? v->text : "the destination's VMM ended");
		return;
	}
	if (v->state == V_INCOMING && d->move == HA_MOVE_INTENT)
		propose_domain(c, HA_E_READY, d->name, d->target_incarnation, v->addr);
	if (v->ask_commit) {
		if (MUTANT(M_COMMIT_EARLY))
			decide(c, v, true, d->target_incarnation);
		/* Without a lease it could not run here (rule G), and the source still can: that one asks by itself. */
		if (ha_lease_valid(c))
			propose_domain(c, HA_E_COMMIT, d->name, d->target_incarnation, "");
	}
	if (v->state == V_LAUNCH) {
		if (c->now - v->since_ms >= c->t.ready)
			kill_vmm(c, v, "it was not ready for the migration in time");
		else
			ha_wake_at(c, v->since_ms + c->t.ready);
	}
	/* It may not run without COMMIT, so nobody has to wait for its end (rule H). */
	if (does_not_end(c, v))
		propose_domain(c, HA_E_ABORT, d->name, d->target_incarnation, v->kill_why ? v->kill_why : "");
}

static void do_vmm(struct ha_core *c, struct ha_vmm *v)
{
	struct ha_domain *d;

	switch (ha_vmm_role(c, v, &d)) {
	case R_RUNNER:
		do_runner(c, v, d);
		break;
	case R_INCOMING:
		do_incoming(c, v, d);
		break;
	case R_MOVED:
		if (v->state == V_GONE)
			ha_vmm_drop(c, v);
		else
			decide(c, v, true, d->incarnation);
		break;
	case R_STALE:
		if (v->state == V_GONE)
			ha_vmm_drop(c, v);
		else
			kill_vmm(c, v, NULL);
		break;
	}
}

/* ------------------------------------------------------------------ domains */

static void launch(struct ha_core *c, const struct ha_domain *d, uint32_t i, bool receive)
{
	uint64_t inc = receive ? d->target_incarnation : d->incarnation;
	struct ha_effect *fx;
	struct ha_vmm *v;

	assert(inc && (receive ? d->target : d->owner) == c->me);
	/* Rules G, H: nothing is started without a lease, nor before we told what runs here. */
	if (!ha_lease_valid(c) || !ha_reported(c) || ha_vmm_find(c, d->name) ||
	    !ha_out_room(c, 1, sizeof(d->name)))
		return;
	/*
	 * After the loss of a host many start here at once, each reads its kernel and fills its
	 * memory, and all would be slow together.  Migrations do not wait: their source does.
	 */
	if (!receive && (c->n_launching >= HA_STARTS_MAX || c->declined[i] == inc))
		return;
	v = ha_vmm_add(c, d->name, inc, V_LAUNCH);
	if (!v)
		return;
	v->admission = A_YES; /* START and RECEIVE say so too */
	fx = ha_out_vmm(c, receive ? HA_FX_RECEIVE : HA_FX_START, d->name, inc);
	if (!fx)
		return;
	fx->vmm.conf = ha_text(&c->rec, i);
	fx->vmm.conf_len = d->conf_len;
	fx->vmm.cluster = c->rec.cluster;
	fx->vmm.peer = receive ? d->owner : 0;
	ha_wake_at(c, c->now + (receive ? c->t.ready : c->t.launch));
}

/*
 * A VMM of ours that no signal ends stands where this one should start: start it elsewhere.
 * From saying so on it is never started here, though the old one may end the next moment: the
 * others start it when they read that.
 */
static void give_way(struct ha_core *c, const struct ha_domain *d, uint32_t i)
{
	const struct ha_vmm *v = ha_vmm_find(c, d->name);

	if (v && v->incarnation != d->incarnation && ha_reported(c) && does_not_end(c, v))
		c->declined[i] = d->incarnation;
}

/* The same where a migration is to arrive: the source need not wait for that. */
static void send_back(struct ha_core *c, const struct ha_domain *d)
{
	const struct ha_vmm *v = ha_vmm_find(c, d->name);

	if (v && v->incarnation != d->target_incarnation && ha_reported(c) && does_not_end(c, v))
		propose_domain(c, HA_E_ABORT, d->name, d->target_incarnation, "an old VMM of it could not be killed there");
}

/* The pause doubles with each failure in a row; beyond max_restart it is the longest. */
static uint64_t pause_of(const struct ha_core *c, const struct ha_domain *d)
{
	uint64_t p = c->t.retry_min;

	assert(p && p <= c->t.retry_max); /* what doubles comes to an end */
	if (d->max_restart && d->failures > d->max_restart)
		return c->t.retry_max;
	for (uint32_t i = 1; i < d->failures && p < c->t.retry_max; i++)
		p *= 2;
	return p < c->t.retry_max ? p : c->t.retry_max;
}

/* The lowest member with a lease notices for all that a pause is over. */
static bool i_am_lowest(const struct ha_core *c)
{
	ha_set workers = ha_record_workers(&c->rec);
	uint32_t lowest = UINT32_MAX;

	for (uint32_t i = 0; i < HA_NODES_MAX; i++)
		if (ha_set_has(workers, i) && c->rec.nodes[i].id < lowest)
			lowest = c->rec.nodes[i].id;
	return lowest == c->me;
}

static void do_backoff(struct ha_core *c, const struct ha_domain *d, uint32_t i)
{
	uint64_t due;

	if (!d->used || d->phase != HA_BACKOFF) {
		c->backoff_ms[i] = 0;
		return;
	}
	if (!c->backoff_ms[i])
		c->backoff_ms[i] = c->now ? c->now : 1;
	due = c->backoff_ms[i] + pause_of(c, d);
	if (c->now < due)
		ha_wake_at(c, due);
	else if (i_am_lowest(c))
		propose_domain(c, HA_E_RETRY, d->name, d->incarnation, "");
}

static void do_domain(struct ha_core *c, const struct ha_domain *d, uint32_t i)
{
	do_backoff(c, d, i);
	if (!d->used)
		return;
	if (d->owner == c->me && d->phase == HA_STARTING) {
		launch(c, d, i, false);
		give_way(c, d, i);
		if (c->declined[i] == d->incarnation)
			propose_exited(c, d, HA_END_FAILED, 1, "an old VMM of it could not be killed here");
	} else if (d->phase == HA_MIGRATING && d->target == c->me && d->move == HA_MOVE_INTENT) {
		launch(c, d, i, true);
		send_back(c, d);
	} else if (d->owner == c->me && !ha_vmm_find(c, d->name) && ha_reported(c)) {
		propose_exited(c, d, HA_END_ABSENT, HA_ERROR, "");
	}
}

/* Those that are awake, and while one more may start here, those that are to; by rising slot. */
static uint32_t next_domain(const struct ha_core *c, uint32_t from)
{
	uint32_t awake = ha_bits_next(&c->awake_domains, from), queued = HA_BITS_END;

	if (c->n_launching < HA_STARTS_MAX && ha_lease_valid(c) && ha_reported(c))
		queued = ha_bits_next(&c->queue, from);
	return awake < queued ? awake : queued;
}

void ha_reconcile(struct ha_core *c)
{
	/* Until the epoch stands the record may be old; until VMM_LIST we do not know what runs
	 * here. */
	if (c->form.stage != ST_STANDS || !c->listed)
		return;
	ha_report(c);
	for (uint32_t i = ha_bits_next(&c->awake_vmms, 0); i < c->n_vmms; i = ha_bits_next(&c->awake_vmms, i + 1)) {
		if (c->vmms[i].used)
			do_vmm(c, &c->vmms[i]);
		if (!c->vmms[i].used || ha_rest_vmm(c, &c->vmms[i]))
			ha_bits_drop(&c->awake_vmms, i);
	}
	for (uint32_t i = next_domain(c, 0); i != HA_BITS_END; i = next_domain(c, i + 1)) {
		bool here = i < c->rec.n_domains, queued;

		if (here)
			do_domain(c, &c->rec.domains[i], i);
		else
			c->backoff_ms[i] = 0;
		queued = here && ha_rest_queued(c, i);
		ha_bits_set(&c->queue, i, queued);
		ha_bits_set(&c->awake_domains, i, here && !queued && !ha_rest_domain(c, i));
	}
	ha_drain(c);
}
