/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine - a thread says what kind it is, before it deals with a guest or with another host.
 *
 * Whoever has a sandbox (cmd/drover-hv/sandbox.h) gives the thread the rights of its kind then, and it cannot have
 * others any more.  Where there is none, as in tests, this does nothing.
 *
 * What a kind of thread asks of the kernel stands beside the code that asks, in a comment "#syscalls:KIND CALL...";
 * the build makes the filters from that (cmd/drover-hv/syscalls.py).
 *
 * Threads: any, each for itself.
 */
#ifndef DROVER_BASE_CONFINE_H
#define DROVER_BASE_CONFINE_H

#include <stdbool.h>

enum confine_kind {
	CONFINE_NONE,    /* not confined, or not yet */
	CONFINE_MAIN,    /* control socket, console; begins all others */
	CONFINE_VCPU,    /* runs a guest */
	CONFINE_DEVICE,  /* serves a guest's virtio device */
	CONFINE_GATE,    /* rule G, and disks that come and go by it */
	CONFINE_ENGINE,  /* a migration, either end; begins those that send and receive */
	CONFINE_SEND,    /* pages, at the source */
	CONFINE_RECEIVE, /* what the other end says, pages among it */
	CONFINE_BROKER,  /* a process: opens disks (hv/disk/disk_broker.h) */
	CONFINE_PORTER,  /* a process: connects to other hosts, removes sockets (cmd/drover-hv/porter.h) */
	CONFINE_KEEPER,  /* a process: makes ports and gives them back (net/link/keeper.h); has no list */
	CONFINE_USHER,   /* a process: begins those that serve viewers (cmd/drover-hv/usher.h); has no list */
	CONFINE_VIEWER,  /* a process: serves viewers of a screen (cmd/drover-hv/viewer.c) */
	CONFINE_KINDS
};

/**
 * confine() - this thread is a @kind from now on
 * Said again and again it costs nothing, so a thread that began before there was a sandbox says it where it begins to
 * deal with others.  Ends the process when the rights cannot be given up.
 */
void confine(enum confine_kind kind);

/** confine_kind() - what this thread is */
enum confine_kind confine_kind(void);

/** confine_name() - "vcpu", as in #syscalls:vcpu; "new" for one that has not said what it is */
const char *confine_name(enum confine_kind kind);

/**
 * confine_by() - the sandbox: how the calling thread becomes a kind; for the lifetime of the process
 * @how: false: not yet, ask again next time
 */
void confine_by(bool (*how)(enum confine_kind kind));

#endif
