/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_net - NICs of a machine: tap, virtio-net, and the announcement after a migration.
 *
 * The tap is made, brought up and attached to its bridge when the machine is built, on a
 * migration's destination too: nothing goes out of it before the domain runs, and the
 * switches hear of the new place only from machine_announce(): a RARP frame from us, and
 * whatever the guest says about its addresses when its driver is asked to.
 */
#include "hv/machine_int.h"

#include "base/log.h"
#include "net/announce.h"
#include "net/tap.h"

#include <errno.h>
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

int machine_nic_create(struct machine *m, size_t i, struct err *e)
{
	const struct domain_nic *nic = &m->conf->nics[i];
	struct virtio_net_conf c;
	int ret;

	memcpy(c.mac, nic->mac, sizeof(c.mac));
	c.tap_fd = nic_tap(nic, &c.mtu, e);
	if (c.tap_fd < 0) {
		err_prefix(e, "nics[%zu]", i);
		return c.tap_fd;
	}
	ret = virtio_net_create(&m->env, (unsigned int)i, &c, &m->nics[i], e);
	if (ret)
		close(c.tap_fd);
	else
		m->devices[m->n_devices++] = m->nics[i];
	return ret;
}

int machine_announce(struct machine *m, unsigned int round)
{
	uint8_t frame[ANNOUNCE_FRAME];
	struct err e;

	for (size_t i = 0; i < m->conf->n_nics; i++) {
		announce_rarp(frame, virtio_net_mac(m->nics[i]));
		/* One frame lost is no harm: others follow. */
		if (virtio_net_transmit(m->nics[i], frame, sizeof(frame), &e))
			log_warn("announce: %s", e.text);
		if (!round)
			virtio_net_announce(m->nics[i]);
	}
	return m->conf->n_nics ? announce_delay_ms(round) : -1;
}
