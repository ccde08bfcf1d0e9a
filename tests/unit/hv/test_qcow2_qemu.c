/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of the format qcow2 between us and QEMU: what qemu-img makes we write to, what we make and write qemu-img reads, and
 * finds nothing wrong with.  The same writes go to a raw disk beside it, and qemu-img says whether the two are alike.
 */
#include "qemu_bed.h"

#include "hv/disk/qcow2.h"

static struct block_parent up[4];
static unsigned int n_up;

static void parent(const char *name)
{
	up[n_up++] = (struct block_parent){ open_file(name, 0), "parent" };
}

static void no_parents(void)
{
	while (n_up)
		close(up[--n_up].fd);
}

static struct block *open_image(int fd, bool direct, bool readonly)
{
	struct block_open_args a = { .fd = fd, .path = "q.qcow2", .depth = BED_DEPTH, .direct = direct, .readonly = readonly };
	struct block *b;

	a.parents = up;
	a.n_parents = n_up;
	if (direct && !block_open_on("qcow2", &a, &b, NULL))
		return b;
	a.direct = false;
	return bed_open_as("qcow2", &a);
}

/* Nothing is wrong, and nothing has leaked. */
static void sound(const char *name)
{
	must(run("qemu-img check -f qcow2 %s", name), "qemu-img check");
}

static void same(const char *name)
{
	sound(name);
	must(run("qemu-img compare -f qcow2 -F raw %s twin.raw", name), "qemu-img compare");
}

/* ... and what we read ourselves, anew. */
static void reads_as_twin(const char *name)
{
	int fd = open_file(name, 0), raw = open_file("twin.raw", 0);
	struct block *b = open_image(fd, false, true);
	uint8_t *got = bed_buffer(MIB), *want = bed_buffer(MIB);

	for (uint64_t at = 0; at < block_size(b); at += MIB) {
		size_t len = block_size(b) - at < MIB ? block_size(b) - at : MIB;

		memset(want, 0, MIB);
		assert_int_equal(bed_do(b, BLOCK_READ, at, len, got), 0);
		assert_true(pread(raw, want, len, (off_t)at) >= 0);
		assert_memory_equal(got, want, len);
	}
	block_close(b);
	close(fd);
	close(raw);
	free(got);
	free(want);
}

static void write_on(const char *name, uint64_t seed)
{
	int fd = open_file(name, 0), raw = open_file("twin.raw", O_CREAT);
	struct block *b = open_image(fd, seed % 2, false);

	assert_int_equal(ftruncate(raw, (off_t)block_size(b)), 0);
	write_both(b, raw, seed);
	block_close(b);
	close(fd);
	close(raw);
	same(name);
	reads_as_twin(name);
}

static void written_and_the_same(const char *name, uint64_t seed)
{
	must(run("rm -f twin.raw"), "rm");
	write_on(name, seed);
	write_on(name, seed + 1);
}

static const char *const options[] = {
	"compat=0.10",
	"compat=1.1",
	"compat=1.1,cluster_size=512",
	"compat=0.10,cluster_size=512",
	"compat=1.1,cluster_size=4k,refcount_bits=1",
	"compat=1.1,cluster_size=512,refcount_bits=64",
	"compat=1.1,cluster_size=1k,refcount_bits=2",
	"compat=1.1,cluster_size=8k,refcount_bits=4",
	"compat=1.1,cluster_size=16k,refcount_bits=8",
	"compat=1.1,cluster_size=32k,refcount_bits=32",
	"compat=1.1,cluster_size=2M,refcount_bits=64",
	"compat=1.1,lazy_refcounts=on",
	"compat=1.1,preallocation=metadata",
	"compat=1.1,preallocation=full",
};
#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

static void test_images_that_qemu_makes(void **state)
{
	(void)state;
	need_qemu();
	for (size_t i = 0; i < N_OPTIONS; i++) {
		must(run("qemu-img create -f qcow2 -o %s q.qcow2 37M", options[i]), options[i]);
		written_and_the_same("q.qcow2", i);
	}
}

/* One that QEMU has written, and that we go on writing, and QEMU again. */
static void test_images_that_qemu_has_written(void **state)
{
	(void)state;
	need_qemu();
	for (size_t i = 0; i < N_OPTIONS; i++) {
		must(run("dd if=/dev/urandom of=seed.raw bs=1M count=17 && truncate -s 32M seed.raw && "
			 "qemu-img convert -f raw -O qcow2 -o %s seed.raw q.qcow2 && cp seed.raw twin.raw",
			 options[i]),
		     "qemu-img convert");
		for (int round = 0; round < 1 + (int)(i % 2); round++) {
			write_on("q.qcow2", 9 + i + (uint64_t)round);
			must(run("qemu-io -f qcow2 -c 'write -P 7 5M 3M' -c 'write -P 8 30M 4k' -c 'write -z -u 9M 2M' q.qcow2 && "
				 "qemu-io -f raw -c 'write -P 7 5M 3M' -c 'write -P 8 30M 4k' -c 'write -z 9M 2M' twin.raw"),
			     "qemu-io");
			same("q.qcow2");
		}
	}
}

static void test_compressed_images(void **state)
{
	static const char *const some[] = { "compat=1.1", "compat=0.10,cluster_size=512", "compat=1.1,cluster_size=4k,refcount_bits=64",
					    "compat=1.1,cluster_size=2M" };

	(void)state;
	need_qemu();
	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		/* half of it can be compressed, with text and long runs, half cannot */
		must(run("seq 1 1000000 >twin.raw && dd if=/dev/urandom bs=1M count=3 >>twin.raw && truncate -s 20M twin.raw && "
			 "qemu-img convert -c -f raw -O qcow2 -o %s twin.raw q.qcow2",
			 some[i]),
		     "qemu-img convert -c");
		reads_as_twin("q.qcow2");
		write_on("q.qcow2", 30 + i);
		write_on("q.qcow2", 31 + i);
	}
}

/* What an internal snapshot shares with the disk stays as it was. */
static void test_images_with_snapshots(void **state)
{
	(void)state;
	need_qemu();
	for (size_t i = 1; i < N_OPTIONS; i += 2) {
		if (strstr(options[i], "refcount_bits=1") && !strstr(options[i], "refcount_bits=16"))
			continue;
		must(run("rm -f twin.raw; qemu-img create -f qcow2 -o %s q.qcow2 37M && qemu-img create -f raw twin.raw 37M", options[i]), options[i]);
		write_on("q.qcow2", 40 + i);
		must(run("qemu-img snapshot -c one q.qcow2 && cp twin.raw one.raw"), "qemu-img snapshot");
		write_on("q.qcow2", 41 + i);
		if (strstr(options[i], "refcount_bits=2") == NULL)
			must(run("qemu-img snapshot -c two q.qcow2"), "qemu-img snapshot");
		write_on("q.qcow2", 42 + i);
		must(run("qemu-img convert -l one -O raw q.qcow2 was.raw && cmp was.raw one.raw"), "the snapshot");
		must(run("qemu-img snapshot -d one q.qcow2"), "qemu-img snapshot -d");
		write_on("q.qcow2", 43 + i);
		same("q.qcow2");
	}
}

static void test_images_that_we_make(void **state)
{
	static const struct qcow2_new rows[] = {
		{ .size = 37 * MIB },
		{ .size = 37 * MIB, .version = 2 },
		{ .size = 10 * MIB + 512, .cluster = 512 },
		{ .size = 37 * MIB, .cluster = 2 << 20 },
		{ .size = 37 * MIB, .cluster = 4096, .refcount_order = 6 },
		{ .size = 300ull << 40 },
		{ .size = 512 },
	};

	(void)state;
	need_qemu();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = open_file("q.qcow2", O_CREAT | O_TRUNC);
		struct err e = { 0 };
		char what[80];

		if (qcow2_create(fd, "q.qcow2", &rows[i], &e))
			fail_msg("%s", e.text);
		close(fd);
		snprintf(what, sizeof(what), "\"virtual-size\": %llu,", (unsigned long long)rows[i].size);
		must(run("qemu-img info --output=json -f qcow2 q.qcow2 | grep -F '%s'", what), what);
		sound("q.qcow2");
		if (rows[i].size > 2 * MIB && rows[i].size < 1ull << 30)
			written_and_the_same("q.qcow2", 60 + i);
	}
}

/* --- chains --- */

static void chain(const char *below, const char *make, const char *theirs, uint64_t seed)
{
	must(run("%s", make), make);
	must(run("qemu-img create -f qcow2 -o %s -b %s -F %s q.qcow2 && qemu-img convert -O raw q.qcow2 twin.raw", options[seed % 4], below, theirs),
	     "qemu-img create -b");
	parent(below);
	reads_as_twin("q.qcow2");
	write_on("q.qcow2", seed);
	write_on("q.qcow2", seed + 1);
	no_parents();
}

static void test_images_that_lie_on_others(void **state)
{
	(void)state;
	need_qemu();
	for (uint64_t seed = 100; seed < 102; seed++) {
		chain("base.raw", "dd if=/dev/urandom of=base.raw bs=1M count=20", "raw", seed);
		chain("base.vhd", "qemu-img convert -f raw -O vpc -o force_size=on base.raw base.vhd", "vpc", seed);
		chain("base.qcow2", "qemu-img convert -f raw -O qcow2 base.raw base.qcow2", "qcow2", seed);
		chain("base.qcow2", "qemu-img convert -c -f raw -O qcow2 base.raw base.qcow2", "qcow2", seed);
		/* neither as long as the disk, nor a whole number of sectors */
		must(run("truncate -s 5000300 base.raw"), "truncate");
		must(run("qemu-img create -f qcow2 -o %s -b base.raw -F raw q.qcow2 20M && qemu-img convert -O raw q.qcow2 twin.raw",
			 options[seed % 4]),
		     "qemu-img create -b");
		parent("base.raw");
		reads_as_twin("q.qcow2");
		write_on("q.qcow2", seed);
		no_parents();
	}
}

static void test_a_chain_of_four(void **state)
{
	(void)state;
	need_qemu();
	must(run("dd if=/dev/urandom of=0.raw bs=1M count=20 && qemu-img convert -f raw -O vpc -o force_size=on 0.raw 0.vhd && "
		 "qemu-img create -f qcow2 -b 0.vhd -F vpc 1.qcow2 && qemu-io -f qcow2 -c 'write -P 1 1M 3M' 1.qcow2 && "
		 "qemu-img create -f qcow2 -b 1.qcow2 -F qcow2 -o cluster_size=512 2.qcow2 25M && qemu-io -f qcow2 -c 'write -P 2 3M 3M' 2.qcow2 && "
		 "qemu-img create -f qcow2 -b 2.qcow2 -F qcow2 q.qcow2 30M && qemu-img convert -O raw q.qcow2 twin.raw"),
	     "a chain");
	parent("2.qcow2");
	parent("1.qcow2");
	parent("0.vhd");
	reads_as_twin("q.qcow2");
	write_on("q.qcow2", 200);
	write_on("q.qcow2", 201);
	no_parents();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_images_that_qemu_makes),
		cmocka_unit_test(test_images_that_qemu_has_written),
		cmocka_unit_test(test_compressed_images),
		cmocka_unit_test(test_images_with_snapshots),
		cmocka_unit_test(test_images_that_we_make),
		cmocka_unit_test(test_images_that_lie_on_others),
		cmocka_unit_test(test_a_chain_of_four),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
