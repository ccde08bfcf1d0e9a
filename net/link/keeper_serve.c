/* SPDX-License-Identifier: Apache-2.0 */
/* keeper_serve - the keeper's end (keeper.h): makes ports while it is asked, and keeps them until they are closed. */
#include "net/link/keeper_int.h"

#include "base/packet.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct kept_port {
	struct port *port; /* NULL: none */
	int news;          /* our end of its pair */
	int hold;          /* of a tap that stays: nobody else has it before it is given back; -1: none */
};

struct keeping {
	int sock; /* -1: nothing is asked any more */
	struct kept_port ports[KEEPER_PORTS_MAX];
};

static struct kept_port *free_place(struct keeping *k)
{
	for (size_t i = 0; i < KEEPER_PORTS_MAX; i++)
		if (!k->ports[i].port)
			return &k->ports[i];
	return NULL;
}

static bool has_end(const char name[TAP_NAME_MAX + 1])
{
	return memchr(name, '\0', TAP_NAME_MAX + 1);
}

static bool is_sound(const struct keeper_question *q)
{
	if (!has_end(q->tap) || !has_end(q->bridge) || q->queues > TAP_QUEUES_MAX || q->n_addresses > KEEPER_ADDRESSES_MAX)
		return false;
	if (q->n_vlans > RTNL_VLANS_MAX || q->vlan > RTNL_VID_MAX || (!q->bridge[0] && (q->vlan || q->n_vlans)))
		return false;
	for (uint32_t i = 0; i < q->n_vlans; i++)
		if (!q->vlans[i] || q->vlans[i] > RTNL_VID_MAX)
			return false;
	return true;
}

static int open_port(const struct keeper_question *q, struct port **out, struct err *e)
{
	const struct filter_conf filter = {
		.mac = q->mac,
		.vlans = q->vlans,
		.n_vlans = q->n_vlans,
		.by_address = q->by_address,
		.addresses = q->addresses,
		.n_addresses = q->n_addresses,
	};
	const struct port_conf c = {
		.tap = q->tap[0] ? q->tap : NULL,
		.bridge = q->bridge[0] ? q->bridge : NULL,
		.mac = q->mac,
		.mtu = q->mtu,
		.vlan = q->vlan,
		.vlans = q->vlans,
		.n_vlans = q->n_vlans,
		.queues = q->queues,
		.filter = q->filter ? &filter : NULL,
	};

	return port_open(&c, out, e);
}

/* @fds receives the taps and the VMM's end of the news. */
static int make(struct keeping *k, const struct keeper_question *q, struct keeper_answer *a, int *fds)
{
	struct kept_port *place = free_place(k);
	int pair[2], ret;

	if (!place)
		return err_set(&a->err, -ENOSPC, "port: more than %d", KEEPER_PORTS_MAX);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_errno(&a->err, "port: socketpair");
	ret = open_port(q, &place->port, &a->err);
	if (ret) {
		place->port = NULL;
		close(pair[0]);
		close(pair[1]);
		return ret;
	}
	place->news = pair[0];
	for (a->n_taps = 0; a->n_taps < q->queues || !a->n_taps; a->n_taps++)
		fds[a->n_taps] = port_take_fd(place->port, a->n_taps);
	place->hold = place->port->persistent ? dup(fds[0]) : -1;
	fds[a->n_taps] = pair[1];
	a->mtu = place->port->mtu;
	memcpy(a->name, place->port->name, sizeof(a->name));
	return 0;
}

static void answer(struct keeping *k)
{
	struct keeper_question q;
	struct keeper_answer a = { 0 };
	int fds[PACKET_FDS_MAX];
	size_t n = 0;
	int ret = packet_receive(k->sock, &q, sizeof(q), fds, &n);

	while (n)
		close(fds[--n]);
	if (ret || !is_sound(&q)) {
		close(k->sock);
		k->sock = -1;
		return;
	}
	a.ret = make(k, &q, &a, fds);
	n = a.ret ? 0 : a.n_taps + 1;
	packet_send(k->sock, &a, sizeof(a), fds, n);
	while (n)
		close(fds[--n]);
}

static void give_back(struct kept_port *k)
{
	port_close(k->port);
	if (k->hold >= 0)
		close(k->hold);
	close(k->news);
	k->port = NULL;
}

/* A VMM that does not listen misses it. */
static void tell(struct kept_port *k)
{
	struct port_change change = { 0 };

	if (port_look(k->port, &change))
		send(k->news, &change, sizeof(change), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void look(struct keeping *k)
{
	struct pollfd p[1 + 2 * KEEPER_PORTS_MAX];

	p[0] = (struct pollfd){ .fd = k->sock, .events = POLLIN };
	for (size_t i = 0; i < KEEPER_PORTS_MAX; i++) {
		const struct kept_port *o = &k->ports[i];

		p[1 + 2 * i] = (struct pollfd){ .fd = o->port ? o->news : -1, .events = POLLIN };
		p[2 + 2 * i] = (struct pollfd){ .fd = o->port ? port_watch_fd(o->port) : -1, .events = POLLIN };
	}
	if (poll(p, 1 + 2 * KEEPER_PORTS_MAX, -1) < 0)
		return;
	for (size_t i = 0; i < KEEPER_PORTS_MAX; i++) {
		if (p[1 + 2 * i].revents) /* it says nothing: it has closed it */
			give_back(&k->ports[i]);
		else if (p[2 + 2 * i].revents)
			tell(&k->ports[i]);
	}
	if (p[0].revents)
		answer(k);
}

void keeper_serve(int sock, void *arg)
{
	struct keeping k = { .sock = sock };
	bool kept;

	(void)arg;
	do {
		look(&k);
		kept = false;
		for (size_t i = 0; i < KEEPER_PORTS_MAX; i++)
			kept |= k.ports[i].port != NULL;
	} while (k.sock >= 0 || kept);
}
