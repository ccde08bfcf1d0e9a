/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper - a process that another one forks, early, to do for it what it will have no right to any more.
 *
 * The two talk in packets (packet.h): one question, one answer.  A helper holds nothing of its parent but its end of
 * the pair, and ends with the parent, whatever it is waiting for then.
 */
#ifndef DROVER_BASE_HELPER_H
#define DROVER_BASE_HELPER_H

#include "base/confine.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct helper {
	int sock; /* the parent's end */
	pid_t pid;
};

struct helper_role {
	const char *name; /* for ps(1), up to 15 bytes */
	enum confine_kind kind;
	void (*serve)(int sock, void *arg); /* in the helper: answer questions until the parent's end is gone */
	void *arg;
	/* serve() itself ends it when the parent's end is gone, for there is something to do then; it waits for nothing else */
	bool lingers;
	char *args; /* where the parent's arguments are, for ps(1) not to take the helper for it; NULL: it looks alike */
	size_t args_len;
};

/**
 * helper_start() - fork it; before this process has threads, or anything that another should not hold
 * Return: 0; -errno.
 */
int helper_start(struct helper *h, const struct helper_role *role, struct err *e);
/** helper_stop() - end it; waits up to a second for that, and not for what it may be waiting for itself */
void helper_stop(struct helper *h);

#endif
