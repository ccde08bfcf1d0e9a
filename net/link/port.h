/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port - a guest's network card plugged into this host's network: a tap, its place on a bridge, its VLANs, its filter.
 *
 * A port is made in this order, so that no frame passes before all rules hold:
 *
 *     tap made, down -> its filter -> onto the bridge -> its VLANs -> up
 *
 * and all of it is taken back by port_close().  A tap that was made for it goes with its last descriptor, also
 * when the process is killed, and takes with it whatever was set.  One that was there before (a persistent tap)
 * stays, with its MTU as before and off the bridge again, if it was not on it already; and
 * down, if it had a filter, so that nobody sends without.
 * Ends are seen a moment after a process: port_open() waits a second for a tap or a filter that another one has.
 */
#ifndef DROVER_NET_LINK_PORT_H
#define DROVER_NET_LINK_PORT_H

#include "base/err.h"
#include "net/link/filter.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORT_MTU_MIN 68u    /* VIRTIO 1.2 5.1.4.1 */
#define PORT_MTU_MAX 65521u /* Linux's tun: 65535 with the Ethernet header */

struct port_conf {
	const char *tap;       /* NULL: named by the kernel */
	const char *bridge;    /* NULL: the tap is left for others to attach */
	const uint8_t *mac;    /* 6 bytes, the card's */
	uint16_t mtu;          /* PORT_MTU_MIN..PORT_MTU_MAX; 0: what the link carries */
	uint16_t vlan;         /* of frames without a tag, 1..4094; 0: none */
	const uint16_t *vlans; /* that the guest tags itself; at most RTNL_VLANS_MAX (net/link/rtnl.h) */
	size_t n_vlans;
	const struct filter_conf *filter; /* NULL: none */
	unsigned int queues;              /* 1..TAP_QUEUES_MAX (net/link/tap.h); 0: 1 */
};

struct port;

/**
 * port_open() - a port as @c has it, up; @c is read during the call only
 * A bridge that was given no MTU takes the least of its ports': so the tap takes the bridge's, and @c->mtu, which
 * may be less, is the guest's alone.  Without a bridge the tap gets @c->mtu, unless it carries as much.
 * Return: 0 and *@out, port_close() it.  -ENODEV without such a bridge, -EINVAL when it is none, carries less than
 * @c->mtu or does not filter the VLANs that are asked for, -EBUSY when the tap is in use, ... with nothing left behind.
 */
int port_open(const struct port_conf *c, struct port **out, struct err *e);

/** port_take_fd() - the descriptor of the tap's queue @q, the caller's from now on; once.  Only queue 0 is attached */
int port_take_fd(struct port *p, unsigned int q);
/** port_name() - the tap's; @p's */
const char *port_name(const struct port *p);
/** port_carries() - the largest packet it carries, in bytes without the Ethernet header; at most 65535 */
uint16_t port_carries(const struct port *p);

/**
 * port_watch_fd() - readable when something has happened to links of this host; @p's.  -1: there is no bridge to be on
 * port_news() - when it is: look whether the tap is still on its bridge, and say so in a line if that has changed
 * One that is back on its bridge gets its VLANs again: the bridge has forgotten them.
 */
int port_watch_fd(const struct port *p);
void port_news(struct port *p);
/** port_is_attached() - as port_news() has seen it last; true without a bridge */
bool port_is_attached(const struct port *p);
/** port_is_unguarded() - as port_news() has seen it: another process kept its filter, and has ended; close its descriptors */
bool port_is_unguarded(const struct port *p);

/** port_close() - take back what port_open() did; NULL is nothing.  The filter goes with it: close the descriptors first */
void port_close(struct port *p);

#endif
