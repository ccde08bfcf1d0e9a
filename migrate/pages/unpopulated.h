/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpopulated - pages that were never written are zero; reading them to find that
 * out would make the kernel allocate them.  So ask the kernel first.
 */
#ifndef DROVER_MIGRATE_PAGES_UNPOPULATED_H
#define DROVER_MIGRATE_PAGES_UNPOPULATED_H

#include "migrate/guest.h"

#include <stdbool.h>

struct unpopulated {
	int pagemap_fd; /* /proc/self/pagemap, -1: not to be had, everything counts as present */
	bool own;       /* close it */
};

/**
 * unpopulated_init() - cannot fail: without /proc/self/pagemap everything counts as present
 * @pagemap_fd: that file, which stays the caller's; -1: it cannot be had; 0: open it
 */
void unpopulated_init(struct unpopulated *a, int pagemap_fd);
/** unpopulated_free() - close what unpopulated_init() has opened */
void unpopulated_free(struct unpopulated *a);

/**
 * unpopulated_find() - which of [@first, @first + @count) have no memory behind them
 * @first, @count: pages of @r, @count at most 512
 * @bits: one bit per page from @first on, overwritten
 *
 * A page that is reported may be taken for zero as long as nobody writes it:
 * ask after dirty logging of these pages was armed, else a first write in
 * between is lost.  Any thread.
 */
void unpopulated_find(const struct unpopulated *a, const struct guest_region *r, uint64_t first,
		      uint32_t count, uint64_t bits[8]);

#endif
