/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_scale - what the cluster's core costs as domains become more: no test, a table (tests/perf/meson.build).
 *
 * Three cores on a perfect network, in one process.  "idle" is what a host pays for each message while
 * nothing happens; "failover" is what a survivor pays from the loss of the third host until all its
 * domains run, disk, network and VMMs not counted.  Built with larger limits than Drover has (limits.h).
 */
#include "tests/unit/ha/core_bed.h"

#include <stdint.h>
#include <stdio.h>
#include <time.h>

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static uint32_t running(struct bed *b)
{
	const struct ha_record *r = ha_core_record(b->core[0]);
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->n_domains; i++)
		n += r->domains[i].used && r->domains[i].phase == HA_RUNNING &&
		     !(b->cut >> (r->domains[i].owner - 1) & 1);
	return n;
}

static void fill(struct bed *b, uint32_t domains)
{
	for (uint32_t d = 0; d < domains; d++) {
		char name[32];
		struct ha_command cmd = { .op = HA_OP_ADD, .domain = name, .conf = "x", .conf_len = 1,
					  .ha = true, .started = true };

		snprintf(name, sizeof(name), "domain-%u", d);
		b->n_fx = 0;
		bed_command(b, 1, cmd);
		bed_obey(b);
	}
	for (int k = 0; k < 400 && running(b) < domains; k++) {
		bed_pass(b, 50);
		bed_obey(b);
	}
}

static double idle(struct bed *b)
{
	double t = cpu_us();

	b->delivered = 0;
	bed_pass(b, 20000);
	return (cpu_us() - t) / (double)(b->delivered ? b->delivered : 1);
}

static double failover(struct bed *b, uint32_t domains)
{
	double t;

	b->cut = 4; /* the third host */
	t = cpu_us();
	bed_view(b);
	for (int k = 0; k < 20000 && running(b) < domains; k++) {
		bed_pass(b, 50);
		bed_obey(b);
	}
	if (running(b) < domains)
		printf("%u of %u run\n", running(b), domains);
	return (cpu_us() - t) / 2 / 1e3;
}

int main(void)
{
	static const uint32_t sizes[] = { 60, 125, 250, 500, 750 };

	printf("%8s %22s %26s\n", "domains", "idle, us/message", "failover, ms/survivor");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct bed *b = bed_new(3);
		double us;

		fill(b, sizes[i]);
		us = idle(b);
		printf("%8u %22.1f %26.1f\n", sizes[i], us, failover(b, sizes[i]));
		fflush(stdout);
		bed_free(b);
	}
	return 0;
}
