/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_net - the network card (VIRTIO 1.2 5.1): pairs of queues and a control queue, on a tap.
 *
 *   queue 2i      receive    virtio_net_receive.c: the tap's queue i into the guest's buffers
 *   queue 2i + 1  transmit   virtio_net_transmit.c: chains are written to the tap as they stand
 *   queue 2N      control    virtio_net_control.c; 2 for a driver that knows of one pair alone
 *
 * Pair 0 and control are the device's thread's, each other pair has a thread of its own.  A driver uses one pair until it
 * says how many; the tap is told, and sends each flow to the queue from which that flow's last packet came.
 *
 * The header in front of each packet (checksum to be filled in, segment size)
 * is the same on the ring and on the tap, so offloads need nothing but telling
 * the tap what the guest can take.
 */
#include "hv/virtio/virtio_net_int.h"

#include "base/log_limit.h"
#include "net/link/port.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define NET_MTU_MIN 68u /* VIRTIO 1.2 5.1.4.1 */
#define NET_MTU_DEFAULT 1500u
#define SOURCE_PORT VIRTIO_NET_PAIRS_MAX /* of the device's thread; those below are the pairs' taps */

/* --- a device's hooks --- */

static void net_kick(struct virtio_dev *v, unsigned int q)
{
	struct virtio_net *d = net_of_dev(v);

	if (q == net_ctrl_queue(d)) {
		if (!virtio_dev_hand_over(v, q))
			net_control(d);
	} else if (q / 2 >= d->n_pairs) {
		return; /* where control is for drivers that know of pairs */
	} else if (q % 2) {
		net_transmit(d->pair[q / 2]);
	} else {
		net_receive(d->pair[q / 2]);
	}
}

static void close_taps(struct virtio_net *d)
{
	unsigned int i;

	for (i = 0; i < d->n_pairs; i++) {
		struct net_pair *p = d->pair[i];

		if (p->tap < 0)
			continue;
		if (p->listening)
			virtio_dev_watch(&d->v, i, p->tap, 0);
		p->listening = false;
		close(p->tap);
		p->tap = -1;
	}
}

/* All its queues go at once: the device's thread, which hears of its own, takes leave of the others too. */
static void tap_gone(struct virtio_net *d, struct net_pair *p)
{
	if (p->index) {
		virtio_dev_watch(&d->v, p->index, p->tap, 0);
		return;
	}
	log_warn("%s: the tap is gone; the link is down", d->v.name);
	virtio_workers_lock(&d->v);
	close_taps(d);
	virtio_workers_unlock(&d->v);
	d->link &= (uint16_t)~NET_S_LINK_UP;
	net_publish(d);
	virtio_dev_config_changed(&d->v);
}

static void net_event(struct virtio_dev *v, unsigned int s, uint32_t events)
{
	struct virtio_net *d = net_of_dev(v);

	if (s == SOURCE_PORT) {
		port_news(d->port);
		if (port_is_unguarded(d->port) && net_has_link(d))
			tap_gone(d, d->pair[0]);
		return;
	}
	if (events & (EPOLLERR | EPOLLHUP))
		tap_gone(d, d->pair[s]);
	else
		net_receive(d->pair[s]);
}

/* What the driver negotiated is what the tap may send: the rest it finishes itself. */
static void net_ready(struct virtio_dev *v)
{
	struct virtio_net *d = net_of_dev(v);
	unsigned int o = 0;
	struct err e;

	o |= v->features & NET_F_GUEST_CSUM ? TAP_OFFLOAD_CSUM : 0;
	o |= v->features & NET_F_GUEST_TSO4 ? TAP_OFFLOAD_TSO4 : 0;
	o |= v->features & NET_F_GUEST_TSO6 ? TAP_OFFLOAD_TSO6 : 0;
	o |= v->features & NET_F_GUEST_ECN ? TAP_OFFLOAD_ECN : 0;
	if (net_has_link(d) && tap_offload(d->pair[0]->tap, o, &e))
		log_of_guest(LOG_LEVEL_WARN, "%s: %s", v->name, e.text);
}

static void net_run(struct virtio_dev *v, bool on)
{
	struct virtio_net *d = net_of_dev(v);
	unsigned int i;

	d->running = on;
	for (i = 0; i < d->n_pairs; i++) {
		if (!on)
			net_put_back(d->pair[i]);
		net_listen(d->pair[i]);
	}
}

/* All that is done is done at once. */
static unsigned int net_in_flight(struct virtio_dev *v)
{
	return 0;
}

static void net_reset(struct virtio_dev *v)
{
	struct virtio_net *d = net_of_dev(v);
	unsigned int i;
	struct err e;

	for (i = 0; i < d->n_pairs; i++) {
		struct net_pair *p = d->pair[i];

		net_forget(p);
		if (p->listening)
			virtio_dev_watch(v, i, p->tap, 0);
		p->listening = false;
	}
	if (net_use_pairs(d, 1, &e))
		log_warn("%s: %s", v->name, e.text);
	d->link &= (uint16_t)~NET_S_ANNOUNCE;
	net_publish(d);
	if (net_has_link(d))
		tap_offload(d->pair[0]->tap, 0, &e);
}

static json_t *net_stats(struct virtio_dev *v)
{
	const struct virtio_net *d = net_of_dev(v);
	struct net_pair all = { 0 };
	unsigned int i;

	for (i = 0; i < d->n_pairs; i++) {
		all.rx_packets += d->pair[i]->rx_packets;
		all.rx_bytes += d->pair[i]->rx_bytes;
		all.rx_dropped += d->pair[i]->rx_dropped;
		all.tx_packets += d->pair[i]->tx_packets;
		all.tx_bytes += d->pair[i]->tx_bytes;
		all.tx_dropped += d->pair[i]->tx_dropped;
	}
	return json_pack("{s:b, s:b, s:i, s:I, s:I, s:I, s:I, s:I, s:I}", "link", net_has_link(d), "on_bridge", !d->port || port_is_attached(d->port), "queues",
			 (int)d->pairs, "rx_packets", (json_int_t)all.rx_packets, "rx_bytes",
			 (json_int_t)all.rx_bytes, "rx_dropped", (json_int_t)all.rx_dropped, "tx_packets",
			 (json_int_t)all.tx_packets, "tx_bytes", (json_int_t)all.tx_bytes, "tx_dropped",
			 (json_int_t)all.tx_dropped);
}

/* The descriptors of a card that was never made are the caller's. */
static void free_card(struct virtio_net *d)
{
	unsigned int i;

	for (i = 0; i < d->n_pairs; i++)
		if (d->pair[i]) {
			free(d->pair[i]->packet);
			free(d->pair[i]);
		}
	free(d);
}

static void net_free(struct virtio_dev *v)
{
	struct virtio_net *d = net_of_dev(v);
	unsigned int i;

	for (i = 0; i < d->n_pairs; i++)
		if (d->pair[i]->tap >= 0)
			close(d->pair[i]->tap);
	port_close(d->port);
	free_card(d);
}

static int net_pre_save(void *dev, struct err *e)
{
	return 0;
}

/* A driver that was told keeps to it: it must fit here too.  Others learn of this host's. */
static int load_mtu(struct virtio_net *d, struct err *e)
{
	bool told = (d->v.features & NET_F_MTU) && (d->v.status & VIRTIO_S_DRIVER_OK);

	if (told && d->mtu < NET_MTU_MIN)
		return err_set(e, -EINVAL, "mtu: %u, expected at least %u", d->mtu, NET_MTU_MIN);
	if (told && net_has_link(d) && d->mtu > d->link_mtu)
		return err_set(e, -EINVAL, "mtu: the guest sends packets of up to %u bytes, the link here carries %u",
			       d->mtu, d->link_mtu);
	if (!told)
		d->mtu = d->conf_mtu;
	return 0;
}

static int net_post_load(void *dev, struct err *e)
{
	struct virtio_net *d = dev;

	if (d->link & ~(NET_S_LINK_UP | NET_S_ANNOUNCE))
		return err_set(e, -EINVAL, "link: 0x%04x", d->link);
	if (load_mtu(d, e))
		return -EINVAL;
	virtio_dev_stop(&d->v);
	/* Whether there is a link is this host's business, not the other's. */
	d->link = (uint16_t)((d->link & NET_S_ANNOUNCE) | (net_has_link(d) ? NET_S_LINK_UP : 0));
	net_publish(d);
	if (d->v.status & VIRTIO_S_DRIVER_OK)
		net_ready(&d->v);
	virtio_dev_go(&d->v);
	return 0;
}

/* What the driver uses there is attached here. */
static int pairs_post_load(void *dev, struct err *e)
{
	struct virtio_net *d = dev;
	uint16_t pairs = d->loaded_pairs;
	int ret;

	if (pairs < 1 || pairs > d->n_pairs || (pairs > 1 && !(d->v.features & NET_F_MQ)))
		return err_set(e, -EINVAL, "pairs: %u, expected 1 to %u", pairs, d->n_pairs);
	ret = net_post_load(dev, e);
	if (ret)
		return ret;
	virtio_dev_stop(&d->v);
	ret = net_use_pairs(d, pairs, e);
	virtio_dev_go(&d->v);
	return ret;
}

static int pairs_pre_save(void *dev, struct err *e)
{
	struct virtio_net *d = dev;

	d->loaded_pairs = d->pairs;
	return 0;
}

static const struct state_field net_fields[] = {
	STATE_ARRAY(struct virtio_net, mac, sizeof(uint8_t)),
	STATE_U16(struct virtio_net, link),
	STATE_U16(struct virtio_net, mtu),
	STATE_END
};

static const struct state_desc net_state = {
	.name = "virtio-net",
	.version = 1,
	.min_version = 1,
	.fields = net_fields,
	.pre_save = net_pre_save,
	.post_load = net_post_load,
};

/* Of a card with several pairs.  One with a single pair says what it always said, so hosts of either kind take it. */
static const struct state_field pairs_fields[] = {
	STATE_ARRAY(struct virtio_net, mac, sizeof(uint8_t)),
	STATE_U16(struct virtio_net, link),
	STATE_U16(struct virtio_net, mtu),
	STATE_U16(struct virtio_net, loaded_pairs),
	STATE_END
};

static const struct state_desc pairs_state = {
	.name = "virtio-net",
	.version = 1,
	.min_version = 1,
	.fields = pairs_fields,
	.pre_save = pairs_pre_save,
	.post_load = pairs_post_load,
};

#define NET_OPS                                                                              \
	.kind = "net", .id = 1, .pci_class = 0x020000, .ready = net_ready, .kick = net_kick, \
	.event = net_event, .run = net_run, .in_flight = net_in_flight, .reset = net_reset,  \
	.stats = net_stats, .destroy = net_free

static const struct virtio_ops net_ops = { NET_OPS, .state = &net_state };
static const struct virtio_ops pairs_ops = { NET_OPS, .state = &pairs_state };

/* --- for the machine --- */

static struct net_pair *make_pair(struct virtio_net *d, unsigned int i, int tap)
{
	struct net_pair *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->card = d;
	p->index = i;
	p->rx = 2 * i;
	p->tx = 2 * i + 1;
	p->tap = tap;
	p->budget = 1;
	p->packet = malloc(NET_PACKET_MAX);
	if (p->packet)
		return p;
	free(p);
	return NULL;
}

static struct virtio_net *make_card(const struct virtio_net_conf *c)
{
	struct virtio_net *d = calloc(1, sizeof(*d));
	unsigned int i;

	assert(c->n_vlans <= DOMAIN_VLANS_MAX && c->n_more < VIRTIO_NET_PAIRS_MAX);
	if (!d)
		return NULL;
	d->n_pairs = 1 + c->n_more;
	d->pairs = 1;
	for (i = 0; i < d->n_pairs; i++) {
		d->pair[i] = make_pair(d, i, i ? c->more_taps[i - 1] : c->tap_fd);
		if (!d->pair[i]) {
			free_card(d);
			return NULL;
		}
		d->v.queue_worker[2 * i] = d->v.queue_worker[2 * i + 1] = d->v.source_worker[i] = (uint8_t)i;
	}
	d->v.n_workers = d->n_pairs;
	d->link = net_has_link(d) ? NET_S_LINK_UP : 0;
	d->link_mtu = c->link_mtu ? c->link_mtu : NET_MTU_DEFAULT;
	d->mtu = d->conf_mtu = c->mtu ? c->mtu : d->link_mtu;
	d->vlan = c->vlan;
	d->n_vlans = c->n_vlans;
	if (c->n_vlans)
		memcpy(d->vlans, c->vlans, c->n_vlans * sizeof(d->vlans[0]));
	memcpy(d->mac, c->mac, sizeof(d->mac));
	net_publish(d);
	return d;
}

int virtio_net_create(struct device_env *env, unsigned int index, const struct virtio_net_conf *c,
		      struct virtio_dev **out, struct err *e)
{
	struct virtio_net *d = make_card(c);
	bool many = c->n_more;
	int ret;

	if (!d)
		return err_set(e, -ENOMEM, "net%u: no memory", index);
	ret = virtio_dev_init(&d->v, env, many ? &pairs_ops : &net_ops, index, NET_FEATURES | (many ? NET_F_MQ : 0),
			      2 * d->n_pairs + 1, NET_QUEUE_SIZE, e);
	if (ret) {
		free_card(d);
		return ret;
	}
	d->port = c->port;
	if (d->port && port_watch_fd(d->port) >= 0)
		virtio_dev_watch(&d->v, SOURCE_PORT, port_watch_fd(d->port), EPOLLIN);
	*out = &d->v;
	return 0;
}
