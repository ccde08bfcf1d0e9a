/* SPDX-License-Identifier: Apache-2.0 */
/*
 * porter - who goes out of the house, for a VMM that no longer may.
 *
 * A VMM in its sandbox makes no sockets, looks no names up, opens no files and removes none.  Its porter, a process
 * that it forks before there is a guest (base/helper.h), does these few things in its place:
 *
 *     connect   to the other end of a migration: names are looked up, the connected socket is handed over
 *     room      is there memory for a domain that arrives (base/room.h)
 *     remove    a socket of the VMM's own, by its place among those that the porter was started with
 *
 * It has no capabilities, but the user of whoever started the VMM.  A VMM that was taken over can have it connect
 * to anybody who takes TCP connections, or listens on a UNIX socket of that user: an address comes from whoever
 * gives the command `migrate`, and nobody else knows which one will.
 *
 * Threads: any.
 */
#ifndef DROVER_HV_CMD_PORTER_H
#define DROVER_HV_CMD_PORTER_H

#include "base/err.h"
#include "net/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct porter;

/* Sockets that it may remove; what there is none of is NULL. */
enum porter_socket {
	PORTER_CONTROL,
	PORTER_CONSOLE,
	PORTER_INCOMING,
	PORTER_SCREEN,
	PORTER_AGENT,
	PORTER_SOCKETS
};

/**
 * porter_start() - fork one; as helper_start()
 * @sockets: paths, read during the call only
 * @args, @args_len: as in struct helper_role
 * Return: 0 and *@out, porter_stop() it; -errno.
 */
int porter_start(struct porter **out, const char *const sockets[PORTER_SOCKETS], char *args, size_t args_len,
		 struct err *e);
/** porter_stop() - end it; NULL is nothing */
void porter_stop(struct porter *p);

/**
 * porter_connect() - stream_connect() there
 * @timeout_ms: 0 to PORTER_WAIT_MAX_MS
 * Return: 0 and *@out; what stream_connect() says; -EPIPE: the porter has ended.
 */
int porter_connect(struct porter *p, const char *address, int timeout_ms, struct stream **out, struct err *e);
#define PORTER_WAIT_MAX_MS 600000

/**
 * porter_room() - room_check() there
 * @plenty: and so much that nobody will miss it (room_plenty())
 * Return: 0; -ENOSPC with what there is; -EPIPE: the porter has ended.
 */
int porter_room(struct porter *p, uint64_t need, bool plenty, struct err *e);

/** porter_remove() - a socket that nobody listens at any more; what is there and no socket stays */
void porter_remove(struct porter *p, enum porter_socket which);

#endif
