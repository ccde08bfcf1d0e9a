/* SPDX-License-Identifier: Apache-2.0 */
/* lookup - see lookup.h; getaddrinfo_a(3). */
#include "net/lookup.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct lookup {
	struct lookup *next; /* among those that were left alone */
	struct gaicb cb;
	struct addrinfo hints;
	int state; /* EAI_INPROGRESS: ask cb */
	char host[256], port[8];
};

/* The library's threads write into these until they have ended. */
static struct lookup *left_alone;
static pthread_mutex_t left_alone_lock = PTHREAD_MUTEX_INITIALIZER;

static void destroy(struct lookup *l)
{
	if (l->cb.ar_result)
		freeaddrinfo(l->cb.ar_result);
	free(l);
}

static void clear_up(void)
{
	struct lookup **p, *l;

	pthread_mutex_lock(&left_alone_lock);
	for (p = &left_alone; (l = *p);) {
		if (gai_error(&l->cb) == EAI_INPROGRESS) {
			p = &l->next;
			continue;
		}
		*p = l->next;
		destroy(l);
	}
	pthread_mutex_unlock(&left_alone_lock);
}

/*
 * Libraries are loaded for it: modules of nsswitch.conf(5), and libgcc when a thread of getaddrinfo_a(3) ends.
 * #syscalls:porter mmap mprotect
 * #syscalls:porter socket(0=AF_INET,1&SOCK_KIND=SOCK_DGRAM) socket(0=AF_INET6,1&SOCK_KIND=SOCK_DGRAM) socket(0=AF_NETLINK)
 * #syscalls:porter openat(2&O_WRITES=0) newfstatat statfs lseek ioctl(1=FIONREAD) bind connect getsockname
 * #syscalls:porter clone(0&THREAD_FLAGS=THREAD_FLAGS) clone3!ENOSYS sendto sendmmsg sendmsg recvfrom recvmsg poll uname setsockopt(1=SOL_IP) setsockopt(1=SOL_IPV6)
 */
struct lookup *lookup_start(const char *host, const char *port, int flags)
{
	struct lookup *l = calloc(1, sizeof(*l));
	struct gaicb *list[] = { &l->cb };

	clear_up();
	if (!l)
		return NULL;
	if ((size_t)snprintf(l->host, sizeof(l->host), "%s", host) >= sizeof(l->host) ||
	    (size_t)snprintf(l->port, sizeof(l->port), "%s", port ? port : "") >= sizeof(l->port)) {
		l->state = EAI_NONAME;
		return l;
	}
	l->hints.ai_family = AF_UNSPEC;
	l->hints.ai_socktype = SOCK_STREAM;
	l->hints.ai_flags = flags | AI_NUMERICSERV | AI_NUMERICHOST;
	l->state = getaddrinfo(l->host, port ? l->port : NULL, &l->hints, &l->cb.ar_result);
	if (l->state == 0)
		return l;
	l->hints.ai_flags &= ~AI_NUMERICHOST;
	l->cb = (struct gaicb){ .ar_name = l->host, .ar_service = port ? l->port : NULL, .ar_request = &l->hints };
	l->state = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
	if (l->state == 0)
		l->state = EAI_INPROGRESS;
	return l;
}

int lookup_state(struct lookup *l)
{
	if (l->state == EAI_INPROGRESS)
		l->state = gai_error(&l->cb);
	return l->state;
}

int lookup_wait(struct lookup *l, unsigned int timeout_ms)
{
	const struct gaicb *list[] = { &l->cb };
	uint64_t end = clock_ms() + timeout_ms, now;

	while (lookup_state(l) == EAI_INPROGRESS && (now = clock_ms()) < end) {
		struct timespec t = { .tv_sec = (time_t)((end - now) / 1000),
				      .tv_nsec = (long)((end - now) % 1000) * 1000000 };

		gai_suspend(list, 1, &t);
	}
	return lookup_state(l);
}

const struct addrinfo *lookup_addresses(const struct lookup *l)
{
	return l->state == 0 ? l->cb.ar_result : NULL;
}

void lookup_free(struct lookup *l)
{
	if (!l)
		return;
	if (lookup_state(l) == EAI_INPROGRESS && gai_cancel(&l->cb) == EAI_NOTCANCELED) {
		pthread_mutex_lock(&left_alone_lock);
		l->next = left_alone;
		left_alone = l;
		pthread_mutex_unlock(&left_alone_lock);
		return;
	}
	destroy(l);
}
