/* SPDX-License-Identifier: Apache-2.0 */
/*
 * executor_int - what executor.c (the table of VMMs, starting and admitting them) and
 * executor_scan.c (finding them) share.
 */
#ifndef DROVER_HA_VMM_EXECUTOR_INT_H
#define DROVER_HA_VMM_EXECUTOR_INT_H

#include "ha/vmm/executor.h"
#include "ha/vmm/lease.h"

#include <limits.h>

#define RUN_DIR_MAX 90 /* as conf/ allows; vmm.c checks that a socket path still fits */

struct slot {
	struct slot *next;
	struct executor *x;
	struct vmm *vmm;
	struct lease *lease; /* its page, NULL: somebody removed it */
	bool admitted;       /* the lease of this host goes there */
	bool dead;
};

struct executor {
	qb_loop_t *loop;
	const struct executor_ops *ops;
	void *arg;
	char run_dir[RUN_DIR_MAX + 1], log_dir[PATH_MAX / 2], drover_hv[PATH_MAX];
	uint64_t until_ms; /* the lease of this host, 0 = none was published yet */
	char incoming[272];
	char cluster[17]; /* in hex; "": it has no id yet */
	struct slot *slots;
	json_t *migrations; /* name -> object; outlives the source's VMM */
	json_t *told_ends;  /* names whose unseen end this daemon has told */
	bool scanning, reap_queued;
	bool unresolved, told_unresolved; /* something here may be a VMM that is not in the table */
	uint64_t scan_until_ms;
	qb_loop_timer_handle scan_timer;
	bool scan_armed;
	qb_loop_timer_handle log_timer;
	bool log_armed;
};

extern const struct vmm_ops executor_vmm_ops;

/** executor_path() - RUN_DIR/hv/NAME@suffix */
void executor_path(const struct executor *x, const char *name, const char *suffix,
		   char out[EXECUTOR_PATH_MAX]);

/** executor_slot_add() - a slot that is not in the table yet, or NULL */
struct slot *executor_slot_add(struct executor *x);

/** executor_scan_check() - something was heard of a VMM: is the list complete now? */
void executor_scan_check(struct executor *x);

#endif
