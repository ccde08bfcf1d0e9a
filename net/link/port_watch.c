/* SPDX-License-Identifier: Apache-2.0 */
/* port_watch - a port while it is there (port.h): whether its tap is on its bridge, and its VLANs are again. */
#include "net/link/port_int.h"

#include "base/log.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int port_set_vlans(struct port *p, struct err *e)
{
	int ret;

	if (!p->vlan && !p->n_vlans)
		return 0;
	ret = rtnl_port_vlans(p->index, p->vlan, p->vlans, p->n_vlans, e);
	if (ret)
		err_prefix(e, "bridge %s: tap %s", p->bridge, p->name);
	return ret;
}

int port_watch_fd(const struct port *p)
{
	return p->watch_fd;
}

bool port_is_unguarded(const struct port *p)
{
	return p->kept && p->filtered && p->watch_fd < 0;
}

bool port_is_attached(const struct port *p)
{
	return p->attached;
}

static void describe(struct port *p, const char *on, struct port_change *to)
{
	struct err e;
	int ret = to->attached ? port_set_vlans(p, &e) : 0;

	to->wrong = !to->attached || ret;
	if (!to->attached)
		snprintf(to->text, sizeof(to->text), "%s is no longer on bridge %s%s%s", p->name, p->bridge, on[0] ? " but on " : "", on);
	else
		snprintf(to->text, sizeof(to->text), "%s is on bridge %s again%s%.160s", p->name, p->bridge, ret ? ", but: " : "",
			 ret ? e.text : "");
}

bool port_look(struct port *p, struct port_change *to)
{
	char on[IF_NAMESIZE] = "";
	int master;

	/* A tap that is gone is told by whoever reads it. */
	if (!rtnl_watch_drain(p->watch_fd, p->index, &master))
		return false;
	if (master)
		if_indextoname((unsigned int)master, on);
	to->attached = !strcmp(on, p->bridge);
	if (to->attached == p->attached)
		return false;
	p->attached = to->attached;
	describe(p, on, to);
	return true;
}

/* #syscalls:device recvfrom */
bool port_heard(struct port *p, struct port_change *to)
{
	ssize_t n = recv(p->watch_fd, to, sizeof(*to), MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(*to)) {
		to->text[sizeof(to->text) - 1] = '\0';
		p->attached = to->attached;
		return true;
	}
	if (n < 0 && errno == EAGAIN)
		return false;
	close(p->watch_fd);
	p->watch_fd = -1;
	*to = (struct port_change){ .attached = p->attached, .wrong = true };
	snprintf(to->text, sizeof(to->text), "%s: the process that keeps its port has ended%s", p->name,
		 p->filtered ? ", and its filter with it" : "");
	return true;
}

void port_news(struct port *p)
{
	struct port_change change;

	while (p->watch_fd >= 0 && (p->kept ? port_heard(p, &change) : port_look(p, &change)))
		log_line(change.wrong ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "%s", change.text);
}
