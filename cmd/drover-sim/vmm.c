/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm - VMMs as ground truth, whatever the cores believe.
 *
 * A VMM can write while it runs, its host is powered and not stopped, and its
 * gate is open.  Each VMM closes its gate at some moment between the end of the
 * lease in its own page and W later (by its host's clock), drawn once: the worst that rule G
 * permits.  A host that was stopped beyond that cannot write when it goes on:
 * that is what the watchdog is for, and the assumption stands in docs/ha.md.
 *
 * A migration takes its steps here as the engine does: copy, STOP, GRANT; after
 * GRANT either side asks its own daemon, and only its answer lets it run.
 */
#include "cmd/drover-sim/sim.h"

#include <string.h>

enum act {
	ACT_RUNNING,
	ACT_FAIL,
	ACT_EXIT,
	ACT_CRASH,
	ACT_KILLED,
	ACT_POWEROFF,
	ACT_INCOMING,
	ACT_LIST,
	ACT_RUN_ON,
	ACT_NONE
};

static uint64_t host_clock_us(const struct sim *s, uint32_t h)
{
	const struct sim_host *x = &s->host[h];
	uint64_t real = s->now - x->boot_at;

	return x->clock_base_us + (uint64_t)((int64_t)real + (int64_t)real * x->rate_ppm / 1000000);
}

uint64_t vmm_gate_us(const struct sim *s, uint32_t h, uint32_t d)
{
	return s->host[h].vmm[d].gate_ms * s->host[h].vmm[d].gate_part;
}

/* Could this VMM write now or later without any new lease or decision? */
static bool may_write(const struct sim *s, uint32_t h, const struct sim_vmm *v)
{
	const struct sim_host *x = &s->host[h];

	return v->state == VM_RUN && x->up &&
	       host_clock_us(s, h) <= v->lease_ms * 1000 + v->gate_ms * v->gate_part;
}

bool vmm_can_write(const struct sim *s, uint32_t h, uint32_t d)
{
	return !s->host[h].paused && may_write(s, h, &s->host[h].vmm[d]);
}

bool vmm_hidden_may_write(const struct sim *s, uint32_t h, uint32_t d)
{
	return may_write(s, h, &s->host[h].hidden[d]);
}

/* What it says of itself when it is asked; a pause counts before anything else that holds it. */
static enum ha_vmm_what what_of(const struct sim *s, uint32_t h, uint32_t d)
{
	const struct sim_vmm *v = &s->host[h].vmm[d];

	if (v->paused)
		return HA_VMM_HELD;
	if (v->state != VM_RUN)
		return HA_VMM_PAUSED;
	return vmm_can_write(s, h, d) ? HA_VMM_RUNNING : HA_VMM_GATED;
}

static void tell(struct sim *s, uint32_t h, uint32_t d, enum ha_vmm_what what, uint64_t incarnation,
		 int rc)
{
	struct sim_in in = {
		.kind = HA_EV_VMM, .dom = d, .what = what, .incarnation = incarnation, .rc = rc
	};

	host_give(s, h, &in);
}

static void later(struct sim *s, uint32_t h, uint32_t d, enum act act, uint64_t delay)
{
	sim_at(s, delay, EV_VMM, h, d, s->host[h].vmm[d].gen, act);
}

static void vmm_new(struct sim *s, uint32_t h, uint32_t d, uint64_t incarnation,
		    enum sim_vmm_state state)
{
	struct sim_vmm *v = &s->host[h].vmm[d];

	*v = (struct sim_vmm){
		.state = state,
		.incarnation = incarnation,
		.gen = v->gen + 1,
		.admitted = true,
		.lease_ms = s->host[h].lease_ms,
		.gate_ms = s->host[h].gate_ms,
		.gate_part = (uint32_t)sim_range(s, 0, 1000),
	};
}

void vmm_lease(struct sim *s, uint32_t h, uint64_t until_ms)
{
	struct sim_host *x = &s->host[h];

	x->lease_ms = until_ms;
	for (uint32_t d = 0; d < SIM_DOMAINS; d++) {
		if (!x->vmm[d].admitted)
			continue;
		x->vmm[d].lease_ms = until_ms;
		x->vmm[d].gate_ms = x->gate_ms;
	}
}

void vmm_daemon_died(struct sim *s, uint32_t h)
{
	for (uint32_t d = 0; d < SIM_DOMAINS; d++)
		s->host[h].vmm[d].admitted = false;
}

/* A page that is taken back is looked at like one that ended just now. */
static void admit(struct sim *s, uint32_t h, struct sim_vmm *v, const struct ha_effect *fx)
{
	const struct sim_host *x = &s->host[h];
	uint64_t now = host_now(s, h);

	if (v->state == VM_NONE || v->incarnation != fx->vmm.incarnation)
		return;
	v->admitted = fx->vmm.admit;
	if (v->admitted && v->lease_ms < x->lease_ms) {
		v->lease_ms = x->lease_ms;
		v->gate_ms = x->gate_ms;
	} else if (!v->admitted && v->lease_ms > now) {
		v->lease_ms = now;
	}
}

static void tell_end(struct sim *s, uint32_t h, uint32_t d, uint64_t incarnation, enum ha_end end)
{
	struct sim_in in = {
		.kind = HA_EV_VMM, .dom = d, .what = HA_VMM_EXITED, .incarnation = incarnation, .end = end
	};

	host_give(s, h, &in);
}

static void vmm_end(struct sim *s, uint32_t h, uint32_t d, enum ha_end end)
{
	struct sim_vmm *v = &s->host[h].vmm[d];
	uint64_t incarnation = v->incarnation;

	if (v->state == VM_NONE)
		return;
	*v = (struct sim_vmm){ .gen = v->gen + 1 };
	sim_trace(s, "n%u: VMM %s.%llu ends: %s", s->host[h].id, sim_dom_name(d),
		  (unsigned long long)incarnation, ha_end_str(end));
	tell_end(s, h, d, incarnation, end);
}

void vmm_host_died(struct sim *s, uint32_t h)
{
	for (uint32_t d = 0; d < SIM_DOMAINS; d++)
		s->host[h].vmm[d] = (struct sim_vmm){ .gen = s->host[h].vmm[d].gen + 1 };
	memset(s->host[h].hidden, 0, sizeof(s->host[h].hidden));
	s->host[h].hides = s->host[h].had_daemon = false;
}

/* Its run directory was moved: they run on, by themselves, as long as their lease lasts. */
static void hide(struct sim_host *x)
{
	for (uint32_t d = 0; d < SIM_DOMAINS; d++) {
		struct sim_vmm *v = &x->vmm[d];

		if (v->state == VM_RUN || (v->state == VM_STARTING && !v->incoming)) {
			x->hidden[d] = *v;
			x->hidden[d].state = VM_RUN;
		}
		*v = (struct sim_vmm){ .gen = v->gen + 1 };
	}
	x->hides = false;
}

static void scan_now(struct sim *s, uint32_t h)
{
	struct sim_in in = { .kind = HA_EV_VMM_LIST };

	if (s->host[h].unlisted) {
		sim_at(s, 500 * MS, EV_VMM, h, SIM_DOMAINS, s->host[h].gen, ACT_LIST);
		return;
	}
	for (uint32_t d = 0; d < s->o.domains; d++) {
		struct sim_vmm *v = &s->host[h].vmm[d];

		switch (v->state) {
		case VM_NONE:
			break;
		case VM_STARTING:
			tell(s, h, d, HA_VMM_STARTING, v->incarnation, 0);
			break;
		case VM_RUN:
		case VM_STOPPHASE:
			tell(s, h, d, what_of(s, h, d), v->incarnation, 0);
			break;
		case VM_GRANTED:
			tell(s, h, d, HA_VMM_PAUSED, v->incarnation, 0);
			if (v->asked)
				tell(s, h, d, HA_VMM_ASK_ABORT, v->incarnation, 0);
			break;
		case VM_INCOMING:
			tell(s, h, d, HA_VMM_INCOMING, v->incarnation, 0);
			break;
		case VM_ASKING:
			tell(s, h, d, HA_VMM_INCOMING, v->incarnation, 0);
			tell(s, h, d, HA_VMM_ASK_COMMIT, v->incarnation, 0);
			break;
		}
	}
	host_give(s, h, &in);
}

void vmm_scan(struct sim *s, uint32_t h)
{
	if (s->host[h].hides)
		hide(&s->host[h]);
	if (sim_chance(s, 70))
		scan_now(s, h);
	else
		sim_at(s, sim_range(s, 1 * MS, 1500 * MS), EV_VMM, h, SIM_DOMAINS, s->host[h].gen,
		       ACT_LIST);
}

/* ---------------------------------------------------------------- migration */

static bool path(const struct sim *s, uint32_t a, uint32_t b)
{
	return s->host[a].up && s->host[b].up && s->link[a][b] && s->link[b][a];
}

static struct sim_vmm *destination(struct sim *s, const struct sim_vmm *v, uint32_t d)
{
	struct sim_vmm *w = &s->host[v->peer].vmm[d];

	return w->incarnation == v->peer_incarnation ? w : NULL;
}

/* Before GRANT: the source runs on, the destination ends. */
static void move_fail(struct sim *s, uint32_t h, uint32_t d)
{
	struct sim_vmm *v = &s->host[h].vmm[d];
	struct sim_vmm *w = destination(s, v, d);

	v->state = VM_RUN;
	v->peer_incarnation = 0;
	tell(s, h, d, HA_VMM_MIGRATE_FAILED, v->incarnation, 1);
	if (w && w->state == VM_INCOMING && path(s, h, v->peer))
		later(s, v->peer, d, ACT_CRASH, sim_range(s, 1 * MS, 50 * MS));
}

static void move(struct sim *s, const struct sim_ev *ev)
{
	uint32_t h = ev->h, d = (uint32_t)ev->a & 0xff, stage = (uint32_t)(ev->a >> 8);
	struct sim_host *x = &s->host[h];
	struct sim_vmm *v = &x->vmm[d], *w;

	if (v->gen != ev->b || !x->up || v->peer_incarnation != ev->c)
		return;
	if (x->paused) {
		sim_at(s, 20 * MS, EV_MOVE, h, ev->a, ev->b, ev->c);
		return;
	}
	w = destination(s, v, d);
	if (stage == 2) {
		if (v->state == VM_GRANTED) {
			v->asked = true;
			tell(s, h, d, HA_VMM_ASK_ABORT, v->incarnation, 0);
		}
		return;
	}
	if (v->state != (stage ? VM_STOPPHASE : VM_RUN))
		return;
	if (!w || w->state != VM_INCOMING || !path(s, h, v->peer) ||
	    v->dry_run || (!s->quiet_world && sim_chance(s, 5))) {
		move_fail(s, h, d);
		return;
	}
	if (!stage) {
		v->state = VM_STOPPHASE;
		tell(s, h, d, what_of(s, h, d), v->incarnation, 0);
		sim_at(s, sim_range(s, 5 * MS, 60 * MS), EV_MOVE, h, d | 1 << 8, ev->b, ev->c);
		return;
	}
	v->state = VM_GRANTED;
	w->paused = v->paused;
	sim_trace(s, "n%u: %s.%llu GRANT", x->id, sim_dom_name(d),
		  (unsigned long long)v->incarnation);
	if (s->quiet_world || !sim_chance(s, 15)) {
		w->state = VM_ASKING;
		tell(s, v->peer, d, HA_VMM_ASK_COMMIT, w->incarnation, 0);
	}
	sim_at(s, s->quiet_world ? 5 * SEC : sim_range(s, 1 * MS, 600 * MS), EV_MOVE, h, d | 2 << 8,
	       ev->b, ev->c);
}

static void migrate(struct sim *s, uint32_t h, uint32_t d, const struct ha_effect *fx)
{
	struct sim_vmm *v = &s->host[h].vmm[d];

	s->n_moves++;
	if (v->state != VM_RUN || v->incarnation != fx->vmm.incarnation) {
		tell(s, h, d, HA_VMM_MIGRATE_FAILED, fx->vmm.incarnation, 1);
		return;
	}
	v->peer = fx->vmm.peer - 1;
	v->peer_incarnation = fx->vmm.to_incarnation;
	v->asked = false;
	v->dry_run = fx->vmm.dry_run;
	sim_at(s, sim_range(s, 30 * MS, 2000 * MS), EV_MOVE, h, d, v->gen, v->peer_incarnation);
}

static void decide(struct sim *s, uint32_t h, uint32_t d, const struct ha_effect *fx)
{
	struct sim_vmm *v = &s->host[h].vmm[d];

	if (v->incarnation != fx->vmm.incarnation)
		return;
	if (v->state == VM_ASKING && fx->vmm.commit) {
		v->state = VM_RUN;
		v->incoming = false;
		s->n_commits++;
		later(s, h, d, ACT_RUN_ON, sim_range(s, 100, 5 * MS));
	} else if (v->state == VM_GRANTED && !fx->vmm.commit) {
		v->state = VM_RUN;
		v->peer_incarnation = 0;
		v->asked = false;
		later(s, h, d, ACT_RUN_ON, sim_range(s, 100, 5 * MS));
	} else if (v->state == VM_GRANTED && fx->vmm.commit) {
		later(s, h, d, ACT_EXIT, sim_range(s, 100, 30 * MS));
	}
}

static void pause_vmm(struct sim *s, uint32_t h, uint32_t d, const struct ha_effect *fx)
{
	struct sim_vmm *v = &s->host[h].vmm[d];

	/* It may be lost on the way; what a VMM says is not, or its daemon asks again. */
	if (v->state < VM_RUN || v->state > VM_GRANTED || v->incarnation != fx->vmm.incarnation ||
	    (!s->quiet_world && sim_chance(s, 10)))
		return;
	v->paused = fx->vmm.pause;
	later(s, h, d, ACT_RUN_ON, sim_range(s, 100, 5 * MS));
}

/* ------------------------------------------------------------------ effects */

static void start(struct sim *s, uint32_t h, uint32_t d, const struct ha_effect *fx, bool receive)
{
	struct sim_vmm *v = &s->host[h].vmm[d];

	if (v->state != VM_NONE) {
		sim_fail(s, "SHELL", "n%u told to start %s.%llu while %s.%llu exists there", h + 1,
			 sim_dom_name(d), (unsigned long long)fx->vmm.incarnation, sim_dom_name(d),
			 (unsigned long long)v->incarnation);
		return;
	}
	s->n_starts++;
	if (s->quiet_world)
		s->starts_quiet[d]++;
	vmm_new(s, h, d, fx->vmm.incarnation, VM_STARTING);
	v->incoming = receive;
	if ((s->unfit[d] >> h & 1) || (!s->quiet_world && sim_chance(s, s->o.start_fail_percent)))
		later(s, h, d, ACT_CRASH, sim_range(s, 5 * MS, 300 * MS));
	else
		later(s, h, d, receive ? ACT_INCOMING : ACT_RUNNING,
		      sim_range(s, 30 * MS, 400 * MS));
}

void vmm_effect(struct sim *s, uint32_t h, const struct ha_effect *fx)
{
	struct sim_host *x = &s->host[h];
	uint32_t d;

	if (fx->kind == HA_FX_FENCE) {
		fence_start(s, h, fx);
		return;
	}
	if (fx->kind == HA_FX_FENCE_CANCEL)
		return; /* an agent that is under way may still do it: the worst case */
	d = sim_dom(fx->vmm.name);
	switch (fx->kind) {
	case HA_FX_ADMIT:
		admit(s, h, &x->vmm[d], fx);
		break;
	case HA_FX_START:
		start(s, h, d, fx, false);
		break;
	case HA_FX_RECEIVE:
		start(s, h, d, fx, true);
		break;
	case HA_FX_STOP:
	case HA_FX_KILL:
		if (x->vmm[d].state == VM_NONE) {
			sim_at(s, 1 * MS, EV_VMM, h, d, x->vmm[d].gen, ACT_NONE);
			break;
		}
		if (x->unkillable)
			break;
		later(s, h, d, fx->kind == HA_FX_STOP ? ACT_EXIT : ACT_KILLED,
		      sim_range(s, 1 * MS, sim_chance(s, 5) ? 3000 * MS : 80 * MS));
		break;
	case HA_FX_MIGRATE:
		migrate(s, h, d, fx);
		break;
	case HA_FX_CANCEL:
		if (x->vmm[d].peer_incarnation &&
		    (x->vmm[d].state == VM_RUN || x->vmm[d].state == VM_STOPPHASE))
			later(s, h, d, ACT_FAIL, 1 * MS);
		break;
	case HA_FX_PAUSE:
		pause_vmm(s, h, d, fx);
		break;
	case HA_FX_DECIDE:
		decide(s, h, d, fx);
		break;
	default:
		break;
	}
}

void vmm_ends(struct sim *s, uint32_t h, uint32_t d, bool power_off)
{
	if (s->host[h].vmm[d].state != VM_NONE && !s->host[h].paused)
		later(s, h, d, power_off ? ACT_POWEROFF : ACT_CRASH, 0);
}

void vmm_event(struct sim *s, const struct sim_ev *ev)
{
	struct sim_host *x = &s->host[ev->h];
	uint32_t d = (uint32_t)ev->a;
	enum act act = (enum act)ev->c;
	struct sim_vmm *v;

	if (ev->kind == EV_MOVE) {
		move(s, ev);
		return;
	}
	if (act == ACT_LIST) {
		if (x->daemon && x->gen == ev->b)
			scan_now(s, ev->h);
		return;
	}
	v = &x->vmm[d];
	if (!x->up || v->gen != ev->b)
		return;
	if (x->paused) {
		sim_at(s, 20 * MS, EV_VMM, ev->h, ev->a, ev->b, ev->c);
		return;
	}
	switch (act) {
	case ACT_RUNNING:
		if (v->state == VM_STARTING)
			v->state = VM_RUN;
		/* fall through */
	case ACT_RUN_ON:
		if (v->state == VM_RUN || v->state == VM_STOPPHASE)
			tell(s, ev->h, d, what_of(s, ev->h, d), v->incarnation, 0);
		break;
	case ACT_INCOMING:
		v->state = VM_INCOMING;
		tell(s, ev->h, d, HA_VMM_INCOMING, v->incarnation, 0);
		break;
	case ACT_FAIL:
		if (v->state == VM_RUN || v->state == VM_STOPPHASE)
			move_fail(s, ev->h, d);
		break;
	case ACT_EXIT:
		vmm_end(s, ev->h, d, v->state == VM_GRANTED ? HA_END_MOVED : HA_END_ASKED);
		break;
	case ACT_CRASH:
		vmm_end(s, ev->h, d, HA_END_FAILED);
		break;
	case ACT_POWEROFF:
		if (v->state != VM_RUN || !vmm_can_write(s, ev->h, d) || v->paused)
			break; /* a guest that stands still does nothing */
		s->powered_off[d] = true;
		vmm_end(s, ev->h, d, HA_END_POWEROFF);
		break;
	case ACT_KILLED:
		vmm_end(s, ev->h, d, HA_END_KILLED);
		break;
	case ACT_NONE:
		tell_end(s, ev->h, d, 0, HA_END_ABSENT);
		break;
	case ACT_LIST:
		break;
	}
}
