/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: what the accessors refuse, and that no write by the host escapes a harvest (rule D). */
#include "hv/memory/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1ull << 20)

static struct gmem *make(uint64_t size, enum domain_backing backing)
{
	struct gmem *m;
	struct err e = { 0 };

	if (gmem_create(&m, size, backing, &e))
		fail_msg("%s", e.text);
	return m;
}

static void test_ram_below_2g_is_one_region(void **state)
{
	struct gmem *m = make(64 * MIB, BACKING_MEMFD);

	assert_int_equal(m->n_ram, 1);
	assert_int_equal(m->regions[0].gpa, 0);
	assert_int_equal(m->regions[0].size, 64 * MIB);
	assert_true(m->ram.fd >= 0);
	assert_int_equal((uintptr_t)m->regions[0].host % (2 * MIB), 0);
	gmem_destroy(m);
}

static void test_ram_above_the_hole_starts_at_4g(void **state)
{
	struct gmem *m = make(3072 * MIB, BACKING_ANON);
	char byte = 'x', back = 0;

	assert_int_equal(m->n_ram, 2);
	assert_int_equal(m->regions[0].size, GMEM_LOW_END);
	assert_int_equal(m->regions[1].gpa, GMEM_HIGH_BASE);
	assert_int_equal(m->regions[1].size, 1024 * MIB);
	assert_int_equal(gmem_write(m, GMEM_HIGH_BASE + 5, &byte, 1), 0);
	assert_int_equal(gmem_read(m, GMEM_HIGH_BASE + 5, &back, 1), 0);
	assert_int_equal(back, 'x');
	assert_int_equal(gmem_write(m, GMEM_LOW_END, &byte, 1), -EFAULT);
	gmem_destroy(m);
}

static void test_auto_says_what_it_chose(void **state)
{
	struct gmem *m = make(64 * MIB, BACKING_AUTO);

	assert_int_not_equal(m->ram.kind, BACKING_AUTO);
	assert_true(m->ram.page_size == 4096 || m->ram.page_size == 2 * MIB);
	gmem_destroy(m);
}

static void test_odd_size_is_refused(void **state)
{
	struct gmem *m;
	struct err e = { 0 };

	assert_int_equal(gmem_create(&m, 5000, BACKING_MEMFD, &e), -EINVAL);
	assert_non_null(strstr(e.text, "5000"));
	assert_int_equal(gmem_create(&m, 0, BACKING_MEMFD, &e), -EINVAL);
}

static void test_hugetlb_without_pages_is_refused(void **state)
{
	struct gmem *m;
	struct err e = { 0 };

	/* More reserved pages than a test machine has; TSan has no room for a terabyte of addresses. */
	assert_int_equal(gmem_create(&m, 1ull << 38, BACKING_HUGETLB, &e), -ENOMEM);
	assert_non_null(strstr(e.text, "vm.nr_hugepages"));
}

static void test_range_across_the_end_is_refused(void **state)
{
	struct gmem *m = make(4 * MIB, BACKING_MEMFD);
	struct iovec iov;
	char buf[16] = "";

	assert_int_equal(gmem_read(m, 4 * MIB - 8, buf, 16), -EFAULT);
	assert_int_equal(gmem_read(m, UINT64_MAX - 7, buf, 16), -EFAULT);
	assert_int_equal(gmem_iov(m, 0, SIZE_MAX, GMEM_READ, &iov), -EFAULT);
	assert_int_equal(gmem_iov(m, 4 * MIB, 0, GMEM_READ, &iov), -EFAULT);
	assert_int_equal(gmem_write(m, 4 * MIB - 16, buf, 16), 0);
	gmem_destroy(m);
}

static void test_write_marks_every_page_it_touches(void **state)
{
	struct gmem *m = make(4 * MIB, BACKING_MEMFD);
	uint64_t bits[16] = { 0 };
	uint8_t *buf = calloc(1, 70 * 4096);

	m->tracking = true;
	assert_int_equal(gmem_write(m, 4095, buf, 2), 0);              /* pages 0 and 1 */
	assert_int_equal(gmem_write(m, 63 * 4096, buf, 66 * 4096), 0); /* 63..128: three words */
	gmem_dirty_take(&m->regions[0], bits);
	assert_int_equal(bits[0], 3ull | 1ull << 63);
	assert_true(bits[1] == ~0ull);
	assert_int_equal(bits[2], 1);
	assert_int_equal(bits[3], 0);
	memset(bits, 0, sizeof(bits));
	gmem_dirty_take(&m->regions[0], bits);
	assert_int_equal(bits[0] | bits[1] | bits[2], 0);
	free(buf);
	gmem_destroy(m);
}

static void test_take_adds_to_what_the_bitmap_holds(void **state)
{
	struct gmem *m = make(4 * MIB, BACKING_MEMFD);
	uint64_t bits[16] = { 4 };

	m->tracking = true;
	gmem_dirty(m, 0, 1);
	gmem_dirty_take(&m->regions[0], bits);
	assert_int_equal(bits[0], 5);
	gmem_destroy(m);
}

static void test_nothing_is_marked_while_nobody_migrates(void **state)
{
	struct gmem *m = make(4 * MIB, BACKING_MEMFD);
	uint64_t bits[16] = { 0 };

	gmem_dirty(m, 0, 4096);
	gmem_dirty_take(&m->regions[0], bits);
	assert_int_equal(bits[0], 0);
	gmem_destroy(m);
}

static void test_dirty_outside_ram_is_ignored(void **state)
{
	struct gmem *m = make(4 * MIB, BACKING_MEMFD);

	m->tracking = true;
	gmem_dirty(m, 5 * MIB, 10);
	gmem_dirty(m, UINT64_MAX - 2, 10);
	gmem_destroy(m);
}

struct race {
	struct gmem *m;
	_Atomic bool stop;
	_Atomic uint64_t writes;
};

static void *race_writer(void *arg)
{
	struct race *r = arg;
	uint64_t n = 0;

	while (!atomic_load(&r->stop)) {
		atomic_store(&r->writes, ++n);
		gmem_write(r->m, (n * 7 % 1024) * 4096, &n, sizeof(n));
	}
	return NULL;
}

/* A copy kept up to date only from harvests equals the original once the writer stands still. */
static void test_no_write_is_lost_between_harvests(void **state)
{
	struct race r = { .m = make(4 * MIB, BACKING_MEMFD) };
	uint8_t *copy = calloc(1, 4 * MIB), *ram = r.m->regions[0].host;
	uint64_t bits[16];
	pthread_t t;

	r.m->tracking = true;
	assert_int_equal(pthread_create(&t, NULL, race_writer, &r), 0);
	while (atomic_load(&r.writes) < 100)
		sched_yield();
	for (int round = 0; round < 300; round++) {
		if (round == 299) {
			r.stop = true;
			pthread_join(t, NULL);
		}
		memset(bits, 0, sizeof(bits));
		gmem_dirty_take(&r.m->regions[0], bits);
		for (size_t p = 0; p < 1024; p++)
			if (bits[p / 64] >> (p % 64) & 1)
				memcpy(copy + p * 4096, ram + p * 4096, 4096);
	}
	assert_memory_equal(copy, ram, 4 * MIB);
	free(copy);
	gmem_destroy(r.m);
}

static void test_who_is_shown_memory_only_reads_it(void **state)
{
	struct backing b;
	struct err e;
	uint8_t *seen;

	if (backing_map_shown(&b, 1 << 20, &e))
		fail_msg("%s", e.text);
	seen = mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, b.fd, 0);
	assert_ptr_not_equal(seen, MAP_FAILED);
	b.host[4096] = 7;
	assert_int_equal(seen[4096], 7);
	assert_int_equal(mprotect(seen, 1 << 20, PROT_READ | PROT_WRITE), -1);
	assert_ptr_equal(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, b.fd, 0), MAP_FAILED);
	assert_int_equal(pwrite(b.fd, "x", 1, 4096), -1);
	assert_int_equal(ftruncate(b.fd, 4096), -1);
	assert_int_equal(ftruncate(b.fd, 2 << 20), -1);
	assert_int_equal(fcntl(b.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(fallocate(b.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20), -1);
	assert_int_equal(b.host[4096], 7);
	munmap(seen, 1 << 20);
	backing_unmap(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ram_below_2g_is_one_region),
		cmocka_unit_test(test_ram_above_the_hole_starts_at_4g),
		cmocka_unit_test(test_auto_says_what_it_chose),
		cmocka_unit_test(test_odd_size_is_refused),
		cmocka_unit_test(test_who_is_shown_memory_only_reads_it),
		cmocka_unit_test(test_hugetlb_without_pages_is_refused),
		cmocka_unit_test(test_range_across_the_end_is_refused),
		cmocka_unit_test(test_write_marks_every_page_it_touches),
		cmocka_unit_test(test_take_adds_to_what_the_bitmap_holds),
		cmocka_unit_test(test_nothing_is_marked_while_nobody_migrates),
		cmocka_unit_test(test_dirty_outside_ram_is_ignored),
		cmocka_unit_test(test_no_write_is_lost_between_harvests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
