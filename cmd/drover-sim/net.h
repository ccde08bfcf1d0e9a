/* SPDX-License-Identifier: Apache-2.0 */
/* net - what net.c and ring.c share. */
#ifndef DROVER_SIM_NET_H
#define DROVER_SIM_NET_H

#include "cmd/drover-sim/sim.h"

bool net_lives(const struct sim *s, uint32_t h);              /* its corosync runs now */
bool net_linked(const struct sim *s, uint32_t a, uint32_t b); /* each hears the other */
void net_ring_put(struct sim_ring *r);
/* @left: who left the group by its own will, one host at most */
void net_append_view(struct sim *s, struct sim_ring *r, uint32_t ghost, uint32_t left);
void net_give_item(struct sim *s, uint32_t h, const struct sim_item *it);
void net_schedule_send(struct sim *s, uint32_t h);

void ring_break(struct sim *s, struct sim_ring *r);
void ring_form(struct sim *s, uint32_t first);
void ring_merge(struct sim *s);
void ring_flux(struct sim *s, uint32_t h, uint64_t id);

#endif
