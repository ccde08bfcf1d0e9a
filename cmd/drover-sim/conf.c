/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf - corosync.conf: who is in it, with how many votes, which token.  Each host has one of its
 * own, and what operators want comes to one host after the other.
 */
#include "cmd/drover-sim/sim.h"

#include <string.h>

static uint32_t votes(const struct sim_conf *c, uint32_t hosts)
{
	uint32_t n = 0;

	for (uint32_t h = 0; h < SIM_HOSTS; h++)
		if (hosts >> h & 1)
			n += c->votes[h];
	return n;
}

bool conf_majority(const struct sim_conf *c, uint32_t hosts)
{
	return 2 * votes(c, hosts & c->hosts) > votes(c, c->hosts);
}

size_t conf_nodes(const struct sim *s, uint32_t h, struct ha_node_conf *nodes)
{
	const struct sim_conf *c = &s->host[h].conf;
	size_t n = 0;

	for (uint32_t i = 0; i < s->o.hosts; i++) {
		if (!(c->hosts >> i & 1))
			continue;
		memset(&nodes[n], 0, sizeof(nodes[n]));
		nodes[n].id = i + 1;
		nodes[n].votes = c->votes[i];
		snprintf(nodes[n++].name, sizeof(nodes[0].name), "n%u", i + 1);
	}
	return n;
}

void conf_token(struct sim *s, uint32_t h, uint32_t token)
{
	struct sim_in in = { .kind = HA_EV_CONFIG };

	s->host[h].token = token;
	host_give(s, h, &in);
}

void conf_write(struct sim *s, uint32_t hosts)
{
	struct sim_in in = { .kind = HA_EV_CONFIG };

	for (uint32_t h = 0; h < s->o.hosts; h++) {
		if (!(hosts >> h & 1))
			continue;
		s->host[h].conf = s->conf;
		host_give(s, h, &in);
		/* votequorum counts anew */
		if (s->host[h].ring)
			sim_at(s, sim_range(s, 0, 10 * MS), EV_QUORUM, h, s->host[h].ring->id,
			       s->host[h].gen, 0);
	}
}

void conf_event(struct sim *s, const struct sim_ev *ev)
{
	conf_write(s, 1u << ev->h);
}

/*
 * One host out at a time, and small votes: those who remain then never lack a majority that a host
 * which is out could have, so that nobody takes out hosts who go on without them.
 */
void conf_change(struct sim *s)
{
	uint32_t h = (uint32_t)sim_range(s, 0, s->o.hosts - 1);
	struct sim_conf *c = &s->conf;

	/* Never out together with a host: by that operators say that the host is gone for ever (ha/core/agree.c). */
	if (!c->witness != !s->o.witness || (s->o.witness && c->hosts == sim_all(s) && sim_chance(s, 30)))
		c->witness = !c->witness;
	else if (s->o.hosts > 3 && sim_chance(s, 40))
		c->votes[h] = 3 - c->votes[h];
	else if (c->hosts != sim_all(s))
		c->hosts = sim_all(s);
	else
		c->hosts &= ~(1u << h);
	sim_trace(s, "corosync.conf is to have hosts %x", c->hosts);
	for (uint32_t i = 0; i < s->o.hosts; i++)
		if (!sim_chance(s, 10)) /* forgotten on this one */
			sim_at(s, sim_range(s, 0, sim_chance(s, 50) ? 200 * MS : 4 * SEC), EV_CONF, i, 0, 0, 0);
}
