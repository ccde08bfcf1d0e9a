/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shell_int - what shell.c, shell_corosync.c and shell_effects.c share.
 */
#ifndef DROVER_HA_SHELL_SHELL_INT_H
#define DROVER_HA_SHELL_SHELL_INT_H

#include "ha/corosync/cmap.h"
#include "ha/corosync/cpg.h"
#include "ha/corosync/quorum.h"
#include "ha/shell/address.h"
#include "ha/shell/facts.h"
#include "ha/shell/fence_run.h"
#include "ha/shell/progress.h"
#include "ha/shell/shell.h"
#include "ha/store/store.h"
#include "ha/witness/witness.h"

/* An event that came while a step was being carried out, with its strings. */
struct queued_event {
	struct queued_event *next;
	struct ha_event ev;
	char domain[HA_NAME_MAX + 1];
	char addr[HA_ADDR_MAX + 1];
	char text[HA_REASON_MAX + 1];
};

struct request;

struct shell {
	qb_loop_t *loop;
	const struct cluster_conf *cluster;
	struct ha_core *core;
	struct ha_effects *fx;

	struct store *store;
	struct store_image image; /* what the disk held, until BOOT */
	struct executor *executor;
	struct executor_conf executor_conf;
	char log_dir[512]; /* of VMMs */
	const char *state_dir;
	char address[256]; /* where migrations arrive, as far as we know today */
	struct fence_runs *fence;
	struct fence_watch *fence_watch;
	struct address_check *address_check;
	char address_problem[480]; /* "" = migrations can arrive here, as far as is known */
	struct history history;
	struct progress *progress;
	struct facts *facts;
	json_t *(*host_cpu)(void); /* struct shell_conf */
	qb_loop_timer_handle facts_timer;
	bool facts_armed;
	struct witness *witness;   /* NULL: there is none, or this host cannot use it */
	bool witness_knows;        /* whose host this is */
	char witness_problem[256]; /* why it cannot be used, "" = it can, as far as is known, or there is none */
	char witness_refused[256]; /* why it gave no vote when it was asked last, "" = it did, or was not asked */

	struct cmaplink *cmap;
	struct cpglink *cpg;
	struct quorumlink *quorum;
	struct cmap_cluster nodes; /* as last read */
	uint32_t me;
	bool booted, connected, rejoin_queued;
	qb_loop_timer_handle retry;
	bool retry_armed;
	struct cmap_waits waits; /* as last read */
	enum ha_ring ring;       /* what they tell of the ring that the next view gives up ... */
	uint64_t ring_ms;        /* ... and when that was last found */
	char nodes_problem[200]; /* why corosync's node list was not taken over, "" = it was */
	char retry_told[160];    /* why corosync cannot be used, as last told; "" = it is away, or well */

	bool stepping;
	struct queued_event *queue, **queue_tail;
	qb_loop_timer_handle tick;
	bool tick_armed;
	uint64_t tick_ms;

	bool leaving;
	qb_loop_timer_handle leave_timer;

	uint64_t next_request;
	struct request *requests; /* shell_operators.c */
	char error[480];
};

/** shell_event() - hand @ev to the core, at once or after the step that is under way */
void shell_event(struct shell *s, struct ha_event *ev);

/** shell_vmm_ended() - tell the core of a VMM that does not live any more, or never did; @rc its exit status */
void shell_vmm_ended(struct shell *s, const char *domain, uint64_t incarnation, enum ha_end end, int rc,
		     const char *text);

/** shell_executor_ops - news of VMMs, to a struct shell (shell_vmms.c) */
extern const struct executor_ops shell_executor_ops;

/** shell_answer() - whoever gave @request gets its answer, unless he is gone (shell_operators.c) */
void shell_answer(struct shell *s, uint64_t request, enum ha_code code, const char *text);

/** shell_forget_all() - at the end */
void shell_forget_all(struct shell *s);

/** shell_carry_out() - one effect (shell_effects.c) */
void shell_carry_out(struct shell *s, const struct ha_effect *fx);

/** shell_say() - a line for the log and for `drover ha history` */
void shell_say(struct shell *s, bool warning, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** shell_tell_progress() - a migration from or to this host goes on: tell the others, if it is due */
void shell_tell_progress(struct shell *s, const char *name, uint64_t incarnation);

/** shell_facts_due() - the group has changed: tell it of this host, soon (shell_facts.c) */
void shell_facts_due(struct shell *s);
/** shell_facts_stop() - tell nothing any more */
void shell_facts_stop(struct shell *s);

/** shell_connect() - first connection to corosync; waits up to @wait_ms for it (shell_corosync.c) */
int shell_connect(struct shell *s, uint32_t wait_ms, struct err *e);

/** shell_disconnect() - close everything towards corosync, try no more */
void shell_disconnect(struct shell *s);

/** shell_first_connection() - it is known now who we are: open the executor, hand in BOOT */
int shell_first_connection(struct shell *s, struct err *e);

/** shell_follow_address() - corosync.conf was read again: ring0_addr may be another (shell.c) */
void shell_follow_address(struct shell *s);

/** shell_problems_address() - check the address again, for it is another one (shell_problems.c) */
void shell_problems_address(struct shell *s);

/** shell_rejoin() - leave the group and join again, from a job */
void shell_rejoin(struct shell *s);

/**
 * shell_rejoin_heard() - the same, when the core asks for it: it is told what waits in the old group
 *
 * A daemon that stood still finds in one dispatch that it was voted out, and behind that who has left since.
 */
void shell_rejoin_heard(struct shell *s);

/** shell_problems_start() - begin to look for what would fail later (shell_problems.c) */
void shell_problems_start(struct shell *s);
/** shell_problems_stop() - no more looks */
void shell_problems_stop(struct shell *s);

/** shell_problems_nodes() - why corosync's changed list of hosts cannot be taken over, "": it was */
void shell_problems_nodes(struct shell *s, const char *why);
/** shell_problems_config() - corosync's list of hosts was read: compare it with cluster.yaml */
void shell_problems_config(struct shell *s);

/** shell_address_problem() - why no migration can arrive here, or "" */
const char *shell_address_problem(const struct shell *s);

/** shell_witness_open() - this host's number is known: look at the witness, if there is one (shell_witness.c) */
void shell_witness_open(struct shell *s);
/** shell_witness_follow() - after a step: whose host this is may be known now */
void shell_witness_follow(struct shell *s);
/** shell_witness_claim() - CLAIM of the core: WITNESS follows */
void shell_witness_claim(struct shell *s, const struct ha_effect *fx);

/** shell_step_out() - out of the group; in again when the record can be written */
void shell_step_out(struct shell *s);

/** shell_store_ops - the store's news, to a struct shell (shell_record.c) */
extern const struct store_ops shell_store_ops;

/** shell_tell_image() - say what was wrong with what the disk in @dir held, if anything */
void shell_tell_image(struct shell *s, const char *dir);

/** shell_stop() - end the loop with an error; droverd exits 1 */
void shell_stop(struct shell *s, const char *why);

#endif
