/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_nic - the row of network cards: a tap of the host's behind a virtio_net.
 *
 * The tap is made, brought up and attached to its bridge when the device is created, on a
 * migration's destination too: nothing goes out of it before the domain runs, and the
 * switches hear of the new place only when it is announced (hv/machine/machine_announce.c).
 */
#include "hv/virtio/virtio_int.h"

#include "base/log.h"
#include "net/link/tap.h"

#include <string.h>
#include <unistd.h>

static int nic_tap(const struct domain_nic *nic, uint16_t *mtu, struct err *e)
{
	char name[TAP_NAME_MAX + 1];
	int fd, ret;

	fd = tap_open(nic->tap, name, e);
	if (fd < 0)
		return fd;
	ret = nic->bridge ? tap_attach(name, nic->bridge, nic->mac, e) : 0;
	if (!ret)
		ret = tap_set_up(name, true, e);
	if (!ret)
		ret = tap_mtu(name, e);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	*mtu = ret < UINT16_MAX ? (uint16_t)ret : UINT16_MAX;
	log_info("NIC on %s%s%s, MTU %u", name, nic->bridge ? ", bridge " : "",
		 nic->bridge ? nic->bridge : "", *mtu);
	return fd;
}

static unsigned int nics_wanted(const struct domain_conf *conf)
{
	return (unsigned int)conf->n_nics;
}

static int nic_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
		      void **dev, struct err *e)
{
	const struct domain_nic *nic = &conf->nics[index];
	struct virtio_net_conf c;
	struct virtio_dev *v;
	int ret;

	memcpy(c.mac, nic->mac, sizeof(c.mac));
	c.tap_fd = nic_tap(nic, &c.mtu, e);
	if (c.tap_fd < 0) {
		err_prefix(e, "nics[%u]", index);
		return c.tap_fd;
	}
	ret = virtio_net_create(env, index, &c, &v, e);
	if (ret)
		close(c.tap_fd);
	else
		*dev = v;
	return ret;
}

const struct device_kind virtio_net_device = {
	.name = "net", .figures = "nics", .wanted = nics_wanted, .create = nic_create, VIRTIO_DEVICE
};
