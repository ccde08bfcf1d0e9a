/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_announce - telling the network where the guest is now, after a migration: a RARP frame
 * from us for each NIC, and whatever the guest says about its addresses when its driver is asked to.
 */
#include "hv/machine/machine_int.h"

#include "base/log.h"
#include "net/link/announce.h"

static void announce_one(struct virtio_dev *nic, bool ask_guest)
{
	uint8_t frame[ANNOUNCE_FRAME];
	struct err e;

	announce_rarp(frame, virtio_net_mac(nic));
	/* One frame lost is no harm: others follow. */
	if (virtio_net_transmit(nic, frame, sizeof(frame), &e))
		log_warn("announce: %s", e.text);
	if (ask_guest)
		virtio_net_announce(nic);
}

int machine_announce(struct machine *m, unsigned int round)
{
	struct machine_device *d = NULL;
	bool any = false;

	pthread_rwlock_rdlock(&m->devices_lock);
	while ((d = machine_device_next(m, &virtio_net_device, d))) {
		announce_one(d->dev, !round);
		any = true;
	}
	pthread_rwlock_unlock(&m->devices_lock);
	return any ? announce_delay_ms(round) : -1;
}
