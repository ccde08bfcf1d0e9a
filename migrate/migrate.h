/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate - the door of the engine: move a domain out (source) or in
 * (destination).
 *
 *   source                             destination
 *     source_create(params)              destination_create(params)
 *     source_run()          <------->    destination_run()
 *     source_destroy()                   destination_destroy()
 *
 * run() blocks in a thread of the caller's and returns when the outcome is
 * known.  Everything else may be called from other threads meanwhile.
 *
 * After source_run():
 *   0            the domain is the other side's; guest_ops.gone() was called.  An error in the
 *                statistics says that it does not run there.
 *   else         it runs here again (or still does), as if nothing had been
 *                Also for a dry run that found nothing in the way: MIGRATE_CANCELLED without an error.
 *   -EINPROGRESS only after source_abandon(): in doubt, it stands, and nobody
 *                may resume it without asking the arbiter
 * After destination_run():
 *   0            the domain runs here
 *   else         it does not and never will: destroy it
 *   -EINPROGRESS in doubt, as above
 */
#ifndef DROVER_MIGRATE_MIGRATE_H
#define DROVER_MIGRATE_MIGRATE_H

#include "base/err.h"
#include "migrate/compress.h"
#include "migrate/guest.h"
#include "migrate/arbiter.h"
#include "net/stream.h"

#define MIGRATE_DOWNTIME_MS 300u
#define MIGRATE_DEAD_MS 1500u
#define MIGRATE_CHANNELS_AUTO_MAX 4u

/* What `stats` and events show; bytes, pages, pages or bytes per second. */
struct migrate_stats {
	enum migrate_role role;
	enum migrate_phase phase;
	char peer[108];
	uint32_t round, channels;
	uint64_t total; /* bytes of guest memory */
	uint64_t done;  /* bytes of memory that have been sent at least once: never falls */
	uint64_t sent;  /* bytes on the wire (destination: received) */
	uint64_t pages_raw, pages_lz4, pages_zero;
	uint64_t remaining;  /* bytes that are dirty after the last round */
	uint64_t dirty_rate; /* pages per second */
	uint64_t rate;       /* bytes per second on the wire, last round */
	uint64_t expected_downtime_us;
	bool converging;
	unsigned int throttle; /* percent */
	uint64_t downtime_us;  /* source: from pause to RUNNING; destination: 0 */
	uint64_t total_us;
	/* Where the downtime went, source: */
	uint64_t pause_us, last_us, state_us, commit_us;
	uint64_t last_pages;
	bool dry_run;
	struct { /* source: what was allowed; 0: no limit, throttle 0: none */
		uint64_t timeout_ms, bandwidth;
		unsigned int downtime_ms, throttle;
	} limits;
	int error;      /* negative errno of a failure, 0 */
	char text[480]; /* its line */
};

/* Where the other side is reached; a test puts faulty streams here. */
struct migrate_link {
	/* source: connect; destination: accept. Waits at most @timeout_ms. */
	int (*open)(void *arg, int timeout_ms, struct stream **out, struct err *e);
	void *arg;
};

/** migrate_link_at() - accepts from a listener */
struct migrate_link migrate_link_at(struct stream_listener *l);

struct migrate_params {
	struct guest guest;
	struct migrate_link link;
	struct arbiter arbiter; /* source: who decides */
	/* Destination: the arbiter with number @wire, as the source asks for it, and the incarnation that
	 * it offers; -EINVAL or -EPERM refuses.  NULL: only `arbiter` will do. */
	int (*pick_arbiter)(void *arg, uint32_t wire, uint64_t incarnation, struct arbiter *out,
			    struct err *e);
	/* Source: the destination's. Destination: 0 takes what the source says, else it must be that. */
	uint64_t incarnation;
	uint64_t own_incarnation; /* source: what the domain has now, to take the disks back with before GRANT */
	/* Source: what it takes the domain back with after GRANT.  Above `incarnation`, so that the one that was
	 * granted can never be used, however late; or own_incarnation, where the arbiter remembers that by itself. */
	uint64_t back_incarnation;
	bool dry_run;              /* source: ask whether it would do, and move nothing */
	unsigned int downtime_ms;  /* source; 0 = MIGRATE_DOWNTIME_MS */
	unsigned int throttle_max; /* source; percent of the time that vCPUs may be held back for if it does not converge */
	unsigned int channels;     /* source; 0 = one per core, at most MIGRATE_CHANNELS_AUTO_MAX */
	enum compress_mode compress;
	uint64_t bandwidth;   /* bytes per second, 0 = no limit */
	uint64_t timeout_ms;  /* source: of the whole, 0 = none; then a migration that does not converge fails.
				     * Destination: how long to wait for a source, 0 = for ever */
	unsigned int dead_ms; /* a peer that is silent for so long is dead; 0 = MIGRATE_DEAD_MS */
	bool prefault;        /* destination: touch all memory while it waits (prefault.h); else what was never
				     * written gets no memory on either side */
	/* Destination: may so many bytes be put in use, and nobody will miss them? Any thread.  NULL: room_plenty() */
	bool (*plenty)(void *arg, uint64_t bytes);
	int pagemap_fd;          /* /proc/self/pagemap, for whoever may not open it; -1: not to be had; 0: it is opened */
	const char *capture_dir; /* NULL, or where to write what is sent (docs/stream.md) */
	/* On changes of phase and after each round, from the engine's thread; must not call back. Those that
	 * the guest waits for may be told together; COMMITTED at the destination says that it runs. */
	void (*notify)(void *arg, const struct migrate_stats *st);
	/* At each step of the handover, from the engine's thread: tests break things here. */
	void (*at_step)(void *arg, enum migrate_role role, enum migrate_phase phase, bool before);
	void *arg;
};

struct source;
/** source_create() - @p is copied, what it points to is the caller's and outlives @out; asks the guest for its regions */
int source_create(struct source **out, const struct migrate_params *p, struct err *e);
/** source_run() - the whole migration, on the caller's thread; once (outcomes: above) */
int source_run(struct source *s, struct err *e);
/** source_cancel() - the domain goes on here; -EBUSY "too late, decision pending" from GRANT on */
int source_cancel(struct source *s, struct err *e);
/** source_abandon() - stop asking the arbiter: run() returns -EINPROGRESS; the domain stays as it is */
void source_abandon(struct source *s);
/** source_stats() - a copy, from any thread, also while it runs */
void source_stats(struct source *s, struct migrate_stats *out);
/** source_destroy() - after run() has returned; NULL is fine */
void source_destroy(struct source *s);

struct destination;
/** destination_create() - as source_create() */
int destination_create(struct destination **out, const struct migrate_params *p, struct err *e);
/** destination_run() - wait for a source and take the domain, on the caller's thread; once (outcomes: above) */
int destination_run(struct destination *d, struct err *e);
/** destination_cancel() - give up an incoming migration; -EBUSY after GRANT */
int destination_cancel(struct destination *d, struct err *e);
/** destination_abandon() - as source_abandon() */
void destination_abandon(struct destination *d);
/** destination_stats() - as source_stats() */
void destination_stats(struct destination *d, struct migrate_stats *out);
/** destination_destroy() - as source_destroy() */
void destination_destroy(struct destination *d);

#endif
