/* SPDX-License-Identifier: Apache-2.0 */
/* state_int - what struct ha_core is made of; for the files of ha/core/ only, by way of core_int.h. */
#ifndef DROVER_HA_CORE_STATE_INT_H
#define DROVER_HA_CORE_STATE_INT_H

#include "ha/core/apply/apply.h"
#include "ha/core/core.h"
#include "ha/core/plan/place.h"
#include "ha/core/record/bytes.h"
#include "ha/core/record/codec.h"
#include "ha/core/record/entry.h"
#include "ha/core/record/mutants.h"

#define TAIL_MAX 2048
#define TAIL_BYTES (12u << 20)
#define PROPS_MAX 8
#define OPS_MAX 16
#define VMMS_MAX HA_NAMES_SLOTS
#define RENEW_RING 64
#ifndef CHUNK /* the simulator is built with small ones as well */
#define CHUNK (56u << 10)
#endif
#define CHUNK_WINDOW 4

/* What does not fit into a message is said in parts; what is kept in one piece has room. */
_Static_assert(CHUNK + 64 <= HA_MSG_MAX && HA_ENTRY_MAX + 64 <= HA_MSG_MAX, "a message");
_Static_assert(HA_CONFS_MAX + HA_DOMAINS_MAX * (3 * HA_NAME_MAX + HA_ADDR_MAX + HA_TEXT_MAX + HA_CLAIMS_MAX * 10 + 160) +
			       TAIL_BYTES + HA_ENTRY_MAX <=
		       HA_BLOB_MAX,
	       "a snapshot");
#define COMPACT_BYTES (1u << 20)

/* How a host went, as one saw it who was in the group with it (first.c). */
enum ha_sight {
	HA_SIGHT_NONE,
	HA_SIGHT_LEFT,   /* it said so, or its process ended: CPG tells */
	HA_SIGHT_CALLED, /* without a word, and the ring ... (enum ha_ring) */
	HA_SIGHT_STALLED,
	HA_SIGHT_SILENT,
	HA_SIGHTS
};

/* What a member says of itself while an epoch is being agreed. */
struct ha_state {
	bool have;
	uint64_t promised;         /* durable: it will not take part in an older epoch */
	uint64_t epoch, seq, hash; /* last entry of its log */
	bool fresh;
	bool copied;             /* its log may be older than what it acknowledged */
	bool haunted;            /* VMMs of a daemon before it may write, and it does not know of which domains ... */
	uint32_t up_ms;          /* ... when its own was started so long ago */
	uint32_t token;          /* its totem.token, ms */
	uint32_t uses;           /* the largest that somebody may still use, by its record; 0 = none */
	uint8_t level;           /* its feature level (entry.h) */
	struct ha_size size;     /* what it has */
	uint64_t cluster;        /* whose record it has; 0 = nobody's yet */
	uint64_t draw;           /* what it would call a cluster that has no id */
	struct ha_voters voters; /* the list of its log, n 0 = it has none */
	struct ha_voters wanted; /* what its corosync.conf says */
	struct {
		uint32_t n, id[HA_NODES_MAX];
		uint64_t epoch[HA_NODES_MAX];
		enum ha_sight sight[HA_NODES_MAX];
	} gone; /* whom it saw go, and is not back */
};

/* What a host sees at the witness; told in RENEW by number. */
enum ha_sees {
	HA_SEES_NOTHING, /* it does not reach it, or has none */
	HA_SEES_SOME,    /* not a member that says that it reaches it: is that at another storage? */
	HA_SEES_READERS, /* all members that reach it */
	HA_SEES_ALL,     /* all members */
};

/* What each RENEW looks at in every peer stands together at the beginning: one line of the cache. */
struct ha_peer {
	/* lease */
	uint64_t heard_k;  /* newest k heard in this epoch */
	uint64_t acked_k;  /* newest own k that it heard in this epoch */
	uint64_t heard_ms; /* t_r: last RENEW of our epoch was delivered; 0 = never */
	uint64_t ack;      /* newest seq of this epoch that it holds durably */
	uint64_t spoke_ms; /* last message of any kind */
	uint32_t votes;    /* that count, by ha_votes_list() */
	int differs;       /* records compared: -1 differs, 1 same, 0 not yet */
	bool alarmed;      /* that it differs was said */
	bool configured;   /* in this host's corosync.conf */
	bool alive;        /* in votequorum's list */
	bool in_group;     /* in the CPG view */
	bool evicted;      /* voted out of this view */
	bool foreign;      /* ... for having another cluster's record */
	struct ha_node_conf conf;
	enum ha_sight sight;    /* how it went while we looked, and it has not come back; NONE: it did not */
	uint64_t gone_epoch;    /* when it went: no later epoch had it as a member until then */
	ha_set evict_votes;     /* set of peers that want it out */
	uint64_t evict_sent_ms; /* when we last said so ... */
	uint64_t evict_target;  /* ... while this was agreed on, or stood */
	uint64_t list;          /* version of its list of votes, by its last RENEW of our epoch */
	uint64_t wants;         /* digest of what its corosync.conf says, by its last RENEW of our epoch ... */
	enum ha_sees sees;      /* ... and whom of the members it sees write to the witness */
	uint64_t progress_ms;   /* last message that brought the formation on */
	uint64_t owes_ms;       /* since when it has not acknowledged what stands in our log, where all have to */
	struct ha_state state;  /* large, and of no interest once an epoch stands */
};

enum ha_stage {
	ST_ALONE,  /* not in the group */
	ST_GATHER, /* waiting for everybody's STATE */
	ST_SYNC,   /* agreed; snapshot and acknowledgements on their way */
	ST_STANDS,
};

struct ha_form {
	enum ha_stage stage;
	uint64_t target;   /* the epoch being agreed = largest promise seen in this view */
	uint64_t since_ms; /* when this stage began */
	ha_set parts;      /* set of peers taking part (from SYNC on) */
	uint32_t donor;    /* peer index */
	bool snap_needed, snap_done;
	uint64_t epoch_seq;      /* seq of NEW_EPOCH */
	struct ha_voters voters; /* by which it was agreed ... */
	bool brings;             /* ... and which NEW_EPOCH brings: no log has it */
	uint64_t asks;           /* id of the witness that may be asked, ... */
	bool lacks;              /* ... and nothing but its vote is missing (witness.c) */
	bool leans;              /* agreed with it: all of parts have to hold what is committed */
	bool anew;               /* in this view one that need not lean has been left for another already */
	uint64_t granted;        /* the witness's vote is for this target, ... */
	uint64_t granted_log;    /* ... if those who agree have a log of this epoch ... */
	ha_set granted_by;       /* ... and this one (peer), who claimed it, is one of them */
	/* sending or receiving the snapshot */
	size_t snap_len, snap_sent, snap_got;
	bool unlike;           /* nobody has a log, and corosync.conf is not the same on all */
	bool rejoin_due;       /* voted out, we join again when our record is written */
	bool said_state;       /* our STATE for the current promise is out */
	bool said_haunted;     /* ... and says that we are, */
	uint32_t said_up_ms;   /* so long after our start */
	struct ha_entry first; /* NEW_EPOCH as agreed */
};

struct ha_tail_entry {
	uint64_t epoch, seq, hash;
	uint64_t token; /* its PERSIST */
	uint32_t off, len;
};

struct ha_log {
	uint64_t promised;
	uint64_t promise_token, promise_durable; /* token of the last promise; last promise that is durable */
	uint64_t next_token, durable_token;
	uint64_t epoch, seq, hash; /* last entry */
	uint64_t applied, applied_epoch, applied_hash;
	uint64_t commit;
	uint64_t acked;          /* we said ACK up to here */
	struct ha_voters voters; /* the list behind the last entry */
	uint32_t first, n;       /* tail[first .. first+n) */
	struct ha_tail_entry tail[TAIL_MAX];
	uint32_t bytes_start, bytes_end;
	uint64_t disk_bytes; /* appended since the last snapshot ... */
	uint64_t snap_bytes; /* ... which was as long as this */
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
	uint64_t debt; /* FENCE, CONFIRM: the loss that was meant, however often it is sent; 0 = none known */
	struct ha_command cmd;
	char actor[HA_ACTOR_MAX + 1];
	char domain[HA_NAME_MAX + 1], group[HA_NAME_MAX + 1];
	struct ha_group_host hosts[HA_NODES_MAX];
	struct ha_claim claims[HA_CLAIMS_MAX];
	char conf[HA_CONF_MAX];
};

enum ha_vmm_state {
	V_LAUNCH, /* START or RECEIVE is out, nothing heard yet */
	V_INCOMING,
	V_UP,   /* starting, running, paused, gated */
	V_GONE, /* exited; kept until the record knows */
};

enum ha_role {
	R_RUNNER,
	R_INCOMING,
	R_MOVED,
	R_STALE
}; /* role.c */

/* Does the lease of this host go to its page? The last ADMIT. */
enum ha_admission {
	A_UNDECIDED,
	A_YES,
	A_NO
};

/* A VMM of this host. */
struct ha_vmm {
	bool used;
	char name[HA_NAME_MAX + 1];
	uint64_t incarnation;
	enum ha_vmm_state state;
	enum ha_admission admission;
	bool seen_up;      /* it said RUNNING, PAUSED or GATED: it can be reported as running */
	uint64_t since_ms; /* of state */
	char addr[HA_ADDR_MAX + 1];
	int rc;
	enum ha_end end;
	const char *kill_why; /* why we have it killed, a literal; NULL = not yet or for being stale */
	char text[HA_TEXT_MAX + 1];
	/* what was asked of it and by it */
	bool ask_commit, ask_abort, move_failed;
	uint64_t sending; /* target incarnation we told it to MIGRATE to, 0 = none */
	uint64_t stop_ms, kill_ms, decide_ms;
	uint64_t doomed_ms; /* first KILL */
	bool stop_force, cancelled;
	bool held;     /* it stands still for an operator, as it says */
	bool pause_on; /* what we told it last, and when; 0 = never */
	uint64_t pause_ms;
	ha_set avoid;      /* hosts it avoids ... */
	uint64_t avoid_ms; /* ... and since when it is these */
};

/* Our own part in one node's debt. */
struct ha_fencing {
	uint64_t debt;     /* debt this is about */
	uint32_t id;       /* ... and whose: the record's slot may be another's by now */
	uint64_t seen_ms;  /* when it came into our record */
	uint64_t in;       /* the last epoch that had the host as a member ... */
	uint64_t in_ms;    /* ... and when that came into our record */
	uint32_t attempts; /* failed ones, as the record counts them */
	uint64_t asked_ms; /* FENCING was proposed; 0 = not for this attempt */
	bool agreed;       /* ... and committed in time: the agent may be run, now */
	bool running, done_ok, done_failed;
	uint64_t started_ms;
	char name[HA_NAME_MAX + 1]; /* of the host when we first saw this debt */
	char text[HA_TEXT_MAX + 1];
};

struct ha_lease {
	uint64_t k;                   /* own renewals, never reset */
	uint64_t sent_ms[RENEW_RING]; /* t_s(k) at k % RENEW_RING */
	uint64_t epoch_k;             /* first k of this epoch: older ones do not count in it */
	uint64_t next_ms;
	uint64_t until_ms;     /* what a majority has granted */
	uint64_t published_ms; /* what LEASE said: no page of this daemon says more */
	uint64_t stands_ms;    /* when this epoch stood */
	uint64_t over_serial;  /* our entry LEASE over is on its way: nothing is published; 0 = no */
};

/* Our own word with the witness (witness.c). */
struct ha_asking {
	uint64_t claim;               /* CLAIM is out for this epoch, 0 = none ... */
	uint64_t log;                 /* ... with a log that ends in this one ... */
	uint32_t nodes[HA_NODES_MAX]; /* ... by these */
	uint64_t granted;             /* the last epoch that was granted: it is told, and not asked again */
	uint64_t again_ms;            /* not before */
	uint32_t tries;
	bool ok;                    /* it could be used when that was last tried ... */
	struct claim_nodes live;    /* ... and whose daemons were seen to write there */
	uint64_t newest;            /* the largest epoch in its slots */
	uint64_t together_ms;       /* when all members were last known to see each other there, or the epoch stood */
	char text[HA_TEXT_MAX + 1]; /* what it said last against us, or why it could not be asked; "" */
};

/* May we go by our own record? (lease.c) */
struct ha_trust {
	bool lost;                   /* a majority contradicts it, and it came from them */
	uint64_t again_ms, pause_ms; /* it is thrown away again not before, and after that pause */
};

struct ha_core {
	bool booted;
	uint32_t me;
	uint64_t now, boot_ms, last_ms;
	uint64_t proof_from_ms; /* no proof of death is sought before; 0 = at once (proof.c) */
	bool copied;            /* our log may be older than what we acknowledged: no vote to agree */
	uint32_t token;         /* own totem.token, ms */
	uint64_t draw;          /* random, from BOOT */
	struct ha_size size;    /* what this host has, from BOOT */
	uint64_t token_ms;      /* when t last changed */
	struct ha_timing t;     /* from the agreed token (agreed.c) */

	bool quorate;
	uint64_t ring_seq;
	uint32_t n_peers;
	uint32_t self;               /* own index in peers[] */
	uint8_t peer_at[256];        /* by the last bits of a node id: an index in peers[], to be looked at first */
	uint8_t by_id[HA_NODES_MAX]; /* indices in peers[], by rising node id */
	uint64_t all_votes;          /* by ha_votes_list() */
	uint64_t counted;            /* digest of the list in the log, 0 = it has none ... */
	uint64_t counted_version;    /* ... its version ... */
	uint64_t counted_ms;         /* ... and when it became another one (proof.c) */
	struct ha_voters wanted;     /* what our corosync.conf says ... */
	uint64_t wanted_hash;        /* ... and its digest */
	uint64_t witness;            /* ... with this one, 0 = none */
	uint64_t mute_ms;            /* nobody can be mute before this; 0 = not known (evict.c) */
	uint32_t mute_after;         /* ... if silence may last this long */
	char name_buf[32];

	uint64_t epoch;                     /* adopted: it stood */
	bool leans;                         /* ... by the witness's vote: it takes all of ... */
	ha_set parts;                       /* ... these, its members (peers) */
	bool fresh;                         /* no epoch stood since BOOT */
	bool unseen;                        /* a daemon ran here before us: what it left may be hidden */
	bool resync;                        /* our record differs: our log counts for nothing */
	struct ha_peer peers[HA_NODES_MAX]; /* n_peers of them */
	struct ha_form form;
	struct ha_log log;
	struct ha_lease lease;
	struct ha_trust trust;
	struct ha_asking asking;
	bool hosts_looked_at;                    /* since the record changed: two that follow are right */
	uint32_t largest_token;                  /* ha_token_largest() of the record */
	ha_set owing;                            /* slots of the record with a debt */
	struct ha_fencing fencing[HA_NODES_MAX]; /* by record slot */

	uint64_t serial; /* last one given to a proposal */
	struct ha_prop props[PROPS_MAX];
	struct ha_pending ops[OPS_MAX];
	uint64_t op_order;
	uint32_t n_ops; /* ops[] in use */

	bool leaving; /* LEAVE came */
	bool listed;  /* VMM_LIST came */
	uint32_t n_vmms;
	uint32_t used_vmms;           /* ... in use */
	uint32_t n_launching;         /* ... that come up */
	struct ha_bits awake_vmms;    /* vmms[] that may want something done (rest.c) ... */
	struct ha_bits awake_domains; /* ... and domains of the record ... */
	struct ha_bits queue;         /* ... but those that are to start here when others have come up */
	uint32_t n_known;             /* backoff_ms[] and declined[] below this are set */
	struct ha_names vmm_names;    /* of vmms[] */
	struct ha_vmm vmms[VMMS_MAX];
	uint64_t drain_ms;             /* maintenance: not before this */
	uint32_t drain_at, drain_left; /* domain last moved; how many are left */
	uint32_t drain_round;          /* times round since one went */

	uint64_t rec_hash, rec_hash_seq; /* ha_record_hash() after entry rec_hash_seq */
	uint64_t wake;
	struct ha_effects *out;
	uint64_t backoff_ms[HA_DOMAINS_MAX]; /* when we first saw it in this BACKOFF, 0 = not in BACKOFF */
	uint64_t declined[HA_DOMAINS_MAX];   /* incarnation we said EXITED of instead of starting it */
	struct ha_record rec;                /* large: texts are last and never cleared */
	uint8_t msg[HA_MSG_MAX];             /* scratch: a message being made */
	struct ha_entry entry;               /* scratch: an entry being applied or made */
	struct ha_outcome outcome;           /* scratch: of the entry being applied */
	struct ha_record_seen seen;          /* scratch: of a record being checked */
	uint8_t snap[HA_BLOB_MAX];           /* snapshot being sent, received or stored */
};

#endif
