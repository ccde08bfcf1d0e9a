/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model - the cluster record: what the hosts agreed on (rule H).
 *
 * Every replica holds the same record after the same log entry.  It is changed
 * by apply/ alone, and only by committed entries (rule L), so that whoever
 * reads it reads something that survives the death of any minority.
 *
 * The record has fixed limits and no pointers.  Domain texts live beside it
 * (texts.h), because they are large and rarely looked at.
 */
#ifndef DROVER_HA_CORE_RECORD_MODEL_H
#define DROVER_HA_CORE_RECORD_MODEL_H

#include "ha/core/record/index.h"
#include "ha/core/record/set.h"
#include "ha/core/record/texts.h"
#include "ha/core/record/voters.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Phases of a domain.  Who may run it follows from owner and incarnation alone:
 * the owner, with exactly this incarnation, under a lease; nobody in STOPPED,
 * WAITING and BACKOFF.  A domain whose owner carries a debt is "lost": it keeps
 * its phase and its owner until the debt is proved (rule F).
 */
enum ha_phase {
	HA_STOPPED,  /* no owner; leaves by operator start */
	HA_WAITING,  /* should run, no host fits now; leaves when one does */
	HA_STARTING, /* owner has been told to start it; leaves by RUNNING, EXITED, proof of death */
	HA_RUNNING,
	HA_STOPPING,  /* owner has been told to stop it; leaves by EXITED or proof */
	HA_MIGRATING, /* owner runs it, target receives; leaves by COMMIT, ABORT, EXITED, proof,
		       * or loss of the target */
	HA_BACKOFF,   /* failed; leaves by RETRY after a pause that doubles, or by operator start */
};

/* How far a migration is, as far as the record must know. */
enum ha_move {
	HA_MOVE_NONE,
	HA_MOVE_INTENT, /* the target shall receive */
	HA_MOVE_READY,  /* the target listens at addr; the owner shall send */
};

/* What a host has, or a domain takes. */
struct ha_size {
	uint64_t memory; /* bytes; 0 = not known */
	uint32_t cpus;
};

/*
 * What no two domains may have.  The record does not read a domain's text, so whoever
 * takes a domain in says what it claims; a value is a hash, made by one rule for all (ha/api/claims.h).
 */
enum ha_claim_kind {
	HA_CLAIM_UUID,
	HA_CLAIM_MAC,
	HA_CLAIM_DISK,
	HA_CLAIM_PARENT, /* of a disk that is an image: read, and another's disk only as long as that reads it too */
	HA_CLAIM_KINDS
};

struct ha_claim {
	enum ha_claim_kind kind;
	bool shared; /* others may have it too, if they all share it (read-only disks) */
	uint64_t key;
};

/* How a VMM ended, as far as a decision depends on it; the words are in a text beside it. */
enum ha_end {
	HA_END_FAILED,   /* could not start, crashed, was killed by somebody else */
	HA_END_POWEROFF, /* its guest powered off, and nobody had asked */
	HA_END_ASKED,    /* somebody asked it to end, by its control socket or by a STOP of ours */
	HA_END_MOVED,    /* its domain runs elsewhere */
	HA_END_KILLED,   /* by us: it did not do what it had to */
	HA_END_ABSENT,   /* there is no such VMM here */
	HA_ENDS
};

/* What every step looks at stands together at the beginning: one line of the cache for each domain. */
struct ha_domain {
	bool used;
	bool wanted;     /* the operator wants it started */
	bool ha;         /* restart it elsewhere when its host dies */
	bool force_stop; /* STOPPING: do not ask the guest */
	bool paused;     /* its VMM stands still, an operator wants it so; ends with that VMM, moves along */
	bool dry_run;    /* MIGRATING: only whether it could; it ends by ABORT before anything is sent */
	enum ha_phase phase;
	enum ha_move move;
	uint32_t owner;              /* node id, 0 = nobody */
	uint32_t target;             /* MIGRATING: node id of the destination */
	uint64_t incarnation;        /* of the VMM that may run; never used twice (rule H) */
	uint64_t target_incarnation; /* MIGRATING: what the destination's VMM carries */
	uint64_t last_incarnation;   /* the largest ever given out */
	/* ... and in the next one what is looked at whenever an entry is about it */
	ha_set avoid;               /* set of nodes it failed on lately: any other is preferred (place.c) */
	uint64_t moved_incarnation; /* what the VMM of moved_from carried */
	uint64_t conf_hash;
	struct ha_size size;
	uint32_t moved_from;  /* last committed migration: source, 0 = none */
	uint32_t failures;    /* starts and runs that failed in a row */
	uint32_t max_restart; /* failures in a row before BACKOFF pauses at its longest */
	uint32_t moves;       /* times ownership moved, for history */
	int32_t exit_code;    /* of the VMM whose failure is the reason, 0 = none */
	uint32_t n_claims;
	uint32_t conf_len; /* of its text ... */
	uint32_t conf_at;  /* ... which stands there; not replicated (texts.h) */
	char name[HA_NAME_MAX + 1];
	char group[HA_NAME_MAX + 1];  /* "" = any host */
	char addr[HA_ADDR_MAX + 1];   /* MOVE_READY: where it listens */
	char reason[HA_TEXT_MAX + 1]; /* why it is in this phase */
	struct ha_claim claims[HA_CLAIMS_MAX];
};

struct ha_group_host {
	uint32_t node;
	int32_t priority; /* higher is preferred */
};

struct ha_group {
	bool used;
	char name[HA_NAME_MAX + 1];
	bool restricted; /* only these hosts, rather than these first */
	uint32_t n_hosts;
	struct ha_group_host hosts[HA_NODES_MAX];
};

/* A host as the record knows it.  Index = its bit in every replicated set. */
struct ha_node_rec {
	uint32_t id;             /* corosync node id, 0 = slot unused */
	bool report_due;         /* came (back): what it runs must be told before anything is placed there */
	uint32_t reported;       /* ... and has been told for domains below this slot */
	uint64_t debt;           /* epoch in which it was lost while it might run domains; 0 = none (rule F) */
	ha_set passed;           /* set of nodes that said PASSED for this debt */
	uint32_t fence_attempts; /* failed fencing attempts for this debt */
	bool fence_ordered;      /* an operator ordered it: PASSED frees its domains, FENCED alone ends the debt */
	bool maintenance;        /* place nothing here */
	bool leased;             /* it holds a lease, as far as it told: it can run things and take turns */
	bool parted;             /* its daemon was stopped in order: its lease ends by itself, nobody fences it */
	bool grace;              /* it may not have crashed: it may come back within its lease unharmed (proof.c) */
	bool apart;              /* it was taken out unheard, with so many others that they may go on: waiting proves nothing (apply/epoch.c) */
	bool left;               /* it went out of the view in order (corosync or droverd stopped): it was well then */
	uint64_t last_in;        /* newest epoch that had it as a member: what was seen of it before is about another loss */
	uint32_t token;          /* its corosync's totem.token, ms, as it told last; 0 = never (agreed.c) */
	uint32_t uses;           /* largest token from which it may still derive a lease (rule T) */
	struct ha_size size;     /* as it told when it last came into a view */
	uint64_t last_op;        /* newest proposal of this node that was applied */
};

struct ha_record {
	uint64_t epoch;          /* of the last applied NEW_EPOCH */
	ha_set members;          /* set of nodes in the view of this epoch */
	uint8_t level;           /* feature level that all members have (entry.h) */
	uint32_t token;          /* ms; every member derives its times from this one (agreed.c) */
	uint64_t token_changes;  /* how often it changed: names one agreement */
	uint64_t leaned;         /* the last epoch that stood by a witness's vote, 0 = none did */
	struct ha_voters voters; /* whose votes make a majority (rule L) */
	struct ha_node_rec nodes[HA_NODES_MAX];
	struct ha_group groups[HA_GROUPS_MAX];
	uint64_t cluster;           /* whose incarnations these are: random, set by its first epoch; 0 = not yet */
	uint64_t incarnation_floor; /* of domains that were removed: names come back, numbers do not */
	uint32_t n_domains;         /* slots in use or once used: [0, n_domains) */
	struct ha_index index;      /* not replicated, each replica makes its own */
	struct ha_domain domains[HA_DOMAINS_MAX];
	struct ha_texts texts;
};

/** ha_phase_str() - "running", as people read it */
const char *ha_phase_str(enum ha_phase p);
/** ha_end_str() - how a VMM ended, as people read it */
const char *ha_end_str(enum ha_end e);

/** ha_record_find() - index of the domain called @name, or -1 */
int ha_record_find(const struct ha_record *r, const char *name);

/** ha_record_find_group() - index of a group, or -1 */
int ha_record_find_group(const struct ha_record *r, const char *name);

/** ha_record_slot() - bit number of node @id in the record's sets, or -1 */
int ha_record_slot(const struct ha_record *r, uint32_t id);
/** ha_nodes_slot() - the same in HA_NODES_MAX @nodes that are in no record yet */
int ha_nodes_slot(const struct ha_node_rec *nodes, uint32_t id);

/** ha_record_debt() - the loss of node @id that is not proved yet, named by its epoch; 0 = none */
uint64_t ha_record_debt(const struct ha_record *r, uint32_t id);

/** ha_record_is_member() - is node @id in the view of the record's epoch? */
bool ha_record_is_member(const struct ha_record *r, uint32_t id);

/** ha_record_may_run() - may node @id still run or be starting something?  Then its loss is a debt (rule F). */
bool ha_record_may_run(const struct ha_record *r, uint32_t id);

/** ha_record_workers() - set of those members that take turns: who holds a lease, or all while nobody does */
ha_set ha_record_workers(const struct ha_record *r);

/**
 * ha_record_claimed() - does a domain of the record have what @claims ask for?
 * Return: index of the first such domain, and which of the claims in *@which; -1 when there is none.
 */
int ha_record_claimed(const struct ha_record *r, const struct ha_claim *claims, uint32_t n,
		      uint32_t *which);

/** ha_claim_space() - the kind whose keys those of @k are compared with: a parent is a disk */
enum ha_claim_kind ha_claim_space(enum ha_claim_kind k);

/** ha_claim_print() - where claim @which stands in the domain's file: "uuid", "disks[1].path" */
void ha_claim_print(const struct ha_claim *claims, uint32_t which, char *buf, size_t size);

/** ha_domain_hash() - digest of domain @d in slot @i: what the record's is made of */
uint64_t ha_domain_hash(const struct ha_domain *d, uint32_t i);

/** ha_record_hash() - digest of everything in the record, equal on equal replicas; needs its index */
uint64_t ha_record_hash(const struct ha_record *r);

/** ha_domain_print() - one line: name, phase, owner, incarnation and what belongs to the phase */
size_t ha_domain_print(const struct ha_domain *d, char *buf, size_t size);

#endif
