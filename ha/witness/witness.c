/* SPDX-License-Identifier: Apache-2.0 */
/* witness - see witness.h. */
#include "ha/witness/witness.h"

#include "base/clock.h"
#include "base/wait.h"
#include "ha/witness/witness_disk.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define CLOSE_MS 1000

struct asked_claim {
	struct claim c;
	uint32_t nodes[CLAIM_SLOTS];
};

struct outcome {
	uint64_t epoch; /* of the claim, 0 = it was a look */
	bool ok;
	uint64_t seen;           /* the epoch in the way; a look: the largest in the slots */
	struct claim_nodes live; /* a look: whose beats go on */
	char text[480];
};

/* A beat as it was when it was found to be another than before. */
struct heard {
	struct witness_beat beat;
	uint64_t ms; /* 0 = it was never found to be another */
};

struct witness {
	qb_loop_t *loop;
	const struct witness_ops *ops;
	void *arg;
	int wake;
	pthread_t worker;
	bool started;
	qb_loop_timer_handle timer;
	bool timer_armed;
	bool told, told_ok; /* loop only: what seen() was told last */
	struct claim_nodes told_live;
	uint64_t told_newest;
	char told_text[480];

	char path[PATH_MAX]; /* worker only, from here */
	uint64_t id;
	uint32_t me;
	struct witness_beat mine;  /* as it was written last; count 0: it was not */
	struct witness_beat strange; /* one that stood in the place of ours; mark 0: none did */
	struct claim_slot claimed; /* what this daemon wrote into its slot last; epoch 0: nothing */
	struct heard heard[CLAIM_SLOTS];

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t more;
	bool stop;
	uint64_t cluster;
	struct asked_claim asked; /* epoch 0 = nothing */
	bool claim_done, look_done;
	struct outcome claim, look;
	uint64_t busy_ms; /* since when the worker is at it, 0 = it waits */
};

/* ------------------------------------------------------------------ worker */

static int wrong(struct err *e, const struct witness *w, const char *what)
{
	return err_set(e, -EBUSY, "%s: %s", w->path, what);
}

/* Nobody else may use it, nor another daemon under this host's number. */
static int check_beats(struct witness *w, uint64_t cluster, const struct witness_beat *beats, struct err *e)
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
static void hear(struct witness *w, const struct witness_beat *beats, struct claim_nodes *live)
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
static int keep_claim(struct witness *w, struct witness_disk *d, const struct claim_slots *slots, struct err *e)
{
	const struct claim_slot *mine = &slots->of[w->me];
	int rc;

	if (!w->claimed.epoch || (mine->epoch >= w->claimed.epoch && mine->cluster == w->claimed.cluster))
		return 0;
	rc = witness_disk_claim(d, w->me, &w->claimed, e);
	return rc ? rc : wrong(e, w, "what this host had claimed there was gone, and is written again: was it set back?");
}

static int check_slots(const struct witness *w, uint64_t cluster, const struct claim_slots *slots, uint64_t *newest, struct err *e)
{
	for (uint32_t i = 1; i < CLAIM_SLOTS; i++) {
		const struct claim_slot *s = &slots->of[i];

		if (s->epoch && s->cluster != cluster)
			return wrong(e, w, "the witness is another cluster's; make a new one for this");
		*newest = s->epoch > *newest ? s->epoch : *newest;
	}
	return 0;
}

static int look_at(struct witness *w, struct witness_disk *d, uint64_t cluster, struct outcome *o, struct err *e)
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

static void look(struct witness *w, uint64_t cluster, struct outcome *o)
{
	struct witness_disk d;
	struct err e = { 0 };
	int rc = witness_disk_open(&d, w->path, w->id, &e);

	*o = (struct outcome){ 0 };
	if (!rc) {
		rc = cluster ? look_at(w, &d, cluster, o, &e) : 0;
		witness_disk_close(&d);
	}
	o->ok = !rc;
	if (rc)
		snprintf(o->text, sizeof(o->text), "%s", e.text);
}

static void refused(struct outcome *o, enum claim_verdict v, uint32_t by, uint64_t epoch)
{
	if (v == CLAIM_FOREIGN) {
		snprintf(o->text, sizeof(o->text), "the witness is another cluster's");
		return;
	}
	o->seen = epoch;
	snprintf(o->text, sizeof(o->text),
		 "node %u has gone on with the witness's vote (epoch %llu), and nobody here knows what it did: it has to be here",
		 by, (unsigned long long)epoch);
}

/* The last two of the four steps (ha/core/claim.h): whatever happens, what is not granted is taken back. */
static int look_again(struct witness *w, struct witness_disk *d, const struct claim *c, const struct claim_slots *before,
		      struct outcome *o, struct err *e)
{
	struct claim_slots after;
	struct err ignored;
	int rc = witness_disk_slots(d, &after, e);

	o->ok = !rc && claim_undisturbed(c, before, &after);
	if (o->ok)
		return 0;
	if (!rc)
		snprintf(o->text, sizeof(o->text), "another host asked for the witness's vote at the same time");
	witness_disk_claim(d, w->me, &before->of[w->me], &ignored);
	return rc;
}

static int claim_on(struct witness *w, struct witness_disk *d, const struct claim *c, struct outcome *o, struct err *e)
{
	struct claim_slot mine = { .cluster = c->cluster, .epoch = c->epoch };
	struct claim_slots before;
	enum claim_verdict v;
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
		rc = look_again(w, d, c, &before, o, e);
	if (o->ok)
		w->claimed = mine;
	return rc;
}

static void claim(struct witness *w, const struct claim *c, struct outcome *o)
{
	struct witness_disk d;
	struct err e = { 0 };
	int rc = witness_disk_open(&d, w->path, w->id, &e);

	*o = (struct outcome){ .epoch = c->epoch };
	if (!rc) {
		rc = claim_on(w, &d, c, o, &e);
		witness_disk_close(&d);
	}
	if (rc) {
		o->ok = false;
		snprintf(o->text, sizeof(o->text), "%s", e.text);
	}
}

static void wake_loop(struct witness *w)
{
	uint64_t one = 1;
	ssize_t n = write(w->wake, &one, sizeof(one));

	(void)n; /* the counter is far from full */
}

/* With the lock held: until there is a claim, or it is time to look. False: to stop. */
static bool wait_for_work(struct witness *w, uint64_t look_at)
{
	while (!w->stop && !w->asked.c.epoch && wait_until(&w->more, &w->lock, look_at))
		;
	return !w->stop;
}

static void *worker_main(void *arg)
{
	struct witness *w = arg;
	uint64_t next_look = wait_now();
	struct outcome o;

	pthread_mutex_lock(&w->lock);
	while (wait_for_work(w, next_look)) {
		struct asked_claim r = w->asked;
		uint64_t cluster = w->cluster;

		w->asked.c.epoch = 0;
		w->busy_ms = clock_ms();
		pthread_mutex_unlock(&w->lock);
		r.c.nodes = r.nodes;
		if (r.c.epoch)
			claim(w, &r.c, &o);
		else
			look(w, cluster, &o);
		if (!r.c.epoch)
			next_look = wait_now() + WITNESS_LOOK_MS * NS_PER_MS;
		pthread_mutex_lock(&w->lock);
		w->busy_ms = 0;
		*(r.c.epoch ? &w->claim : &w->look) = o;
		*(r.c.epoch ? &w->claim_done : &w->look_done) = true;
		wake_loop(w);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* -------------------------------------------------------------------- loop */

static void tell_seen(struct witness *w, bool ok, const struct claim_nodes *live, uint64_t newest, const char *text)
{
	if (w->told && ok == w->told_ok && newest == w->told_newest && !memcmp(live, &w->told_live, sizeof(*live)) &&
	    !strcmp(text, w->told_text))
		return;
	w->told = true;
	w->told_ok = ok;
	w->told_live = *live;
	w->told_newest = newest;
	snprintf(w->told_text, sizeof(w->told_text), "%s", text);
	w->ops->seen(w->arg, ok, &w->told_live, newest, w->told_text);
}

static int32_t on_wake(int32_t fd, int32_t revents, void *data)
{
	struct witness *w = data;
	struct outcome claim, look;
	bool claim_done, look_done;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return 0;
	pthread_mutex_lock(&w->lock);
	claim = w->claim;
	look = w->look;
	claim_done = w->claim_done;
	look_done = w->look_done;
	w->claim_done = w->look_done = false;
	pthread_mutex_unlock(&w->lock);
	if (look_done)
		tell_seen(w, look.ok, &look.live, look.seen, look.text);
	if (claim_done)
		w->ops->claimed(w->arg, claim.epoch, claim.ok, claim.seen, claim.text);
	return 0;
}

static void on_timer(void *data);

static void arm(struct witness *w)
{
	w->timer_armed = qb_loop_timer_add(w->loop, QB_LOOP_LOW, WITNESS_SLOW_MS / 2 * QB_TIME_NS_IN_MSEC, w, on_timer,
					   &w->timer) == 0;
}

static void on_timer(void *data)
{
	char text[sizeof(((struct witness *)0)->told_text)];
	static const struct claim_nodes nobody;
	struct witness *w = data;
	uint64_t busy;

	arm(w);
	pthread_mutex_lock(&w->lock);
	busy = w->busy_ms;
	pthread_mutex_unlock(&w->lock);
	if (!busy || clock_ms() - busy < WITNESS_SLOW_MS)
		return;
	snprintf(text, sizeof(text), "%.200s: the witness's storage does not answer", w->path);
	tell_seen(w, false, &nobody, 0, text);
}

void witness_cluster(struct witness *w, uint64_t cluster)
{
	pthread_mutex_lock(&w->lock);
	w->cluster = cluster;
	pthread_mutex_unlock(&w->lock);
}

bool witness_claim(struct witness *w, const struct claim *c)
{
	bool free;

	assert(c->epoch && c->n <= CLAIM_SLOTS);
	pthread_mutex_lock(&w->lock);
	free = !w->asked.c.epoch;
	if (free) {
		w->asked.c = *c;
		memcpy(w->asked.nodes, c->nodes, c->n * sizeof(c->nodes[0]));
		pthread_cond_signal(&w->more);
	}
	pthread_mutex_unlock(&w->lock);
	return free;
}

static int start(struct witness *w, struct err *e)
{
	int rc;

	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = w->wake < 0 ? -errno : qb_loop_poll_add(w->loop, QB_LOOP_MED, w->wake, POLLIN, w, on_wake);
	if (rc < 0)
		return err_set(e, rc, "cannot watch the witness: %s", strerror(-rc));
	arm(w);
	rc = -pthread_create(&w->worker, NULL, worker_main, w);
	if (rc < 0)
		return err_set(e, rc, "cannot start the witness's thread: %s", strerror(-rc));
	w->started = true;
	return 0;
}

int witness_open(qb_loop_t *loop, const char *path, uint64_t id, uint32_t me, const struct witness_ops *ops, void *arg,
		 struct witness **out, struct err *e)
{
	struct witness *w = calloc(1, sizeof(*w));
	int rc;

	*out = NULL;
	if (!w)
		return err_set(e, -ENOMEM, "out of memory");
	assert(me && me < CLAIM_SLOTS && id);
	w->loop = loop;
	w->ops = ops;
	w->arg = arg;
	w->wake = -1;
	w->id = id;
	w->me = me;
	/* Two daemons have two; any number does. */
	if (getrandom(&w->mine.mark, sizeof(w->mine.mark), 0) < 0 || !w->mine.mark)
		w->mine.mark = clock_ns();
	snprintf(w->path, sizeof(w->path), "%s", path);
	pthread_mutex_init(&w->lock, NULL);
	wait_init(&w->more);
	rc = start(w, e);
	if (rc < 0) {
		witness_close(w);
		return rc;
	}
	*out = w;
	return 0;
}

/* False: it hangs in storage. */
static bool join(struct witness *w)
{
	struct timespec until;

	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += CLOSE_MS / 1000;
	if (!pthread_clockjoin_np(w->worker, NULL, CLOCK_MONOTONIC, &until))
		return true;
	pthread_detach(w->worker);
	return false;
}

void witness_close(struct witness *w)
{
	if (!w)
		return;
	if (w->timer_armed)
		qb_loop_timer_del(w->loop, w->timer);
	if (w->wake >= 0)
		qb_loop_poll_del(w->loop, w->wake);
	if (w->started && !join(w))
		return; /* it still uses all of this, and its process is about to end */
	if (w->wake >= 0)
		close(w->wake);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->more);
	free(w);
}
