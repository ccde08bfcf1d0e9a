/* SPDX-License-Identifier: Apache-2.0 */
/* keeper_int - what the two ends of a keeper say to each other (keeper.h). */
#ifndef DROVER_NET_LINK_KEEPER_INT_H
#define DROVER_NET_LINK_KEEPER_INT_H

#include "net/link/keeper.h"
#include "net/link/port_int.h"

#define KEEPER_ADDRESSES_MAX 32

/* struct port_conf, flat; one that no keeper_open() makes is the last that is read. */
struct keeper_question {
	char tap[TAP_NAME_MAX + 1], bridge[TAP_NAME_MAX + 1]; /* "" for none */
	uint8_t mac[6];
	uint16_t mtu, vlan, vlans[RTNL_VLANS_MAX];
	uint32_t n_vlans, queues;
	uint8_t filter, by_address; /* 0 or not */
	uint32_t n_addresses;
	struct filter_address addresses[KEEPER_ADDRESSES_MAX];
};

struct keeper_answer {
	int ret;
	struct err err;
	char name[TAP_NAME_MAX + 1];
	int mtu;
	uint32_t n_taps; /* descriptors: so many taps, then the port's end of the news */
};

/** keeper_serve() - in the keeper: answer until the parent wants no more, keep ports until all are closed */
void keeper_serve(int sock, void *arg);

#endif
