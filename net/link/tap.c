/* SPDX-License-Identifier: Apache-2.0 */
/* tap - see tap.h; ioctls of tun(4), netdevice(7) and the bridge. */
#include "net/link/tap.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int name_set(struct ifreq *r, const char *name, struct err *e)
{
	memset(r, 0, sizeof(*r));
	if (strlen(name) > TAP_NAME_MAX)
		return err_set(e, -EINVAL, "link %s: name of more than %d characters", name,
			       TAP_NAME_MAX);
	memcpy(r->ifr_name, name, strlen(name));
	return 0;
}

static int open_queue(const char *name, short more_flags, char *actual, struct err *e)
{
	int header = TAP_HEADER, ret, fd;
	struct ifreq r;

	ret = name_set(&r, name ? name : "", e);
	if (ret)
		return ret;
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "/dev/net/tun");
	r.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | more_flags);
	if (ioctl(fd, TUNSETIFF, &r)) {
		ret = errno == EBUSY ? err_set(e, -EBUSY, "tap %s: another process has it open", name ? name : "(new)") :
				       err_errno(e, "tap %s", name ? name : "(new)");
		goto fail;
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &header)) {
		ret = err_errno(e, "tap %s: header of %d bytes", r.ifr_name, header);
		goto fail;
	}
	memcpy(actual, r.ifr_name, TAP_NAME_MAX);
	actual[TAP_NAME_MAX] = '\0';
	return fd;
fail:
	close(fd);
	return ret;
}

int tap_open(const char *name, unsigned int queues, char *actual, struct err *e)
{
	short flags = queues > 1 ? IFF_MULTI_QUEUE : 0;
	int fd;

	assert(queues && queues <= TAP_QUEUES_MAX);
	fd = open_queue(name, flags, actual, e);
	/* The kernel says no more than "invalid" when a tap that is there was made for the other case. */
	if (fd == -EINVAL && name && if_nametoindex(name))
		err_set(e, fd, "tap %s: is there, and not a tap device %s multi_queue", name, flags ? "with" : "without");
	return fd;
}

int tap_open_queue(const char *name, struct err *e)
{
	char actual[TAP_NAME_MAX + 1];

	return open_queue(name, IFF_MULTI_QUEUE, actual, e);
}

/* #syscalls:device,vcpu,engine,main ioctl(1=TUNSETQUEUE) */
int tap_attach_queue(int fd, bool on, struct err *e)
{
	struct ifreq r;

	memset(&r, 0, sizeof(r));
	r.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
	if (ioctl(fd, TUNSETQUEUE, &r))
		return err_errno(e, "tap: %s a queue", on ? "attach" : "detach");
	return 0;
}

/* #syscalls:vcpu,engine,main ioctl(1=TUNSETOFFLOAD) */
int tap_offload(int fd, unsigned int offloads, struct err *e)
{
	unsigned int flags = 0;

	if (offloads & TAP_OFFLOAD_CSUM) {
		/* Segmentation without checksums is refused by the kernel. */
		flags |= TUN_F_CSUM;
		flags |= offloads & TAP_OFFLOAD_TSO4 ? TUN_F_TSO4 : 0;
		flags |= offloads & TAP_OFFLOAD_TSO6 ? TUN_F_TSO6 : 0;
		if (offloads & (TAP_OFFLOAD_TSO4 | TAP_OFFLOAD_TSO6))
			flags |= offloads & TAP_OFFLOAD_ECN ? TUN_F_TSO_ECN : 0;
	}
	if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)flags))
		return err_errno(e, "tap: offloads 0x%x", flags);
	return 0;
}

/* An ioctl on @name by way of any socket. */
static int link_ioctl(unsigned long request, struct ifreq *r)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	ret = ioctl(fd, request, r) ? -errno : 0;
	close(fd);
	return ret;
}

/* Above the host's cards, so that the bridge does not take it (tap.h). */
static int set_mac(const char *name, const uint8_t *guest, struct err *e)
{
	/* A guest that has 0xfe itself would be taken for its tap by the bridge. */
	uint8_t first = guest[0] == 0xfe ? 0xfa : 0xfe;
	struct ifreq r;
	int ret;

	ret = name_set(&r, name, e);
	if (ret)
		return ret;
	assert(!(first & 1) && first != guest[0]); /* of one host, and not the guest's own */
	r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(r.ifr_hwaddr.sa_data, guest, ETH_ALEN);
	r.ifr_hwaddr.sa_data[0] = (char)first;
	ret = link_ioctl(SIOCSIFHWADDR, &r);
	return ret ? err_set(e, ret, "link %s: set its address: %s", name, strerror(-ret)) : 0;
}

int tap_set_mtu(const char *name, int mtu, struct err *e)
{
	struct ifreq r;
	int ret;

	ret = name_set(&r, name, e);
	if (ret)
		return ret;
	r.ifr_mtu = mtu;
	ret = link_ioctl(SIOCSIFMTU, &r);
	return ret ? err_set(e, ret, "link %s: set its MTU to %d: %s", name, mtu, strerror(-ret)) : 0;
}

int tap_mtu(const char *name, struct err *e)
{
	struct ifreq r;
	int ret;

	ret = name_set(&r, name, e);
	if (ret)
		return ret;
	ret = link_ioctl(SIOCGIFMTU, &r);
	return ret ? err_set(e, ret, "link %s: its MTU: %s", name, strerror(-ret)) : r.ifr_mtu;
}

int tap_attach(const char *name, const char *bridge, const uint8_t *guest, struct err *e)
{
	unsigned int index = if_nametoindex(name);
	struct ifreq r;
	int ret;

	if (!index)
		return err_errno(e, "link %s", name);
	ret = name_set(&r, bridge, e);
	if (ret)
		return ret;
	if (!if_nametoindex(bridge))
		return err_set(e, -ENOENT, "bridge %s: no such link on this host", bridge);
	ret = set_mac(name, guest, e);
	if (ret)
		return ret;
	ret = tap_mtu(bridge, e);
	if (ret >= 0)
		ret = tap_set_mtu(name, ret, e);
	if (ret)
		return ret;
	r.ifr_ifindex = (int)index;
	ret = link_ioctl(SIOCBRADDIF, &r);
	if (ret == -EOPNOTSUPP)
		return err_set(e, -EINVAL, "bridge %s: is not a bridge", bridge);
	if (ret)
		return err_set(e, ret, "link %s: attach to bridge %s: %s", name, bridge,
			       ret == -EBUSY ? "belongs to another bridge" : strerror(-ret));
	return 0;
}

int tap_detach(const char *name, const char *bridge, struct err *e)
{
	unsigned int index = if_nametoindex(name);
	struct ifreq r;
	int ret;

	if (!index)
		return err_errno(e, "link %s", name);
	ret = name_set(&r, bridge, e);
	if (ret)
		return ret;
	r.ifr_ifindex = (int)index;
	ret = link_ioctl(SIOCBRDELIF, &r);
	/* Somebody was quicker: it is off this bridge, which is all that was wanted. */
	if (ret && ret != -EINVAL && ret != -ENODEV)
		return err_set(e, ret, "link %s: take it off bridge %s: %s", name, bridge, strerror(-ret));
	return 0;
}

bool tap_persists(int fd)
{
	struct ifreq r;

	memset(&r, 0, sizeof(r));
	return !ioctl(fd, TUNGETIFF, &r) && (r.ifr_flags & IFF_PERSIST);
}

int tap_set_up(const char *name, bool up, struct err *e)
{
	struct ifreq r;
	int ret;

	ret = name_set(&r, name, e);
	if (ret)
		return ret;
	ret = link_ioctl(SIOCGIFFLAGS, &r);
	/* A user's own tap that is up already needs no privilege. */
	if (!ret && !!(r.ifr_flags & IFF_UP) != up) {
		r.ifr_flags = (short)(up ? r.ifr_flags | IFF_UP : r.ifr_flags & ~IFF_UP);
		ret = link_ioctl(SIOCSIFFLAGS, &r);
	}
	if (ret)
		return err_set(e, ret, "link %s: bring %s: %s", name, up ? "up" : "down",
			       strerror(-ret));
	return 0;
}
