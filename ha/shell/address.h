/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address - can migrations arrive at the address that this host would tell the others?
 *
 * A name is what each host takes it for.  Debian's installer writes the host's own name
 * into /etc/hosts as 127.0.1.1: a VMM would listen there, and nobody would ever reach it.
 */
#ifndef DROVER_HA_SHELL_ADDRESS_H
#define DROVER_HA_SHELL_ADDRESS_H

#include <qb/qbdefs.h>
#include <qb/qbloop.h>
#include <stddef.h>
#include <sys/socket.h>

/**
 * address_why_not() - why migrations cannot arrive at @sa
 * Return: a constant such as "is a loopback address, ...", or NULL when they can: it is an
 * address of this host that others may have a way to.
 */
const char *address_why_not(const struct sockaddr *sa, socklen_t len);

struct address_check;

#define ADDRESS_AGAIN_MS 60000 /* what is wrong may be mended: looked at again */

/** @text: "" or what is wrong with the address */
typedef void (*address_checked)(void *arg, const char *text);

/**
 * address_check_open() - look @address up, without blocking
 * done() follows from the loop, and again when the outcome is another than before.
 * @address: as in cluster.yaml or ring0_addr; copied
 * Return: NULL without memory.
 */
struct address_check *address_check_open(qb_loop_t *loop, const char *address, address_checked done,
					 void *arg);
/** address_check_close() - at once, also while a lookup is under way */
void address_check_close(struct address_check *c);

#endif
