/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store - see store.h.
 *
 * A put goes to a queue; the worker takes the whole queue at once.  It keeps in
 * memory what the file holds (the last snapshot and what came behind it), so that a
 * snapshot, a start and a failed write all end in the same way: the whole of it
 * is written into a new file.
 */
#include "ha/store/store.h"
#include "base/lock.h"
#include "ha/store/store_int.h"

#include "base/clock.h"
#include "base/wait.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RETRY_FIRST_MS 100
#define RETRY_MOST_MS 2000
#define CALM_MS 60000

/* The answer that a put waits for. */
struct note {
	struct note *next;
	uint64_t token;
};

struct recs {
	struct store_rec *first, **tail;
};

struct notes {
	struct note *first, **tail;
};

struct store {
	qb_loop_t *loop;
	const struct store_ops *ops;
	void *arg;
	char dir[PATH_MAX - 32];
	int wake;
	pthread_t worker;
	bool started;
	char told[PATH_MAX + 128]; /* loop only: what failed() said, "" after recovered() */

	struct store_file file; /* worker only, from here */
	struct recs kept;
	struct notes waiting;  /* taken, not on disk yet */
	unsigned int pause_ms; /* between tries to write afresh; 0: all is well */
	unsigned int last_pause_ms;
	uint64_t well_ms; /* when it last recovered */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t more;
	struct recs todo;
	struct notes asked, done;
	bool stop;
	char why[PATH_MAX + 128]; /* "": all is well */
};

static void recs_init(struct recs *l)
{
	l->first = NULL;
	l->tail = &l->first;
}

static void notes_init(struct notes *l)
{
	l->first = NULL;
	l->tail = &l->first;
}

static void recs_join(struct recs *to, struct recs *from)
{
	assert(!*to->tail && !*from->tail);
	if (!from->first)
		return;
	*to->tail = from->first;
	to->tail = from->tail;
	recs_init(from);
}

static void notes_join(struct notes *to, struct notes *from)
{
	assert(!*to->tail && !*from->tail);
	if (!from->first)
		return;
	*to->tail = from->first;
	to->tail = from->tail;
	notes_init(from);
}

static void recs_free(struct store_rec *r)
{
	struct store_rec *next;

	for (; r; r = next) {
		next = r->next;
		free(r);
	}
}

static void notes_free(struct note *n)
{
	struct note *next;

	for (; n; n = next) {
		next = n->next;
		free(n);
	}
}

static void wake_loop(struct store *s)
{
	uint64_t one = 1;
	ssize_t n = write(s->wake, &one, sizeof(one));

	(void)n; /* the counter is far from full */
}

/* ------------------------------------------------------------------ worker */

/* @batch behind what is kept, and forget what its last snapshot replaces.  True: it has one. */
static bool keep(struct store *s, struct recs *batch)
{
	struct store_rec *r, **p, *snapshot = NULL;

	for (r = batch->first; r; r = r->next)
		if (r->kind == STORE_SNAPSHOT)
			snapshot = r;
	recs_join(&s->kept, batch);
	if (!snapshot)
		return false;
	for (p = &s->kept.first; *p != snapshot; p = &(*p)->next)
		;
	*p = NULL;
	recs_free(s->kept.first);
	s->kept.first = snapshot;
	assert(s->kept.tail != &s->kept.first);
	return true;
}

/* A disk that works now and then is no better: the pause goes on from where it was. */
static void set_pause(struct store *s, int rc)
{
	uint64_t now = clock_ms();

	assert(rc <= 0);
	if (rc == 0) {
		if (s->pause_ms)
			s->well_ms = now;
		s->pause_ms = 0;
		return;
	}
	if (!s->pause_ms && (!s->well_ms || now - s->well_ms > CALM_MS))
		s->last_pause_ms = 0;
	s->last_pause_ms = s->last_pause_ms ? s->last_pause_ms * 2 : RETRY_FIRST_MS;
	if (s->last_pause_ms > RETRY_MOST_MS)
		s->last_pause_ms = RETRY_MOST_MS;
	s->pause_ms = s->last_pause_ms;
	assert(s->pause_ms && s->pause_ms <= RETRY_MOST_MS);
}

static int write_batch(struct store *s, struct recs *batch)
{
	struct store_rec *first = batch->first;
	bool snapshot = keep(s, batch), afresh = snapshot || s->pause_ms;
	int rc;

	/* The core stores one of its own accord when it goes by what the others hold (copied). */
	if (snapshot)
		s->file.copied = false;
	rc = afresh ? store_file_rewrite(&s->file, s->kept.first) : store_file_append(&s->file, first);

	/* One that grew into the last room there was may do with the other file's. */
	if (rc < 0 && !afresh)
		rc = store_file_rewrite(&s->file, s->kept.first);
	set_pause(s, rc);
	return rc;
}

/* With the lock held. */
static void tell(struct store *s, int rc)
{
	if (rc == -ESTALE)
		snprintf(s->why, sizeof(s->why), "cannot write %s/record: another directory is there, or none (put the one "
						 "back that droverd was started with, or start it again)",
			 s->dir);
	else if (rc < 0)
		snprintf(s->why, sizeof(s->why), "cannot write %s/record: %s", s->dir, strerror(-rc));
	else
		s->why[0] = 0;
	if (rc == 0)
		notes_join(&s->done, &s->waiting);
	wake_loop(s);
}

/* With the lock held: until there is something to write, or it is time to try again. */
static void wait_for_work(struct store *s)
{
	uint64_t deadline;

	assert(lock_is_held(&s->lock));
	if (!s->pause_ms) {
		while (!s->todo.first && !s->stop)
			pthread_cond_wait(&s->more, &s->lock);
		return;
	}
	deadline = wait_now() + s->pause_ms * NS_PER_MS;
	while (!s->stop && wait_until(&s->more, &s->lock, deadline))
		;
}

static void *worker_main(void *arg)
{
	struct store *s = arg;
	struct recs batch;
	int rc;

	recs_init(&batch);
	pthread_mutex_lock(&s->lock);
	for (;;) {
		wait_for_work(s);
		if (s->stop && !s->todo.first)
			break;
		recs_join(&batch, &s->todo);
		notes_join(&s->waiting, &s->asked);
		assert(!s->todo.first && !s->asked.first); /* one answer for each that was asked for */
		pthread_mutex_unlock(&s->lock);
		rc = write_batch(s, &batch);
		pthread_mutex_lock(&s->lock);
		tell(s, rc);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* -------------------------------------------------------------------- loop */

static int32_t on_wake(int32_t fd, int32_t revents, void *data)
{
	struct store *s = data;
	char why[sizeof(s->why)];
	struct notes done;
	struct note *n;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return 0;
	notes_init(&done);
	pthread_mutex_lock(&s->lock);
	notes_join(&done, &s->done);
	memcpy(why, s->why, sizeof(why));
	pthread_mutex_unlock(&s->lock);
	if (!*why && *s->told) {
		s->told[0] = 0;
		s->ops->recovered(s->arg);
	}
	for (n = done.first; n; n = n->next)
		s->ops->done(s->arg, n->token);
	notes_free(done.first);
	if (*why && !*s->told) {
		memcpy(s->told, why, sizeof(why));
		s->ops->failed(s->arg, s->told);
	}
	return 0;
}

const char *store_failing(const struct store *s)
{
	return *s->told ? s->told : NULL;
}

static struct store_rec *rec_make(enum store_kind kind, const void *buf, size_t len)
{
	struct store_rec *r = malloc(sizeof(*r) + len);

	if (!r)
		return NULL;
	r->next = NULL;
	r->kind = kind;
	r->len = (uint32_t)len;
	if (len)
		memcpy(r->bytes, buf, len);
	return r;
}

static bool recs_add(struct recs *l, struct store_rec *r)
{
	if (!r)
		return false;
	assert(!*l->tail && !r->next);
	*l->tail = r;
	l->tail = &r->next;
	return true;
}

int store_put(struct store *s, enum store_kind kind, const void *buf, size_t len, uint64_t token)
{
	struct store_rec *r;
	struct note *n;

	if (len > STORE_RECORD_MAX)
		return -EMSGSIZE;
	r = rec_make(kind, buf, len);
	n = malloc(sizeof(*n));
	if (!r || !n) {
		free(r);
		free(n);
		return -ENOMEM;
	}
	*n = (struct note){ .token = token };
	pthread_mutex_lock(&s->lock);
	recs_add(&s->todo, r);
	*s->asked.tail = n;
	s->asked.tail = &n->next;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* ------------------------------------------------------------- open, close */

static int keep_image(struct store *s, const struct store_image *image, struct err *e)
{
	bool ok = true;
	size_t i;

	if (image->snapshot.bytes)
		ok = recs_add(&s->kept, rec_make(STORE_SNAPSHOT, image->snapshot.bytes,
						 image->snapshot.len));
	for (i = 0; i < image->n_entries && ok; i++)
		ok = recs_add(&s->kept, rec_make(STORE_APPEND, image->entries[i].bytes,
						 image->entries[i].len));
	return ok ? 0 : err_set(e, -ENOMEM, "out of memory");
}

/*
 * Whatever the daemon before us saw fail, and did not live to tell: what we just read
 * may be in the page cache alone.  Written afresh it is on the disk.
 */
static void write_afresh(struct store *s)
{
	int rc = store_file_rewrite(&s->file, s->kept.first);

	set_pause(s, rc);
	if (rc < 0) {
		tell(s, rc);
		memcpy(s->told, s->why, sizeof(s->told));
		s->told[sizeof(s->told) - 1] = 0;
	}
}

static int start_worker(struct store *s, struct err *e)
{
	int rc;

	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = s->wake < 0 ? -errno :
			   qb_loop_poll_add(s->loop, QB_LOOP_HIGH, s->wake, POLLIN, s, on_wake);
	if (rc < 0)
		return err_set(e, rc, "cannot watch the store: %s", strerror(-rc));
	write_afresh(s);
	rc = -pthread_create(&s->worker, NULL, worker_main, s);
	if (rc < 0)
		return err_set(e, rc, "cannot start the store's thread: %s", strerror(-rc));
	s->started = true;
	return 0;
}

static void init(struct store *s)
{
	s->wake = -1;
	recs_init(&s->kept);
	recs_init(&s->todo);
	notes_init(&s->waiting);
	notes_init(&s->asked);
	notes_init(&s->done);
	pthread_mutex_init(&s->lock, NULL);
	wait_init(&s->more);
}

int store_open(qb_loop_t *loop, const char *dir, const struct store_ops *ops, void *arg,
	       struct store **out, struct store_image *image, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));
	int rc;

	*out = NULL;
	memset(image, 0, sizeof(*image));
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->loop = loop;
	s->ops = ops;
	s->arg = arg;
	init(s);
	snprintf(s->dir, sizeof(s->dir), "%s", dir);
	rc = store_file_open(&s->file, s->dir, e);
	if (rc == 0)
		rc = store_file_load(&s->file, image, e);
	if (rc == 0)
		rc = keep_image(s, image, e);
	if (rc == 0)
		rc = start_worker(s, e);
	if (rc < 0) {
		store_image_free(image);
		store_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (s->started) {
		pthread_mutex_lock(&s->lock);
		s->stop = true;
		pthread_cond_signal(&s->more);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->worker, NULL);
	}
	if (s->wake >= 0) {
		qb_loop_poll_del(s->loop, s->wake);
		close(s->wake);
	}
	store_file_close(&s->file);
	recs_free(s->kept.first);
	recs_free(s->todo.first);
	notes_free(s->waiting.first);
	notes_free(s->asked.first);
	notes_free(s->done.first);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->more);
	free(s);
}
