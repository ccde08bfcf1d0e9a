/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the disk below an image may do: fail, at any moment, and take only sectors of 4 KiB.
 * Requests are carried out in many orders (fake_disk.h); what must hold, holds in each.
 */
#include "disk_bed.h"
#include "fake_disk.h"

#include "hv/disk/vhd_int.h"

#include <errno.h>

#define MIB (1ull << 20)
#define ORDERS 200

static struct block *open_fake(int fd, uint32_t sector, uint64_t seed)
{
	struct block_open_args a = { .fd = fd, .path = "fault.vhd", .depth = BED_DEPTH, .below = &block_fake };

	fake_new(sector, seed);
	return bed_open_on(&a);
}

static void close_fake(struct block *b, int fd)
{
	block_close(b);
	fake_free(fake_disk);
	close(fd);
}

/*
 * One writes eight sectors, the other one of them, at once.  Who is last in that one is nobody's business; the other
 * seven are the first one's.
 */
static void test_a_sector_and_the_page_around_it(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= ORDERS; seed++) {
		int fd = bed_file();
		uint8_t page[4096], one[512], got[4096];
		struct bed_request whole, part;
		struct block *b;

		bed_create(fd, VHD_DYNAMIC, MIB, 65536);
		b = open_fake(fd, 4096, seed);
		bed_fill(page, 8192, 4096, 1);
		bed_fill(one, 8192 + 512, 512, 2);
		bed_make(&whole, BLOCK_WRITE, 8192, 4096, page);
		bed_make(&part, BLOCK_WRITE, 8192 + 512, 512, one);
		assert_int_equal(block_queue(b, seed % 2 ? &whole.io : &part.io), 0);
		if (seed % 4 < 2) {
			block_kick(b);
			block_reap(b);
		}
		assert_int_equal(block_queue(b, seed % 2 ? &part.io : &whole.io), 0);
		block_kick(b);
		bed_wait(b, &whole);
		bed_wait(b, &part);
		assert_int_equal(bed_do(b, BLOCK_READ, 8192, 4096, got), 0);
		assert_memory_equal(got, page, 512);
		assert_memory_equal(got + 1024, page + 1024, 4096 - 1024);
		assert_true(!memcmp(got + 512, one, 512) || !memcmp(got + 512, page + 512, 512));
		close_fake(b, fd);
	}
}

/* Eight sectors of one page, each written by another request, all at once; then odd zeroes over them. */
static void test_neighbours_in_a_page(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= ORDERS; seed++) {
		int fd = bed_file();
		uint8_t page[3 * 4096], got[3 * 4096];
		struct bed_request r[8];
		struct block *b;

		bed_create(fd, VHD_DYNAMIC, MIB, 65536);
		b = open_fake(fd, 4096, seed);
		bed_fill(page, 0, sizeof(page), 3);
		for (size_t i = 0; i < 8; i++) {
			bed_make(&r[i], BLOCK_WRITE, i * 1536, 1536, page + i * 1536);
			assert_int_equal(block_queue(b, &r[i].io), 0);
		}
		block_kick(b);
		for (size_t i = 0; i < 8; i++)
			bed_wait(b, &r[i]);
		assert_int_equal(bed_do(b, BLOCK_READ, 0, sizeof(got), got), 0);
		assert_memory_equal(got, page, sizeof(got));
		assert_int_equal(bed_do(b, BLOCK_ZERO, 512, 8192, NULL), 0);
		memset(page + 512, 0, 8192);
		assert_int_equal(bed_do(b, BLOCK_READ, 0, sizeof(got), got), 0);
		assert_memory_equal(got, page, sizeof(got));
		close_fake(b, fd);
	}
}

/* The tables of three blocks are on the disk, in whatever state the power is cut. */
static void expect_three_blocks(int base, uint64_t seed)
{
	int cut = fake_cut(fake_disk, base, fake_moment(fake_disk), seed);
	struct vhd_layout l;
	struct err e = { 0 };
	uint8_t bits[512];

	if (vhd_read(cut, "cut.vhd", &l, &e))
		fail_msg("%s", e.text);
	assert_int_equal(l.allocated, 3);
	assert_false(l.footer_lost);
	for (uint32_t i = 0; i < 6; i += 2) {
		assert_int_equal(pread(cut, bits, 512, l.bat[i] * 512ll), 512);
		assert_int_equal(bits[0], 0xff);
		assert_int_equal(bits[15], 0xff);
	}
	vhd_read_end(&l);
	close(cut);
}

static int flush(struct block *b, bool *kept)
{
	struct bed_request r;

	bed_make(&r, BLOCK_FLUSH, 0, 0, NULL);
	assert_int_equal(block_queue(b, &r.io), 0);
	block_kick(b);
	bed_wait(b, &r);
	*kept = r.io.kept;
	return r.ret;
}

/* Whatever step of it fails, a flush says so, and the next one does all of it. */
static void test_a_flush_that_failed_is_done_by_the_next(void **state)
{
	unsigned int failed = 0, kept = 0;
	bool is_kept;

	(void)state;
	for (unsigned int after = 0; after < 12; after++) {
		int fd = bed_file(), base = bed_file();
		uint8_t data[512], head[2048];
		struct block *b;
		int ret;

		bed_create(fd, VHD_DYNAMIC, MIB, 65536);
		assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
		assert_int_equal(pwrite(base, head, sizeof(head), 0), sizeof(head));
		b = open_fake(fd, 512, after + 1);
		bed_fill(data, 0, 512, 4);
		for (uint64_t i = 0; i < 3; i++)
			assert_int_equal(bed_do(b, BLOCK_WRITE, i * 65536 * 2, 512, data), 0);
		fake_disk->failing = true;
		fake_disk->fail_after = after;
		ret = flush(b, &is_kept);
		assert_true(ret == 0 || ret == -EIO);
		assert_true(ret || !is_kept);
		failed += ret != 0;
		kept += is_kept;
		assert_int_equal(block_owed(b), 0); /* the guest has heard it, or will */
		fake_disk->failing = false;
		assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
		for (uint64_t seed = 0; seed < 16; seed++)
			expect_three_blocks(base, seed);
		close(base);
		close_fake(b, fd);
	}
	assert_int_equal(failed, kept + 3); /* an fdatasync that failed may have lost what nobody has any more */
	assert_true(failed >= 8);           /* fdatasync, a footer and three bitmaps, fdatasync, a sector of the table, fdatasync */
}

/*
 * What completed and only memory knows the place of goes with the block: whoever closes it then must tell the guest, also
 * where no flush has lost anything yet.
 */
static void test_what_is_not_saved_when_it_is_closed_is_owed(void **state)
{
	uint8_t data[512] = { 1 };
	int fd = bed_file();
	struct block *b;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, MIB, 4096);
	b = open_fake(fd, 512, 1);
	assert_int_equal(block_leaves(b), 0);
	assert_int_equal(bed_do(b, BLOCK_WRITE, 0, 512, data), 0);
	assert_int_equal(block_leaves(b), -EIO);
	fake_disk->failing = true;
	fake_disk->fail_after = 1; /* data is durable, and then there is no space */
	assert_int_equal(block_flush(b, NULL), -EIO);
	assert_int_equal(block_owed(b), 0);
	assert_int_equal(block_leaves(b), -EIO);
	fake_disk->failing = false;
	assert_int_equal(block_flush(b, NULL), 0);
	assert_int_equal(block_leaves(b), 0);
	/* What was lost before is no reason to lose more. */
	assert_int_equal(bed_do(b, BLOCK_WRITE, 65536, 512, data), 0);
	block_owe(b, -ENOSPC);
	assert_int_equal(block_flush(b, NULL), -ENOSPC);
	assert_false(b->format->unsaved(b));
	assert_int_equal(block_leaves(b), -ENOSPC);
	close_fake(b, fd);
}

/* A write that waits for room in the tables, which cannot be written: it fails, and does not wait for ever. */
static void test_who_waits_for_room_is_told_when_there_will_be_none(void **state)
{
	uint8_t data[512] = { 1 };
	int fd = bed_file(), ret = 0;
	struct block *b;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, 16 * MIB, 4096);
	b = open_fake(fd, 512, 1);
	for (uint64_t i = 0; i < VHD_BITMAPS_MAX; i++)
		assert_int_equal(bed_do(b, BLOCK_WRITE, i * 4096, 512, data), 0);
	fake_disk->failing = true;
	ret = bed_do(b, BLOCK_WRITE, VHD_BITMAPS_MAX * 4096ull, 512, data);
	assert_int_equal(ret, -EIO);
	fake_disk->failing = false;
	assert_int_equal(bed_do(b, BLOCK_WRITE, VHD_BITMAPS_MAX * 4096ull, 512, data), 0);
	/* An fdatasync has failed that was no guest's: what it lost is told to the next one, once. */
	assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), -EIO);
	assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
	close_fake(b, fd);
}

/* A failed write leaves what was there: in a child, the parent's. */
static void test_a_write_that_fails_hides_nothing(void **state)
{
	int parent = bed_file(), fd = bed_file();
	struct block_parent up = { parent, "parent.vhd" };
	struct block_open_args a = {
		.fd = fd,
		.path = "fault.vhd",
		.depth = BED_DEPTH,
		.below = &block_fake,
		.parents = &up,
		.n_parents = 1,
	};
	uint8_t data[512], got[512];
	struct block *b;

	(void)state;
	bed_create(parent, VHD_DYNAMIC, MIB, 0);
	b = bed_open(parent, false);
	bed_fill(data, 0, 512, 5);
	assert_int_equal(bed_do(b, BLOCK_WRITE, 0, 512, data), 0);
	assert_int_equal(block_flush(b, NULL), 0);
	block_close(b);
	bed_create_on(fd, parent, 4096);
	fake_new(512, 1);
	b = bed_open_on(&a);
	fake_disk->failing = true;
	assert_int_equal(bed_do(b, BLOCK_WRITE, 0, 512, got), -EIO);
	fake_disk->failing = false;
	assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(bed_do(b, BLOCK_READ, 0, 512, got), 0);
	assert_memory_equal(got, data, 512);
	close_fake(b, fd);
	close(parent);
}

/* The first block that is taken puts the footer at the end out of place; so its damaged copy is mended before. */
static void test_a_damaged_copy_is_mended_before_it_is_needed(void **state)
{
	uint8_t data[512] = { 1 };
	struct vhd_info info;
	int fd = bed_file();
	struct block *b;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, MIB, 4096);
	assert_int_equal(pwrite(fd, "x", 1, 10), 1);
	b = open_fake(fd, 512, 1);
	assert_int_equal(bed_do(b, BLOCK_WRITE, 0, 512, data), 0);
	assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) / 512 * 512), 0);
	assert_int_equal(vhd_info(fd, "x", &info, NULL), 0); /* by the copy: nothing else was flushed */
	assert_true(info.footer_lost);
	close_fake(b, fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_sector_and_the_page_around_it),
		cmocka_unit_test(test_neighbours_in_a_page),
		cmocka_unit_test(test_a_flush_that_failed_is_done_by_the_next),
		cmocka_unit_test(test_what_is_not_saved_when_it_is_closed_is_owed),
		cmocka_unit_test(test_who_waits_for_room_is_told_when_there_will_be_none),
		cmocka_unit_test(test_a_write_that_fails_hides_nothing),
		cmocka_unit_test(test_a_damaged_copy_is_mended_before_it_is_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
