/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images between us and QEMU: what qemu-img makes we write to, what we make and write qemu-img reads.
 * The same writes go to a raw disk beside it, and qemu-img says whether the two are alike.
 */
#include "qemu_bed.h"

static void same(const char *vhd)
{
	must(run("qemu-img compare -f vpc -F raw %s twin.raw", vhd), "qemu-img compare");
	must(run("qemu-img convert -f vpc -O raw %s back.raw && cmp back.raw twin.raw", vhd), "qemu-img convert");
}

/* Past the page cache where that is possible: on a disk of 4 KiB sectors (TMPDIR) all that is ragged is seen to. */
static struct block *open_direct(int fd)
{
	struct block_open_args a = { .fd = fd, .path = "direct.vhd", .direct = true, .depth = BED_DEPTH };
	struct block *b;

	return block_open_on("vhd", &a, &b, NULL) ? bed_open(fd, false) : b;
}

static void written_and_the_same(const char *vhd, uint64_t seed)
{
	int fd = open_file(vhd, 0), raw = open_file("twin.raw", O_CREAT | O_TRUNC);
	struct block *b = seed % 2 ? open_direct(fd) : bed_open(fd, false);

	assert_int_equal(ftruncate(raw, (off_t)block_size(b)), 0);
	write_both(b, raw, seed);
	block_close(b);
	close(fd);
	close(raw);
	same(vhd);
}

static void test_images_that_qemu_makes(void **state)
{
	static const char *const options[] = { "subformat=dynamic", "subformat=fixed", "subformat=dynamic,force_size=on",
					       "subformat=fixed,force_size=on" };

	(void)state;
	need_qemu();
	for (size_t i = 0; i < 4; i++) {
		for (uint64_t seed = 1; seed <= 2; seed++) {
			must(run("qemu-img create -f vpc -o %s q.vhd 37M", options[i]), "qemu-img create");
			written_and_the_same("q.vhd", i * 2 + seed);
		}
	}
}

/* One that QEMU has written, and that we go on writing: its blocks are on no whole page. */
static void test_images_that_qemu_has_written(void **state)
{
	(void)state;
	need_qemu();
	must(run("dd if=/dev/urandom of=seed.raw bs=1M count=33 && truncate -s 64M seed.raw && "
		 "qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on seed.raw q.vhd && cp seed.raw twin.raw"),
	     "qemu-img convert");
	for (int round = 0; round < 2; round++) {
		int fd = open_file("q.vhd", 0), raw = open_file("twin.raw", 0);
		struct block *b = open_direct(fd);

		assert_int_equal(block_size(b), 64 * MIB);
		write_both(b, raw, 9 + (uint64_t)round);
		block_close(b);
		close(fd);
		close(raw);
		same("q.vhd");
		must(run("qemu-io -f vpc -c 'write -P 7 5M 3M' -c 'write -P 8 50M 4k' q.vhd && "
			 "qemu-io -f raw -c 'write -P 7 5M 3M' -c 'write -P 8 50M 4k' twin.raw"),
		     "qemu-io");
		same("q.vhd");
	}
}

static void test_images_that_we_make(void **state)
{
	static const struct {
		enum vhd_kind kind;
		uint64_t size;
		uint32_t block;
	} rows[] = {
		{ VHD_DYNAMIC, 37 * MIB, 0 },
		{ VHD_DYNAMIC, 10 * MIB + 512, 512 * 1024 },
		{ VHD_DYNAMIC, 37 * MIB, 16 << 20 },
		{ VHD_DYNAMIC, 140ull << 30, 0 },
		{ VHD_FIXED, 37 * MIB, 0 },
	};

	(void)state;
	need_qemu();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = open_file("d.vhd", O_CREAT | O_TRUNC);
		uint64_t size = bed_create(fd, rows[i].kind, rows[i].size, rows[i].block);
		char what[80];

		assert_true(size >= rows[i].size && size < rows[i].size + 2 * MIB);
		close(fd);
		snprintf(what, sizeof(what), "\"virtual-size\": %llu,", (unsigned long long)size);
		must(run("qemu-img info --output=json -f vpc d.vhd | grep -F '%s'", what), what);
		if (rows[i].size < 1ull << 30)
			written_and_the_same("d.vhd", 20 + i);
	}
}

/* The sizes that both give are those of the specification, whatever is asked for. */
static void test_geometries_are_qemus(void **state)
{
	static const uint64_t mib[] = { 3, 4, 67, 127, 504, 1000, 4000, 8063, 16383, 31000, 32256, 100000, 130559 };

	(void)state;
	need_qemu();
	for (size_t i = 0; i < sizeof(mib) / sizeof(mib[0]); i++) {
		int fd = open_file("d.vhd", O_CREAT | O_TRUNC), q;
		uint8_t ours[512], theirs[512];

		bed_create(fd, VHD_DYNAMIC, mib[i] * MIB, 0);
		must(run("qemu-img create -f vpc q.vhd %lluM", (unsigned long long)mib[i]), "qemu-img create");
		q = open_file("q.vhd", 0);
		assert_int_equal(pread(fd, ours, 512, 0), 512);
		assert_int_equal(pread(q, theirs, 512, 0), 512);
		if (memcmp(ours + 40, theirs + 40, 24)) /* both sizes, the geometry, the type */
			fail_msg("%llu MiB: sizes or geometry differ from QEMU's", (unsigned long long)mib[i]);
		close(fd);
		close(q);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_images_that_qemu_makes),
		cmocka_unit_test(test_images_that_qemu_has_written),
		cmocka_unit_test(test_images_that_we_make),
		cmocka_unit_test(test_geometries_are_qemus),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
