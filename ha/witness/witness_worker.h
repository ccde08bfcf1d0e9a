/* SPDX-License-Identifier: Apache-2.0 */
/*
 * witness_worker - the process that reads and writes a storage witness for droverd (witness.h).
 *
 * Storage may hang, and who waits for it cannot be ended: neither a thread nor a process.  So this is a
 * process, and droverd can end, and be started again, while it hangs.  Its successor waits for its
 * end before it touches the storage, by a lock in the state directory: no write of one comes behind one
 * of the next.
 *
 * Questions and answers are datagrams of a socket pair, one answer for each question, in order.  It ends
 * when nobody asks any more.
 */
#ifndef DROVER_HA_WITNESS_WITNESS_WORKER_H
#define DROVER_HA_WITNESS_WITNESS_WORKER_H

#include "base/err.h"
#include "ha/core/claim.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct witness_worker {
	const char *path; /* of the witness */
	uint64_t id;      /* which one it has to be */
	uint32_t me;      /* node id, 1..CLAIM_SLOTS - 1 */
	const char *lock_path;
};

struct witness_ask {
	uint64_t cluster; /* 0 = not known yet: nothing is written */
	uint64_t epoch;   /* claim this one; 0 = look who is there, and leave a beat */
	uint64_t log;     /* a claim: as in struct claim */
	uint32_t n;
	uint32_t nodes[CLAIM_SLOTS];
};

struct witness_said {
	uint64_t epoch; /* of the claim, 0 = it was a look */
	bool ok;
	uint64_t seen;           /* the epoch in the way; a look: the largest in the slots */
	struct claim_nodes live; /* a look: whose beats go on */
	char text[480];          /* why not */
};

/**
 * witness_worker_start() - fork one; @conf is read by it alone, later too
 * Return: 0, *@pid, and *@sock to ask it, to be closed by the caller, which ends it; -errno.
 */
int witness_worker_start(const struct witness_worker *conf, pid_t *pid, int *sock, struct err *e);

#endif
