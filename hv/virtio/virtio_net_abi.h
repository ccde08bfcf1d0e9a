/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_net_abi - numbers and layouts of VIRTIO 1.2 5.1, as far as our card has them. */
#ifndef DROVER_HV_VIRTIO_VIRTIO_NET_ABI_H
#define DROVER_HV_VIRTIO_VIRTIO_NET_ABI_H

#include <stdint.h>

/* VIRTIO 1.2 5.1.3 */
#define NET_F_CSUM (1ull << 0)
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_MTU (1ull << 3)
#define NET_F_MAC (1ull << 5)
#define NET_F_GUEST_TSO4 (1ull << 7)
#define NET_F_GUEST_TSO6 (1ull << 8)
#define NET_F_GUEST_ECN (1ull << 9)
#define NET_F_HOST_TSO4 (1ull << 11)
#define NET_F_HOST_TSO6 (1ull << 12)
#define NET_F_HOST_ECN (1ull << 13)
#define NET_F_MRG_RXBUF (1ull << 15)
#define NET_F_STATUS (1ull << 16)
#define NET_F_CTRL_VQ (1ull << 17)
#define NET_F_CTRL_RX (1ull << 18)
#define NET_F_GUEST_ANNOUNCE (1ull << 21)
#define NET_F_MQ (1ull << 22) /* where there are pairs beside the first */

#define NET_FEATURES (NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MTU | NET_F_MAC | NET_F_GUEST_TSO4 | \
		      NET_F_GUEST_TSO6 | NET_F_GUEST_ECN | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 |   \
		      NET_F_HOST_ECN | NET_F_MRG_RXBUF | NET_F_STATUS | NET_F_CTRL_VQ |          \
		      NET_F_CTRL_RX | NET_F_GUEST_ANNOUNCE)

#define NET_S_LINK_UP 1u
#define NET_S_ANNOUNCE 2u

/* VIRTIO 1.2 5.1.6.5 */
enum {
	CTRL_RX_MODE = 0,
	CTRL_MAC = 1,
	CTRL_ANNOUNCE = 3,
	CTRL_MQ = 4
};
enum {
	CTRL_MAC_TABLE_SET = 0
};
enum {
	CTRL_MQ_PAIRS_SET = 0
};
enum {
	CTRL_OK = 0,
	CTRL_ERR = 1
};
#define CTRL_RX_MODES 6u

#define HEADER_NUM_BUFFERS 10u /* offset in struct virtio_net_hdr */

/* VIRTIO 1.2 5.1.4 */
struct net_config {
	uint8_t mac[6];
	uint16_t status, max_pairs, mtu;
} __attribute__((packed));

#endif
