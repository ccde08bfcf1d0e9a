/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry - what can stand in the log, as structs and as bytes.
 *
 * An entry is a fact or a wish with the conditions under which it holds (which
 * incarnation, which debt).  ha/core/apply/ checks them against the record when the
 * entry is committed, so an entry that came too late changes nothing; that also
 * makes it harmless to propose one twice.
 */
#ifndef DROVER_HA_CORE_RECORD_ENTRY_H
#define DROVER_HA_CORE_RECORD_ENTRY_H

#include "ha/core/record/codec.h"
#include "ha/core/record/model.h"
#include "ha/core/record/op.h"

enum ha_entry_kind {
	HA_E_NEW_EPOCH = 1, /* these are the members; first entry of each epoch, proposed by nobody */
	HA_E_REPORT,        /* these VMMs really run on origin: a part of what is to be said */
	HA_E_RUNNING,       /* the domain runs */
	HA_E_STABLE,        /* ... and has run for a while: forget its failures */
	HA_E_EXITED,        /* its VMM is gone */
	HA_E_RETRY,         /* its pause is over */
	HA_E_READY,         /* migration: destination listens at text */
	HA_E_COMMIT,        /* migration: destination may run (rule H) */
	HA_E_ABORT,         /* migration: source may run on (rule H) */
	HA_E_PASSED,        /* origin waited P for node (rule F) */
	HA_E_FENCING,       /* origin is about to have node switched off: it asks whether that still stands (rule F) */
	HA_E_FENCED,        /* a fence agent confirmed that node is off (rule F) */
	HA_E_FENCE_FAILED,  /* origin could not fence node */
	HA_E_OP,            /* an operator's command */
	HA_E_LEASE,         /* origin holds a lease; or none (over: none of its VMMs can write any more) */
	HA_E_TIMING,        /* origin's corosync has this token; it no longer uses an older agreement's */
	HA_E_VOTES,         /* node, or the witness, has a vote more, or one less; in force as soon as it is appended (rule L) */
	HA_E_KINDS
};

struct ha_report_item {
	char name[HA_NAME_MAX + 1];
	uint64_t incarnation;
};

/* Hosts that went, and an epoch none was above then that had it as a member: it is about no later membership. */
struct ha_ids {
	uint32_t n, id[HA_NODES_MAX];
	uint64_t epoch[HA_NODES_MAX];
};

/* One struct for all: most fields serve several kinds. */
struct ha_entry {
	enum ha_entry_kind kind;
	uint8_t level;   /* who has not this feature level cannot apply it: nobody does */
	uint32_t origin; /* node that proposed it, 0 for NEW_EPOCH */
	uint64_t serial; /* counts origin's proposals */
	char domain[HA_NAME_MAX + 1];
	uint64_t incarnation;       /* of the VMM this is about */
	int32_t rc;                 /* EXITED: exit status, for people */
	enum ha_end end;            /* EXITED */
	char text[HA_TEXT_MAX + 1]; /* EXITED, ABORT, FENCE_FAILED: why; READY: address */
	uint32_t node;              /* PASSED, FENCING, FENCED, FENCE_FAILED, OP, VOTES */
	uint64_t debt;              /* PASSED, FENCING, FENCED, FENCE_FAILED; OP about a host: which loss is meant, 0 = any */
	/* LEASE */
	bool has_lease, over;
	bool leaving; /* origin's daemon is being stopped in order */
	/* TIMING */
	uint32_t token;         /* origin's totem.token, ms */
	uint64_t token_changes; /* the agreement that settled is about */
	bool settled;           /* no lease of origin comes from an earlier agreement any more */
	/* VOTES, PASSED */
	uint64_t version; /* of the list that it makes, which is about the one before; PASSED: of the list by which origin waited */
	uint64_t witness; /* VOTES, node 0: it is about the vote of this one */
	bool more;
	/* NEW_EPOCH */
	uint64_t epoch;
	uint64_t cluster; /* its id, if the record has none yet */
	uint32_t n_members;
	uint32_t members[HA_NODES_MAX];
	bool fresh[HA_NODES_MAX];           /* its daemon started since the last epoch */
	uint32_t tokens[HA_NODES_MAX];      /* its totem.token, ms */
	uint8_t levels[HA_NODES_MAX];       /* its feature level */
	struct ha_size sizes[HA_NODES_MAX]; /* what it has */
	struct ha_ids left;                 /* absent, and they left in order (first.c) */
	struct ha_ids unsure;               /* absent, and nobody knows whether they crashed */
	struct ha_voters voters;            /* the first list, or one made without a majority of that before; n 0 = neither */
	bool leans;                         /* it stands by the witness's vote */
	/* REPORT */
	uint32_t from, to; /* of the domains in these slots of the record, to not included ... */
	uint32_t n_items;  /* ... these run */
	struct ha_report_item items[HA_REPORT_ITEMS];
	/* OP */
	enum ha_op op;
	char actor[HA_ACTOR_MAX + 1]; /* who ordered it, for people */
	enum ha_access access;        /* ... and what that one may */
	char group[HA_NAME_MAX + 1];
	bool ha, started, force, restricted, on;
	uint32_t max_restart;
	const uint8_t *conf; /* points into the bytes it was decoded from */
	size_t conf_len;
	struct ha_size size; /* ADD: what the domain takes */
	uint32_t n_hosts, n_claims;
	struct ha_group_host hosts[HA_NODES_MAX];
	struct ha_claim claims[HA_CLAIMS_MAX];
};

#define HA_REPORT_END UINT32_MAX /* the last part is about all domains from @from on */

/* The largest is a domain's text with its claims; a part of a report and a NEW_EPOCH are smaller. */
#define HA_ENTRY_MAX (HA_CONF_MAX + 4096)

_Static_assert(HA_REPORT_ITEMS *(HA_NAME_MAX + 12) + 1024 <= HA_ENTRY_MAX, "a part of a report is an entry");
_Static_assert(HA_NODES_MAX * 72 + 1024 <= HA_ENTRY_MAX, "so is NEW_EPOCH");

/** ha_size_put(), ha_claim_put() - as they stand in entries and in snapshots */
void ha_size_put(struct ha_writer *w, const struct ha_size *s);
/** ha_size_get() - any two numbers are one */
void ha_size_get(struct ha_reader *r, struct ha_size *s);
void ha_claim_put(struct ha_writer *w, const struct ha_claim *a);
/** ha_claim_get() - bad unless the type is known */
void ha_claim_get(struct ha_reader *r, struct ha_claim *a);

/** ha_entry_encode() - Return: length, or 0 if it does not fit */
size_t ha_entry_encode(const struct ha_entry *e, uint8_t *buf, size_t size);

/*
 * What this version understands. A new kind of entry, or a new field, belongs to a new level:
 * its proposer writes that level into the entry, and an entry above the record's level (the
 * lowest of the members') changes nothing anywhere, whether a member can read it or not.
 */
#define HA_LEVEL 1

/** ha_entry_decode() - Return: false if the bytes are not exactly one valid entry (rule S) */
bool ha_entry_decode(struct ha_entry *e, const uint8_t *bytes, size_t len);

/** ha_entry_says() - do these bytes say that they are an entry of that kind?  Whether they are, ha_entry_decode() knows. */
bool ha_entry_says(enum ha_entry_kind k, const uint8_t *bytes, size_t len);

/** ha_entry_kind_str() - "NEW_EPOCH", ... */
const char *ha_entry_kind_str(enum ha_entry_kind k);
/** ha_entry_print() - one line, as snprintf() */
size_t ha_entry_print(const struct ha_entry *e, char *buf, size_t size);

/** ha_name_valid() - letters, digits, '-', '_', '.'; starts with a letter or digit; 1..HA_NAME_MAX */
bool ha_name_valid(const char *name);

/** ha_entry_has_member() - of a NEW_EPOCH: does host @id take part? */
bool ha_entry_has_member(const struct ha_entry *e, uint32_t id);

#endif
