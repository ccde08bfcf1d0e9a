/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backing - see backing.h.
 *
 * What backs memory decides how dear the first touch of a page is.  Measured on a
 * host whose shmem does not give huge pages: populating a memfd costs five
 * times what anonymous memory with huge pages costs.  So BACKING_AUTO takes
 *
 *     reserved 2 MiB pages, if enough are free        memfd(MFD_HUGETLB)
 *     shmem with huge pages, if the host allows       memfd + MADV_HUGEPAGE
 *     anonymous with huge pages, if the host allows   MADV_HUGEPAGE
 *     plain memfd                                     4 KiB pages
 *
 * in this order and says in backing.kind and backing.page_size which it was.
 */
#include "hv/memory/backing.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL_PAGE 4096u
#define HUGE_2M (2ull << 20)
#define SYS_THP "/sys/kernel/mm/transparent_hugepage/"
#define SYS_HUGE "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static int read_text(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		return -errno;
	n = fread(buf, 1, len - 1, f);
	buf[n] = '\0';
	fclose(f);
	return 0;
}

/* The chosen word of "always [madvise] never" is the one in brackets. */
static bool thp_allowed(const char *path, const char *const *words)
{
	char text[128], want[32];

	if (read_text(path, text, sizeof(text)))
		return false;
	for (; *words; words++) {
		snprintf(want, sizeof(want), "[%s]", *words);
		if (strstr(text, want))
			return true;
	}
	return false;
}

static bool thp_shmem_allowed(void)
{
	static const char *const words[] = { "always", "within_size", "advise", "force", NULL };

	return thp_allowed(SYS_THP "shmem_enabled", words);
}

static bool thp_anon_allowed(void)
{
	static const char *const words[] = { "always", "madvise", NULL };

	return thp_allowed(SYS_THP "enabled", words);
}

static uint64_t huge_pages_free(void)
{
	char text[64];
	uint64_t free_pages, reserved = 0;

	if (read_text(SYS_HUGE "free_hugepages", text, sizeof(text)))
		return 0;
	free_pages = strtoull(text, NULL, 10);
	if (!read_text(SYS_HUGE "resv_hugepages", text, sizeof(text)))
		reserved = strtoull(text, NULL, 10);
	return free_pages > reserved ? free_pages - reserved : 0;
}

static enum domain_backing backing_pick(uint64_t size)
{
	if (size % HUGE_2M == 0 && huge_pages_free() >= size / HUGE_2M)
		return BACKING_HUGETLB;
	if (thp_shmem_allowed())
		return BACKING_MEMFD;
	if (thp_anon_allowed())
		return BACKING_ANON;
	return BACKING_MEMFD;
}

/* Address space for @size bytes that starts on a 2 MiB boundary; nothing is mapped readable yet. */
static uint8_t *space_reserve(uint64_t size)
{
	uint8_t *p, *aligned;

	p = mmap(NULL, size + HUGE_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	aligned = (uint8_t *)(((uintptr_t)p + HUGE_2M - 1) & ~(uintptr_t)(HUGE_2M - 1));
	if (aligned > p)
		munmap(p, (size_t)(aligned - p));
	if (aligned < p + HUGE_2M)
		munmap(aligned + size, (size_t)(p + HUGE_2M - aligned));
	assert((uintptr_t)aligned % HUGE_2M == 0);
	return aligned;
}

/* Where space_reserve() has made room; 0 or -1, with errno. */
static int map_there(struct backing *b, int flags)
{
	void *at = mmap(b->host, b->size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, b->fd, 0);

	if (at == MAP_FAILED)
		return -1;
	b->host = at;
	return 0;
}

static int make_memfd(struct backing *b, unsigned int flags, struct err *e)
{
	b->fd = memfd_create("drover-ram", MFD_CLOEXEC | flags);
	if (b->fd < 0)
		return err_errno(e, "memory: memfd_create");
	if (ftruncate(b->fd, (off_t)b->size))
		return err_errno(e, "memory: cannot size a memfd of %llu MiB",
				 (unsigned long long)(b->size >> 20));
	return 0;
}

static int map_memfd(struct backing *b, bool huge, struct err *e)
{
	int ret = make_memfd(b, huge ? MFD_HUGETLB | MFD_HUGE_2MB : MFD_ALLOW_SEALING, e);

	if (ret)
		return ret;
	if (map_there(b, MAP_SHARED)) {
		if (huge && errno == ENOMEM)
			return err_set(e, -ENOMEM,
				       "memory: %llu pages of 2 MiB are needed, %llu are free (vm.nr_hugepages)",
				       (unsigned long long)(b->size / HUGE_2M),
				       (unsigned long long)huge_pages_free());
		return err_errno(e, "memory: cannot map %llu MiB", (unsigned long long)(b->size >> 20));
	}
	if (huge)
		b->page_size = HUGE_2M;
	else if (thp_shmem_allowed() && madvise(b->host, b->size, MADV_HUGEPAGE) == 0)
		b->page_size = HUGE_2M;
	return 0;
}

static int map_anon(struct backing *b, bool huge, struct err *e)
{
	if (map_there(b, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE))
		return err_errno(e, "memory: cannot map %llu MiB", (unsigned long long)(b->size >> 20));
	if (huge && thp_anon_allowed() && madvise(b->host, b->size, MADV_HUGEPAGE) == 0)
		b->page_size = HUGE_2M;
	return 0;
}

/* Address space, and nothing in it yet. */
static int begin(struct backing *b, uint64_t size, enum domain_backing kind, struct err *e)
{
	assert(size && size % SMALL_PAGE == 0);
	*b = (struct backing){ .kind = kind, .fd = -1, .size = size, .page_size = SMALL_PAGE };
	b->host = space_reserve(size);
	return b->host ? 0 : err_errno(e, "memory: no address space for %llu MiB", (unsigned long long)(size >> 20));
}

static int finish(struct backing *b, int ret)
{
	if (ret) {
		backing_unmap(b);
		return ret;
	}
	/* A core dump of a VMM must not hold the guest's secrets, nor its size. */
	madvise(b->host, b->size, MADV_DONTDUMP);
	assert(b->page_size && !(b->page_size & (b->page_size - 1)));
	return 0;
}

int backing_map(struct backing *b, uint64_t size, enum domain_backing kind, struct err *e)
{
	int ret;

	if (kind == BACKING_HUGETLB && size % HUGE_2M)
		return err_set(e, -EINVAL, "memory: %llu bytes is not a multiple of 2 MiB",
			       (unsigned long long)size);
	ret = begin(b, size, kind == BACKING_AUTO ? backing_pick(size) : kind, e);
	if (ret)
		return ret;
	if (b->kind == BACKING_ANON)
		ret = map_anon(b, true, e);
	else
		ret = map_memfd(b, b->kind == BACKING_HUGETLB, e);
	return finish(b, ret);
}

int backing_map_small(struct backing *b, uint64_t size, struct err *e)
{
	int ret = begin(b, size, BACKING_ANON, e);

	return ret ? ret : finish(b, map_anon(b, false, e));
}

/* From now on there is one that writes it: this mapping, whoever has the descriptor too (memfd_create(2), fcntl(2)). */
static int seal(struct backing *b, struct err *e)
{
	if (fcntl(b->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL))
		return err_errno(e, "memory: a memfd cannot be sealed");
	return 0;
}

int backing_map_shown(struct backing *b, uint64_t size, struct err *e)
{
	int ret = begin(b, size, BACKING_MEMFD, e);

	if (ret)
		return ret;
	ret = make_memfd(b, MFD_ALLOW_SEALING, e);
	if (!ret && map_there(b, MAP_SHARED))
		ret = err_errno(e, "memory: cannot map %llu bytes of a memfd", (unsigned long long)size);
	return finish(b, ret ? ret : seal(b, e));
}

static int map_file(struct backing *b, int fd, struct err *e)
{
	struct stat st;
	int seals;

	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (b->fd < 0 || fstat(b->fd, &st))
		return err_errno(e, "memory: a file that is to be shared");
	/* Whoever shares it could cut it short, and each access behind its end would be a SIGBUS. */
	seals = fcntl(b->fd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return err_set(e, -EINVAL, "memory: a file that is to be shared may shrink (it has no F_SEAL_SHRINK)");
	if (st.st_size < 0 || (uint64_t)st.st_size < b->size)
		return err_set(e, -EINVAL, "memory: %lld bytes of file for %llu of memory", (long long)st.st_size,
			       (unsigned long long)b->size);
	if (map_there(b, MAP_SHARED))
		return err_errno(e, "memory: cannot map %llu bytes of a file", (unsigned long long)b->size);
	return 0;
}

int backing_map_fd(struct backing *b, uint64_t size, int fd, struct err *e)
{
	int ret = begin(b, size, BACKING_MEMFD, e);

	return ret ? ret : finish(b, map_file(b, fd, e));
}

void backing_unmap(struct backing *b)
{
	if (!b->host)
		return;
	munmap(b->host, b->size);
	if (b->fd >= 0)
		close(b->fd);
	*b = (struct backing){ .fd = -1 };
}
