/* SPDX-License-Identifier: Apache-2.0 */
/* disk_broker - the VMM's end; see disk_broker.h. */
#include "hv/disk/disk_broker_int.h"

#include "base/helper.h"
#include "hv/disk/disk_lock_int.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct disk_broker {
	pthread_mutex_t lock; /* a question and its answer */
	struct helper helper;
};

/* --- begin and end --- */

struct broker_disks {
	const struct disk_broker_disk *disks;
	size_t n;
};

static void serve(int sock, void *arg)
{
	const struct broker_disks *d = arg;

	broker_serve(sock, d->disks, d->n);
}

int disk_broker_start(struct disk_broker **out, const struct disk_broker_disk *disks, size_t n, char *args,
		      size_t args_len, struct err *e)
{
	struct disk_broker *b = calloc(1, sizeof(*b));
	struct broker_disks served = { disks, n };
	const struct helper_role role = {
		.name = "drover-hv-disks",
		.kind = CONFINE_BROKER,
		.serve = serve,
		.arg = &served,
		.args = args,
		.args_len = args_len,
	};
	int ret;

	if (!b)
		return err_set(e, -ENOMEM, "disk broker: out of memory");
	ret = helper_start(&b->helper, &role, e);
	if (ret) {
		free(b);
		return ret;
	}
	pthread_mutex_init(&b->lock, NULL);
	*out = b;
	return 0;
}

void disk_broker_stop(struct disk_broker *b)
{
	if (!b)
		return;
	helper_stop(&b->helper);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* --- questions --- */

/* @shown: a descriptor that goes with the question, -1: none */
static int converse(int sock, const struct broker_question *q, int shown, struct broker_answer *a, int *fds, size_t *n)
{
	int none[PACKET_FDS_MAX], ret, end;
	size_t n_none;
	char closed;

	*n = 0;
	a->n_fds = 0;
	ret = packet_send(sock, q, sizeof(*q), &shown, shown >= 0);
	if (!ret)
		ret = packet_receive(sock, a, sizeof(*a), fds, n);
	if ((!ret || ret == -EMFILE) && a->n_fds) {
		end = packet_receive(sock, &closed, sizeof(closed), none, &n_none);
		ret = end ? end : ret;
	}
	while (ret && *n)
		close(fds[--*n]);
	return ret;
}

/*
 * The descriptors of the answer found no room here; it must not keep a place for what nobody has.  What else goes
 * wrong leaves nothing to talk with: whatever came next would be the answer to another question.
 */
static int not_arrived(int sock, const struct broker_question *q, const struct broker_answer *a, int ret)
{
	struct broker_question release = { .op = BROKER_RELEASE, .handle = a->handle };
	struct broker_answer ignored;
	int fds[PACKET_FDS_MAX];
	size_t n;

	if (ret == -EMFILE && q->op != BROKER_PREPARE)
		return ret;
	if (ret == -EMFILE && !converse(sock, &release, -1, &ignored, fds, &n))
		return ret;
	shutdown(sock, SHUT_RDWR);
	return DISK_BROKER_GONE;
}

/*
 * @fds: of the answer, room for PACKET_FDS_MAX.  Returns what the broker has found; there are no fds after an error.
 * #syscalls:main,gate,engine shutdown
 */
static int ask_about(struct disk_broker *b, const struct broker_question *q, int shown, struct broker_answer *a,
		     int *fds, size_t *n, struct err *e)
{
	int ret;

	pthread_mutex_lock(&b->lock);
	ret = converse(b->helper.sock, q, shown, a, fds, n);
	if (ret)
		ret = not_arrived(b->helper.sock, q, a, ret);
	pthread_mutex_unlock(&b->lock);
	if (ret == DISK_BROKER_GONE)
		return err_set(e, ret, "the process that opens disks has ended");
	if (ret)
		return err_set(e, ret, "disk %s: no room for its descriptors: %s", q->path, strerror(-ret));
	assert(!a->ret || !*n);
	if (a->ret && e)
		*e = a->err;
	return a->ret;
}

static int ask(struct disk_broker *b, const struct broker_question *q, struct broker_answer *a, int *fds, size_t *n,
	       struct err *e)
{
	return ask_about(b, q, -1, a, fds, n, e);
}

static int question(struct broker_question *q, enum broker_op op, const char *path, struct err *e)
{
	size_t len = strlen(path);

	memset(q, 0, sizeof(*q));
	q->op = op;
	if (len >= sizeof(q->path))
		return err_set(e, -ENAMETOOLONG, "disk %s: path too long", path);
	memcpy(q->path, path, len);
	return 0;
}

/* --- a lock that the broker has made --- */

struct far_keeper {
	struct disk_keeper keeper;
	struct disk_broker *b;
	uint32_t handle;
	int fd; /* of the lock */
};

static int ask_keeper(struct disk_keeper *k, enum broker_op op, const struct disk_holder *me, struct err *e)
{
	struct far_keeper *keeper = (struct far_keeper *)k;
	struct broker_question q = { .op = op, .handle = keeper->handle };
	struct broker_answer a;
	int fds[PACKET_FDS_MAX];
	size_t n;

	if (me)
		q.me = *me;
	return ask_about(keeper->b, &q, keeper->fd, &a, fds, &n, e);
}

static int keeper_commit(struct disk_keeper *k, const struct disk_holder *me, struct err *e)
{
	return ask_keeper(k, BROKER_COMMIT, me, e);
}

static int keeper_undo(struct disk_keeper *k, struct err *e)
{
	return ask_keeper(k, BROKER_UNDO, NULL, e);
}

static int keeper_named(struct disk_keeper *k, struct err *e)
{
	return ask_keeper(k, BROKER_NAMED, NULL, e);
}

static void keeper_release(struct disk_keeper *k)
{
	ask_keeper(k, BROKER_RELEASE, NULL, NULL);
	free(k);
}

/* The descriptors are @l's afterwards, also when that fails. */
static int lock_fill(struct disk_lock *l, struct disk_broker *b, const struct broker_answer *a, const int *fds, size_t n)
{
	struct far_keeper *k = calloc(1, sizeof(*k));

	assert(n);
	l->fd = fds[0];
	l->below.fds = calloc(n, sizeof(int));
	if (!k || !l->below.fds) {
		for (size_t i = 1; i < n; i++)
			close(fds[i]);
		free(k);
		return -ENOMEM;
	}
	memcpy(l->below.fds, fds + 1, (n - 1) * sizeof(int));
	l->below.n = n - 1;
	l->has_last = a->has_last;
	l->last = a->last;
	k->keeper = (struct disk_keeper){ keeper_commit, keeper_undo, keeper_named, keeper_release };
	k->b = b;
	k->handle = a->handle;
	k->fd = l->fd;
	l->keeper = &k->keeper;
	return 0;
}

int disk_broker_prepare(struct disk_broker *b, const char *path, bool readonly, bool unmounted,
			struct disk_lock **out, struct disk_store *store, struct err *e)
{
	struct disk_lock *l;
	struct broker_question q;
	struct broker_answer a;
	int fds[PACKET_FDS_MAX], ret;
	size_t n;

	if (!b)
		return disk_here_prepare(path, readonly, unmounted, out, store, e);
	ret = question(&q, BROKER_PREPARE, path, e);
	if (ret)
		return ret;
	l = disk_lock_new(path, readonly, e);
	if (!l)
		return -ENOMEM;
	q.readonly = readonly;
	q.unmounted = unmounted;
	ret = ask(b, &q, &a, fds, &n, e);
	if (!ret && lock_fill(l, b, &a, fds, n)) {
		ret = err_set(e, -ENOMEM, "disk %s: no memory", path);
		q = (struct broker_question){ .op = BROKER_RELEASE, .handle = a.handle };
		ask_about(b, &q, l->fd, &a, fds, &n, NULL);
	}
	if (ret) {
		disk_lock_release(l);
		return ret;
	}
	*store = a.store;
	*out = l;
	return 0;
}

int disk_broker_probe(struct disk_broker *b, const char *path, bool readonly, int *fd, struct disk_store *store,
		      struct err *e)
{
	struct broker_question q;
	struct broker_answer a;
	int fds[PACKET_FDS_MAX], ret;
	size_t n;

	if (!b)
		return disk_here_probe(path, readonly, fd, store, e);
	ret = question(&q, BROKER_PROBE, path, e);
	q.readonly = readonly;
	if (!ret)
		ret = ask(b, &q, &a, fds, &n, e);
	if (ret)
		return ret;
	assert(n == 1);
	*fd = fds[0];
	*store = a.store;
	return 0;
}

int disk_broker_record(struct disk_broker *b, const char *path, struct disk_holder *out, struct err *e)
{
	struct broker_question q;
	struct broker_answer a = { 0 };
	int fds[PACKET_FDS_MAX], ret;
	size_t n;

	if (!b)
		return disk_lock_record(path, NULL, out, e);
	ret = question(&q, BROKER_RECORD, path, e);
	q.readonly = true;
	if (!ret)
		ret = ask(b, &q, &a, fds, &n, e);
	if (!ret)
		*out = a.last;
	return ret;
}

bool disk_broker_arbitrates(struct disk_broker *b, const char *path)
{
	struct broker_question q;
	struct broker_answer a;
	int fds[PACKET_FDS_MAX];
	size_t n;

	if (!b)
		return disk_lock_arbitrates(path);
	if (question(&q, BROKER_ARBITRATES, path, NULL))
		return false;
	q.readonly = true;
	return !ask(b, &q, &a, fds, &n, NULL) && a.yes;
}
