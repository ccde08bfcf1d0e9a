/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm - one drover-hv on this host, as droverd sees it: a process (pidfd) and
 * a control socket.
 *
 * A VMM outlives its droverd.  It is either spawned here or found alive
 * (adopted); from then on both are the same.  That it lives and which incarnation it
 * is stands in its life file (conf/vmm_life.h), and so does how it ended.
 */
#ifndef DROVER_HA_VMM_VMM_H
#define DROVER_HA_VMM_VMM_H

#include "base/err.h"
#include "conf/vmm_life.h"
#include "conf/vmm_state.h"

#include <jansson.h>
#include <qb/qbdefs.h>
#include <qb/qbloop.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VMM_NAME_MAX 63
#define VMM_PATH_MAX 108 /* sun_path */

enum vmm_what {
	VMM_SAID_STATE,          /* state() changed; INCOMING comes with an address */
	VMM_SAID_PROGRESS,       /* migration() changed */
	VMM_SAID_MIGRATE_FAILED, /* text says why, "": a dry run, and it could; the domain runs on */
	VMM_SAID_ASK_COMMIT,     /* asks the cluster (rule H, GRANT); incarnation is the proposal */
	VMM_SAID_ASK_ABORT,
	VMM_SAID_HANGS,   /* lives, and has not answered for some seconds */
	VMM_SAID_ANSWERS, /* after HANGS */
	VMM_SAID_EXITED,  /* end, rc, text; the last word */
};

struct vmm_news {
	enum vmm_what what;
	enum vmm_state state; /* before EXITED: the last state; else the state now */
	const char *listen;   /* VMM_SAID_STATE when INCOMING, else NULL */
	bool held;            /* VMM_SAID_STATE when PAUSED: for an operator */
	const char *stands;   /* VMM_SAID_STATE: vmm_stands(); NULL: of one that is found, and has not spoken yet */
	uint64_t incarnation; /* VMM_SAID_ASK_* */
	enum vmm_end end;     /* VMM_SAID_EXITED: what it said itself; VMM_END_SILENT: nothing */
	bool killed;          /* VMM_SAID_EXITED: by vmm_kill(), or for not following vmm_stop() */
	int rc;               /* VMM_SAID_EXITED: exit status, 128 + signal, EXIT_ERROR if nobody knows */
	const char *text;     /* never NULL */
};

struct vmm;

struct vmm_ops {
	void (*news)(void *arg, struct vmm *v, const struct vmm_news *n);
};

/* How a VMM is started. Strings are used during the call only. */
struct vmm_spawn {
	const char *name;
	uint64_t incarnation;
	const char *cluster;  /* id of who counts it, or NULL */
	const char *program;  /* drover-hv */
	const char *conf;     /* the domain's file */
	const char *control;  /* socket to be */
	const char *console;  /* socket to be */
	const char *lease;    /* lease page */
	const char *life;     /* life file */
	const char *incoming; /* "tcp:ADDRESS:0", or NULL to boot */
	const char *log;      /* standard output and error are appended here; where it cannot be opened they are lost */
};

/**
 * vmm_spawn() - start a VMM in a session of its own
 * Return: 0; -EEXIST when a VMM of this name lives here that we do not know; other errors.
 */
int vmm_spawn(qb_loop_t *loop, const struct vmm_spawn *s, const struct vmm_ops *ops, void *arg,
	      struct vmm **out, struct err *e);

/**
 * vmm_adopt() - take over the VMM whose life file is @life
 * What the file says of it is known at once; the rest when it answers at @control.
 * Return: 0; -ESRCH when it is dead (the file may go); any other error: it may live, ask again.
 */
int vmm_adopt(qb_loop_t *loop, const char *name, const char *life, const char *control,
	      const struct vmm_ops *ops, void *arg, struct vmm **out, struct err *e);

/** vmm_free() - let go of it; the process lives on. Not from news(). */
void vmm_free(struct vmm *v);

/** vmm_name() - of its domain; lasts as long as @v */
const char *vmm_name(const struct vmm *v);
/** vmm_incarnation() - under which it runs, or waits */
uint64_t vmm_incarnation(const struct vmm *v);
/** vmm_state() - the last it said */
enum vmm_state vmm_state(const struct vmm *v);
/** vmm_stands() - why it is paused, where neither an operator nor a migration is the reason: a disk that cannot be written; else "" */
const char *vmm_stands(const struct vmm *v);
/** vmm_pid() - of its drover-hv, as its life file says; 0: not known yet */
pid_t vmm_pid(const struct vmm *v);
/** vmm_known() - it has said hello and answered its first query, or is dead */
bool vmm_known(const struct vmm *v);
/** vmm_answers() - false: it lives, but does not answer, and what is known of it may be old */
bool vmm_answers(const struct vmm *v);
/** vmm_query_json() - its last answer to `query`, borrowed, or NULL */
json_t *vmm_query_json(const struct vmm *v);
/** vmm_migration_json() - the newest migration object, borrowed, or NULL */
json_t *vmm_migration_json(const struct vmm *v);

/** called once; @code: an exit code (base/err.h), 0 when it was taken; @ret: its answer or NULL, borrowed; @text: why not */
typedef void (*vmm_ordered)(void *arg, uint64_t number, int code, const json_t *ret, const char *text);

/**
 * vmm_order() - an operator's order to this VMM, of which the cluster need not know: "reset", "reboot" (docs/control.md)
 * @arguments: stolen; NULL: none
 * Return: 0, and done() follows from the loop or from vmm_free(), with @number; -errno, and nothing follows.
 */
int vmm_order(struct vmm *v, const char *command, json_t *arguments, uint64_t number, vmm_ordered done, void *arg);

/** vmm_stop() - press the power button, kill after @timeout_ms; @force: end it now */
void vmm_stop(struct vmm *v, bool force, uint32_t timeout_ms);
/** vmm_kill() - SIGKILL; nothing if it has ended, or was never found */
void vmm_kill(struct vmm *v);
/**
 * vmm_migrate() - send the domain to the listening VMM at @to, where it would be @incarnation
 * @dead_ms: a peer that is silent for so long is dead
 * @dry_run: only ask whether it could; VMM_SAID_MIGRATE_FAILED follows, and says so
 */
void vmm_migrate(struct vmm *v, const char *to, uint64_t incarnation, uint32_t dead_ms, bool dry_run);
/** vmm_cancel() - the migration it sends or receives */
void vmm_cancel(struct vmm *v);
/** vmm_decide() - the cluster's outcome; @incarnation: the one that may run from now on */
void vmm_decide(struct vmm *v, bool commit, uint64_t incarnation);
/** vmm_pause() - stand still, or go on, for an operator */
void vmm_pause(struct vmm *v, bool pause);

#endif
