/* SPDX-License-Identifier: Apache-2.0 */
/* net - what net.c and ring.c share. */
#ifndef DROVER_SIM_NET_H
#define DROVER_SIM_NET_H

#include "cmd/drover-sim/sim.h"

bool net_lives(const struct sim *s, uint32_t h);              /* its corosync runs now */
bool net_linked(const struct sim *s, uint32_t a, uint32_t b); /* each hears the other */
void net_ring_put(struct sim_ring *r);                        /* one host less has it; NULL is nothing */
/**
 * net_append_view() - the next item of @r, which is live, is a view of its members that have joined
 * @ghost: hosts that the view names though they are not in the ring
 * @left: who left the group by its own will, one host at most
 */
void net_append_view(struct sim *s, struct sim_ring *r, uint32_t ghost, uint32_t left);
/**
 * net_give_item() - @h's daemon, if it has joined, is given @it; a view that does not name @h is passed over
 * Its ring may grow by that: @it is not to be looked at any more.
 */
void net_give_item(struct sim *s, uint32_t h, const struct sim_item *it);
/** net_schedule_send() - what waits in @h's queue will be ordered, soon; nothing when its ring is not live */
void net_schedule_send(struct sim *s, uint32_t h);

/** ring_break() - @r stands still: who has got which item is drawn now; nothing when it does already */
void ring_break(struct sim *s, struct sim_ring *r);
/**
 * ring_form() - @first and others without a live ring, who all reach each other, form one
 * Before, those who come from one ring are given what they share of the rest of it.
 */
void ring_form(struct sim *s, uint32_t first);
/** ring_merge() - live rings that reach each other break, with nothing lost, and form anew within 60 ms */
void ring_merge(struct sim *s);
/** ring_flux() - ring @id, if @h has it still, breaks in the same way, if a host is heard that does not hear it */
void ring_flux(struct sim *s, uint32_t h, uint64_t id);

#endif
