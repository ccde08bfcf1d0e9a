/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm - one drover-hv process: a machine and what is around it.
 *
 *     main.c      options, signals, exit code
 *     vmm.c       states of the domain (docs/control.md), guest events
 *     commands.c  what may be asked of it
 *     reboot.c    ... and the two that begin the guest anew
 *     loop.c      main thread: epoll, timers, work from other threads
 *     ctl.c       control socket
 *     console.c   serial port <-> socket or terminal
 *     screen.c    what is on the screen, as pixels and for viewers; viewers.c who they are, usher.c how they come
 *     agent.c     a socket for the agent in the guest
 *     typing.c    keys that a command sends
 *     adopt.c     set disks free whose owner is no more; no machine
 *     gated.c     what the gate of rule G (hv/gate/) asks and tells
 *     sandbox.c   what is left to it once it deals with a guest (sandbox.h)
 *     sockets.c   where its sockets are
 *     porter.c    its other process, which goes where it may not (porter.h)
 *     disk_hold.c a disk that cannot be written -> HOLD_DISK
 *     guest_kvm.c migrate.c receive.c arbiter.c   the migration engine's side
 *
 * Main thread only, unless said otherwise.  From another thread (the engine's):
 * loop_post(v->loop, fn, arg) or loop_post_copy().  machine_*() may be called from any thread.
 */
#ifndef DROVER_HV_CMD_VMM_H
#define DROVER_HV_CMD_VMM_H

#include "base/err.h"
#include "base/log_limit.h"
#include "cmd/drover-hv/porter.h"
#include "cmd/drover-hv/usher.h"
#include "conf/domain.h"
#include "conf/vmm_life.h"
#include "conf/vmm_state.h"
#include "hv/gate/gate.h"
#include "hv/machine/machine.h"
#include "net/control/ctl.h"
#include "net/control/loop.h"
#include "net/control/protocol.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CLUSTER_ID_MAX 64

struct vmm_options {
	enum log_level log_level;
	const char *file;     /* domain file, "-" for standard input */
	const char *name;     /* instead of the file's, or NULL */
	uint64_t incarnation; /* 0: nobody counts for us */
	const char *cluster;  /* id of the cluster that does, or NULL */
	bool adopt;           /* do not run it, make its disks nobody's */
	const char *control;  /* path of the control socket, or NULL for none */
	const char *lease;    /* lease page, or NULL: no gate */
	int life;             /* descriptor of the life file (conf/vmm_life.h), -1 for none */
	const char *incoming; /* address to receive a migration at, or NULL */
	const char *console;  /* "stdio", path of a socket, or NULL for <control without .sock>.console */
	bool no_reboot;       /* a guest's reset ends the process */
	bool paused;          /* do not start by itself */
	bool no_sandbox;      /* what a guest that breaks out could do is nobody's business here: for who debugs */
	bool no_arbiter;      /* a migration may be decided without disk or cluster */
	char *args;           /* where this process's arguments are, as ps(1) sees them, and ... */
	size_t args_len;      /* ... how long: what is forked off is named there */
};

/* Of the newest `reboot` (reboot.c, docs/control.md). */
enum vmm_reboot_phase {
	REBOOT_NEVER,
	REBOOT_ASKED,
	REBOOT_LATE,
	REBOOT_DONE,
	REBOOT_DROPPED
};

struct migration; /* helper structure of migrate.c and receive.c */
struct console;
struct typing;
struct viewers;
struct agent_port;

struct drover_hv {
	struct vmm_options opt;
	struct domain_conf *conf;
	struct loop *loop;
	struct ctl *ctl; /* NULL without --control */
	struct machine *machine;
	struct disk_broker *disks; /* opens them when their time has come */
	struct keeper *ports;      /* of network cards; NULL: it has none */
	int statm_fd;              /* /proc/self/statm: how much memory this process has; -1: nobody can say */
	struct porter *porter;     /* connects, and removes our sockets */
	int pagemap_fd;            /* /proc/self/pagemap: which pages were never written; 0: not opened (yet) */
	int boot_rc;               /* incoming: 0, or why there is nothing to boot from here, with boot_why */
	struct err boot_why;
	struct console *console;
	struct typing *typing;
	struct usher *usher;          /* lets viewers in; NULL: no screen, or no control socket */
	struct viewers *viewers;      /* NULL likewise */
	struct agent_port *agent;     /* NULL: no port for an agent, or no control socket */
	struct gate *gate;            /* NULL without --lease */
	struct migration *migration;  /* owned by migrate.c/receive.c; NULL when there was none */
	_Atomic uint64_t incarnation; /* of the ownership this process has or waits for; a migration's thread sets it */
	enum vmm_state state;
	char log_name[80];    /* "drover-hv web", in front of every line */
	char why[160];        /* "operator", "migration", ... */
	char stands_why[480]; /* why HOLD_MIGRATION is still there when a migration has ended; "": it is not */
	int exit_code;
	struct loop_timer *stop_timer; /* force after the power button did not help */
	bool stopping;                 /* ... which was pressed for that; there is no way back */
	struct {
		enum vmm_reboot_phase phase;
		char why[64];             /* of LATE and DROPPED, else "" */
		struct loop_timer *timer; /* ASKED: until it is late; LATE: until it is given up */
	} reboot;
	struct loop_timer *disk_timer; /* try the disk again that cannot be written */
	char disk_why[200];            /* ... and why it cannot */
	struct loop_timer *announce_timer;
	unsigned int announce_round;
	struct log_limit resets;        /* of the guest: how often they are told */
	struct loop_timer *reset_timer; /* a guest's reset that waits: for a migration's end, or ... */
	uint64_t reset_late_ns;         /* ... for what has not come to rest, since then; 0: nothing */
	char reset_why[200];            /* ... and as it is told; "": not yet */
	/* Set by the migration side: what it adds to the answers of `query` and `stats`. */
	void (*query_more)(struct drover_hv *v, json_t *answer);
	void (*stats_more)(struct drover_hv *v, json_t *answer);
};

/** vmm_set_state() - note it and tell every client ("state" event) */
void vmm_set_state(struct drover_hv *v, enum vmm_state s, const char *why);

/**
 * vmm_update_state() - running, paused or gated, by who holds the machine
 * For states between incoming and gone the holders decide; others stay.
 */
void vmm_update_state(struct drover_hv *v);

/**
 * vmm_start() - the domain may run here: give HOLD_START back
 * For a fresh start after boot and disks, and for the destination after COMMITTED.
 * A lease that is not valid keeps it gated; that is not an error.
 */
int vmm_start(struct drover_hv *v, struct err *e);

/** vmm_announce() - tell the network that the domain is here now; after a migration, repeats by itself */
void vmm_announce(struct drover_hv *v);

/** vmm_stopped() - it runs no more, and will not here: note it, and vmm_end() with @why */
void vmm_stopped(struct drover_hv *v, enum vmm_end how, const char *why, int exit_code);

/**
 * vmm_reset() - begin anew, as after power-on
 * Return: 0; -EBUSY and -ETIMEDOUT, when a migration or a disk is waited for: it is tried again by itself;
 * -EPERM when it is not this process's to run any more; any other error: it has ended.
 */
int vmm_reset(struct drover_hv *v, struct err *e);

/** vmm_end() - leave the main loop with @exit_code; @how and @text for whoever reads the life file */
void vmm_end(struct drover_hv *v, enum vmm_end how, int exit_code, const char *text);

/** vmm_init() - fill @v, whose opt is set: loop, domain, machine, console, control socket, gate */
int vmm_init(struct drover_hv *v, struct err *e);
/** vmm_fini() - take it all down again, whatever there is of it */
void vmm_fini(struct drover_hv *v);

/* disk_hold.c: a write that failed holds the domain until it succeeds. */

/** disk_hold_init() - v->disk_timer, before there is a machine; -errno */
int disk_hold_init(struct drover_hv *v, struct err *e);
/**
 * disk_hold_event() - machine_options.disk_held, with @arg the vmm: have the main thread hold or release the machine
 * Any thread; does not wait.  While it is held, the write is tried again every two seconds.
 */
void disk_hold_event(void *arg, bool held, const char *why);
/** disk_hold_retry() - try at once; never 0: -EBUSY with what it waits for, or why it could not be tried */
int disk_hold_retry(struct drover_hv *v, struct err *e);

/* commands.c: those of ctl_add() that are about the domain itself */
extern const struct ctl_command vmm_commands[];

/* reboot.c */
extern const struct ctl_command vmm_reboot_commands[];
/** vmm_reboot_init() - its timer; -errno */
int vmm_reboot_init(struct drover_hv *v, struct err *e);
/** vmm_reboot_wanted() - a guest that powers off now is to begin anew */
bool vmm_reboot_wanted(const struct drover_hv *v);
/** vmm_reboot_done() - it has begun anew: nobody waits for that any more */
void vmm_reboot_done(struct drover_hv *v);
/** vmm_reboot_drop() - something else was ordered that wins, @why */
void vmm_reboot_drop(struct drover_hv *v, const char *why);
/** vmm_reboot_may_move() - -EBUSY while it reboots; a wish whose time is over is dropped */
int vmm_reboot_may_move(struct drover_hv *v, struct err *e);
/** vmm_reboot_query() - add "reboot" to the answer of `query`, if there ever was one */
void vmm_reboot_query(const struct drover_hv *v, json_t *answer);

/* sockets.c */
/** sockets_place() - the path of a socket of this VMM, in @path; "": it has none of these; once the domain's file is read */
const char *sockets_place(const struct drover_hv *v, enum porter_socket which, char path[PATH_MAX]);
/** sockets_start_porter() - v->porter; as porter_start() */
int sockets_start_porter(struct drover_hv *v, struct err *e);

/* screen.c */
/** screen_start() - v->usher, for a domain that has a screen and a socket for it; as usher_start() */
int screen_start(struct drover_hv *v, struct err *e);
/** screen_open() - let viewers come, where there is an usher; what viewers_create() says */
int screen_open(struct drover_hv *v, struct err *e);
/** screen_close() - no viewer any more */
void screen_close(struct drover_hv *v);
/** screen_query() - what `query` tells of it */
void screen_query(const struct drover_hv *v, json_t *answer);
extern const struct ctl_command screen_commands[]; /* those about the screen */

/* agent.c: as those of screen.c, for who speaks to the agent in the guest */
/** agent_open() - for a domain that has a port for an agent: let somebody come; as screen_open() */
int agent_open(struct drover_hv *v, const char *path, struct err *e);
/** agent_close() - nobody comes any more */
void agent_close(struct drover_hv *v);
/** agent_query() - what `query` tells of it */
void agent_query(const struct drover_hv *v, json_t *answer);

/* typing.c */
/** typing_create() - nothing to type yet; typing_destroy() it; -ENOMEM */
int typing_create(struct typing **out, struct drover_hv *v, struct err *e);
/** typing_destroy() - what waits is not typed; NULL is nothing */
void typing_destroy(struct typing *t);
/** cmd_send_key() - the command of that name (docs/control.md) */
int cmd_send_key(void *owner, const json_t *args, json_t **ret, struct err *e);

/* adopt.c */
/** adopt_disks() - make the disks of the domain in @file nobody's (drover-hv(8), adopt) */
int adopt_disks(const char *file, struct err *e);

/*
 * The migration side (guest_kvm.c, migrate.c, receive.c, arbiter.c).  migration_init() comes after
 * vmm_init(): it adds its commands with ctl_add() and, with opt.incoming, listens.  Return: 0; -errno.
 */
int migration_init(struct drover_hv *v, struct err *e);
/**
 * receive_begin() - with opt.incoming, and when the sandbox is closed: receive, in a thread
 * From then on it is up to the migration side to open the disks and call vmm_start().  Return: 0; -EAGAIN: no thread.
 */
int receive_begin(struct drover_hv *v, struct err *e);
/** migration_fini() - before vmm_fini(): stop its thread, tell the peer, free it; nothing when there is none */
void migration_fini(struct drover_hv *v);

/* gated.c */
/** vmm_gate_open() - with --lease: the domain runs only while its host's lease is valid */
int vmm_gate_open(struct drover_hv *v, struct err *e);
/** vmm_may_submit() - rule G, asked by disk threads */
bool vmm_may_submit(void *arg);

/* console.c: see there */
/**
 * console_create() - show the serial port of v->machine and let people type
 * @where: "stdio", or the path of a socket to be made; copied
 * Return: 0 and *@out; -ENOMEM; -EINVAL when @where is too long; why there can be no such socket.
 */
int console_create(struct console **out, struct drover_hv *v, const char *where, struct err *e);
/** console_destroy() - when no machine tells it of output any more: the terminal as it was, no socket; NULL is nothing */
void console_destroy(struct console *c);
/** console_flush() - show what the guest has written so far, as far as somebody takes it at once */
void console_flush(struct console *c);
/** console_where() - "stdio" or the path of the socket */
const char *console_where(const struct console *c);

#endif
