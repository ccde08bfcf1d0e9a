/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest - all that the migration engine knows about a domain.
 *
 * hv/ and migrate/ do not know each other: cmd/drover-hv fills this table from
 * a machine on KVM, tests fill it with a fake guest in plain memory.  Every hook
 * must be there, if only to do nothing: the engine never checks for NULL.
 *
 * Threads: the engine calls every hook from its controller thread, except
 * dirty_clear(), which its senders call, one at a time, for different extents.
 * Nobody but the engine calls dirty_*(), throttle(), save(), load() meanwhile;
 * pause() and resume() nest inside whatever else holds the domain.
 *
 * What is dirty (rule D).  A page is dirty if anybody wrote it since the last
 * dirty_clear() that covered it.  dirty_fetch() ORs the dirty pages into the
 * engine's own bitmap and forgets nothing that was written after the matching
 * dirty_clear().  So the engine, for each extent it sends:
 *
 *       clear(extent)      from now on a write will be reported again
 *       read the pages     and send what was read
 *
 * in this order; the other way round loses a write in between.
 */
#ifndef DROVER_MIGRATE_GUEST_H
#define DROVER_MIGRATE_GUEST_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_PAGE 4096u
#define GUEST_REGIONS_MAX 16
#define GUEST_STATE_MAX (64u << 20) /* device state of one domain, upper bound (rule S) */

struct guest_region {
	uint32_t id;
	uint64_t gpa, size; /* bytes, page aligned */
	uint8_t *host;      /* where the engine reads (source) or writes (destination) */
	uint64_t page_size; /* of the backing: hint for populating ahead */
	int fd;             /* file behind it, mapped shared; -1: private anonymous memory */
	uint64_t fd_offset; /* where the region begins in it */
};

struct guest_ops {
	/* --- both sides --- */

	/* The domain's RAM; the same on both sides or the destination refuses. */
	int (*regions)(void *guest, struct guest_region *out, size_t max, size_t *n, struct err *e);

	/* One line of JSON, <= 64 KiB, malloc'ed, caller frees: what the other side must match before a
	 * page is sent (name, uuid, vcpus, memory, devices, CPUID as hex). */
	int (*describe)(void *guest, char **json, struct err *e);

	/* --- source --- */

	int (*dirty_start)(void *guest, struct err *e); /* from now on writes are recorded; all pages count as dirty once */
	void (*dirty_stop)(void *guest);                /* called after the outcome is known, never inside the downtime */
	/* OR region @id's dirty pages into @bitmap (bit n = page n). May be called with vCPUs running or paused. */
	int (*dirty_fetch)(void *guest, uint32_t id, uint64_t *bitmap, struct err *e);
	/* Record writes to [first, first + count) again; first and count are multiples of 64. */
	int (*dirty_clear)(void *guest, uint32_t id, uint64_t first, uint64_t count, const uint64_t *bitmap, struct err *e);
	/* Share of time, 0..99 %, in which vCPUs are held back. 0 releases them. */
	void (*throttle)(void *guest, unsigned int percent);

	/* Stop vCPUs and device threads; on return nothing writes to memory or disk any more. */
	int (*pause)(void *guest, struct err *e);
	/* Let a paused domain run on. On the source: after a failed migration. On the destination: after COMMITTED. */
	int (*resume)(void *guest, struct err *e);
	/* All device and vCPU state as one string, malloc'ed, caller frees. Only while paused. */
	int (*save)(void *guest, uint8_t **buf, size_t *len, struct err *e);
	/* Before GRANT, paused: all that was written is on stable storage, and the other side may have the disks.
	 * Undone by prepare() and commit(). */
	int (*release)(void *guest, struct err *e);
	/* The domain now runs elsewhere: never resume it again. */
	void (*gone)(void *guest);

	/* --- both, the destination above all --- */

	/* Compare with what describe() said on the other side, @len hostile bytes: 0, or -EINVAL with what
	 * differs ("vcpus: 4 there, 2 here"). */
	int (*match)(void *guest, const char *theirs, size_t len, struct err *e);
	/* Could the domain run here?  Tried before the first page is sent, after match(); keeps nothing. An error
	 * says what is missing, by name. */
	int (*preflight)(void *guest, struct err *e);
	/* Check and load what save() made on the other side. The bytes are hostile (rule S). */
	int (*load)(void *guest, const uint8_t *buf, size_t len, struct err *e);

	/*
	 * Taking the domain, in two steps (rule H): the destination after GRANT, the source when a released domain
	 * stays.  Doing again what is done already is fine.
	 *
	 *   prepare()   everything that running here takes is in hand: disks locked and opened, nothing left that could
	 *               fail.  Nobody can see it but by a lock.  -EBUSY: another one holds a disk; -EPERM: has held it
	 *               since, or they can never be had here, and so it will stay; all else may pass.
	 *   commit()    it is on record that @incarnation has the domain.  -EPERM: somebody came in between, or never.
	 *   let_go()    undo both.  An error: something of it is left, call again.
	 */
	int (*prepare)(void *guest, struct err *e);
	int (*commit)(void *guest, uint64_t incarnation, struct err *e);
	int (*let_go)(void *guest, struct err *e);
};

struct guest {
	const struct guest_ops *ops;
	void *self;
};

#endif
