/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario - a story in a file, one line per step (docs/scenario.md):
 *
 *   hosts 3
 *   3      add d0
 *   5      power-off n1
 *   7.9    expect d0 runs on n2
 *
 * Facts are expected, never log lines.  The world is whole except for what the
 * story does to it; the invariants of check.c hold all along.
 */
#include "cmd/drover-sim/scenario_int.h"

#include "base/number.h"

#include <stdlib.h>
#include <string.h>

static struct sim sim;
static const char conf[] = "name: test\nmemory: 1 GiB\n";

/* "n1".."n32" */
static bool host_of(const struct sim *s, const char *w, uint32_t *h)
{
	uint64_t v;

	if (!w || w[0] != 'n' || !number_parse(w + 1, 1, s->o.hosts, &v))
		return false;
	*h = (uint32_t)v - 1;
	return true;
}

/* "d0".."d63" */
static bool domain_of(const struct sim *s, const char *w, uint32_t *d)
{
	uint64_t v;

	if (!w || w[0] != 'd' || !number_parse(w + 1, 0, s->o.domains - 1, &v))
		return false;
	*d = (uint32_t)v;
	return true;
}

/* A mask from "n1,n3". */
static bool hosts_of(const struct sim *s, const char *w, uint32_t *mask)
{
	*mask = 0;
	while (w && *w) {
		char one[8] = "";
		size_t n = strcspn(w, ",");
		uint32_t h;

		if (n >= sizeof(one))
			return false;
		memcpy(one, w, n);
		if (!host_of(s, one, &h))
			return false;
		*mask |= 1u << h;
		w += n + (w[n] == ',');
	}
	return *mask != 0;
}

/* Commands go to the first host whose daemon works, or to the one named last in the line. */
static bool command(struct sim *s, const struct scenario_line *l)
{
	static const struct {
		const char *word;
		enum ha_op op;
	} ops[] = {
		{ "add", HA_OP_ADD },
		{ "remove", HA_OP_REMOVE },
		{ "start", HA_OP_START },
		{ "stop", HA_OP_STOP },
		{ "migrate", HA_OP_MIGRATE },
		{ "cancel", HA_OP_CANCEL },
		{ "clear", HA_OP_CLEAR },
		{ "fence", HA_OP_FENCE },
		{ "confirm", HA_OP_CONFIRM },
		{ "maintenance", HA_OP_MAINTENANCE },
		{ "pause", HA_OP_PAUSE },
		{ "resume", HA_OP_PAUSE },
	};
	struct ha_command cmd = { .conf = conf,
				  .conf_len = sizeof(conf) - 1,
				  .ha = true,
				  .started = true,
				  .on = true };
	uint32_t d, h = 0, node;

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (strcmp(l->word[0], ops[i].word))
			continue;
		if (ops[i].op == HA_OP_PAUSE && host_of(s, l->word[1], &node))
			return false; /* a whole host */
		cmd.op = ops[i].op;
		if (cmd.op == HA_OP_FENCE || cmd.op == HA_OP_CONFIRM ||
		    cmd.op == HA_OP_MAINTENANCE) {
			if (!host_of(s, l->word[1], &node))
				return false;
			cmd.node = node + 1;
			cmd.on = !l->word[2] || strcmp(l->word[2], "off");
		} else {
			if (!domain_of(s, l->word[1], &d))
				return false;
			cmd.domain = sim_dom_name(d);
			if (l->word[2] && !host_of(s, l->word[2], &node))
				return false;
			cmd.node = l->word[2] ? node + 1 : 0;
			cmd.on = !strcmp(l->word[0], "pause");
		}
		while (h < s->o.hosts &&
		       !(s->host[h].daemon && s->host[h].joined && !s->host[h].paused))
			h++;
		if (h < s->o.hosts)
			host_command(s, h, &cmd);
		return true;
	}
	return false;
}

/* Faults of links, of the configuration, of agents and of domains; *@known: it is one of these. */
static bool fault_at_large(struct sim *s, const struct scenario_line *l, bool *known)
{
	const char *w = l->word[0];
	uint32_t h = 0, mask, d;
	uint64_t us = 0;

	*known = true;
	if (!strcmp(w, "heal")) {
		net_heal(s);
		return true;
	}
	if (!strcmp(w, "cut") || !strcmp(w, "deaf")) {
		if (!hosts_of(s, l->word[1], &mask))
			return false;
		/* deaf: they hear nothing; the others cannot send to them */
		net_cut(s, w[0] == 'd' ? sim_all(s) & ~mask : mask, w[0] == 'd');
		return true;
	}
	if (!strcmp(w, "newer")) {
		if (!host_of(s, l->word[1], &h))
			return false;
		net_send_unknown(s, h);
		return true;
	}
	if (!strcmp(w, "unfit")) {
		if (!domain_of(s, l->word[1], &d))
			return false;
		s->unfit[d] = 0;
		return !l->word[2] || hosts_of(s, l->word[2], &s->unfit[d]);
	}
	if (!strcmp(w, "split")) {
		s->split = true;
		return true;
	}
	if (!strcmp(w, "loss")) {
		check_memory_anew(s);
		memset(s->seen, 0, SEEN_MAX * sizeof(*s->seen));
		memset(s->once, 0, sizeof(s->once));
		return true;
	}
	if (!strcmp(w, "forget") || !strcmp(w, "enlist")) {
		uint32_t on = sim_all(s);

		if (!hosts_of(s, l->word[1], &mask) || (l->word[2] && !hosts_of(s, l->word[2], &on)))
			return false;
		s->conf.hosts = w[0] == 'f' ? s->conf.hosts & ~mask : s->conf.hosts | mask;
		conf_write(s, on);
		return true;
	}
	if (!strcmp(w, "witness-out")) {
		s->conf.witness = 0;
		conf_write(s, sim_all(s));
		return true;
	}
	if (!strcmp(w, "witness-blind")) {
		if (!hosts_of(s, l->word[1], &mask))
			return false;
		s->witness_blind = mask;
		witness_reach(s, s->witness_away);
		return true;
	}
	if (!strcmp(w, "witness-away") || !strcmp(w, "witness-back")) {
		mask = 0;
		s->witness_blind = 0;
		if (w[8] == 'a' && !hosts_of(s, l->word[1], &mask))
			return false;
		witness_reach(s, mask);
		return true;
	}
	if (!strcmp(w, "token")) {
		if (!host_of(s, l->word[1], &h) || !l->word[2] ||
		    !number_parse(l->word[2], HA_TOKEN_MIN, HA_TOKEN_MAX, &us))
			return false;
		conf_token(s, h, (uint32_t)us);
		return true;
	}
	if (!strcmp(w, "agent")) {
		static const char *const modes[] = { "ok", "fail", "hang", "slow" };

		for (uint32_t i = 0; l->word[1] && i < 4; i++) {
			if (strcmp(l->word[1], modes[i]))
				continue;
			s->agent = i + 1;
			return i != 3 || scenario_time(l->word[2], &s->agent_answer_us);
		}
		return false;
	}
	if (!strcmp(w, "crash") || !strcmp(w, "guest-off")) {
		if (!domain_of(s, l->word[1], &d))
			return false;
		for (h = 0; h < s->o.hosts; h++)
			vmm_ends(s, h, d, w[0] == 'g');
		return true;
	}
	*known = false;
	return false;
}

static bool fault(struct sim *s, const struct scenario_line *l)
{
	const char *w = l->word[0];
	uint64_t us = 0;
	uint32_t h = 0;
	bool known, ok = fault_at_large(s, l, &known);

	if (known)
		return ok;
	if (!host_of(s, l->word[1], &h))
		return false;
	if (!strcmp(w, "votes")) {
		if (!l->word[2] || !number_parse(l->word[2], 0, 255, &us))
			return false;
		s->conf.votes[h] = (uint32_t)us;
		conf_write(s, sim_all(s));
		return true;
	}
	if (!strcmp(w, "backup")) {
		disk_backup(&s->host[h]);
		return true;
	}
	if (!strcmp(w, "restore")) {
		host_daemon_crash(s, h);
		disk_restore(&s->host[h]);
		return true;
	}
	if (!strcmp(w, "unkillable") || !strcmp(w, "unlisted") || !strcmp(w, "spoil") ||
	    !strcmp(w, "hide")) {
		bool *what = w[0] == 's' ? &s->host[h].spoiled : w[0] == 'h' ? &s->host[h].hides :
							 w[2] == 'k'         ? &s->host[h].unkillable :
									       &s->host[h].unlisted;

		*what = !l->word[2] || strcmp(l->word[2], "off");
		return true;
	}
	if (!strcmp(w, "foreign")) {
		if (!s->host[h].up)
			disk_foreign(s, h);
		return !s->host[h].up;
	}
	if (l->word[2] && !scenario_time(l->word[2], &us))
		return false;
	if (!strcmp(w, "power-off"))
		host_power_off(s, h, "scenario");
	else if (!strcmp(w, "power-on"))
		host_power_on(s, h);
	else if (!strcmp(w, "pause"))
		host_pause(s, h, us);
	else if (!strcmp(w, "pause-daemon"))
		host_daemon_pause(s, h, us);
	else if (!strcmp(w, "hang-disk"))
		s->host[h].disk_hangs_until = s->now + us;
	else if (!strcmp(w, "kill-daemon"))
		host_daemon_crash(s, h);
	else if (!strcmp(w, "kill-corosync"))
		net_corosync_crash(s, h, us);
	else if (!strcmp(w, "stop-corosync"))
		net_corosync_stop(s, h, us, !l->word[3] || strcmp(l->word[3], "unheard"));
	else
		return false;
	return true;
}

static bool joined_alone(const struct sim *s, uint32_t h)
{
	struct ha_status st;

	ha_core_status(s->host[h].core, &st);
	return host_now(s, h) >= s->host[h].lease_ms;
}

/* By the log of each host that is there. */
static bool has_votes(const struct sim *s, uint32_t h, uint64_t votes)
{
	struct ha_node_status n;

	for (uint32_t o = 0; o < s->o.hosts; o++)
		for (size_t i = 0; s->host[o].joined && ha_core_node(s->host[o].core, i, &n); i++)
			if (n.conf.id == h + 1 && n.votes != votes)
				return false;
	return true;
}

/* expect d0 runs on n2 | runs | is nowhere | started N; expect n1 gated|leased|off|votes N */
static bool expectation(struct sim *s, const struct scenario_line *l, bool *holds)
{
	uint32_t d, h, where = SIM_HOSTS;
	uint64_t n;

	if (host_of(s, l->word[1], &h) && l->word[2]) {
		if (!strcmp(l->word[2], "gated"))
			*holds = s->host[h].up && joined_alone(s, h);
		else if (!strcmp(l->word[2], "leased"))
			*holds = s->host[h].up && !joined_alone(s, h);
		else if (!strcmp(l->word[2], "epoch-at-most") && l->word[3] &&
			 number_parse(l->word[3], 0, UINT64_MAX, &n)) {
			struct ha_status st;

			ha_core_status(s->host[h].core, &st);
			*holds = st.epoch <= n;
		} else if (!strcmp(l->word[2], "votes") && l->word[3] && number_parse(l->word[3], 0, UINT32_MAX, &n))
			*holds = has_votes(s, h, n);
		else if (!strcmp(l->word[2], "off"))
			*holds = !s->host[h].up;
		else
			return false;
		return true;
	}
	if (!domain_of(s, l->word[1], &d) || !l->word[2])
		return false;
	for (h = 0; h < s->o.hosts; h++)
		if (vmm_can_write(s, h, d))
			where = h;
	if (!strcmp(l->word[2], "runs")) {
		*holds = where != SIM_HOSTS;
		if (l->word[3] && (strcmp(l->word[3], "on") || !host_of(s, l->word[4], &h)))
			return false;
		if (l->word[3])
			*holds = where == h;
	} else if (!strcmp(l->word[2], "nowhere")) {
		*holds = where == SIM_HOSTS;
	} else if (!strcmp(l->word[2], "started-at-most") && l->word[3] &&
		   number_parse(l->word[3], 0, UINT64_MAX, &n)) {
		*holds = s->starts_quiet[d] <= n;
	} else if (!strcmp(l->word[2], "started") && l->word[3] &&
		   number_parse(l->word[3], 0, UINT64_MAX, &n)) {
		*holds = s->starts_quiet[d] == n;
	} else {
		return false;
	}
	return true;
}

void scenario_event(struct sim *s, const struct sim_ev *ev)
{
	const struct script *sc = s->script;
	const struct scenario_line *l = &sc->line[ev->a];
	bool holds = true;

	sim_trace(s, "%s:%u: %s", sc->path, l->number, l->text);
	if (!strcmp(l->word[0], "expect")) {
		if (!expectation(s, l, &holds))
			sim_fail(s, "SYNTAX", "line %u: what is expected? \"%s\"", l->number,
				 l->text);
		else if (!holds)
			sim_fail(s, "EXPECT", "line %u: \"%s\" does not hold", l->number, l->text);
	} else if (!fault(s, l) && !command(s, l)) {
		sim_fail(s, "SYNTAX", "line %u: \"%s\" is not understood", l->number, l->text);
	}
}

static bool play_once(struct script *sc, const struct sim_opts *o, uint64_t seed)
{
	uint64_t end = 0;

	sim_init(&sim, seed, o);
	sim.quiet_world = true;
	sim.script = sc;
	sim.agent = 1;
	for (uint32_t h = 0; h < o->hosts; h++)
		host_power_on(&sim, h);
	for (uint32_t i = 0; i < sc->n; i++) {
		sim_at(&sim, sc->line[i].at, EV_SCRIPT, 0, i, 0, 0);
		if (sc->line[i].at > end)
			end = sc->line[i].at;
	}
	sim_run(&sim, end + 1);
	sim_free(&sim);
	return !sim.failed;
}

/* Each story is told with twenty different timings of everything that takes time. */
int scenario_play(const char *path, bool verbose)
{
	struct sim_opts o = {
		.hosts = 3, .domains = SIM_DOMAINS, .token = 1000, .fence_percent = 100
	};
	static struct script sc;
	int rc;

	memset(&sc, 0, sizeof(sc));
	sc.path = path;
	rc = scenario_read(&sc, &o, path);
	if (rc) {
		scenario_free(&sc);
		return rc;
	}
	for (uint64_t seed = 1; seed <= 20; seed++) {
		o.verbose = verbose;
		sim.log = verbose ? stdout : NULL;
		if (play_once(&sc, &o, seed))
			continue;
		if (!verbose) {
			o.verbose = true;
			play_once(&sc, &o, seed);
			for (uint32_t n = sim.n_lines < 40 ? sim.n_lines : 40, i = 0; i < n; i++)
				printf("  %s\n", sim.lines[(sim.n_lines - n + i) % 40]);
		}
		printf("%s: seed %llu, %.3f s: %s\n", path, (unsigned long long)seed,
		       (double)sim.now / 1e6, sim.failure);
		rc = 1;
		break;
	}
	if (!rc)
		printf("%s: ok\n", path);
	scenario_free(&sc);
	return rc;
}
