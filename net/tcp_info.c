/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_info - the kernel's own account of what held a connection up, and when it gives one up.
 *
 * Apart from tcp.c because <linux/tcp.h>, which has the whole struct tcp_info,
 * and <netinet/tcp.h> cannot be included together.
 */
#include "net/socket.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>

/* #syscalls:engine,send getsockopt(1=IPPROTO_TCP) */
uint64_t tcp_reader_limited_ns(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return 0;
	return (uint64_t)info.tcpi_rwnd_limited * 1000; /* microseconds */
}

/* #syscalls:engine,receive setsockopt(1=IPPROTO_TCP) setsockopt(1=SOL_SOCKET,2=SO_KEEPALIVE) */
void tcp_set_dead_ms(int fd, unsigned int ms)
{
	int on = 1, idle = (int)((ms + 999) / 1000), interval = 1, count = 2;

	/* On a UNIX socket these fail, and there is no need for them. */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}
