/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper - a process that makes a VMM's ports and takes them back (port.h), since the VMM has no right to later.
 *
 * What a port takes of its host may have to be given back when the VMM has ended, however it ended: a tap that stays
 * goes off its bridge and has its MTU as before.  A filter lives as long as the process that made it.  And a tap that
 * comes back to its bridge gets its VLANs again, while the guest runs.  So each port is another process's, which the
 * VMM forks while it trusts itself (base/helper.h):
 *
 *     VMM      keeper_open() ── question ──> keeper_serve.c: port_open()
 *                            <── taps, and one end of a pair: news of this port; closed, it gives the port back
 *     VMM      keeper_seal(): no more questions
 *
 * Nothing is asked of it after that, so a VMM that was taken over can do no more than end its ports.  It ends with the
 * last of them.
 */
#ifndef DROVER_NET_LINK_KEEPER_H
#define DROVER_NET_LINK_KEEPER_H

#include "net/link/port.h"

#define KEEPER_PORTS_MAX 32

struct keeper;

/** keeper_start() - fork one; as helper_start(); @args, @args_len: as in struct helper_role */
int keeper_start(struct keeper **out, char *args, size_t args_len, struct err *e);
/**
 * keeper_open() - port_open() there; the port is used and closed as any other
 * @k: NULL: here
 * Return: what that says; -ENOSPC: KEEPER_PORTS_MAX are there; -EPIPE: the keeper has ended, or is sealed.
 */
int keeper_open(struct keeper *k, const struct port_conf *c, struct port **out, struct err *e);
/** keeper_seal() - it takes no more questions; again, and NULL, is nothing */
void keeper_seal(struct keeper *k);
/** keeper_stop() - when all its ports are closed: wait until they are given back, a second at most; NULL is nothing */
void keeper_stop(struct keeper *k);

#endif
