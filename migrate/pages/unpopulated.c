/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpopulated - see unpopulated.h.
 *
 * Private anonymous memory: a pagemap entry (Linux Documentation/admin-guide/mm/
 * pagemap.rst) with neither "present" (bit 63) nor "swapped" (bit 62) was never
 * written.  Shared file memory: its page table entries come and go, but a hole
 * in the file (SEEK_DATA) has no page; both answers err towards "present".
 */
#include "migrate/pages/unpopulated.h"

#include "migrate/wire/wire.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PM_PRESENT (1ull << 63)
#define PM_SWAPPED (1ull << 62)

void unpopulated_init(struct unpopulated *a, int pagemap_fd)
{
	a->own = !pagemap_fd;
	a->pagemap_fd = a->own ? open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) : pagemap_fd;
}

void unpopulated_free(struct unpopulated *a)
{
	if (a->own && a->pagemap_fd >= 0)
		close(a->pagemap_fd);
	a->pagemap_fd = -1;
}

/* #syscalls:send,engine pread64 */
static void find_anonymous(const struct unpopulated *a, const uint8_t *host, uint32_t count,
			   uint64_t *bits)
{
	uint64_t entries[EXTENT_PAGES];
	ssize_t want = (ssize_t)(count * sizeof(uint64_t));
	uint32_t i;

	if (a->pagemap_fd < 0)
		return;
	if (pread(a->pagemap_fd, entries, (size_t)want,
		  (off_t)((uintptr_t)host / GUEST_PAGE * sizeof(uint64_t))) != want)
		return;
	for (i = 0; i < count; i++)
		if (!(entries[i] & (PM_PRESENT | PM_SWAPPED)))
			bits[i / 64] |= 1ull << (i % 64);
}

/* #syscalls:send,engine lseek */
static void find_in_file(const struct guest_region *r, uint64_t first, uint32_t count,
			 uint64_t *bits)
{
	off_t from = (off_t)(r->fd_offset + first * GUEST_PAGE), at = from, data, hole;
	off_t end = from + (off_t)count * GUEST_PAGE;
	uint64_t i;

	while (at < end) {
		data = lseek(r->fd, at, SEEK_DATA);
		if (data < 0 && errno != ENXIO)
			return;
		if (data < 0 || data > end)
			data = end;
		for (i = (uint64_t)(at - from) / GUEST_PAGE; i < (uint64_t)(data - from) / GUEST_PAGE; i++)
			bits[i / 64] |= 1ull << (i % 64);
		if (data >= end)
			return;
		hole = lseek(r->fd, data, SEEK_HOLE);
		if (hole < 0)
			return;
		/* A hole inside a page cannot be: round up, towards "present". */
		at = (hole + GUEST_PAGE - 1) / GUEST_PAGE * GUEST_PAGE;
	}
}

void unpopulated_find(const struct unpopulated *a, const struct guest_region *r, uint64_t first,
		      uint32_t count, uint64_t bits[8])
{
	assert(count <= EXTENT_PAGES && first <= r->size / GUEST_PAGE && count <= r->size / GUEST_PAGE - first);
	assert((uintptr_t)r->host % GUEST_PAGE == 0 && r->fd_offset % GUEST_PAGE == 0);
	memset(bits, 0, 8 * sizeof(bits[0]));
	if (r->fd < 0)
		find_anonymous(a, r->host + first * GUEST_PAGE, count, bits);
	else
		find_in_file(r, first, count, bits);
}
