/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnl - what this host's kernel says of a link, and the VLANs of a bridge's port (rtnetlink(7)).
 *
 * One request and its answer at a time, on a socket of its own; nothing is kept.  A watch is a socket that others' changes
 * arrive at.
 * Reading needs no privilege, setting VLANs needs CAP_NET_ADMIN.
 */
#ifndef DROVER_NET_LINK_RTNL_H
#define DROVER_NET_LINK_RTNL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTNL_KIND_MAX 16
#define RTNL_VLANS_MAX 64 /* that a port may have tagged */
#define RTNL_VID_MAX 4094 /* IEEE 802.1Q 9.6: 0 is no VLAN, 4095 is reserved */

#define RTNL_NAME_MAX 15

struct rtnl_link {
	int index;
	char name[RTNL_NAME_MAX + 1];
	int mtu;                  /* bytes, without the Ethernet header */
	int master;               /* index of the bridge it is a port of, 0: none */
	bool up;                  /* administratively */
	char kind[RTNL_KIND_MAX]; /* "bridge", "tun", ...; "" for what has none */
	/* of a bridge: */
	bool vlan_filtering;
	uint16_t vlan_protocol; /* 0x8100: IEEE 802.1Q */
};

/**
 * rtnl_link_get() - what there is to know of the link @name
 * Return: 0, -ENODEV "link NAME: no such link on this host", or -errno.
 */
int rtnl_link_get(const char *name, struct rtnl_link *out, struct err *e);

/** rtnl_link_at() - the same by its index */
int rtnl_link_at(int index, struct rtnl_link *out, struct err *e);

/** rtnl_watch_open() - a descriptor, the caller's, that is readable when links of this host have changed */
int rtnl_watch_open(struct err *e);
/**
 * rtnl_watch_drain() - read all that has come; never waits, but for the kernel's answer when some of it was lost
 * @master: receives that of link @index, as struct rtnl_link has it, if there was news of that link
 * Return: was there?
 */
bool rtnl_watch_drain(int fd, int index, int *master);

/**
 * rtnl_port_vlans() - of all VLANs let port @index of a bridge have these and no others
 * @untagged: of frames without a tag, 1..RTNL_VID_MAX; 0: those are dropped
 * @tagged: those that whoever is behind the port tags itself, at most RTNL_VLANS_MAX; without @untagged
 * Those that the bridge gave it by default go first.
 */
int rtnl_port_vlans(int index, uint16_t untagged, const uint16_t *tagged, size_t n_tagged, struct err *e);

#endif
