/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session - what both ends of one migration have in common: the control
 * connection with its reader and its heartbeat, the phase, and one place where
 * everybody waits and where the first failure is kept.
 *
 *   controller    runs the migration (the caller's thread)
 *   reader        takes records off the control connection into a queue
 *   heartbeat     sends PING when nothing else was sent for a while
 *   workers       senders or receivers, one per data connection
 *
 * They meet at `lock` and `cond`.  Whatever goes wrong ends in session_fail():
 * the first error is kept, all connections are cut, and so everybody who waits
 * in one of them comes back with an error and leaves.  The peer's own words
 * (ABORT) beat a bare "connection reset" that came with them.
 *
 * From GRANT on a lost link is no failure any more, only a fact (`link_down`):
 * rule H leaves the rest to the arbiter.
 */
#ifndef DROVER_MIGRATE_SESSION_SESSION_H
#define DROVER_MIGRATE_SESSION_SESSION_H

#include "migrate/migrate.h"
#include "migrate/wire/channel.h"

struct session_record {
	struct session_record *next;
	uint16_t type;
	uint32_t len;
	uint8_t payload[];
};

struct session {
	enum migrate_role role;
	const struct migrate_params *p;
	_Atomic uint32_t dead_ms; /* destination: the source's, set before session_start() */

	pthread_mutex_t lock;
	pthread_cond_t cond; /* CLOCK_MONOTONIC */
	pthread_cond_t beat; /* the heartbeat's own: cond is busiest when downtime counts */
	/* under lock: */
	enum migrate_phase phase;
	bool failed, aborted_by_peer, cancelled, link_down;
	struct err err; /* the first failure */
	struct session_record *first, **last;
	uint64_t queued;
	struct migrate_stats stats;

	_Atomic bool stop;        /* workers look at it between records */
	_Atomic int reader_phase; /* enum wire_phase of the control reader */
	bool threads;             /* reader and heartbeat run */
	pthread_t reader, heartbeat;
	_Atomic bool closing;
	_Atomic bool abandoned; /* stop asking the arbiter */

	struct channel control;
	struct channel data[WIRE_CHANNELS_MAX];
	_Atomic uint32_t n_data;
	uint8_t id[WIRE_ID_SIZE];

	struct guest_region regions[GUEST_REGIONS_MAX];
	size_t n_regions;
	uint64_t total; /* bytes of memory */
};

/** session_init() - @p stays the caller's and is kept; a notify() or at_step() that is missing is filled in */
int session_init(struct session *s, enum migrate_role role, struct migrate_params *p,
		 struct err *e);
/** session_destroy() - joins reader and heartbeat, closes all connections */
void session_destroy(struct session *s);

/** session_start() - the control connection stands and HELLOs are exchanged: reader and heartbeat begin */
int session_start(struct session *s, struct err *e);

/** session_capture() - write what @ch sends to @name in the capture directory, if there is one */
void session_capture(struct session *s, struct channel *ch, const char *name);

/** session_enter() - the phase is @to now (asserts that rule H allows it); for while the guest waits: notify() later */
void session_enter(struct session *s, enum migrate_phase to);
/** session_step() - session_enter(), and tell notify() at once */
void session_step(struct session *s, enum migrate_phase to);
/** session_notify() - tell how it stands */
void session_notify(struct session *s);

/** session_fail() - keep the first error, cut everything; returns @code */
int session_fail(struct session *s, int code, const struct err *e);
/** session_cut_data() - end the workers' business; the control connection stays for last words */
void session_cut_data(struct session *s);
/** session_cut() - cut all connections, wake all waiters; no failure by itself */
void session_cut(struct session *s);
/** session_stats() - a copy of how it stands now */
void session_stats(struct session *s, struct migrate_stats *out);
/** session_over() - lock held: 0, or what failed or cancelled the session */
int session_over(struct session *s, struct err *e);
/** session_cancelled() - somebody cancelled, here */
bool session_cancelled(struct session *s);
/** session_say_abort() - tell the peer why (a cancel, else @e), if it can still hear */
void session_say_abort(struct session *s, const struct err *e);
/** session_error() - what was kept, after a short wait for the peer's own words; returns its code */
int session_error(struct session *s, struct err *e);

/** session_wait_until() - wait on cond, lock held, until @deadline_ms of session_now_ms(); false when it has passed */
bool session_wait_until(struct session *s, uint64_t deadline_ms);
/** session_now_ms() - milliseconds on the clock of deadlines, wait_now(); not to decide by (rule T) */
uint64_t session_now_ms(void);

/**
 * session_ask() - learn the outcome from the arbiter (rule H), proposing @proposal
 * Stays until there is one; MIGRATE_IN_DOUBT is entered when the first question has no answer.
 * -EINPROGRESS after `abandoned` was set; at the destination -ETIME when the arbiter's give_up_ms have
 * passed: it must let go then and never ask again.
 */
int session_ask(struct session *s, enum outcome proposal, uint64_t incarnation, enum outcome *out,
		struct err *e);

/** session_send() - one record on the control connection; an error after the dead time without progress */
int session_send(struct session *s, uint16_t type, const void *payload, uint32_t len, struct err *e);
/**
 * session_recv() - the next record, at the latest at @deadline_ms
 * Return: 0 and *@out (free()); -EAGAIN when nothing came by then; -ENOTCONN when
 * the link is down and nothing is queued; or the session's failure, which may be
 * -ETIMEDOUT (a dead peer).
 */
int session_recv(struct session *s, struct session_record **out, uint64_t deadline_ms,
		 struct err *e);
/** session_expect() - session_recv() of a record that must be @type, in @wait_ms; -ETIMEDOUT, -EPROTO */
int session_expect(struct session *s, uint16_t type, uint32_t wait_ms, struct session_record **out,
		   struct err *e);

#endif
