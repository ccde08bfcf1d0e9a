/* SPDX-License-Identifier: Apache-2.0 */
/* Images of the format qcow2 that are not what they say (rule S): each lie is named in one line, and none is written to. */
#include "disk_bed.h"

#include "hv/disk/qcow2_int.h"

#include <errno.h>
#include <sys/stat.h>

#define MIB (1ull << 20)
#define CLUSTER 4096u
#define L2_SPAN (CLUSTER / 8ull * CLUSTER) /* bytes of the disk that an L2 table is about */

/* A sound image of 20 MiB, with data in clusters 0, 1 and 3, and in one of the second L2 table. */
struct hostile_bytes {
	int fd;
	struct qcow2_layout l;
};

static void put_at(const struct hostile_bytes *m, const void *p, size_t len, uint64_t at)
{
	assert_int_equal(pwrite(m->fd, p, len, (off_t)at), len);
}

static void put32(const struct hostile_bytes *m, uint64_t at, uint32_t v)
{
	v = htobe32(v);
	put_at(m, &v, 4, at);
}

static void put64(const struct hostile_bytes *m, uint64_t at, uint64_t v)
{
	v = htobe64(v);
	put_at(m, &v, 8, at);
}

static uint64_t get64(const struct hostile_bytes *m, uint64_t at)
{
	uint64_t v;

	assert_int_equal(pread(m->fd, &v, 8, (off_t)at), 8);
	return be64toh(v);
}

static uint64_t l2_at(const struct hostile_bytes *m, uint32_t i)
{
	return get64(m, m->l.h.l1_at + 8ull * i) & QCOW2_PLACE;
}

/* An extension of so many bytes in front of the end of them. */
static void extension(const struct hostile_bytes *m, uint32_t type, uint32_t len)
{
	put32(m, m->l.h.length, type);
	put32(m, m->l.h.length + 4, len);
}

static void backing(const struct hostile_bytes *m, uint64_t at, uint32_t len)
{
	put64(m, 8, at);
	put32(m, 16, len);
}

#define LIE(name, change)                               \
	static void name(const struct hostile_bytes *m) \
	{                                               \
		change;                                 \
	}

LIE(magic, put_at(m, "QFI\xfa", 4, 0))
LIE(version_1, put32(m, 4, 1))
LIE(version_4, put32(m, 4, 4))
LIE(bits_small, put32(m, 20, 8))
LIE(bits_large, put32(m, 20, 22))
LIE(bits_all, put32(m, 20, UINT32_MAX))
LIE(size_zero, put64(m, 24, 0))
LIE(size_odd, put64(m, 24, 1000))
LIE(size_huge, put64(m, 24, 1ull << 62))
LIE(size_wraps, put64(m, 24, ~511ull))
LIE(size_more, put64(m, 24, 1ull << 40))
LIE(aes, put32(m, 32, 1))
LIE(luks, put32(m, 32, 2))
LIE(l1_few, put32(m, 36, 9))
LIE(l1_many, put32(m, 36, UINT32_MAX))
LIE(l1_odd, put64(m, 40, m->l.h.l1_at + 512))
LIE(l1_at_0, put64(m, 40, 0))
LIE(l1_far, put64(m, 40, 1ull << 50))
LIE(l1_wraps, put64(m, 40, ~4095ull))
LIE(l1_on_table, put64(m, 40, m->l.h.table_at))
LIE(table_none, put32(m, 56, 0))
LIE(table_large, put32(m, 56, UINT32_MAX))
LIE(table_odd, put64(m, 48, 100))
LIE(table_far, put64(m, 48, 1ull << 50))
LIE(table_past_end, put32(m, 56, 200))
LIE(snapshots_many, put32(m, 60, UINT32_MAX))
LIE(snapshots_odd, put32(m, 60, 1); put64(m, 64, 1000))
LIE(snapshots_far, put32(m, 60, 60000); put64(m, 64, m->l.h.l1_at))
LIE(corrupt, put64(m, 72, QCOW2_CORRUPT))
LIE(dirty, put64(m, 72, QCOW2_DIRTY))
LIE(data_file, put64(m, 72, QCOW2_DATA_FILE))
LIE(extended, put64(m, 72, QCOW2_EXTENDED_L2))
LIE(unknown, put64(m, 72, 1ull << 40 | 1ull << 5))
LIE(zstd, put64(m, 72, QCOW2_COMPRESSION); put_at(m, "\1", 1, 104))
LIE(compression_2, put64(m, 72, QCOW2_COMPRESSION); put_at(m, "\2", 1, 104))
LIE(compression_unsaid, put_at(m, "\1", 1, 104))
LIE(compression_missing, put64(m, 72, QCOW2_COMPRESSION))
LIE(order_7, put32(m, 96, 7))
LIE(order_all, put32(m, 96, UINT32_MAX))
LIE(length_short, put32(m, 100, 96))
LIE(length_odd, put32(m, 100, 107))
LIE(length_long, put32(m, 100, 8192))
LIE(extension_long, extension(m, 0x12345678, 8192))
LIE(extension_wraps, extension(m, 0x12345678, UINT32_MAX))
LIE(extension_format, extension(m, QCOW2_EXT_BACKING_FORMAT, 100))
LIE(extension_bitmaps, extension(m, QCOW2_EXT_BITMAPS, 8))
LIE(name_far, backing(m, 1ull << 40, 10))
LIE(name_long, backing(m, 200, 2000))
LIE(name_none, backing(m, 200, 0))
LIE(name_in_header, backing(m, 8, 10))
LIE(name_past_cluster, backing(m, CLUSTER - 5, 10))
LIE(block_odd, put64(m, m->l.h.table_at, 2 * CLUSTER + 512))
LIE(block_far, put64(m, m->l.h.table_at, 1ull << 50))
LIE(block_on_header, put64(m, m->l.h.table_at + 8, (uint64_t)m->l.h.table_at))
LIE(block_twice, put64(m, m->l.h.table_at + 8, 2 * CLUSTER))
LIE(blocks_none, put64(m, m->l.h.table_at, 0))
LIE(l2_odd, put64(m, m->l.h.l1_at, l2_at(m, 0) + 512))
LIE(l2_far, put64(m, m->l.h.l1_at, 1ull << 50))
LIE(l2_bits, put64(m, m->l.h.l1_at, l2_at(m, 0) | 1))
LIE(l2_twice, put64(m, m->l.h.l1_at + 8, l2_at(m, 0)))
LIE(l2_on_l1, put64(m, m->l.h.l1_at, m->l.h.l1_at))
LIE(l2_on_header, put64(m, m->l.h.l1_at, QCOW2_COPIED))
LIE(cut_to_nothing, assert_int_equal(ftruncate(m->fd, 0), 0))
LIE(cut_short, assert_int_equal(ftruncate(m->fd, 100), 0))
LIE(cut_to_header, assert_int_equal(ftruncate(m->fd, CLUSTER), 0))
LIE(cut_in_l1, assert_int_equal(ftruncate(m->fd, (off_t)m->l.h.l1_at + 8), 0))
LIE(cut_before_l2, assert_int_equal(ftruncate(m->fd, (off_t)m->l.h.l1_at + CLUSTER), 0))

static const struct {
	const char *name, *said;
	void (*change)(const struct hostile_bytes *m);
} rows[] = {
#define ROW(f, said)        \
	{                   \
#f, said, f \
	}
	ROW(magic, "no header at its start"),
	ROW(version_1, "version 1, expected 2 or 3"),
	ROW(version_4, "version 4, expected 2 or 3"),
	ROW(bits_small, "clusters of 2^8 bytes, expected 2^9 to 2^21"),
	ROW(bits_large, "clusters of 2^22 bytes"),
	ROW(bits_all, "clusters of 2^4294967295 bytes"),
	ROW(size_zero, "a size of 0 bytes"),
	ROW(size_odd, "expected whole sectors of 512"),
	ROW(size_huge, "a size of 4611686018427387904 bytes"),
	ROW(size_wraps, "a size of"),
	ROW(size_more, "an L1 table of 10 entries, expected at least the 524288"),
	ROW(aes, "is encrypted (AES)"),
	ROW(luks, "is encrypted (LUKS)"),
	ROW(l1_few, "an L1 table of 9 entries, expected at least the 10"),
	ROW(l1_many, "an L1 table of 4294967295 entries"),
	ROW(l1_odd, "its L1 table at byte"),
	ROW(l1_at_0, "its L1 table at byte 0"),
	ROW(l1_far, "its L1 table, 80 bytes at byte"),
	ROW(l1_wraps, "its L1 table, 80 bytes at byte"),
	ROW(l1_on_table, "expected it to be counted, and no other table to lie there"),
	ROW(table_none, "a refcount table of 0 clusters"),
	ROW(table_large, "a refcount table of 4294967295 clusters"),
	ROW(table_odd, "its refcount table at byte 100"),
	ROW(table_far, "its refcount table, 8 bytes at byte"),
	ROW(table_past_end, "its refcount table, 819200 bytes at byte 4096, expected all of it in the file"),
	ROW(snapshots_many, "4294967295 internal snapshots"),
	ROW(snapshots_odd, "its snapshot table at byte 1000"),
	ROW(snapshots_far, "its snapshot table, 2400000 bytes"),
	ROW(corrupt, "is marked as corrupt"),
	ROW(dirty, "is marked as dirty"),
	ROW(data_file, "has its data in an external file"),
	ROW(extended, "has extended L2 entries"),
	ROW(unknown, "incompatible features 0x10000000020"),
	ROW(zstd, "is compressed by zstd"),
	ROW(compression_2, "compression type 2"),
	ROW(compression_unsaid, "compression type 1, and its incompatible feature is not set"),
	ROW(compression_missing, "compression type 0, and its incompatible feature is set"),
	ROW(order_7, "refcounts of 2^7 bits"),
	ROW(order_all, "refcounts of 2^4294967295 bits"),
	ROW(length_short, "a header of 96 bytes"),
	ROW(length_odd, "a header of 107 bytes"),
	ROW(length_long, "a header of 8192 bytes"),
	ROW(extension_long, "a header extension of 8192 bytes"),
	ROW(extension_wraps, "a header extension of 4294967295 bytes"),
	ROW(extension_format, "a backing format of 100 letters"),
	ROW(extension_bitmaps, "a bitmaps extension of 8 bytes"),
	ROW(name_far, "the name of its backing file, 10 bytes at byte"),
	ROW(name_long, "the name of its backing file, 2000 bytes"),
	ROW(name_none, "the name of its backing file, 0 bytes"),
	ROW(name_in_header, "the name of its backing file, 10 bytes at byte 8"),
	ROW(name_past_cluster, "the name of its backing file, 10 bytes at byte 4091"),
	ROW(block_odd, "refcount block 0 at byte 8704"),
	ROW(block_far, "refcount block 0 at byte"),
	ROW(block_on_header, "a refcount block at byte 4096, expected"),
	ROW(block_twice, "a refcount block at byte 8192, expected"),
	ROW(blocks_none, "its header at byte 0, expected it to be counted"),
	ROW(l2_odd, "L2 table 0 at byte"),
	ROW(l2_far, "L2 table 0 at byte"),
	ROW(l2_bits, "L1 entry 0 is 0x"),
	ROW(l2_twice, "L2 table 1 at byte"),
	ROW(l2_on_l1, "L2 table 0 at byte 12288, expected it to be counted, and no other table"),
	ROW(l2_on_header, "L2 table 0 at byte 0"),
	ROW(cut_to_nothing, "a file of 0 bytes"),
	ROW(cut_short, "a file of 100 bytes"),
	ROW(cut_to_header, "its L1 table, 80 bytes at byte 12288, expected all of it in the file"),
	ROW(cut_in_l1, "its L1 table, 80 bytes at byte 12288"),
	ROW(cut_before_l2, "L2 table 0 at byte"),
};

static struct block *open_image(int fd, bool readonly)
{
	struct block_open_args a = { .fd = fd, .path = "hostile.qcow2", .depth = BED_DEPTH, .readonly = readonly };

	return bed_open_as("qcow2", &a);
}

static void make(struct hostile_bytes *m)
{
	struct qcow2_new n = { .size = 20 * MIB, .cluster = CLUSTER };
	struct block *b;

	m->fd = bed_file();
	assert_int_equal(qcow2_create(m->fd, "hostile.qcow2", &n, NULL), 0);
	b = open_image(m->fd, false);
	bed_put(b, 0, 2 * CLUSTER, 1);
	bed_put(b, 3 * CLUSTER, CLUSTER, 1);
	bed_put(b, L2_SPAN, CLUSTER, 1);
	assert_int_equal(block_flush(b, NULL), 0);
	block_close(b);
	assert_int_equal(qcow2_layout_read(m->fd, "hostile.qcow2", &m->l, NULL), 0);
}

static void end(struct hostile_bytes *m)
{
	qcow2_layout_end(&m->l);
	close(m->fd);
}

static void test_each_lie_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct hostile_bytes m;
		struct block *b = NULL;
		struct qcow2_checked c;
		struct err e = { 0 };

		make(&m);
		rows[i].change(&m);
		if (!block_open("qcow2", m.fd, "hostile.qcow2", false, false, BED_DEPTH, &b, &e))
			fail_msg("%s: opened", rows[i].name);
		if (!strstr(e.text, rows[i].said) || strncmp(e.text, "disk hostile.qcow2: qcow2: ", 27))
			fail_msg("%s: '%s' in: %s", rows[i].name, rows[i].said, e.text);
		assert_null(b);
		/* ... and it is no secret to who only looks; counts of a dirty one are not held against it */
		if (!qcow2_check(m.fd, "hostile.qcow2", &c, NULL, NULL, &e) && !c.wrong && rows[i].change != dirty)
			fail_msg("%s: nothing is wrong with it", rows[i].name);
		end(&m);
	}
}

/* --- lies of L2 tables: found by the request that meets them --- */

#define ENTRY(name, value)                                  \
	static uint64_t name(const struct hostile_bytes *m) \
	{                                                   \
		return value;                               \
	}

ENTRY(reserved_low, get64(m, l2_at(m, 0)) | 2)
ENTRY(reserved_high, get64(m, l2_at(m, 0)) | 1ull << 60)
ENTRY(odd, get64(m, l2_at(m, 0)) + 512)
ENTRY(past_end, QCOW2_COPIED | (m->l.file_size + CLUSTER - 1) / CLUSTER * CLUSTER)
ENTRY(far, QCOW2_COPIED | (QCOW2_PLACE & ~4095ull))
ENTRY(on_l1, QCOW2_COPIED | m->l.h.l1_at)
ENTRY(on_counts, QCOW2_COPIED | 2 * CLUSTER)
ENTRY(on_l2, QCOW2_COPIED | l2_at(m, 1))
ENTRY(copied_nothing, QCOW2_COPIED)
ENTRY(zero_far, QCOW2_ZERO | 1ull << 50)
ENTRY(zip_far, QCOW2_ZIP | 1ull << 50)
ENTRY(zip_on_header, QCOW2_ZIP | 100)
ENTRY(zip_on_l1, QCOW2_ZIP | m->l.h.l1_at)
ENTRY(zip_over_end, QCOW2_ZIP | (QCOW2_ZIP - 1 - ((1ull << 58) - 1)) | (m->l.file_size - 512))

static uint64_t (*const entries[])(const struct hostile_bytes *m) = {
	reserved_low,
	reserved_high,
	odd,
	past_end,
	far,
	on_l1,
	on_counts,
	on_l2,
	copied_nothing,
	zero_far,
	zip_far,
	zip_on_header,
	zip_on_l1,
	zip_over_end,
};

static void test_a_request_that_meets_a_lie_fails_and_no_other(void **state)
{
	uint8_t p[CLUSTER] = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		struct hostile_bytes m;
		struct qcow2_checked c;
		struct block *b;

		make(&m);
		put64(&m, l2_at(&m, 0) + 8, entries[i](&m));
		b = open_image(m.fd, false);
		for (enum block_op op = BLOCK_READ; op <= BLOCK_ZERO; op++)
			if (op != BLOCK_FLUSH && bed_do(b, op, CLUSTER, CLUSTER, p) != -EIO)
				fail_msg("entry %zu, operation %d", i, (int)op);
		bed_expect(b, 0, CLUSTER, 1);
		bed_put(b, 2 * CLUSTER, CLUSTER, 2);
		bed_expect(b, 3 * CLUSTER, CLUSTER, 1);
		assert_int_equal(block_flush(b, NULL), 0);
		block_close(b);
		assert_int_equal(qcow2_check(m.fd, "hostile.qcow2", &c, NULL, NULL, NULL), 0);
		assert_true(c.wrong > 0);
		b = open_image(m.fd, true);
		bed_expect(b, 2 * CLUSTER, CLUSTER, 2);
		block_close(b);
		end(&m);
	}
}

/* Data that nothing counts may be anybody's next: it is read, and not written to. */
static void test_what_is_not_counted_is_not_written_to(void **state)
{
	struct hostile_bytes m;
	uint8_t p[512] = { 0 };
	struct block *b;
	uint64_t host;

	(void)state;
	make(&m);
	host = (get64(&m, l2_at(&m, 0)) & QCOW2_PLACE) / CLUSTER;
	put_at(&m, "\0\0", 2, 2 * CLUSTER + 2 * host);
	b = open_image(m.fd, false);
	bed_expect(b, 0, CLUSTER, 1);
	assert_int_equal(bed_do(b, BLOCK_WRITE, 0, 512, p), -EIO);
	bed_expect(b, 0, CLUSTER, 1);
	block_close(b);
	end(&m);
}

/* Garbage in place of compressed data: too little comes out of it, or nothing. */
static void test_what_cannot_be_decompressed_fails(void **state)
{
	struct hostile_bytes m;
	uint8_t p[CLUSTER];
	struct block *b;

	(void)state;
	make(&m);
	put64(&m, l2_at(&m, 0) + 8, QCOW2_ZIP | (get64(&m, l2_at(&m, 0)) & QCOW2_PLACE));
	b = open_image(m.fd, false);
	assert_int_equal(bed_do(b, BLOCK_READ, CLUSTER, CLUSTER, p), -EIO);
	assert_int_equal(bed_do(b, BLOCK_WRITE, CLUSTER, 512, p), -EIO);
	bed_expect(b, 0, CLUSTER, 1);
	assert_int_equal(bed_do(b, BLOCK_WRITE, CLUSTER, CLUSTER, memset(p, 0, sizeof(p))), 0);
	bed_expect(b, CLUSTER, CLUSTER, 0);
	assert_int_equal(block_flush(b, NULL), 0);
	block_close(b);
	end(&m);
}

/* An image that is only read needs no counts: one that is dirty may be what another lies on. */
static void test_a_dirty_image_is_read(void **state)
{
	struct hostile_bytes m;
	struct block *b;

	(void)state;
	make(&m);
	dirty(&m);
	b = open_image(m.fd, true);
	bed_expect(b, 0, CLUSTER, 1);
	block_close(b);
	end(&m);
}

/* --- parents --- */

static int refused(const struct block_open_args *a, const char *why)
{
	struct err e = { 0 };
	struct block *b = NULL;
	int ret = block_open_on("qcow2", a, &b, &e);

	assert_int_not_equal(ret, 0);
	if (!strstr(e.text, why))
		fail_msg("'%s' in: %s", why, e.text);
	return ret;
}

static void test_parents_are_those_that_are_given_and_of_the_format_that_is_said(void **state)
{
	struct qcow2_new n = { .size = MIB, .backing = "base.raw", .backing_format = "raw" };
	int raw = bed_file(), fd = bed_file(), plain = bed_file();
	struct block_parent up[2] = { { raw, "base.raw" }, { plain, "plain.qcow2" } };
	struct block_open_args a = { .fd = fd, .path = "child.qcow2", .depth = BED_DEPTH, .parents = up };
	struct hostile_bytes m = { .fd = fd, .l.h.length = QCOW2_HEADER_3 + 8 };

	(void)state;
	assert_int_equal(ftruncate(raw, MIB), 0);
	assert_int_equal(qcow2_create(fd, "child.qcow2", &n, NULL), 0);
	assert_int_equal(refused(&a, "'base.raw', which was not given"), -ENOENT);
	a.n_parents = 2;
	assert_int_equal(refused(&a, "base.raw: is raw and has no parent, but plain.qcow2 was given"), -EINVAL);
	up[0].fd = fd;
	a.n_parents = 1;
	assert_int_equal(refused(&a, "is its own parent"), -ELOOP);
	up[0].fd = raw;
	/* A raw disk whose guest wrote a header there is raw. */
	put_at(&(struct hostile_bytes){ .fd = raw }, "QFI\xfb\0\0\0\3", 8, 0);
	block_close(bed_open_as("qcow2", &a));
	extension(&m, QCOW2_EXT_END, 0);
	assert_int_equal(refused(&a, "does not say of what format its parent 'base.raw' is, and nobody guesses"), -EINVAL);
	extension(&m, QCOW2_EXT_BACKING_FORMAT, 3);
	put_at(&m, "qed", 3, m.l.h.length + 8);
	assert_int_equal(refused(&a, "of the format 'qed', expected raw, qcow2 or vpc"), -EINVAL);
	n.backing = NULL;
	assert_int_equal(qcow2_create(plain, "plain.qcow2", &n, NULL), 0);
	a.fd = plain;
	assert_int_equal(refused(&a, "has no parent, but base.raw was given"), -EINVAL);
	close(raw);
	close(fd);
	close(plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_lie_is_named),
		cmocka_unit_test(test_a_request_that_meets_a_lie_fails_and_no_other),
		cmocka_unit_test(test_what_is_not_counted_is_not_written_to),
		cmocka_unit_test(test_what_cannot_be_decompressed_fails),
		cmocka_unit_test(test_a_dirty_image_is_read),
		cmocka_unit_test(test_parents_are_those_that_are_given_and_of_the_format_that_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
