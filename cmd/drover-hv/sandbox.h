/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox - what is left to a VMM once it deals with a guest.
 *
 * A guest that breaks out of its virtual machine is then in a process that has no rights: a user of its own, no
 * capability and no way to one, no file, no network, and no system call but those that its kind of thread makes.  It
 * is closed once, after everything was opened by path and before the guest's first instruction or a peer's first byte:
 *
 *     sandbox.c          the order of things; kinds of threads (base/confine.h)
 *     sandbox_rights.c   the user, capabilities, PR_SET_NO_NEW_PRIVS; Landlock
 *     sandbox_filter.c   seccomp: a filter for each kind, made by syscalls.py from comments beside the calls
 *
 * Threads that began before have the user and the filter of the main thread from that moment on, and their own, with
 * the rest, as soon as they say what they are, which they do before they deal with anybody.  A thread that hijacks
 * another has what that one has: the main thread's filter, which is all kinds' together, is the wall, the others make
 * it thicker.
 *
 * A call that a filter does not know ends the process with a line that says which thread made which call.
 */
#ifndef DROVER_HV_CMD_SANDBOX_H
#define DROVER_HV_CMD_SANDBOX_H

#include "base/confine.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/**
 * sandbox_prepare() - from now on a process or thread can be confined; before the first one that will be
 * @last_word: called, maybe in a signal handler, with the line that says why the process ends: a call that is not
 *             allowed, rights that cannot be given up; NULL: nobody but the log
 */
void sandbox_prepare(void (*last_word)(const char *text));

/**
 * sandbox_open_pagemap() - /proc/self/pagemap, without the rights to see where pages are in the host's memory
 * Return: a descriptor, the caller's; -errno.
 */
int sandbox_open_pagemap(void);

/** sandbox_domain() - @uuid is that of the domain whose user this process becomes if it is root, and some of its helpers */
void sandbox_domain(const uint8_t uuid[16]);

/**
 * sandbox_close() - the main thread and, as far as the kernel allows, all others; once, after sandbox_domain()
 * A kernel without seccomp ends the process.
 * Return: 0, with a line of the log for what this host cannot do; -errno.
 */
int sandbox_close(struct err *e);

/* --- tests/unit/hv/sandbox_probe.c: in a drover-hv that attacks itself, built for tests alone --- */

#ifdef SANDBOX_PROBE
/** sandbox_probe() - the calling thread has become a @kind: may try something, and ends the process then */
void sandbox_probe(enum confine_kind kind);
/** sandbox_probe_filters() - are there to be filters?  What stands behind them is tried without */
bool sandbox_probe_filters(void);
#else
static inline void sandbox_probe(enum confine_kind kind)
{
	(void)kind;
}

static inline bool sandbox_probe_filters(void)
{
	return true;
}
#endif

/* --- sandbox_filter.c --- */

/** sandbox_filters() - are there any?  Not in a sanitizer's build, whose own calls nobody has listed */
bool sandbox_filters(void);
/** sandbox_filter_load() - the calling thread has the filter of @kind, and all others if it is the main one; -errno */
int sandbox_filter_load(enum confine_kind kind);
/** sandbox_filter_tell() - from now on a call that is not allowed is told: by a line of the log and by @last_word */
void sandbox_filter_tell(void (*last_word)(const char *text));

/* --- sandbox_rights.c --- */

/** sandbox_rights_bound() - the calling thread, and what it begins from now on, can get no capabilities by execve(2) */
void sandbox_rights_bound(void);
/** sandbox_rights_leave() - if this process is root, it is the user of domain @uuid from now on; all threads */
void sandbox_rights_leave(const uint8_t uuid[16]);
/** sandbox_rights_drop() - the calling thread has no capabilities and no way to any; -errno */
int sandbox_rights_drop(void);
/** sandbox_rights_keep_links() - as sandbox_rights_drop(), but for CAP_NET_ADMIN, where it is there; -errno */
int sandbox_rights_keep_links(void);
/** sandbox_files_prepare() - for sandbox_files_close(); -errno: this host has no Landlock */
int sandbox_files_prepare(void);
/** sandbox_files_close() - the calling thread opens no file and connects to nobody by a name; -errno */
int sandbox_files_close(void);

#endif
