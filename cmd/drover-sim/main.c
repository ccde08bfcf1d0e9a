/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drover-sim - plays scenarios and random schedules through the cluster's core,
 * in virtual time (docs/scenario.md).
 */
#include "cmd/drover-sim/search.h"
#include "cmd/drover-sim/sim.h"

#include "base/number.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

static void usage(FILE *to)
{
	fputs("usage: drover-sim [options] FILE...      play scenario files\n"
	      "       drover-sim [options] --seed N     random schedules from N on\n"
	      "       drover-sim --search N --hosts 2|3  every order of N events\n"
	      "  --breaks N (1), --crashes N (0)  in a search: how often the ring breaks, a daemon dies\n"
	      "  --after N (0), --stride K (1)    begin also after K, 2K .. N events in their simplest order\n"
	      "  --schedules M      how many (1)\n"
	      "  --hosts N          1..32 (0: varies with the seed)\n"
	      "  --domains N        1..64 (3)\n"
	      "  --token MS         corosync's token (1000)\n"
	      "  --chaos SECONDS    length of the disturbed part (20)\n"
	      "  --no-faults, --no-operators\n"
	      "  --witness          the cluster has a storage witness (hosts 0: 2, 3 and 4)\n"
	      "  --disks            disks are also restored from backups, lost or exchanged; tokens change\n"
	      "  --expect-failure   exit 0 only if an invariant was broken (for mutants)\n"
	      "  --verbose          print every event and effect\n",
	      to);
}

static struct sim sim;

#ifdef HA_MUTANTS
int ha_mutant; /* which rule the core breaks: enum ha_mutant in ha/core/record/mutants.h */
#endif

static void show_failure(uint64_t seed, const struct sim_opts *o)
{
	struct sim_opts again = *o;
	uint32_t n;

	/* The same seed again, with a trace this time. */
	again.verbose = true;
	chaos_schedule(&sim, seed, &again);
	printf("seed %" PRIu64 ", step %" PRIu64 ", %.3f s: %s\n", seed, sim.steps,
	       (double)sim.now / 1e6, sim.failure);
	n = sim.n_lines < 40 ? sim.n_lines : 40;
	for (uint32_t i = 0; i < n; i++)
		printf("  %s\n", sim.lines[(sim.n_lines - n + i) % 40]);
	printf("replay: drover-sim --seed %" PRIu64
	       " --hosts %u --domains %u --token %u --chaos %" PRIu64 "%s%s%s%s --verbose\n",
	       seed, o->hosts, o->domains, o->token, (uint64_t)(o->chaos_us / SEC),
	       o->faults ? "" : " --no-faults", o->operators ? "" : " --no-operators", o->disks ? " --disks" : "", o->witness ? " --witness" : "");
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A witness is for clusters that can be halved. */
static uint32_t usual_hosts(uint64_t seed, bool witness)
{
	static const uint32_t without[] = { 3, 3, 3, 5 }, with[] = { 2, 4, 2, 3 };

	return (witness ? with : without)[seed % 4];
}

static int random_schedules(uint64_t seed, uint64_t schedules, struct sim_opts o,
			    bool expect_failure)
{
	uint64_t steps = 0, starts = 0, moves = 0, commits = 0, fences = 0, claims = 0;
	uint32_t hosts = o.hosts;
	double t0 = seconds();

	sim.log = o.verbose ? stdout : NULL;
	for (uint64_t i = 0; i < schedules; i++) {
		o.hosts = hosts ? hosts : usual_hosts(seed + i, o.witness);
		if (!chaos_schedule(&sim, seed + i, &o)) {
			sim.log = NULL;
			if (expect_failure) {
				printf("caught after %" PRIu64 " schedules: %s\n", i + 1,
				       sim.failure);
				return 0;
			}
			show_failure(seed + i, &o);
			return 1;
		}
		steps += sim.steps;
		starts += sim.n_starts;
		moves += sim.n_moves;
		commits += sim.n_commits;
		fences += sim.n_fences;
		claims += sim.n_claims;
	}
	printf("%" PRIu64 " schedules, %" PRIu64 " steps, %" PRIu64 " starts, %" PRIu64
	       " migrations (%" PRIu64 " committed), %" PRIu64
	       " fencings, %.0f schedules/s: every invariant held\n",
	       schedules, steps, starts, moves, commits, fences,
	       (double)schedules / (seconds() - t0));
	if (o.witness)
		printf("the witness granted %" PRIu64 " claims\n", claims);
	if (expect_failure)
		printf("but one was expected to break\n");
	return expect_failure ? 1 : 0;
}

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	if (number_parse(text, min, max, out))
		return true;
	fprintf(stderr, "drover-sim: %s: a number from %" PRIu64 " to %" PRIu64 " was expected\n", text,
		min, max);
	return false;
}

/* What the command line says. */
struct args {
	struct sim_opts o;
	struct search_opts search;
	uint64_t seed, schedules;
	bool have_seed, expect_failure;
};

static const struct option options[] = {
	{ "search", required_argument, NULL, 'S' },
	{ "breaks", required_argument, NULL, 'B' },
	{ "crashes", required_argument, NULL, 'C' },
	{ "stride", required_argument, NULL, 'T' },
	{ "after", required_argument, NULL, 'A' },
	{ "seed", required_argument, NULL, 's' },
	{ "schedules", required_argument, NULL, 'n' },
	{ "hosts", required_argument, NULL, 'h' },
	{ "domains", required_argument, NULL, 'd' },
	{ "token", required_argument, NULL, 't' },
	{ "chaos", required_argument, NULL, 'c' },
	{ "no-faults", no_argument, NULL, 'F' },
	{ "no-operators", no_argument, NULL, 'O' },
	{ "disks", no_argument, NULL, 'D' },
	{ "witness", no_argument, NULL, 'W' },
	{ "expect-failure", no_argument, NULL, 'x' },
	{ "verbose", no_argument, NULL, 'v' },
#ifdef HA_MUTANTS
	{ "mutant", required_argument, NULL, 'm' },
#endif
	{ "help", no_argument, NULL, '?' + 1 },
	{ 0 },
};

/* Option @c: -1 = go on, else the exit status. */
static int take(struct args *a, int c)
{
	bool ok = true;
	uint64_t v;

	switch (c) {
	case 'S':
		ok = number(optarg, 1, 60, &v);
		a->search.depth = (uint32_t)v;
		break;
	case 'B':
		ok = number(optarg, 0, 3, &v);
		a->search.breaks = (uint32_t)v;
		break;
	case 'C':
		ok = number(optarg, 0, 3, &v);
		a->search.crashes = (uint32_t)v;
		break;
	case 'A':
		ok = number(optarg, 0, 200, &v);
		a->search.calm = (uint32_t)v;
		break;
	case 'T':
		ok = number(optarg, 1, 200, &v);
		a->search.stride = (uint32_t)v;
		break;
	case 's':
		ok = a->have_seed = number(optarg, 0, UINT64_MAX, &a->seed);
		break;
	case 'n':
		ok = number(optarg, 1, UINT64_MAX, &a->schedules);
		break;
	case 'h':
		ok = number(optarg, 0, SIM_HOSTS, &v);
		a->o.hosts = (uint32_t)v;
		break;
	case 'd':
		ok = number(optarg, 1, SIM_DOMAINS, &v);
		a->o.domains = (uint32_t)v;
		break;
	case 't':
		ok = number(optarg, HA_TOKEN_MIN, HA_TOKEN_MAX, &v);
		a->o.token = (uint32_t)v;
		break;
	case 'c':
		ok = number(optarg, 4, 3600, &v);
		a->o.chaos_us = v * SEC;
		break;
	case 'F':
		a->o.faults = false;
		break;
	case 'O':
		a->o.operators = false;
		break;
	case 'D':
		a->o.disks = true;
		break;
	case 'W':
		a->o.witness = true;
		break;
#ifdef HA_MUTANTS
	case 'm':
		ok = number(optarg, 0, 100, &v);
		ha_mutant = (int)v;
		break;
#endif
	case 'x':
		a->expect_failure = true;
		break;
	case 'v':
		a->o.verbose = true;
		break;
	case '?' + 1:
		usage(stdout);
		return 0;
	default:
		usage(stderr);
		return 2;
	}
	return ok ? -1 : 2;
}

int main(int argc, char **argv)
{
	struct args a = {
		.o = { .domains = 3,
		       .token = 1000,
		       .chaos_us = 20 * SEC,
		       .settle_us = 150 * SEC,
		       .fence_percent = 60,
		       .start_fail_percent = 5,
		       .faults = true,
		       .operators = true },
		.search = { .breaks = 1, .stride = 1 },
		.schedules = 1,
	};
	int c, rc = 0;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		int code = take(&a, c);

		if (code >= 0)
			return code;
	}
	if (a.search.depth) {
		a.search.hosts = a.o.hosts == 2 ? 2 : 3;
		a.search.witness = a.o.witness;
		return search_run(&a.search, a.expect_failure) == a.expect_failure;
	}
	if (a.have_seed)
		return random_schedules(a.seed, a.schedules, a.o, a.expect_failure);
	if (optind == argc) {
		usage(stderr);
		return 2;
	}
	for (int i = optind; i < argc; i++) {
		int one = scenario_play(argv[i], a.o.verbose);

		if (a.expect_failure && one < 2)
			one = !one;

		if (one > rc)
			rc = one;
	}
	return rc;
}
