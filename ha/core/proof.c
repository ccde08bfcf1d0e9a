/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proof - rule F: what a lost host may still be doing, and how we come to know
 * that it is not.
 *
 * A host that left the view while it owned domains carries a debt, named by the
 * epoch in which it was lost.  The debt is in the record, so it outlives whoever
 * was fencing.  It ends in one of three ways:
 *
 *   FENCED     a fence agent confirmed that the host is off
 *   PASSED     every member of the present view waited P since it last heard the
 *              host (or since its own boot, whatever is later: a daemon that was
 *              restarted does not remember what it acknowledged; or since it got another list of
 *              votes: votes.c; or since it knows of the debt, where an epoch ever leaned on a witness: witness.c)
 *   it returns NEW_EPOCH has it as a member again; it then reports what it runs
 *
 * PASSED must come from all members, because any one of them may be the one that
 * acknowledged the host's newest RENEW; the majority that renewed the lease and
 * the majority in view share at least one member, but nobody knows which.  And by one list of votes: with
 * another one those who are left may be a majority without that member, so what was said before counts
 * no more (apply/votes.c).
 */
#include "ha/core/core_int.h"

#include <stdio.h>
#include <string.h>

/* now_ms at which this host may say PASSED for @node */
uint64_t ha_proof_passed_at(const struct ha_core *c, uint32_t node)
{
	struct ha_peer *p = ha_peer_find((struct ha_core *)c, node);
	uint64_t heard = p ? p->heard_ms : 0;
	int slot = ha_record_slot(&c->rec, node);
	struct ha_timing t;
	uint64_t wait;

	ha_agreed_of(c, node, &t);
	wait = MUTANT(M_SHORT_PROOF) ? t.proof - t.lease - t.gate : t.proof;

	if (heard < c->boot_ms && !MUTANT(M_NO_AMNESIA))
		heard = c->boot_ms;
	if (heard < c->counted_ms)
		heard = c->counted_ms;
	/* Of those who are here none needs to have been among those who heard it last (witness.c). */
	if (c->rec.leaned && slot >= 0 && heard < c->fencing[slot].seen_ms && !MUTANT(M_LEAN_PROOF))
		heard = c->fencing[slot].seen_ms;
	return heard + wait;
}

/*
 * The same for its lease alone: until then it may come back unharmed. A host that vanished
 * (a crash, a power cut) is not waited for. One whose corosync still answers, with a daemon
 * that does not, was well a moment ago. Where several vanish at once the ring broke, rather
 * than that many hosts; and where no token was missed, but somebody did not answer afterwards
 * (first.c), it may be that one or another.
 */
static uint64_t grace_ends(const struct ha_core *c, const struct ha_node_rec *n)
{
	struct ha_peer *p = ha_peer_find((struct ha_core *)c, n->id);
	uint64_t heard = p ? p->heard_ms : 0;
	struct ha_timing t;

	if (!n->grace && !(p && p->alive))
		return 0;
	ha_agreed_of(c, n->id, &t);
	return (heard > c->boot_ms ? heard : c->boot_ms) + t.grace;
}

/*
 * It went in order: its daemon said so in the log, or its corosync or daemon ended and CPG saw
 * that, or nobody missed it when it went (first.c). Somebody works on it; its VMMs gate themselves
 * by the lease's end, and PASSED alone frees them. It is not switched off for that, however long
 * it takes.
 */
static bool left_in_order(const struct ha_core *c, const struct ha_node_rec *n)
{
	struct ha_peer *p = ha_peer_find((struct ha_core *)c, n->id);

	return n->parted || n->left || (p && p->sight == HA_SIGHT_LEFT && p->gone_epoch >= n->last_in);
}

/* Whose turn it is: members with a lease by rising node id, each failed attempt moves on to the next. */
static bool my_turn(const struct ha_core *c, const struct ha_node_rec *n, bool *full_round)
{
	uint32_t ids[HA_NODES_MAX], count = 0, turn;
	ha_set workers = ha_record_workers(&c->rec);

	for (uint32_t i = 0; i < HA_NODES_MAX; i++) {
		uint32_t id = c->rec.nodes[i].id, j;

		if (!ha_set_has(workers, i))
			continue;
		for (j = count++; j > 0 && ids[j - 1] > id; j--)
			ids[j] = ids[j - 1];
		ids[j] = id;
	}
	if (!count)
		return false;
	turn = n->fence_attempts % count;
	*full_round = n->fence_attempts && !turn;
	return ids[turn] == c->me;
}

static bool propose_about(struct ha_core *c, enum ha_entry_kind kind, const struct ha_node_rec *n,
			  const char *text)
{
	struct ha_entry *e = ha_log_prepare(c, kind, "", n->id);

	if (!e)
		return false;
	e->debt = n->debt;
	e->version = c->log.voters.version;
	ha_copy(e->text, sizeof(e->text), text);
	return ha_log_propose(c, e);
}

static void remember_name(struct ha_core *c, struct ha_fencing *f, uint32_t id)
{
	const struct ha_peer *p = ha_peer_find(c, id);

	ha_copy(f->name, sizeof(f->name), f->debt && p ? p->conf.name : "");
}

/*
 * Devices are found by a host's name, debts are of its number, and corosync.conf, which joins them,
 * may have changed since: the host was built anew and has another number under its old name, its
 * number went to another machine, or a name was copied and not changed.  Then its name would cut
 * somebody else's power.  Waiting, and an operator's word, are about the number.
 */
static bool named_amiss(const struct ha_core *c, const struct ha_fencing *f, uint32_t id, char *buf,
			size_t size)
{
	const struct ha_peer *p = ha_peer_find((struct ha_core *)c, id);

	if (!p || !p->conf.name[0])
		return false;
	if (f->name[0] && strcmp(f->name, p->conf.name)) {
		snprintf(buf, size, "node %u was %s when it was lost, and is %s in corosync.conf now", id, f->name,
			 p->conf.name);
		return true;
	}
	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct ha_peer *o = &c->peers[i];

		if (o == p || !(o->configured || o->in_group) || strcmp(o->conf.name, p->conf.name))
			continue;
		snprintf(buf, size, "%s is the name of node %u too: it would be switched off instead of node %u",
			 p->conf.name, o->conf.id, id);
		return true;
	}
	return false;
}

/*
 * The majority says so: the host is not back among them. It said so a moment ago, shorter than a
 * ring takes to form without us; what we learn later, because we stood still, we ask again.
 */
void ha_proof_agreed(struct ha_core *c, const struct ha_entry *e)
{
	int slot = ha_record_slot(&c->rec, e->node);
	struct ha_fencing *f;

	if (slot < 0 || !c->rec.nodes[slot].debt || (c->rec.nodes[slot].debt != e->debt && !MUTANT(M_OLD_DEBT)))
		return;
	f = &c->fencing[slot];
	if (f->debt != e->debt || !f->asked_ms)
		return;
	f->agreed = c->now - f->asked_ms <= c->t.token / 2;
	f->asked_ms = 0;
}

static void fence(struct ha_core *c, struct ha_fencing *f, const struct ha_node_rec *n)
{
	bool full_round = false;
	uint64_t due;

	if (f->done_ok) {
		propose_about(c, HA_E_FENCED, n, "");
		return;
	}
	if (f->done_failed) {
		propose_about(c, HA_E_FENCE_FAILED, n, f->text);
		return;
	}
	if (left_in_order(c, n) && !n->fence_ordered && !f->running && !MUTANT(M_NO_GRACE))
		return;
	if (f->running) {
		if (c->now - f->started_ms < c->t.fence) {
			ha_wake_at(c, f->started_ms + c->t.fence);
			return;
		}
		f->running = false;
		f->done_failed = true;
		ha_copy(f->text, sizeof(f->text), "no answer from the fence agent");
		ha_wake_at(c, c->now);
		return;
	}
	if (c->leaving || !my_turn(c, n, &full_round))
		return; /* who leaves would take the attempt with it; when that is told the turn is another's */
	due = MUTANT(M_NO_GRACE) ? 0 : grace_ends(c, n);
	if (full_round && f->started_ms + c->t.fence_retry > due)
		due = f->started_ms + c->t.fence_retry;
	if (c->now < due) {
		ha_wake_at(c, due);
		return;
	}
	if (!ha_lease_valid(c) || !ha_out_room(c, 1, 0))
		return;
	if (named_amiss(c, f, n->id, f->text, sizeof(f->text))) {
		ha_out_note(c, HA_WARNING, "fencing node %u failed: %s", n->id, f->text);
		f->done_failed = true;
		f->started_ms = c->now;
		ha_wake_at(c, c->now);
		return;
	}
	/*
	 * A lease outlives the moment in which its host was cut off. Until it ends, a host that the
	 * others have back may be lost by our record: so they are asked, and their answer is the commit.
	 */
	if (!f->agreed && !MUTANT(M_FENCE_UNASKED)) {
		if (propose_about(c, HA_E_FENCING, n, ""))
			f->asked_ms = c->now;
		return;
	}
	f->agreed = false;
	f->running = true;
	f->started_ms = c->now;
	ha_out_simple(c, HA_FX_FENCE, n->id, n->debt);
	ha_wake_at(c, c->now + c->t.fence);
}

/* What we remember of one debt is for that debt, and for that attempt. */
static void follow(struct ha_core *c, struct ha_fencing *f, const struct ha_node_rec *n)
{
	uint64_t in_ms = f->id == n->id && f->in == n->last_in ? f->in_ms : c->now;

	if (f->debt != n->debt || f->id != n->id) {
		if (f->running)
			ha_out_simple(c, HA_FX_FENCE_CANCEL, f->id, f->debt);
		memset(f, 0, sizeof(*f));
		f->debt = n->debt;
		f->id = n->id;
		f->seen_ms = c->now;
		remember_name(c, f, n->id);
	}
	f->in = n->last_in;
	f->in_ms = in_ms;
	if (f->attempts != n->fence_attempts) {
		f->attempts = n->fence_attempts;
		f->done_failed = false;
	}
}

static void seek_proof(struct ha_core *c, struct ha_fencing *f, const struct ha_node_rec *n)
{
	int me = ha_record_slot(&c->rec, c->me);
	uint64_t at;

	if (!n->debt || c->form.stage != ST_STANDS || me < 0 || !ha_set_has(c->rec.members, me))
		return;
	/*
	 * Rule G: our own lease had ended, so the whole ring was gone, and whoever is
	 * still missing may be on its way back.  It gets the time in which a ring forms.
	 */
	if (c->now < c->proof_from_ms) {
		ha_wake_at(c, c->proof_from_ms);
		return;
	}
	at = ha_proof_passed_at(c, n->id);
	if (ha_set_has(n->passed, me) || n->apart)
		;
	else if (c->now >= at)
		propose_about(c, HA_E_PASSED, n, "");
	else
		ha_wake_at(c, at);
	fence(c, f, n);
}

void ha_proof_tick(struct ha_core *c)
{
	bool all = !c->hosts_looked_at;

	if (all)
		c->owing = 0;
	for (uint32_t i = 0; (all || c->owing) && i < HA_NODES_MAX && c->rec.nodes[i].id; i++) {
		struct ha_fencing *f = &c->fencing[i];

		if (all)
			follow(c, f, &c->rec.nodes[i]);
		if (!f->debt)
			continue;
		c->owing |= ha_set_of(i);
		seek_proof(c, f, &c->rec.nodes[i]);
		f->agreed = false; /* what could not be done at once is asked again */
	}
}

void ha_proof_fence_done(struct ha_core *c, const struct ha_event *ev)
{
	int slot = ha_record_slot(&c->rec, ev->fence_done.node);
	struct ha_fencing *f;

	if (slot < 0)
		return;
	f = &c->fencing[slot];
	/*
	 * An answer after a cancel is of no use; but one that is late (we gave the
	 * attempt up, the debt is the same) is as true as any.
	 */
	if (!f->debt || f->debt != c->rec.nodes[slot].debt ||
	    (f->debt != ev->fence_done.debt && !MUTANT(M_OLD_DEBT)))
		return;
	if (ev->fence_done.rc == 0) {
		f->done_ok = true;
	} else if (f->running) {
		f->done_failed = true;
		ha_copy(f->text, sizeof(f->text), ev->fence_done.text);
		ha_out_note(c, HA_WARNING, "fencing %s failed: %s",
			    ha_core_node_name(c, ev->fence_done.node), f->text);
	}
	f->running = false;
}
