/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_net_int - the network card, for its parts only (virtio_net.c tells of them). */
#ifndef DROVER_HV_VIRTIO_VIRTIO_NET_INT_H
#define DROVER_HV_VIRTIO_VIRTIO_NET_INT_H

#include "hv/virtio/virtio_int.h"
#include "hv/virtio/virtio_net_abi.h"

#include "net/link/tap.h"

#define NET_QUEUE_SIZE 256
#define NET_PACKET_MAX (TAP_HEADER + 65550u) /* 64 KiB of IP and an Ethernet header with VLAN */
#define NET_BATCH 64                         /* packets per turn: others of its thread wait so long */
#define NET_IOV_MAX 1024                     /* buffers of one read (UIO_MAXIOV) */

/* A receive buffer that was taken from the ring. */
struct net_buffer {
	uint16_t head, pieces;
	uint32_t len;
};

/* A pair of queues, with a queue of the tap and a thread for both; under the lock of queue @rx (virtio_queue_lock()). */
struct net_pair {
	struct virtio_net *card;
	unsigned int index;
	unsigned int rx, tx; /* its queues */
	int tap;             /* -1: no link */
	bool listening;      /* the tap wakes us */

	/* Receive buffers that are taken from the ring already, oldest first (virtio_net_receive.c). */
	struct net_buffer ahead[NET_QUEUE_SIZE]; /* a ring: element @first and the next @n - 1 */
	unsigned int first, n;
	size_t room;                       /* bytes of all of them */
	struct iovec iov[2 * NET_IOV_MAX]; /* the same as one list: @n_iov of them from @iov_first on, and one of ours */
	uint64_t gpa[2 * NET_IOV_MAX];     /* where these are for the guest */
	unsigned int iov_first, n_iov;
	uint8_t *packet;     /* what was read from the tap beyond them */
	size_t packet_len;   /* 0 = none */
	size_t goal;         /* bytes that packets needed lately: for so many buffers are taken ahead */
	unsigned int budget; /* packets of the next turn */
	unsigned int full;   /* turns in a row that used all of it */

	struct virtq_elem taken, sent; /* the chains that are being taken ahead, and sent */
	uint64_t rx_packets, rx_bytes, rx_dropped, tx_packets, tx_bytes, tx_dropped;
};

struct virtio_net {
	struct virtio_dev v;
	struct net_pair *pair[VIRTIO_NET_PAIRS_MAX];
	unsigned int n_pairs;  /* that there are */
	uint16_t pairs;        /* 1..n_pairs: in use by the driver, and attached to the tap */
	uint16_t loaded_pairs; /* as it crosses to another host */
	struct port *port;     /* what the taps are plugged into; NULL: nothing of ours */
	bool running;
	uint8_t mac[6];
	uint16_t link;                    /* NET_S_* */
	uint16_t mtu;                     /* as the guest was told */
	uint16_t conf_mtu;                /* as a guest is to be told here */
	uint16_t link_mtu;                /* what this host's link carries */
	uint16_t vlan;                    /* of frames without a tag, 0: none, or the bridge's own */
	uint16_t vlans[DOMAIN_VLANS_MAX]; /* that the guest tags itself */
	size_t n_vlans;
	struct virtq_elem command;
};

static inline struct virtio_net *net_of_dev(struct virtio_dev *v)
{
	return (struct virtio_net *)v;
}

/** net_has_link() - is there a tap? With v->lock held */
static inline bool net_has_link(const struct virtio_net *d)
{
	return d->pair[0]->tap >= 0;
}

/** net_ctrl_queue() - the index of the control queue (VIRTIO 1.2 5.1.2) */
static inline unsigned int net_ctrl_queue(const struct virtio_net *d)
{
	return d->v.features & NET_F_MQ ? 2 * d->n_pairs : 2;
}

/* --- virtio_net_config.c --- */
/** net_publish() - what the guest reads in the configuration is made anew from the card; with v->lock held */
void net_publish(struct virtio_net *d);

/* --- virtio_net_receive.c; with the pair's lock --- */
/** net_receive() - a turn: packets from the tap to the guest, as long as there are buffers; at most NET_BATCH */
void net_receive(struct net_pair *p);
/** net_listen() - let the tap wake us if a packet could be put somewhere, and only then */
void net_listen(struct net_pair *p);
/** net_put_back() - buffers taken ahead are in the ring again: before anybody looks where the ring is */
void net_put_back(struct net_pair *p);
/** net_forget() - buffers taken ahead and a packet that waits are no more: the ring is reset */
void net_forget(struct net_pair *p);

/* --- virtio_net_transmit.c; with the pair's lock --- */
/** net_transmit() - a turn: chains of the guest's to the tap; at most NET_BATCH */
void net_transmit(struct net_pair *p);

/* --- virtio_net_control.c --- */
/** net_control() - a turn of the control queue; with v->lock, and that of its queue */
void net_control(struct virtio_net *d);
/** net_use_pairs() - the driver uses so many, 1..n_pairs: the tap spreads packets over these alone; with all locks */
int net_use_pairs(struct virtio_net *d, uint16_t pairs, struct err *e);

#endif
