/* SPDX-License-Identifier: Apache-2.0 */
/* power - a host is switched on and off, loses its disk, stands still. */
#include "cmd/drover-sim/sim.h"

void host_power_off(struct sim *s, uint32_t h, const char *why)
{
	struct sim_host *x = &s->host[h];

	if (!x->up)
		return;
	sim_trace(s, "n%u: power off (%s)", x->id, why);
	if (x->daemon) {
		x->daemon = x->daemon_paused = false;
		host_queue_clear(x);
		disk_crash(s, h);
	}
	x->gen++;
	x->up = x->paused = false;
	x->lease_ms = 0;
	vmm_host_died(s, h);
	net_gone(s, h);
	if (!s->script) /* in a story it stays off until it is switched on */
		sim_at(s, sim_range(s, 2 * SEC, 15 * SEC), EV_HOST_BOOT, h, x->gen, 0, 0);
}

void host_wipe(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	if (!x->up)
		return;
	host_power_off(s, h, "disk lost");
	disk_empty(&x->disk);
	x->copied = x->foreign = false;
	s->filled &= ~(1u << h);
}

/*
 * What a wrong margin costs shows where one clock is as fast as rule T allows and another as
 * slow; drawn evenly over the range, two hosts are hardly ever both near its ends.
 */
static int64_t clock_rate(struct sim *s)
{
	static const int64_t extremes[] = { -10000, 0, 10000 };

	return extremes[sim_range(s, 0, 2)];
}

void host_power_on(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	if (x->up)
		return;
	sim_trace(s, "n%u: power on", x->id);
	x->up = true;
	x->gen++;
	x->boot_at = s->now;
	x->clock_base_us = sim_range(s, 1 * SEC, 20 * SEC);
	x->rate_ppm = clock_rate(s);
	x->lease_ms = 0;
	x->corosync = true;
	x->said_leave = false;
	net_changed(s);
	sim_at(s, sim_range(s, 100 * MS, 1500 * MS), EV_DAEMON_START, h, x->gen, 0, 0);
}

void host_pause(struct sim *s, uint32_t h, uint64_t us)
{
	struct sim_host *x = &s->host[h];

	if (!x->up || x->paused)
		return;
	sim_trace(s, "n%u: whole host paused for %llu ms", x->id, (unsigned long long)us / 1000);
	x->paused = true;
	net_changed(s);
	sim_at(s, us, EV_HOST_RESUME, h, x->boot_at, 0, 0);
}

void host_daemon_pause(struct sim *s, uint32_t h, uint64_t us)
{
	struct sim_host *x = &s->host[h];

	if (!x->daemon || x->daemon_paused)
		return;
	sim_trace(s, "n%u: daemon paused for %llu ms", x->id, (unsigned long long)us / 1000);
	x->daemon_paused = true;
	sim_at(s, us, EV_DAEMON_RESUME, h, x->gen, 0, 0);
}
