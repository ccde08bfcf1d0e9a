/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply_int - the inside of the room that changes the record.
 *
 *   apply.c      which entry is about what; what a VMM said of its domain
 *   epoch.c      NEW_EPOCH: who is in the view, who was lost
 *   debt.c       PASSED, FENCED, FENCE_FAILED: what lost hosts owe (rule F)
 *   leased.c     LEASE
 *   token.c      TIMING, and a new epoch's token (rule T)
 *   move.c       READY, COMMIT, ABORT (rule H)
 *   operator.c   OP: commands, judged and carried out
 *   outcome.c    what is to be said about it
 */
#ifndef DROVER_HA_CORE_APPLY_APPLY_INT_H
#define DROVER_HA_CORE_APPLY_APPLY_INT_H

#include "ha/core/apply/apply.h"
#include "ha/core/plan/place.h"
#include "ha/core/record/codec.h"
#include "ha/core/record/mutants.h"

/* The name of a host in a text, for printf's %s. */
#define NODE(id) (ha_node_mark(id).text)

/** ha_outcome_clear() - nothing to be said yet */
void ha_outcome_clear(struct ha_outcome *o);
/** ha_outcome_note() - one more line; @fmt may name hosts by NODE(). Those above HA_NOTES_MAX are dropped */
void ha_outcome_note(struct ha_outcome *o, enum ha_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* --- apply.c: what becomes of a domain */
/** ha_apply_failed() - it failed on @node, which is remembered; @except is no candidate (a migration's source) */
void ha_apply_failed(const struct ha_record *r, struct ha_domain *d, uint32_t node, uint32_t except);
/** ha_apply_start() - give it to @node under a new incarnation (rule H) */
void ha_apply_start(struct ha_domain *d, uint32_t node);
/** ha_apply_unown() - its owner's VMM is certainly gone: start again, wait, or give up */
void ha_apply_unown(struct ha_domain *d, bool failed, const char *why);
void ha_apply_disown(struct ha_record *r, uint32_t node, const char *why); /* of all that it owns */

/* --- move.c */
/** ha_move_intent() - a move to @target begins, under an incarnation of its own */
void ha_move_intent(struct ha_domain *d, uint32_t target);
/** ha_move_drop() - the move is off; who may run it stays as it is */
void ha_move_drop(struct ha_domain *d, const char *why);
/** ha_move_apply() - READY, COMMIT, ABORT: whichever is first in the log decides */
void ha_move_apply(struct ha_record *r, const struct ha_entry *e);

/* --- debt.c */
/** ha_debt_apply() - PASSED, FENCED, FENCE_FAILED */
void ha_debt_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o);
void ha_debt_check(struct ha_record *r, uint32_t slot, struct ha_outcome *o); /* have all said PASSED? */
void ha_debt_proved(struct ha_record *r, uint32_t slot, const char *how, struct ha_outcome *o);
/** ha_debt_needless() - drop debts of hosts that nothing of may run any more */
void ha_debt_needless(struct ha_record *r);
/** ha_debt_unproved() - the list of votes is another one: what was said by the one before proves nothing any more */
void ha_debt_unproved(struct ha_record *r);

/** ha_epoch_apply() - NEW_EPOCH: members, and a debt for each that was lost and may run something */
void ha_epoch_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o);
/** ha_votes_apply() - VOTES: ha_votes_follow() has followed it; tell people */
void ha_votes_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o);
/** ha_leased_apply() - LEASE: a member has one, or has none, or what it ran can write no more */
void ha_leased_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o);
/** ha_token_apply() - TIMING: a member's corosync has another token */
void ha_token_apply(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o);
/** ha_token_epoch() - NEW_EPOCH: the tokens of its members; what is in force never gets smaller by it */
void ha_token_epoch(struct ha_record *r, const struct ha_entry *e, struct ha_outcome *o);

#endif
