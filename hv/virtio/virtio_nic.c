/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_nic - the row of network cards: a port of this host's (net/link/port.h) behind a virtio_net.
 *
 * The port is made, brought up and attached to its bridge when the device is created, on a
 * migration's destination too: nothing goes out of it before the domain runs, and the
 * switches hear of the new place only when it is announced (hv/machine/machine_announce.c).
 */
#include "hv/virtio/virtio_int.h"

#include "base/log.h"
#include "net/link/keeper.h"
#include "net/link/rtnl.h"
#include "net/link/tap.h"

#include <string.h>
#include <unistd.h>

_Static_assert(DOMAIN_VLANS_MAX <= RTNL_VLANS_MAX && DOMAIN_VLAN_MAX == RTNL_VID_MAX &&
		       DOMAIN_QUEUES_MAX <= VIRTIO_NET_PAIRS_MAX && DOMAIN_QUEUES_MAX <= TAP_QUEUES_MAX && DOMAIN_MTU_MIN == PORT_MTU_MIN && DOMAIN_MTU_MAX == PORT_MTU_MAX,
	       "what a file may say, a port can do");

/* @addresses: room for DOMAIN_ADDRESSES_MAX */
static void nic_filter(const struct domain_nic *nic, struct filter_conf *f, struct filter_address *addresses)
{
	size_t i;

	for (i = 0; i < nic->n_addresses; i++) {
		addresses[i].v6 = nic->addresses[i].v6;
		memcpy(addresses[i].bytes, nic->addresses[i].bytes, sizeof(addresses[i].bytes));
	}
	*f = (struct filter_conf){
		.mac = nic->mac,
		.vlans = nic->vlans,
		.n_vlans = nic->n_vlans,
		.by_address = nic->filter == FILTER_ADDRESSES,
		.addresses = addresses,
		.n_addresses = nic->n_addresses,
	};
}

static int nic_port(struct keeper *keeper, const struct domain_nic *nic, struct port **out, struct err *e)
{
	struct filter_address addresses[DOMAIN_ADDRESSES_MAX];
	struct filter_conf filter;
	const struct port_conf c = {
		.tap = nic->tap,
		.bridge = nic->bridge,
		.mac = nic->mac,
		.mtu = nic->mtu,
		.vlan = nic->vlan,
		.vlans = nic->vlans,
		.n_vlans = nic->n_vlans,
		.queues = nic->queues,
		.filter = nic->filter ? &filter : NULL,
	};
	int ret;

	nic_filter(nic, &filter, addresses);
	ret = keeper_open(keeper, &c, out, e);
	if (!ret)
		log_info("NIC on %s%s%s, MTU %u", port_name(*out), nic->bridge ? ", bridge " : "",
			 nic->bridge ? nic->bridge : "", nic->mtu ? nic->mtu : port_carries(*out));
	return ret;
}

static unsigned int nics_wanted(const struct domain_conf *conf)
{
	return (unsigned int)conf->n_nics;
}

static int nic_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
		      void **dev, struct err *e)
{
	const struct domain_nic *nic = &conf->nics[index];
	struct virtio_net_conf c = {
		.mtu = nic->mtu,
		.vlan = nic->vlan,
		.vlans = nic->vlans,
		.n_vlans = nic->n_vlans,
	};
	int more[VIRTIO_NET_PAIRS_MAX];
	struct virtio_dev *v;
	int ret;

	memcpy(c.mac, nic->mac, sizeof(c.mac));
	ret = nic_port(env->ports, nic, &c.port, e);
	if (ret) {
		err_prefix(e, "nics[%u]", index);
		return ret;
	}
	c.link_mtu = port_carries(c.port);
	c.tap_fd = port_take_fd(c.port, 0);
	c.more_taps = more;
	for (c.n_more = 0; c.n_more + 1 < nic->queues; c.n_more++)
		more[c.n_more] = port_take_fd(c.port, c.n_more + 1);
	ret = virtio_net_create(env, index, &c, &v, e);
	if (ret) {
		close(c.tap_fd);
		while (c.n_more)
			close(more[--c.n_more]);
		port_close(c.port);
		return ret;
	}
	*dev = v;
	return 0;
}

const struct device_kind virtio_net_device = {
	.name = "net", .figures = "nics", .wanted = nics_wanted, .create = nic_create, VIRTIO_DEVICE
};
