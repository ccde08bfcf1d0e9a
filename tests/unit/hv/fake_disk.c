/* SPDX-License-Identifier: Apache-2.0 */
/* fake_disk - see fake_disk.h. */
#include "fake_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct fake_disk *fake_disk;

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake disk: %s\n", what);
	abort();
}

uint64_t fake_random(uint64_t *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1dull >> 11;
}

uint64_t fake_moment(struct fake_disk *f)
{
	return ++f->now;
}

struct fake_disk *fake_new(uint32_t sector, uint64_t seed)
{
	struct fake_disk *f = calloc(1, sizeof(*f));

	need(f, "no memory");
	f->block.sector = sector;
	f->block.event_fd = -1;
	f->seed = seed * 2 + 1;
	fake_disk = f;
	return f;
}

void fake_free(struct fake_disk *f)
{
	for (size_t i = 0; i < f->n_log; i++)
		free(f->log[i].data);
	free(f->log);
	free(f);
}

static struct fake_disk *fake_of(struct block *b)
{
	return (struct fake_disk *)b;
}

/* --- the format --- */

static int fake_open(const struct block_open_args *a, struct block **out, struct err *e)
{
	struct fake_disk *f = fake_disk;

	(void)e;
	if (f->open) {
		f = calloc(1, sizeof(*f));
		need(f, "no memory");
		f->own = true;
		f->block.sector = fake_disk->block.sector;
		f->seed = fake_disk->seed;
	}
	f->open = true;
	f->fd = a->fd;
	f->shared_event = a->event_fd;
	f->block.event_fd = a->event_fd ? *a->event_fd : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	need(f->block.event_fd >= 0, "eventfd");
	*out = &f->block;
	return 0;
}

static void fake_close(struct block *b)
{
	struct fake_disk *f = fake_of(b);

	if (!f->shared_event)
		close(b->event_fd);
	b->event_fd = -1;
	f->open = false;
	if (f->own)
		fake_free(f);
}

static int fake_flush(struct block *b, bool *kept)
{
	(void)b;
	(void)kept;
	return 0;
}

static void gather(const struct block_req *r, uint8_t *out)
{
	for (unsigned int i = 0; i < r->n_iov; i++) {
		memcpy(out, r->iov[i].iov_base, r->iov[i].iov_len);
		out += r->iov[i].iov_len;
	}
}

static size_t log_add(struct fake_disk *f, const struct block_req *r)
{
	struct fake_event *ev;

	if (f->n_log == f->room) {
		f->room = f->room ? 2 * f->room : 256;
		f->log = realloc(f->log, f->room * sizeof(*f->log));
		need(f->log, "no memory");
	}
	ev = &f->log[f->n_log];
	*ev = (struct fake_event){ .at = r->offset, .len = r->len, .issued = fake_moment(f), .done = UINT64_MAX };
	ev->durable = r->durable && r->op != BLOCK_FLUSH;
	ev->kind = r->op == BLOCK_FLUSH ? FAKE_SYNC : r->op == BLOCK_WRITE ? FAKE_WRITE :
									     FAKE_ZERO;
	if (ev->kind == FAKE_WRITE) {
		ev->data = malloc(r->len);
		need(ev->data, "no memory");
		gather(r, ev->data);
	}
	return f->n_log++;
}

static int fake_queue(struct block *b, struct block_req *r)
{
	struct fake_disk *f = fake_of(b);
	uint64_t sum = 0;

	need(f->n_pending < FAKE_PENDING_MAX, "more in flight than there is room for");
	need(r->op == BLOCK_FLUSH || r->op == BLOCK_DISCARD || (!(r->offset % b->sector) && !(r->len % b->sector)),
	     "not whole sectors");
	if (r->op == BLOCK_READ || r->op == BLOCK_WRITE) {
		for (unsigned int i = 0; i < r->n_iov; i++)
			sum += r->iov[i].iov_len;
		need(sum == r->len, "vectors and length differ");
	}
	f->pending_event[f->n_pending] = r->op == BLOCK_READ ? SIZE_MAX : log_add(f, r);
	f->pending[f->n_pending++] = r;
	return 0;
}

static void fake_kick(struct block *b)
{
	if (fake_of(b)->n_pending)
		eventfd_write(b->event_fd, 1);
}

static void do_read(struct fake_disk *f, struct block_req *r)
{
	uint64_t at = r->offset;

	for (unsigned int i = 0; i < r->n_iov; i++) {
		uint8_t *p = r->iov[i].iov_base;
		ssize_t n = pread(f->fd, p, r->iov[i].iov_len, (off_t)at);

		need(n >= 0 && (r->past_end || (size_t)n == r->iov[i].iov_len), "a read behind the end of the file");
		memset(p + n, 0, r->iov[i].iov_len - (size_t)n);
		at += r->iov[i].iov_len;
	}
}

static void put_zeroes(int fd, uint64_t at, uint64_t len)
{
	struct stat st;
	uint8_t *p;

	need(!fstat(fd, &st), "fstat");
	if (at >= (uint64_t)st.st_size)
		return;
	if (len > (uint64_t)st.st_size - at)
		len = (uint64_t)st.st_size - at;
	p = calloc(1, len);
	need(p && pwrite(fd, p, len, (off_t)at) == (ssize_t)len, "zeroes");
	free(p);
}

static int fails(struct fake_disk *f, const struct block_req *r)
{
	if (r->op == BLOCK_READ)
		return 0;
	if (f->fail_one_in && fake_random(&f->seed) % f->fail_one_in == 0)
		return -EIO;
	if (!f->failing)
		return 0;
	if (f->fail_after) {
		f->fail_after--;
		return 0;
	}
	return -EIO;
}

static int carry_out(struct fake_disk *f, struct block_req *r, size_t event)
{
	int ret = fails(f, r);

	if (r->op == BLOCK_READ) {
		do_read(f, r);
		return 0;
	}
	if (ret) {
		if (r->op != BLOCK_FLUSH) {
			f->log[event].failed = true;
			f->log[event].done = fake_moment(f);
		}
		return ret;
	}
	if (r->op == BLOCK_WRITE)
		need(pwrite(f->fd, f->log[event].data, r->len, (off_t)r->offset) == (ssize_t)r->len, "write");
	else if (r->op != BLOCK_FLUSH)
		put_zeroes(f->fd, r->offset, r->len);
	f->log[event].done = fake_moment(f);
	return 0;
}

static void fake_reap(struct block *b)
{
	struct fake_disk *f = fake_of(b);
	eventfd_t count;
	size_t n;

	if (!f->shared_event)
		eventfd_read(b->event_fd, &count);
	for (n = f->n_pending ? 1 + fake_random(&f->seed) % f->n_pending : 0; n; n--) {
		size_t i = fake_random(&f->seed) % f->n_pending;
		struct block_req *r = f->pending[i];
		size_t event = f->pending_event[i];
		int ret = carry_out(f, r, event);

		f->n_pending--;
		f->pending[i] = f->pending[f->n_pending];
		f->pending_event[i] = f->pending_event[f->n_pending];
		for (unsigned int k = 0; k < r->n_iov && r->op <= BLOCK_WRITE; k++) /* as raw does */
			r->iov[k] = (struct iovec){ (uint8_t *)r->iov[k].iov_base + r->iov[k].iov_len, 0 };
		r->done(r, ret);
	}
	fake_kick(b);
}

const struct block_format block_fake = {
	.name = "fake",
	.open = fake_open,
	.close = fake_close,
	.flush = fake_flush,
	.queue = fake_queue,
	.kick = fake_kick,
	.reap = fake_reap,
};

/* --- the power --- */

/* When the last fdatasync was asked for that has been carried out by @moment; 0: none. */
static uint64_t last_sync(const struct fake_disk *f, uint64_t moment)
{
	uint64_t last = 0;

	for (size_t i = 0; i < f->n_log; i++)
		if (f->log[i].kind == FAKE_SYNC && f->log[i].done < moment && f->log[i].issued > last)
			last = f->log[i].issued;
	return last;
}

static bool is_durable(const struct fake_event *w, uint64_t sync, uint64_t moment)
{
	return !w->failed && w->done < moment && (w->durable || w->done < sync);
}

static void copy_all(int to, int from)
{
	static uint8_t buf[65536];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(from, buf, sizeof(buf), at)) > 0) {
		need(pwrite(to, buf, (size_t)n, at) == n, "copy");
		at += n;
	}
}

static void apply(int fd, const struct fake_event *w, uint64_t from, uint64_t len)
{
	if (w->kind == FAKE_ZERO)
		put_zeroes(fd, w->at + from, len);
	else
		need(pwrite(fd, w->data + from, len, (off_t)(w->at + from)) == (ssize_t)len, "apply");
}

/* How lucky this cut is: of what need not be there, all, most, some or none. */
static void apply_some(const struct fake_disk *f, int fd, const struct fake_event *w, unsigned int luck, uint64_t *seed)
{
	for (uint64_t i = 0; i < w->len; i += f->block.sector) {
		uint64_t len = w->len - i < f->block.sector ? w->len - i : f->block.sector;

		if (fake_random(seed) % 16 < luck)
			apply(fd, w, i, len);
	}
}

static int in_order(const void *a, const void *b)
{
	const struct fake_event *x = *(const struct fake_event *const *)a, *y = *(const struct fake_event *const *)b;

	if (x->done != y->done)
		return x->done < y->done ? -1 : 1;
	return x->issued < y->issued ? -1 : 1;
}

int fake_cut(const struct fake_disk *f, int base, uint64_t moment, uint64_t seed)
{
	static const unsigned int lucks[] = { 0, 4, 8, 12, 16, 16 };
	const struct fake_event **w = malloc((f->n_log + 1) * sizeof(*w));
	int fd = memfd_create("cut", MFD_CLOEXEC);
	uint64_t sync = last_sync(f, moment);
	size_t n = 0;
	unsigned int luck, whole;

	need(w && fd >= 0, "no memory");
	seed = seed * 2 + 1;
	for (int i = 0; i < 4; i++)
		fake_random(&seed);
	luck = lucks[fake_random(&seed) % 6];
	whole = (unsigned int)(fake_random(&seed) % 2); /* all of a write or nothing of it; or by sectors */
	copy_all(fd, base);
	for (size_t i = 0; i < f->n_log; i++)
		if (f->log[i].kind != FAKE_SYNC && f->log[i].issued < moment)
			w[n++] = &f->log[i];
	qsort(w, n, sizeof(*w), in_order);
	for (size_t i = 0; i < n; i++) {
		if (is_durable(w[i], sync, moment))
			apply(fd, w[i], 0, w[i]->len);
		else if (!whole)
			apply_some(f, fd, w[i], luck, &seed);
		else if (fake_random(&seed) % 16 < luck)
			apply(fd, w[i], 0, w[i]->len);
	}
	free(w);
	return fd;
}
