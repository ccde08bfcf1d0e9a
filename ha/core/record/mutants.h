/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mutants - the rules of the core that can be broken on purpose.
 *
 * A build with -DHA_MUTANTS can break one safety rule on purpose; the simulator
 * must notice (tests/sim).  In every other build MUTANT() is a constant 0 and
 * nothing of this is compiled in.
 */
#ifndef DROVER_HA_CORE_RECORD_MUTANTS_H
#define DROVER_HA_CORE_RECORD_MUTANTS_H

#ifdef HA_MUTANTS
extern int ha_mutant;
#define MUTANT(n) (ha_mutant == (n))
#else
#define MUTANT(n) 0
#endif
enum ha_mutant {
	M_NONE,
	M_ACT_ON_DELIVERY,     /* 1: commit when delivered, not when a majority has it (L) */
	M_NO_PROOF,            /* 2: a lost host counts as dead at once (F) */
	M_LEASE_FIRST_ACK,     /* 3: the first acknowledgement renews the lease (T) */
	M_NO_AMNESIA,          /* 4: a daemon that just booted says PASSED at once (T) */
	M_EPOCH_MINORITY,      /* 5: an epoch needs no majority */
	M_PASSED_ONE,          /* 6: one PASSED is enough (F) */
	M_COMMIT_EARLY,        /* 7: destination runs when it asks, not when the log says so (H) */
	M_IGNORE_INCARNATION,  /* 8: a VMM of an old incarnation is left alone, and the lease returns (H) */
	M_ACK_BEFORE_DISK,     /* 9: acknowledge an entry before it is durable (L) */
	M_OLD_DEBT,            /* 10: PASSED and FENCED count for whatever debt there is now (F) */
	M_DONOR_LOWEST,        /* 11: the lowest node is the donor, whatever its log holds (L) */
	M_NO_PROMISE,          /* 12: epochs are not promised on disk before they are used (L) */
	M_SHORT_PROOF,         /* 13: P leaves out the lease (T) */
	M_ABORT_AFTER_COMMIT,  /* 14: an ABORT undoes a COMMIT (H) */
	M_NO_LEASE_CHECK,      /* 15: effects without a lease (G) */
	M_FORGET_OP,           /* 16: a command is answered before it is committed (L) */
	M_EMPTY_VOTES,         /* 17: a host that lost its disk votes like any other (L) */
	M_LOCAL_TOKEN,         /* 18: times come from the own token, not from the agreed one (T) */
	M_FORGET_TOKEN,        /* 19: P forgets the larger token that a lost host may still use (T) */
	M_NO_GRACE,            /* 20: a host that left in order is fenced at once */
	M_ORDER_PASSES,        /* 21: an operator's order to fence ends by waiting */
	M_DEAF_CONFIG,         /* 22: a changed node list is not looked at while an epoch is agreed */
	M_AVOID_LAST,          /* 23: of the hosts a domain failed on only the last is remembered */
	M_LEASELESS,           /* 24: a member without a lease is a host like any other */
	M_YIELD_EARLY,         /* 25: it gives its domains up before its last write is over (T) */
	M_RESYNC_STORM,        /* 26: a record that differs is thrown away without a pause */
	M_DROP_UNKNOWN,        /* 27: an entry that node 3 cannot read is not appended there (L) */
	M_STOP_FORGOTTEN = 30, /* 30: a stop is acknowledged and nothing more */
	M_NO_BACKOFF,          /* 31: what fails is started again at once, for ever */
	M_NO_REPORT,           /* 32: a daemon that was restarted owes no report */
	M_FENCE_AT_ONCE,       /* 33: after a total loss nobody gets the time to come back */
	M_KEEP_MOVE,           /* 34: a migration outlives its destination */
	M_DEBT_FOR_ALL,        /* 35: who owned nothing carries a debt as well */
	M_UNFIT,               /* 36: a host in maintenance is placed on */
	M_DOUBLE_RECEIVE,      /* 37: a destination lost with its daemon is started again (H) */
	M_NEEDLESS,            /* 38: who has nothing left to run is fenced all the same */
	M_ADMIT_STALE = 40,    /* 40: the lease is for every VMM here, whoever owns its domain (G, H) */
	M_LEFT_UNTOLD = 42,    /* 42: only who saw it knows that a host left in order */
	M_ABSENT_AT_ONCE,      /* 43: a VMM that a new daemon does not find is gone (G, H) */
	M_PAUSE_FORGOTTEN,     /* 44: a pause is acknowledged and nothing more */
	M_OFF_FAILS,           /* 45: a guest that powers off counts as a failure */
	M_ONE_VOTE_EACH,       /* 46: hosts are counted, not their votes */
	M_FENCE_UNASKED,       /* 47: whoever has a lease fences by its own record, old as it may be */
	M_FOREIGN,             /* 48: whoever has the longest log, of whatever cluster, is the donor (L) */
	M_CALLED_CRASH,        /* 49: who vanished while nobody missed it is taken for crashed */
	M_OLD_SIGHT,           /* 50: what was seen of a host counts for whatever loss there is now */
	M_COPY_VOTES,          /* 51: a host whose record was restored from a copy votes like any other (L) */
	M_COPIED_MARK,         /* 52: a boot mark beside a copied record, or none, proves that no daemon ran there before (G, H) */
	M_HAUNTED,             /* 53: all that are left agree at once, whatever still runs by a record that is lost (G, H) */
	M_FOREIGN_HOSTS,       /* 54: of two clusters the one with more hosts goes on, whatever votes they have */
	M_OWN_SILENCE,         /* 55: only who saw it himself knows that the ring was silent */
	M_STALL_LEFT,          /* 56: who does not answer when a ring is formed anew has left in order */
	M_NO_WAKE,             /* 57: who rests is not looked at when the record says something else of it */
	M_STALE_COUNT,         /* 58: what a host owns is not counted any more */
	M_RAN_UNDECIDED,       /* 59: a destination that runs is one that waits, by a record that is older than it (G, H) */
	M_OWN_LIST,            /* 60: votes are counted by the own corosync.conf, whatever the log says (L) */
	M_APART,               /* 61: whoever was taken out without a majority is dead when those who are left have waited (F) */
	M_LOG_ALONE,           /* 62: a host whose log has nobody else is a majority, whatever its corosync.conf says (L) */
	M_PASSED_KEPT,         /* 63: PASSED counts for whatever list of votes there is now (F) */
	M_LEAN_COUNT,          /* 64: in an epoch that leans on the witness an entry is committed when one member holds it (L) */
	M_LEAN_RENEW,          /* 65: ... and a lease renewed when one heard, also while the next epoch is agreed on (T) */
	M_LEAN_PROOF,          /* 66: where epochs lean on the witness whoever is here has heard the lost host last (T, F) */
	M_WITNESS_YES,         /* 67: the witness grants every claim (L) */
	M_OUT_DEAF,            /* 68: who was voted out hears nothing of what those promise who leave then (F) */
};

#endif
