/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnl - see rtnl.h.
 *
 *     nlmsghdr | ifinfomsg | attribute | attribute { attribute, attribute } ...
 *
 * Each attribute is a length, a type and a value, padded to four bytes; some hold attributes themselves.
 */
#include "net/link/rtnl.h"

#include <assert.h>
#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_MAX 16384 /* one link, with its statistics and whatever its kind tells of itself */
#define ANSWER_S 10      /* the kernel answers at once, but waits for a lock that others hold */

struct rtnl_request {
	struct nlmsghdr head;
	struct ifinfomsg link;
	uint8_t attrs[1024];
};

static void begin(struct rtnl_request *r, uint16_t type, uint8_t family, int index)
{
	memset(r, 0, sizeof(*r));
	r->head.nlmsg_len = NLMSG_LENGTH(sizeof(r->link));
	r->head.nlmsg_type = type;
	r->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	r->link.ifi_family = family;
	r->link.ifi_index = index;
}

static struct rtattr *put(struct rtnl_request *r, unsigned short type, const void *value, size_t len)
{
	struct rtattr *a = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->head.nlmsg_len));

	assert(NLMSG_ALIGN(r->head.nlmsg_len) + RTA_SPACE(len) <= sizeof(*r));
	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), value, len);
	r->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->head.nlmsg_len) + RTA_SPACE(len));
	return a;
}

/* What was put since @outer lies in it. */
static void put_end(const struct rtnl_request *r, struct rtattr *outer)
{
	outer->rta_len = (unsigned short)((const char *)r + r->head.nlmsg_len - (const char *)outer);
}

static int talk_on(int fd, const struct rtnl_request *r, void *answer, size_t *len)
{
	struct timeval patience = { .tv_sec = ANSWER_S };
	const struct nlmsghdr *h = answer;
	ssize_t n;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    send(fd, r, r->head.nlmsg_len, 0) < 0)
		return -errno;
	do {
		n = recv(fd, answer, ANSWER_MAX, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (!NLMSG_OK(h, (size_t)n))
		return -EBADMSG;
	if (h->nlmsg_type == NLMSG_ERROR) {
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
			return -EBADMSG;
		return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
	}
	*len = h->nlmsg_len;
	return 0;
}

/* @answer: ANSWER_MAX bytes, aligned; *@len stays 0 when the answer is "done". */
static int talk(const struct rtnl_request *r, void *answer, size_t *len)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int ret;

	*len = 0;
	if (fd < 0)
		return -errno;
	ret = talk_on(fd, r, answer, len);
	close(fd);
	return ret;
}

/* --- what a link is --- */

/* The attribute of @type among the @len bytes at @first, or NULL; at least @min bytes of value. */
static const struct rtattr *find(const void *first, size_t len, unsigned short type, size_t min)
{
	const struct rtattr *a = first;

	for (; RTA_OK(a, len); a = RTA_NEXT(a, len))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return RTA_PAYLOAD(a) >= min ? a : NULL;
	return NULL;
}

static uint32_t find_u32(const void *first, size_t len, unsigned short type)
{
	const struct rtattr *a = find(first, len, type, sizeof(uint32_t));
	uint32_t v = 0;

	if (a)
		memcpy(&v, RTA_DATA(a), sizeof(v));
	return v;
}

static void read_bridge(const struct rtattr *data, struct rtnl_link *out)
{
	const struct rtattr *a;
	uint8_t *v;

	a = find(RTA_DATA(data), RTA_PAYLOAD(data), IFLA_BR_VLAN_FILTERING, 1);
	out->vlan_filtering = a && *(const uint8_t *)RTA_DATA(a);
	a = find(RTA_DATA(data), RTA_PAYLOAD(data), IFLA_BR_VLAN_PROTOCOL, 2);
	if (!a)
		return;
	v = RTA_DATA(a); /* network order */
	out->vlan_protocol = (uint16_t)(v[0] << 8 | v[1]);
}

static void read_kind(const struct rtattr *info, struct rtnl_link *out)
{
	const struct rtattr *kind = find(RTA_DATA(info), RTA_PAYLOAD(info), IFLA_INFO_KIND, 1);
	const struct rtattr *data = find(RTA_DATA(info), RTA_PAYLOAD(info), IFLA_INFO_DATA, 0);
	size_t len;

	if (!kind)
		return;
	len = strnlen(RTA_DATA(kind), RTA_PAYLOAD(kind));
	if (len >= sizeof(out->kind))
		return;
	memcpy(out->kind, RTA_DATA(kind), len);
	if (data && !strcmp(out->kind, "bridge"))
		read_bridge(data, out);
}

static int read_link(const struct nlmsghdr *h, size_t len, struct rtnl_link *out)
{
	const struct ifinfomsg *link = NLMSG_DATA(h);
	const struct rtattr *attrs, *info, *name;

	if (h->nlmsg_type != RTM_NEWLINK || len < NLMSG_LENGTH(sizeof(*link)))
		return -EBADMSG;
	attrs = (const struct rtattr *)((const char *)h + NLMSG_SPACE(sizeof(*link)));
	len -= len < NLMSG_SPACE(sizeof(*link)) ? len : NLMSG_SPACE(sizeof(*link));
	out->index = link->ifi_index;
	out->up = link->ifi_flags & IFF_UP;
	name = find(attrs, len, IFLA_IFNAME, 1);
	if (name)
		memcpy(out->name, RTA_DATA(name), strnlen(RTA_DATA(name), RTA_PAYLOAD(name) < RTNL_NAME_MAX ? RTA_PAYLOAD(name) : RTNL_NAME_MAX));
	out->mtu = (int)find_u32(attrs, len, IFLA_MTU);
	out->master = (int)find_u32(attrs, len, IFLA_MASTER);
	info = find(attrs, len, IFLA_LINKINFO, 0);
	if (info)
		read_kind(info, out);
	return 0;
}

static int ask(const struct rtnl_request *r, struct rtnl_link *out)
{
	_Alignas(struct nlmsghdr) uint8_t answer[ANSWER_MAX];
	size_t len;
	int ret;

	memset(out, 0, sizeof(*out));
	ret = talk(r, answer, &len);
	if (ret)
		return ret;
	return len ? read_link((const struct nlmsghdr *)answer, len, out) : -EBADMSG;
}

int rtnl_link_at(int index, struct rtnl_link *out, struct err *e)
{
	struct rtnl_request r;
	int ret;

	begin(&r, RTM_GETLINK, AF_UNSPEC, index);
	ret = ask(&r, out);
	return ret ? err_set(e, ret, "link %d: ask the kernel of it: %s", index, strerror(-ret)) : 0;
}

int rtnl_link_get(const char *name, struct rtnl_link *out, struct err *e)
{
	struct rtnl_request r;
	int ret;

	if (strlen(name) > RTNL_NAME_MAX)
		return err_set(e, -EINVAL, "link %s: name of more than %d characters", name, RTNL_NAME_MAX);
	begin(&r, RTM_GETLINK, AF_UNSPEC, 0);
	put(&r, IFLA_IFNAME, name, strlen(name) + 1);
	ret = ask(&r, out);
	if (ret == -ENODEV)
		return err_set(e, ret, "link %s: no such link on this host", name);
	return ret ? err_set(e, ret, "link %s: ask the kernel of it: %s", name, strerror(-ret)) : 0;
}

/* --- changes --- */

int rtnl_watch_open(struct err *e)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE), ret;

	if (fd < 0)
		return err_errno(e, "watch links");
	if (!bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	ret = err_errno(e, "watch links");
	close(fd);
	return ret;
}

/* Bridges tell of their ports in messages of their own family, which say less. */
static bool find_news(const void *messages, size_t len, int index, int *master)
{
	const struct nlmsghdr *h = messages;
	struct rtnl_link link;
	bool found = false;

	for (; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
		memset(&link, 0, sizeof(link));
		if (h->nlmsg_type != RTM_NEWLINK || read_link(h, h->nlmsg_len, &link) || link.index != index ||
		    ((const struct ifinfomsg *)NLMSG_DATA(h))->ifi_family != AF_UNSPEC)
			continue;
		*master = link.master;
		found = true;
	}
	return found;
}

bool rtnl_watch_drain(int fd, int index, int *master)
{
	_Alignas(struct nlmsghdr) uint8_t messages[ANSWER_MAX];
	bool found = false, lost = false;
	struct rtnl_link link;
	struct err e;
	ssize_t n;

	for (;;) {
		n = recv(fd, messages, sizeof(messages), 0);
		if (n > 0)
			found |= find_news(messages, (size_t)n, index, master);
		else if (n < 0 && errno == ENOBUFS)
			lost = true;
		else if (n == 0 || errno != EINTR)
			break;
	}
	if (lost && !rtnl_link_at(index, &link, &e)) {
		*master = link.master;
		found = true;
	}
	return found;
}

/* --- VLANs of a port --- */

static void put_vlan(struct rtnl_request *r, uint16_t vid, uint16_t flags)
{
	struct bridge_vlan_info v = { .flags = flags, .vid = vid };

	put(r, IFLA_BRIDGE_VLAN_INFO, &v, sizeof(v));
}

int rtnl_port_vlans(int index, uint16_t untagged, const uint16_t *tagged, size_t n_tagged, struct err *e)
{
	_Alignas(struct nlmsghdr) uint8_t answer[ANSWER_MAX];
	struct rtattr *spec;
	struct rtnl_request r;
	size_t len, i;
	int ret;

	assert(n_tagged <= RTNL_VLANS_MAX && untagged <= RTNL_VID_MAX);
	begin(&r, RTM_DELLINK, AF_BRIDGE, index);
	spec = put(&r, IFLA_AF_SPEC, NULL, 0);
	put_vlan(&r, 1, BRIDGE_VLAN_INFO_RANGE_BEGIN);
	put_vlan(&r, RTNL_VID_MAX, BRIDGE_VLAN_INFO_RANGE_END);
	put_end(&r, spec);
	ret = talk(&r, answer, &len);
	if (ret)
		return err_set(e, ret, "VLANs of its port: remove those by default: %s", strerror(-ret));
	begin(&r, RTM_SETLINK, AF_BRIDGE, index);
	spec = put(&r, IFLA_AF_SPEC, NULL, 0);
	if (untagged)
		put_vlan(&r, untagged, BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED);
	for (i = 0; i < n_tagged; i++)
		put_vlan(&r, tagged[i], 0);
	put_end(&r, spec);
	ret = untagged || n_tagged ? talk(&r, answer, &len) : 0;
	return ret ? err_set(e, ret, "VLANs of its port: %s", strerror(-ret)) : 0;
}
