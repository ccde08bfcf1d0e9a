/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core - the cluster's decisions, as one pure function.
 *
 *   ha_core_step(core, event, effects)
 *
 * is the only door.  It reads no clock, does no input or output, allocates
 * nothing, and uses integers only; the same object code runs in droverd and in
 * drover-sim.  docs/ha.md tells the protocol.
 *
 * What the shell owes the core
 *   - Events one at a time, in the order in which they happened; CPG deliveries
 *     and configuration changes exactly in the order CPG gave them.  now_ms is
 *     CLOCK_BOOTTIME taken when the event is handed in, never earlier.
 *   - First BOOT, then CONFIG, then the rest.
 *   - Effects are carried out in the order of the list.  Pointers in an effect
 *     stay valid until the next step.  Effects may fail: the shell then tells so
 *     by the event named beside each effect; it never repeats one by itself.
 *   - PERSIST: written in order; PERSISTED(token) only after the bytes, and
 *     everything before them, survive a power cut.  A torn end is cut off.
 *   - One timer, armed to ha_core_next_wakeup() after each step; it gives TICK.
 *
 * Node ids are corosync's (nonzero).  Names are as in corosync.conf.
 */
#ifndef DROVER_HA_CORE_CORE_H
#define DROVER_HA_CORE_CORE_H

#include "ha/core/claim.h"
#include "ha/core/record/code.h"
#include "ha/core/record/model.h"
#include "ha/core/record/op.h"
#include "ha/core/timing.h"

#define HA_MSG_MAX (80u << 10)  /* largest message the core multicasts or accepts */
#define HA_BLOB_MAX (96u << 20) /* largest single PERSIST (a snapshot) */
#define HA_STARTS_MAX 4         /* VMMs that come up on a host at once; more wait their turn */
#define HA_EFFECTS_MAX 512
#define HA_ARENA_MAX (1u << 20) /* bytes that effects of one step may point to */

/* ------------------------------------------------------------------ events */

enum ha_event_kind {
	HA_EV_BOOT,       /* first of all: who I am, what my disk held */
	HA_EV_CONFIG,     /* what corosync.conf says of nodes; again whenever it changes. Votes follow when all say so. */
	HA_EV_VIEW,       /* CPG configuration change: the group's members now. Ordered with DELIVER. */
	HA_EV_CPG_LOST,   /* connection to corosync lost; the next VIEW comes after rejoining */
	HA_EV_QUORUM,     /* votequorum notice */
	HA_EV_DELIVER,    /* a CPG message, own ones included */
	HA_EV_PERSISTED,  /* a PERSIST effect is durable */
	HA_EV_TICK,       /* the timer */
	HA_EV_VMM,        /* something about a VMM of this host */
	HA_EV_VMM_LIST,   /* every VMM here, also one just starting, has been told by VMM since BOOT */
	HA_EV_LEAVE,      /* this daemon is to end; once ha_core_parted() the others know and it may */
	HA_EV_FENCE_DONE, /* a FENCE effect ended */
	HA_EV_OPERATOR,   /* a command; answered by exactly one REPLY */
	HA_EV_WITNESS,    /* a CLAIM effect ended; or, claim 0, whether the witness can be read was looked at */
	HA_EV_KINDS
};

struct ha_node_conf {
	uint32_t id;
	uint32_t votes; /* quorum_votes, usually 1; those above HA_VOTES_MAX do not count */
	char name[HA_NAME_MAX + 1];
};

/* What is told about a VMM on this host. One VMM per domain and host at most. */
enum ha_vmm_what {
	HA_VMM_STARTING,       /* process exists, state not known yet */
	HA_VMM_INCOMING,       /* waits for a migration at addr */
	HA_VMM_RUNNING,        /* includes "resumed after gate" */
	HA_VMM_HELD,           /* it stands still for an operator */
	HA_VMM_PAUSED,         /* ... for anything else: a migration's stop phase, a full disk */
	HA_VMM_GATED,          /* lease over (rule G) */
	HA_VMM_MIGRATE_FAILED, /* source: migration ended before GRANT, the domain runs on; text says why. A dry run
				* ends so, with "" when it could move */
	HA_VMM_ASK_COMMIT,     /* destination, after GRANT: may I run? */
	HA_VMM_ASK_ABORT,      /* source, after GRANT: may I run on? */
	HA_VMM_EXITED,         /* process is gone: end, rc, text say how. Also the answer to a START or
				* RECEIVE that failed, and to STOP or KILL of a VMM that does not exist. */
};

struct ha_blob {
	const uint8_t *bytes;
	size_t len;
};

struct ha_command {
	enum ha_op op;
	const char *domain;  /* name, or NULL */
	const char *group;   /* name, or NULL */
	uint32_t node;       /* node id, or 0 */
	const char *conf;    /* OP_ADD: the domain's text */
	size_t conf_len;     /* 1..HA_CONF_MAX */
	struct ha_size size; /* OP_ADD: what the domain takes, neither 0 */
	bool ha, started, force, restricted, on;
	uint32_t max_restart;
	const struct ha_group_host *hosts; /* OP_GROUP_SET: each host once */
	size_t n_hosts;
	const struct ha_claim *claims; /* OP_ADD: what no other domain may have */
	size_t n_claims;               /* 0..HA_CLAIMS_MAX */
	const char *actor;             /* who gives it, for people: 1..HA_ACTOR_MAX bytes, no control characters */
	enum ha_access access;         /* what that one may */
	uint64_t asked_ms;             /* when somebody gave it, by this host's BOOTTIME; 0 = now (OP_CONFIRM, OP_FENCE) */
};

/* Why the ring of the view before was given up, as this host's corosync counts it. */
enum ha_ring {
	HA_RING_CALLED,  /* somebody left or came, and all others answered when it was formed anew */
	HA_RING_STALLED, /* somebody did not answer when it was formed anew */
	HA_RING_SILENT,  /* its token did not come any more */
};

struct ha_event {
	enum ha_event_kind kind;
	uint64_t now_ms;
	union {
		struct {
			uint32_t me;                /* own node id */
			uint32_t token_ms;          /* runtime.config.totem.token */
			struct ha_size size;        /* what this host has */
			uint64_t draw;              /* random: an id for the cluster, if it has none yet */
			const struct ha_blob *disk; /* newest SNAPSHOT (if there is one), then the APPENDs after it */
			size_t n_disk;
			bool copied; /* disk may be older than what this host promised and acknowledged: its
						     * vote does not count until it has the record from others. A
						     * PERSIST of a snapshot says that it has. */
			bool unseen; /* a droverd ran here before, under this kernel: VMMs of it
						     * may live that this one does not find */
		} boot;
		struct {
			const struct ha_node_conf *nodes;
			size_t n;
			uint32_t token_ms; /* runtime.config.totem.token; 0 = as before */
			uint64_t witness;  /* id of the storage witness that is to have a vote; 0 = none */
		} config;
		struct {
			const uint32_t *nodes; /* members of the CPG group, one process per node */
			size_t n;
			const uint32_t *left; /* gone since the last view, but well: its process ended, or its
						     * corosync was stopped in order; the ring did not lose it */
			size_t n_left;
			enum ha_ring ring;
		} view;
		struct {
			bool quorate;
			const uint32_t *nodes; /* alive by votequorum */
			size_t n;
			uint64_t ring_seq;
		} quorum;
		struct {
			uint32_t from;
			const uint8_t *bytes;
			size_t len;
		} deliver;
		struct {
			uint64_t token;
		} persisted;
		struct {
			const char *domain;
			uint64_t incarnation;
			enum ha_vmm_what what;
			const char *addr; /* INCOMING */
			enum ha_end end;  /* EXITED */
			int rc;           /* EXITED: exit status, for people */
			const char *text; /* EXITED, MIGRATE_FAILED; may be NULL */
		} vmm;
		struct {
			uint32_t node;
			uint64_t debt; /* as the FENCE effect gave it: an answer is for one debt only */
			int rc;        /* 0 = confirmed off; else it failed, also when there is no device */
			const char *text;
		} fence_done;
		struct {
			uint64_t request;
			struct ha_command cmd;
		} op;
		struct {
			uint64_t claim;          /* the epoch, as the CLAIM effect gave it; 0 = none */
			bool ok;                 /* it is ours; claim 0: it can be read */
			uint64_t seen;           /* not ok: the epoch that stands in the way, 0 = none does; claim 0: the largest in its slots */
			struct claim_nodes live; /* claim 0 and ok: whose daemons are seen to write there */
			const char *text;        /* else why not; may be NULL */
		} witness;
	};
};

/* ----------------------------------------------------------------- effects */

enum ha_effect_kind {
	HA_FX_MCAST,        /* multicast bytes to the group, in order; keep and retry on TRY_AGAIN. On CPG_LOST or
			     * REJOIN whatever is still queued is thrown away. */
	HA_FX_PERSIST,      /* snapshot: replaces all that was stored before; else it is appended. -> PERSISTED */
	HA_FX_LEASE,        /* write until_ms to the pages of admitted VMMs, and of those admitted from now on; never decreases */
	HA_FX_ADMIT,        /* admit: the lease goes to its page from now on, the present one at once; else: its page
			     * ends now and gets no more. Who was never told: its page stays as it is. */
	HA_FX_START,        /* start domain with this incarnation from conf, admitted -> VMM */
	HA_FX_STOP,         /* stop: press the power button, after timeout_ms kill; force: kill -> VMM EXITED */
	HA_FX_KILL,         /* SIGKILL, whatever incarnation it says -> VMM EXITED (also when there is none) */
	HA_FX_RECEIVE,      /* start domain waiting for a migration, admitted -> VMM INCOMING addr */
	HA_FX_MIGRATE,      /* send domain to addr, or (dry_run) ask there -> MIGRATE_FAILED; arbiter=cluster;
			     * to_incarnation is the destination's */
	HA_FX_CANCEL,       /* cancel a migration before GRANT -> MIGRATE_FAILED, or nothing if it is too late */
	HA_FX_DECIDE,       /* tell a VMM the outcome; incarnation = the one that may run from now on */
	HA_FX_PAUSE,        /* pause: stand still, else go on -> VMM HELD, or anything else */
	HA_FX_FENCE,        /* fence node -> FENCE_DONE */
	HA_FX_CLAIM,        /* claim an epoch at the witness (ha/core/claim.h) -> WITNESS. One at a time. */
	HA_FX_FENCE_CANCEL, /* the node came back: stop the agents. FENCE_DONE may still come. */
	HA_FX_REPLY,        /* answer to OPERATOR */
	HA_FX_REJOIN,       /* leave the CPG group and join it again */
	HA_FX_NOTE,         /* something an operator may want to read */
	HA_FX_KINDS
};

struct ha_effect {
	enum ha_effect_kind kind;
	union {
		struct {
			const uint8_t *bytes;
			size_t len;
		} mcast;
		struct {
			bool snapshot;
			const uint8_t *bytes;
			size_t len;
			uint64_t token;
		} persist;
		struct {
			uint64_t until_ms;
		} lease;
		struct { /* ADMIT START STOP KILL RECEIVE MIGRATE CANCEL DECIDE PAUSE */
			const char *name;
			uint64_t incarnation; /* of the VMM this is for */
			const char *conf;
			size_t conf_len;         /* START, RECEIVE */
			uint64_t cluster;        /* START, RECEIVE: who counts the incarnation; 0 = unknown */
			const char *addr;        /* MIGRATE */
			uint32_t peer;           /* MIGRATE, RECEIVE: node id of the other side */
			uint64_t to_incarnation; /* MIGRATE: destination's; DECIDE: the winner's */
			bool admit;              /* ADMIT */
			bool dry_run;            /* MIGRATE: only ask the destination */
			bool commit;             /* DECIDE */
			bool pause;              /* PAUSE */
			bool force;
			uint32_t timeout_ms; /* STOP */
		} vmm;
		struct {
			uint32_t node;
			uint64_t debt;
		} fence;
		struct {
			uint64_t witness;      /* which one */
			uint64_t cluster;      /* whose epochs these are */
			uint64_t epoch;        /* what is claimed */
			uint64_t log;          /* epoch of the last entry of the longest log of those who want to agree */
			const uint32_t *nodes; /* who of them knows what it has acknowledged */
			size_t n;
		} claim;
		struct {
			uint64_t request;
			enum ha_code code;
			const char *text;
		} reply;
		struct {
			enum ha_level level;
			const char *text;
		} note;
	};
};

/* Filled by a step.  Just over 1 MiB: allocate once, reuse. */
struct ha_effects {
	size_t n;
	struct ha_effect fx[HA_EFFECTS_MAX];
	size_t used;
	uint8_t arena[HA_ARENA_MAX];
};

/* -------------------------------------------------------------------- door */

struct ha_core;

/**
 * ha_core_size() - bytes of a struct ha_core, room for the largest cluster; align to 64
 * Some 200 MiB of address space, of which no more is touched than the cluster needs (base/reserve.h).
 */
size_t ha_core_size(void);

/** ha_core_init() - make @c ready for BOOT; the memory may hold anything */
void ha_core_init(struct ha_core *c);

/** ha_core_step() - take one event; @out is emptied first */
void ha_core_step(struct ha_core *c, const struct ha_event *ev, struct ha_effects *out);

/** ha_core_next_wakeup() - now_ms at which TICK is due; UINT64_MAX = none */
uint64_t ha_core_next_wakeup(const struct ha_core *c);

/* ------------------------------------------------------------------ reading */

/* Where this node stands. */
enum ha_standing {
	HA_ALONE,   /* not in the CPG group */
	HA_FORMING, /* a new epoch is being agreed */
	HA_STANDS,  /* the epoch stands: commands are taken */
};

struct ha_status {
	uint32_t me;
	enum ha_standing standing;
	bool quorate;           /* by votequorum: its rule may be weaker than ours (two_node) */
	uint64_t votes, needed; /* of the hosts whose daemons are in the group; a majority of all */
	uint64_t witness;       /* that has a vote, by the log; 0 = none */
	bool witness_ok;        /* this host could read it when it last looked */
	bool leans;             /* the epoch stands by the witness's vote */
	uint64_t epoch, seq, committed, hash;
	uint64_t lease_until_ms; /* 0 = never had one */
	uint32_t n_nodes;
};

struct ha_node_status {
	struct ha_node_conf conf;
	bool alive;    /* in votequorum's list */
	bool in_group; /* its daemon is in the CPG group */
	bool member;   /* in the view of the standing epoch */
	bool debt, report_due, maintenance;
	bool leased;                 /* it holds a lease, as far as it told: without one nothing runs there */
	uint32_t votes;              /* that count, by the log; conf says what corosync.conf gives it */
	uint64_t heard_ms;           /* when its last RENEW was delivered here, 0 = never */
	uint32_t domains;            /* how many it owns */
	struct ha_size size;         /* what it has */
	char why[HA_REASON_MAX + 1]; /* what a debt, a report or a lease waits for, or "" */
};

/** ha_core_status() - what this host knows, for people; *@out is overwritten */
void ha_core_status(const struct ha_core *c, struct ha_status *out);

/** ha_core_node() - @i in [0, n_nodes), sorted by node id; false past the end */
bool ha_core_node(const struct ha_core *c, size_t i, struct ha_node_status *out);

/** ha_core_parted() - is it committed that this daemon leaves (LEAVE)? */
bool ha_core_parted(const struct ha_core *c);

/** ha_core_record() - the committed record; valid until the next step */
const struct ha_record *ha_core_record(const struct ha_core *c);

/** ha_core_timing() - the times in force, from the token that all members agreed on */
const struct ha_timing *ha_core_timing(const struct ha_core *c);

/**
 * ha_core_token_differs() - which members' corosync has another token: "n2 has 1000 ms, ..."
 * Return: length as snprintf(), 0 = all have the agreed one.
 */
size_t ha_core_token_differs(const struct ha_core *c, char *buf, size_t size);

/** ha_core_node_name() - configured name of a node id, or "node <id>" in a buffer that lives in @c */
const char *ha_core_node_name(const struct ha_core *c, uint32_t id);

/**
 * ha_core_node_id() - the other way: id of the host called @name
 * Also a host that corosync.conf no longer has, as long as the record or this daemon knows it:
 * its debt still has to be ended by somebody.  A name that a host has today goes before the
 * same name of one that is gone.  An id may be written as ha_core_node_name() does, or bare.
 * Return: the id, or 0.
 */
uint32_t ha_core_node_id(const struct ha_core *c, const char *name);

/** ha_core_witness_why() - why a witness that is configured here has no vote, or may lose it; "" */
void ha_core_witness_why(const struct ha_core *c, char *buf, size_t size);

/**
 * ha_core_wrong() - what this core keeps beside its record, held against a search through all of it
 * Return: a literal that says what should hold, or NULL.  For the simulator and tests: it takes long.
 */
const char *ha_core_wrong(const struct ha_core *c);

/**
 * ha_core_why() - one line on what domain @name waits for, "" when it waits for nothing
 * Return: 0, or -ENOENT.
 */
int ha_core_why(const struct ha_core *c, const char *name, uint64_t now_ms, char *buf, size_t size);

/* ----------------------------------------------------------------- printing */

/** ha_effect_kind_str() - "PERSIST", as in traces */
const char *ha_effect_kind_str(enum ha_effect_kind k);
/** ha_standing_str() - "alone", "forming", "stands" */
const char *ha_standing_str(enum ha_standing s);

/* One line, no newline; as snprintf(). */
size_t ha_event_print(const struct ha_event *ev, char *buf, size_t size);
/** ha_effect_print() - one line, no newline; as snprintf() */
size_t ha_effect_print(const struct ha_effect *fx, char *buf, size_t size);

#endif
