/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply - committed entries change the record; nothing else does (rule L).
 *
 * What is in this room sees the record and the entry, and nothing besides: no clock, no peers, no
 * VMMs, no name that only this host's corosync.conf has.  So every replica has the same record
 * after the same entry, and the compiler sees to it.  What needs a clock (a pause that is over, a
 * wait that has passed) is noticed by somebody and proposed as an entry.
 *
 * What is to be said to people about an entry comes back as an outcome.  Hosts are numbers here;
 * in texts they stand as marks, and whoever shows a text puts names in their place (ha_core_speak()).
 */
#ifndef DROVER_HA_CORE_APPLY_APPLY_H
#define DROVER_HA_CORE_APPLY_APPLY_H

#include "ha/core/record/code.h"
#include "ha/core/record/entry.h"
#include "ha/core/record/model.h"

#define HA_NOTES_MAX (2 * HA_NODES_MAX) /* NEW_EPOCH may say two things of each host */
#define HA_NOTE_MAX 287                 /* bytes, without the final 0 */

struct ha_note {
	enum ha_level level;
	char text[HA_NOTE_MAX + 1]; /* with marks */
};

/* About 74 KiB: kept, not put on a stack. */
struct ha_outcome {
	bool applied;                 /* false: the entry was a copy, or of a level that not all can read */
	enum ha_code code;            /* OP: the answer to the operator ... */
	char text[HA_REASON_MAX + 1]; /* ... and its words, with marks */
	uint32_t n_notes;             /* those that found room */
	struct ha_note notes[HA_NOTES_MAX];
};

/**
 * ha_apply() - change the record as a committed entry says
 * @r: the record; changed by nothing else
 * @e: checked by its decoder as far as it could be without a record; the rest is judged here
 * @o: overwritten: what is to be said about it
 */
void ha_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o);

/** ha_operator_apply() - the part of ha_apply() that judges HA_E_OP: fills code and text of *@o */
void ha_operator_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o);

/**
 * ha_votes_follow() - the list of votes behind entry @e, from that before it
 * The same whether it is asked when the entry is appended or when it is applied.
 * Return: false: it leaves the list as it is.
 */
bool ha_votes_follow(struct ha_voters *l, const struct ha_entry *e);

/** ha_token_largest() - the largest totem.token that a member has, ms; 0 = none has told one */
uint32_t ha_token_largest(const struct ha_record *r);

/**
 * ha_token_differs() - which members' corosync has another token than is in force: "n2 has 1000 ms, ..."
 * Return: length of the text, with marks; 0 when all have the same.
 */
size_t ha_token_differs(const struct ha_record *r, char *buf, size_t size);

/* Where a text names a host: between two bytes that no name has. */
#define HA_MARK_BEGIN '\016'
#define HA_MARK_END '\017'

struct ha_node_mark {
	char text[16];
};
/** ha_node_mark() - the mark for host @id in a text */
struct ha_node_mark ha_node_mark(uint32_t id);

#endif
