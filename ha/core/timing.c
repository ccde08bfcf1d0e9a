/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timing - why each time is what it is.
 *
 * One knob: corosync's token T.  Measured law (token 300..3000 ms, 2..8 nodes):
 * a silent node leaves the membership 2.1-2.2 T after its last word, because
 * totem waits T for the token and then 1.2 T for consensus.
 *
 *  h  = T/4      Renewals.  Four per token, so that one lost in a re-formation
 *                costs a quarter of a token of lease and no more.
 *  L  = 3T       A lease must outlast a re-formation: while the ring re-forms no
 *                message flows for the survivors either.  It was renewed at worst
 *                2h before the fault (one renewal on its way, its acknowledgement
 *                on the next RENEW), 2.2 T + 2h = 2.7 T; the rest is for the new
 *                epoch, which is two fsyncs and three multicasts.
 *  W  = 3T, >=1s From the end of the lease until the last write of the host has
 *                certainly ended: VMMs look at the lease page, what does not stop
 *                is killed, what cannot be killed is reset by the watchdog.
 *  P  = (L+W) x 1.021 + 0.4 s
 *                What a survivor waits after the last RENEW it heard.  Its clock
 *                may run 1 % fast while the other's runs 1 % slow: the product is
 *                1.01 / 0.99 = 1.0203.  0.4 s lets writes drain that a storage
 *                target has already accepted.
 *  peer = 3/2 T, >=1.5s, <=60s
 *                A migration gives its peer up before the ring would give the host
 *                up (2.2 T), but allows what the operator allowed the network for:
 *                a long token says that hosts here are slow to answer.
 */
#include "ha/core/timing.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static uint32_t at_least(uint32_t v, uint32_t min)
{
	return v < min ? min : v;
}

void ha_timing_derive(uint32_t token, struct ha_timing *t)
{
	if (token < HA_TOKEN_MIN)
		token = HA_TOKEN_MIN;
	if (token > HA_TOKEN_MAX)
		token = HA_TOKEN_MAX;

	t->token = token;
	t->detect = token * 22 / 10;
	t->renew = token / 4;
	t->lease = token * 3;
	t->gate = at_least(token * 3, 1000);
	t->proof = (uint32_t)((uint64_t)(t->lease + t->gate) * 1021 / 1000) + 400;
	t->evict = token * 2;
	t->grace = (uint32_t)((uint64_t)t->lease * 1021 / 1000) + 250;
	t->fence = 60000;
	t->fence_retry = at_least(token * 5, 5000);
	t->retry_min = 2000;
	t->retry_max = 300000;
	t->ready = 30000;
	t->peer = at_least(token * 3 / 2, 1500);
	if (t->peer > 60000)
		t->peer = 60000; /* the stream's own bound (docs/stream.md, CAPS) */
	t->decide = 10000;
	t->propose = at_least(token * 4, 2000);
	t->command = 10000;
	t->control = HA_CONTROL_MS;
	t->launch = 60000;
	t->stable = 60000;
	t->stop = 30000;
	t->stop_kill = 10000;
	t->kill_again = 2000;

	/* docs/ha.md, rule T: what the proofs there take for granted of any token */
	assert(t->renew && t->renew * 2 < t->lease);
	assert(t->detect < t->lease);
	assert(t->proof > t->lease + t->gate);
	assert(t->grace > t->lease && t->grace < t->proof);
	assert(t->retry_min <= t->retry_max && t->fence_retry <= t->retry_max);
}

#define ROW(name, symbol, formula, meaning)                                       \
	{                                                                         \
#name, symbol, offsetof(struct ha_timing, name), formula, meaning \
	}

static const struct ha_timing_row rows[] = {
	ROW(token, "", "largest totem.token of all", "the one knob"),
	ROW(detect, "", "2.2 token", "a silent host leaves the membership"),
	ROW(renew, "h", "token / 4", "leases are renewed this often"),
	ROW(lease, "L", "3 token", "a host runs domains this long after a renewal"),
	ROW(gate, "W", "3 token, at least 1 s", "and has certainly stopped writing after this"),
	ROW(proof, "P", "(L + W) x 1.021 + 0.4 s", "silence that proves a host has stopped"),
	ROW(evict, "", "2 token", "a mute group member is voted out"),
	ROW(grace, "", "L x 1.021 + 0.25 s", "a host is not fenced for its daemon's death before"),
	ROW(fence, "", "", "one fencing attempt may take this long"),
	ROW(fence_retry, "", "5 token, at least 5 s", "pause after all hosts failed to fence, and between two moves "
						      "off a host in maintenance"),
	ROW(retry_min, "", "doubles up to retry_max", "pause before a failed domain is started again"),
	ROW(retry_max, "", "", "the longest such pause"),
	ROW(ready, "", "", "a migration's destination listens by then"),
	ROW(peer, "", "1.5 token, at least 1.5 s", "a migration's peer that is silent for so long is dead"),
	ROW(decide, "", "", "a VMM follows a decision by then, or is killed"),
	ROW(propose, "", "4 token, at least 2 s", "a proposal that was not delivered by then is sent again"),
	ROW(command, "", "", "a command is decided by then, or given up"),
	ROW(control, "", "", "a VMM answers on its control socket by then, or is given up"),
	ROW(launch, "", "", "a VMM that said nothing by then is killed"),
	ROW(stable, "", "", "a domain that ran this long has got over its failures"),
	ROW(stop, "", "", "a guest has this long to power off, then it is ended"),
	ROW(stop_kill, "", "", "and its VMM is killed when it is still there after this"),
	ROW(kill_again, "", "", "a VMM that a kill did not end is killed again"),
};

const struct ha_timing_row *ha_timing_row(size_t i)
{
	return i < sizeof(rows) / sizeof(rows[0]) ? &rows[i] : NULL;
}

uint32_t ha_timing_value(const struct ha_timing *t, const struct ha_timing_row *row)
{
	uint32_t v;

	memcpy(&v, (const char *)t + row->offset, sizeof(v));
	return v;
}

size_t ha_timing_print(const struct ha_timing *t, char *buf, size_t size)
{
	const struct ha_timing_row *r;
	size_t used = 0;

	if (size)
		buf[0] = '\0';
	for (size_t i = 0; (r = ha_timing_row(i)) != NULL; i++) {
		int n = snprintf(used < size ? buf + used : NULL, used < size ? size - used : 0,
				 "%-11s %-1s %6u ms  %-26s %s\n", r->name, r->symbol, ha_timing_value(t, r),
				 r->formula, r->meaning);

		used += n < 0 ? 0 : (size_t)n;
	}
	return used;
}
