/* SPDX-License-Identifier: Apache-2.0 */
/*
 * executor - carries out on this host what the core decided: starts, stops and
 * steers the VMMs, and tells what they say.
 *
 * At most one VMM per domain name and host.  Files in the run directory:
 * hv/NAME.yaml (what it was started with), hv/NAME.life (that it lives, conf/vmm_life.h),
 * hv/NAME.lease (until when it may run, conf/lease_page.h), hv/NAME.sock (control),
 * hv/NAME.console; in the log directory: NAME.log (vmm_log.h).
 */
#ifndef DROVER_HA_VMM_EXECUTOR_H
#define DROVER_HA_VMM_EXECUTOR_H

#include "ha/vmm/vmm.h"

#define EXECUTOR_PATH_MAX 192

struct executor;

struct executor_conf {
	const char *run_dir, *drover_hv;
	const char *log_dir; /* made if it is not there */
	const char *address; /* where migrations arrive on this host */
};

struct executor_ops {
	/* A VMM said something (vmm.h). After EXITED it is gone from the table. */
	void (*news)(void *arg, const char *name, uint64_t incarnation, const struct vmm_news *n);
	/* Every VMM found at start has been told, at least as STARTING, or is dead. Called once. */
	void (*scanned)(void *arg);
};

/** executor_open() - -EINVAL for a path that is too long, -ENOMEM, -errno of the run directory; nothing is started */
int executor_open(qb_loop_t *loop, const struct executor_conf *conf,
		  const struct executor_ops *ops, void *arg, struct executor **out, struct err *e);

/** executor_scan() - adopt what runs here; news() and at last scanned() follow from the loop */
int executor_scan(struct executor *x, struct err *e);

/** executor_address() - where migrations arrive on this host from here on: those whose VMM is started later */
void executor_address(struct executor *x, const char *address);

/** executor_cluster() - the id of the cluster that counts incarnations from here on, 0 = none yet */
void executor_cluster(struct executor *x, uint64_t id);

/** executor_publish() - the lease of this host, written to the page of each VMM that is admitted; ms of CLOCK_BOOTTIME */
void executor_publish(struct executor *x, uint64_t until_ms);

/**
 * executor_admit() - the lease is for VMM @name.@incarnation too, or is not and its page ends now
 * A VMM that is admitted and has lost its page, which somebody removed, could only stay gated: it is killed.
 */
void executor_admit(struct executor *x, const char *name, uint64_t incarnation, bool on);

/**
 * executor_start() - start domain @name, admitted
 * @conf: its file's text
 * @incoming: wait for a migration instead of booting
 * Return: 0; -EEXIST when one runs already; other errors of starting a program.
 */
int executor_start(struct executor *x, const char *name, uint64_t incarnation, const char *conf,
		   size_t conf_len, bool incoming, struct err *e);

/** executor_find() - the VMM of @name here, or NULL */
struct vmm *executor_find(struct executor *x, const char *name);

/** executor_control() - path of the control socket of @name */
void executor_control(const struct executor *x, const char *name, char path[EXECUTOR_PATH_MAX]);
/** executor_console() - path of the console socket of @name */
void executor_console(const struct executor *x, const char *name, char path[EXECUTOR_PATH_MAX]);

/**
 * executor_migration() - what is known of the last migration of @name from or to this
 * host (docs/control.md, `migration`); borrowed, NULL when there was none
 */
json_t *executor_migration(const struct executor *x, const char *name);

/** executor_hanging() - the @i-th VMM here that does not answer, or NULL */
struct vmm *executor_hanging(struct executor *x, size_t i);

/** executor_standing() - the @i-th VMM here that stands still for a reason of its own (vmm_stands()), or NULL */
struct vmm *executor_standing(struct executor *x, size_t i);

/** executor_count() - VMMs of this host, those that end included */
size_t executor_count(const struct executor *x);

/** executor_close() - let go; the VMMs live on */
void executor_close(struct executor *x);

#endif
