/* SPDX-License-Identifier: Apache-2.0 */
/* conf - corosync.conf as the hosts have it: who is in it, with how many votes, which token. */
#include "cmd/drover-sim/sim.h"

#include <string.h>

static uint32_t votes(const struct sim *s, uint32_t hosts)
{
	uint32_t n = 0;

	for (uint32_t h = 0; h < s->o.hosts; h++)
		if (hosts >> h & 1)
			n += s->votes[h];
	return n;
}

bool host_majority(const struct sim *s, uint32_t hosts, uint32_t of)
{
	return 2 * votes(s, hosts & of) > votes(s, of);
}

size_t host_nodes(const struct sim *s, struct ha_node_conf *nodes)
{
	size_t n = 0;

	for (uint32_t h = 0; h < s->o.hosts; h++) {
		if (!(s->configured >> h & 1))
			continue;
		memset(&nodes[n], 0, sizeof(nodes[n]));
		nodes[n].id = h + 1;
		nodes[n].votes = s->votes[h];
		snprintf(nodes[n++].name, sizeof(nodes[0].name), "n%u", h + 1);
	}
	return n;
}

void host_token(struct sim *s, uint32_t h, uint32_t token)
{
	struct sim_in in = { .kind = HA_EV_CONFIG };

	s->host[h].token = token;
	host_give(s, h, &in);
}

void host_config(struct sim *s, uint32_t configured)
{
	struct sim_in in = { .kind = HA_EV_CONFIG };

	s->configured = configured;
	for (uint32_t h = 0; h < s->o.hosts; h++) {
		host_give(s, h, &in);
		/* votequorum counts anew */
		if (s->host[h].ring)
			sim_at(s, sim_range(s, 0, 10 * MS), EV_QUORUM, h, s->host[h].ring->id,
			       s->host[h].gen, 0);
	}
}
