/* SPDX-License-Identifier: Apache-2.0 */
/* rings: made in advance, lent and given back, and good for nothing but open files. */
#include "hv/disk/rings.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define DEPTH 8

static struct rings *some(size_t n)
{
	struct rings *r;

	assert_int_equal(rings_create(&r, NULL), 0);
	assert_int_equal(rings_add(r, n, DEPTH, NULL), 0);
	return r;
}

/* What the request in @s, which is the next of @ring, comes back with. */
static int result(struct io_uring *ring)
{
	struct io_uring_cqe *c;
	int ret;

	assert_int_equal(io_uring_submit(ring), 1);
	assert_int_equal(io_uring_wait_cqe(ring, &c), 0);
	ret = c->res;
	io_uring_cqe_seen(ring, c);
	return ret;
}

static void test_a_ring_reads_and_opens_nothing(void **state)
{
	char buf[4], path[] = "/tmp/drover-test-ring-XXXXXX";
	struct iovec iov = { buf, sizeof(buf) };
	struct rings *r = some(1);
	struct io_uring ring;
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, "abcd", 4), 4);
	assert_int_equal(rings_take(r, DEPTH, &ring), 0);
	io_uring_prep_readv(io_uring_get_sqe(&ring), fd, &iov, 1, 0);
	assert_int_equal(result(&ring), 4);
	assert_memory_equal(buf, "abcd", 4);
	io_uring_prep_openat(io_uring_get_sqe(&ring), AT_FDCWD, path, O_RDONLY, 0);
	assert_int_equal(result(&ring), -EACCES);
	io_uring_prep_socket(io_uring_get_sqe(&ring), AF_INET, SOCK_STREAM, 0, 0);
	assert_int_equal(result(&ring), -EACCES);
	io_uring_prep_unlinkat(io_uring_get_sqe(&ring), AT_FDCWD, path, 0);
	assert_int_equal(result(&ring), -EACCES);
	assert_int_equal(io_uring_register_files(&ring, &fd, 1), -EACCES);
	io_uring_prep_fsync(io_uring_get_sqe(&ring), fd, IORING_FSYNC_DATASYNC);
	assert_int_equal(result(&ring), 0);
	rings_give(r, &ring);
	rings_destroy(r);
	assert_int_equal(unlink(path), 0); /* it is still there */
	close(fd);
}

static void test_one_of_our_own_is_no_better(void **state)
{
	struct io_uring ring;

	(void)state;
	assert_int_equal(rings_take(NULL, DEPTH, &ring), 0);
	io_uring_prep_openat(io_uring_get_sqe(&ring), AT_FDCWD, "/", O_RDONLY, 0);
	assert_int_equal(result(&ring), -EACCES);
	rings_give(NULL, &ring);
}

static void test_no_more_are_lent_than_there_are(void **state)
{
	struct rings *r = some(2);
	struct io_uring a, b, c;

	(void)state;
	assert_int_equal(rings_take(r, DEPTH, &a), 0);
	assert_int_equal(rings_take(r, DEPTH, &b), 0);
	assert_int_not_equal(a.ring_fd, b.ring_fd);
	assert_int_equal(rings_take(r, DEPTH, &c), -ENFILE);
	rings_give(r, &a);
	assert_int_equal(rings_take(r, 2 * DEPTH, &c), -ENFILE);
	assert_int_equal(rings_take(r, DEPTH / 2, &c), 0);
	assert_int_equal(c.ring_fd, a.ring_fd);
	rings_give(r, &b);
	rings_give(r, &c);
	rings_remove(r, 1, DEPTH);
	assert_int_equal(rings_take(r, DEPTH, &a), 0);
	assert_int_equal(rings_take(r, DEPTH, &b), -ENFILE);
	rings_give(r, &a);
	rings_destroy(r);
}

static void test_whoever_gets_it_next_finds_it_as_new(void **state)
{
	int told = eventfd(0, EFD_NONBLOCK), zero = open("/dev/zero", O_RDONLY);
	struct rings *r = some(1);
	struct io_uring ring;
	char buf[4] = "abc";
	struct iovec iov = { buf, sizeof(buf) };
	eventfd_t count;

	(void)state;
	for (int round = 0; round < 3 * DEPTH; round++) {
		assert_int_equal(rings_take(r, DEPTH, &ring), 0);
		assert_int_equal(io_uring_register_eventfd(&ring, told), 0);
		io_uring_prep_readv(io_uring_get_sqe(&ring), zero, &iov, 1, 0);
		assert_int_equal(result(&ring), sizeof(buf));
		assert_int_equal(eventfd_read(told, &count), 0);
		assert_int_equal(count, 1);
		rings_give(r, &ring);
	}
	assert_int_equal(rings_take(r, DEPTH, &ring), 0);
	io_uring_prep_readv(io_uring_get_sqe(&ring), zero, &iov, 1, 0);
	assert_int_equal(result(&ring), sizeof(buf));
	assert_int_equal(eventfd_read(told, &count), -1); /* nobody who had it before hears of it */
	rings_give(r, &ring);
	rings_destroy(r);
	close(told);
	close(zero);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_ring_reads_and_opens_nothing),
		cmocka_unit_test(test_one_of_our_own_is_no_better),
		cmocka_unit_test(test_no_more_are_lent_than_there_are),
		cmocka_unit_test(test_whoever_gets_it_next_finds_it_as_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
