/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory - see memory.h for the contract.
 *
 * One mapping holds all RAM; regions are windows of it:
 *
 *     mapping   |<--- low: up to 2 GiB --->|<--- high: the rest --->|
 *     gpa       0                   0x80000000    0x100000000 ...
 *     dirty     one bit per page of the mapping, same split
 *
 * The mapping starts on a 2 MiB boundary and so does the split, so that huge
 * pages on the host line up with huge pages in the guest.
 *
 * What backs it decides how dear the first touch of a page is.  Measured on a
 * host whose shmem does not give huge pages: populating a memfd costs five
 * times what anonymous memory with huge pages costs.  So BACKING_AUTO takes
 *
 *     reserved 2 MiB pages, if enough are free        memfd(MFD_HUGETLB)
 *     shmem with huge pages, if the host allows       memfd + MADV_HUGEPAGE
 *     anonymous with huge pages, if the host allows   MADV_HUGEPAGE
 *     plain memfd                                     4 KiB pages
 *
 * in this order and says in gmem.backing and gmem.page_size which it was.
 */
#include "hv/memory.h"

#include <errno.h>
#include <linux/memfd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_2M (2ull << 20)
#define BITS_PER_WORD 64u
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
	return aligned;
}

static int map_memfd(struct gmem *m, uint8_t *at, bool huge, struct err *e)
{
	unsigned int flags = MFD_CLOEXEC;

	if (huge)
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	else
		flags |= MFD_ALLOW_SEALING;
	m->fd = memfd_create("drover-ram", flags);
	if (m->fd < 0)
		return err_errno(e, "memory: memfd_create");
	if (ftruncate(m->fd, (off_t)m->size))
		return err_errno(e, "memory: cannot size a memfd of %llu MiB",
				 (unsigned long long)(m->size >> 20));
	if (mmap(at, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd, 0) == MAP_FAILED) {
		if (huge && errno == ENOMEM)
			return err_set(e, -ENOMEM,
				       "memory: %llu pages of 2 MiB are needed, %llu are free (vm.nr_hugepages)",
				       (unsigned long long)(m->size / HUGE_2M),
				       (unsigned long long)huge_pages_free());
		return err_errno(e, "memory: cannot map %llu MiB", (unsigned long long)(m->size >> 20));
	}
	m->page_size = GMEM_PAGE;
	if (huge) {
		m->page_size = HUGE_2M;
	} else if (thp_shmem_allowed()) {
		if (madvise(at, m->size, MADV_HUGEPAGE) == 0)
			m->page_size = HUGE_2M;
	}
	return 0;
}

static int map_anon(struct gmem *m, uint8_t *at, struct err *e)
{
	if (mmap(at, m->size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		return err_errno(e, "memory: cannot map %llu MiB", (unsigned long long)(m->size >> 20));
	m->page_size = GMEM_PAGE;
	if (thp_anon_allowed() && madvise(at, m->size, MADV_HUGEPAGE) == 0)
		m->page_size = HUGE_2M;
	return 0;
}

static size_t dirty_bytes(uint64_t size)
{
	uint64_t pages = size / GMEM_PAGE;

	return (size_t)((pages + BITS_PER_WORD - 1) / BITS_PER_WORD * sizeof(uint64_t));
}

static void region_add(struct gmem *m, uint64_t gpa, uint64_t size, uint8_t *host,
		       _Atomic uint64_t *dirty)
{
	struct gmem_region *r = &m->regions[m->n_regions];

	r->id = (uint32_t)m->n_regions++;
	r->gpa = gpa;
	r->size = size;
	r->host = host;
	r->dirty = dirty;
}

int gmem_create(struct gmem **out, uint64_t size, enum domain_backing backing, struct err *e)
{
	uint64_t low = size < GMEM_LOW_END ? size : GMEM_LOW_END;
	_Atomic uint64_t *dirty;
	struct gmem *m;
	uint8_t *base;
	int ret;

	if (size == 0 || size % GMEM_PAGE || size > DOMAIN_MEMORY_MAX)
		return err_set(e, -EINVAL, "memory: %llu bytes: expected a multiple of %u up to %llu",
			       (unsigned long long)size, GMEM_PAGE, (unsigned long long)DOMAIN_MEMORY_MAX);
	if (backing == BACKING_HUGETLB && size % HUGE_2M)
		return err_set(e, -EINVAL, "memory: %llu bytes is not a multiple of 2 MiB",
			       (unsigned long long)size);
	m = calloc(1, sizeof(*m));
	dirty = calloc(1, dirty_bytes(size) + sizeof(uint64_t));
	if (!m || !dirty) {
		ret = err_set(e, -ENOMEM, "memory: out of memory");
		goto fail_free;
	}
	m->fd = -1;
	m->size = size;
	m->backing = backing == BACKING_AUTO ? backing_pick(size) : backing;
	base = space_reserve(size);
	if (!base) {
		ret = err_errno(e, "memory: no address space for %llu MiB",
				(unsigned long long)(size >> 20));
		goto fail_free;
	}
	if (m->backing == BACKING_ANON)
		ret = map_anon(m, base, e);
	else
		ret = map_memfd(m, base, m->backing == BACKING_HUGETLB, e);
	if (ret)
		goto fail_unmap;
	/* A core dump of a VMM must not hold the guest's secrets, nor its size. */
	madvise(base, size, MADV_DONTDUMP);
	region_add(m, 0, low, base, dirty);
	if (size > low)
		region_add(m, GMEM_HIGH_BASE, size - low, base + low,
			   dirty + low / GMEM_PAGE / BITS_PER_WORD);
	*out = m;
	return 0;

fail_unmap:
	munmap(base, size);
	if (m->fd >= 0)
		close(m->fd);
fail_free:
	free((void *)dirty);
	free(m);
	return ret;
}

void gmem_destroy(struct gmem *m)
{
	if (!m)
		return;
	munmap(m->regions[0].host, m->size);
	free((void *)m->regions[0].dirty);
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

/* The region that holds all of [gpa, gpa + len), or NULL; cannot overflow (rule S). */
static struct gmem_region *region_find(struct gmem *m, uint64_t gpa, size_t len)
{
	for (size_t i = 0; i < m->n_regions; i++) {
		struct gmem_region *r = &m->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size && len <= r->size - (gpa - r->gpa))
			return r;
	}
	return NULL;
}

int gmem_iov(struct gmem *m, uint64_t gpa, size_t len, enum gmem_dir dir, struct iovec *iov)
{
	struct gmem_region *r = region_find(m, gpa, len);

	(void)dir; /* says at the call what is owed; both directions map alike */
	if (!r)
		return -EFAULT;
	iov->iov_base = r->host + (gpa - r->gpa);
	iov->iov_len = len;
	return 0;
}

int gmem_read(struct gmem *m, uint64_t gpa, void *buf, size_t len)
{
	struct iovec iov;
	int ret = gmem_iov(m, gpa, len, GMEM_READ, &iov);

	if (!ret)
		memcpy(buf, iov.iov_base, len);
	return ret;
}

int gmem_write(struct gmem *m, uint64_t gpa, const void *buf, size_t len)
{
	struct iovec iov;
	int ret = gmem_iov(m, gpa, len, GMEM_WRITE, &iov);

	if (ret)
		return ret;
	memcpy(iov.iov_base, buf, len);
	gmem_dirty(m, gpa, len);
	return 0;
}

/*
 * Rule D.  The fence orders the caller's data before the look at `tracking`:
 * a harvest that switched tracking on after we looked will also read the page
 * after our data is visible.  The locked OR does the same against the harvest's
 * exchange.  Skipping the OR when the bit is seen set would lose that order.
 */
void gmem_dirty(struct gmem *m, uint64_t gpa, size_t len)
{
	struct gmem_region *r;
	uint64_t first, last;

	atomic_thread_fence(memory_order_seq_cst);
	if (!len || !atomic_load_explicit(&m->tracking, memory_order_relaxed))
		return;
	r = region_find(m, gpa, len);
	if (!r)
		return;
	first = (gpa - r->gpa) / GMEM_PAGE;
	last = (gpa - r->gpa + len - 1) / GMEM_PAGE;
	while (first <= last) {
		unsigned int bit = first % BITS_PER_WORD;
		uint64_t n = last - first + 1;
		uint64_t mask;

		if (n > BITS_PER_WORD - bit)
			n = BITS_PER_WORD - bit;
		mask = (n == BITS_PER_WORD ? ~0ull : (1ull << n) - 1) << bit;
		atomic_fetch_or(&r->dirty[first / BITS_PER_WORD], mask);
		first += n;
	}
}

void gmem_dirty_take(struct gmem_region *r, uint64_t *bitmap)
{
	size_t words = dirty_bytes(r->size) / sizeof(uint64_t);

	for (size_t i = 0; i < words; i++) {
		if (atomic_load_explicit(&r->dirty[i], memory_order_relaxed))
			bitmap[i] |= atomic_exchange(&r->dirty[i], 0);
	}
}
