/* SPDX-License-Identifier: Apache-2.0 */
/* fence - fence agents: those that work, fail, hang, are late, lie, or answer long after the power went. */
#include "cmd/drover-sim/sim.h"

/* SLOW: the power goes in time, the answer comes much later. ANSWER: that answer. */
enum agent {
	AGENT_OK,
	AGENT_FAIL,
	AGENT_HANG,
	AGENT_LATE,
	AGENT_LIE,
	AGENT_SLOW,
	AGENT_ANSWER
};

void fence_start(struct sim *s, uint32_t h, const struct ha_effect *fx)
{
	uint32_t target = fx->fence.node - 1;
	enum agent a = AGENT_OK;
	uint64_t delay = sim_range(s, 200 * MS, 900 * MS);

	s->n_fences++;
	if (s->agent)
		a = s->agent == 4 ? AGENT_SLOW : (enum agent)(s->agent - 1);
	else if (!s->fencing_works)
		a = (enum agent)sim_range(s, AGENT_FAIL, AGENT_HANG);
	else if (!sim_chance(s, s->o.fence_percent))
		a = (enum agent)sim_range(s, AGENT_FAIL, AGENT_LIE);
	else if (!s->quiet_world && sim_chance(s, 25))
		a = AGENT_SLOW;
	if (a == AGENT_HANG)
		return;
	if (a == AGENT_LATE)
		delay = sim_range(s, 5 * SEC, 70 * SEC);
	sim_at(s, delay, EV_FENCE, h, target | (uint64_t)a << 8, fx->fence.debt, s->host[h].gen);
}

void fence_event(struct sim *s, const struct sim_ev *ev)
{
	uint32_t target = (uint32_t)ev->a & 0xff;
	enum agent a = (enum agent)(ev->a >> 8);
	struct sim_host *x = &s->host[ev->h];
	struct sim_in in = { .kind = HA_EV_FENCE_DONE, .node = target, .debt = ev->b, .rc = a == AGENT_FAIL || a == AGENT_LIE };

	/* The host that runs the agent died: its power command may have gone out or not. */
	if (x->gen != ev->c && sim_chance(s, 50))
		return;
	if (s->quiet_world && a == AGENT_LATE)
		return;
	if (a != AGENT_FAIL && a != AGENT_ANSWER)
		host_power_off(s, target, "fenced");
	if (a == AGENT_SLOW) {
		sim_at(s, s->agent ? s->agent_answer_us : sim_range(s, 1 * SEC, 20 * SEC), EV_FENCE,
		       ev->h, target | (uint64_t)AGENT_ANSWER << 8, ev->b, ev->c);
		return;
	}
	if (x->gen == ev->c)
		host_give(s, ev->h, &in);
}
