/* SPDX-License-Identifier: Apache-2.0 */
/* witness_worker - see witness_worker.h. */
#include "ha/witness/witness_worker.h"

#include "base/child.h"
#include "base/clock.h"
#include "ha/witness/witness.h"
#include "ha/witness/witness_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME "droverd-witness"
#define LOCK_POLL_MS 200

/* A beat as it was when it was found to be another than before. */
struct heard {
	struct witness_beat beat;
	uint64_t ms; /* 0 = it was never found to be another */
};

struct worker {
	const char *path;
	uint64_t id;
	uint32_t me;
	const char *lock_path;
	int sock;
	int lock; /* -1: it is not ours yet */
	struct witness_disk disk;
	bool open;
	struct witness_beat mine;    /* as it was written last; count 0: it was not */
	struct witness_beat strange; /* one that stood in the place of ours; mark 0: none did */
	struct claim_slot claimed;   /* what this process wrote into its slot last; epoch 0: nothing */
	struct heard heard[CLAIM_SLOTS];
};

/* What went wrong before may be right with another that has the path now. */
static void drop_disk(struct worker *w)
{
	if (w->open)
		witness_disk_close(&w->disk);
	w->open = false;
}

static int use_disk(struct worker *w, struct err *e)
{
	struct err ignored;

	if (w->open && witness_disk_again(&w->disk, w->id, &ignored))
		drop_disk(w);
	if (w->open)
		return 0;
	w->open = !witness_disk_open(&w->disk, w->path, w->id, e);
	return w->open ? 0 : e->code;
}

static int wrong(struct err *e, const struct worker *w, const char *what)
{
	return err_set(e, -EBUSY, "%s: %s", w->path, what);
}

/* Nobody else may use it, nor another daemon under this host's number. */
static int check_beats(struct worker *w, uint64_t cluster, const struct witness_beat *beats, struct err *e)
{
	for (uint32_t i = 1; i < CLAIM_SLOTS; i++)
		if (beats[i].mark && beats[i].cluster != cluster)
			return wrong(e, w, "the witness is another cluster's; make a new one for this");
	if (!w->mine.count || beats[w->me].mark == w->mine.mark)
		return 0;
	/* Once it may be an older one, as storage was set back or a write came late; one that goes on is somebody's. */
	if (w->strange.mark && (beats[w->me].mark != w->strange.mark || beats[w->me].count != w->strange.count)) {
		w->strange = beats[w->me];
		return wrong(e, w, "another daemon writes there under this host's node id");
	}
	w->strange = beats[w->me];
	return 0;
}

/* Whose beat is another than at the look before writes to what we read. */
static void hear(struct worker *w, const struct witness_beat *beats, struct claim_nodes *live)
{
	uint64_t now = clock_ms();

	for (uint32_t i = 1; i < CLAIM_SLOTS; i++) {
		struct heard *h = &w->heard[i];

		if (!beats[i].mark)
			continue;
		if (h->beat.mark && (h->beat.mark != beats[i].mark || h->beat.count != beats[i].count))
			h->ms = now;
		h->beat = beats[i];
		if (h->ms && now - h->ms < WITNESS_LIVE_MS)
			claim_nodes_add(live, i);
	}
}

/* Storage that was set back, or a write of a daemon before us that came late: what we claimed is claimed. */
static int keep_claim(struct worker *w, struct witness_disk *d, const struct claim_slots *slots, struct err *e)
{
	const struct claim_slot *mine = &slots->of[w->me];
	int rc;

	if (!w->claimed.epoch || (mine->epoch >= w->claimed.epoch && mine->cluster == w->claimed.cluster))
		return 0;
	rc = witness_disk_claim(d, w->me, &w->claimed, e);
	return rc ? rc : wrong(e, w, "what this host had claimed there was gone, and is written again: was it set back?");
}

static int check_slots(const struct worker *w, uint64_t cluster, const struct claim_slots *slots, uint64_t *newest, struct err *e)
{
	for (uint32_t i = 1; i < CLAIM_SLOTS; i++) {
		const struct claim_slot *s = &slots->of[i];

		if (s->epoch && s->cluster != cluster)
			return wrong(e, w, "the witness is another cluster's; make a new one for this");
		*newest = s->epoch > *newest ? s->epoch : *newest;
	}
	return 0;
}

static int look_at(struct worker *w, struct witness_disk *d, uint64_t cluster, struct witness_said *o, struct err *e)
{
	struct witness_beat beats[CLAIM_SLOTS];
	struct claim_slots slots;
	int rc = witness_disk_beats(d, CLAIM_SLOTS, beats, e);

	if (!rc)
		rc = witness_disk_slots(d, &slots, e);
	if (!rc)
		rc = check_slots(w, cluster, &slots, &o->seen, e);
	if (!rc)
		rc = keep_claim(w, d, &slots, e);
	if (!rc)
		rc = check_beats(w, cluster, beats, e);
	if (rc)
		return rc;
	w->mine.cluster = cluster;
	w->mine.count++;
	rc = witness_disk_beat(d, w->me, &w->mine, e);
	if (rc)
		return rc;
	beats[w->me] = w->mine;
	hear(w, beats, &o->live);
	claim_nodes_add(&o->live, w->me);
	return 0;
}

static void look(struct worker *w, uint64_t cluster, struct witness_said *o)
{
	struct err e = { 0 };
	int rc = use_disk(w, &e);

	*o = (struct witness_said){ 0 };
	if (!rc && cluster)
		rc = look_at(w, &w->disk, cluster, o, &e);
	o->ok = !rc;
	if (!rc)
		return;
	drop_disk(w);
	snprintf(o->text, sizeof(o->text), "%s", e.text);
}

static void refused(struct witness_said *o, enum claim_verdict v, uint32_t by, uint64_t epoch)
{
	if (v == CLAIM_FOREIGN) {
		snprintf(o->text, sizeof(o->text), "the witness is another cluster's");
		return;
	}
	o->seen = epoch;
	snprintf(o->text, sizeof(o->text),
		 "node %u has gone on with the witness's vote (epoch %llu), and nobody here knows what it did: it has to be here, with its record of that time",
		 by, (unsigned long long)epoch);
}

/* Step 3 (ha/core/claim.h). */
static int look_again(struct witness_disk *d, const struct claim *c, const struct claim_slots *before, struct witness_said *o, struct err *e)
{
	struct claim_slots after;
	int rc = witness_disk_slots(d, &after, e);

	o->ok = !rc && claim_undisturbed(c, before, &after);
	if (!rc && !o->ok)
		snprintf(o->text, sizeof(o->text), "another host asked for the witness's vote at the same time");
	return rc;
}

static int claim_on(struct worker *w, struct witness_disk *d, const struct claim *c, struct witness_said *o, struct err *e)
{
	struct claim_slot mine = { .cluster = c->cluster, .epoch = c->epoch };
	struct claim_slots before;
	enum claim_verdict v;
	struct err ignored;
	uint64_t epoch = 0;
	uint32_t by = 0;
	int rc = witness_disk_slots(d, &before, e);

	if (!rc)
		rc = keep_claim(w, d, &before, e);
	if (rc)
		return rc;
	v = claim_judge(c, &before, &by, &epoch);
	if (v != CLAIM_MAY) {
		refused(o, v, by, epoch);
		return 0;
	}
	rc = witness_disk_claim(d, w->me, &mine, e);
	if (!rc)
		rc = look_again(d, c, &before, o, e);
	/* Whatever happened, what is not granted is taken back: a write that failed may be there all the same. */
	if (o->ok)
		w->claimed = mine;
	else
		witness_disk_claim(d, w->me, &before.of[w->me], &ignored);
	return rc;
}

static void claim(struct worker *w, const struct claim *c, struct witness_said *o)
{
	struct err e = { 0 };
	int rc = use_disk(w, &e);

	*o = (struct witness_said){ .epoch = c->epoch };
	if (!rc)
		rc = claim_on(w, &w->disk, c, o, &e);
	if (!rc)
		return;
	drop_disk(w);
	o->ok = false;
	snprintf(o->text, sizeof(o->text), "%s", e.text);
}

/* Has who asks gone? */
static bool deserted(int sock, int patience_ms)
{
	struct pollfd p = { .fd = sock };

	return poll(&p, 1, patience_ms) > 0 && p.revents & (POLLHUP | POLLERR);
}

/*
 * The one before may still be held by storage, with a write of its own on the way that would come behind
 * ours: so it is waited for, and its end is what frees the lock.  There may be several who wait; of whom
 * nobody asks anything any more none takes it, and all end.
 */
static int lock(struct worker *w, struct err *e)
{
	int rc;

	if (w->lock >= 0)
		return 0;
	w->lock = open(w->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (w->lock < 0)
		return err_errno(e, "%s: cannot open", w->lock_path);
	while ((rc = flock(w->lock, LOCK_EX | LOCK_NB)) < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		if (deserted(w->sock, LOCK_POLL_MS))
			_exit(0);
	if (!rc && deserted(w->sock, 0))
		_exit(0);
	if (!rc)
		return 0;
	rc = err_errno(e, "%s: cannot lock", w->lock_path);
	close(w->lock);
	w->lock = -1;
	return rc;
}

static void carry_out(struct worker *w, const struct witness_ask *a, struct witness_said *o)
{
	const struct claim c = {
		.me = w->me, .cluster = a->cluster, .epoch = a->epoch, .log = a->log, .nodes = a->nodes, .n = a->n
	};
	struct err e = { 0 };

	*o = (struct witness_said){ .epoch = a->epoch };
	if (lock(w, &e))
		snprintf(o->text, sizeof(o->text), "%s", e.text);
	else if (a->epoch)
		claim(w, &c, o);
	else
		look(w, a->cluster, o);
}

/* Until nobody asks any more: droverd has ended.  What is being claimed is brought to its end. */
static void serve(struct worker *w)
{
	struct witness_ask a;
	struct witness_said o;
	ssize_t n;

	for (;;) {
		n = recv(w->sock, &a, sizeof(a), 0);
		if (n < 0 && errno == EINTR)
			continue;
		/* What was asked before droverd ended, and is not begun, nobody waits for. */
		if (n != sizeof(a) || a.n > CLAIM_SLOTS || deserted(w->sock, 0))
			return;
		carry_out(w, &a, &o);
		if (send(w->sock, &o, sizeof(o), MSG_NOSIGNAL) < 0)
			return;
	}
}

/* What droverd does at a signal is its own affair. */
static void default_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void __attribute__((noreturn)) worker_main(int sock, const struct witness_worker *conf)
{
	struct worker w = { .path = conf->path, .id = conf->id, .me = conf->me, .lock_path = conf->lock_path, .sock = sock, .lock = -1 };

	default_signals();
	child_keep_only(NAME, sock); /* droverd's locks end with it, and with it alone */
	/* Two of them have two; any number does. */
	if (getrandom(&w.mine.mark, sizeof(w.mine.mark), 0) < 0 || !w.mine.mark)
		w.mine.mark = clock_ns();
	serve(&w);
	_exit(0);
}

int witness_worker_start(const struct witness_worker *conf, pid_t *pid, int *sock, struct err *e)
{
	int pair[2], rc = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_errno(e, "witness: socketpair");
	*pid = fork();
	if (!*pid)
		worker_main(pair[1], conf);
	if (*pid < 0)
		rc = err_errno(e, "witness: fork");
	close(pair[1]);
	if (rc)
		close(pair[0]);
	else
		*sock = pair[0];
	return rc;
}
