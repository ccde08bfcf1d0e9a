/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report - what the world gets to see of a migration, and what its phases mean
 * for the domain's state (docs/control.md).
 */
#include "cmd/drover-hv/migration.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define LINGER_NS (500 * NS_PER_MS)   /* for clients that ask once more */
#define PROGRESS_NS (200 * NS_PER_MS) /* a progress line that moves; most migrations take a second or two */

static const char *outcome_text(const struct migrate_stats *st)
{
	switch (st->phase) {
	case MIGRATE_COMMITTED:
	case MIGRATE_DONE:
		return "commit";
	case MIGRATE_FAILED:
	case MIGRATE_CANCELLED:
		return "abort";
	default:
		return NULL;
	}
}

static json_t *limits(const struct migrate_stats *st)
{
	return json_pack("{s:i, s:I, s:I, s:i}", "downtime_ms", (int)st->limits.downtime_ms,
			 "timeout_ms", (json_int_t)st->limits.timeout_ms,
			 "bandwidth", (json_int_t)st->limits.bandwidth, "throttle", (int)st->limits.throttle);
}

static json_t *to_json(const struct migration *m, const struct migrate_stats *st)
{
	json_t *j = json_object();
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "round", st->round },
		{ "channels", st->channels },
		{ "total", st->total },
		{ "done", st->done },
		{ "sent", st->sent },
		{ "zero", st->pages_zero * GUEST_PAGE },
		{ "pages_raw", st->pages_raw },
		{ "pages_lz4", st->pages_lz4 },
		{ "pages_zero", st->pages_zero },
		{ "remaining", st->remaining },
		{ "dirty_rate", st->dirty_rate },
		{ "rate", st->rate },
		{ "throttle", st->throttle },
		{ "last_pages", st->last_pages },
	};
	const struct {
		const char *name;
		uint64_t us;
	} times[] = {
		{ "total_ms", st->total_us },
		{ "downtime_ms", st->downtime_us },
		{ "expected_downtime_ms", st->expected_downtime_us },
		{ "pause_ms", st->pause_us },
		{ "last_ms", st->last_us },
		{ "state_ms", st->state_us },
		{ "commit_ms", st->commit_us },
	};
	size_t i;

	json_object_set_new(j, "role",
			    json_string(st->role == MIGRATE_SOURCE ? "source" : "destination"));
	json_object_set_new(j, "phase", json_string(migrate_phase_name(st->phase)));
	json_object_set_new(j, "peer", json_string(st->peer));
	json_object_set_new(j, "incarnation", json_integer((json_int_t)atomic_load(&m->incarnation)));
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(j, numbers[i].name, json_integer((json_int_t)numbers[i].value));
	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		json_object_set_new(j, times[i].name, json_real((double)times[i].us / 1000.0));
	json_object_set_new(j, "converging", json_boolean(st->converging));
	if (st->role == MIGRATE_SOURCE)
		json_object_set_new(j, "limits", limits(st));
	if (st->dry_run)
		json_object_set_new(j, "dry_run", json_true());
	if (outcome_text(st))
		json_object_set_new(j, "outcome", json_string(outcome_text(st)));
	if (st->text[0])
		json_object_set_new(j, "error", json_string(st->text));
	return j;
}

static void get_stats(struct migration *m, struct migrate_stats *st)
{
	if (m->source)
		source_stats(m->source, st);
	else
		destination_stats(m->destination, st);
}

static bool is_over(const struct migrate_stats *st)
{
	return st->phase == MIGRATE_DONE || st->phase == MIGRATE_FAILED || st->phase == MIGRATE_CANCELLED;
}

void report_stats(struct drover_hv *v, json_t *answer)
{
	struct migration *m = v->migration;
	struct migrate_stats st;

	if (!m || (!m->source && !m->destination))
		return;
	get_stats(m, &st);
	if (m->started && is_over(&st)) { /* its last step is done, and report_end() tells in a moment */
		st.phase = m->shown;
		st.error = 0;
		st.text[0] = '\0';
	}
	json_object_set_new(answer, "migration", to_json(m, &st));
}

void report_query(struct drover_hv *v, json_t *answer)
{
	struct migration *m = v->migration;

	if (m && m->listener)
		json_object_set_new(answer, "listen", json_string(stream_listener_address(m->listener)));
	report_stats(v, answer);
}

/* --- phases, on the main thread --- */

static void say_moved(const struct migration *m, const struct migrate_stats *st)
{
	if (st->error)
		log_error("moved to %s, and does not run there: %s", st->peer, st->text);
	else
		log_info("moved to %s in %.1f ms, stopped for %.2f ms", st->peer, (double)st->total_us / 1e3,
			 (double)st->downtime_us / 1e3);
}

/* The domain is this side's again; @why it does not run yet, "" for nothing in the way. */
static void stands(struct drover_hv *v, const char *why)
{
	snprintf(v->stands_why, sizeof(v->stands_why), "%s", why);
	if (v->state == VMM_GRANTED)
		v->state = VMM_PAUSED;
	vmm_update_state(v);
}

static void source_phase(struct drover_hv *v, const struct migrate_stats *st)
{
	struct migration *m = v->migration;

	switch (st->phase) {
	case MIGRATE_GRANT:
		vmm_set_state(v, VMM_GRANTED, "migration");
		break;
	case MIGRATE_IN_DOUBT:
		vmm_set_state(v, VMM_GRANTED, "in doubt");
		log_error("%s", st->text);
		break;
	case MIGRATE_DONE:
		say_moved(m, st);
		vmm_set_state(v, VMM_GONE, "migration");
		loop_timer_set(m->linger, clock_ns() + LINGER_NS);
		break;
	case MIGRATE_TAKE_BACK:
		log_error("%s", st->text);
		stands(v, st->text);
		break;
	case MIGRATE_FAILED:
	case MIGRATE_CANCELLED:
		if (st->dry_run && !st->error)
			log_info("dry run: the domain could move to %s", st->peer);
		else
			log_warn("migration to %s: %s", m->to, st->text);
		/* Whoever holds it decides; a source that may never run again (EPERM) still does so itself. */
		stands(v, machine_holders(v->machine) & HOLD_MIGRATION ? st->text : "");
		break;
	default:
		vmm_update_state(v);
	}
}

static void destination_phase(struct drover_hv *v, const struct migrate_stats *st)
{
	struct migration *m = v->migration;

	switch (st->phase) {
	case MIGRATE_IN_DOUBT:
		log_error("%s", st->text);
		break;
	case MIGRATE_COMMITTED: /* told once it runs */
		v->incarnation = m->incarnation;
		v->state = VMM_PAUSED;
		vmm_update_state(v);
		vmm_announce(v);
		break;
	case MIGRATE_DONE:
		log_info("received from %s", st->peer);
		break;
	default:
		break;
	}
}

static void say_phase(struct migration *m, const struct migrate_stats *st)
{
	if (m->role == MIGRATE_SOURCE)
		source_phase(m->v, st);
	else
		destination_phase(m->v, st);
}

static void tell(struct migration *m, const struct migrate_stats *st)
{
	m->shown = st->phase;
	say_phase(m, st);
	ctl_event(m->v->ctl, "migration", to_json(m, st));
}

void report_end(struct migration *m)
{
	struct migrate_stats st;

	assert(!m->started);
	get_stats(m, &st);
	if (is_over(&st)) /* else it was given up in doubt, which has been told */
		tell(m, &st);
}

struct news {
	struct migration *m;
	struct migrate_stats st;
};

static void deliver(void *arg)
{
	const struct news *n = arg;

	tell(n->m, &n->st);
}

void report_notify(void *arg, const struct migrate_stats *st)
{
	struct migration *m = arg;
	uint64_t now = clock_ns();
	struct news n = { m, *st };

	if (is_over(st))
		return;
	/* Changes of phase at once, all else five times a second. */
	if (m->told && st->phase == m->last_phase && now - m->last_event_ns < PROGRESS_NS)
		return;
	m->told = true;
	m->last_phase = st->phase;
	m->last_event_ns = now;
	/* Without memory this one is not told; the next is. */
	loop_post_copy(m->v->loop, deliver, &n, sizeof(n));
}
