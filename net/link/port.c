/* SPDX-License-Identifier: Apache-2.0 */
/* port - see port.h. */
#include "net/link/port_int.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define VLAN_8021Q 0x8100
#define BUSY_MS 1000
#define BUSY_PAUSE_MS 50

/* Frames of a guest that was to be kept apart would otherwise go everywhere. */
static int check_filters(const struct port_conf *c, const struct rtnl_link *bridge, struct err *e)
{
	if (!c->vlan && !c->n_vlans)
		return 0;
	if (!bridge->vlan_filtering)
		return err_set(e, -EINVAL, "bridge %s: does not filter VLANs, expected vlan_filtering 1", c->bridge);
	if (bridge->vlan_protocol != VLAN_8021Q)
		return err_set(e, -EINVAL, "bridge %s: filters VLANs of protocol 0x%04x, expected 802.1Q", c->bridge,
			       bridge->vlan_protocol);
	return 0;
}

static int look_at_bridge(const struct port_conf *c, struct rtnl_link *bridge, struct err *e)
{
	int ret = rtnl_link_get(c->bridge, bridge, e);

	if (ret == -ENODEV)
		return err_set(e, ret, "bridge %s: no such link on this host", c->bridge);
	if (ret)
		return ret;
	if (strcmp(bridge->kind, "bridge") != 0)
		return err_set(e, -EINVAL, "bridge %s: is not a bridge", c->bridge);
	if (c->mtu > bridge->mtu)
		return err_set(e, -EINVAL, "bridge %s: carries packets of up to %d bytes, expected %u", c->bridge,
			       bridge->mtu, c->mtu);
	return check_filters(c, bridge, e);
}

static int onto_bridge(struct port *p, const struct port_conf *c, struct err *e)
{
	struct rtnl_link bridge, tap;
	int ret;

	ret = look_at_bridge(c, &bridge, e);
	if (!ret)
		ret = rtnl_link_get(p->name, &tap, e);
	if (ret)
		return ret;
	/* A persistent one may be there since a VMM that was killed. */
	snprintf(p->bridge, sizeof(p->bridge), "%s", c->bridge);
	p->index = tap.index;
	if (tap.master != bridge.index) {
		if (p->persistent)
			p->mtu_before = tap.mtu;
		ret = tap_attach(p->name, c->bridge, c->mac, e);
		if (ret)
			return ret;
		p->ours = true;
	}
	p->vlan = c->vlan;
	p->n_vlans = c->n_vlans;
	if (c->n_vlans)
		memcpy(p->vlans, c->vlans, c->n_vlans * sizeof(p->vlans[0]));
	ret = port_set_vlans(p, e);
	if (ret)
		return ret;
	p->watch_fd = rtnl_watch_open(e);
	return p->watch_fd < 0 ? p->watch_fd : 0;
}

static int on_its_own(struct port *p, const struct port_conf *c, struct err *e)
{
	int ret = tap_mtu(p->name, e);

	if (ret < 0)
		return ret;
	if (c->mtu <= ret)
		return 0;
	p->mtu_before = ret;
	return tap_set_mtu(p->name, c->mtu, e);
}

/* Also that of a keeper goes a moment after its VMM, whose tap may be gone by then and made again. */
static int set_filter(struct port *p, const struct filter_conf *f, struct err *e)
{
	const struct timespec pause = { .tv_nsec = BUSY_PAUSE_MS * 1000000l };
	int ret = filter_set(p->name, f, &p->filter, e);

	for (int ms = 0; ret == -EBUSY && ms < BUSY_MS; ms += BUSY_PAUSE_MS) {
		nanosleep(&pause, NULL);
		ret = filter_set(p->name, f, &p->filter, e);
	}
	return ret;
}

static int connect_it(struct port *p, const struct port_conf *c, struct err *e)
{
	int ret;

	p->index = (int)if_nametoindex(p->name);
	ret = c->filter ? set_filter(p, c->filter, e) : 0;
	if (!ret)
		ret = c->bridge ? onto_bridge(p, c, e) : on_its_own(p, c, e);
	if (!ret)
		ret = tap_set_up(p->name, true, e);
	if (ret)
		return ret;
	p->mtu = tap_mtu(p->name, e);
	return p->mtu < 0 ? p->mtu : 0;
}

/* They wait until the guest wants them: what was sent to one that nobody reads would be lost. */
static int more_queues(struct port *p, const struct port_conf *c, struct err *e)
{
	unsigned int i;
	int ret;

	for (i = 1; i < c->queues; i++) {
		p->fd[i] = tap_open_queue(p->name, e);
		if (p->fd[i] < 0)
			return p->fd[i];
		ret = tap_attach_queue(p->fd[i], false, e);
		if (ret)
			return ret;
	}
	return 0;
}

struct port *port_make(void)
{
	struct port *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	for (unsigned int i = 0; i < TAP_QUEUES_MAX; i++)
		p->fd[i] = -1;
	p->watch_fd = -1;
	p->attached = true;
	return p;
}

/* The keeper of a VMM that was killed may be giving it back just now. */
static int open_tap(struct port *p, const struct port_conf *c, struct err *e)
{
	const struct timespec pause = { .tv_nsec = BUSY_PAUSE_MS * 1000000l };
	int fd = tap_open(c->tap, c->queues ? c->queues : 1, p->name, e);

	for (int ms = 0; fd == -EBUSY && c->tap && ms < BUSY_MS; ms += BUSY_PAUSE_MS) {
		nanosleep(&pause, NULL);
		fd = tap_open(c->tap, c->queues ? c->queues : 1, p->name, e);
	}
	return fd;
}

int port_open(const struct port_conf *c, struct port **out, struct err *e)
{
	struct port *p = port_make();
	int ret;

	assert((c->bridge || (!c->vlan && !c->n_vlans)) && c->n_vlans <= RTNL_VLANS_MAX);
	if (!p)
		return err_set(e, -ENOMEM, "port: no memory");
	p->fd[0] = open_tap(p, c, e);
	if (p->fd[0] < 0) {
		ret = p->fd[0];
		free(p);
		return ret;
	}
	p->persistent = tap_persists(p->fd[0]);
	ret = more_queues(p, c, e);
	if (!ret)
		ret = connect_it(p, c, e);
	if (ret) {
		port_close(p);
		return ret;
	}
	*out = p;
	return 0;
}

int port_take_fd(struct port *p, unsigned int q)
{
	int fd;

	assert(q < TAP_QUEUES_MAX);
	fd = p->fd[q];
	assert(fd >= 0);
	p->fd[q] = -1;
	return fd;
}

const char *port_name(const struct port *p)
{
	return p->name;
}

uint16_t port_carries(const struct port *p)
{
	return p->mtu < UINT16_MAX ? (uint16_t)p->mtu : UINT16_MAX;
}

/* --- the end --- */

/* The tap stays: it is to be as it was.  What cannot be taken back is told, and nothing depends on it. */
static void leave(struct port *p)
{
	struct err e;

	if (p->ours && tap_detach(p->name, p->bridge, &e))
		log_warn("%s", e.text);
	if (p->mtu_before && tap_set_mtu(p->name, p->mtu_before, &e))
		log_warn("%s", e.text);
}

/* Who still has it open would send without its filter. */
static void silence(const struct port *p)
{
	struct err e;

	if (p->index && (int)if_nametoindex(p->name) == p->index && tap_set_up(p->name, false, &e))
		log_warn("%s", e.text);
}

void port_close(struct port *p)
{
	unsigned int i;

	if (!p)
		return;
	if (p->persistent)
		leave(p);
	for (i = 0; i < TAP_QUEUES_MAX; i++)
		if (p->fd[i] >= 0)
			close(p->fd[i]);
	if (p->watch_fd >= 0)
		close(p->watch_fd);
	if (p->filter)
		silence(p);
	filter_end(p->filter);
	free(p);
}
