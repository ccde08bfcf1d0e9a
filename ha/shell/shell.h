/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shell - the world around the pure core: turns what happens into events and
 * carries out the effects.
 *
 *   corosync (cpg, quorum, cmap) ─┐                 ┌─ multicast, rejoin
 *   disk (store) ─────────────────┤   ha_core_step  ├─ persist
 *   VMMs (executor) ──────────────┼──> event ───────┼─ start, stop, migrate, decide
 *   fence agents (fence_run) ─────┤    effects ─────┼─ fence
 *   operators (api) ──────────────┘                 └─ reply, lease, note
 *
 * Everything runs in one qb loop, one thread; only the disk has a worker.
 */
#ifndef DROVER_HA_SHELL_SHELL_H
#define DROVER_HA_SHELL_SHELL_H

#include "base/err.h"
#include "conf/cluster.h"
#include "ha/core/core.h"
#include "ha/shell/fence_watch.h"
#include "ha/shell/history.h"
#include "ha/shell/progress.h"
#include "ha/vmm/executor.h"

#include <jansson.h>
#include <qb/qbdefs.h>
#include <qb/qbloop.h>
#include <stdbool.h>

struct shell;

struct shell_conf {
	const char *run_dir;                /* lease pages, control sockets */
	const char *state_dir;              /* record */
	const char *log_dir;                /* logs of VMMs; NULL: log/ in the state directory */
	const char *drover_hv;              /* program */
	const struct cluster_conf *cluster; /* must outlive the shell */
	uint32_t wait_ms;                   /* how long to wait for corosync at start */
	/* What this host's processor has for guests (facts.h), NULL: it is not known. For hosts to tell each other. */
	json_t *(*host_cpu)(void);
};

/**
 * shell_open() - read the disk, connect to corosync, adopt running VMMs
 * Return: 0; -ECONNREFUSED when corosync is not running; -EBUSY when another
 * droverd has the state directory; -EINTR when SIGTERM or SIGINT, held back by the caller, came while corosync was
 * waited for; text in @e.
 */
int shell_open(qb_loop_t *loop, const struct shell_conf *conf, struct shell **out, struct err *e);

/**
 * shell_leave() - tell the cluster that this daemon is being stopped, then stop the loop
 *
 * Told hosts do not fence this one for it.  Another host may just be lost, so it waits as long as a
 * new epoch takes, which is what a lease lasts (timing.h), and no longer than LEAVE_MAX_MS; without
 * corosync, and when it is called again, not at all.
 */
void shell_leave(struct shell *s);

/** shell_close() - leave the group; domains live on, their lease runs out */
void shell_close(struct shell *s);

/** shell_error() - why the loop was stopped from inside, "" when it was not */
const char *shell_error(const struct shell *s);

/** called once; @text is borrowed */
typedef void (*shell_reply)(void *arg, enum ha_code code, const char *text);

/**
 * shell_command() - hand a command to the cluster
 * @cmd: used during the call only
 * Return: a number for shell_forget(); reply() follows, perhaps from inside the call.
 */
uint64_t shell_command(struct shell *s, const struct ha_command *cmd, shell_reply reply, void *arg);

/* What an operator orders of a domain's VMM alone; nothing of it is in the record. */
struct shell_order {
	const char *domain;
	const char *what;    /* "reset" or "reboot", as on the VMM's control socket (docs/control.md) */
	uint32_t timeout_ms; /* reboot: what the guest has to power off; 0: the VMM's own */
	const char *actor;   /* who gave it, for the history */
	enum ha_access access;
};

/**
 * shell_order() - hand an order to the VMM of a domain that runs on this host
 * @o: used during the call only
 * HA_REFUSED with the host where it runs, when that is another one.  Return: as shell_command().
 */
uint64_t shell_order(struct shell *s, const struct shell_order *o, shell_reply reply, void *arg);

/** shell_forget() - whoever asked is gone; reply() of @request is not called any more */
void shell_forget(struct shell *s, uint64_t request);

/** shell_core() - borrowed, as the next three */
const struct ha_core *shell_core(const struct shell *s);
/** shell_executor() - the VMMs of this host */
struct executor *shell_executor(const struct shell *s);
/** shell_history() - what happened */
const struct history *shell_history(const struct shell *s);
/** shell_progress() - how far migrations are */
const struct progress *shell_progress(const struct shell *s);
/** shell_host_cpu() - what @node told of its processor (facts.h), or NULL */
json_t *shell_host_cpu(const struct shell *s, uint32_t node);
bool shell_connected(const struct shell *s); /* to corosync */
bool shell_fencing(const struct shell *s, uint32_t node);

/** shell_witness_id() - which witness cluster.yaml names, 0 = none */
uint64_t shell_witness_id(const struct shell *s);
/** shell_witness_problem() - why it cannot be used from here, or gave no vote that is needed now, or "" */
const char *shell_witness_problem(const struct shell *s);

/** shell_fence_ready() - could this host fence @name? *@text: why not, or "" */
enum fence_ready shell_fence_ready(const struct shell *s, const char *name, const char **text);

/** shell_problem() - the @i-th thing that would fail when it is needed; false past the last */
bool shell_problem(const struct shell *s, size_t i, char *text, size_t size);

/**
 * shell_node_id() - id of the host called @name, 0 when unknown or when several are called so
 * A host that was taken out of corosync.conf is found too: ha_core_node_id().
 */
uint32_t shell_node_id(const struct shell *s, const char *name);

#endif
