/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz images in the format vhd: the input is the file.
 *
 *   byte 0    bit 0 put the right checksums into footers and header, so that what lies behind them is reached;
 *             bit 1 there is a parent, which is whatever the image calls so
 *   byte 1    how much longer the file is, in 64 KiB
 *   rest      the file from its start; its last 512 bytes, when it is made longer, go to the new end
 *
 * Whatever it says: it is refused with a reason, or it is a disk.  What is written to that and flushed is found when it is
 * opened again, and its tables are sound then.
 */
#include "hv/disk/vhd_int.h"

#include "tests/fuzz/transfer.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEPTH 8
#define IO_LEN 3072u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the file --- */

static void repair(uint8_t *p, size_t len, size_t at)
{
	uint32_t sum = htobe32(vhd_checksum(p, len, at));

	memcpy(p + at, &sum, 4);
}

static void repair_header(uint8_t *p, size_t len)
{
	uint64_t at;

	memcpy(&at, p + 16, 8);
	at = be64toh(at);
	if (len < VHD_HEADER_SIZE || at > len - VHD_HEADER_SIZE)
		return;
	memset(p + at + 56, 0, 4); /* the parent's time: any */
	repair(p + at, VHD_HEADER_SIZE, 36);
}

static int make_file(const uint8_t *data, size_t len, uint8_t flags, uint8_t longer)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	uint8_t *p = malloc(len ? len : 1);

	check(fd >= 0 && p);
	memcpy(p, data, len);
	if ((flags & 1) && len >= VHD_FOOTER_SIZE) {
		repair_header(p, len);
		repair(p, VHD_FOOTER_SIZE, 64);
		repair(p + len - VHD_FOOTER_SIZE, VHD_FOOTER_SIZE, 64);
	}
	check(pwrite(fd, p, len, 0) == (ssize_t)len);
	if (longer && len >= VHD_FOOTER_SIZE) {
		off_t end = (off_t)len + longer * 65536l;

		check(pwrite(fd, p + len - VHD_FOOTER_SIZE, VHD_FOOTER_SIZE, end - VHD_FOOTER_SIZE) == VHD_FOOTER_SIZE);
	}
	free(p);
	return fd;
}

static int make_parent(const struct vhd_parent *of)
{
	struct vhd_footer f = { .kind = VHD_FIXED, .current_size = 65536, .creator = "drov" };
	uint8_t p[VHD_FOOTER_SIZE];
	int fd = memfd_create("parent", MFD_CLOEXEC);

	memcpy(f.id, of->id, sizeof(f.id));
	vhd_footer_put(p, &f);
	check(fd >= 0 && pwrite(fd, p, sizeof(p), 65536) == sizeof(p));
	return fd;
}

/* --- the disk --- */

static void use(struct block *b, uint64_t at, const uint8_t *written)
{
	static uint8_t got[IO_LEN];

	if (at > block_size(b) || block_size(b) - at < IO_LEN)
		return;
	if (written) {
		check(!transfer(b, BLOCK_WRITE, at, IO_LEN, memcpy(got, written, IO_LEN)));
		check(!transfer(b, BLOCK_ZERO, at + 1024, 512, NULL));
		memset(got + 1024, 1, 512);
		check(!transfer(b, BLOCK_READ, at, IO_LEN, got));
		check(!memcmp(got, written, 1024) && !got[1024] && !got[1535]);
	} else {
		check(!transfer(b, BLOCK_READ, at, IO_LEN, got));
	}
}

static void expect(struct block *b, uint64_t at, const uint8_t *written)
{
	static uint8_t got[IO_LEN];

	if (at > block_size(b) || block_size(b) - at < IO_LEN)
		return;
	check(!transfer(b, BLOCK_READ, at, IO_LEN, got));
	check(!memcmp(got, written, 1024) && !got[1024] && !memcmp(got + 1536, written + 1536, IO_LEN - 1536));
}

static struct block *open_it(int fd, int parent)
{
	struct block_parent up = { parent, "parent" };
	struct block_open_args a = { .fd = fd, .path = "fuzz", .depth = DEPTH, .parents = &up, .n_parents = parent >= 0 };
	struct block *b;
	struct err e;

	return block_open_on("vhd", &a, &b, &e) ? NULL : b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t pattern[IO_LEN];
	struct vhd_parent of;
	struct vhd_info before, after;
	struct block *b;
	struct err e;
	int fd, parent = -1;
	uint64_t last;

	if (size < 2)
		return 0;
	memset(pattern, 0x5a, sizeof(pattern));
	fd = make_file(data + 2, size - 2, data[0], data[1]);
	if (!vhd_parent_of(fd, "fuzz", &of, &e) && (data[0] & 2))
		parent = make_parent(&of);
	b = vhd_info(fd, "fuzz", &before, &e) ? NULL : open_it(fd, parent);
	if (b) {
		last = block_size(b) < IO_LEN ? 0 : block_size(b) - IO_LEN;
		use(b, 0, NULL);
		use(b, 4096 - 512, NULL);
		use(b, last, NULL);
		use(b, 8192 - 1024, pattern);
		use(b, last, pattern);
		check(!block_flush(b, &e));
		block_close(b);
		check(!vhd_info(fd, "fuzz", &after, &e));
		check(after.size == before.size && after.allocated >= before.allocated);
		b = open_it(fd, parent);
		check(b);
		expect(b, last, pattern);
		block_close(b);
	}
	close(fd);
	if (parent >= 0)
		close(parent);
	return 0;
}
