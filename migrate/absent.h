/* SPDX-License-Identifier: Apache-2.0 */
/*
 * absent - pages that were never written are zero; reading them to find that
 * out would make the kernel allocate them.  So ask the kernel first.
 */
#ifndef DROVER_MIGRATE_ABSENT_H
#define DROVER_MIGRATE_ABSENT_H

#include "migrate/guest.h"

struct absent {
	int pagemap_fd;           /* /proc/self/pagemap, -1: not to be had, everything counts as present */
};

void absent_init(struct absent *a);
void absent_free(struct absent *a);

/**
 * absent_find() - which of [@first, @first + @count) have no memory behind them
 * @first, @count: pages of @r, @count at most 512
 * @bits: one bit per page from @first on, overwritten
 *
 * A page that is reported may be taken for zero as long as nobody writes it:
 * ask after dirty logging of these pages was armed, else a first write in
 * between is lost.  Any thread.
 */
void absent_find(const struct absent *a, const struct guest_region *r, uint64_t first,
		 uint32_t count, uint64_t bits[8]);

#endif
