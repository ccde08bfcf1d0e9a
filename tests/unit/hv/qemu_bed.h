/* SPDX-License-Identifier: Apache-2.0 */
/* qemu_bed - images between us and QEMU: a directory for them, lines of shell run there, and the same writes to an image and to a raw disk beside it. */
#ifndef DROVER_TESTS_QEMU_BED_H
#define DROVER_TESTS_QEMU_BED_H

#include "disk_bed.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MIB (1ull << 20)
#define QEMU_BED_WRITES 60

static char qemu_bed_dir[200];

static inline int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static inline int run(const char *fmt, ...)
{
	char line[1024], all[1400];
	va_list ap;
	int ret;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	snprintf(all, sizeof(all), "cd %s && (%s) >out 2>&1", qemu_bed_dir, line);
	ret = system(all); /* NOLINT: the lines are this file's own */
	return WIFEXITED(ret) ? WEXITSTATUS(ret) : -1;
}

static inline void must(int ret, const char *what)
{
	char said[512] = "";
	char path[256];
	int fd;

	if (!ret)
		return;
	snprintf(path, sizeof(path), "%s/out", qemu_bed_dir);
	fd = open(path, O_RDONLY);
	if (fd >= 0 && read(fd, said, sizeof(said) - 1) < 0)
		said[0] = '\0';
	fail_msg("%s: status %d: %s", what, ret, said);
}

static inline int open_file(const char *name, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", qemu_bed_dir, name);
	fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
	assert_true(fd >= 0);
	return fd;
}

static inline int setup(void **state)
{
	const char *where = getenv("TMPDIR");

	(void)state;
	snprintf(qemu_bed_dir, sizeof(qemu_bed_dir), "%.150s/drover-image-XXXXXX", where ? where : "/tmp");
	return mkdtemp(qemu_bed_dir) ? 0 : -1;
}

static inline int teardown(void **state)
{
	(void)state;
	if (run("rm -f *"))
		return -1;
	return rmdir(qemu_bed_dir);
}

static inline void need_qemu(void)
{
	if (system("qemu-img --version >/dev/null 2>&1") == 0) /* NOLINT */
		return;
	print_message("no qemu-img here (package qemu-utils)\n");
	skip();
}

/* --- writes --- */

static inline uint64_t next(uint64_t *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1dull >> 11;
}

/* The same on both: data, zeroes, over the ends of blocks, and the last sector. */
static inline void write_both(struct block *b, int raw, uint64_t seed)
{
	uint64_t size = block_size(b), room = MIB;
	uint8_t *p = aligned_alloc(4096, room);

	assert_non_null(p);
	for (uint32_t i = 1; i <= QEMU_BED_WRITES; i++) {
		uint64_t len = (1 + next(&seed) % (i % 5 ? 64 : room / 512)) * 512, at = next(&seed) % ((size - len) / 512) * 512;

		if (i == QEMU_BED_WRITES) {
			len = 512;
			at = size - 512;
		}
		bed_fill(p, at, len, i);
		if (i % 7 == 0)
			memset(p, 0, len);
		assert_int_equal(bed_do(b, i % 7 ? BLOCK_WRITE : BLOCK_ZERO, at, len, p), 0);
		assert_int_equal(pwrite(raw, p, len, (off_t)at), len);
		if (i % 16 == 0)
			assert_int_equal(bed_do(b, BLOCK_FLUSH, 0, 0, NULL), 0);
	}
	assert_int_equal(block_flush(b, NULL), 0);
	free(p);
}

#endif
