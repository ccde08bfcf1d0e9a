/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_int - what the files of ha/core/ do for each other, for them only; what they share: state_int.h.
 *
 *   step.c        the door: which file gets which event, what runs after each
 *   peers.c       the table of hosts
 *   votes.c       whose votes make a majority: a list in the log
 *   wanted.c      how it comes to say what corosync.conf does
 *   witness.c     a vote that holds no log
 *   membership.c  view -> STATE -> agreement -> (snapshot) -> the epoch stands
 *   agree.c       may those who have spoken agree, and by which list of votes
 *   sync.c        one log for all who agreed
 *   first.c       NEW_EPOCH, from what those who agree said
 *   foreign.c     hosts with the record of another cluster are left out
 *   evict.c       mute members are voted out
 *   log.c         append, ack, commit; proposals
 *   applied.c     what this host makes of an entry that changed the record
 *   command.c     commands of operators: queue, propose, answer
 *   proof.c       debts: when PASSED is said, whose turn it is to fence
 *   agreed.c      the token from which all derive their times
 *   standing.c    who holds a lease, as all know it
 *   lease.c       RENEW, when the lease ends
 *   vmms.c        what the VMMs of this host said
 *   role.c        what each of them is by the record: who is admitted to the lease
 *   rest.c        which VMMs and domains that is about: those at rest are passed over
 *   reconcile.c   record against VMMs of this host -> effects and proposals
 *   drain.c       maintenance: domains move away
 *   report.c      what a host that came back really has
 *   snapshot.c    record and log tail as bytes; what the disk held
 *   out.c         effects
 *   record/       what is agreed on: the record, entries of the log, their bytes
 *   plan/         which host: asked by those that apply an entry; changes nothing
 *   apply/        committed entries -> record: all replicas alike, for it sees nothing else
 */
#ifndef DROVER_HA_CORE_CORE_INT_H
#define DROVER_HA_CORE_CORE_INT_H

#include "ha/core/state_int.h"

/* --- out.c: effects. Ask ha_out_room() first where it can wait: it is tried again next step. */
/** ha_out_room() - is there room for so many more effects, and @bytes of what they carry, in this step? */
bool ha_out_room(const struct ha_core *c, size_t effects, size_t bytes);
/** ha_out_claim() - CLAIM, for what is being agreed on; @nodes stays until the next step */
void ha_out_claim(struct ha_core *c, const uint32_t *nodes, size_t n);
/** ha_out_mcast() - MCAST; the bytes are copied */
void ha_out_mcast(struct ha_core *c, const uint8_t *p, size_t len);
/** ha_out_persist() - PERSIST; @token comes back by PERSISTED. A snapshot is not copied: it stays in c->snap */
void ha_out_persist(struct ha_core *c, bool snapshot, const uint8_t *p, size_t len, uint64_t token);
/** ha_out_vmm() - an effect about a VMM of this host, its other fields for the caller to fill; NULL without room */
struct ha_effect *ha_out_vmm(struct ha_core *c, enum ha_effect_kind kind, const char *name, uint64_t inc);
/** ha_out_simple() - LEASE (@arg: until), FENCE, FENCE_CANCEL (a node id, its debt) or REJOIN (nothing) */
void ha_out_simple(struct ha_core *c, enum ha_effect_kind kind, uint64_t arg, uint64_t arg2);
/** ha_out_reply() - the answer to an operator's command; @text is copied */
void ha_out_reply(struct ha_core *c, uint64_t request, enum ha_code code, const char *text);
/** ha_out_note() - a line of log; lost without room. While the stored log is read, only alarms are news */
void ha_out_note(struct ha_core *c, enum ha_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** ha_wake_at() - step() is to be called again at @ms, or before */
void ha_wake_at(struct ha_core *c, uint64_t ms);

/* --- peers.c */
/** ha_peer_find() - the peer with this node id; NULL: never heard of */
struct ha_peer *ha_peer_find(struct ha_core *c, uint32_t id);
struct ha_peer *ha_peer_get(struct ha_core *c, uint32_t id); /* adds; NULL when full */
static inline struct ha_peer *ha_self(struct ha_core *c)
{
	return &c->peers[c->self];
}

/* --- votes.c */
/** ha_votes_list() - the list that counts here: of the own log, or what corosync.conf says while the log has none */
const struct ha_voters *ha_votes_list(const struct ha_core *c);
/** ha_votes_count() - that list may be another one: count anew */
void ha_votes_count(struct ha_core *c);
/** ha_votes_appended() - this entry is the last of the log now */
void ha_votes_appended(struct ha_core *c, const uint8_t *bytes, size_t len);
/** ha_votes_behind() - make *@l the list behind that entry; @scratch: to decode it; false: there is none yet */
bool ha_votes_behind(struct ha_voters *l, struct ha_entry *scratch, const uint8_t *bytes, size_t len);
/** ha_votes_told() - the list by which those of @set agree, from what they said in this view; NULL: nobody spoke */
const struct ha_voters *ha_votes_told(const struct ha_core *c, ha_set set);
/** ha_votes_by() - votes of a set of peers, by the list @l */
uint64_t ha_votes_by(const struct ha_core *c, const struct ha_voters *l, ha_set set);
/** ha_votes_enough() - have those of @set a majority by @l?  @leans: with the witness's vote, if it has one */
bool ha_votes_enough(const struct ha_core *c, const struct ha_voters *l, ha_set set, bool leans);
/** ha_votes() - the same by ha_votes_list() */
uint64_t ha_votes(const struct ha_core *c, ha_set set);
uint64_t ha_group_votes(const struct ha_core *c); /* of those in the group */
uint64_t ha_majority(const struct ha_core *c);    /* votes needed */
uint64_t ha_needed(const struct ha_core *c);      /* ... of hosts, in the epoch that stands */
/* The furthest that peers with votes @need have come, at[] by index; @floor if that is no more. */
uint64_t ha_reached(const struct ha_core *c, const uint64_t *at, uint64_t need, uint64_t floor);
/** ha_reached_all() - the same for all of @set, whatever votes they have */
uint64_t ha_reached_all(const struct ha_core *c, const uint64_t *at, ha_set set, uint64_t floor);
void ha_why_no_view(const struct ha_core *c, char *buf, size_t size); /* why.c */

/* --- wanted.c */
/** ha_wanted_configure() - corosync.conf has been read: what it says of votes */
void ha_wanted_configure(struct ha_core *c);
/** ha_wanted_tick() - propose the next step towards it */
void ha_wanted_tick(struct ha_core *c);
/** ha_wanted_why() - why @p has other votes than corosync.conf gives it, for people; "" = it has not */
void ha_wanted_why(const struct ha_core *c, const struct ha_peer *p, char *buf, size_t size);

/* --- witness.c */
/** ha_witness_event() - WITNESS: what came of a CLAIM, or whether the witness can be read */
void ha_witness_event(struct ha_core *c, const struct ha_event *ev);
/** ha_witness_msg() - WITNESS of peer index @from: its claim is granted; true: it is about what is being agreed on */
bool ha_witness_msg(struct ha_core *c, uint32_t from, struct ha_reader *r);
/** ha_witness_votes() - is its vote for what is being agreed on by @set? */
bool ha_witness_votes(const struct ha_core *c, ha_set set);
/** ha_witness_sees() - whom of the members of the epoch does this host see write there? */
enum ha_sees ha_witness_sees(const struct ha_core *c);
/** ha_witness_tick() - nothing but its vote is missing: whose turn it is asks for it */
void ha_witness_tick(struct ha_core *c);

/* --- membership.c */
/** ha_membership_config() - CONFIG: corosync.conf; other votes call back an epoch that is being agreed */
void ha_membership_config(struct ha_core *c, const struct ha_event *ev);
/** ha_membership_quorum() - QUORUM: what votequorum says; nothing is decided by it alone */
void ha_membership_quorum(struct ha_core *c, const struct ha_event *ev);
/** ha_membership_view() - VIEW: who is in the group; whatever stood is frozen, everybody in it speaks again */
void ha_membership_view(struct ha_core *c, const struct ha_event *ev);
/** ha_membership_lost() - we are in no group any more */
void ha_membership_lost(struct ha_core *c);
/** ha_membership_state() - STATE of peer index @from; with the last one of a majority an epoch is agreed */
void ha_membership_state(struct ha_core *c, uint32_t from, struct ha_reader *r);
/** ha_membership_present() - set of peers in the group, but for those voted out */
ha_set ha_membership_present(const struct ha_core *c);
/** ha_membership_witness() - WITNESS of peer index @from: with its vote an epoch may be agreed */
void ha_membership_witness(struct ha_core *c, uint32_t from, struct ha_reader *r);
/** ha_membership_lowest() - of the members of the epoch this host has the lowest node id: what one of them does is its turn */
bool ha_membership_lowest(const struct ha_core *c);
/** ha_membership_voters() - the list of votes that counts for what members do to the view: the same for all of it; NULL: not known yet */
const struct ha_voters *ha_membership_voters(const struct ha_core *c);
/** ha_membership_stage() - the one place where the stage changes; nobody is mute in a new one yet */
void ha_membership_stage(struct ha_core *c, enum ha_stage s);
/** ha_membership_persisted() - something became durable: a promise that is may be told */
void ha_membership_persisted(struct ha_core *c);
/** ha_membership_tick() - what we said of ourselves is true no more: promise more, and say so */
void ha_membership_tick(struct ha_core *c);
void ha_membership_check(struct ha_core *c); /* commit index moved: does the epoch stand? */
void ha_membership_rejoin(struct ha_core *c, const char *why);
/** ha_membership_voted_out() - we were: join again, when what our disk was given is written */
void ha_membership_voted_out(struct ha_core *c);
/** ha_membership_evicted() - a member was voted out of this view: agree without it */
void ha_membership_evicted(struct ha_core *c);
void ha_membership_invariants(const struct ha_core *c); /* asserts what belongs to its stage */

/* --- agree.c */
/** ha_agree_may() - may those of @set agree now?  By what list and how is in form; nothing is, if false */
bool ha_agree_may(struct ha_core *c, ha_set set);
/** ha_agree_kept_by_witness() - all hosts of corosync.conf are here, and a witness in cluster.yaml keeps them from going on alone */
bool ha_agree_kept_by_witness(const struct ha_core *c);
/** ha_agree_haunted_for() - ms from its start for which what ran on a host of @set before may still write */
uint64_t ha_agree_haunted_for(const struct ha_core *c, ha_set set);

/* --- sync.c */
/** ha_sync_donor() - who of @set (peers) has the longest log, by its STATE; the lowest node id of equals; HA_NODES_MAX: none has spoken */
uint32_t ha_sync_donor(const struct ha_core *c, ha_set set);
bool ha_sync_said_by_me(const struct ha_core *c);    /* what was delivered as our STATE is ours */
void ha_sync_begin(struct ha_core *c, ha_set parts); /* @parts (set of peers) have agreed */
void ha_sync_chunk(struct ha_core *c, uint32_t from, struct ha_reader *r);

/* --- first.c */
/* A view: who of @were is no more in the group?  @left said so. */
void ha_first_lost(struct ha_core *c, ha_set were, ha_set left, enum ha_ring ring);
void ha_first_put(const struct ha_core *c, struct ha_writer *w); /* a part of STATE */
void ha_first_get(struct ha_reader *r, struct ha_state *s);
void ha_first_make(struct ha_core *c); /* form.first */

/* --- foreign.c */
/* When all of @set (peers) have said their STATE. True: nothing can be agreed on in this view. */
bool ha_foreign_leave_out(struct ha_core *c, ha_set set);
bool ha_foreign(const struct ha_core *c, const struct ha_peer *p); /* by what it said in this view */
uint64_t ha_foreign_home(const struct ha_core *c, ha_set set);     /* whose record @set has, 0 = nobody's */

/* --- evict.c */
/** ha_evict_vote() - EVICT of peer index @from; a majority of votes throws a mute member out of the view */
void ha_evict_vote(struct ha_core *c, uint32_t from, struct ha_reader *r);
/** ha_evict_tick() - vote against who is mute for too long; asks to be woken when the next one would be */
void ha_evict_tick(struct ha_core *c);

/* --- log.c */
/** ha_log_append() - the next entry behind our log's end; @store: write it to disk, else it came from there */
void ha_log_append(struct ha_core *c, uint64_t epoch, const uint8_t *bytes, size_t len, bool store);
/** ha_log_promise() - never take part in an epoch below @promised again; holds once it is durable */
void ha_log_promise(struct ha_core *c, uint64_t promised);
/** ha_log_entry() - ENTRY of peer index @from, in total order: every member of the epoch does the same here */
void ha_log_entry(struct ha_core *c, uint32_t from, struct ha_reader *r);
/** ha_log_ack() - ACK of peer index @from: it has this epoch's entries up to seq on disk */
void ha_log_ack(struct ha_core *c, uint32_t from, struct ha_reader *r);
/** ha_log_persisted() - everything up to @token is durable: acknowledge what of this epoch is */
void ha_log_persisted(struct ha_core *c, uint64_t token);
/** ha_log_commit() - raise the commit index to what a majority holds, and apply */
void ha_log_commit(struct ha_core *c);
/** ha_log_apply() - apply what is committed and not applied yet; whatever cannot be read changes nothing, and an alarm says so */
void ha_log_apply(struct ha_core *c);
/** ha_log_cluster() - whose log this is, also before anything of it is applied; 0 = nobody's yet, it is empty */
uint64_t ha_log_cluster(struct ha_core *c);
/** ha_log_clear_tail() - forget what is not applied: another's log takes its place */
void ha_log_clear_tail(struct ha_core *c);
void ha_log_check(const struct ha_core *c); /* asserts the order of its counters */
uint64_t ha_log_hash(uint64_t before, uint64_t epoch, uint64_t seq, const uint8_t *bytes, size_t len);
const uint8_t *ha_log_bytes(const struct ha_core *c, uint32_t i, size_t *len); /* i-th of the tail */
/* NULL if this is already on its way or the window is full; else c->entry, ready to be filled */
struct ha_entry *ha_log_prepare(struct ha_core *c, enum ha_entry_kind kind, const char *domain,
				uint32_t node);
/** ha_log_propose() - send what ha_log_prepare() gave; false: the window is full, or it does not fit: nothing was sent */
bool ha_log_propose(struct ha_core *c, struct ha_entry *e);
/** ha_log_epoch_changed() - a new epoch stands: proposals are in its log or lost for ever; commands are sent again */
void ha_log_epoch_changed(struct ha_core *c);
uint64_t ha_log_record_hash(struct ha_core *c); /* cached */

/* --- snapshot.c */
/** ha_snapshot_encode() - record and tail as bytes; length, 0: @size is too small */
size_t ha_snapshot_encode(const struct ha_core *c, uint8_t *buf, size_t size);
/* Is it one, and whole, and its record like one that entries make? @end: the last entry of its log. */
bool ha_snapshot_check(struct ha_record_seen *seen, const uint8_t *bytes, size_t len, struct ha_state *end);
void ha_snapshot_load(struct ha_core *c, const uint8_t *bytes, size_t len); /* checked before */
void ha_snapshot_boot(struct ha_core *c, const struct ha_blob *disk, size_t n);
/** ha_snapshot_store() - replace all that is on disk by the record and the tail as they are */
void ha_snapshot_store(struct ha_core *c);
/** ha_blob_promise() - what is stored of a promise; its length */
size_t ha_blob_promise(uint64_t promised, uint8_t *buf, size_t size);
/** ha_blob_entry() - what is stored of an entry; its length */
size_t ha_blob_entry(const struct ha_core *c, uint64_t epoch, uint64_t seq, const uint8_t *p, size_t len,
		     uint8_t *buf, size_t size);

/* --- agreed.c: the token that is in force, from the record */
void ha_agreed_follow(struct ha_core *c); /* the record changed, or our own token */
void ha_agreed_tick(struct ha_core *c);
void ha_agreed_of(const struct ha_core *c, uint32_t node, struct ha_timing *t); /* what @node may use */

/* --- standing.c: who holds a lease, from the record */
void ha_standing_told(struct ha_core *c, const struct ha_entry *e); /* a LEASE of ours was applied */
void ha_standing_tick(struct ha_core *c);

/* --- applied.c */
/** ha_applied() - apply a committed entry, and do what this host has to do about it */
void ha_applied(struct ha_core *c, const struct ha_entry *e);
/* A text of apply/ with the names of hosts for their marks; length of what is in @buf. */
size_t ha_core_speak(const struct ha_core *c, const char *marked, char *buf, size_t size);

/* --- command.c */
/** ha_op_event() - OP: a command of an operator; refused at once, or kept until its entry is applied or its time is over */
void ha_op_event(struct ha_core *c, const struct ha_event *ev);
/** ha_op_applied() - an OP was applied: whose of ours it is gets its answer */
void ha_op_applied(struct ha_core *c, const struct ha_entry *e, enum ha_code code, const char *text);
/** ha_op_tick() - propose commands that wait, answer those whose time is over */
void ha_op_tick(struct ha_core *c);
/** ha_op_done() - @p is answered: its place is free */
void ha_op_done(struct ha_core *c, struct ha_pending *p);

/* --- proof.c */
void ha_proof_agreed(struct ha_core *c, const struct ha_entry *e); /* a FENCING of ours was applied */
void ha_proof_tick(struct ha_core *c);
/** ha_proof_fence_done() - FENCE_DONE: the agent has ended; becomes an entry */
void ha_proof_fence_done(struct ha_core *c, const struct ha_event *ev);
/** ha_proof_passed_at() - now_ms from which this host may say PASSED of @node: its lease and all that follows are over */
uint64_t ha_proof_passed_at(const struct ha_core *c, uint32_t node);

/* --- lease.c */
/** ha_lease_tick() - renew when it is time, publish what a majority grants; asks to be woken */
void ha_lease_tick(struct ha_core *c);
/** ha_lease_renew() - RENEW of peer index @from: whom it heard, how far it is, what its record's digest is */
void ha_lease_renew(struct ha_core *c, uint32_t from, struct ha_reader *r);
/** ha_lease_epoch() - a new epoch stands: renewals of older ones count no more */
void ha_lease_epoch(struct ha_core *c);
/** ha_lease_valid() - may domains of this host run now, by what was published? */
bool ha_lease_valid(const struct ha_core *c);

/* --- vmms.c */
/** ha_vmm_find() - the VMM of this host for domain @name, NULL */
struct ha_vmm *ha_vmm_find(struct ha_core *c, const char *name);
struct ha_vmm *ha_vmm_add(struct ha_core *c, const char *name, uint64_t incarnation,
			  enum ha_vmm_state state); /* NULL when the table is full */
void ha_vmm_drop(struct ha_core *c, struct ha_vmm *v);
/** ha_vmm_comes_up() - it has said nothing yet, and may; who is killed for that takes nobody's turn, also where no signal ends it */
bool ha_vmm_comes_up(const struct ha_vmm *v);
/** ha_vmm_doom() - it is killed from now on */
void ha_vmm_doom(struct ha_core *c, struct ha_vmm *v);
/** ha_vmm_event() - VMM: what one of them said or how it ended */
void ha_vmm_event(struct ha_core *c, const struct ha_event *ev);

/* --- rest.c: who needs no look in this step, and who does */
void ha_rest_changed(struct ha_core *c);                /* the record did: wakes whom its news are about */
void ha_rest_wake(struct ha_core *c, const char *name); /* the VMM of that name did, or it came or went */
/* Nothing would be done for it whatever time it is and whoever holds a lease: it may be passed over. */
bool ha_rest_vmm(const struct ha_core *c, const struct ha_vmm *v);
/** ha_rest_domain() - the same of domain @i of the record */
bool ha_rest_domain(const struct ha_core *c, uint32_t i);
bool ha_rest_queued(const struct ha_core *c, uint32_t i); /* it waits for its turn to start here, and for nothing else */

/* --- role.c */
/** ha_vmm_role() - what @v is by the record; *@dom is its domain there, NULL when there is none */
enum ha_role ha_vmm_role(const struct ha_core *c, const struct ha_vmm *v, struct ha_domain **dom);
/* ADMIT for each whose role changed; true: all pages are as they must be, a lease may go out */
bool ha_vmm_admit(struct ha_core *c);
void ha_vmm_admit_found(struct ha_core *c); /* the same at once, if there is one that was found and not judged yet */

/* --- reconcile.c */
/** ha_reconcile() - compare the record with the VMMs of this host: effects and proposals for what differs */
void ha_reconcile(struct ha_core *c);
bool ha_reported(const struct ha_core *c); /* a member, and the others know what runs here */

/* --- drain.c */
/** ha_drain() - while this host is in maintenance: propose the next move */
void ha_drain(struct ha_core *c);

/* --- report.c */
/** ha_report() - when the record wants it: say what of what we own really runs */
void ha_report(struct ha_core *c);

/* --- why.c */
/** ha_why_node() - what the host of record slot @slot waits for at @now, for people: proof, its report, its lease; "" for nothing */
void ha_why_node(const struct ha_core *c, uint32_t slot, uint64_t now, char *buf, size_t size);

/* --- messages (msg.c) */
enum ha_msg_kind {
	MSG_STATE = 1,
	MSG_EVICT,
	MSG_CHUNK,
	MSG_ENTRY,
	MSG_ACK,
	MSG_RENEW,
	MSG_WITNESS,
	MSG_KINDS
};
/** ha_msg_begin() - @w writes a message of this kind into c->msg */
void ha_msg_begin(struct ha_core *c, struct ha_writer *w, enum ha_msg_kind kind);
/** ha_msg_send() - multicast what ha_msg_begin() began */
void ha_msg_send(struct ha_core *c, struct ha_writer *w);
/** ha_msg_deliver() - DELIVER: a message of the group, hostile (rule S); to whom it concerns */
void ha_msg_deliver(struct ha_core *c, const struct ha_event *ev);

#endif
