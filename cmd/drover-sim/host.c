/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host - the shell that ha_core has in the simulator: clock, daemon, effects; power: power.c.
 *
 * A daemon that is paused gets its events when it goes on, all at once and with the
 * clock of that moment.
 */
#include "cmd/drover-sim/sim.h"

#include "base/reserve.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t clock_us(const struct sim *s, uint32_t h)
{
	const struct sim_host *x = &s->host[h];
	uint64_t real = s->now - x->boot_at;

	return x->clock_base_us + (uint64_t)((int64_t)real + (int64_t)real * x->rate_ppm / 1000000);
}

uint64_t host_now(const struct sim *s, uint32_t h)
{
	return clock_us(s, h) / 1000;
}

void host_init(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	x->id = h + 1;
	x->token = s->o.token;
	x->gate_ms = 0;
	if (!x->core)
		x->core = reserve_make(ha_core_size());
	if (!x->core)
		abort();
}

void host_queue_clear(struct sim_host *x)
{
	for (uint32_t i = 0; i < x->in_n; i++)
		if (x->in[i].msg && !--x->in[i].msg->refs)
			free(x->in[i].msg);
	x->in_n = 0;
}

void host_free(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	disk_empty(&x->disk);
	free(x->disk.b);
	disk_empty(&x->backup);
	free(x->backup.b);
	memset(&x->disk, 0, sizeof(x->disk));
	memset(&x->backup, 0, sizeof(x->backup));
	host_queue_clear(x);
	free(x->in);
	x->in = NULL;
	x->in_size = 0;
}

/* -------------------------------------------------------------------- daemon */

static void run_effects(struct sim *s, uint32_t h);

static void arm(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];
	uint64_t wake = ha_core_next_wakeup(x->core), now = clock_us(s, h), delay = 1;

	if (wake == UINT64_MAX)
		return;
	if (wake * 1000 > now)
		delay = (uint64_t)((int64_t)(wake * 1000 - now) * 1000000 /
				   (1000000 + x->rate_ppm)) +
			1 + sim_range(s, 0, 3000);
	if (x->tick_at > s->now && x->tick_at <= s->now + delay)
		return;
	x->tick_at = s->now + delay;
	sim_at(s, delay, EV_TICK, h, x->gen, 0, 0);
}

static size_t list_nodes(const struct sim *s, uint32_t mask, uint32_t *ids)
{
	size_t n = 0;

	for (uint32_t h = 0; h < s->o.hosts; h++)
		if (mask >> h & 1)
			ids[n++] = s->host[h].id;
	return n;
}

static void step(struct sim *s, uint32_t h, struct ha_event *ev)
{
	struct sim_host *x = &s->host[h];

	ev->now_ms = host_now(s, h);
	if (s->o.verbose) {
		char line[200];

		ha_event_print(ev, line, sizeof(line));
		sim_trace(s, "n%u [%llu] <- %s", x->id, (unsigned long long)ev->now_ms, line);
	}
	ha_core_step(x->core, ev, s->fx);
	run_effects(s, h);
	if (!x->daemon || s->failed)
		return;
	check_step(s, h);
	arm(s, h);
}

static void feed(struct sim *s, uint32_t h, const struct sim_in *in)
{
	uint32_t ids[SIM_HOSTS], left[SIM_HOSTS];
	struct ha_node_conf nodes[SIM_HOSTS];
	char addr[32];
	struct ha_event ev = { .kind = in->kind };

	switch (in->kind) {
	case HA_EV_VIEW:
		ev.view.n = list_nodes(s, in->mask | in->ghost, ids);
		ev.view.nodes = ids;
		ev.view.n_left = list_nodes(s, in->left, left);
		ev.view.left = left;
		ev.view.ring = in->ring_went;
		break;
	case HA_EV_CONFIG:
		ev.config.n = conf_nodes(s, h, nodes);
		ev.config.nodes = nodes;
		ev.config.token_ms = s->host[h].token;
		ev.config.witness = s->host[h].conf.witness;
		break;
	case HA_EV_QUORUM:
		ev.quorum.quorate = in->quorate;
		ev.quorum.n = list_nodes(s, in->mask, ids);
		ev.quorum.nodes = ids;
		ev.quorum.ring_seq = in->ring;
		break;
	case HA_EV_DELIVER:
		ev.deliver.from = s->host[in->node].id;
		ev.deliver.bytes = in->msg->bytes;
		ev.deliver.len = in->msg->len;
		break;
	case HA_EV_PERSISTED:
		ev.persisted.token = in->token;
		break;
	case HA_EV_VMM:
		ev.vmm.domain = sim_dom_name(in->dom);
		ev.vmm.incarnation = in->incarnation;
		ev.vmm.what = in->what;
		ev.vmm.end = in->end;
		ev.vmm.rc = in->end == HA_END_FAILED || in->end == HA_END_KILLED;
		snprintf(addr, sizeof(addr), "tcp:10.0.0.%u:49152", h + 1);
		ev.vmm.addr = addr;
		ev.vmm.text = in->rc || ev.vmm.rc ? "simulated failure" : "";
		break;
	case HA_EV_FENCE_DONE:
		ev.fence_done.node = s->host[in->node].id;
		ev.fence_done.debt = in->debt;
		ev.fence_done.rc = in->rc;
		ev.fence_done.text = in->rc ? "simulated failure" : "";
		break;
	case HA_EV_WITNESS:
		ev.witness.claim = in->token;
		ev.witness.ok = in->quorate;
		ev.witness.seen = in->incarnation;
		ev.witness.text = in->quorate ? "" : "simulated";
		ev.witness.live.bits[0] = in->quorate ? witness_live(s, h) : 0;
		break;
	case HA_EV_OPERATOR:
		ev.op.request = in->request;
		ev.op.cmd = in->cmd;
		ev.op.cmd.hosts = in->hosts;
		ev.op.cmd.size = (struct ha_size){ 1 << 30, 1 };
		ev.op.cmd.actor = "root";
		ev.op.cmd.access = HA_ACCESS_ADMIN;
		break;
	default:
		break;
	}
	step(s, h, &ev);
}

void host_give(struct sim *s, uint32_t h, const struct sim_in *in)
{
	struct sim_host *x = &s->host[h];

	if (!x->daemon || s->failed)
		return;
	/* What an effect brings about at once waits for the others of its step, as in the shell. */
	if (!x->paused && !x->daemon_paused && !s->stepping) {
		feed(s, h, in);
		return;
	}
	if (x->in_n == x->in_size) {
		x->in_size = x->in_size ? x->in_size * 2 : 64;
		x->in = realloc(x->in, x->in_size * sizeof(*x->in));
		if (!x->in)
			abort();
	}
	x->in[x->in_n++] = *in;
	if (in->msg)
		in->msg->refs++;
}

static void give_waiting(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];
	struct sim_in *in = x->in;
	uint32_t n = x->in_n;

	x->in = NULL;
	x->in_n = x->in_size = 0;
	for (uint32_t i = 0; i < n; i++) {
		host_give(s, h, &in[i]);
		if (in[i].msg && !--in[i].msg->refs)
			free(in[i].msg);
	}
	free(in);
}

static void drain(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	if (x->paused || x->daemon_paused || !x->daemon)
		return;
	/* A timer that fell due meanwhile may be handled first. */
	if (sim_chance(s, 50)) {
		struct ha_event ev = { .kind = HA_EV_TICK };

		step(s, h, &ev);
	}
	give_waiting(s, h);
	if (x->daemon)
		arm(s, h);
}

static void daemon_start(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];
	struct sim_in config = { .kind = HA_EV_CONFIG };
	struct ha_event ev = { .kind = HA_EV_BOOT };
	struct ha_blob *disk;

	if (!x->up || x->daemon)
		return;
	sim_trace(s, "n%u: daemon starts, %u blobs on disk", x->id, x->disk.n);
	assert(!x->in_n && !x->joined);
	x->daemon = true;
	x->gen++;
	x->tick_at = 0;
	ha_core_init(x->core);
	disk = calloc(x->disk.n + 1, sizeof(*disk));
	if (!disk)
		abort();
	for (uint32_t i = 0; i < x->disk.n; i++)
		disk[i] = (struct ha_blob){ x->disk.b[i].bytes, x->disk.b[i].len };
	ev.boot.me = x->id;
	ev.boot.token_ms = x->token;
	ev.boot.draw = (uint64_t)x->id << 32 | x->gen;
	ev.boot.copied = x->copied;
	x->missed = x->waited = false;
	ev.boot.unseen = x->had_daemon;
	x->had_daemon = true;
	ev.boot.disk = disk;
	ev.boot.n_disk = x->disk.n;
	step(s, h, &ev);
	free(disk);
	feed(s, h, &config);
	witness_tell(s, h);
	vmm_scan(s, h);
	sim_at(s, sim_range(s, 10 * MS, 150 * MS), EV_JOIN, h, x->gen, 0, 0);
}

void host_daemon_crash(struct sim *s, uint32_t h)
{
	struct sim_host *x = &s->host[h];

	if (!x->daemon)
		return;
	sim_trace(s, "n%u: daemon dies", x->id);
	vmm_daemon_died(s, h);
	x->daemon = x->daemon_paused = false;
	x->gen++;
	host_queue_clear(x);
	disk_crash(s, h);
	net_leave(s, h);
	if (x->up)
		sim_at(s, sim_range(s, 100 * MS, 3000 * MS), EV_DAEMON_START, h, x->gen, 0, 0);
}

void host_command(struct sim *s, uint32_t h, const struct ha_command *cmd)
{
	struct sim_in in = { .kind = HA_EV_OPERATOR, .cmd = *cmd };

	if (!s->host[h].daemon)
		return;
	in.request = ++s->request;
	in.cmd.asked_ms = host_now(s, h);
	if (cmd->op == HA_OP_FENCE)
		s->fence_asked[cmd->node - 1] = true;
	if (cmd->n_hosts)
		memcpy(in.hosts, cmd->hosts, cmd->n_hosts * sizeof(in.hosts[0]));
	operator_asked(s, h, cmd);
	host_give(s, h, &in);
}

/* ------------------------------------------------------------------- effects */

static void run_effect(struct sim *s, uint32_t h, const struct ha_effect *fx)
{
	struct sim_host *x = &s->host[h];

	switch (fx->kind) {
	case HA_FX_MCAST:
		net_send(s, h, fx->mcast.bytes, fx->mcast.len);
		break;
	case HA_FX_PERSIST:
		disk_write(s, h, fx);
		break;
	case HA_FX_LEASE:
		x->gate_ms = ha_core_timing(x->core)->gate;
		vmm_lease(s, h, fx->lease.until_ms);
		break;
	case HA_FX_ADMIT:
	case HA_FX_START:
	case HA_FX_STOP:
	case HA_FX_KILL:
	case HA_FX_RECEIVE:
	case HA_FX_MIGRATE:
	case HA_FX_CANCEL:
	case HA_FX_DECIDE:
	case HA_FX_PAUSE:
	case HA_FX_FENCE:
	case HA_FX_FENCE_CANCEL:
		vmm_effect(s, h, fx);
		break;
	case HA_FX_CLAIM:
		witness_claim(s, h, fx);
		break;
	case HA_FX_REPLY:
		check_reply(s, h, fx);
		break;
	case HA_FX_REJOIN:
		net_leave(s, h);
		sim_at(s, sim_range(s, 5 * MS, 100 * MS), EV_JOIN, h, x->gen, 0, 0);
		break;
	case HA_FX_NOTE:
	case HA_FX_KINDS:
		break;
	}
}

static void run_effects(struct sim *s, uint32_t h)
{
	struct ha_effects *fx = s->fx;

	assert(!s->stepping);
	s->stepping = true;
	for (size_t i = 0; i < fx->n && !s->failed; i++) {
		if (s->o.verbose) {
			char line[200];

			ha_effect_print(&fx->fx[i], line, sizeof(line));
			sim_trace(s, "n%u     -> %s", s->host[h].id, line);
		}
		check_effect(s, h, &fx->fx[i]);
		rules_effect(s, h, &fx->fx[i]);
		run_effect(s, h, &fx->fx[i]);
		if (s->crash_after && !--s->crash_after) {
			host_daemon_crash(s, h);
			break;
		}
	}
	s->stepping = false;
	for (uint32_t i = 0; i < s->o.hosts && !s->failed; i++)
		if (s->host[i].in_n && !s->host[i].paused && !s->host[i].daemon_paused)
			give_waiting(s, i);
}

void host_event(struct sim *s, const struct sim_ev *ev)
{
	struct sim_host *x = &s->host[ev->h];
	struct ha_event e = { .kind = HA_EV_TICK };
	struct sim_in in = { .kind = HA_EV_PERSISTED };

	switch (ev->kind) {
	case EV_TICK:
		if (!x->daemon || x->gen != ev->a)
			break;
		if (x->tick_at <= s->now)
			x->tick_at = 0;
		if (!x->paused && !x->daemon_paused)
			step(s, ev->h, &e);
		break;
	case EV_PERSISTED:
		if (!x->daemon || x->gen != ev->a)
			break;
		in.token = disk_persisted(s, ev->h, (uint32_t)ev->b);
		host_give(s, ev->h, &in);
		break;
	case EV_DAEMON_START:
		if (x->gen == ev->a)
			daemon_start(s, ev->h);
		break;
	case EV_DAEMON_RESUME:
		if (x->gen != ev->a && !s->quiet_world)
			break;
		if (x->daemon_paused) {
			sim_trace(s, "n%u: daemon goes on", x->id);
			x->daemon_paused = false;
			drain(s, ev->h);
		}
		break;
	case EV_HOST_RESUME:
		if (x->up && x->paused && x->boot_at == ev->a) {
			sim_trace(s, "n%u: host goes on", x->id);
			x->paused = false;
			net_changed(s);
			drain(s, ev->h);
		}
		break;
	case EV_HOST_BOOT:
		if (x->gen == ev->a)
			host_power_on(s, ev->h);
		break;
	case EV_HOST_CRASH:
		host_power_off(s, ev->h, "fault");
		break;
	default:
		break;
	}
}
