/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address - see address.h.
 *
 * The resolver may take half a minute when its servers are dead, and the loop renews leases:
 * a timer asks how far the lookup is (net/lookup.h).
 */
#include "ha/shell/address.h"

#include "net/lookup.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS 100

struct address_check {
	qb_loop_t *loop;
	char address[256];
	address_checked done;
	void *arg;
	struct lookup *lookup; /* under way, or NULL */
	bool told_once;
	char told[480];
	qb_loop_timer_handle timer;
	bool timer_armed;
};

static bool is_loopback(const struct sockaddr *sa)
{
	const struct in6_addr *six = &((const struct sockaddr_in6 *)sa)->sin6_addr;
	uint32_t four = sa->sa_family == AF_INET  ? ((const struct sockaddr_in *)sa)->sin_addr.s_addr :
			IN6_IS_ADDR_V4MAPPED(six) ? six->s6_addr32[3] :
						    0;

	return ntohl(four) >> 24 == IN_LOOPBACKNET || (sa->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(six));
}

static bool is_any(const struct sockaddr *sa)
{
	const struct in6_addr *six = &((const struct sockaddr_in6 *)sa)->sin6_addr;

	if (sa->sa_family == AF_INET)
		return ((const struct sockaddr_in *)sa)->sin_addr.s_addr == INADDR_ANY;
	return IN6_IS_ADDR_UNSPECIFIED(six) || (IN6_IS_ADDR_V4MAPPED(six) && !six->s6_addr32[3]);
}

/* A port of the kernel's choice: only the address is asked for. */
static bool is_ours(const struct sockaddr *sa, socklen_t len)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool no = fd >= 0 && bind(fd, sa, len) < 0 && errno == EADDRNOTAVAIL;

	if (fd >= 0)
		close(fd);
	return !no;
}

const char *address_why_not(const struct sockaddr *sa, socklen_t len)
{
	if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6)
		return "is not an IP address";
	if (is_loopback(sa))
		return "is a loopback address, which no other host can reach";
	if (is_any(sa))
		return "stands for every address, so no other host can be told where to send";
	if (!is_ours(sa, len))
		return "is not an address of this host";
	return NULL;
}

static void judge(const struct address_check *c, char *text, size_t size)
{
	const struct addrinfo *ai = lookup_addresses(c->lookup);
	char host[64] = "";
	const char *no;

	/* The first is the one that a VMM listens at (net/stream.h). */
	no = ai ? address_why_not(ai->ai_addr, ai->ai_addrlen) : "has no address";
	text[0] = '\0';
	if (!no)
		return;
	getnameinfo(ai->ai_addr, ai->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
	snprintf(text, size, "%s%s%s%s %s", c->address, strcmp(host, c->address) && *host ? " (" : "",
		 strcmp(host, c->address) ? host : "", strcmp(host, c->address) && *host ? ")" : "", no);
}

static void on_look(void *data);

static void arm(struct address_check *c, uint32_t ms)
{
	c->timer_armed = qb_loop_timer_add(c->loop, QB_LOOP_LOW, ms * QB_TIME_NS_IN_MSEC, c, on_look,
					   &c->timer) == 0;
}

/* The outcome is there. */
static void tell(struct address_check *c, int rc)
{
	char text[sizeof(c->told)];

	if (rc)
		snprintf(text, sizeof(text), "%s cannot be resolved: %s", c->address, gai_strerror(rc));
	else
		judge(c, text, sizeof(text));
	lookup_free(c->lookup);
	c->lookup = NULL;
	if (*text)
		arm(c, ADDRESS_AGAIN_MS);
	if (c->told_once && strcmp(text, c->told) == 0)
		return;
	c->told_once = true;
	memcpy(c->told, text, sizeof(c->told));
	c->done(c->arg, text);
}

static void on_look(void *data)
{
	struct address_check *c = data;
	int rc;

	c->timer_armed = false;
	if (!c->lookup)
		c->lookup = lookup_start(c->address, NULL, 0);
	rc = c->lookup ? lookup_state(c->lookup) : EAI_MEMORY;
	if (rc == EAI_INPROGRESS)
		arm(c, LOOK_MS);
	else
		tell(c, rc);
}

struct address_check *address_check_open(qb_loop_t *loop, const char *address, address_checked done,
					 void *arg)
{
	struct address_check *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->loop = loop;
	c->done = done;
	c->arg = arg;
	snprintf(c->address, sizeof(c->address), "%s", address);
	arm(c, 0);
	return c;
}

void address_check_close(struct address_check *c)
{
	if (!c)
		return;
	if (c->timer_armed)
		qb_loop_timer_del(c->loop, c->timer);
	lookup_free(c->lookup);
	free(c);
}
