/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter - what a guest may send: frames of its own and of nobody else's.
 *
 * A table of nftables for each tap, "drover-TAP" in the family netdev, on the tap's ingress: before any bridge, so
 * it does not matter what is behind, and a bridge that is made anew has it still.
 *
 *     MAC alone      its own as the sender of each frame, and inside ARP and RARP; no VLAN tag but those it may use
 *     and addresses  IPv4 and IPv6 from these only, as the sender in ARP and the target in neighbour advertisements
 *                    too; DHCP, and what a host asks before it has an address (RFC 5227, RFC 4862), may come from none;
 *                    no router advertisement, no redirect, no other protocol
 *
 * The table belongs to this process (NFT_TABLE_F_OWNER, Linux 5.12): `nft flush ruleset` passes over it, nobody else
 * can change it, and the kernel removes it when the process ends, however it ends.
 */
#ifndef DROVER_NET_LINK_FILTER_H
#define DROVER_NET_LINK_FILTER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct filter_address {
	bool v6;
	uint8_t bytes[16]; /* network order; 4 of them for IPv4 */
};

struct filter_conf {
	const uint8_t *mac;    /* 6 bytes */
	const uint16_t *vlans; /* that the guest may tag its frames with */
	size_t n_vlans;
	bool by_address; /* false: @addresses say nothing */
	/* Beside them the link-local address that is made of @mac (RFC 4291 2.5.1) is always the guest's. */
	const struct filter_address *addresses;
	size_t n_addresses;
};

struct filter;

/**
 * filter_set() - from now on @tap takes only what @c allows
 * Return: 0 and *@out, in force until filter_end(); -EINVAL for a tap with a name that nftables would not take;
 * -ENOMEM; -ENOENT without libnftables; -EBUSY when another process has a filter for a tap of this name (or this one has
 * no right to any); or -EIO with what nftables said, also when there is such a table that nobody owns.  Nothing is left
 * behind then.
 */
int filter_set(const char *tap, const struct filter_conf *c, struct filter **out, struct err *e);

/** filter_end() - the table goes; NULL is nothing */
void filter_end(struct filter *f);

#endif
