/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store - see store.h.
 *
 * A put goes to a queue; the worker takes the whole queue at once:
 *
 *   appends      one fdatasync for all of them
 *   a snapshot   `record.new`, fsync, rename over `record`, fsync of the
 *                directory; later appends go behind it
 *
 * so a crash at any instant leaves either the old file or the new one, and at
 * most a torn tail that nobody was promised.  A failed write or sync is final:
 * after a failed fsync the page cache may lie about what is on disk, so the
 * worker stops and says so instead of trying again.
 */
#include "ha/store.h"
#include "ha/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct job {
	struct job *next;
	enum store_kind kind;
	uint64_t token;
	size_t len;
	uint8_t bytes[];                /* STORE_RECORD_HEAD, then the payload */
};

struct store {
	qb_loop_t *loop;
	const struct store_ops *ops;
	void *arg;
	char dir[PATH_MAX - 32];
	int dirfd, lockfd, wake;
	pthread_t worker;
	bool started;

	int fd;                         /* worker only */

	pthread_mutex_t lock;           /* guards what follows */
	pthread_cond_t more;
	struct job *todo, **todo_tail;
	struct job *done, **done_tail;
	bool stop, failed;
	char why[PATH_MAX + 128];
};

static int write_all(int fd, const uint8_t *p, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_job(int fd, const struct job *j)
{
	return write_all(fd, j->bytes, j->len);
}

/* A snapshot: a new file takes the place of the old one as a whole. */
static int swap_file(struct store *s, const struct job *snapshot)
{
	uint8_t head[STORE_HEADER_LEN];
	int fd, rc;

	fd = openat(s->dirfd, "record.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	store_put_header(head);
	rc = write_all(fd, head, sizeof(head));
	if (rc == 0)
		rc = write_job(fd, snapshot);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (rc == 0 && renameat(s->dirfd, "record.new", s->dirfd, "record") < 0)
		rc = -errno;
	if (rc == 0 && fsync(s->dirfd) < 0)
		rc = -errno;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	close(s->fd);
	s->fd = fd;
	return 0;
}

/* Everything in @list, on disk. */
static int write_batch(struct store *s, const struct job *list)
{
	const struct job *j;
	bool unsynced = false;
	int rc = 0;

	for (j = list; j && rc == 0; j = j->next) {
		if (j->kind == STORE_SNAPSHOT) {
			rc = swap_file(s, j);
			unsynced = false;
		} else {
			rc = write_job(s->fd, j);
			unsynced = true;
		}
	}
	if (rc == 0 && unsynced && fdatasync(s->fd) < 0)
		rc = -errno;
	return rc;
}

static void wake_loop(struct store *s)
{
	uint64_t one = 1;
	ssize_t n = write(s->wake, &one, sizeof(one));

	(void)n; /* the counter is far from full */
}

static void *worker_main(void *arg)
{
	struct store *s = arg;
	struct job *list, **tail;
	int rc;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!s->todo && !s->stop)
			pthread_cond_wait(&s->more, &s->lock);
		if (!s->todo || s->failed)
			break;
		list = s->todo;
		tail = s->todo_tail;
		s->todo = NULL;
		s->todo_tail = &s->todo;
		pthread_mutex_unlock(&s->lock);
		rc = write_batch(s, list);
		pthread_mutex_lock(&s->lock);
		*s->done_tail = list;
		s->done_tail = tail;
		if (rc < 0) {
			s->failed = true;
			snprintf(s->why, sizeof(s->why), "cannot write %s/record: %s", s->dir,
				 strerror(-rc));
			wake_loop(s);
			break;
		}
		wake_loop(s);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void free_jobs(struct job *j)
{
	struct job *next;

	for (; j; j = next) {
		next = j->next;
		free(j);
	}
}

static int32_t on_wake(int32_t fd, int32_t revents, void *data)
{
	struct store *s = data;
	struct job *list, *j;
	bool failed;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0)
		return 0;
	pthread_mutex_lock(&s->lock);
	list = s->done;
	s->done = NULL;
	s->done_tail = &s->done;
	failed = s->failed;
	pthread_mutex_unlock(&s->lock);
	if (failed) {
		free_jobs(list); /* not known to be on disk: never reported */
		s->ops->failed(s->arg, s->why);
		return 0;
	}
	for (j = list; j; j = j->next)
		s->ops->done(s->arg, j->token);
	free_jobs(list);
	return 0;
}

static struct job *job_make(enum store_kind kind, const void *buf, size_t len, uint64_t token)
{
	struct job *j = malloc(sizeof(*j) + STORE_RECORD_HEAD + len);

	if (!j)
		return NULL;
	j->next = NULL;
	j->kind = kind;
	j->token = token;
	j->len = STORE_RECORD_HEAD + len;
	if (len)
		memcpy(j->bytes + STORE_RECORD_HEAD, buf, len);
	store_put_record_head(j->bytes, kind, j->bytes + STORE_RECORD_HEAD, (uint32_t)len);
	return j;
}

int store_put(struct store *s, enum store_kind kind, const void *buf, size_t len, uint64_t token)
{
	struct job *j;

	if (len > STORE_RECORD_MAX)
		return -EMSGSIZE;
	j = job_make(kind, buf, len, token);
	if (!j)
		return -ENOMEM;
	pthread_mutex_lock(&s->lock);
	*s->todo_tail = j;
	s->todo_tail = &j->next;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/*
 * A droverd that was killed is gone for its parent before its last thread has come back from fsync(2);
 * until then it holds the lock.  Whoever is started in its place waits a moment for that.
 */
static int lock_patiently(int fd)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000000L };
	int tries = 40;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (!--tries)
			return -1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* The directory, and the lock that keeps a second droverd out of it. */
static int open_dir(struct store *s, struct err *e)
{
	if (mkdir(s->dir, 0700) < 0 && errno != EEXIST)
		return err_errno(e, "cannot create %s", s->dir);
	s->dirfd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dirfd < 0)
		return err_errno(e, "cannot open %s", s->dir);
	s->lockfd = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lockfd < 0)
		return err_errno(e, "cannot open %s/lock", s->dir);
	if (lock_patiently(s->lockfd) < 0)
		return err_set(e, -EBUSY, "%s: another droverd uses this directory", s->dir);
	return 0;
}

static int create_file(struct store *s, struct err *e)
{
	uint8_t head[STORE_HEADER_LEN];

	store_put_header(head);
	if (write_all(s->fd, head, sizeof(head)) < 0 || fsync(s->fd) < 0 || fsync(s->dirfd) < 0)
		return err_errno(e, "cannot write %s/record", s->dir);
	return 0;
}

/* Read the file, cut a torn tail off, leave the offset at the end. */
static int load_file(struct store *s, struct store_image *image, struct err *e)
{
	size_t good, have = 0;
	uint8_t *buf = NULL;
	struct stat st;
	ssize_t n;
	int rc;

	s->fd = openat(s->dirfd, "record", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->fd < 0 || fstat(s->fd, &st) < 0)
		return err_errno(e, "cannot open %s/record", s->dir);
	/* Shorter than a header: the crash came inside the very first write. */
	if (st.st_size < STORE_HEADER_LEN) {
		if (ftruncate(s->fd, 0) < 0)
			return err_errno(e, "cannot truncate %s/record", s->dir);
		return create_file(s, e);
	}
	buf = malloc((size_t)st.st_size);
	if (!buf)
		return err_set(e, -ENOMEM, "out of memory");
	while (have < (size_t)st.st_size) {
		n = pread(s->fd, buf + have, (size_t)st.st_size - have, (off_t)have);
		if (n <= 0) {
			rc = err_errno(e, "cannot read %s/record", s->dir);
			goto out;
		}
		have += (size_t)n;
	}
	rc = store_parse(buf, have, image, &good, e);
	if (rc < 0) {
		err_prefix(e, "%s/record", s->dir);
		goto out;
	}
	if (image->cut && (ftruncate(s->fd, (off_t)good) < 0 || fsync(s->fd) < 0))
		rc = err_errno(e, "cannot cut the torn tail of %s/record", s->dir);
	else if (lseek(s->fd, (off_t)good, SEEK_SET) < 0)
		rc = err_errno(e, "cannot seek in %s/record", s->dir);
out:
	free(buf);
	return rc;
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
	s->fd = s->dirfd = s->lockfd = s->wake = -1;
	s->todo_tail = &s->todo;
	s->done_tail = &s->done;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->more, NULL);
	snprintf(s->dir, sizeof(s->dir), "%s", dir);
	rc = open_dir(s, e);
	if (rc == 0)
		rc = load_file(s, image, e);
	if (rc < 0)
		goto out_close;
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = s->wake < 0 ? -errno : qb_loop_poll_add(loop, QB_LOOP_HIGH, s->wake, POLLIN, s, on_wake);
	if (rc < 0) {
		rc = err_set(e, rc, "cannot watch the store: %s", strerror(-rc));
		goto out_close;
	}
	rc = -pthread_create(&s->worker, NULL, worker_main, s);
	if (rc < 0) {
		rc = err_set(e, rc, "cannot start the store's thread: %s", strerror(-rc));
		goto out_close;
	}
	s->started = true;
	*out = s;
	return 0;
out_close:
	store_image_free(image);
	store_close(s);
	return rc;
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
	if (s->fd >= 0)
		close(s->fd);
	if (s->dirfd >= 0)
		close(s->dirfd);
	if (s->lockfd >= 0)
		close(s->lockfd);
	free_jobs(s->todo);
	free_jobs(s->done);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->more);
	free(s);
}
