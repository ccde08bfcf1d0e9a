/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_life - the file in which a VMM's life is a fact of the kernel (rule H).
 *
 * One file per VMM that droverd starts, hv/NAME.life in its run directory.  droverd
 * opens it, takes an exclusive flock(2) and lets the VMM inherit that open file:
 * the lock is there before the VMM's first instruction, through any program that
 * stands in front of it, and goes when the last process with the file has ended,
 * however it ended.  So whoever comes later, a droverd that was restarted above all,
 * knows without asking anybody whether the VMM lives:
 *
 *   locked   it lives (or is just being started), with the incarnation in the file
 *   free     nothing of it is left; the file says how it ended, if it could still say. Unless the file is a
 *            copy, made by somebody who copied or restored the directory: it says which file it was
 *
 * The file is lines of text, each appended by one write(2):
 *
 *   incarnation 3            droverd, before the VMM exists
 *   file 25-1207             ... and which file this is: its device and inode
 *   pid 4711                 droverd, as soon as it knows: a hint, to be held against /proc
 *   end poweroff 0 TEXT      the VMM: how it ended, its exit status, one line of text
 *
 * Thread: any, one at a time per file.
 */
#ifndef DROVER_CONF_VMM_LIFE_H
#define DROVER_CONF_VMM_LIFE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VMM_LIFE_TEXT_MAX 159

/* How a VMM says that it ended. */
enum vmm_end {
	VMM_END_SILENT,   /* it said nothing: killed, or dead in a way it did not see coming */
	VMM_END_POWEROFF, /* its guest powered off */
	VMM_END_STOPPED,  /* told to by `stop` or `quit` on its control socket */
	VMM_END_SIGNAL,   /* SIGTERM or SIGINT: somebody ends processes here, the guest did not want it */
	VMM_END_MOVED,    /* its domain runs elsewhere now */
	VMM_END_FAILED,   /* could not start, or not go on */
	VMM_ENDS
};

struct vmm_life {
	bool lives;
	bool copy;            /* of another file, in which it may live: that this one is free says nothing */
	uint64_t incarnation; /* 0: the file does not say (yet) */
	pid_t pid;            /* 0: not written down */
	enum vmm_end end;
	int code;                         /* exit status that goes with @end */
	char text[VMM_LIFE_TEXT_MAX + 1]; /* why, or "" */
};

/**
 * vmm_life_begin() - a new life at @path: the locked file for the VMM to inherit
 * @fd: close it once the VMM has it; O_CLOEXEC is set
 * Return: 0; -EEXIST when what lived there still lives; other errors of files.
 */
int vmm_life_begin(const char *path, uint64_t incarnation, int *fd, struct err *e);

/** vmm_life_pid() - note the process; its absence costs a search through /proc, nothing else */
void vmm_life_pid(int fd, pid_t pid);

/** vmm_life_end() - the VMM's last word; the first one counts */
void vmm_life_end(int fd, enum vmm_end end, int code, const char *text);

/**
 * vmm_life_open() - the file of a life, to be looked at as often as one likes
 * What was opened stays true when somebody removes the name: a life is the lock, not the name.
 * Return: a descriptor, the caller's; -ENOENT when there was never one; other errors of files.
 */
int vmm_life_open(const char *path, struct err *e);

/**
 * vmm_life_look() - what the file says now
 * @fd: of vmm_life_open()
 * @out->lives is false only when the lock was found free, and then that is certain whatever the text says, unless
 * that says that it is a @copy.
 * Return: 0; -EINVAL when the text cannot be understood: who lives there, or how it ended, nobody knows; other errors.
 */
int vmm_life_look(int fd, struct vmm_life *out, struct err *e);

/**
 * vmm_life_holder() - a process that lives in the file: it has the lock
 * @hint: looked at first, 0 for none
 * Return: its pid; -ESRCH when there is none (for us to see); other errors.
 */
pid_t vmm_life_holder(int fd, pid_t hint);

/**
 * vmm_life_nameless() - tell @each process that lives in a file of @dir whose name was removed
 * A directory under /run is cleaned sooner or later, and what lived there lives on.
 * @each: @pidfd is of that very process, whatever becomes of @pid, and stays ours; -1 when none could be had
 * Return: 0 when all processes were looked at; else -errno.
 */
int vmm_life_nameless(const char *dir, void (*each)(void *arg, pid_t pid, int pidfd, const char *name),
		      void *arg);

#endif
