/* SPDX-License-Identifier: Apache-2.0 */
/*
 * witness - a storage witness, asked from the qb loop.
 *
 * Storage may hang for minutes, and the loop renews leases: a process of its own reads and writes
 * (witness_worker.h).  It looks at the witness now and then, so that one that cannot be used is known
 * before it is needed, and leaves a beat there; whose beats it sees go on writes to the same storage.  And
 * it carries out claims (ha/core/claim.h), one at a time.  One that ends is replaced.
 */
#ifndef DROVER_HA_WITNESS_WITNESS_H
#define DROVER_HA_WITNESS_WITNESS_H

#include "base/err.h"
#include "ha/core/claim.h"
#include "ha/witness/witness_worker.h"

#include <qb/qbdefs.h>
#include <qb/qbloop.h>
#include <stdbool.h>
#include <stdint.h>

#define WITNESS_LOOK_MS 10000 /* between two looks */
#define WITNESS_SLOW_MS 10000 /* who has not answered for so long cannot be used */
#define WITNESS_LIVE_MS 35000 /* whose beat did not go on for so long does not write here: three looks and some */

struct witness;

/* Called from the loop. */
struct witness_ops {
	/** claimed() - what came of a claim; @seen: the epoch that stood in its way, 0 = none did; @text: why not */
	void (*claimed)(void *arg, uint64_t epoch, bool ok, uint64_t seen, const char *text);
	/** seen() - whether it can be used, when something changed; who is @live; the @newest epoch in a slot; @text: why not */
	void (*seen)(void *arg, bool ok, const struct claim_nodes *live, uint64_t newest, const char *text);
};

/**
 * witness_open() - look at a witness from now on; seen() follows
 * @conf: copied with its texts
 * Return: 0, -ENOMEM, or what the loop or the process needs and did not get; text in @e.
 */
int witness_open(qb_loop_t *loop, const struct witness_worker *conf, const struct witness_ops *ops, void *arg,
		 struct witness **out, struct err *e);

/** witness_cluster() - whose host this is, not 0; until it is known nothing is written, and nobody seen */
void witness_cluster(struct witness *w, uint64_t cluster);

/**
 * witness_claim() - claimed() follows; @c and its nodes are copied
 * Return: 0; -EBUSY when the claim before is not answered yet; what the process needs and did not get; text in @e.
 */
int witness_claim(struct witness *w, const struct claim *c, struct err *e);

/** witness_close() - waits for what is being asked, not for long; NULL is fine */
void witness_close(struct witness *w);

#endif
