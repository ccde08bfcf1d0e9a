/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim - a cluster of ha_cores in one process and in virtual time.
 *
 *   world.c     time, randomness, the trace
 *   net.c       corosync: rings, total order, views, what a broken ring recovers, quorum notices
 *   ring.c      ... how rings break and form
 *   host.c      a host: daemon, clock; carries out the core's effects
 *   power.c     ... its power
 *   conf.c      corosync.conf
 *   disk.c      its disk
 *   witness.c   the storage witness
 *   vmm.c       VMMs as ground truth: who can write at each instant; migrations; fence agents
 *   check.c     the invariants about state, after each step
 *   rules.c     the invariants about what is ordered
 *   operator.c  random commands, and what may be relied on afterwards
 *   chaos.c     random schedules
 *   scenario.c  scenario files (docs/scenario.md)
 *
 * Time is in microseconds of the world's own clock; each host has a clock that
 * runs up to 1 % fast or slow and starts at its boot.
 */
#ifndef DROVER_SIM_H
#define DROVER_SIM_H

#include "cmd/drover-sim/operator.h"
#include "ha/core/claim.h"
#include "ha/core/core.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_HOSTS 32 /* a set of hosts is 32 bits */
#define SIM_DOMAINS 64
#define MS 1000ull
#define SEC 1000000ull

struct sim;

/* ------------------------------------------------------------------ world.c */

enum sim_ev_kind {
	EV_ORDER,
	EV_PUMP,
	EV_REFORM,
	EV_MERGE,
	EV_FLUX,
	EV_QUORUM,
	EV_JOIN,
	EV_COROSYNC_UP,
	EV_TICK,
	EV_PERSISTED,
	EV_DAEMON_START,
	EV_DAEMON_RESUME,
	EV_HOST_RESUME,
	EV_HOST_BOOT,
	EV_HOST_CRASH,
	EV_CONF,
	EV_CLAIM,
	EV_VMM,
	EV_MOVE,
	EV_FENCE,
	EV_CHAOS,
	EV_SCRIPT,
	EV_CHECK,
};

struct sim_ev {
	uint64_t at, ord;
	enum sim_ev_kind kind;
	uint32_t h;
	uint64_t a, b, c;
};

uint64_t sim_range(struct sim *s, uint64_t lo, uint64_t hi); /* lo..hi inclusive */
bool sim_chance(struct sim *s, uint32_t percent);            /* true so often */
/** sim_at() - in @delay us @kind happens at @h, with @a, @b, @c of its own; ties go by the order of the calls */
void sim_at(struct sim *s, uint64_t delay, enum sim_ev_kind kind, uint32_t h, uint64_t a, uint64_t b,
	    uint64_t c);
/** sim_trace() - a line of the trace, with the time in front; nothing unless the run is verbose */
void sim_trace(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** sim_fail() - @rule is broken, and the run is over; the first one stands in s->failure, others are not heard */
void sim_fail(struct sim *s, const char *rule, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* -------------------------------------------------------------------- net.c */

struct sim_msg {
	uint32_t refs, from, len;
	uint8_t bytes[];
};

/* One place in a ring's total order: a message, or a view (msg NULL). */
struct sim_item {
	struct sim_msg *msg;
	uint32_t from;
	uint32_t view, ghost, left; /* masks of hosts */
	uint64_t leave;             /* of left, which is one: which of its leaves this was */
	uint32_t got;               /* hosts that physically have it, decided when the ring breaks */
};

struct sim_ring {
	uint64_t id;
	uint32_t members;
	bool live;
	uint32_t refs;
	uint32_t n, size;
	struct sim_item *items;
};

/** net_init() - all links are whole */
void net_init(struct sim *s);
/** net_free() - free all rings, and all that waits to be sent */
void net_free(struct sim *s);
void net_changed(struct sim *s); /* a link, a host or a corosync came or went */
void net_heal(struct sim *s);    /* all links are whole again */
/** net_cut() - @side cannot send to the rest; nor hear it, unless @one_way */
void net_cut(struct sim *s, uint32_t side, bool one_way);
/** net_send() - @h says @len bytes (copied) to the group, in this ring or its next; nothing when it has not joined */
void net_send(struct sim *s, uint32_t h, const uint8_t *p, size_t len);
/** net_send_unknown() - net_send() of an entry of a kind that nobody here knows, as a newer version may propose it */
void net_send_unknown(struct sim *s, uint32_t h);
/** net_leave() - @h's daemon leaves the group, if it is in it; what it said and was not ordered yet is lost */
void net_leave(struct sim *s, uint32_t h);
/** net_event() - the events from EV_ORDER to EV_COROSYNC_UP */
void net_event(struct sim *s, const struct sim_ev *ev);
void net_gone(struct sim *s, uint32_t h); /* its corosync ended, or its power */
/** net_corosync_crash() - @h's corosync dies, if it runs, and comes back after @away_us, 0: after 0.3 to 3 s */
void net_corosync_crash(struct sim *s, uint32_t h, uint64_t away_us);
/**
 * net_corosync_stop() - the same, but in order: the others form a new ring without waiting for a token
 * @heard: the group is told who left, and they do so at once
 */
void net_corosync_stop(struct sim *s, uint32_t h, uint64_t away_us, bool heard);

/* ------------------------------------------------------------------- host.c */

/* What waits for a daemon: an event with its own copies. */
struct sim_in {
	enum ha_event_kind kind;
	struct sim_msg *msg;
	uint32_t mask, ghost, left;
	enum ha_ring ring_went;
	bool quorate;
	uint64_t ring, token, incarnation, debt, request;
	uint32_t dom, node;
	enum ha_vmm_what what;
	enum ha_end end;
	int rc;
	struct ha_command cmd;
	struct ha_group_host hosts[SIM_HOSTS]; /* cmd.hosts */
};

struct sim_blob {
	bool snapshot;
	uint64_t token;
	uint32_t len;
	uint8_t *bytes;
};

struct sim_disk {
	struct sim_blob *b;
	uint32_t n, size, durable; /* b[0, durable) survive a power cut */
	uint64_t busy_until;
	bool writing;
};

/* --------------------------------------------------------------------- vmm.c */

enum sim_vmm_state {
	VM_NONE,
	VM_STARTING,
	VM_RUN,
	VM_STOPPHASE,
	VM_GRANTED,
	VM_INCOMING,
	VM_ASKING
};

struct sim_vmm {
	enum sim_vmm_state state;
	uint64_t incarnation, gen;
	bool admitted;      /* by the daemon that runs now: the lease goes to its page */
	uint64_t lease_ms;  /* its page: host clock */
	uint64_t gate_ms;   /* W that belongs to what its page says; a gate that closed does not open again */
	uint32_t gate_part; /* this one closes its gate after so many thousandths of W */
	bool incoming;      /* started to receive: may not run before a decision */
	bool paused;        /* by an operator */
	bool asked;         /* it asked the cluster; asked again after a daemon restart */
	uint32_t peer;      /* migration: other host */
	bool dry_run;       /* ... only asked */
	uint64_t peer_incarnation;
	uint64_t writer; /* the how manieth of its domain that could write, 0: it could not yet */
};

/* What corosync.conf says. */
struct sim_conf {
	uint32_t hosts; /* a set */
	uint32_t votes[SIM_HOSTS];
	uint64_t witness; /* id, 0 = none */
};

/* A claim at the witness, on its way. */
struct sim_claim {
	struct claim c;
	uint32_t nodes[SIM_HOSTS];
	struct claim_slots before;
};

struct sim_host {
	uint32_t id;
	bool up, paused; /* power; the whole host stopped */
	bool corosync;
	bool daemon, daemon_paused, joined;
	uint64_t gen; /* of the daemon: events for a former one are dropped */
	int64_t rate_ppm;
	uint64_t clock_base_us, boot_at;
	struct ha_core *core;
	struct sim_disk disk, backup;
	uint64_t disk_hangs_until; /* us */
	bool copied;               /* its disk holds the backup, and nothing newer */
	bool foreign;              /* its disk holds the record of another cluster */
	uint64_t lease_ms;         /* what its daemon may publish: host clock */
	uint32_t token;            /* what corosync.conf says here, ms ... */
	struct sim_conf conf;      /* ... and of hosts */
	uint64_t gate_ms;          /* W that belongs to it */
	struct sim_claim claim;
	uint64_t tick_at;
	uint64_t checked;             /* last committed entry that check_step() compared */
	uint64_t placed[SIM_DOMAINS]; /* newest incarnation it has seen placed */
	/* net */
	struct sim_ring *ring;
	uint32_t next, join_at; /* next item to deliver; items before join_at are not for this daemon */
	uint64_t order_at, pump_at;
	struct sim_msg **sendq;
	uint32_t sendq_n, sendq_size, sendq_due;
	bool reform_due;
	uint64_t silent_us; /* since when it waits for its ring's token in vain, 0 = it does not */
	bool missed;        /* its corosync gave a ring up for its silence since the last view */
	bool waited;        /* ... or waited in vain for an answer when one was formed anew */
	bool said_leave;    /* its corosync was stopped in order: no ring waits for its answer */
	bool left;          /* its corosync was stopped in order, and it has not joined since */
	uint64_t leaves;    /* how often it left the group by its own will */
	struct {
		uint64_t gen;   /* of our daemon that was given a view in which that host left ... */
		uint64_t leave; /* ... for this time */
		uint64_t epoch; /* the newest that we knew it might have been in */
	} saw_left[SIM_HOSTS];
	struct {
		uint64_t gen;   /* of our daemon that heard that host promise ... */
		uint64_t epoch; /* ... this */
	} promise[SIM_HOSTS];
	/* daemon's queue while it is paused */
	struct sim_in *in;
	uint32_t in_n, in_size;
	bool spoiled;    /* its record's digest is another than everybody's */
	bool unkillable; /* a signal does not end its VMMs (D state) */
	bool unlisted;   /* its daemon does not get the list of VMMs together */
	bool hides;      /* the next daemon finds none of the VMMs that run now */
	bool had_daemon; /* since its power came */
	struct sim_vmm vmm[SIM_DOMAINS];
	struct sim_vmm hidden[SIM_DOMAINS]; /* no daemon knows them, nobody renews their lease */
};

/** host_init() - a host without power; it keeps the core that it has from an earlier run, else it gets one */
void host_init(struct sim *s, uint32_t h);
/** host_free() - free its disks and what waits for its daemon; its core stays */
void host_free(struct sim *s, uint32_t h);
/** host_queue_clear() - what its daemon has not been given yet is lost */
void host_queue_clear(struct sim_host *x);
uint64_t host_now(const struct sim *s, uint32_t h); /* host clock, ms */
/** host_give() - @h's daemon gets @in (copied), when it goes on if it stands still; nothing when there is no daemon */
void host_give(struct sim *s, uint32_t h, const struct sim_in *in);
/** host_power_off() - if it is on; on again after 2 to 15 s, in a story not by itself; @why is for the trace */
void host_power_off(struct sim *s, uint32_t h, const char *why);
void host_wipe(struct sim *s, uint32_t h); /* power off, and a new, empty disk */
/** host_power_on() - if it is off: with a clock of its own, corosync at once, its daemon within 1.5 s */
void host_power_on(struct sim *s, uint32_t h);
/** host_pause() - all of it stands still for @us, VMMs and corosync too; nothing when it does already, or is off */
void host_pause(struct sim *s, uint32_t h, uint64_t us);
/** host_daemon_crash() - its daemon dies, if there is one, its VMMs do not; a new one starts after 0.1 to 3 s */
void host_daemon_crash(struct sim *s, uint32_t h);
/** host_daemon_pause() - its daemon alone stands still for @us, and its events wait */
void host_daemon_pause(struct sim *s, uint32_t h, uint64_t us);
/** host_event() - the events from EV_TICK to EV_HOST_CRASH */
void host_event(struct sim *s, const struct sim_ev *ev);
/** host_command() - an operator gives @h @cmd (copied, but for names and texts in it); nothing when there is no daemon */
void host_command(struct sim *s, uint32_t h, const struct ha_command *cmd);

/* ------------------------------------------------------------------- conf.c */
/** conf_majority() - have @hosts (a set) a majority of the votes of @c? */
bool conf_majority(const struct sim_conf *c, uint32_t hosts);
/** conf_nodes() - the nodelist on host @h, into room for all; how many they are */
size_t conf_nodes(const struct sim *s, uint32_t h, struct ha_node_conf *nodes);
/** conf_token() - another token, ms, in corosync.conf on @h */
void conf_token(struct sim *s, uint32_t h, uint32_t token);
/** conf_write() - what operators want (s->conf) stands in corosync.conf on @hosts (a set) now */
void conf_write(struct sim *s, uint32_t hosts);
/** conf_change() - chaos: operators want something else, and it is rolled out, but for hosts that they forget */
void conf_change(struct sim *s);
/** conf_event() - EV_CONF */
void conf_event(struct sim *s, const struct sim_ev *ev);

/* ---------------------------------------------------------------- witness.c */
void witness_claim(struct sim *s, uint32_t h, const struct ha_effect *fx); /* CLAIM of @h's core */
void witness_tell(struct sim *s, uint32_t h);                              /* @h's core: can it be read? */
uint64_t witness_live(const struct sim *s, uint32_t h);                    /* whom host @h sees write there, by node id */
void witness_reach(struct sim *s, uint32_t not_these);                     /* by all but these (a set) */
void witness_event(struct sim *s, const struct sim_ev *ev);                /* EV_CLAIM */

/* ------------------------------------------------------------------- disk.c */
void disk_append(struct sim_disk *d, const struct ha_effect *fx);       /* not durable yet */
void disk_write(struct sim *s, uint32_t h, const struct ha_effect *fx); /* EV_PERSISTED follows */
/** disk_persisted() - the first @n blobs are safe; returns the token of the last of them */
uint64_t disk_persisted(struct sim *s, uint32_t h, uint32_t n);
void disk_crash(struct sim *s, uint32_t h);   /* the power goes, or the daemon */
void disk_empty(struct sim_disk *d);          /* nothing is on it any more */
void disk_backup(struct sim_host *x);         /* what is durable now */
void disk_restore(struct sim_host *x);        /* of a host that is off */
void disk_foreign(struct sim *s, uint32_t h); /* of a host that is off: as another cluster left it */

/** vmm_effect() - do what @h's core orders about VMMs and power; to start one where one is breaks SHELL */
void vmm_effect(struct sim *s, uint32_t h, const struct ha_effect *fx);
void vmm_lease(struct sim *s, uint32_t h, uint64_t until_ms);           /* to the pages of all admitted */
void vmm_daemon_died(struct sim *s, uint32_t h);                        /* the next one admits anew */
void vmm_ends(struct sim *s, uint32_t h, uint32_t d, bool power_off);   /* crashes, or its guest powers off */
void vmm_event(struct sim *s, const struct sim_ev *ev);                 /* EV_VMM, EV_MOVE */
void vmm_scan(struct sim *s, uint32_t h);                               /* a new daemon looks around */
void vmm_host_died(struct sim *s, uint32_t h);                          /* its power went: none is left, hidden or not */
uint64_t vmm_gate_us(const struct sim *s, uint32_t h, uint32_t d);      /* from the lease's end until it stops writing */
bool vmm_can_write(const struct sim *s, uint32_t h, uint32_t d);        /* at this instant */
bool vmm_hidden_may_write(const struct sim *s, uint32_t h, uint32_t d); /* one that no daemon knows */

/* ------------------------------------------------------------------ fence.c */

/** fence_start() - @h runs an agent against fx->fence.node; what kind of agent is drawn, or s->agent's */
void fence_start(struct sim *s, uint32_t h, const struct ha_effect *fx);
/** fence_event() - EV_FENCE: the agent does what its kind does, and its host, if it lives still, is told */
void fence_event(struct sim *s, const struct sim_ev *ev);

/* ------------------------------------------------------------------- check.c */

struct sim_seen {
	uint64_t seq, hash;
};

/* ------------------------------------------------------------------- rules.c */

#define ONCE_MAX 128 /* incarnations of a domain that are remembered */
#define STORM_MAX 8

struct sim_starts {
	uint64_t asked, at[STORM_MAX];
	uint32_t n;
};

/** rules_effect() - I9, I11, ONCE, STOP: may @h's core order @fx? Before it is carried out */
void rules_effect(struct sim *s, uint32_t h, const struct ha_effect *fx);
/**
 * rules_placed() - I7: @h has applied entries; whom do they place, and where?
 * @by_one_entry: by one, so its record is the one that decided; else it may have changed since, and nothing is said
 */
void rules_placed(struct sim *s, uint32_t h, bool by_one_entry);

#define SEEN_MAX 8192
#define REQUESTS_MAX 4096

/** check_step() - I5, I7, INDEX: after each step of @h's core, when it has applied something */
void check_step(struct sim *s, uint32_t h);
/** check_effect() - I3, I4: before an effect of @h's core is carried out */
void check_effect(struct sim *s, uint32_t h, const struct ha_effect *fx);
/** check_reply() - I6: @h's core answers a command, once, and what it added is in its record */
void check_reply(struct sim *s, uint32_t h, const struct ha_effect *fx);
/** check_settled() - has the healed cluster come to rest (I2, I10)? @why: what has not; finds I6 and I9 broken, too */
bool check_settled(struct sim *s, char *why, size_t size);
/** check_writers() - I1, I12: after each event */
void check_writers(struct sim *s);
void check_memory_anew(struct sim *s); /* I12 begins anew */

/* ------------------------------------------------------------------- options */

struct sim_opts {
	uint32_t hosts, domains, token;
	uint64_t chaos_us, settle_us;
	uint32_t fence_percent; /* of attempts that work; the rest fail, hang, lie or are late */
	uint32_t start_fail_percent;
	bool faults, operators;
	bool witness; /* the cluster has a storage witness */
	bool disks;   /* faults are also disks restored from backups, lost or exchanged, and other tokens */
	bool verbose;
};

struct sim {
	struct sim_opts o;
	uint64_t seed, rng;
	uint64_t now, ord, steps;
	struct sim_ev *heap;
	uint32_t heap_n, heap_size;
	bool failed, quiet_world; /* quiet_world: chaos is over, everything works */
	char failure[512];
	/* trace: the last lines, made only in a verbose run */
	char (*lines)[256];
	uint32_t n_lines;
	FILE *log;

	uint64_t ring_seq, merge_gen;
	bool link[SIM_HOSTS][SIM_HOSTS]; /* i can send to j */
	struct sim_host host[SIM_HOSTS];
	struct ha_effects *fx;
	bool stepping; /* these are being carried out */

	uint64_t request;
	struct sim_request *requests; /* REQUESTS_MAX, by number */
	struct sim_wish wishes[WISH_KINDS][SIM_DOMAINS];
	struct sim_starts starts[SIM_DOMAINS];
	uint64_t asked[SIM_DOMAINS]; /* commands for it so far */
	uint64_t once[SIM_DOMAINS][ONCE_MAX];
	bool fence_asked[SIM_HOSTS];
	bool unprotected[SIM_DOMAINS]; /* at some time, perhaps */
	bool removed[SIM_DOMAINS], added[SIM_DOMAINS], stop_asked[SIM_DOMAINS];
	uint64_t writers[SIM_DOMAINS]; /* VMMs of it that could write so far */
	bool powered_off[SIM_DOMAINS]; /* by its guest, at some time */
	struct sim_seen *seen;         /* SEEN_MAX, by seq */
	uint64_t starts_quiet[SIM_DOMAINS];
	bool clear_due[SIM_DOMAINS]; /* an operator wants its pauses ended, and was not heard yet */
	uint32_t unfit[SIM_DOMAINS]; /* hosts on which it cannot start */
	bool fencing_works;
	struct sim_conf conf;     /* what operators want corosync.conf to say */
	struct claim_slots slots; /* the witness ... */
	uint32_t witness_away;    /* ... hosts that cannot reach it, ... */
	uint32_t witness_blind;   /* ... that reach it and see nobody else write there, nor are seen, ... */
	uint64_t refused_us;      /* ... and since when it refuses whoever asks, 0 = it does not */
	bool reconfigures;        /* chaos changes it */
	bool split;               /* story: an operator has made two clusters of one, whose logs are not compared */
	uint32_t filled;          /* hosts whose disk holds a log: they were members since it was new */
	uint32_t crash_after;     /* crash the daemon after this many more effects, 0 = no */
	void *script;
	uint32_t agent; /* scenario: 1 ok, 2 fail, 3 hang, 4 slow */
	uint64_t agent_answer_us;
	uint64_t n_starts, n_moves, n_commits, n_fences, n_claims;
};

/**
 * sim_init() - a new world: o->hosts hosts without power, whole links, nothing to come
 * @s: all zeros, or of a run before that sim_free() ended: what is large is used again
 */
void sim_init(struct sim *s, uint64_t seed, const struct sim_opts *o);
/** sim_free() - free what belongs to the run; what sim_init() uses again, failure and trace stay */
void sim_free(struct sim *s);
/** sim_run() - until @until or a failure; false when an invariant was broken */
bool sim_run(struct sim *s, uint64_t until);

/** chaos_event() - EV_CHAOS: a fault or a command, and when the next one comes; nothing once the world is quiet */
void chaos_event(struct sim *s, const struct sim_ev *ev);
/** chaos_schedule() - one random schedule from sim_init() to sim_free(); false when a rule was broken */
bool chaos_schedule(struct sim *s, uint64_t seed, const struct sim_opts *o);

/**
 * scenario_play() - tell the story in the file @path with twenty seeds, and say how it went; not from two threads
 * Return: an exit code: 0; 1 when it fails with one of them; 2 when a line is not understood; 3 when it cannot be read.
 */
int scenario_play(const char *path, bool verbose);
/** scenario_event() - EV_SCRIPT: line ev->a of the story; breaks EXPECT, or SYNTAX when it is no such line */
void scenario_event(struct sim *s, const struct sim_ev *ev);

uint32_t sim_dom(const char *name); /* number of "d17" */
static inline uint32_t sim_all(const struct sim *s)
{
	return (uint32_t)((1ull << s->o.hosts) - 1);
}
static inline uint64_t sim_token(const struct sim *s)
{
	return s->o.token * MS;
}
const char *sim_dom_name(uint32_t d); /* "d17" of 17; @d below SIM_DOMAINS; stays */

#endif
