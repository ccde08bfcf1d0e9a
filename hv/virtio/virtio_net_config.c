/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_net_config - what a guest reads of its network card (VIRTIO 1.2 5.1.4). */
#include "hv/virtio/virtio_net_int.h"

#include <endian.h>
#include <string.h>

void net_publish(struct virtio_net *d)
{
	struct net_config c = {
		.status = htole16(d->link),
		.max_pairs = htole16((uint16_t)d->n_pairs),
		.mtu = htole16(d->mtu),
	};

	memcpy(c.mac, d->mac, sizeof(c.mac));
	memcpy(d->v.config, &c, sizeof(c));
	d->v.config_len = sizeof(c);
}
