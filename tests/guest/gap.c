/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gap.c - how long a CPU stood still.
 *
 * A gap is time in which this CPU did not get on although it wanted to: between
 * two check points while working, or beyond the latest possible tick while resting.
 * The longest gap is what a live migration costs as the guest feels it.
 */
#include "payload.h"

static void gap_note(struct cpu *c, uint64_t gap)
{
	if (gap > __atomic_load_n(&c->gap, __ATOMIC_RELAXED))
		__atomic_store_n(&c->gap, gap, __ATOMIC_RELAXED);
	if (gap > c->gap_max)
		c->gap_max = gap;
}

void cpu_check(struct cpu *c)
{
	uint64_t now = rdtsc();

	gap_note(c, now - c->last);
	c->last = now;
}

void cpu_wait_tick(struct cpu *c)
{
	uint64_t latest, now;

	cpu_check(c);
	latest = c->last + tsc_of_us(opt.tick_us);
	cpu_rest();
	now = rdtsc();
	if (now > latest)
		gap_note(c, now - latest);
	c->last = now;
}
