/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_int - the inside of struct ha_core, for the files of ha/core/ only.
 *
 *   step.c        the door: which file gets which event, what runs after each
 *   membership.c  view -> STATE -> agreement -> (snapshot) -> the epoch stands
 *   first.c       NEW_EPOCH, from what those who agree said
 *   foreign.c     hosts with the record of another cluster are left out
 *   evict.c       mute members are voted out
 *   log.c         append, ack, commit; proposals
 *   apply.c       committed entries -> record        (all replicas alike)
 *   place.c       which host                          (part of apply)
 *   move.c        migration's entries                 (part of apply)
 *   command.c     commands of operators: queue, propose, answer
 *   operator.c    ... judged and carried out on the record
 *   proof.c       debts: PASSED, fencing
 *   agreed.c      the token from which all derive their times
 *   standing.c    who holds a lease, as all know it
 *   lease.c       RENEW, when the lease ends
 *   vmms.c        what the VMMs of this host said
 *   role.c        what each of them is by the record: who is admitted to the lease
 *   reconcile.c   record against VMMs of this host -> effects and proposals
 *   report.c      what a host that came back really has
 *   snapshot.c    record and log tail as bytes; what the disk held
 *   names.c       index of names: domains of the record, VMMs of this host
 *   out.c         effects
 */
#ifndef DROVER_HA_CORE_CORE_INT_H
#define DROVER_HA_CORE_CORE_INT_H

#include "ha/core/codec.h"
#include "ha/core/core.h"
#include "ha/core/entry.h"

/*
 * A build with -DHA_MUTANTS can break one safety rule on purpose; the simulator
 * must notice (tests/sim).  In every other build MUTANT() is a constant 0 and
 * nothing of this is compiled in.
 */
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
	M_SUDDEN_CRASH,        /* 49: who vanished without having been silent is fenced at once */
	M_OLD_SIGHT,           /* 50: what was seen of a host counts for whatever loss there is now */
	M_COPY_VOTES,          /* 51: a host whose record was restored from a copy votes like any other (L) */
	M_COPIED_MARK,         /* 52: a boot mark beside a copied record, or none, proves that no daemon ran there before (G, H) */
	M_HAUNTED,             /* 53: all that are left agree at once, whatever still runs by a record that is lost (G, H) */
	M_FOREIGN_HOSTS,       /* 54: of two clusters the one with more hosts goes on, whatever votes they have */
	M_OWN_SILENCE,         /* 55: only who saw it himself knows that the ring was silent */
};

#define TAIL_MAX 1024
#define TAIL_BYTES (768u << 10)
#define PROPS_MAX 8
#define OPS_MAX 16
#define VMMS_MAX HA_NAMES_SLOTS
#define RENEW_RING 64
#define CHUNK (56u << 10)
#define CHUNK_WINDOW 4
#define COMPACT_BYTES (1u << 20)

/* What a member says of itself while an epoch is being agreed. */
struct ha_state {
	bool have;
	uint64_t promised;             /* durable: it will not take part in an older epoch */
	uint64_t epoch, seq, hash;     /* last entry of its log */
	bool fresh;
	bool copied;                   /* its log may be older than what it acknowledged */
	bool haunted;                  /* VMMs of a daemon before it may write, and it does not know of which domains */
	uint32_t token;                /* its totem.token, ms */
	uint8_t level;                 /* its feature level (entry.h) */
	uint64_t cluster;              /* whose record it has; 0 = nobody's yet */
	uint64_t draw;                 /* what it would call a cluster that has no id */
	struct ha_ids left;            /* who left in order while it looked, and is not back */
	struct ha_ids sudden;          /* who vanished while the ring was not silent, and is not back */
	struct ha_ids silent;          /* who was gone when it had been, and is not back */
};

struct ha_peer {
	struct ha_node_conf conf;
	bool configured;               /* else votes do not count */
	bool alive;                    /* in votequorum's list */
	bool in_group;                 /* in the CPG view */
	bool evicted;                  /* voted out of this view */
	bool foreign;                  /* ... for having another cluster's record */
	bool left;                     /* went by its own will while we looked, and has not come back */
	bool sudden, silent;           /* vanished without a word: was the ring silent?  And has not come back */
	uint64_t gone_epoch;           /* when it went, either way: no later epoch had it as a member until then */
	uint64_t evict_votes;          /* set of peers that want it out */
	uint64_t evict_sent_ms;        /* when we last said so */
	uint64_t spoke_ms;             /* last message of any kind */
	uint64_t progress_ms;          /* last message that brought the formation on */
	struct ha_state state;
	uint64_t ack;                  /* newest seq of this epoch that it holds durably */
	/* lease */
	uint64_t heard_ms;             /* t_r: last RENEW of our epoch was delivered; 0 = never */
	uint64_t heard_k;              /* newest k heard in this epoch */
	uint64_t acked_k;              /* newest own k that it heard in this epoch */
	bool alarmed;                  /* that it differs was said */
	int differs;                   /* records compared: -1 differs, 1 same, 0 not yet */
};

enum ha_stage {
	ST_ALONE,   /* not in the group */
	ST_GATHER,  /* waiting for everybody's STATE */
	ST_SYNC,    /* agreed; snapshot and acknowledgements on their way */
	ST_STANDS,
};

struct ha_form {
	enum ha_stage stage;
	uint64_t target;               /* the epoch being agreed = largest promise seen in this view */
	uint64_t since_ms;             /* when this stage began */
	uint64_t parts;                /* set of peers taking part (from SYNC on) */
	uint32_t donor;                /* peer index */
	bool snap_needed, snap_done;
	uint64_t epoch_seq;            /* seq of NEW_EPOCH */
	/* sending or receiving the snapshot */
	size_t snap_len, snap_sent, snap_got;
	bool said_state;               /* our STATE for the current promise is out */
	bool said_haunted;             /* ... and says that we are */
	struct ha_entry first;         /* NEW_EPOCH as agreed */
};

struct ha_tail_entry {
	uint64_t epoch, seq, hash;
	uint64_t token;                /* its PERSIST */
	uint32_t off, len;
};

struct ha_log {
	uint64_t promised;
	uint64_t promise_token, promise_durable; /* token of the last promise; last promise that is durable */
	uint64_t next_token, durable_token;
	uint64_t epoch, seq, hash;               /* last entry */
	uint64_t applied, applied_epoch, applied_hash;
	uint64_t commit;
	uint64_t acked;                          /* we said ACK up to here */
	uint32_t first, n;                       /* tail[first .. first+n) */
	struct ha_tail_entry tail[TAIL_MAX];
	uint32_t bytes_start, bytes_end;
	uint64_t disk_bytes;                     /* appended since the last snapshot */
	uint8_t bytes[TAIL_BYTES];
};

/* One of our own proposals on its way through the log. */
struct ha_prop {
	bool used;
	enum ha_entry_kind kind;
	char domain[HA_NAME_MAX + 1];
	uint32_t node;
	uint64_t serial;
	uint64_t sent_ms;
};

/* A command that waits for its entry. */
struct ha_pending {
	bool used, sent;
	uint64_t request, serial, deadline_ms, order;
	uint64_t debt;                       /* FENCE, CONFIRM: the loss that was meant, however often it is sent; 0 = none known */
	struct ha_command cmd;
	char domain[HA_NAME_MAX + 1], group[HA_NAME_MAX + 1];
	struct ha_group_host hosts[HA_NODES_MAX];
	struct ha_claim claims[HA_CLAIMS_MAX];
	char conf[HA_CONF_MAX];
};

enum ha_vmm_state {
	V_LAUNCH,   /* START or RECEIVE is out, nothing heard yet */
	V_INCOMING,
	V_UP,       /* starting, running, paused, gated */
	V_GONE,     /* exited; kept until the record knows */
};

enum ha_role { R_RUNNER, R_INCOMING, R_MOVED, R_STALE }; /* role.c */

/* Does the lease of this host go to its page? The last ADMIT. */
enum ha_admission { A_UNDECIDED, A_YES, A_NO };

/* A VMM of this host. */
struct ha_vmm {
	bool used;
	char name[HA_NAME_MAX + 1];
	uint64_t incarnation;
	enum ha_vmm_state state;
	enum ha_admission admission;
	bool seen_up;             /* it said RUNNING, PAUSED or GATED: it can be reported as running */
	uint64_t since_ms;        /* of state */
	char addr[HA_ADDR_MAX + 1];
	int rc;
	enum ha_end end;
	const char *kill_why;     /* why we have it killed, a literal; NULL = not yet or for being stale */
	char text[HA_TEXT_MAX + 1];
	/* what was asked of it and by it */
	bool ask_commit, ask_abort, move_failed;
	uint64_t sending;         /* target incarnation we told it to MIGRATE to, 0 = none */
	uint64_t stop_ms, kill_ms, decide_ms;
	uint64_t doomed_ms;       /* first KILL */
	bool stop_force, cancelled;
	bool held;                /* it stands still for an operator, as it says */
	bool pause_on;            /* what we told it last, and when; 0 = never */
	uint64_t pause_ms;
	uint64_t avoid, avoid_ms; /* hosts it avoids, and since when it is these */
};

/* Our own part in one node's debt. */
struct ha_fencing {
	uint64_t debt;            /* debt this is about */
	uint32_t id;              /* ... and whose: the record's slot may be another's by now */
	uint64_t seen_ms;         /* when it came into our record */
	uint32_t attempts;        /* failed ones, as the record counts them */
	uint64_t asked_ms;        /* FENCING was proposed; 0 = not for this attempt */
	bool agreed;              /* ... and committed in time: the agent may be run, now */
	bool running, done_ok, done_failed;
	uint64_t started_ms;
	char name[HA_NAME_MAX + 1]; /* of the host when we first saw this debt */
	char text[HA_TEXT_MAX + 1];
};

struct ha_lease {
	uint64_t k;                          /* own renewals, never reset */
	uint64_t sent_ms[RENEW_RING];        /* t_s(k) at k % RENEW_RING */
	uint64_t epoch_k;                    /* first k of this epoch: older ones do not count in it */
	uint64_t next_ms;
	uint64_t until_ms;                   /* what a majority has granted */
	uint64_t published_ms;               /* what LEASE said: no page of this daemon says more */
	uint64_t stands_ms;                  /* when this epoch stood */
	uint64_t over_serial;                /* our entry LEASE over is on its way: nothing is published; 0 = no */
};

/* May we go by our own record? (lease.c) */
struct ha_trust {
	bool lost;                           /* a majority contradicts it, and it came from them */
	uint64_t again_ms, pause_ms;         /* it is thrown away again not before, and after that pause */
};

struct ha_core {
	bool booted;
	uint32_t me;
	uint64_t now, boot_ms, last_ms;
	uint64_t proof_from_ms;           /* no proof of death is sought before; 0 = at once (proof.c) */
	bool copied;                      /* our log may be older than what we acknowledged: no vote to agree */
	uint32_t token;                   /* own totem.token, ms */
	uint64_t draw;                    /* random, from BOOT */
	uint64_t token_ms;                /* when t last changed */
	struct ha_timing t;               /* from the agreed token (agreed.c) */

	bool quorate;
	uint64_t ring_seq;
	uint32_t n_peers;
	uint32_t self;                       /* own index in peers[] */
	struct ha_peer peers[HA_NODES_MAX];
	char name_buf[32];

	uint64_t epoch;                      /* adopted: it stood */
	bool fresh;                          /* no epoch stood since BOOT */
	bool unseen;                         /* a daemon ran here before us: what it left may be hidden */
	bool resync;                         /* our record differs: our log counts for nothing */
	struct ha_form form;
	struct ha_log log;
	struct ha_lease lease;
	struct ha_trust trust;
	struct ha_fencing fencing[HA_NODES_MAX]; /* by record slot */

	uint64_t serial;                     /* last one given to a proposal */
	struct ha_prop props[PROPS_MAX];
	struct ha_pending ops[OPS_MAX];
	uint64_t op_order;
	uint32_t n_ops;                      /* ops[] in use */

	bool leaving;                        /* LEAVE came */
	bool listed;                         /* VMM_LIST came */
	uint32_t n_vmms;
	struct ha_names vmm_names;           /* of vmms[] */
	struct ha_vmm vmms[VMMS_MAX];
	uint64_t backoff_ms[HA_DOMAINS_MAX]; /* when we first saw it in this BACKOFF, 0 = not in BACKOFF */
	uint64_t declined[HA_DOMAINS_MAX];   /* incarnation we said EXITED of instead of starting it */
	uint64_t drain_ms;                   /* maintenance: not before this */
	uint32_t drain_at, drain_left;       /* domain last moved; how many are left */
	uint32_t drain_round;                /* times round since one went */

	uint64_t rec_hash, rec_hash_seq;     /* ha_record_hash() after entry rec_hash_seq */
	uint64_t wake;
	struct ha_effects *out;
	struct ha_record rec;                /* large: conf[] is last and never cleared */
	uint8_t msg[HA_MSG_MAX];             /* scratch: a message being made */
	struct ha_entry entry;               /* scratch: an entry being applied or made */
	uint8_t snap[HA_BLOB_MAX];           /* snapshot being sent, received or stored */
};

/* --- out.c: effects. Ask ha_out_room() first where it can wait: it is tried again next step. */
bool ha_out_room(const struct ha_core *c, size_t effects, size_t bytes);
void ha_out_mcast(struct ha_core *c, const uint8_t *p, size_t len);
void ha_out_persist(struct ha_core *c, bool snapshot, const uint8_t *p, size_t len, uint64_t token);
struct ha_effect *ha_out_vmm(struct ha_core *c, enum ha_effect_kind kind, const char *name, uint64_t inc);
void ha_out_simple(struct ha_core *c, enum ha_effect_kind kind, uint64_t arg, uint64_t arg2);
void ha_out_reply(struct ha_core *c, uint64_t request, enum ha_code code, const char *text);
void ha_out_note(struct ha_core *c, enum ha_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void ha_wake_at(struct ha_core *c, uint64_t ms);

/* --- peers (membership.c) */
struct ha_peer *ha_peer_find(struct ha_core *c, uint32_t id);
struct ha_peer *ha_peer_get(struct ha_core *c, uint32_t id); /* adds; NULL when full */
uint64_t ha_votes(const struct ha_core *c, uint64_t set);
void ha_why_no_view(const struct ha_core *c, char *buf, size_t size); /* why.c */
uint64_t ha_group_votes(const struct ha_core *c);             /* of those in the group */
uint64_t ha_majority(const struct ha_core *c);               /* votes needed */
static inline struct ha_peer *ha_self(struct ha_core *c) { return &c->peers[c->self]; }

/* --- membership.c */
void ha_membership_config(struct ha_core *c, const struct ha_event *ev);
void ha_membership_quorum(struct ha_core *c, const struct ha_event *ev);
void ha_membership_view(struct ha_core *c, const struct ha_event *ev);
void ha_membership_lost(struct ha_core *c);
void ha_membership_state(struct ha_core *c, uint32_t from, struct ha_reader *r);
void ha_membership_chunk(struct ha_core *c, uint32_t from, struct ha_reader *r);
void ha_membership_persisted(struct ha_core *c);
void ha_membership_tick(struct ha_core *c);
void ha_membership_check(struct ha_core *c);                 /* commit index moved: does the epoch stand? */
void ha_membership_rejoin(struct ha_core *c, const char *why);
void ha_membership_evicted(struct ha_core *c);

/* --- first.c */
void ha_first_lost(struct ha_core *c, uint64_t were, bool silence);    /* a view: who of @were is no more in the group? */
void ha_first_put(const struct ha_core *c, struct ha_writer *w);       /* a part of STATE */
void ha_first_get(struct ha_reader *r, struct ha_state *s);
void ha_first_make(struct ha_core *c);                                 /* form.first */

/* --- foreign.c */
/* When all of @set (peers) have said their STATE. True: nothing can be agreed on in this view. */
bool ha_foreign_leave_out(struct ha_core *c, uint64_t set);
bool ha_foreign(const struct ha_core *c, const struct ha_peer *p); /* by what it said in this view */
uint64_t ha_foreign_home(const struct ha_core *c, uint64_t set); /* whose record @set has, 0 = nobody's */

/* --- evict.c */
void ha_evict_vote(struct ha_core *c, uint32_t from, struct ha_reader *r);
void ha_evict_tick(struct ha_core *c);

/* --- log.c */
void ha_log_append(struct ha_core *c, uint64_t epoch, const uint8_t *bytes, size_t len, bool store);
void ha_log_promise(struct ha_core *c, uint64_t promised);
void ha_log_entry(struct ha_core *c, uint32_t from, struct ha_reader *r);
void ha_log_ack(struct ha_core *c, uint32_t from, struct ha_reader *r);
void ha_log_persisted(struct ha_core *c, uint64_t token);
void ha_log_commit(struct ha_core *c);
void ha_log_apply(struct ha_core *c);
void ha_log_clear_tail(struct ha_core *c);
const uint8_t *ha_log_bytes(const struct ha_core *c, uint32_t i, size_t *len); /* i-th of the tail */
/* NULL if this is already on its way or the window is full; else c->entry, ready to be filled */
struct ha_entry *ha_log_prepare(struct ha_core *c, enum ha_entry_kind kind, const char *domain,
				uint32_t node);
bool ha_log_propose(struct ha_core *c, struct ha_entry *e);
void ha_log_epoch_changed(struct ha_core *c);
uint64_t ha_log_record_hash(struct ha_core *c);              /* cached */

/* --- snapshot.c */
size_t ha_snapshot_encode(const struct ha_core *c, uint8_t *buf, size_t size);
bool ha_snapshot_check(const uint8_t *bytes, size_t len);
void ha_snapshot_load(struct ha_core *c, const uint8_t *bytes, size_t len); /* checked before */
void ha_snapshot_boot(struct ha_core *c, const struct ha_blob *disk, size_t n);
void ha_snapshot_store(struct ha_core *c);
size_t ha_blob_promise(uint64_t promised, uint8_t *buf, size_t size);
size_t ha_blob_entry(const struct ha_core *c, uint64_t epoch, uint64_t seq, const uint8_t *p, size_t len,
		     uint8_t *buf, size_t size);

/* --- agreed.c: the token that is in force, from the record */
void ha_agreed_epoch(struct ha_core *c, const struct ha_entry *e);
void ha_agreed_apply(struct ha_core *c, const struct ha_entry *e);
void ha_agreed_follow(struct ha_core *c);                    /* the record changed, or our own token */
void ha_agreed_tick(struct ha_core *c);
void ha_agreed_of(const struct ha_core *c, uint32_t node, struct ha_timing *t); /* what @node may use */

/* --- standing.c: who holds a lease, from the record */
void ha_standing_apply(struct ha_core *c, const struct ha_entry *e);
void ha_standing_tick(struct ha_core *c);
uint64_t ha_workers(const struct ha_record *r);              /* who takes turns: set of record slots */

/* --- apply.c, move.c, place.c, operator.c: the record changes here only */
void ha_apply(struct ha_core *c, const struct ha_entry *e);
void ha_apply_settle(struct ha_core *c);                     /* place what waits */
void ha_apply_unown(struct ha_core *c, struct ha_domain *d, bool failed, const char *why);
void ha_apply_prove(struct ha_core *c, uint32_t slot, const char *how);
void ha_apply_free(struct ha_core *c, uint32_t slot, const char *why);
void ha_move_intent(struct ha_domain *d, uint32_t target);
void ha_move_drop(struct ha_domain *d, const char *why);
void ha_move_apply(struct ha_core *c, const struct ha_entry *e);
uint32_t ha_place(const struct ha_record *r, const struct ha_domain *d, uint32_t except); /* node id or 0 */
/* How many domains each host has or gets: counted once for many that wait. By record slot. */
struct ha_loads { uint32_t n[HA_NODES_MAX]; };
void ha_loads(const struct ha_record *r, struct ha_loads *l);
void ha_loads_add(const struct ha_record *r, struct ha_loads *l, uint32_t node);
uint32_t ha_place_among(const struct ha_record *r, const struct ha_domain *d, uint32_t except,
			const struct ha_loads *l); /* as ha_place() */
const char *ha_place_why_not(const struct ha_record *r, const struct ha_domain *d, uint32_t node);
void ha_place_failed(const struct ha_record *r, struct ha_domain *d, uint32_t node, uint32_t except);
void ha_place_start(struct ha_domain *d, uint32_t node);
bool ha_node_may_run(const struct ha_record *r, uint32_t id);
enum ha_code ha_op_apply(struct ha_core *c, const struct ha_entry *e, char *text, size_t size);

/* --- command.c */
void ha_op_event(struct ha_core *c, const struct ha_event *ev);
void ha_op_applied(struct ha_core *c, const struct ha_entry *e, enum ha_code code, const char *text);
void ha_op_tick(struct ha_core *c);
void ha_op_done(struct ha_core *c, struct ha_pending *p);

/* --- proof.c */
void ha_proof_apply(struct ha_core *c, const struct ha_entry *e);
void ha_proof_needless(struct ha_core *c);
void ha_proof_check(struct ha_core *c, uint32_t slot);
void ha_proof_tick(struct ha_core *c);
void ha_proof_fence_done(struct ha_core *c, const struct ha_event *ev);
uint64_t ha_proof_passed_at(const struct ha_core *c, uint32_t node);

/* --- lease.c */
void ha_lease_tick(struct ha_core *c);
void ha_lease_renew(struct ha_core *c, uint32_t from, struct ha_reader *r);
void ha_lease_epoch(struct ha_core *c);
bool ha_lease_valid(const struct ha_core *c);

/* --- vmms.c */
struct ha_vmm *ha_vmm_find(struct ha_core *c, const char *name);
struct ha_vmm *ha_vmm_add(struct ha_core *c, const char *name, uint64_t incarnation,
			  enum ha_vmm_state state);  /* NULL when the table is full */
void ha_vmm_drop(struct ha_core *c, struct ha_vmm *v);
void ha_vmm_event(struct ha_core *c, const struct ha_event *ev);

/* --- role.c */
enum ha_role ha_vmm_role(const struct ha_core *c, const struct ha_vmm *v, struct ha_domain **dom);
/* ADMIT for each whose role changed; true: all pages are as they must be, a lease may go out */
bool ha_vmm_admit(struct ha_core *c);
void ha_vmm_admit_found(struct ha_core *c); /* the same at once, if there is one that was found and not judged yet */

/* --- reconcile.c */
void ha_reconcile(struct ha_core *c);

/* --- report.c */
void ha_report(struct ha_core *c);

/* --- why.c */
void ha_why_node(const struct ha_core *c, uint32_t slot, uint64_t now, char *buf, size_t size);

/* --- messages (msg.c) */
enum ha_msg_kind { MSG_STATE = 1, MSG_EVICT, MSG_CHUNK, MSG_ENTRY, MSG_ACK, MSG_RENEW, MSG_KINDS };
void ha_msg_begin(struct ha_core *c, struct ha_writer *w, enum ha_msg_kind kind);
void ha_msg_send(struct ha_core *c, struct ha_writer *w);
void ha_msg_deliver(struct ha_core *c, const struct ha_event *ev);

#endif
