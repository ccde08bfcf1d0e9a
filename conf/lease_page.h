/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_page - the page through which a host tells a domain until when it may run
 * (rule G).  Each VMM has its own: who is not to run gets nothing more, whatever the
 * others get.
 *
 * A file of one page, mapped MAP_SHARED: written by whoever keeps the lease
 * (droverd, later drover-guardian), read by the one drover-hv it was made for.  The
 * reader needs no reply and no wake-up: when CLOCK_BOOTTIME passes until_ns it
 * stops by itself, even if the writer is dead.
 *
 * The writer fills version and until_ns, then magic, so a reader that finds the
 * magic finds the rest.  until_ns may go back: 0 means "stop now".
 */
#ifndef DROVER_CONF_LEASE_PAGE_H
#define DROVER_CONF_LEASE_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

#define LEASE_PAGE_MAGIC 0x657361656c766f72ull /* "rovlease", little-endian */
#define LEASE_PAGE_VERSION 1
#define LEASE_PAGE_SIZE 4096

struct lease_page {
	_Atomic uint64_t magic;
	_Atomic uint64_t version;
	_Atomic uint64_t until_ns; /* CLOCK_BOOTTIME; the domain may run while it is ahead */
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "the lease page is read by other processes");

/** lease_page_until() - when the lease ends, 0 for a page that is not (or no longer) valid */
static inline uint64_t lease_page_until(const struct lease_page *p)
{
	if (atomic_load(&p->magic) != LEASE_PAGE_MAGIC ||
	    atomic_load(&p->version) != LEASE_PAGE_VERSION)
		return 0;
	return atomic_load(&p->until_ns);
}

#endif
