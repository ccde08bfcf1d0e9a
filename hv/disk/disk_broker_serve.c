/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_broker_serve - the broker's end (disk_broker.h): one question after the other, one thread.
 *
 * For each lock it has given it keeps where the record is, and whom it named: so a VMM can have the record of
 * a disk written whose lock it shows, and nothing else.
 */
#include "hv/disk/disk_broker_int.h"
#include "hv/disk/disk_lock_int.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What was open of the lock is the VMM's. */
struct given {
	struct disk_lock *lock; /* NULL: none */
	dev_t dev;              /* the disk */
	ino_t ino;
};

struct broker {
	int sock;
	const struct disk_broker_disk *disks;
	size_t n_disks;
	struct given given[BROKER_LOCKS_MAX]; /* by handle */
};

/* --- what may be asked --- */

static int check_path(const struct broker *b, struct broker_question *q, struct err *e)
{
	q->path[sizeof(q->path) - 1] = '\0';
	if (q->readonly > 1 || q->unmounted > 1)
		return err_set(e, -EINVAL, "disk %s: neither yes nor no", q->path);
	for (size_t i = 0; i < b->n_disks; i++)
		if (!strcmp(b->disks[i].path, q->path) && (q->readonly || !b->disks[i].readonly))
			return 0;
	return err_set(e, -EPERM, "disk %s: not one that this VMM was started with", q->path);
}

/*
 * Is @fd that disk, and nobody else's by its lock?  Not taken again: a lock that a server took away is to stay
 * lost (hv/disk/disk_lock.h).
 */
static bool shows_lock(const struct given *g, int fd)
{
	struct flock l = { .l_type = g->lock->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
	struct stat st;

	return !fstat(fd, &st) && st.st_dev == g->dev && st.st_ino == g->ino && !fcntl(fd, F_OFD_GETLK, &l) &&
	       l.l_type == F_UNLCK;
}

static struct given *given_of(struct broker *b, const struct broker_question *q, const int *fds, size_t n, struct err *e)
{
	struct given *g = q->handle < BROKER_LOCKS_MAX ? &b->given[q->handle] : NULL;

	if (g && g->lock && n == 1 && shows_lock(g, fds[0]))
		return g;
	if (g && g->lock && !n && q->op == BROKER_RELEASE)
		return g;
	err_set(e, -EINVAL, "disk: there is no lock %u, or it is not there any more", q->handle);
	return NULL;
}

static void end_strings(struct disk_holder *h)
{
	h->domain[sizeof(h->domain) - 1] = '\0';
	h->host[sizeof(h->host) - 1] = '\0';
	h->cluster[sizeof(h->cluster) - 1] = '\0';
	h->nonce[sizeof(h->nonce) - 1] = '\0';
}

/* --- answers --- */

static int prepare(struct broker *b, const struct broker_question *q, struct broker_answer *a, int *fds, size_t *n)
{
	struct disk_lock *l;
	uint32_t handle = 0;
	struct stat st;
	int ret;

	while (handle < BROKER_LOCKS_MAX && b->given[handle].lock)
		handle++;
	if (handle == BROKER_LOCKS_MAX)
		return err_set(&a->err, -EMFILE, "disk %s: %d are locked already", q->path, BROKER_LOCKS_MAX);
	ret = disk_here_prepare(q->path, q->readonly, q->unmounted, &l, &a->store, &a->err);
	if (ret)
		return ret;
	if (l->below.n >= PACKET_FDS_MAX)
		ret = err_set(&a->err, -E2BIG, "disk %s: stands on %zu others", q->path, l->below.n);
	else if (fstat(l->fd, &st))
		ret = err_errno(&a->err, "disk %s", q->path);
	if (ret) {
		disk_lock_release(l);
		return ret;
	}
	b->given[handle] = (struct given){ l, st.st_dev, st.st_ino };
	a->handle = handle;
	a->has_last = l->has_last;
	a->last = l->last;
	fds[(*n)++] = l->fd;
	for (size_t i = 0; i < l->below.n; i++)
		fds[(*n)++] = l->below.fds[i];
	return 0;
}

static int probe(const struct broker_question *q, struct broker_answer *a, int *fds, size_t *n)
{
	int ret = disk_here_probe(q->path, q->readonly, &fds[0], &a->store, &a->err);

	*n = ret ? 0 : 1;
	return ret;
}

static int about_path(struct broker *b, struct broker_question *q, struct broker_answer *a, int *fds, size_t *n)
{
	int ret = check_path(b, q, &a->err);

	if (ret)
		return ret;
	switch (q->op) {
	case BROKER_PREPARE:
		return prepare(b, q, a, fds, n);
	case BROKER_PROBE:
		return probe(q, a, fds, n);
	case BROKER_RECORD:
		return disk_lock_record(q->path, NULL, &a->last, &a->err);
	default:
		assert(q->op == BROKER_ARBITRATES);
		a->yes = disk_lock_arbitrates(q->path);
		return 0;
	}
}

static int about_lock(struct broker *b, struct broker_question *q, const int *fds, size_t n, struct err *e)
{
	struct given *g = given_of(b, q, fds, n, e);
	struct disk_lock *l;

	if (!g)
		return -EINVAL;
	l = g->lock;
	switch (q->op) {
	case BROKER_COMMIT:
		end_strings(&q->me);
		return disk_lock_commit(l, &q->me, e);
	case BROKER_UNDO:
		return disk_lock_undo(l, e);
	case BROKER_NAMED:
		return disk_lock_leads(l->path, fds[0], e);
	default:
		assert(q->op == BROKER_RELEASE);
		g->lock = NULL;
		l->reserved &= n == 1; /* who shows no lock may not have it, and what lies there may be another's */
		disk_lock_release(l);
		return 0;
	}
}

/* @shown: the VMM's descriptors, that come with the question */
static int answer(struct broker *b, struct broker_question *q, int *shown, size_t n_shown)
{
	static const char closed = BROKER_CLOSED;
	struct broker_answer a = { 0 };
	int fds[PACKET_FDS_MAX];
	size_t n = 0;
	int ret;

	if (q->op <= BROKER_ARBITRATES)
		a.ret = about_path(b, q, &a, fds, &n);
	else if (q->op <= BROKER_RELEASE)
		a.ret = about_lock(b, q, shown, n_shown, &a.err);
	else
		a.ret = err_set(&a.err, -EINVAL, "disk: there is no question %u", q->op);
	while (n_shown)
		close(shown[--n_shown]);
	a.n_fds = (uint32_t)n;
	ret = packet_send(b->sock, &a, sizeof(a), fds, n);
	if (!n)
		return ret;
	/* The VMM has them now, and with it they go. */
	if (q->op == BROKER_PREPARE)
		disk_lock_hand_over(b->given[a.handle].lock);
	else
		close(fds[0]);
	return ret ? ret : packet_send(b->sock, &closed, sizeof(closed), NULL, 0);
}

void broker_serve(int sock, const struct disk_broker_disk *disks, size_t n)
{
	struct broker b = { .sock = sock, .disks = disks, .n_disks = n };
	struct broker_question q;
	int fds[PACKET_FDS_MAX];
	size_t n_fds;

	while (!packet_receive(sock, &q, sizeof(q), fds, &n_fds))
		if (answer(&b, &q, fds, n_fds))
			return;
}
