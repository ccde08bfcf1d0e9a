/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine - one domain: memory, vCPUs, platform devices, virtio devices.
 *
 * Life of a machine:
 *
 *     create ──> boot ──────────────> start ──> hold/release ... ──> destroy
 *            └─> load (migration) ──┘
 *
 * It runs when nobody holds it.  Whoever wants it stopped takes a hold of his
 * own and gives it back when done; several may hold it at once, so an operator's
 * pause survives a failed migration, and a lease that returns does not undo the
 * operator's pause (rules G, H).  On return of machine_hold() no vCPU runs and
 * no device writes to memory or disk.
 *
 * Reset loads the state saved right after creation, so a device whose table is right needs no reset
 * code of its own; then the machine boots again, from files that are open since the start.
 *
 * Threads: any, unless a function says otherwise; a mutex inside orders them.
 * The event callback comes from vCPU threads and must not call back.
 */
#ifndef DROVER_HV_MACHINE_MACHINE_H
#define DROVER_HV_MACHINE_MACHINE_H

#include "base/err.h"
#include "conf/domain.h"
#include "hv/device/bus.h"
#include "hv/memory/memory.h"
#include "hv/platform/serial.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MACHINE_STATE_MAX (64u << 20) /* saved state of one machine, upper bound (rule S) */
#define MACHINE_QUIESCE_MS 5000       /* disk requests in flight may take that long to drain, of all devices together */
#define MACHINE_TRY_MS 100            /* ... and so long where the main thread waits for what it will try again */

enum machine_event {
	MACHINE_RESET, /* the guest asked for a reset, or triple-faulted */
	MACHINE_POWEROFF,
	MACHINE_CRASH, /* KVM cannot go on; the text says why */
};

enum machine_holder {
	HOLD_START = 1 << 0, /* until machine_release(HOLD_START): not started yet */
	HOLD_OPERATOR = 1 << 1,
	HOLD_MIGRATION = 1 << 2,
	HOLD_GATE = 1 << 3,    /* the lease ended (rule G) */
	HOLD_DISK = 1 << 5,    /* a write failed and waits */
	HOLD_EVENT = 1 << 4,   /* reset, power-off or crash waits for its handling */
	HOLD_LEAVING = 1 << 6, /* machine_hold_to_leave(): HOLD_MIGRATION to be, but resets are still done */
};

struct disk_broker;
struct keeper;
struct display;
struct seat;

struct machine_options {
	const struct domain_conf *conf; /* must outlive the machine */
	uint64_t incarnation;
	/* Rule G, asked by disks before each write; any thread, must not block. */
	bool (*may_submit)(void *arg);
	bool leased;               /* there is such a gate */
	struct disk_broker *disks; /* opens the disks (hv/disk/disk_broker.h), must outlive the machine; NULL: this process */
	struct keeper *ports;      /* makes the ports of network cards (net/link/keeper.h), must outlive the machine; NULL: this process */
	const char *cluster;       /* id of the cluster that counts incarnations, NULL: none */
	/* From a vCPU thread that has stopped itself; @text lives only during the call. */
	void (*event)(void *arg, enum machine_event what, const char *text);
	/* A write to a disk failed and waits (@held), or has succeeded now.  From a device's thread, must
	 * not block or call back: take HOLD_DISK later, try with machine_disks_retry(), give it back when
	 * told so.  NULL: errors reach the guest. */
	void (*disk_held)(void *arg, bool held, const char *why);
	void *arg;
};

struct machine;

/**
 * machine_create() - build everything, held by HOLD_START; opens no disk
 * Return: 0; -ENODEV when there is no usable /dev/kvm; -ENOMEM; or what a device said.
 */
int machine_create(struct machine **out, const struct machine_options *o, struct err *e);
/**
 * machine_destroy() - stop it, whoever holds it, and free all; NULL is nothing
 * Disks that are owned still are flushed (what is lost then is only logged) and let go.  Nobody else uses
 * @m any more; not from a vCPU's or a device's thread.
 */
void machine_destroy(struct machine *m);

/**
 * machine_boot_open() - open kernel and initrd, and keep them open for every boot to come
 * Nothing is opened for a reset: who lets a guest run that was not booted here (a migration's
 * destination) must have called this before.  Again is nothing.
 * Return: 0; -ENOENT for a missing file; -EINVAL for a file that is no kernel; what boot_open() says.
 */
int machine_boot_open(struct machine *m, struct err *e);
/**
 * machine_boot() - put kernel, initrd and tables into memory and the first vCPU at the entry
 * Calls machine_boot_open() when nobody has.
 * Return: 0; what that says; -EINVAL, -ENOSPC for a kernel that cannot be loaded.
 */
int machine_boot(struct machine *m, struct err *e);

/*
 * The disks (rule H).  To take them is to lock and open all (prepare), then to write into all
 * their records who owns them now (commit).  Any thread.
 */

/**
 * machine_disks_prepare() - lock and open all disks, or none; writes no record
 * machine_disks_abandon() undoes it.  Nothing to do for those that are prepared already.
 * Return: 0; -EBUSY when somebody holds one; DISK_BROKER_GONE (hv/disk/disk_broker.h); or whatever makes one of
 * them useless here.
 */
int machine_disks_prepare(struct machine *m, struct err *e);
/**
 * machine_disks_commit() - own what was prepared, as @incarnation; all or none
 * @after: the highest incarnation that the records may hold: @incarnation for who was told to run
 *         the domain, what this process last wrote for a source that takes its disks back
 * On error the disks stay prepared, their records as they were.
 * Return: 0; -EPERM when a record says that ownership has moved on (hv/disk/disk_lock.h); DISK_ANOTHER
 * when a disk that this machine had and let go of is another one now: then its guest must never run on.
 */
int machine_disks_commit(struct machine *m, uint64_t after, uint64_t incarnation, struct err *e);
/**
 * machine_disks_next() - the incarnation for a domain whose disks are prepared and that nobody counts for
 * Return: the one above their records where a lock that we hold says that it runs nowhere else; else 1,
 * which a higher record refuses.
 */
uint64_t machine_disks_next(struct machine *m);
/**
 * machine_disks_mark() - write @nonce (32 hex digits, "" for none) into the records of owned disks
 * For another host to find there with disk_lock_record(): then it sees the same record.
 * @incarnation: what the records hold already, or a higher one
 * Return: 0; -ESTALE as machine_disks_named() says, and nothing is written.
 */
int machine_disks_mark(struct machine *m, uint64_t incarnation, const char *nonce, struct err *e);

/**
 * machine_disks_named() - do the paths of owned disks still lead to them?
 * A record lies beside a disk's name and follows no disk: where another disk took the name, the record
 * would vouch for that one.  Asked when a migration begins and when its disks are let go.
 * Return: 0; -ESTALE when one that is written to was removed, renamed or replaced since it was opened.
 */
int machine_disks_named(struct machine *m, struct err *e);

/** machine_disks_sizes() - what the guest knows of its disks, [[bytes, bytes of a sector], ...]; caller owns it */
json_t *machine_disks_sizes(struct machine *m);
/**
 * machine_disks_expect() - a guest will arrive that knows @sizes of its disks: machine_disks_probe() looks at them
 * @sizes: what machine_disks_sizes() said elsewhere; not trusted
 * Return: 0; -EINVAL when it is no such list, or of another length than here.
 */
int machine_disks_expect(struct machine *m, const json_t *sizes, struct err *e);
/**
 * machine_disks_marked() - is @nonce in the records as machine_disks_prepare() found them?
 * So nobody has had these disks since they were marked.  A block device's record is its host's
 * own and says nothing.
 * Return: 0, or -EPERM naming the first that is not.
 */
int machine_disks_marked(struct machine *m, const char *nonce, struct err *e);

/**
 * machine_disks_retry() - try again what failed; options.disk_held() tells how it went
 * Does nothing while others than HOLD_DISK hold the machine: their release is such a try.
 */
int machine_disks_retry(struct machine *m, struct err *e);

/**
 * machine_disks_close() - flush, then let others have them; only while held
 * Return: 0, or why something was lost: then the disks are still ours.
 */
int machine_disks_close(struct machine *m, struct err *e);
/** machine_disks_abandon() - let go of them at once, whatever becomes of unflushed writes; only while held */
void machine_disks_abandon(struct machine *m);

/*
 * The same for a machine that stands still for long, HOLD_GATE.  Storage may take as long as it likes: meanwhile
 * everything else goes on, but for other calls about its disks, which wait, and for devices that would come or go (-EBUSY).
 * Both are refused with -EBUSY while a migration or HOLD_START has the machine: then the disks are others' to take.
 */

/**
 * machine_disks_let_go() - when nothing is in flight, flush, then let others have them
 * @wait_ms: for what is in flight
 * What cannot be flushed is lost, which is logged, and which the guest hears of with its next flush.
 * Return: 0: they are gone; -ETIMEDOUT: something is in flight still; -EBUSY.
 */
int machine_disks_let_go(struct machine *m, unsigned int wait_ms, struct err *e);
/**
 * machine_disks_take_back() - take them again, all or none, as @incarnation, as which they were let go
 * @lost: with an error: they can never be taken again, because they are somebody else's by now, or others
 *        than those that were let go (DISK_ANOTHER), or because nobody is left to open them (DISK_BROKER_GONE)
 * Return: as machine_disks_prepare() and machine_disks_commit(); -EBUSY.
 */
int machine_disks_take_back(struct machine *m, uint64_t incarnation, bool *lost, struct err *e);

/**
 * machine_disks_probe() - could this host take them?  Locks nothing, leaves nothing behind
 * @fresh: for a start; else for a domain that arrives: its disks may be in use, and a guest has
 *         written them, so that their contents say nothing about their format
 * Return: 0, or what is wrong with the first that could not be taken.
 */
int machine_disks_probe(struct machine *m, bool fresh, struct err *e);

/**
 * machine_hold() - stop for @who; 0 when everything stands still
 * -ETIMEDOUT when a vCPU or a device does not come to rest; the hold is taken all the same.
 */
int machine_hold(struct machine *m, enum machine_holder who, struct err *e);
/** machine_hold_for() - the same, of its devices waiting no longer than @wait_ms */
int machine_hold_for(struct machine *m, enum machine_holder who, unsigned int wait_ms, struct err *e);
/** machine_hold_nowait() - the same without waiting; a later machine_hold() waits */
void machine_hold_nowait(struct machine *m, enum machine_holder who);
/**
 * machine_hold_to_leave() - machine_hold(HOLD_MIGRATION), but what the guest has asked for is done first
 * @wait_ms: how long machine_reset() is waited for.  A wish to reset is no part of the state: without
 *           this a guest that does nothing but reset could never be moved off its host.
 */
int machine_hold_to_leave(struct machine *m, unsigned int wait_ms, struct err *e);
/** machine_release() - give @who's hold back; runs when no other is left */
int machine_release(struct machine *m, enum machine_holder who, struct err *e);
/** machine_holders() - who holds it now, bits of enum machine_holder; 0 = it runs */
unsigned int machine_holders(struct machine *m);

/**
 * machine_reset() - as after power-on; handles HOLD_EVENT; others' holds stay
 * Return: 0; -EBUSY while a migration holds it; -ETIMEDOUT when something has not come to rest yet (a disk that
 * does not answer): it stays held, try again; -ENOENT when nobody has called machine_boot_open(); what machine_boot()
 * says.
 */
int machine_reset(struct machine *m, struct err *e);
/** machine_power_button() - ask the guest to shut down (ACPI power button) */
void machine_power_button(struct machine *m);

/*
 * Devices that come and go while the guest runs (hv/device/device.h).  What the domain's file asks for is
 * there from creation on.  The guest is not told: that is a hotplug controller's business.
 */

/**
 * machine_device_add() - create a device and let the guest reach it
 * @kind, @index: "blk" and 1 for the second disk
 * @conf: where it is described; read during the call only
 * A new disk is taken as the others are: at once, if they have been taken.
 * Return: 0; -EINVAL when @conf has no such device; -EEXIST when it is there; -EBUSY during a
 * migration; or what the device said.
 */
int machine_device_add(struct machine *m, const char *kind, unsigned int index,
		       const struct domain_conf *conf, struct err *e);
/**
 * machine_device_remove() - let the device finish what it has begun, and take it from the guest
 * Return: 0 and nothing of it is left; -ENOENT; -EPERM when the machine cannot be without it;
 * -EBUSY during a migration, or while a failed write waits; -ETIMEDOUT when it does not come to
 * rest, or a disk's failed flush: then it works on.
 */
int machine_device_remove(struct machine *m, const char *kind, unsigned int index, struct err *e);

/*
 * Memory that comes and goes while the guest runs (hv/memory/memory.h): any kind but RAM.  As with
 * devices, the guest is not told.
 */

/**
 * machine_memory_add() - let the guest reach @p
 * @p: read during the call only
 * @ops, @dev: flash: the device that gets what the guest writes there, from vCPU threads, and may
 *             gmem_store() it.  NULL for other kinds: there the guest's writes arrive, or vanish.
 * Return: 0; what gmem_region_add() says; -EEXIST also where a device answers; -EBUSY also while a
 * migration holds the domain.
 */
int machine_memory_add(struct machine *m, const struct gmem_piece *p, const struct bus_ops *ops, void *dev,
		       struct err *e);
/**
 * machine_memory_remove() - take it from the guest, which reads all ones there from now on
 * Return: 0, nothing of it is left and @dev hears no more; -ENOENT; -EPERM for RAM; -EBUSY during a migration.
 */
int machine_memory_remove(struct machine *m, const char *name, struct err *e);

/** machine_memory() - for its accessors, by any thread; its regions by machine_memory_each() */
struct gmem *machine_memory(struct machine *m);
/**
 * machine_memory_each() - call @fn for each region, by id, until it returns other than 0; none comes or goes meanwhile
 * @fn: must not call back
 * Return: 0, or what @fn returned.
 */
int machine_memory_each(struct machine *m, int (*fn)(void *arg, const struct gmem_region *r, struct err *e),
			void *arg, struct err *e);
/**
 * machine_changes() - times that a device or a region of memory came or went
 * Asked before a look at them and again later, it says whether they are the same still.
 * From machine_dirty_start() to machine_dirty_stop(), and while HOLD_MIGRATION is taken, they are.
 */
uint64_t machine_changes(struct machine *m);
/** machine_serial() - its serial line, for the console; stays the machine's and lives as long */
struct serial *machine_serial(struct machine *m);

/** machine_display() - its screen, NULL when it has none; stays the machine's and lives as long */
struct display *machine_display(struct machine *m);

/** machine_seat() - its keyboard and pointer; stays the machine's and lives as long */
struct seat *machine_seat(struct machine *m);

/**
 * machine_agent_attach() - @fd, a stream socket without waiting, is who speaks to the guest's agent from now on
 * Return: 0, and @fd is the machine's; -ENOENT: there is no port for one; -EBUSY: somebody speaks to it already.
 */
int machine_agent_attach(struct machine *m, int fd, struct err *e);
/** machine_agent_is_open() - has an agent opened its port in the guest? */
bool machine_agent_is_open(struct machine *m);

/** machine_save() - all device and vCPU state, malloc'ed; only while held */
int machine_save(struct machine *m, uint8_t **buf, size_t *len, struct err *e);
/**
 * machine_load() - check and load what machine_save() made elsewhere; only while held
 * The bytes are hostile (rule S).  On error the machine is of no more use: destroy it.
 */
int machine_load(struct machine *m, const uint8_t *buf, size_t len, struct err *e);

/** machine_describe() - what two ends of a migration must have in common; caller owns it */
json_t *machine_describe(struct machine *m);
/** machine_match() - -EINVAL with what differs between @theirs and this machine */
int machine_match(struct machine *m, const json_t *theirs, struct err *e);

/* Dirty pages, one bit each (rule D): KVM's log and what the VMM itself wrote. */

/** machine_dirty_start() - record writes from now on; whatever was before counts as dirty */
int machine_dirty_start(struct machine *m, struct err *e);
/** machine_dirty_stop() - record no more; also when nothing is recorded */
void machine_dirty_stop(struct machine *m);
/** machine_dirty_fetch() - OR region @id's dirty pages into @bitmap */
int machine_dirty_fetch(struct machine *m, uint32_t id, uint64_t *bitmap, struct err *e);
/**
 * machine_dirty_clear() - record writes to [@first, @first + @count) again
 * @first, @count: pages, multiples of 64 (the region's end excepted)
 * @bitmap: the whole region's; only pages whose bit is set are re-armed.  Several threads may
 * call it for different ranges.
 */
int machine_dirty_clear(struct machine *m, uint32_t id, uint64_t first, uint64_t count,
			const uint64_t *bitmap, struct err *e);
/** machine_throttle() - hold vCPUs back for @percent (0..99) of the time */
void machine_throttle(struct machine *m, unsigned int percent);

/**
 * machine_announce() - tell the network that the guest is here now (after a migration)
 * @round: 0 the first time; the guest itself is asked to announce in round 0
 * Return: milliseconds until it should be called with @round + 1, or -1 when done.
 */
int machine_announce(struct machine *m, unsigned int round);

/** machine_stats() - {vcpus: [...], memory: {...}, disks: [...], nics: [...], rngs: [...]}; caller owns it */
json_t *machine_stats(struct machine *m);
/** machine_print() - the state tables, all or of one @device; NULL when there is none; only while held */
json_t *machine_print(struct machine *m, const char *device);

#endif
