/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_disks_move - a machine that stands still lets go of its disks, and takes them again, without its lock.
 *
 * Whoever asks storage for something may wait for hours.  `disks_moving` keeps others from the disks and from
 * the list of devices meanwhile, and HOLD_GATE, which is only given back when this is done, the guest.
 */
#include "hv/machine/machine_int.h"

#include "base/log.h"
#include "hv/disk/disk_broker.h"
#include "hv/disk/disk_record.h"

#include <assert.h>
#include <errno.h>

/* @wait_ms: for what is in flight; 0: nothing can be. */
static int move_begin(struct machine *m, unsigned int wait_ms, struct err *e)
{
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	assert(!m->disks_moving && (machine_holders(m) & HOLD_GATE));
	/* Looked at under the lock: who sets them waits for it before the disks are touched. */
	if (machine_holders(m) & (HOLD_MIGRATION | HOLD_START))
		ret = err_set(e, -EBUSY, "disks: they are taken and let go by a migration, or with the start");
	else if (wait_ms)
		ret = machine_settle(m, wait_ms, e);
	m->disks_moving = !ret;
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static void move_end(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->disks_moving = false;
	pthread_cond_broadcast(&m->disks_moved);
	pthread_mutex_unlock(&m->lock);
}

int machine_disks_let_go(struct machine *m, unsigned int wait_ms, struct err *e)
{
	int ret = move_begin(m, wait_ms, e);

	if (ret)
		return ret;
	atomic_store(&m->env.disks_leaving, true);
	if (m->disks_owned && machine_disks_flush(m, e))
		log_error("%s", e->text);
	atomic_store(&m->env.disks_leaving, false);
	machine_disks_release(m);
	move_end(m);
	return 0;
}

static int take(struct machine *m, uint64_t incarnation, bool *lost, struct err *e)
{
	int ret = machine_disks_lock_all(m, e);

	if (!ret) {
		ret = machine_disks_own(m, incarnation, incarnation, e);
		*lost = ret == -EPERM || ret == DISK_ANOTHER;
		if (ret)
			machine_disks_release(m);
	}
	*lost |= ret == DISK_BROKER_GONE;
	return ret;
}

int machine_disks_take_back(struct machine *m, uint64_t incarnation, bool *lost, struct err *e)
{
	int ret = move_begin(m, 0, e);

	*lost = false;
	if (ret)
		return ret;
	ret = take(m, incarnation, lost, e);
	move_end(m);
	return ret;
}
