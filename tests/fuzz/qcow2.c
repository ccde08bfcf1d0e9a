/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz images in the format qcow2: the input is the file.
 *
 *   byte 0    bit 0 there is a parent, of 64 KiB, of whatever format the image says
 *   byte 1    how much longer the file is, in 64 KiB
 *   rest      the file from its start
 *
 * Whatever it says: it is refused with a reason, or it is a disk, whose requests may fail where a table lies.  Where none did before,
 * what was written to it and flushed is found when it is opened again, and none does then.
 */
#include "hv/disk/qcow2_int.h"

#include "base/log.h"
#include "tests/fuzz/transfer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEPTH 8
#define IO_LEN 3072u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void quiet(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

/* --- the file --- */

static int make_file(const uint8_t *data, size_t len, uint8_t longer)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	check(fd >= 0 && pwrite(fd, data, len, 0) == (ssize_t)len);
	check(!ftruncate(fd, (off_t)len + longer * 65536l));
	return fd;
}

static int make_parent(const char *format)
{
	struct qcow2_new n = { .size = 65536, .cluster = 512 };
	int fd = memfd_create("parent", MFD_CLOEXEC);

	check(fd >= 0);
	if (!strcmp(format, "qcow2"))
		check(!qcow2_create(fd, "parent", &n, NULL));
	else
		check(!ftruncate(fd, 65536 - 100));
	return fd;
}

/* --- the disk --- */

static bool fits(struct block *b, uint64_t at)
{
	return at <= block_size(b) && block_size(b) - at >= IO_LEN;
}

/* Return: it is there. */
static bool use(struct block *b, uint64_t at, const uint8_t *written)
{
	static uint8_t got[IO_LEN];

	if (!fits(b, at) || transfer(b, BLOCK_WRITE, at, IO_LEN, memcpy(got, written, IO_LEN)))
		return false;
	return !transfer(b, BLOCK_ZERO, at + 1024, 512, NULL);
}

static void expect(struct block *b, uint64_t at, const uint8_t *written)
{
	static uint8_t got[IO_LEN];

	memset(got, 1, IO_LEN);
	check(!transfer(b, BLOCK_READ, at, IO_LEN, got));
	check(!memcmp(got, written, 1024) && !got[1024] && !got[1535] && !memcmp(got + 1536, written + 1536, IO_LEN - 1536));
}

static void read_some(struct block *b)
{
	static uint8_t got[IO_LEN];

	for (uint64_t at = 0; at < 16 * IO_LEN; at += IO_LEN)
		if (fits(b, at))
			transfer(b, BLOCK_READ, at, IO_LEN, got);
}

static struct block *open_it(int fd, int parent)
{
	struct block_parent up = { parent, "parent" };
	struct block_open_args a = { .fd = fd, .path = "fuzz", .depth = DEPTH, .parents = &up, .n_parents = parent >= 0 };
	struct block *b;
	struct err e;

	return block_open_on("qcow2", &a, &b, &e) ? NULL : b;
}

static void run(int fd, int parent, bool sound)
{
	static uint8_t pattern[IO_LEN];
	struct block *b = open_it(fd, parent);
	struct qcow2_checked after;
	bool first, second;
	uint64_t last;

	if (!b)
		return;
	memset(pattern, 0x5a, sizeof(pattern));
	last = block_size(b) < IO_LEN ? 0 : block_size(b) - IO_LEN;
	read_some(b);
	transfer(b, BLOCK_DISCARD, 512, 4096, NULL);
	first = use(b, 4096 - 512, pattern);
	second = use(b, last, pattern) && last >= 8192;
	check(!block_flush(b, NULL) || !sound);
	block_close(b);
	if (!sound)
		return;
	check(!qcow2_check(fd, "fuzz", &after, NULL, NULL, NULL) && !after.wrong);
	b = open_it(fd, parent);
	check(b);
	if (first && last >= 8192)
		expect(b, 4096 - 512, pattern);
	if (second)
		expect(b, last, pattern);
	block_close(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_checked before;
	struct qcow2_info info;
	bool sound;
	int fd, parent = -1;

	if (size < 2)
		return 0;
	log_set_sink(quiet);
	fd = make_file(data + 2, size - 2, data[1]);
	sound = !qcow2_check(fd, "fuzz", &before, NULL, NULL, NULL) && !before.wrong;
	if (!qcow2_info(fd, "fuzz", &info, NULL) && (data[0] & 1))
		parent = make_parent(info.backing_format);
	run(fd, parent, sound);
	close(fd);
	if (parent >= 0)
		close(parent);
	return 0;
}
