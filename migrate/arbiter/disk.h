/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk - the arbiter is the lock and the record of the domain's disk (hv/disk/disk_lock.h).
 *
 * The source has let go of it before GRANT.  The destination takes it with the incarnation
 * it was granted; a source that wants the domain back takes it with one above that, which
 * fails if the destination has it or had it, and bars a late destination for ever.
 */
#ifndef DROVER_MIGRATE_ARBITER_DISK_H
#define DROVER_MIGRATE_ARBITER_DISK_H

#include "migrate/arbiter.h"
#include "migrate/guest.h"

struct arbiter_disk {
	struct guest guest; /* whose prepare() and commit() take the disk */
	/* Source: does the record say that somebody has it with an incarnation above its own? */
	bool (*taken)(void *arg);
	void *arg;
	uint64_t back_incarnation; /* source: under which it takes its domain back */
};

/** arbiter_disk_make() - an arbiter that lasts as long as @d */
struct arbiter arbiter_disk_make(struct arbiter_disk *d);

#endif
