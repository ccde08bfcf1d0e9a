/* SPDX-License-Identifier: Apache-2.0 */
/* keeper - the VMM's end; see keeper.h. */
#include "net/link/keeper_int.h"

#include "base/helper.h"
#include "base/packet.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct keeper {
	struct helper helper;
	bool sealed;
};

int keeper_start(struct keeper **out, char *args, size_t args_len, struct err *e)
{
	const struct helper_role role = {
		.name = "drover-hv-ports",
		.kind = CONFINE_KEEPER,
		.serve = keeper_serve,
		.lingers = true,
		.args = args,
		.args_len = args_len,
	};
	struct keeper *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return err_set(e, -ENOMEM, "keeper: no memory");
	ret = helper_start(&k->helper, &role, e);
	if (ret)
		free(k);
	else
		*out = k;
	return ret;
}

/* As port_open() says it: what is cut off would be another link's name. */
static int check_names(const struct port_conf *c, struct err *e)
{
	const char *const names[] = { c->tap, c->bridge };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i] && strlen(names[i]) > TAP_NAME_MAX)
			return err_set(e, -EINVAL, "link %s: name of more than %d characters", names[i], TAP_NAME_MAX);
	return 0;
}

static void flatten(const struct port_conf *c, struct keeper_question *q)
{
	assert(c->n_vlans <= RTNL_VLANS_MAX);
	snprintf(q->tap, sizeof(q->tap), "%s", c->tap ? c->tap : "");
	snprintf(q->bridge, sizeof(q->bridge), "%s", c->bridge ? c->bridge : "");
	memcpy(q->mac, c->mac, sizeof(q->mac));
	q->mtu = c->mtu;
	q->vlan = c->vlan;
	q->queues = c->queues;
	q->n_vlans = (uint32_t)c->n_vlans;
	if (c->n_vlans)
		memcpy(q->vlans, c->vlans, c->n_vlans * sizeof(q->vlans[0]));
	if (!c->filter)
		return;
	assert(c->filter->n_addresses <= KEEPER_ADDRESSES_MAX);
	q->filter = true;
	q->by_address = c->filter->by_address;
	q->n_addresses = (uint32_t)c->filter->n_addresses;
	if (q->n_addresses)
		memcpy(q->addresses, c->filter->addresses, q->n_addresses * sizeof(q->addresses[0]));
}

/* @fds are the port's from now on. */
static int unflatten(const struct port_conf *c, const struct keeper_answer *a, const int *fds, struct port **out,
		     struct err *e)
{
	struct port *p = port_make();

	if (!p)
		return err_set(e, -ENOMEM, "port: no memory");
	p->kept = true;
	p->filtered = c->filter;
	p->mtu = a->mtu;
	memcpy(p->name, a->name, sizeof(p->name));
	snprintf(p->bridge, sizeof(p->bridge), "%s", c->bridge ? c->bridge : "");
	memcpy(p->fd, fds, a->n_taps * sizeof(fds[0]));
	p->watch_fd = fds[a->n_taps];
	*out = p;
	return 0;
}

int keeper_open(struct keeper *k, const struct port_conf *c, struct port **out, struct err *e)
{
	struct keeper_question q = { 0 };
	struct keeper_answer a = { 0 };
	int fds[PACKET_FDS_MAX], ret;
	size_t n = 0;

	if (!k)
		return port_open(c, out, e);
	ret = check_names(c, e);
	if (ret)
		return ret;
	flatten(c, &q);
	ret = k->sealed ? -EPIPE : packet_send(k->helper.sock, &q, sizeof(q), NULL, 0);
	if (!ret)
		ret = packet_receive(k->helper.sock, &a, sizeof(a), fds, &n);
	if (ret)
		return err_set(e, ret, "port: the process that makes ports has ended");
	if (a.ret) {
		*e = a.err;
		return a.ret;
	}
	if (n == a.n_taps + 1u && a.n_taps && a.n_taps <= TAP_QUEUES_MAX)
		ret = unflatten(c, &a, fds, out, e);
	else
		ret = err_set(e, -EPROTO, "port: %zu descriptors came of %u queues", n, a.n_taps);
	while (ret && n)
		close(fds[--n]);
	return ret;
}

void keeper_seal(struct keeper *k)
{
	if (!k || k->sealed)
		return;
	shutdown(k->helper.sock, SHUT_RDWR);
	k->sealed = true;
}

void keeper_stop(struct keeper *k)
{
	if (!k)
		return;
	helper_stop(&k->helper);
	free(k);
}
