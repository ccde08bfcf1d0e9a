/* SPDX-License-Identifier: Apache-2.0 */
/* fake_net - see fake_net.h. */
#include "tests/unit/migrate/fake_net.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/wait.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct faulty {
	struct stream s;
	struct stream *below;
	struct fake_net *net;
	int side; /* who writes here */
	_Atomic uint64_t wait_ns;
};

static struct faulty *from_stream(struct stream *s)
{
	return (struct faulty *)s;
}

void fake_net_init(struct fake_net *n)
{
	memset(n, 0, sizeof(*n));
	pthread_mutex_init(&n->lock, NULL);
	wait_init(&n->cond);
}

void fake_net_free(struct fake_net *n)
{
	unsigned int i;

	for (i = 0; i < n->n_waiting; i++)
		stream_close(n->waiting[i]);
	for (i = 0; i < n->n_fds; i++)
		close(n->fds[i]);
	pthread_cond_destroy(&n->cond);
	pthread_mutex_destroy(&n->lock);
}

void fake_net_cut(struct fake_net *n)
{
	unsigned int i;

	atomic_store(&n->cut, true);
	pthread_mutex_lock(&n->lock);
	for (i = 0; i < n->n_fds; i++)
		shutdown(n->fds[i], SHUT_RDWR);
	pthread_mutex_unlock(&n->lock);
}

static uint16_t type_of(const struct iovec *iov)
{
	uint16_t type;

	memcpy(&type, iov[0].iov_base, 2);
	return le16toh(type);
}

/* Counts the record, and tells whether the plan's fault comes with it. */
static enum fake_fault fault_with(struct fake_net *n, int side, uint16_t type)
{
	unsigned int before = atomic_fetch_add(&n->sent[side][fake_type(type)], 1);

	return side == n->fault_side && type == n->fault_type && before == n->fault_at ?
		       n->fault :
		       FAULT_NONE;
}

static size_t total_len(const struct iovec *iov, int n)
{
	size_t len = 0;
	int i;

	for (i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

/* The same bytes in one piece, so that they can be damaged. */
static int write_damaged(struct faulty *f, const struct iovec *iov, int n, enum fake_fault fault,
			 int timeout_ms, struct err *e)
{
	size_t len = total_len(iov, n), at = 0;
	uint8_t *copy = malloc(len);
	struct iovec one;
	int i, rc;

	assert(len && copy);
	for (i = 0; i < n; i++) {
		memcpy(copy + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	if (fault == FAULT_FLIP)
		copy[len - 1 - len / 3] ^= 0x10;
	else if (fault == FAULT_TRUNCATE)
		len--;
	else
		len /= 2;
	one = (struct iovec){ copy, len };
	rc = stream_writev(f->below, &one, 1, timeout_ms, e);
	free(copy);
	return rc;
}

static void pace(struct faulty *f, size_t len)
{
	uint64_t ns = (uint64_t)((double)len * 1e9 / (double)f->net->rate);
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	if (len < 1024)
		return;
	nanosleep(&t, NULL);
	atomic_fetch_add(&f->wait_ns, ns);
}

static int f_writev(struct stream *s, struct iovec *iov, int n, int timeout_ms, struct err *e)
{
	struct faulty *f = from_stream(s);
	struct fake_net *net = f->net;
	enum fake_fault fault = fault_with(net, f->side, type_of(iov));
	int rc;

	if (net->rate)
		pace(f, total_len(iov, n));
	if (fault == FAULT_CUT_BEFORE)
		fake_net_cut(net);
	if (fault == FAULT_SILENCE)
		atomic_store(&net->silent, true);
	if (atomic_load(&net->silent))
		return 0;
	if (fault == FAULT_CUT_MIDDLE || fault == FAULT_FLIP || fault == FAULT_TRUNCATE)
		rc = write_damaged(f, iov, n, fault, timeout_ms, e);
	else
		rc = stream_writev(f->below, iov, n, timeout_ms, e);
	if (fault == FAULT_CUT_AFTER || fault == FAULT_CUT_MIDDLE)
		fake_net_cut(net);
	return rc;
}

static ssize_t f_readv(struct stream *s, const struct iovec *iov, int n, int timeout_ms,
		       struct err *e)
{
	struct faulty *f = from_stream(s);

	return f->below->ops->readv(f->below, iov, n, timeout_ms, e);
}

static void f_shutdown(struct stream *s)
{
	stream_shutdown(from_stream(s)->below);
}

static void f_close(struct stream *s)
{
	stream_close(from_stream(s)->below);
	free(s);
}

static uint64_t f_send_wait_ns(struct stream *s)
{
	struct faulty *f = from_stream(s);

	return stream_send_wait_ns(f->below) + atomic_load(&f->wait_ns);
}

static void f_set_dead_ms(struct stream *s, unsigned int ms)
{
}

static const struct stream_ops faulty_ops = {
	.writev = f_writev,
	.readv = f_readv,
	.shutdown = f_shutdown,
	.close = f_close,
	.send_wait_ns = f_send_wait_ns,
	.set_dead_ms = f_set_dead_ms,
};

static struct stream *wrap(struct fake_net *n, int fd, int side)
{
	struct faulty *f = calloc(1, sizeof(*f));
	struct err e;

	f->s.ops = &faulty_ops;
	f->net = n;
	f->side = side;
	snprintf(f->s.peer, sizeof(f->s.peer), "fake:%d", !side);
	n->fds[n->n_fds++] = dup(fd); /* ours, valid as long as the net is */
	if (stream_from_fd(fd, f->s.peer, &f->below, &e))
		abort();
	return &f->s;
}

static int connect_fake(void *arg, int timeout_ms, struct stream **out, struct err *e)
{
	struct fake_net *n = arg;
	int fds[2];

	if (atomic_load(&n->cut))
		return err_set(e, -ECONNREFUSED, "fake: cut");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds))
		abort();
	pthread_mutex_lock(&n->lock);
	*out = wrap(n, fds[0], 0);
	n->waiting[n->n_waiting++] = wrap(n, fds[1], 1);
	pthread_cond_broadcast(&n->cond);
	pthread_mutex_unlock(&n->lock);
	return 0;
}

static int accept_fake(void *arg, int timeout_ms, struct stream **out, struct err *e)
{
	struct fake_net *n = arg;
	uint64_t deadline = wait_now() + (uint64_t)timeout_ms * NS_PER_MS;
	int rc;

	pthread_mutex_lock(&n->lock);
	while (!n->n_waiting && wait_until(&n->cond, &n->lock, deadline))
		;
	rc = n->n_waiting ? 0 : err_set(e, -ETIMEDOUT, "fake: nobody connected");
	if (!rc) {
		*out = n->waiting[0];
		memmove(n->waiting, n->waiting + 1, --n->n_waiting * sizeof(n->waiting[0]));
	}
	pthread_mutex_unlock(&n->lock);
	return rc;
}

struct migrate_link fake_net_source(struct fake_net *n)
{
	return (struct migrate_link){ .open = connect_fake, .arg = n };
}

struct migrate_link fake_net_destination(struct fake_net *n)
{
	return (struct migrate_link){ .open = accept_fake, .arg = n };
}
