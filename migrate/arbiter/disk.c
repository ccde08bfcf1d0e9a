/* SPDX-License-Identifier: Apache-2.0 */
/* disk - see disk.h. */
#include "migrate/arbiter/disk.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

#define DISK_GIVE_UP_MS 10000u /* a destination whose record cannot be written hands the domain back */
#define DISK_PAUSE_MS 100      /* between two looks at storage that says nothing */

/*
 * -EBUSY: somebody has the disk.  Is it the destination?  Its record says so once it has written it; a backup that
 * holds the disk for a moment, or a destination that has not got so far, decides nothing.
 * -EPERM: somebody has had it since, and that stays so.
 */
static int disk_ask(void *self, enum migrate_role role, enum outcome proposal,
		    uint64_t incarnation, int timeout_ms, enum outcome *out, struct err *e)
{
	const struct timespec pause = { .tv_nsec = DISK_PAUSE_MS * 1000000L };
	const enum outcome mine = role == MIGRATE_SOURCE ? OUTCOME_ABORT : OUTCOME_COMMIT;
	const enum outcome theirs = role == MIGRATE_SOURCE ? OUTCOME_COMMIT : OUTCOME_ABORT;
	const struct arbiter_disk *d = self;
	const struct guest *g = &d->guest;
	int rc;

	rc = g->ops->prepare(g->self, e);
	if (!rc)
		rc = g->ops->commit(g->self, role == MIGRATE_SOURCE ? d->back_incarnation : incarnation, e);
	if (rc == -EBUSY && role == MIGRATE_SOURCE && !d->taken(d->arg))
		rc = -EAGAIN;
	if (!rc || rc == -EBUSY || rc == -EPERM) {
		*out = rc ? theirs : mine;
		return 0;
	}
	nanosleep(&pause, NULL); /* nobody knows until the storage is back, or free */
	return rc;
}

static const char *disk_advice(void *self)
{
	return "the disk decides as soon as it can be reached";
}

static const struct arbiter_ops disk_ops = {
	.name = "disk",
	.wire = ARBITER_WIRE_DISK,
	.give_up_ms = DISK_GIVE_UP_MS,
	.ask = disk_ask,
	.advice = disk_advice,
};

struct arbiter arbiter_disk_make(struct arbiter_disk *d)
{
	assert(d->guest.ops && d->taken);
	return (struct arbiter){ .ops = &disk_ops, .self = d };
}
