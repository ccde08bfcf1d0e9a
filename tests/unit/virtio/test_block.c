/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to an open disk: what the kernel answers, and what they may cost. */
#include "hv/disk/raw_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DEPTH 128
#define DISK_SIZE (32u << 20)
#define N_SEGS 64

struct request {
	struct block_req io; /* first: done() gets it */
	struct iovec iov[N_SEGS];
	int ret;
	bool done;
};

static char path[64];
static int fd;
static struct block *b;

static void on_done(struct block_req *io, int ret)
{
	struct request *r = (struct request *)io;

	r->ret = ret;
	r->done = true;
}

static int open_disk(bool direct)
{
	struct err e = { 0 };
	int ret;

	snprintf(path, sizeof(path), "block-test-%d.img", (int)getpid());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK_SIZE), 0);
	ret = block_open("raw", fd, path, false, direct, DEPTH, &b, &e);
	if (ret == -EOPNOTSUPP) {
		print_message("no O_DIRECT here\n");
		skip();
	}
	return ret;
}

static int teardown(void **state)
{
	block_close(b);
	b = NULL;
	close(fd);
	unlink(path);
	return 0;
}

static struct request *make(enum block_op op, uint64_t offset, uint64_t len)
{
	struct request *r = calloc(1, sizeof(*r));

	r->io = (struct block_req){ .op = op, .offset = offset, .len = len, .done = on_done, .iov = r->iov };
	return r;
}

/* @n times the same @len bytes at @p, as a guest's overlapping descriptors are. */
static void overlap(struct request *r, void *p, size_t len, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		r->iov[i] = (struct iovec){ p, len };
	r->io.n_iov = n;
}

static void reap_until(const struct request *r)
{
	struct pollfd p = { .fd = block_event_fd(b), .events = POLLIN };

	while (!r->done) {
		if (poll(&p, 1, 20000) != 1)
			fail_msg("a request never came back");
		block_reap(b);
		assert_true(raw_of(b)->room <= BLOCK_ROOM_MAX);
	}
}

static void test_a_transfer_that_gets_nowhere_ends(void **state)
{
	static const int answers[] = { -EAGAIN, -EINTR };
	static uint8_t data[512];

	assert_int_equal(open_disk(false), 0);
	for (unsigned int i = 0; i < 2; i++) {
		struct request *r = make(BLOCK_READ, 0, sizeof(data));
		unsigned int n = 0;

		overlap(r, data, sizeof(data), 1);
		assert_int_equal(block_queue(b, &r->io), 0);
		while (!r->done && n++ < 100000)
			raw_request_step(raw_of(b), &r->io, answers[i]);
		assert_true(r->done);
		assert_int_equal(r->ret, -EIO);
		assert_true(n > 1); /* it was tried again */
		block_close(b);     /* with it what the ring still holds */
		b = NULL;
		free(r);
		close(fd);
		assert_int_equal(open_disk(false), 0);
	}
}

static void test_no_block_is_nonblocking(void **state)
{
	struct err e;

	assert_int_equal(open_disk(false), 0);
	block_close(b);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(block_open("raw", fd, path, false, false, DEPTH, &b, &e), 0);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

static void test_a_disk_that_must_not_wait_answers_all_the_same(void **state)
{
	struct request *r = make(BLOCK_WRITE, 1 << 20, 65536);
	void *data = NULL;

	/* On ext4 a write that has to allocate is EAGAIN for ever with this flag. */
	assert_int_equal(open_disk(true), 0);
	assert_int_equal(posix_memalign(&data, 4096, 65536), 0);
	memset(data, 7, 65536);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK | O_DIRECT), 0);
	overlap(r, data, 65536, 1);
	assert_int_equal(block_queue(b, &r->io), 0);
	block_kick(b);
	reap_until(r);
	assert_true(r->ret == 0 || r->ret == -EIO);
	free(data);
	free(r);
}

static void test_zeroes_are_durable_where_nobody_flushes(void **state)
{
	struct request *r = make(BLOCK_ZERO, 0, 4096);

	assert_int_equal(open_disk(false), 0);
	r->io.durable = true;
	assert_int_equal(block_queue(b, &r->io), 0);
	raw_request_step(raw_of(b), &r->io, 0);
	assert_false(r->done); /* the fdatasync is under way */
	assert_true(r->io.syncing);
	raw_request_step(raw_of(b), &r->io, -EIO);
	assert_true(r->done);
	assert_int_equal(r->ret, -EIO);
	block_close(b);
	b = NULL;
	free(r);
}

static void test_zeroes_that_were_written_are_durable_too(void **state)
{
	struct request *r = make(BLOCK_ZERO, 0, 70000 / 512 * 512);

	assert_int_equal(open_disk(false), 0);
	r->io.durable = true;
	assert_int_equal(block_queue(b, &r->io), 0);
	raw_request_step(raw_of(b), &r->io, -EOPNOTSUPP); /* ZERO_RANGE */
	raw_request_step(raw_of(b), &r->io, -EOPNOTSUPP); /* PUNCH_HOLE */
	raw_request_step(raw_of(b), &r->io, 65536);
	assert_false(r->io.syncing);
	raw_request_step(raw_of(b), &r->io, (int)(r->io.len - 65536));
	assert_true(r->io.syncing);
	raw_request_step(raw_of(b), &r->io, 0);
	assert_true(r->done);
	assert_int_equal(r->ret, 0);
	block_close(b);
	b = NULL;
	free(r);
}

static bool may(void *arg)
{
	return *(const bool *)arg;
}

/* The disk, opened anew: it asks @allowed. */
static void open_asking(bool *allowed)
{
	struct block_open_args a = { .path = path, .depth = DEPTH, .may_write = may, .may_arg = allowed };

	assert_int_equal(open_disk(false), 0);
	block_close(b);
	a.fd = fd;
	assert_int_equal(block_open_on("raw", &a, &b, NULL), 0);
}

/* One request may be very many transfers, and the lease ends between two of them. */
static void test_each_transfer_asks_whether_it_may_write(void **state)
{
	struct request *r = make(BLOCK_ZERO, 0, 70000 / 512 * 512), *read = make(BLOCK_READ, 0, 512);
	static uint8_t data[512];
	bool allowed = true;

	open_asking(&allowed);
	assert_int_equal(block_queue(b, &r->io), 0);
	raw_request_step(raw_of(b), &r->io, -EOPNOTSUPP); /* ZERO_RANGE */
	raw_request_step(raw_of(b), &r->io, -EOPNOTSUPP); /* PUNCH_HOLE */
	allowed = false;
	raw_request_step(raw_of(b), &r->io, 65536);
	assert_true(r->done);
	assert_int_equal(r->ret, BLOCK_NOT_NOW);
	assert_int_equal(block_queue(b, &r->io), BLOCK_NOT_NOW);
	overlap(read, data, sizeof(data), 1);
	assert_int_equal(block_queue(b, &read->io), 0);
	block_kick(b);
	reap_until(read);
	assert_int_equal(read->ret, 0);
	free(read);
	block_close(b);
	b = NULL;
	free(r);
}

/* What the kernel does for one request it does to its end: zeroes of gigabytes, while the lease ends. */
static void test_no_transfer_is_about_very_much(void **state)
{
	const uint64_t step = 8u << 20, len = 3 * step + 512;
	struct request *r = make(BLOCK_ZERO, 0, len), *d = make(BLOCK_DISCARD, 0, len);
	bool allowed = true;

	open_asking(&allowed);
	assert_int_equal(block_queue(b, &r->io), 0);
	for (uint64_t left = len - step; left; left -= left < step ? left : step) {
		raw_request_step(raw_of(b), &r->io, 0);
		assert_false(r->done);
		assert_int_equal(r->io.left, left);
	}
	raw_request_step(raw_of(b), &r->io, 0);
	assert_true(r->done);
	assert_int_equal(r->ret, 0);
	assert_int_equal(block_queue(b, &d->io), 0);
	allowed = false;
	raw_request_step(raw_of(b), &d->io, 0);
	assert_true(d->done);
	assert_int_equal(d->ret, BLOCK_NOT_NOW);
	block_close(b);
	b = NULL;
	free(r);
	free(d);
}

static void test_a_flush_says_what_was_lost_before(void **state)
{
	struct request *r = make(BLOCK_FLUSH, 0, 0);

	assert_int_equal(open_disk(false), 0);
	block_owe(b, -EIO);
	for (int round = 0; round < 2; round++) {
		r->done = false;
		assert_int_equal(block_queue(b, &r->io), 0);
		block_kick(b);
		reap_until(r);
		assert_int_equal(r->ret, round ? 0 : -EIO);
	}
	free(r);
}

/* 16 MiB from one megabyte of odd buffers: the copy is a piece, and the data is right. */
static void test_an_overlapping_request_costs_a_piece(void **state)
{
	const size_t seg = 262144, n = N_SEGS;
	uint8_t *memory = malloc(seg + 1), *odd = memory + 1, *back = malloc(n * seg);
	struct request *r = make(BLOCK_WRITE, 4096, n * seg);

	assert_int_equal(open_disk(true), 0);
	for (size_t i = 0; i < seg; i++)
		odd[i] = (uint8_t)(i * 7 + i / 4096);
	overlap(r, odd, seg, n);
	assert_int_equal(block_queue(b, &r->io), 0);
	assert_true(raw_of(b)->room <= BLOCK_PIECE_MAX);
	block_kick(b);
	reap_until(r);
	assert_int_equal(r->ret, 0);
	assert_int_equal(raw_of(b)->room, 0);
	fcntl(fd, F_SETFL, 0);
	assert_int_equal(pread(fd, back, n * seg, 4096), n * seg);
	for (size_t i = 0; i < n; i++)
		assert_memory_equal(back + i * seg, odd, seg);
	free(r);
	free(back);
	free(memory);
}

/* A full ring of them: what is copied at once stays within the disk's room, and all get done. */
static void test_many_odd_requests_share_the_room(void **state)
{
	const size_t len = 131072;
	uint8_t *memory = malloc(len + 1), *odd = memory + 1, *page = malloc(len);
	struct request *r[DEPTH];

	assert_int_equal(open_disk(false), 0);
	for (size_t i = 0; i < DEPTH; i++) {
		memset(page, (int)i, len);
		assert_int_equal(pwrite(fd, page, len, (off_t)(i * len)), len);
	}
	block_close(b);
	if (fsync(fd) || fcntl(fd, F_SETFL, O_DIRECT))
		skip();
	assert_int_equal(block_open("raw", fd, path, false, true, DEPTH, &b, NULL), 0);
	for (size_t i = 0; i < DEPTH; i++) {
		r[i] = make(i % 2 ? BLOCK_READ : BLOCK_WRITE, i * len, len);
		overlap(r[i], odd, len, 1);
		assert_int_equal(block_queue(b, &r[i]->io), 0);
		assert_true(raw_of(b)->room <= BLOCK_ROOM_MAX);
	}
	assert_non_null(raw_of(b)->waiting);
	block_kick(b);
	for (size_t i = 0; i < DEPTH; i++) {
		reap_until(r[i]);
		assert_int_equal(r[i]->ret, 0);
		free(r[i]);
	}
	assert_int_equal(raw_of(b)->room, 0);
	assert_null(raw_of(b)->waiting);
	free(page);
	free(memory);
}

static void test_odd_reads_get_what_is_there(void **state)
{
	const size_t len = 700 * 1024;
	uint8_t *memory = calloc(1, len + 3), *want = malloc(len);
	struct request *r = make(BLOCK_READ, 512, len);

	assert_int_equal(open_disk(true), 0);
	for (size_t i = 0; i < len; i++)
		want[i] = (uint8_t)(i / 512 + i);
	fcntl(fd, F_SETFL, 0);
	assert_int_equal(pwrite(fd, want, len, 512), len);
	assert_int_equal(fsync(fd), 0);
	fcntl(fd, F_SETFL, O_DIRECT);
	r->iov[0] = (struct iovec){ memory + 1, 1000 };
	r->iov[1] = (struct iovec){ memory + 1001, 300000 };
	r->iov[2] = (struct iovec){ memory + 301001, len - 301000 };
	r->io.n_iov = 3;
	assert_int_equal(block_queue(b, &r->io), 0);
	block_kick(b);
	reap_until(r);
	assert_int_equal(r->ret, 0);
	assert_memory_equal(memory + 1, want, len);
	free(r);
	free(want);
	free(memory);
}

/* Of a file that grows (an image's): what lies behind its end is zeroes, but only if it does end there. */
static void test_zeroes_lie_behind_the_end(void **state)
{
	struct block_open_args a = { .path = path, .depth = DEPTH, .inner = true };
	struct request *r = make(BLOCK_READ, DISK_SIZE - 1024, 4096);
	uint8_t got[4096], data[1024];

	assert_int_equal(open_disk(false), 0);
	block_close(b);
	memset(data, 7, sizeof(data));
	assert_int_equal(pwrite(fd, data, sizeof(data), DISK_SIZE - 1024), sizeof(data));
	a.fd = fd;
	assert_int_equal(block_open_on("raw", &a, &b, NULL), 0);
	b->size = 2 * DISK_SIZE; /* as far as it may grow */
	memset(got, 0xaa, sizeof(got));
	overlap(r, got, sizeof(got), 1);
	r->io.past_end = true;
	assert_int_equal(block_queue(b, &r->io), 0);
	block_kick(b);
	reap_until(r);
	assert_int_equal(r->ret, 0);
	assert_memory_equal(got, data, 1024);
	assert_true(!got[1024] && !memcmp(got + 1024, got + 1025, sizeof(got) - 1025));
	/* Nothing, though the file goes on there. */
	r->done = false;
	r->io.offset = 0;
	overlap(r, got, sizeof(got), 1);
	assert_int_equal(block_queue(b, &r->io), 0);
	raw_request_step(raw_of(b), &r->io, 0);
	assert_false(r->done);
	assert_int_equal(r->io.tries, 1);
	block_close(b); /* with it what the ring still holds */
	b = NULL;
	free(r);
}

static void test_a_format_that_is_none_is_refused(void **state)
{
	struct block *none = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(block_open("qed", 0, "x", true, false, DEPTH, &none, &e), -EINVAL);
	assert_non_null(strstr(e.text, "format 'qed', expected raw, vhd or qcow2"));
	assert_null(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_teardown(name, teardown)
		T(test_a_format_that_is_none_is_refused),
		T(test_a_transfer_that_gets_nowhere_ends),
		T(test_no_block_is_nonblocking),
		T(test_a_disk_that_must_not_wait_answers_all_the_same),
		T(test_zeroes_are_durable_where_nobody_flushes),
		T(test_zeroes_that_were_written_are_durable_too),
		T(test_a_flush_says_what_was_lost_before),
		T(test_each_transfer_asks_whether_it_may_write),
		T(test_no_transfer_is_about_very_much),
		T(test_an_overlapping_request_costs_a_piece),
		T(test_many_odd_requests_share_the_room),
		T(test_odd_reads_get_what_is_there),
		T(test_zeroes_lie_behind_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
