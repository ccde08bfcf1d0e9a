/* SPDX-License-Identifier: Apache-2.0 */
/* Images that are not what they say (rule S): each is refused, with what is wrong in one line, and none is written to. */
#include "disk_bed.h"

#include "hv/disk/vhd_int.h"

#include <endian.h>
#include <errno.h>

#define MIB (1ull << 20)

/* A sound image of 20 MiB with blocks 0, 1 and 3; what a row changes of it is written with right checksums. */
struct image_bytes {
	int fd;
	struct vhd_layout l;
};

static void put_at(int fd, const void *p, size_t len, uint64_t at)
{
	assert_int_equal(pwrite(fd, p, len, (off_t)at), len);
}

static void put_footers(struct image_bytes *m)
{
	uint8_t p[VHD_FOOTER_SIZE];

	vhd_footer_put(p, &m->l.footer);
	put_at(m->fd, p, sizeof(p), 0);
	put_at(m->fd, p, sizeof(p), m->l.file_size - VHD_FOOTER_SIZE);
}

static void put_header(struct image_bytes *m)
{
	uint8_t p[VHD_HEADER_SIZE];

	vhd_header_put(p, &m->l.header);
	put_at(m->fd, p, sizeof(p), m->l.footer.header_at);
}

static void put_entry(struct image_bytes *m, uint32_t block, uint32_t sector)
{
	sector = htobe32(sector);
	put_at(m->fd, &sector, 4, m->l.header.table_at + 4ull * block);
}

#define FOOTER(name, change)                         \
	static void name(struct image_bytes *m)      \
	{                                            \
		struct vhd_footer *f = &m->l.footer; \
		change;                              \
		put_footers(m);                      \
	}
#define HEADER(name, change)                         \
	static void name(struct image_bytes *m)      \
	{                                            \
		struct vhd_header *h = &m->l.header; \
		change;                              \
		put_header(m);                       \
	}
#define BYTES(name, change)                     \
	static void name(struct image_bytes *m) \
	{                                       \
		change;                         \
	}

FOOTER(kind_none, f->kind = 0)
FOOTER(kind_six, f->kind = 6)
FOOTER(size_zero, f->size = f->current_size = 0)
FOOTER(size_odd, f->current_size += 100)
FOOTER(size_huge, f->current_size = 1ull << 60)
FOOTER(size_wraps, f->current_size = UINT64_MAX & ~511ull)
FOOTER(header_odd, f->header_at = 513)
FOOTER(header_at_0, f->header_at = 0)
FOOTER(header_far, f->header_at = 1ull << 50)
FOOTER(header_wraps, f->header_at = UINT64_MAX & ~511ull)
FOOTER(header_none, f->header_at = UINT64_MAX)
FOOTER(fixed_but_small, f->kind = VHD_FIXED; f->current_size = 1ull << 40; put_at(m->fd, "x", 1, 0))
HEADER(block_zero, h->block_size = 0)
HEADER(block_odd, h->block_size = 3 << 20)
HEADER(block_small, h->block_size = 512)
HEADER(block_huge, h->block_size = 1u << 31)
HEADER(entries_few, h->entries = 3)
HEADER(entries_zero, h->entries = 0)
HEADER(entries_all, h->entries = UINT32_MAX)
HEADER(table_odd, h->table_at += 4)
HEADER(table_at_0, h->table_at = 0)
HEADER(table_on_header, h->table_at = 1024)
HEADER(table_far, h->table_at = 1ull << 62)
HEADER(table_wraps, h->table_at = UINT64_MAX & ~511ull)
BYTES(header_checksum, put_at(m->fd, "y", 1, m->l.footer.header_at + 700))
BYTES(header_cookie, put_at(m->fd, "cxsparsf", 8, m->l.footer.header_at))
BYTES(footers_gone, put_at(m->fd, "z", 1, 70); put_at(m->fd, "z", 1, m->l.file_size - 400))
BYTES(same_place, put_entry(m, 5, m->l.bat[3]))
BYTES(half_over, put_entry(m, 5, m->l.bat[3] + 1))
BYTES(in_footer_copy, put_entry(m, 5, 0))
BYTES(in_header, put_entry(m, 5, 1))
BYTES(in_table, put_entry(m, 5, 3))
BYTES(past_end, put_entry(m, 5, (uint32_t)(m->l.file_size / 512)))
BYTES(far_past_end, put_entry(m, 5, 0xfffffffe))
BYTES(cut_in_block, assert_int_equal(ftruncate(m->fd, (off_t)(m->l.end - 4096)), 0))
BYTES(cut_in_table, assert_int_equal(ftruncate(m->fd, (off_t)m->l.header.table_at + 8), 0))
BYTES(cut_in_header, assert_int_equal(ftruncate(m->fd, 1000), 0))
BYTES(cut_to_footer, assert_int_equal(ftruncate(m->fd, 512), 0))
BYTES(cut_short, assert_int_equal(ftruncate(m->fd, 511), 0))
BYTES(cut_to_nothing, assert_int_equal(ftruncate(m->fd, 0), 0))

static void two_answers(struct image_bytes *m)
{
	struct vhd_footer f = m->l.footer;
	uint8_t p[VHD_FOOTER_SIZE];

	f.kind = VHD_FIXED;
	f.current_size = 1024;
	vhd_footer_put(p, &f);
	put_at(m->fd, p, sizeof(p), m->l.file_size - VHD_FOOTER_SIZE);
}

static void version_two(struct image_bytes *m)
{
	uint8_t p[VHD_FOOTER_SIZE];
	uint32_t sum;

	vhd_footer_put(p, &m->l.footer);
	p[13] = 2; /* File Format Version, major */
	sum = htobe32(vhd_checksum(p, sizeof(p), 64));
	memcpy(p + 64, &sum, 4);
	put_at(m->fd, p, sizeof(p), 0);
	put_at(m->fd, p, sizeof(p), m->l.file_size - VHD_FOOTER_SIZE);
}

static void sparse_giant(struct image_bytes *m)
{
	/* Room for a table of 4 GiB entries, which is not to be read. */
	assert_int_equal(ftruncate(m->fd, 1ll << 42), 0);
	m->l.footer.current_size = 1ull << 41;
	m->l.file_size = 1ull << 42;
	m->l.header.entries = UINT32_MAX;
	m->l.header.block_size = VHD_BLOCK_MIN;
	put_header(m);
	put_footers(m);
}

static const struct {
	const char *name, *said;
	void (*change)(struct image_bytes *m);
} rows[] = {
#define ROW(f, said)        \
	{                   \
#f, said, f \
	}
	ROW(kind_none, "disk type 0, expected 2 (fixed), 3 (dynamic) or 4"),
	ROW(kind_six, "disk type 6"),
	ROW(size_zero, "a size of 0 bytes"),
	ROW(size_odd, "expected whole sectors of 512"),
	ROW(size_huge, "a size of 1152921504606846976 bytes"),
	ROW(size_wraps, "a size of"),
	ROW(header_odd, "its header at byte 513"),
	ROW(header_at_0, "its header at byte 0"),
	ROW(header_far, "its header at byte"),
	ROW(header_wraps, "its header at byte"),
	ROW(header_none, "its header at byte"),
	ROW(fixed_but_small, "a fixed disk of 1099511627776 bytes in a file of"),
	ROW(block_zero, "blocks of 0 bytes, expected a power of two"),
	ROW(block_odd, "blocks of 3145728 bytes"),
	ROW(block_small, "blocks of 512 bytes"),
	ROW(block_huge, "blocks of 2147483648 bytes"),
	ROW(entries_few, "but the table has 3 entries"),
	ROW(entries_zero, "but the table has 0 entries"),
	ROW(entries_all, "expected it behind the tables"),
	ROW(table_odd, "its block table at byte"),
	ROW(table_at_0, "its block table at byte 0"),
	ROW(table_on_header, "lies over its header"),
	ROW(table_far, "its block table at byte"),
	ROW(table_wraps, "its block table at byte"),
	ROW(header_checksum, "no header at byte 512, expected 'cxsparse'"),
	ROW(header_cookie, "no header at byte 512"),
	ROW(footers_gone, "no footer in the last 512 bytes and no copy"),
	ROW(two_answers, "the footer says that it is fixed, the first 512 bytes that it has tables"),
	ROW(version_two, "no footer"),
	ROW(same_place, "blocks 3 and 5 lie at bytes"),
	ROW(half_over, "expected no two over each other"),
	ROW(in_footer_copy, "block 5 at byte 0, expected it behind the tables"),
	ROW(in_header, "block 5 at byte 512"),
	ROW(in_table, "block 5 at byte 1536"),
	ROW(past_end, "it was cut short"),
	ROW(far_past_end, "it was cut short"),
	ROW(cut_in_block, "it was cut short"),
	ROW(cut_in_table, "expected 11 entries of 4 bytes"),
	ROW(cut_in_header, "its header at byte 512"),
	ROW(cut_to_footer, "its header at byte 512"),
	ROW(cut_short, "a file of 511 bytes"),
	ROW(cut_to_nothing, "a file of 0 bytes"),
	ROW(sparse_giant, "expected enough, and at most"),
};

static void make(struct image_bytes *m)
{
	uint8_t data[512] = { 1 };
	struct block *b;

	m->fd = bed_file();
	bed_create(m->fd, VHD_DYNAMIC, 20 * MIB, 0);
	b = bed_open(m->fd, false);
	for (uint64_t i = 0; i < 4; i++)
		if (i != 2)
			assert_int_equal(bed_do(b, BLOCK_WRITE, i * 2 * MIB, 512, data), 0);
	assert_int_equal(block_flush(b, NULL), 0);
	block_close(b);
	assert_int_equal(vhd_read(m->fd, "hostile.vhd", &m->l, NULL), 0);
}

static void test_each_lie_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct image_bytes m;
		struct block *b = NULL;
		struct err e = { 0 };

		make(&m);
		rows[i].change(&m);
		if (!block_open("vhd", m.fd, "hostile.vhd", false, false, BED_DEPTH, &b, &e))
			fail_msg("%s: opened", rows[i].name);
		if (!strstr(e.text, rows[i].said) || strncmp(e.text, "disk hostile.vhd: VHD: ", 23))
			fail_msg("%s: '%s' in: %s", rows[i].name, rows[i].said, e.text);
		assert_null(b);
		vhd_read_end(&m.l);
		close(m.fd);
	}
}

/* What a guest of a fixed disk writes to its first sector is data, whatever it looks like. */
static void test_a_guest_cannot_make_tables(void **state)
{
	struct image_bytes m;
	uint8_t p[VHD_FOOTER_SIZE];
	struct vhd_info info;
	int fd = bed_file();
	struct err e = { 0 };

	(void)state;
	make(&m);
	bed_create(fd, VHD_FIXED, 20 * MIB, 0);
	assert_int_equal(pread(m.fd, p, sizeof(p), 0), sizeof(p));
	put_at(fd, p, sizeof(p), 0);
	assert_int_equal(vhd_info(fd, "fixed.vhd", &info, &e), -EINVAL);
	assert_non_null(strstr(e.text, "may be a guest's data"));
	vhd_read_end(&m.l);
	close(m.fd);
	close(fd);
}

static void test_one_footer_is_enough(void **state)
{
	struct image_bytes m;
	struct vhd_info info;

	(void)state;
	make(&m);
	put_at(m.fd, "x", 1, 20);
	assert_int_equal(vhd_info(m.fd, "x", &info, NULL), 0);
	assert_false(info.footer_lost);
	put_footers(&m);
	put_at(m.fd, "x", 1, m.l.file_size - 500);
	assert_int_equal(vhd_info(m.fd, "x", &info, NULL), 0);
	assert_true(info.footer_lost);
	assert_int_equal(info.allocated, 3);
	vhd_read_end(&m.l);
	close(m.fd);
}

static void test_names_of_parents_are_only_text(void **state)
{
	static const struct {
		uint32_t len;
		uint64_t at;
	} bad[] = { { UINT32_MAX, 2048 }, { 100000, 2048 }, { 8, UINT64_MAX }, { 8, 0 }, { 2000, 1ull << 40 } };
	int parent = bed_file(), fd = bed_file();
	struct image_bytes m;
	struct vhd_parent p;

	(void)state;
	bed_create(parent, VHD_DYNAMIC, MIB, 0);
	bed_create_on(fd, parent, 0);
	m.fd = fd;
	assert_int_equal(vhd_read(fd, "x", &m.l, NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		m.l.header.locators[0].len = bad[i].len;
		m.l.header.locators[0].at = bad[i].at;
		put_header(&m);
		assert_int_equal(vhd_parent_of(fd, "x", &p, NULL), -EINVAL);
	}
	m.l.header.locators[0].len = 6;
	m.l.header.locators[0].at = m.l.data_start;
	put_header(&m);
	put_at(fd, "\x00\xd8\x00\xd8\x00\x00", 6, m.l.data_start); /* two first halves of a character */
	assert_int_equal(vhd_parent_of(fd, "x", &p, NULL), 0);
	assert_string_equal(p.relative, "");
	vhd_read_end(&m.l);
	close(parent);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_lie_is_named),
		cmocka_unit_test(test_a_guest_cannot_make_tables),
		cmocka_unit_test(test_one_footer_is_enough),
		cmocka_unit_test(test_names_of_parents_are_only_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
