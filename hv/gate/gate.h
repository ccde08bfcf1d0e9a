/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate - a domain runs only while its host's lease is valid (rule G).
 *
 * The lease page (conf/lease_page.h) says until when.  Two things look at it:
 *
 *   disks     ask gate_allows() before each request, from any thread: no timer,
 *             no wake-up, no way to be late
 *   vCPUs     a thread of the gate's own takes HOLD_GATE when the time has come
 *
 * The thread does nothing else and waits for nobody: not for a log that is not
 * read, not for a disk, not for the main thread, which may be stuck in either.  It
 * asks for real-time priority and goes on without where that is not allowed.
 * Opening is the other way round: it is left to the main thread, and if that is
 * stuck, the domain stays gated, which is safe.
 *
 * Both count the lease as over GATE_MARGIN before its end, which leaves time for
 * vCPUs to stop and for what the disk was given to arrive.
 *
 * The page may be changed at any time, also backwards, so the thread never sleeps
 * longer than GATE_LOOK.  A page that vanished or was never valid allows nothing.
 *
 * A domain that stays gated lets go of its disks: the cluster may start it
 * elsewhere once this host is proved to have stopped, and storage whose locks
 * outlive a network (a host that can still reach its NFS server) would refuse
 * that for ever.  When the lease returns, the disks are taken again with the
 * same incarnation.  When somebody has had one of them since, or it is another
 * disk by now (restored, made anew, its path leads elsewhere), what the domain
 * remembers is worth nothing: its VMM ends as failed, and the cluster starts it
 * afresh.  Anything else in the way is tried again.  Storage is waited for by a thread of its own (gate_disks.h).
 */
#ifndef DROVER_HV_GATE_GATE_H
#define DROVER_HV_GATE_GATE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct gate;
struct machine;

/* Who runs the machine: what the gate must know of it and tell it.  Main thread, but for post(). */
struct gate_owner {
	void *arg;
	/* Run @fn(@fn_arg) on the main thread; any thread.  0, or nothing will come of it. */
	int (*post)(void *arg, void (*fn)(void *), void *fn_arg);
	/* That of the ownership the domain runs under: its disks are taken again with it. */
	uint64_t (*incarnation)(void *arg);
	/* Gated or paused, and not on its way to or from another host: its disks may be let go. */
	bool (*stands_still)(void *arg);
	/* The gate closed or opened. */
	void (*changed)(void *arg);
	/* What the domain remembers is worth nothing: it must end as failed. */
	void (*lost)(void *arg, const char *why);
};

/**
 * gate_create() - closed, until the main thread finds the lease valid; it looks at once
 * @owner: copied
 * @path: the lease page (conf/lease_page.h)
 * Return: 0, or -errno of the file, -EINVAL when it is no lease page.
 */
int gate_create(struct gate **out, struct machine *m, const struct gate_owner *owner, const char *path,
		struct err *e);

/**
 * gate_stop() - before the machine goes: it is not held any more; gate_allows() still answers
 * Return: false after a second, when the disks are still on their way and storage does not answer (gate_disks.h): then
 * neither the machine nor the gate can be destroyed, but the process can end.
 */
bool gate_stop(struct gate *g);

/** gate_destroy() - after the machine's disks, which ask it; a NULL gate is none */
void gate_destroy(struct gate *g);

/** gate_allows() - rule G: is the lease valid now?  Any thread; a NULL gate allows. */
bool gate_allows(const struct gate *g);

#endif
