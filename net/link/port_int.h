/* SPDX-License-Identifier: Apache-2.0 */
/* port_int - a port, for who makes one: here (port.c), or in another process (keeper.c). */
#ifndef DROVER_NET_LINK_PORT_INT_H
#define DROVER_NET_LINK_PORT_INT_H

#include "net/link/port.h"
#include "net/link/rtnl.h"
#include "net/link/tap.h"

struct port {
	char name[TAP_NAME_MAX + 1];
	char bridge[TAP_NAME_MAX + 1]; /* it is to be on, "" for none */
	bool kept;                     /* the other process has the rest: here are fd, watch_fd (its news), attached, mtu */
	bool filtered;                 /* of a kept one: there is a filter */
	bool ours;                     /* we put it there */
	int index;                     /* the tap's */
	int watch_fd;                  /* -1: none */
	bool attached;                 /* to its bridge, when we looked last */
	uint16_t vlan, vlans[RTNL_VLANS_MAX];
	size_t n_vlans;
	int fd[TAP_QUEUES_MAX]; /* -1: taken, or none */
	bool persistent;        /* it was there before us */
	struct filter *filter;  /* NULL: none */
	int mtu, mtu_before;    /* mtu_before: 0 unless changed by us */
};

#define PORT_NEWS_TEXT 256

struct port_change {
	bool attached, wrong; /* wrong: people should hear of it */
	char text[PORT_NEWS_TEXT];
};

/** port_make() - one without a tap; NULL without memory */
struct port *port_make(void);
/** port_set_vlans() - those of its tap on its bridge, if it is to have any; -errno */
int port_set_vlans(struct port *p, struct err *e);
/** port_look() - read what is at watch_fd; true: the tap has left its bridge or is back, and *@to tells */
bool port_look(struct port *p, struct port_change *to);
/** port_heard() - of a kept one: the news that have come, the last that its keeper has ended; false: none for now */
bool port_heard(struct port *p, struct port_change *to);

#endif
