/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migration - drover-hv's side of the engine in migrate/; for cmd/drover-hv only.
 *
 *     migrate.c    the `migrate`, `migrate-cancel` and `decide` commands; sending
 *     receive.c    --incoming; receiving
 *     report.c     what clients get to see: events, `stats`, `query`
 *     guest_kvm.c  migrate/guest.h over a machine
 *     preflight.c  could the domain run here?
 *     arbiter.c    which arbiter decides (rule H), and what it is given
 *
 * The engine runs in a thread of its own.  It touches the machine (any thread
 * may) and posts everything else to the main thread.
 */
#ifndef DROVER_HV_CMD_MIGRATION_H
#define DROVER_HV_CMD_MIGRATION_H

#include "cmd/drover-hv/vmm.h"
#include "migrate/arbiter/cluster.h"
#include "migrate/arbiter/disk.h"
#include "migrate/arbiter/none.h"
#include "migrate/migrate.h"

#include <pthread.h>

#define PROOF_TEXT 33 /* hex digits and the NUL */

struct migration {
	struct drover_hv *v;
	enum migrate_role role;
	struct migrate_params params;
	struct source *source;
	struct destination *destination;
	struct stream_listener *listener;
	char to[256];

	pthread_t thread;
	bool started;             /* the thread is to be joined */
	bool over;                /* main thread: run() has returned, and it knows */
	enum migrate_phase shown; /* main thread: the newest that clients were told */
	int rc;
	struct err err;

	_Atomic uint64_t incarnation; /* that the destination has or will have; 0: it has not heard yet */
	bool ended;                   /* the disks are out of reach for ever, and the main thread was told; engine's thread only */
	bool committed;               /* the disks are this side's, on record; engine's thread only */
	char proof[PROOF_TEXT];       /* what the source wrote into its disks' records, for the destination to find */
	uint64_t changes;             /* what the two ends agree on of devices and regions is as of then (guest_kvm.c) */
	uint64_t their_memory;        /* destination: bytes that the source's process has in use; 0: not said */
	struct arbiter_none none;
	struct arbiter_disk disk;
	struct arbiter_cluster cluster;

	uint64_t last_event_ns; /* engine's thread only */
	enum migrate_phase last_phase;
	bool told;
	struct loop_timer *linger; /* a source that is gone ends a little later */
};

/* migration.c */
/**
 * migration_create() - one of @v's, in @role, that nobody runs yet: guest, arbiters and hooks are in params
 * Return: 0 and *@out, migration_destroy() it; -ENOMEM; -errno.
 */
int migration_create(struct drover_hv *v, enum migrate_role role, struct migration **out, struct err *e);
/** migration_destroy() - ends the engine (the domain stays as it is), joins its thread; main thread; NULL is nothing */
void migration_destroy(struct migration *m);

/** migration_deaf() - it listens no more, and its socket is gone; nothing when it did not */
void migration_deaf(struct migration *m);

/* receive.c */
/** receive_open() - listen at opt.incoming: v->migration; or -errno, and nothing is left */
int receive_open(struct drover_hv *v, struct err *e);

/* report.c */
/** report_query() - v->query_more: "listen", the address, where somebody may come; "migration" as report_stats() */
void report_query(struct drover_hv *v, json_t *answer);
/** report_stats() - v->stats_more: "migration", figures of the one that runs or ran last; nothing when there was none */
void report_stats(struct drover_hv *v, json_t *answer);
/** report_notify() - the engine's notify hook, in its thread; a new phase is told at once, else five times a second */
void report_notify(void *arg, const struct migrate_stats *st);
/**
 * report_end() - main thread, the engine's has ended: tell the last phase, if it is one that ends a migration
 * Not earlier: whoever hears that a migration is over may begin the next one at once.
 */
void report_end(struct migration *m);

/* guest_kvm.c */
/** guest_kvm_make() - what the engine moves: the machine of m->v; @m must outlive it */
struct guest guest_kvm_make(struct migration *m);

/* preflight.c */
/** preflight_mark() - source: write a new proof into the records of its disks */
int preflight_mark(struct migration *m, struct err *e);
/** preflight_resident() - bytes of memory that this process has */
uint64_t preflight_resident(const struct drover_hv *v);
/** preflight() - destination: could the domain run here?  -errno with what is missing */
int preflight(struct migration *m, struct err *e);

/* arbiter.c */
/** arbiter_init() - the arbiters that @m may come to have; after its guest */
void arbiter_init(struct migration *m);
/** arbiter_fini() - free what arbiter_init() made; the engine's thread has ended */
void arbiter_fini(struct migration *m);
/** arbiter_by_name() - "cluster", "disk", "none", NULL for disk where there is one to decide */
int arbiter_by_name(struct migration *m, const char *name, struct arbiter *out, struct err *e);
/**
 * arbiter_by_wire() - the one that the source names, ARBITER_WIRE_*; @arg is the migration
 * Return: 0; -EPERM for none, unless --no-arbiter allows it; -EINVAL for disk where no disk can decide.
 */
int arbiter_by_wire(void *arg, uint32_t wire, struct arbiter *out, struct err *e);
/** arbiter_decide() - the `decide` command */
int arbiter_decide(struct migration *m, enum outcome o, uint64_t incarnation, struct err *e);

#endif
