/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_net_int - the network card, for its parts only (virtio_net.c tells of them). */
#ifndef DROVER_HV_VIRTIO_VIRTIO_NET_INT_H
#define DROVER_HV_VIRTIO_VIRTIO_NET_INT_H

#include "hv/virtio/virtio_int.h"
#include "hv/virtio/virtio_net_abi.h"

#include "net/link/tap.h"

#define NET_QUEUE_SIZE 256

enum {
	RX,
	TX,
	CTRL,
	QUEUES
};

struct virtio_net {
	struct virtio_dev v;
	int tap;
	struct port *port; /* what the tap is plugged into; NULL: nothing of ours */
	bool running;
	uint8_t mac[6];
	uint16_t link;                    /* NET_S_* */
	uint16_t mtu;                     /* as the guest was told */
	uint16_t conf_mtu;                /* as a guest is to be told here */
	uint16_t link_mtu;                /* what this host's link carries */
	uint16_t vlan;                    /* of frames without a tag, 0: none, or the bridge's own */
	uint16_t vlans[DOMAIN_VLANS_MAX]; /* that the guest tags itself */
	size_t n_vlans;
	uint8_t *packet;   /* read from the tap, on its way into the guest */
	size_t packet_len; /* 0 = none */
	struct virtq_elem el;
	struct virtq_elem rx[NET_QUEUE_SIZE]; /* buffers of one packet, until it fits */
	uint64_t rx_packets, rx_bytes, rx_dropped, tx_packets, tx_bytes, tx_dropped;
};

static inline struct virtio_net *net_of_dev(struct virtio_dev *v)
{
	return (struct virtio_net *)v;
}

/* net_publish() - what the guest reads in the configuration is made anew from the card; with v->lock held */
void net_publish(struct virtio_net *d);

#endif
