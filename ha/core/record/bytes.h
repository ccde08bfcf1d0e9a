/* SPDX-License-Identifier: Apache-2.0 */
/* bytes - a record as it goes to a disk and to a member that lags (HA_SNAPSHOT_VERSION). */
#ifndef DROVER_HA_CORE_RECORD_BYTES_H
#define DROVER_HA_CORE_RECORD_BYTES_H

#include "ha/core/record/codec.h"
#include "ha/core/record/entry.h"
#include "ha/core/record/model.h"

/** ha_record_put() - all of @rec but its index of names; @w is bad when it does not fit */
void ha_record_put(struct ha_writer *w, const struct ha_record *rec);

/* What is known of a record that is looked at without touching ours. Some 200 KiB: kept, not put on a stack. */
struct ha_record_seen {
	struct ha_node_rec nodes[HA_NODES_MAX];
	struct ha_names names;
	uint64_t hash[HA_DOMAINS_MAX]; /* of the name of each domain */
	struct ha_voters voters;       /* the list of votes, and further on behind what is not applied yet */
	struct ha_entry entry;         /* scratch */
};

/**
 * ha_record_get() - the other way
 * @r: bad afterwards when this is no record, or none that entries make (record/check.h)
 * @rec: where it goes, and undefined when @r is bad; NULL: nowhere, it is only checked
 * @seen: scratch, needed when @rec is NULL
 *
 * What does not fit together is found with NULL only: so check first, then load (rule S).
 */
void ha_record_get(struct ha_reader *r, struct ha_record *rec, struct ha_record_seen *seen);

#endif
