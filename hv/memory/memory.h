/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory - a guest's memory: regions of kinds, and the one way to write it.
 *
 * A region is a piece of guest-physical address space with pages of the host behind it.  What
 * may be done with it follows from the rules of its kind (kinds.c):
 *
 *                        ram             rom             flash           shared                 video
 *     guest reads, runs  yes             yes             yes             yes                    where its BAR is
 *     guest writes       yes             vanish          to its device   yes                    where its BAR is
 *     devices (DMA)      yes             no              no              no                     no
 *     who else writes    -               nobody          its device      who has the descriptor nobody
 *     in a migration     sent, logged    sent once       sent, logged    the domain cannot move sent, logged
 *     comes and goes     no              yes             yes             yes                    with its device
 *     pages of the host  as `backing`    small, filled   small, filled   the descriptor's       small
 *     filled             when touched    at once         at once         by its owner           when touched
 *     at a reset         stays, booted   stays           stays           stays                  stays, out of reach
 *                        over
 *
 * ram: what the guest was told of at boot.  Below the PCI hole and above 4 GiB are two regions
 * of one mapping.  Virtqueues keep addresses in it, so it does not leave.
 * rom: the same bytes for ever; sent all the same, as the guest has seen these, and the other
 * host may have another version of them.
 * flash: a rom for whose writes there is a device, which programs it (gmem_store()).
 * shared: somebody else writes it, unseen by us; only he could bring it to another host.
 * video: what a display shows, behind a BAR: the guest says where it finds it, and whether (kvm_slot_place()).
 * Pages of a memfd, so that who shows it to people can be another process, which only reads (backing_map_shown()).
 * In a migration it has the address that the BAR was given at creation, wherever the guest has it.
 *
 * Rule D: a page changed by anybody is dirty.  KVM reports what vCPUs write;
 * everything the VMM itself writes goes through the accessors below, which
 * mark pages in a second bitmap.  A harvest is the union of both.
 *
 *   read:   gmem_read(), gmem_iov(GMEM_READ)       nothing to mark
 *   write:  gmem_write(), gmem_store()             marks at once
 *           gmem_iov(GMEM_WRITE) ... gmem_dirty()  for I/O that completes later:
 *           mark *after* the data arrived, or a harvest in between would send
 *           the old page and forget the new one.
 *
 * A gpa from the guest is never trusted (rule S): every accessor checks that
 * the whole range lies inside one region and returns -EFAULT if not.
 *
 * Threads: accessors any, without a lock.  Who adds, removes or walks regions holds the lock of
 * the machine (hv/machine/machine_memory.c), or is the only one there.
 */
#ifndef DROVER_HV_MEMORY_MEMORY_H
#define DROVER_HV_MEMORY_MEMORY_H

#include "base/err.h"
#include "hv/memory/backing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define GMEM_PAGE 4096u
#define GMEM_REGIONS_MAX 16
#define GMEM_RAM_MAX 2 /* regions of RAM: the first ones */
#define GMEM_NAME_MAX 15
#define GMEM_LOW_END 0x80000000ull /* RAM below 4 GiB ends here at the latest (2 GiB): the hole above
				     * leaves room for ECAM at 0xb0000000 and 32-bit BARs */
#define GMEM_HIGH_BASE 0x100000000ull

enum gmem_dir {
	GMEM_READ,
	GMEM_WRITE
};

enum gmem_kind {
	GMEM_RAM,
	GMEM_ROM,
	GMEM_FLASH,
	GMEM_SHARED,
	GMEM_VIDEO
};

/* How a migration brings the pages to the other host. */
enum gmem_move {
	GMEM_MOVE_LOGGED, /* sent, and again when they have changed */
	GMEM_MOVE_ONCE,   /* sent: they do not change */
	GMEM_MOVE_NEVER,  /* not at all: a domain that has such a region stays where it is */
};

struct gmem_rules {
	const char *name;
	enum gmem_move move;
	bool guest_writes; /* else KVM lets a write out, and the bus decides who hears of it */
	bool devices;      /* gmem_read(), gmem_write(), gmem_iov() reach it */
	bool stored;       /* gmem_store() may change it */
	bool may_leave;    /* it may come and go while the guest runs */
	bool placed;       /* its device says where the guest finds it, and brings it and takes it along */
};

/** gmem_rules_of() - what holds for regions of @kind */
const struct gmem_rules *gmem_rules_of(enum gmem_kind kind);

struct gmem_region {
	uint32_t id;                    /* in a migration, and KVM's slot number: place in gmem.regions */
	const struct gmem_rules *rules; /* NULL: there is no such region */
	char name[GMEM_NAME_MAX + 1];
	uint64_t gpa, size;            /* bytes, page aligned; gpa is where it is for a migration, and for ever unless it is placed */
	uint64_t at;                   /* placed: where vCPUs reach it, 0 = nowhere; for kvm_slot_place() and who has its lock */
	uint8_t *host;                 /* page aligned, valid for the life of the region */
	const struct backing *backing; /* that `host` lies in */
	_Atomic uint64_t *dirty;       /* GMEM_MOVE_LOGGED: pages the VMM wrote since the last gmem_dirty_take(), one bit each */
	struct backing own;            /* all but ram */
};

struct gmem {
	struct backing ram; /* behind all regions of RAM */
	struct gmem_region regions[GMEM_REGIONS_MAX];
	size_t n_ram;          /* the first so many are RAM, as long as the machine lives */
	uint64_t changes;      /* times that a region came or went */
	_Atomic bool tracking; /* marks are kept only while a migration runs */
};

/**
 * gmem_create() - a guest's RAM, in one or two regions, not shown to KVM yet (kvm_vm_memory())
 * @size: bytes, whole pages, up to DOMAIN_MEMORY_MAX
 * Return: 0 and *@out, gmem_destroy() it; -EINVAL for another @size; -ENOMEM; what backing_map() says.
 */
int gmem_create(struct gmem **out, uint64_t size, enum domain_backing backing, struct err *e);
/** gmem_destroy() - free it and all regions, which no vCPU or device uses any more; NULL is nothing */
void gmem_destroy(struct gmem *m);

/* A region that is to be. */
struct gmem_piece {
	const char *name;    /* 1 to GMEM_NAME_MAX characters, like no other's */
	enum gmem_kind kind; /* one that may come and go */
	uint64_t gpa, size;  /* bytes, whole pages, where no other region is */
	const void *image;   /* rom, flash: what is in it at first, zeros behind; read during the call only */
	size_t image_len;    /* at most `size` */
	int fd;              /* shared: the file that it is, sealed with F_SEAL_SHRINK; stays the caller's */
};

/**
 * gmem_region_add() - make a region; its place in guest memory is KVM's business (kvm_slot_put())
 * Return: 0 and *@out, gmem_region_remove() it; -EINVAL for what is no such piece; -EEXIST when it overlaps
 * another or its name is taken; -ENOSPC when there are too many; -EBUSY during a migration, which has
 * agreed on what there is; -ENOMEM.
 */
int gmem_region_add(struct gmem *m, const struct gmem_piece *p, struct gmem_region **out, struct err *e);
/** gmem_region_remove() - free @r, which no guest sees and no thread uses any more; not during a migration */
void gmem_region_remove(struct gmem *m, struct gmem_region *r);

/** gmem_region_next() - the one behind @r (NULL: the first), by id; NULL behind the last */
struct gmem_region *gmem_region_next(struct gmem *m, const struct gmem_region *r);
/** gmem_region_find() - the one of that name, or NULL */
struct gmem_region *gmem_region_find(struct gmem *m, const char *name);
/** gmem_region_get() - the one with that id, or NULL */
struct gmem_region *gmem_region_get(struct gmem *m, uint32_t id);

/** gmem_read() - copy @len bytes out of RAM; -EFAULT, and nothing is copied, when they are not all in one region of it */
int gmem_read(struct gmem *m, uint64_t gpa, void *buf, size_t len);
/** gmem_write() - the same into RAM; the pages are marked on return */
int gmem_write(struct gmem *m, uint64_t gpa, const void *buf, size_t len);

/**
 * gmem_iov() - host address of [@gpa, @gpa + @len)
 * Return: 0 and *@iov, or -EFAULT.  With GMEM_WRITE the caller owes a
 * gmem_dirty() over what it wrote, once the data is there.
 */
int gmem_iov(struct gmem *m, uint64_t gpa, size_t len, enum gmem_dir dir, struct iovec *iov);

/** gmem_dirty() - the host has written [@gpa, @gpa + @len); any thread, lock-free */
void gmem_dirty(struct gmem *m, uint64_t gpa, size_t len);

/**
 * gmem_store() - the device behind a flash programs it: @len bytes at @offset of @r
 * Return: 0; -EFAULT when they are not all inside; -EPERM when this is no kind for which there is such a device.
 */
int gmem_store(struct gmem *m, struct gmem_region *r, uint64_t offset, const void *buf, size_t len);

/** gmem_dirty_all() - all of @r counts as written by the host; any thread, lock-free; not of a kind that is sent once or never */
void gmem_dirty_all(struct gmem *m, struct gmem_region *r);

/** gmem_dirty_take() - OR region @r's marks into @bitmap (one bit per page) and clear them */
void gmem_dirty_take(struct gmem_region *r, uint64_t *bitmap);

#endif
