/* SPDX-License-Identifier: Apache-2.0 */
/* converge - see converge.h. */
#include "migrate/session/source/converge.h"

#include <assert.h>
#include <string.h>

#define FIXED_NS 8000000ull /* pause 2, state 3, handover 3 ms: a guess that errs upwards */
#define STALL_ROUNDS 3u     /* without progress before vCPUs are throttled */
#define THROTTLE_FIRST 20u
#define THROTTLE_STEP 15u
/* A last set that is sent in less than this is not worth another round. */
#define SMALL_NS 500000ull
#define POLISH_STALLS 3u   /* rounds without progress that are taken for the minimum, once it fits */
#define FIT_ROUNDS_MAX 24u /* rounds that only polish */

void converge_init(struct converge *c, uint64_t limit_ms, unsigned int throttle_max)
{
	memset(c, 0, sizeof(*c));
	c->limit_ns = limit_ms * 1000000ull;
	c->fixed_ns = FIXED_NS;
	c->throttle_max = throttle_max < THROTTLE_MAX ? throttle_max : THROTTLE_MAX;
	c->best = UINT64_MAX;
	c->converging = true;
	assert(c->throttle_max <= THROTTLE_MAX && c->throttle_max < 100);
}

static void measure(struct converge *c, uint64_t sent, uint64_t ns, uint64_t remaining)
{
	double seconds = (double)(ns ? ns : 1) / 1e9, rate = (double)sent / seconds;

	/* Tiny rounds measure overhead, not the link. */
	if (!c->send_rate)
		c->send_rate = rate;
	else if (sent >= 1024)
		c->send_rate += (rate - c->send_rate) * 0.5;
	c->dirty_rate = (double)remaining / seconds;
	c->remaining = remaining;
	c->predicted_ns = c->fixed_ns;
	if (remaining)
		c->predicted_ns += (uint64_t)((double)remaining / (c->send_rate > 1 ? c->send_rate : 1) * 1e9);
}

static void escalate(struct converge *c)
{
	unsigned int next = c->throttle ? c->throttle + THROTTLE_STEP : THROTTLE_FIRST;

	assert(c->throttle < c->throttle_max);
	c->throttle = next < c->throttle_max ? next : c->throttle_max;
	c->stalled = 0;
	c->stalled_ns = 0;
	c->best = UINT64_MAX; /* judge the new setting by itself */
}

enum verdict converge_round(struct converge *c, uint64_t sent, uint64_t ns, uint64_t remaining)
{
	bool fits, shrinks, low, known = c->best != UINT64_MAX;

	measure(c, sent, ns, remaining);
	c->rounds++;
	fits = c->predicted_ns <= c->limit_ns;
	/* At least a quarter less than the best so far, else the round cost more than it gained. */
	shrinks = !known || remaining < c->best - c->best / 4;
	if (remaining < c->best)
		c->best = remaining;
	assert(c->best <= remaining && c->predicted_ns >= c->fixed_ns);
	low = remaining <= c->best + c->best / 4; /* not on a peak: the next round will be better */
	c->stalled = shrinks ? 0 : c->stalled + 1;
	c->stalled_ns = shrinks || fits ? 0 : c->stalled_ns + ns;

	if (fits) {
		c->converging = true;
		c->fitting++;
		if ((c->stalled >= POLISH_STALLS && low) || c->predicted_ns - c->fixed_ns <= SMALL_NS ||
		    c->fitting >= FIT_ROUNDS_MAX)
			return VERDICT_STOP;
		return VERDICT_ROUND;
	}
	c->fitting = 0;
	if (c->stalled >= STALL_ROUNDS) {
		c->converging = false;
		if (c->throttle < c->throttle_max)
			escalate(c);
		else if (c->stalled_ns >= HOPELESS_NS)
			return VERDICT_HOPELESS;
	} else if (known && shrinks) {
		c->converging = true;
	}
	assert(c->throttle <= c->throttle_max);
	return VERDICT_ROUND;
}
