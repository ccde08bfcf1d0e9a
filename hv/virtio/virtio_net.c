/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_net - the network card (VIRTIO 1.2 5.1): one queue pair and a control
 * queue, on a tap.
 *
 *   queue 0  receive    tap -> one packet at a time into `packet`, from there into as many
 *                       of the guest's buffers as it needs (MRG_RXBUF)
 *   queue 1  transmit   the chain is written to the tap as it stands: header first
 *   queue 2  control    receive modes (we pass everything the bridge sends), announce
 *
 * The header in front of each packet (checksum to be filled in, segment size)
 * is the same on the ring and on the tap, so offloads need nothing but telling
 * the tap what the guest can take.
 *
 * A packet that waits for buffers stays in `packet`, and the tap is not read
 * meanwhile.  It is not migrated: a network may lose packets.
 */
#include "hv/virtio/virtio_net_int.h"

#include "base/log_limit.h"
#include "net/link/port.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define NET_PACKET_MAX (TAP_HEADER + 65550u) /* 64 KiB of IP and an Ethernet header with VLAN */
#define NET_MTU_MIN 68u                      /* VIRTIO 1.2 5.1.4.1 */
#define NET_MTU_DEFAULT 1500u
#define NET_BATCH 64 /* packets per turn: the control queue and registers wait so long */

void net_publish(struct virtio_net *d)
{
	struct net_config c = {
		.status = htole16(d->link),
		.max_pairs = htole16(1),
		.mtu = htole16(d->mtu),
	};

	memcpy(c.mac, d->mac, sizeof(c.mac));
	memcpy(d->v.config, &c, sizeof(c));
	d->v.config_len = sizeof(c);
}

/* --- receive --- */

/* The tap wakes us only while a packet could be put somewhere. */
static void net_listen(struct virtio_net *d)
{
	bool want = d->running && !d->packet_len && virtio_dev_works(&d->v, RX);

	if (d->tap >= 0)
		virtio_dev_watch(&d->v, 0, d->tap, want ? EPOLLIN : 0);
}

/*
 * Collect buffers until the packet fits, then fill them; with too few, put all
 * back and wait for more.  Only the first carries num_buffers.  Never more than the
 * ring has room for: a guest that adds while we take could keep us at it.
 */
static bool net_deliver(struct virtio_net *d)
{
	struct virtq *q = &d->v.queues[RX];
	struct virtq_used used[NET_QUEUE_SIZE];
	unsigned int n = 0, i, max;
	size_t room = 0, at = 0;
	uint16_t count;

	max = d->v.features & NET_F_MRG_RXBUF ? q->size : 1;
	assert(max && max <= NET_QUEUE_SIZE);
	while (room < d->packet_len && n < max) {
		if (!virtio_dev_pop(&d->v, RX, &d->rx[n])) {
			while (n--)
				virtq_unpop(q);
			return false;
		}
		if (d->rx[n].in_len < TAP_HEADER && !n) {
			virtio_dev_broken(&d->v, RX, "a receive buffer without room for the header");
			return false;
		}
		room += d->rx[n++].in_len;
	}
	if (room < d->packet_len) {
		/* All that may be used for one, and it does not fit (5.1.6.3.1: the driver must make it so). */
		while (--n)
			virtq_unpop(q);
		virtq_push(q, d->v.env->mem, d->rx[0].head, 0);
		d->rx_dropped++;
		d->packet_len = 0;
		return true;
	}
	assert(n && n <= max && d->packet_len > TAP_HEADER && d->packet_len <= NET_PACKET_MAX);
	count = htole16((uint16_t)n);
	memcpy(d->packet + HEADER_NUM_BUFFERS, &count, sizeof(count));
	for (i = 0; i < n; i++) {
		size_t done = virtq_write(&d->rx[i], d->v.env->mem, 0, d->packet + at,
					  d->packet_len - at);

		at += done;
		used[i] = (struct virtq_used){ d->rx[i].head, (uint32_t)done };
	}
	assert(at == d->packet_len);
	virtq_push_many(q, d->v.env->mem, used, n);
	d->rx_packets++;
	d->rx_bytes += d->packet_len - TAP_HEADER;
	d->packet_len = 0;
	return true;
}

/* False when the tap has nothing more. */
static bool net_fetch(struct virtio_net *d)
{
	ssize_t n;

	assert(!d->packet_len); /* one at a time */
	do {
		n = read(d->tap, d->packet, NET_PACKET_MAX);
	} while (n < 0 && errno == EINTR);
	if (n <= (ssize_t)TAP_HEADER) {
		d->rx_dropped += n >= 0;
		return n >= 0;
	}
	d->packet_len = (size_t)n;
	return true;
}

static void net_receive(struct virtio_net *d)
{
	struct virtq *q = &d->v.queues[RX];
	unsigned int n = NET_BATCH;

	/* The tap may have woken us just before a reset or a pause. */
	if (!virtio_dev_works(&d->v, RX)) {
		net_listen(d);
		return;
	}
	/* No kicks for buffers while there are some. */
	virtq_kicks(q, d->v.env->mem, false);
	while (n-- && virtio_dev_works(&d->v, RX)) {
		if (!d->packet_len && (d->tap < 0 || !net_fetch(d)))
			break;
		if (!d->packet_len || net_deliver(d))
			continue;
		/* Out of buffers: ask for a kick, and look once more in case it came just now. */
		if (!virtio_dev_works(&d->v, RX))
			break;
		virtq_kicks(q, d->v.env->mem, true);
		if (!net_deliver(d))
			break;
	}
	net_listen(d);
	virtio_dev_interrupt(&d->v, RX);
}

/* --- transmit --- */

static void net_send(struct virtio_net *d, const struct virtq_elem *el)
{
	ssize_t n;

	if (el->out_len <= TAP_HEADER || el->out_len > NET_PACKET_MAX || d->tap < 0) {
		d->tx_dropped++;
		return;
	}
	do {
		n = writev(d->tap, el->iov, el->n_out);
	} while (n < 0 && errno == EINTR);
	/* EAGAIN: the bridge does not keep up.  EINVAL: a header that makes no sense.  Lost, both. */
	if (n < 0) {
		d->tx_dropped++;
		return;
	}
	d->tx_packets++;
	d->tx_bytes += el->out_len - TAP_HEADER;
}

static void net_transmit(struct virtio_net *d)
{
	struct virtq *q = &d->v.queues[TX];
	struct gmem *m = d->v.env->mem;
	unsigned int n = NET_BATCH;

	virtq_kicks(q, m, false);
	while (n && virtio_dev_works(&d->v, TX) && virtio_dev_pop(&d->v, TX, &d->el)) {
		net_send(d, &d->el);
		virtq_push(q, m, d->el.head, 0);
		n--;
	}
	virtq_kicks(q, m, true);
	if (virtio_dev_works(&d->v, TX) && !virtq_empty(q))
		virtio_dev_again(&d->v, TX);
	virtio_dev_interrupt(&d->v, TX);
}

/* --- control --- */

static uint8_t net_command(struct virtio_net *d, const struct virtq_elem *el)
{
	uint8_t c[2]; /* class, command */

	if (virtq_read(el, 0, c, sizeof(c)) != sizeof(c))
		return CTRL_ERR;
	switch (c[0]) {
	case CTRL_RX_MODE:
		return c[1] < CTRL_RX_MODES && el->out_len == 3 ? CTRL_OK : CTRL_ERR;
	case CTRL_MAC:
		return c[1] == CTRL_MAC_TABLE_SET ? CTRL_OK : CTRL_ERR;
	case CTRL_ANNOUNCE:
		d->link &= (uint16_t)~NET_S_ANNOUNCE;
		net_publish(d);
		return CTRL_OK;
	}
	return CTRL_ERR;
}

static void net_control(struct virtio_net *d)
{
	struct virtq *q = &d->v.queues[CTRL];
	struct gmem *m = d->v.env->mem;
	unsigned int n = NET_BATCH;
	uint8_t answer;

	while (n && virtio_dev_works(&d->v, CTRL) && virtio_dev_pop(&d->v, CTRL, &d->el)) {
		answer = net_command(d, &d->el);
		virtq_push(q, m, d->el.head, (uint32_t)virtq_write(&d->el, m, 0, &answer, 1));
		n--;
	}
	virtq_kicks(q, m, true);
	if (virtio_dev_works(&d->v, CTRL) && !virtq_empty(q))
		virtio_dev_again(&d->v, CTRL);
	virtio_dev_interrupt(&d->v, CTRL);
}

/* --- a device's hooks --- */

static void net_kick(struct virtio_dev *v, unsigned int q)
{
	if (q == RX)
		net_receive(net_of_dev(v));
	else if (q == TX)
		net_transmit(net_of_dev(v));
	else
		net_control(net_of_dev(v));
}

static void net_event(struct virtio_dev *v, unsigned int s, uint32_t events)
{
	struct virtio_net *d = net_of_dev(v);

	if (events & (EPOLLERR | EPOLLHUP)) {
		log_warn("%s: the tap is gone; the link is down", v->name);
		virtio_dev_watch(v, 0, d->tap, 0);
		close(d->tap);
		d->tap = -1;
		d->link &= (uint16_t)~NET_S_LINK_UP;
		net_publish(d);
		virtio_dev_config_changed(v);
		return;
	}
	net_receive(d);
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
	if (d->tap >= 0 && tap_offload(d->tap, o, &e))
		log_of_guest(LOG_LEVEL_WARN, "%s: %s", v->name, e.text);
}

static void net_run(struct virtio_dev *v, bool on)
{
	net_of_dev(v)->running = on;
	net_listen(net_of_dev(v));
}

/* All that is done is done at once. */
static unsigned int net_in_flight(struct virtio_dev *v)
{
	return 0;
}

static void net_reset(struct virtio_dev *v)
{
	struct virtio_net *d = net_of_dev(v);
	struct err e;

	d->packet_len = 0;
	d->link &= (uint16_t)~NET_S_ANNOUNCE;
	net_publish(d);
	if (d->tap < 0)
		return;
	virtio_dev_watch(v, 0, d->tap, 0);
	tap_offload(d->tap, 0, &e);
}

static json_t *net_stats(struct virtio_dev *v)
{
	const struct virtio_net *d = net_of_dev(v);

	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "link", d->tap >= 0,
			 "rx_packets", (json_int_t)d->rx_packets,
			 "rx_bytes", (json_int_t)d->rx_bytes,
			 "rx_dropped", (json_int_t)d->rx_dropped,
			 "tx_packets", (json_int_t)d->tx_packets,
			 "tx_bytes", (json_int_t)d->tx_bytes,
			 "tx_dropped", (json_int_t)d->tx_dropped);
}

static void net_free(struct virtio_dev *v)
{
	struct virtio_net *d = net_of_dev(v);

	if (d->tap >= 0)
		close(d->tap);
	port_close(d->port);
	free(d->packet);
	free(d);
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
	if (told && d->tap >= 0 && d->mtu > d->link_mtu)
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
	pthread_mutex_lock(&d->v.lock);
	/* Whether there is a link is this host's business, not the other's. */
	d->link = (uint16_t)((d->link & NET_S_ANNOUNCE) | (d->tap >= 0 ? NET_S_LINK_UP : 0));
	net_publish(d);
	if (d->v.status & VIRTIO_S_DRIVER_OK)
		net_ready(&d->v);
	pthread_mutex_unlock(&d->v.lock);
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

static const struct virtio_ops net_ops = {
	.kind = "net",
	.id = 1,
	.pci_class = 0x020000,
	.ready = net_ready,
	.kick = net_kick,
	.event = net_event,
	.run = net_run,
	.in_flight = net_in_flight,
	.reset = net_reset,
	.stats = net_stats,
	.destroy = net_free,
	.state = &net_state,
};

/* --- for the machine --- */

int virtio_net_create(struct device_env *env, unsigned int index, const struct virtio_net_conf *c,
		      struct virtio_dev **out, struct err *e)
{
	struct virtio_net *d = calloc(1, sizeof(*d));
	size_t i;
	int ret;

	assert(c->n_vlans <= DOMAIN_VLANS_MAX);
	if (d)
		d->packet = malloc(NET_PACKET_MAX);
	if (!d || !d->packet) {
		free(d);
		return err_set(e, -ENOMEM, "net%u: no memory", index);
	}
	d->tap = c->tap_fd;
	d->link = c->tap_fd >= 0 ? NET_S_LINK_UP : 0;
	d->link_mtu = c->link_mtu ? c->link_mtu : NET_MTU_DEFAULT;
	d->mtu = d->conf_mtu = c->mtu ? c->mtu : d->link_mtu;
	d->vlan = c->vlan;
	d->n_vlans = c->n_vlans;
	for (i = 0; i < c->n_vlans; i++)
		d->vlans[i] = c->vlans[i];
	memcpy(d->mac, c->mac, sizeof(d->mac));
	net_publish(d);
	ret = virtio_dev_init(&d->v, env, &net_ops, index, NET_FEATURES, QUEUES, NET_QUEUE_SIZE, e);
	if (ret) {
		free(d->packet);
		free(d);
		return ret;
	}
	d->port = c->port;
	*out = &d->v;
	return 0;
}
