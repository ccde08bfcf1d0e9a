/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lookup - the addresses behind a name, without ever being at the mercy of a resolver.
 *
 * One whose servers are dead takes half a minute, and getaddrinfo(3) cannot be hurried: it is done by
 * a thread of the C library's (getaddrinfo_a(3)), and whoever asked looks now and then, waits for as
 * long as it likes, or goes away.  A number asks nobody and is there at once.
 */
#ifndef DROVER_NET_LOOKUP_H
#define DROVER_NET_LOOKUP_H

#include <netdb.h>

struct lookup;

/**
 * lookup_start() - begin to look @host up, for stream sockets of either family
 * @port: digits, or NULL
 * @flags: AI_PASSIVE or 0
 * Return: NULL without memory.  Strings are copied.
 */
struct lookup *lookup_start(const char *host, const char *port, int flags);
/** lookup_state() - EAI_INPROGRESS, 0 when the addresses are there, else why not (EAI_..., for gai_strerror()) */
int lookup_state(struct lookup *l);
/** lookup_wait() - lookup_state() when it has ended, or after @timeout_ms */
int lookup_wait(struct lookup *l, unsigned int timeout_ms);
/** lookup_addresses() - what was found, @l's own; NULL unless lookup_state() is 0 */
const struct addrinfo *lookup_addresses(const struct lookup *l);
/** lookup_free() - at any time, and at once: one that is under way is left to end by itself; NULL is fine */
void lookup_free(struct lookup *l);

#endif
