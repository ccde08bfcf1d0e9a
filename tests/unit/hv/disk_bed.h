/* SPDX-License-Identifier: Apache-2.0 */
/* disk_bed - an open disk for tests: requests that are waited for, and contents that say where they belong. */
#ifndef DROVER_TESTS_DISK_BED_H
#define DROVER_TESTS_DISK_BED_H

#include "hv/disk/block.h"
#include "hv/disk/vhd.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define BED_DEPTH 32
#define BED_SEGS 16

struct bed_request {
	struct block_req io; /* first: done() gets it */
	struct iovec iov[BED_SEGS];
	int ret;
	bool done;
};

static inline void bed_on_done(struct block_req *io, int ret)
{
	struct bed_request *r = (struct bed_request *)io;

	assert_false(r->done);
	r->ret = ret;
	r->done = true;
}

/* One vector; for more set r->io.iov. */
static inline void bed_make(struct bed_request *r, enum block_op op, uint64_t at, uint64_t len, void *data)
{
	*r = (struct bed_request){ .io = { .op = op, .offset = at, .len = len, .done = bed_on_done } };
	r->iov[0] = (struct iovec){ data, len };
	r->io.iov = r->iov;
	r->io.n_iov = 1;
}

static inline void bed_wait(struct block *b, const struct bed_request *r)
{
	struct pollfd p = { .fd = block_event_fd(b), .events = POLLIN };

	while (!r->done) {
		if (poll(&p, 1, 20000) != 1)
			fail_msg("a request never came back");
		block_reap(b);
	}
}

static inline int bed_do(struct block *b, enum block_op op, uint64_t at, uint64_t len, void *data)
{
	struct bed_request r;
	int ret;

	bed_make(&r, op, at, len, data);
	ret = block_queue(b, &r.io);
	if (ret)
		return ret;
	block_kick(b);
	bed_wait(b, &r);
	return r.ret;
}

static inline int bed_file(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static inline struct block *bed_open_as(const char *format, const struct block_open_args *a)
{
	struct err e = { 0 };
	struct block *b = NULL;

	if (block_open_on(format, a, &b, &e))
		fail_msg("%s", e.text);
	return b;
}

static inline struct block *bed_open_on(const struct block_open_args *a)
{
	return bed_open_as("vhd", a);
}

static inline struct block *bed_open(int fd, bool readonly)
{
	struct block_open_args a = { .fd = fd, .path = "test.vhd", .readonly = readonly, .depth = BED_DEPTH };

	return bed_open_on(&a);
}

/* Sectors that say which they are, and who wrote them. */
static inline void bed_fill(uint8_t *p, uint64_t at, size_t len, uint32_t who)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t v = (at + i) / 512 << 24 | who;

		memcpy(p + i, &v, 8);
	}
}

static inline uint64_t bed_create(int fd, enum vhd_kind kind, uint64_t size, uint32_t block)
{
	struct vhd_new n = { .kind = kind, .size = size, .block_size = block };
	struct err e = { 0 };
	uint64_t got;

	if (vhd_create(fd, "test.vhd", &n, &got, &e))
		fail_msg("%s", e.text);
	return got;
}

static inline void bed_create_on(int fd, int parent, uint32_t block)
{
	struct vhd_new n = { .kind = VHD_DIFFERENCING, .block_size = block, .parent_fd = parent, .parent = "parent.vhd" };
	struct err e = { 0 };

	if (vhd_create(fd, "child.vhd", &n, NULL, &e))
		fail_msg("%s", e.text);
}

static inline uint8_t *bed_buffer(size_t len)
{
	void *p = aligned_alloc(4096, (len + 4095) / 4096 * 4096);

	assert_non_null(p);
	return p;
}

static inline void bed_put(struct block *b, uint64_t at, size_t len, uint32_t who)
{
	uint8_t *p = bed_buffer(len);

	bed_fill(p, at, len, who);
	assert_int_equal(bed_do(b, BLOCK_WRITE, at, len, p), 0);
	free(p);
}

static inline void bed_expect(struct block *b, uint64_t at, size_t len, uint32_t who)
{
	uint8_t *got = bed_buffer(len), *want = bed_buffer(len);

	memset(got, 0xaa, len);
	memset(want, 0, len);
	if (who)
		bed_fill(want, at, len, who);
	assert_int_equal(bed_do(b, BLOCK_READ, at, len, got), 0);
	for (size_t i = 0; i < len; i += 512)
		if (memcmp(got + i, want + i, 512))
			fail_msg("sector %llu is not writer %u's", (unsigned long long)(at + i) / 512, who);
	free(got);
	free(want);
}

static inline struct vhd_info bed_info(int fd)
{
	struct vhd_info i;
	struct err e = { 0 };

	if (vhd_info(fd, "test.vhd", &i, &e))
		fail_msg("%s", e.text);
	return i;
}

#endif
