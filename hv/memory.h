/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory - the guest's RAM as the host sees it, and the one way to write it.
 *
 * Rule D: a page changed by anybody is dirty.  KVM reports what vCPUs write;
 * everything the VMM itself writes goes through the accessors below, which
 * mark pages in a second bitmap.  A harvest is the union of both.
 *
 *   read:   gmem_read(), gmem_iov(GMEM_READ)       nothing to mark
 *   write:  gmem_write()                           marks at once
 *           gmem_iov(GMEM_WRITE) ... gmem_dirty()  for I/O that completes later:
 *           mark *after* the data arrived, or a harvest in between would send
 *           the old page and forget the new one.
 *
 * A gpa from the guest is never trusted (rule S): every accessor checks that
 * the whole range lies inside one region and returns -EFAULT if not.
 *
 * RAM below the PCI hole and RAM above 4 GiB are two regions of one mapping.
 */
#ifndef DROVER_HV_MEMORY_H
#define DROVER_HV_MEMORY_H

#include "base/err.h"
#include "conf/domain.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define GMEM_PAGE 4096u
#define GMEM_REGIONS_MAX 4
#define GMEM_LOW_END 0x80000000ull  /* RAM below 4 GiB ends here at the latest (2 GiB): the hole above
				     * leaves room for ECAM at 0xb0000000 and 32-bit BARs */
#define GMEM_HIGH_BASE 0x100000000ull

enum gmem_dir { GMEM_READ, GMEM_WRITE };

struct gmem_region {
	uint32_t id;            /* index, also the KVM slot number */
	uint64_t gpa, size;     /* bytes, page aligned */
	uint8_t *host;          /* page aligned, valid for the life of the gmem */
	_Atomic uint64_t *dirty; /* pages the VMM wrote since the last gmem_dirty_take(), one bit each */
};

struct gmem {
	int fd;                 /* memfd behind all regions, -1 when anonymous */
	uint64_t size;
	uint64_t page_size;     /* of the backing: 4096, or 2 MiB where pages are huge */
	enum domain_backing backing; /* what was chosen, never BACKING_AUTO */
	struct gmem_region regions[GMEM_REGIONS_MAX];
	size_t n_regions;
	_Atomic bool tracking;  /* marks are kept only while a migration runs */
};

int gmem_create(struct gmem **out, uint64_t size, enum domain_backing backing, struct err *e);
void gmem_destroy(struct gmem *m);

/** gmem_read(), gmem_write() - copy @len bytes; -EFAULT when not all of it is RAM */
int gmem_read(struct gmem *m, uint64_t gpa, void *buf, size_t len);
int gmem_write(struct gmem *m, uint64_t gpa, const void *buf, size_t len);

/**
 * gmem_iov() - host address of [@gpa, @gpa + @len)
 * Return: 0 and *@iov, or -EFAULT.  With GMEM_WRITE the caller owes a
 * gmem_dirty() over what it wrote, once the data is there.
 */
int gmem_iov(struct gmem *m, uint64_t gpa, size_t len, enum gmem_dir dir, struct iovec *iov);

/** gmem_dirty() - the host has written [@gpa, @gpa + @len); any thread, lock-free */
void gmem_dirty(struct gmem *m, uint64_t gpa, size_t len);

/** gmem_dirty_take() - OR region @r's marks into @bitmap (one bit per page) and clear them */
void gmem_dirty_take(struct gmem_region *r, uint64_t *bitmap);

#endif
