/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_info - the kernel's own account of what held a connection up.
 *
 * Apart from tcp.c because <linux/tcp.h>, which has the whole struct tcp_info,
 * and <netinet/tcp.h> cannot be included together.
 */
#include "net/socket.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>

uint64_t tcp_reader_limited_ns(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return 0;
	return (uint64_t)info.tcpi_rwnd_limited * 1000; /* microseconds */
}
