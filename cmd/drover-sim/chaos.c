/* SPDX-License-Identifier: Apache-2.0 */
/* chaos - random schedules: faults and commands for a while, then peace, then everything must be
 * well. */
#include "cmd/drover-sim/sim.h"

#include <string.h>

static void next(struct sim *s)
{
	sim_at(s, sim_range(s, 20 * MS, sim_chance(s, 20) ? 4000 * MS : 900 * MS), EV_CHAOS, 0, 0,
	       0, 0);
}

/* Most clusters have a vote for each host; some have a host that counts for more. */
static void draw_votes(struct sim *s)
{
	for (uint32_t h = 0; h < s->o.hosts; h++)
		s->conf.votes[h] = (uint32_t)sim_range(s, 1, 3);
	conf_write(s, sim_all(s));
}

static void chaos_begin(struct sim *s)
{
	if (sim_chance(s, 20))
		draw_votes(s);
	else if (s->o.hosts > 2)
		s->reconfigures = sim_chance(s, 15);
	for (uint32_t h = 0; h < s->o.hosts; h++)
		host_power_on(s, h);
	sim_at(s, 3 * SEC, EV_CHAOS, 0, 1, 0, 0);
}

static uint32_t any_host(struct sim *s)
{
	return (uint32_t)sim_range(s, 0, s->o.hosts - 1);
}

static void cut(struct sim *s)
{
	uint32_t side;
	bool one_way = sim_chance(s, 25);

	if (s->o.hosts < 2)
		return;
	side = (uint32_t)sim_range(s, 1, sim_all(s) - 1);

	sim_trace(s, "network cut, hosts %x against the rest%s", side, one_way ? ", one way" : "");
	net_cut(s, side, one_way);
}

/*
 * Of a host whose disk is away or old nothing is known: one at a time, as the others hold what was
 * committed, and only where they can agree without it.
 */
static bool expendable(struct sim *s, uint32_t h)
{
	uint32_t others = sim_all(s) & ~(1u << h);

	if (s->reconfigures || (s->filled & others) != others)
		return false;
	/* With a witness it may be one of two, and have gone on alone (forgotten()). */
	return s->o.witness ? !conf_majority(&s->conf, 1u << h) : conf_majority(&s->conf, ~(1u << h));
}

/* What was committed may be lost, and with it goes all that may be expected. */
static void expect_nothing(struct sim *s)
{
	check_memory_anew(s);
	memset(s->seen, 0, SEEN_MAX * sizeof(*s->seen));
	memset(s->once, 0, sizeof(s->once));
	s->filled = 0;
	for (uint32_t d = 0; d < SIM_DOMAINS; d++) {
		s->added[d] = false;
		s->removed[d] = s->stop_asked[d] = true;
		for (uint32_t k = 0; k < WISH_KINDS; k++)
			s->wishes[k][d].unknown = true;
	}
}

/* Whatever a majority had. */
static void disks_lost(struct sim *s)
{
	uint32_t lost = (uint32_t)sim_range(s, 1, sim_all(s));

	sim_trace(s, "disks of hosts %x are restored at once", lost);
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		struct sim_host *x = &s->host[h];

		if (sim_chance(s, 25))
			host_power_off(s, h, "disks lost");
		else
			host_daemon_crash(s, h);
		/* Where a majority has nothing at all a new cluster begins (docs/ha.md). */
		if ((lost >> h & 1) && x->backup.n && !x->foreign)
			disk_restore(x);
	}
	expect_nothing(s);
}

/* What stands in /var/lib is not what droverd left there; its host was off, or only droverd was. */
static void disk_fault(struct sim *s, uint32_t h)
{
	static const char *const what[] = { "restored from a backup", "emptied", "that of another cluster" };
	static const uint32_t tokens[] = { 1, 2, 3 };
	uint64_t kind = sim_range(s, 0, 9);
	struct sim_host *x = &s->host[h];

	if (kind < 3) {
		/* One without a log would make a new cluster of a majority, as disks_lost() says. */
		if (!x->copied && !x->foreign && (s->filled >> h & 1))
			disk_backup(x);
		return;
	}
	if (kind == 3) {
		conf_token(s, h, s->o.token * tokens[sim_range(s, 0, 2)]);
		return;
	}
	if (kind == 4 && sim_chance(s, 20) && !s->reconfigures && !s->o.witness) {
		disks_lost(s);
		return;
	}
	if (!x->up || !x->daemon || !expendable(s, h))
		return;
	if (sim_chance(s, 50))
		host_power_off(s, h, "disk exchanged");
	else
		host_daemon_crash(s, h);
	kind = kind < 7 ? 0 : kind == 7 ? 1 :
					  2;
	sim_trace(s, "n%u: its disk is %s", x->id, what[kind]);
	s->filled &= ~(1u << h);
	if (kind == 0) {
		disk_restore(x);
	} else if (kind == 1) {
		disk_empty(&x->disk);
		x->copied = x->foreign = x->had_daemon = false; /* the mark is an old one */
	} else {
		disk_foreign(s, h);
	}
}

static void fault(struct sim *s)
{
	uint32_t h = any_host(s), d;

	if (s->o.witness && sim_chance(s, 10)) {
		s->witness_blind = sim_chance(s, 20) ? (uint32_t)sim_range(s, 0, sim_all(s)) : 0;
		witness_reach(s, sim_chance(s, 50) ? 0 : (uint32_t)sim_range(s, 0, sim_all(s)));
		return;
	}
	if (s->reconfigures && sim_chance(s, 20)) {
		conf_change(s);
		return;
	}
	if (s->o.disks && sim_chance(s, 25)) {
		disk_fault(s, h);
		return;
	}

	switch (sim_range(s, 0, 16)) {
	case 0:
	case 1:
		host_power_off(s, h, "power cut");
		break;
	case 2:
		host_pause(s, h, sim_range(s, 100 * MS, 15 * SEC));
		break;
	case 3:
		host_daemon_pause(s, h, sim_range(s, 100 * MS, 12 * SEC));
		break;
	case 4:
		host_daemon_crash(s, h);
		break;
	case 5:
		if (sim_chance(s, 50))
			net_corosync_stop(s, h, 0, !sim_chance(s, 25));
		else
			net_corosync_crash(s, h, 0);
		break;
	case 6:
	case 7:
		cut(s);
		break;
	case 8:
	case 9:
	case 10:
		sim_trace(s, "network heals");
		net_heal(s);
		break;
	case 11:
		s->crash_after = (uint32_t)sim_range(s, 1, 30);
		break;
	case 12:
		d = (uint32_t)sim_range(s, 0, s->o.domains - 1);
		vmm_ends(s, h, d, sim_chance(s, 30));
		break;
	case 14:
		/*
		 * One at a time: two empty disks of three know nothing of what was committed. And
		 * only where the others can agree without it.
		 */
		if (expendable(s, h) && sim_chance(s, 30))
			host_wipe(s, h);
		break;
	case 15:
		if (sim_chance(s, 50))
			s->host[h].unkillable = !s->host[h].unkillable;
		else if (sim_chance(s, 30))
			s->host[h].hides = true;
		else
			s->host[h].unlisted = !s->host[h].unlisted;
		break;
	case 16:
		/* It cannot start anywhere: its disk is away. */
		d = (uint32_t)sim_range(s, 0, s->o.domains - 1);
		s->unfit[d] = s->unfit[d] ? 0 : sim_all(s);
		break;
	case 13:
		s->fencing_works = !s->fencing_works;
		break;
	}
}

void chaos_event(struct sim *s, const struct sim_ev *ev)
{
	if (s->quiet_world)
		return;
	if (ev->a == 1) {
		/* Something to lose. */
		for (uint32_t d = 0; d < s->o.domains; d++)
			operator_add(s, d, true);
	} else if (s->o.operators && sim_chance(s, 50)) {
		operator_random(s);
	} else if (s->o.faults) {
		fault(s);
	}
	next(s);
}

static void chaos_end(struct sim *s)
{
	s->quiet_world = true;
	s->crash_after = 0;
	memset(s->unfit, 0, sizeof(s->unfit));
	s->fencing_works = true;
	s->o.fence_percent = 100;
	sim_trace(s, "peace");
	s->refused_us = 0;
	net_heal(s);
	s->conf.hosts = sim_all(s);
	s->conf.witness = s->o.witness;
	conf_write(s, sim_all(s));
	s->witness_blind = 0;
	if (s->o.witness)
		witness_reach(s, 0);
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		struct sim_host *x = &s->host[h];

		x->unkillable = x->unlisted = x->hides = false;
		if (x->foreign) { /* an operator moves it away */
			host_power_off(s, h, "disk of another cluster");
			disk_empty(&x->disk);
			x->foreign = false;
		}
		host_power_on(s, h);
		if (x->paused)
			sim_at(s, 1, EV_HOST_RESUME, h, x->boot_at, 0, 0);
		if (x->daemon_paused)
			sim_at(s, 2, EV_DAEMON_RESUME, h, x->gen, 0, 0);
	}
}

/*
 * All are there, and the witness refuses them: who went on with it was one whose disk was lost since.
 * Operators take it out, and answer for what that one had been given (docs/ha.md): no VMM may be left
 * that has been told what nobody remembers.
 */
static void forgotten(struct sim *s)
{
	if (!s->refused_us || s->now < s->refused_us + 30 * SEC || s->filled == sim_all(s))
		return;
	sim_trace(s, "operators take the witness out");
	s->refused_us = 0;
	s->conf.witness = false;
	conf_write(s, sim_all(s));
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		host_power_off(s, h, "restarted");
		host_power_on(s, h);
	}
	expect_nothing(s);
	sim_run(s, s->now + 10 * SEC);
	operator_peace(s); /* what they said before was not heard */
}

bool chaos_schedule(struct sim *s, uint64_t seed, const struct sim_opts *o)
{
	char why[256] = "";
	uint64_t end;

	sim_init(s, seed, o);
	chaos_begin(s);
	if (!sim_run(s, o->chaos_us))
		goto out;
	chaos_end(s);
	/* First the nodes, then the commands that undo what operators did, then the domains. */
	sim_run(s, s->now + 20 * SEC);
	operator_peace(s);
	for (end = s->now + o->settle_us; s->now < end && !s->failed;) {
		sim_run(s, s->now + 500 * MS);
		operator_clear(s);
		forgotten(s);
		if (!s->failed && check_settled(s, why, sizeof(why)))
			break;
	}
	if (!s->failed && !check_settled(s, why, sizeof(why)))
		sim_fail(s, "I2", "the healed cluster does not come to rest: %s", why);
out:
	sim_free(s);
	return !s->failed;
}
