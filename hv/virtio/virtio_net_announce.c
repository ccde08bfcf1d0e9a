/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_net_announce - a network card tells where it is now, by frames of ours and by the guest's own; and before, whether it can be. */
#include "hv/virtio/virtio_net_int.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#define ADDRESSES 12u /* bytes of an Ethernet header before its type, where a tag goes (IEEE 802.1Q 9.5) */

void virtio_net_announce(struct virtio_dev *v)
{
	struct virtio_net *d = net_of_dev(v);

	pthread_mutex_lock(&v->lock);
	if ((v->features & NET_F_GUEST_ANNOUNCE) && (v->status & VIRTIO_S_DRIVER_OK)) {
		d->link |= NET_S_ANNOUNCE;
		net_publish(d);
		virtio_dev_config_changed(v);
	}
	pthread_mutex_unlock(&v->lock);
}

const uint8_t *virtio_net_mac(const struct virtio_dev *v)
{
	return ((const struct virtio_net *)v)->mac;
}

void virtio_net_link(struct virtio_dev *v, struct virtio_net_link *out)
{
	struct virtio_net *d = net_of_dev(v);

	pthread_mutex_lock(&v->lock);
	out->told = (v->features & NET_F_MTU) && (v->status & VIRTIO_S_DRIVER_OK) ? d->mtu : 0;
	out->carries = d->link_mtu;
	out->pairs = d->n_pairs;
	pthread_mutex_unlock(&v->lock);
}

/* @vid: 0 sends it without a tag  #syscalls:main,engine writev */
static int send_in(struct virtio_net *d, uint16_t vid, const uint8_t *frame, size_t len)
{
	uint8_t tag[4] = { 0x81, 0x00, (uint8_t)(vid >> 8), (uint8_t)vid };
	uint8_t header[TAP_HEADER] = { 0 };
	struct iovec iov[4] = {
		{ header, sizeof(header) },
		{ (void *)frame, ADDRESSES },
		{ tag, vid ? sizeof(tag) : 0 },
		{ (void *)(frame + ADDRESSES), len - ADDRESSES },
	};

	return writev(d->pair[0]->tap, iov, 4) < 0 ? -errno : 0;
}

int virtio_net_transmit(struct virtio_dev *v, const uint8_t *frame, size_t len, struct err *e)
{
	struct virtio_net *d = net_of_dev(v);
	int ret = 0, one;
	size_t i;

	assert(len > ADDRESSES);
	pthread_mutex_lock(&v->lock);
	if (!net_has_link(d)) {
		pthread_mutex_unlock(&v->lock);
		return err_set(e, -ENOLINK, "%s: no link", v->name);
	}
	if (d->vlan || !d->n_vlans)
		ret = send_in(d, 0, frame, len);
	for (i = 0; i < d->n_vlans; i++) {
		one = send_in(d, d->vlans[i], frame, len);
		ret = ret ? ret : one;
	}
	pthread_mutex_unlock(&v->lock);
	return ret ? err_set(e, ret, "%s: send: %s", v->name, strerror(-ret)) : 0;
}
