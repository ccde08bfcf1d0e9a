/* SPDX-License-Identifier: Apache-2.0 */
/* Images in the format vhd, through the block they are: what is written is read, whatever lies how. */
#include "disk_bed.h"

#include "hv/disk/vhd_int.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define MIB (1ull << 20)

/* --- one image --- */

static void test_what_is_written_is_read_also_later(void **state)
{
	static const enum vhd_kind kinds[] = { VHD_FIXED, VHD_DYNAMIC };

	(void)state;
	for (int k = 0; k < 2; k++) {
		int fd = bed_file();
		uint64_t size = bed_create(fd, kinds[k], 40 * MIB, 0);
		struct block *b = bed_open(fd, false);

		assert_int_equal(block_size(b), size);
		assert_int_equal(block_sector_size(b), 512);
		bed_put(b, 0, 4096, 1);
		bed_put(b, 2 * MIB - 1024, 6 * MIB, 2); /* over block boundaries */
		bed_put(b, size - 512, 512, 3);
		bed_expect(b, 0, 4096, 1);
		bed_expect(b, 4096, 65536, 0);
		bed_expect(b, 2 * MIB - 1024, 6 * MIB, 2);
		bed_expect(b, 30 * MIB, MIB, 0);
		assert_int_equal(block_flush(b, NULL), 0);
		block_close(b);
		b = bed_open(fd, true);
		bed_expect(b, 0, 4096, 1);
		bed_expect(b, 2 * MIB - 1024, 6 * MIB, 2);
		bed_expect(b, size - 512, 512, 3);
		assert_int_equal(bed_do(b, BLOCK_WRITE, 0, 512, (uint8_t[512]){ 0 }), -EROFS);
		assert_int_equal(bed_do(b, BLOCK_READ, size, 512, (uint8_t[512]){ 0 }), -EINVAL);
		block_close(b);
		assert_int_equal(bed_info(fd).kind, kinds[k]);
		assert_false(bed_info(fd).footer_lost);
		close(fd);
	}
}

static void test_what_was_not_flushed_is_not_in_the_tables(void **state)
{
	int fd = bed_file();
	struct block *b;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, 40 * MIB, 0);
	b = bed_open(fd, false);
	bed_put(b, 0, 4096, 1);
	assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
	bed_put(b, 4 * MIB, 4096, 1);
	assert_int_equal(bed_info(fd).allocated, 1);
	block_close(b);
	assert_true(bed_info(fd).footer_lost);
	b = bed_open(fd, false);
	bed_expect(b, 0, 4096, 1);
	bed_expect(b, 4 * MIB, 4096, 0);
	bed_put(b, 4 * MIB, 512, 2);
	assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
	bed_expect(b, 4 * MIB, 512, 2);
	bed_expect(b, 4 * MIB + 512, 4096, 0);
	block_close(b);
	assert_false(bed_info(fd).footer_lost);
	assert_int_equal(bed_info(fd).allocated, 2);
	close(fd);
}

static void test_a_durable_write_takes_its_tables_with_it(void **state)
{
	int fd = bed_file();
	struct bed_request r;
	uint8_t data[512] = { 1 };
	struct block *b;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, 40 * MIB, 0);
	b = bed_open(fd, false);
	bed_make(&r, BLOCK_WRITE, 8 * MIB, 512, data);
	r.io.durable = true;
	assert_int_equal(block_queue(b, &r.io), 0);
	block_kick(b);
	bed_wait(b, &r);
	assert_int_equal(r.ret, 0);
	assert_int_equal(bed_info(fd).allocated, 1);
	assert_false(bed_info(fd).footer_lost);
	block_close(b);
	close(fd);
}

static bool may(void *arg)
{
	return *(const bool *)arg;
}

/* The lease ends while a flush is on its way: no table is written any more, and none is lost. */
static void test_tables_are_written_when_they_may_be(void **state)
{
	bool allowed = true, kept = false;
	int fd = bed_file();
	struct block_open_args a = { .fd = fd, .path = "test.vhd", .depth = BED_DEPTH, .may_write = may, .may_arg = &allowed };
	struct bed_request r;
	struct block *b;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, 40 * MIB, 0);
	b = bed_open_on(&a);
	bed_put(b, 0, 4096, 1);
	bed_make(&r, BLOCK_FLUSH, 0, 0, NULL);
	assert_int_equal(block_queue(b, &r.io), 0);
	allowed = false; /* the fdatasync of the data is under way */
	block_kick(b);
	bed_wait(b, &r);
	assert_int_equal(r.ret, BLOCK_NOT_NOW);
	assert_true(r.io.kept);
	assert_int_equal(bed_info(fd).allocated, 0);
	assert_int_equal(b->format->flush(b, &kept), BLOCK_NOT_NOW);
	assert_true(kept);
	assert_int_equal(bed_info(fd).allocated, 0);
	allowed = true;
	assert_int_equal(block_flush(b, NULL), 0);
	assert_int_equal(bed_info(fd).allocated, 1);
	block_close(b);
	close(fd);
}

static void test_zeroes_and_discards(void **state)
{
	int fd = bed_file();
	struct block *b;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, 40 * MIB, 0);
	b = bed_open(fd, false);
	bed_put(b, 0, 6 * MIB, 1);
	assert_int_equal(bed_do(b, BLOCK_ZERO, MIB + 512, 2 * MIB, NULL), 0);
	bed_expect(b, MIB, 512, 1);
	bed_expect(b, MIB + 512, 2 * MIB, 0);
	bed_expect(b, 3 * MIB + 512, MIB, 1);
	assert_int_equal(bed_do(b, BLOCK_ZERO, 20 * MIB, 10 * MIB, NULL), 0);
	assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(bed_info(fd).allocated, 3); /* zeroes of nothing are nothing */
	assert_int_equal(bed_do(b, BLOCK_DISCARD, 4 * MIB, 30 * MIB, NULL), 0);
	bed_expect(b, 4 * MIB, 2 * MIB, 0); /* its place stays, what was there is gone */
	assert_int_equal(bed_info(fd).allocated, 3);
	block_close(b);
	close(fd);
}

/* Any two requests to one block that has no place yet, in flight together: both arrive, in one place. */
static void test_two_first_writes_to_a_block(void **state)
{
	int fd = bed_file();
	struct bed_request r[8];
	uint8_t *p = bed_buffer(8 * 4096);
	struct block *b;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, 40 * MIB, 0);
	b = bed_open(fd, false);
	bed_fill(p, 6 * MIB, 8 * 4096, 9);
	for (int i = 0; i < 8; i++) {
		bed_make(&r[i], BLOCK_WRITE, 6 * MIB + i * 4096ull, 4096, p + i * 4096);
		assert_int_equal(block_queue(b, &r[i].io), 0);
	}
	block_kick(b);
	for (int i = 0; i < 8; i++) {
		bed_wait(b, &r[i]);
		assert_int_equal(r[i].ret, 0);
	}
	bed_expect(b, 6 * MIB, sizeof(uint8_t[8 * 4096]), 9);
	assert_int_equal(block_flush(b, NULL), 0);
	assert_int_equal(bed_info(fd).allocated, 1);
	block_close(b);
	free(p);
	close(fd);
}

static void test_vectors_are_cut_where_blocks_end(void **state)
{
	const size_t len = 3 * 4096, seg = 1536;
	int fd = bed_file();
	struct bed_request r;
	uint8_t *p = bed_buffer(len), *got = bed_buffer(len);
	struct block *b;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, MIB, 4096);
	b = bed_open(fd, false);
	bed_fill(p, 512, len, 5);
	for (int read = 0; read < 2; read++) {
		bed_make(&r, read ? BLOCK_READ : BLOCK_WRITE, 512, len, NULL);
		for (size_t i = 0; i < len / seg; i++)
			r.iov[i] = (struct iovec){ (read ? got : p) + i * seg, seg };
		r.io.n_iov = (unsigned int)(len / seg);
		assert_int_equal(block_queue(b, &r.io), 0);
		block_kick(b);
		bed_wait(b, &r);
		assert_int_equal(r.ret, 0);
	}
	assert_memory_equal(p, got, len);
	block_close(b);
	free(p);
	free(got);
	close(fd);
}

/* More blocks than bitmaps fit in memory: writers wait until some are on the disk. */
static void test_dirty_tables_are_bounded(void **state)
{
	int fd = bed_file();
	struct bed_request r[BED_DEPTH];
	uint8_t *p = bed_buffer(512);
	struct block *b;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, 16 * MIB, 4096);
	b = bed_open(fd, false);
	for (int round = 0; round < 90; round++) {
		for (int i = 0; i < BED_DEPTH; i++) {
			bed_fill(p, 0, 512, 7);
			bed_make(&r[i], BLOCK_WRITE, (round * BED_DEPTH + i) * 4096ull, 512, p);
			assert_int_equal(block_queue(b, &r[i].io), 0);
		}
		block_kick(b);
		for (int i = 0; i < BED_DEPTH; i++) {
			bed_wait(b, &r[i]);
			assert_int_equal(r[i].ret, 0);
		}
	}
	assert_true(bed_info(fd).allocated >= 90u * BED_DEPTH - 2 * VHD_BITMAPS_MAX);
	assert_int_equal(block_flush(b, NULL), 0);
	assert_int_equal(bed_info(fd).allocated, 90 * BED_DEPTH);
	block_close(b);
	free(p);
	close(fd);
}

struct flusher {
	struct block *b;
	_Atomic bool stop;
	_Atomic unsigned int n;
};

static void *flush_all_the_time(void *arg)
{
	struct flusher *f = arg;

	while (!f->stop) {
		if (block_flush(f->b, NULL))
			abort();
		f->n++;
	}
	return NULL;
}

/* block_flush() is any thread's, also while the device's thread has requests in flight; done() stays that one's. */
static void test_a_flush_from_another_thread(void **state)
{
	int fd = bed_file();
	struct flusher f = { 0 };
	struct bed_request r[8];
	uint8_t *p = bed_buffer(8 * 4096);
	pthread_t t;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, 40 * MIB, 4096);
	f.b = bed_open(fd, false);
	assert_int_equal(pthread_create(&t, NULL, flush_all_the_time, &f), 0);
	for (uint64_t i = 0; i < 400 || f.n < 3; i++) {
		for (int k = 0; k < 8; k++) {
			bed_make(&r[k], i % 3 ? BLOCK_WRITE : BLOCK_READ, (i % 1000 * 8 + k) * 4096, 4096, p + k * 4096);
			assert_int_equal(block_queue(f.b, &r[k].io), 0);
		}
		block_kick(f.b);
		for (int k = 0; k < 8; k++) {
			bed_wait(f.b, &r[k]);
			assert_int_equal(r[k].ret, 0);
		}
	}
	f.stop = true;
	pthread_join(t, NULL);
	block_close(f.b);
	free(p);
	close(fd);
}

/* --- sizes --- */

static void test_geometries_are_those_of_the_specification(void **state)
{
	static const struct {
		uint64_t sectors;
		unsigned int c, h, s;
	} rows[] = {
		{ 8192, 120, 4, 17 },
		{ 65535ull * 16 * 63, 16191, 16, 255 },
		{ 65535ull * 16 * 255, 65535, 16, 255 },
		{ 1ull << 33, 65535, 16, 255 },
	};
	struct vhd_footer f;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		vhd_geometry(rows[i].sectors, &f);
		assert_int_equal(f.cylinders, rows[i].c);
		assert_int_equal(f.heads, rows[i].h);
		assert_int_equal(f.sectors, rows[i].s);
	}
	for (uint64_t n = 2048; n < 65535ull * 16 * 255; n += n / 7 + 1) {
		uint64_t product;

		vhd_geometry(n, &f);
		product = (uint64_t)f.cylinders * f.heads * f.sectors;
		assert_true(product <= n && n - product < 16 * 255);
	}
}

static void test_who_made_it_says_which_size_counts(void **state)
{
	static const struct {
		const char *creator;
		bool current;
	} rows[] = {
		{ "vpc ", false },
		{ "qemu", false },
		{ "vs  ", false },
		{ "vbox", true },
		{ "caml", true },
		{ "\1\2\3\4", true },
		{ "win ", true },
		{ "d2v ", true },
		{ "tap", true },
		{ "qem2", true },
		{ "CTXS", true },
		{ "wa", true },
		{ "drov", true },
	};
	struct vhd_footer f = { .kind = VHD_FIXED, .current_size = 100 * MIB }, got;
	uint8_t bytes[VHD_FOOTER_SIZE];

	(void)state;
	vhd_geometry(100 * MIB / 512, &f);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(f.creator, 0, sizeof(f.creator));
		memcpy(f.creator, rows[i].creator, strlen(rows[i].creator));
		vhd_footer_put(bytes, &f);
		assert_true(vhd_footer_get(bytes, &got));
		assert_int_equal(got.size, rows[i].current ? 100 * MIB : (uint64_t)f.cylinders * f.heads * f.sectors * 512);
	}
	memcpy(f.creator, "vpc ", 4);
	f.current_size = 200ull << 30;
	vhd_geometry(f.current_size / 512, &f);
	vhd_footer_put(bytes, &f);
	assert_true(vhd_footer_get(bytes, &got));
	assert_int_equal(got.size, f.current_size);
}

static void test_blocks_lie_on_whole_pages(void **state)
{
	int fd = bed_file();
	struct vhd_layout l;
	struct block *b;
	struct stat st;

	(void)state;
	bed_create(fd, VHD_DYNAMIC, 40 * MIB, 0);
	b = bed_open(fd, false);
	for (int i = 19; i >= 0; i--)
		bed_put(b, i * 2 * MIB, 512, 1);
	assert_int_equal(block_flush(b, NULL), 0);
	block_close(b);
	assert_int_equal(vhd_read(fd, "x", &l, NULL), 0);
	for (uint32_t i = 0; i < l.blocks; i++)
		assert_true(l.bat[i] == VHD_NO_BLOCK || (l.bat[i] * 512ull + l.bitmap_size) % 4096 == 0);
	vhd_read_end(&l);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size % 4096, 0);
	close(fd);
}

/* --- the page cache --- */

static size_t pages_in_cache(int fd)
{
	struct stat st;
	unsigned char *in;
	size_t pages, n = 0;
	void *p;

	assert_int_equal(fstat(fd, &st), 0);
	pages = ((size_t)st.st_size + 4095) / 4096;
	in = calloc(1, pages);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(in && p != MAP_FAILED);
	assert_int_equal(mincore(p, (size_t)st.st_size, in), 0);
	for (size_t i = 0; i < pages; i++)
		n += in[i] & 1;
	munmap(p, (size_t)st.st_size);
	free(in);
	return n;
}

static int file_out_of_cache(enum vhd_kind kind)
{
	char path[256];
	const char *where = getenv("TMPDIR");
	int fd;

	snprintf(path, sizeof(path), "%.200s/drover-vhd-XXXXXX", where ? where : "/tmp");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	unlink(path);
	bed_create(fd, kind, MIB, 0);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	return fd;
}

/* What this host's page cache knows may be older than what the host wrote that had the image last. */
static void test_tables_are_not_read_through_the_page_cache(void **state)
{
	static const enum vhd_kind kinds[] = { VHD_FIXED, VHD_DYNAMIC };
	struct block *b;
	struct err e;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		int fd = file_out_of_cache(kinds[i]), ret;

		if (pages_in_cache(fd)) {
			close(fd);
			print_message("this file system is its own page cache (TMPDIR)\n");
			skip();
		}
		ret = block_open("vhd", fd, "x.vhd", false, true, BED_DEPTH, &b, &e);
		if (ret == -EOPNOTSUPP) {
			close(fd);
			print_message("%s\n", e.text);
			skip();
		}
		assert_int_equal(ret, 0);
		assert_int_equal(pages_in_cache(fd), 0);
		block_close(b);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read_also_later),
		cmocka_unit_test(test_what_was_not_flushed_is_not_in_the_tables),
		cmocka_unit_test(test_a_durable_write_takes_its_tables_with_it),
		cmocka_unit_test(test_tables_are_written_when_they_may_be),
		cmocka_unit_test(test_zeroes_and_discards),
		cmocka_unit_test(test_two_first_writes_to_a_block),
		cmocka_unit_test(test_vectors_are_cut_where_blocks_end),
		cmocka_unit_test(test_dirty_tables_are_bounded),
		cmocka_unit_test(test_a_flush_from_another_thread),
		cmocka_unit_test(test_geometries_are_those_of_the_specification),
		cmocka_unit_test(test_who_made_it_says_which_size_counts),
		cmocka_unit_test(test_blocks_lie_on_whole_pages),
		cmocka_unit_test(test_tables_are_not_read_through_the_page_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
