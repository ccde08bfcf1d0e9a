/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the disk below a qcow2 may do: fail, at any moment; and what an image asks of it when nothing is wrong.
 * Requests are carried out in many orders (fake_disk.h); what must hold, holds in each.
 */
#include "disk_bed.h"
#include "fake_disk.h"

#include "hv/disk/qcow2_int.h"

#include <errno.h>

#define MIB (1ull << 20)
#define CLUSTER 4096u
#define ORDERS 300

static int create(uint64_t size, const char *backing)
{
	struct qcow2_new n = { .size = size, .cluster = CLUSTER, .backing = backing, .backing_format = "raw" };
	int fd = bed_file();

	assert_int_equal(qcow2_create(fd, "fault.qcow2", &n, NULL), 0);
	return fd;
}

/* @parent: -1: none */
static struct block *open_fake(int fd, int parent, uint64_t seed)
{
	struct block_parent up = { parent, "parent.raw" };
	struct block_open_args a = {
		.fd = fd,
		.path = "fault.qcow2",
		.depth = BED_DEPTH,
		.below = &block_fake,
		.parents = &up,
		.n_parents = parent >= 0,
	};

	fake_new(512, seed);
	return bed_open_as("qcow2", &a);
}

static void close_fake(struct block *b)
{
	block_close(b);
	fake_free(fake_disk);
}

static void fail_from_now_on(unsigned int after)
{
	fake_disk->failing = true;
	fake_disk->fail_after = after;
}

static void sound(int fd, uint64_t leaks)
{
	struct qcow2_checked c;

	assert_int_equal(qcow2_check(fd, "fault.qcow2", &c, NULL, NULL, NULL), 0);
	assert_int_equal(c.wrong, 0);
	assert_in_range(c.leaks, 0, leaks);
}

static size_t count(enum fake_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < fake_disk->n_log; i++)
		n += fake_disk->log[i].kind == kind;
	return n;
}

/* --- what it asks for --- */

static void test_nothing_is_written_by_opening_reading_and_closing(void **state)
{
	int fd = create(MIB, NULL);
	uint8_t p[CLUSTER];
	struct block *b;

	(void)state;
	b = open_fake(fd, -1, 1);
	assert_int_equal(bed_do(b, BLOCK_READ, 0, sizeof(p), p), 0);
	assert_int_equal(bed_do(b, BLOCK_DISCARD, 0, MIB, NULL), 0);
	assert_int_equal(bed_do(b, BLOCK_ZERO, 0, MIB, NULL), 0);
	block_close(b);
	assert_int_equal(fake_disk->n_log, 0);
	fake_free(fake_disk);
	close(fd);
}

/* A cluster that has its place costs what raw costs: the transfer, and one fdatasync for a flush. */
static void test_tables_are_not_touched_for_clusters_that_have_their_place(void **state)
{
	int fd = create(MIB, NULL);
	uint8_t p[2 * CLUSTER];
	size_t writes, syncs;
	struct block *b;

	(void)state;
	b = open_fake(fd, -1, 1);
	bed_fill(p, 0, sizeof(p), 1);
	assert_int_equal(bed_do(b, BLOCK_WRITE, 0, sizeof(p), p), 0);
	assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
	writes = count(FAKE_WRITE);
	syncs = count(FAKE_SYNC);
	assert_int_equal(bed_do(b, BLOCK_WRITE, 512, sizeof(p) - 1024, p + 512), 0);
	assert_int_equal(bed_do(b, BLOCK_READ, 0, sizeof(p), p), 0);
	assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(count(FAKE_WRITE), writes + 1);
	assert_int_equal(count(FAKE_SYNC), syncs + 1);
	close_fake(b);
	sound(fd, 0);
	close(fd);
}

static void test_once_nothing_is_in_flight_nothing_is_written(void **state)
{
	int fd = create(MIB, NULL);
	uint8_t p[CLUSTER] = { 1 };
	struct block *b;
	size_t log;

	(void)state;
	b = open_fake(fd, -1, 1);
	assert_int_equal(bed_do(b, BLOCK_WRITE, 0, sizeof(p), p), 0);
	log = fake_disk->n_log;
	for (int i = 0; i < 10; i++)
		block_reap(b);
	block_close(b);
	assert_int_equal(fake_disk->n_log, log);
	fake_free(fake_disk);
	close(fd);
}

/* --- flushes that fail --- */

/* A table that could not be written is in memory still; what an fdatasync has lost nobody knows, so it is never durable again. */
static void test_a_flush_that_failed(void **state)
{
	unsigned int lost = 0, kept = 0;

	(void)state;
	for (unsigned int after = 0; after < 10; after++) {
		int fd = create(MIB, NULL);
		uint8_t p[CLUSTER];
		struct bed_request r;
		struct block *b = open_fake(fd, -1, after + 1);

		bed_fill(p, 0, sizeof(p), 4);
		for (uint64_t i = 0; i < 3; i++)
			assert_int_equal(bed_do(b, BLOCK_WRITE, i * 65536, sizeof(p), p), 0);
		fail_from_now_on(after);
		bed_make(&r, BLOCK_FLUSH, 0, 0, NULL);
		assert_int_equal(block_queue(b, &r.io), 0);
		block_kick(b);
		bed_wait(b, &r);
		assert_true(r.ret == 0 || r.ret == -EIO);
		fake_disk->failing = false;
		lost += r.ret && !r.io.kept;
		kept += r.ret && r.io.kept;
		/* Not the next one, nor any: the rest of a cluster that was copied may be what is lost. */
		for (int i = 0; i < 3; i++)
			assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), r.ret && !r.io.kept ? -EIO : 0);
		if (r.ret && !r.io.kept)
			assert_int_equal(block_flush(b, NULL), -EIO);
		close_fake(b);
		sound(fd, 8);
		close(fd);
	}
	assert_int_equal(lost, 4); /* data; counts; L2; L1 */
	assert_true(kept >= 3);
}

static void test_what_is_not_saved_when_it_is_closed_is_owed(void **state)
{
	int fd = create(MIB, NULL);
	uint8_t p[512] = { 1 };
	struct block *b = open_fake(fd, -1, 1);

	(void)state;
	assert_int_equal(block_leaves(b), 0);
	assert_int_equal(bed_do(b, BLOCK_WRITE, 0, 512, p), 0);
	assert_int_equal(block_leaves(b), -EIO);
	fail_from_now_on(1); /* data is durable, and then there is no space */
	assert_int_equal(block_flush(b, NULL), -EIO);
	assert_int_equal(block_owed(b), 0);
	assert_int_equal(block_leaves(b), -EIO);
	fake_disk->failing = false;
	assert_int_equal(block_flush(b, NULL), 0);
	assert_int_equal(block_leaves(b), 0);
	close_fake(b);
	sound(fd, 0);
	close(fd);
}

/* A write that waits for room in the tables, which cannot be written: it fails, and does not wait for ever. */
static void test_who_waits_for_room_is_told_when_there_will_be_none(void **state)
{
	int fd = create(64ull << 30, NULL), ret = 0;
	uint8_t p[512] = { 1 };
	struct block *b = open_fake(fd, -1, 1);
	struct qcow2_image *q = (struct qcow2_image *)b;
	uint64_t i;

	(void)state;
	/* each in another slice, of another table */
	for (i = 0; i + 8 < q->n_slices; i++)
		assert_int_equal(bed_do(b, BLOCK_WRITE, i * CLUSTER * q->per_slice, 512, p), 0);
	fail_from_now_on(1);
	for (; !ret && i < 2 * q->n_slices; i++)
		ret = bed_do(b, BLOCK_WRITE, i * CLUSTER * q->per_slice, 512, p);
	assert_int_equal(ret, -EIO);
	fake_disk->failing = false;
	assert_int_equal(bed_do(b, BLOCK_WRITE, i * CLUSTER * q->per_slice, 512, p), 0);
	assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
	close_fake(b);
	sound(fd, 8);
	close(fd);
}

/* --- writes that fail --- */

/* What was there is there still, and the cluster that was taken is free again. */
static void test_a_write_that_fails_hides_nothing(void **state)
{
	static const struct {
		uint64_t at;
		size_t len;
	} writes[] = { { 0, 512 }, { 0, CLUSTER }, { 512, CLUSTER }, { 0, 8 * CLUSTER } };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		for (unsigned int after = 0; after < 2; after++) {
			int parent = bed_file(), fd = create(MIB, "parent.raw");
			uint8_t *p = bed_buffer(MIB), *got = bed_buffer(MIB);
			struct block *b;
			int ret;

			bed_fill(p, 0, MIB, 5);
			assert_int_equal(pwrite(parent, p, MIB, 0), MIB);
			b = open_fake(fd, parent, i + 1);
			fail_from_now_on(after);
			memset(got, 0, MIB);
			ret = bed_do(b, BLOCK_WRITE, writes[i].at, writes[i].len, got);
			assert_true(ret == -EIO || (after && !ret));
			fake_disk->failing = false;
			assert_int_equal(bed_do(b, BLOCK_READ, 0, MIB, got), 0);
			if (!after)
				assert_memory_equal(got, p, MIB);
			assert_memory_equal(got + writes[i].at + writes[i].len, p + writes[i].at + writes[i].len, MIB - writes[i].at - writes[i].len);
			assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
			close_fake(b);
			sound(fd, 0);
			close(fd);
			close(parent);
			free(p);
			free(got);
		}
	}
}

/* Two write to parts of a cluster that is copied for both; the copy fails, and both are told. */
static void test_all_who_wait_for_a_copy_are_told_that_it_failed(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		int parent = bed_file(), fd = create(MIB, "parent.raw");
		struct bed_request r[3];
		uint8_t p[3][512] = { 0 };
		struct block *b;

		assert_int_equal(ftruncate(parent, MIB), 0);
		b = open_fake(fd, parent, seed);
		fail_from_now_on(0);
		for (size_t i = 0; i < 3; i++) {
			bed_make(&r[i], BLOCK_WRITE, i * 1024, 512, p[i]);
			assert_int_equal(block_queue(b, &r[i].io), 0);
		}
		block_kick(b);
		for (size_t i = 0; i < 3; i++) {
			bed_wait(b, &r[i]);
			assert_int_equal(r[i].ret, -EIO);
		}
		close_fake(b);
		close(fd);
		close(parent);
	}
}

/* --- who is still there --- */

/*
 * A cluster is read, discarded, and free after the flush; the next write takes it.  Whoever reads it all the while sees what was
 * there, or zeroes, and never what belongs elsewhere.
 */
static void test_a_cluster_is_not_taken_from_those_who_read_it(void **state)
{
	unsigned int late = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= ORDERS; seed++) {
		int fd = create(MIB, NULL);
		struct block *b = open_fake(fd, -1, seed);
		struct bed_request r[8];
		uint8_t p[CLUSTER], got[8][CLUSTER], zeroes[CLUSTER] = { 0 }, old[CLUSTER];

		bed_fill(old, 0, CLUSTER, 1);
		assert_int_equal(bed_do(b, BLOCK_WRITE, 0, CLUSTER, memcpy(p, old, CLUSTER)), 0);
		assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
		for (size_t i = 0; i < 8; i++) {
			bed_make(&r[i], BLOCK_READ, 0, CLUSTER, got[i]);
			assert_int_equal(block_queue(b, &r[i].io), 0);
		}
		assert_int_equal(bed_do(b, BLOCK_DISCARD, 0, CLUSTER, NULL), 0);
		assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
		for (size_t i = 0; i < 8; i++)
			late += !r[i].done;
		bed_fill(p, MIB / 2, CLUSTER, 2);
		assert_int_equal(bed_do(b, BLOCK_WRITE, MIB / 2, CLUSTER, p), 0);
		for (size_t i = 0; i < 8; i++) {
			bed_wait(b, &r[i]);
			assert_true(!memcmp(got[i], old, CLUSTER) || !memcmp(got[i], zeroes, CLUSTER));
		}
		assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
		close_fake(b);
		sound(fd, 0);
		close(fd);
	}
	assert_true(late > 0); /* or nothing was shown */
}

/* Below is raw, of no whole number of sectors, on storage that takes only 4 KiB. */
static void test_a_raw_parent_of_any_size_on_large_sectors(void **state)
{
	const size_t size = 3 * CLUSTER + 700;

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		int parent = bed_file(), fd = create(MIB, "parent.raw");
		struct block_parent up = { parent, "parent.raw" };
		struct block_open_args a = { .fd = fd, .path = "x", .depth = BED_DEPTH, .below = &block_fake, .parents = &up, .n_parents = 1 };
		uint8_t *p = bed_buffer(MIB), *got = bed_buffer(MIB);
		struct block *b;

		memset(p, 0, MIB);
		bed_fill(p, 0, 4 * CLUSTER, 6);
		memset(p + size, 0, 4 * CLUSTER - size);
		assert_int_equal(pwrite(parent, p, size, 0), size);
		fake_new(4096, seed);
		b = bed_open_as("qcow2", &a);
		assert_int_equal(bed_do(b, BLOCK_READ, 512, 5 * CLUSTER, got), 0);
		assert_memory_equal(got, p + 512, 5 * CLUSTER);
		bed_fill(p + 3 * CLUSTER, 3 * CLUSTER, 512, 7);
		assert_int_equal(bed_do(b, BLOCK_WRITE, 3 * CLUSTER, 512, memcpy(got, p + 3 * CLUSTER, 512)), 0);
		assert_int_equal(bed_do(b, BLOCK_READ, 0, MIB, got), 0);
		assert_memory_equal(got, p, MIB);
		assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
		close_fake(b);
		sound(fd, 0);
		close(fd);
		close(parent);
		free(p);
		free(got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_written_by_opening_reading_and_closing),
		cmocka_unit_test(test_tables_are_not_touched_for_clusters_that_have_their_place),
		cmocka_unit_test(test_once_nothing_is_in_flight_nothing_is_written),
		cmocka_unit_test(test_a_flush_that_failed),
		cmocka_unit_test(test_what_is_not_saved_when_it_is_closed_is_owed),
		cmocka_unit_test(test_who_waits_for_room_is_told_when_there_will_be_none),
		cmocka_unit_test(test_a_write_that_fails_hides_nothing),
		cmocka_unit_test(test_all_who_wait_for_a_copy_are_told_that_it_failed),
		cmocka_unit_test(test_a_cluster_is_not_taken_from_those_who_read_it),
		cmocka_unit_test(test_a_raw_parent_of_any_size_on_large_sectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
