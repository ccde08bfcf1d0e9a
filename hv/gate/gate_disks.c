/* SPDX-License-Identifier: Apache-2.0 */
/* gate_disks - see gate_disks.h. */
#include "hv/gate/gate_disks.h"

#include "base/confine.h"
#include "base/log.h"
#include "hv/machine/machine.h"

#include <assert.h>
#include <string.h>

static void *disks_main(void *arg)
{
	struct gate_disks *d = arg;

	confine(CONFINE_GATE);
	pthread_setname_np(pthread_self(), "gate-disks");
	if (d->takes)
		d->ret = machine_disks_take_back(d->machine, d->incarnation, &d->lost, &d->e);
	else
		d->ret = machine_disks_let_go(d->machine, MACHINE_TRY_MS, &d->e);
	atomic_store(&d->done, true);
	d->ended(d->arg);
	return NULL;
}

static void begin(struct gate_disks *d, bool takes)
{
	int ret;

	assert(!d->busy && takes == d->released);
	d->takes = takes;
	d->lost = false;
	atomic_store(&d->done, false);
	ret = pthread_create(&d->thread, NULL, disks_main, d);
	d->busy = !ret;
	if (ret)
		log_error("gate: no thread to %s the disks: %s", takes ? "take" : "let go of", strerror(ret));
}

void gate_disks_let_go(struct gate_disks *d)
{
	begin(d, false);
}

void gate_disks_take(struct gate_disks *d, uint64_t incarnation)
{
	d->incarnation = incarnation;
	begin(d, true);
}

bool gate_disks_done(const struct gate_disks *d)
{
	return !d->busy || atomic_load(&d->done);
}

/* The next look tries again what failed, and others have their turn before. */
int gate_disks_end(struct gate_disks *d, struct err *e)
{
	if (!d->busy)
		return 0;
	assert(gate_disks_done(d));
	pthread_join(d->thread, NULL);
	d->busy = false;
	if (d->lost) {
		log_error("the lease is back, but the domain cannot go on: %s", d->e.text);
		*e = d->e;
		return d->ret;
	}
	if (!d->ret) {
		d->released = !d->takes;
		d->refused = false;
		if (d->released)
			log_info("gated for long: the disks are free for another host");
	} else if (d->takes) {
		if (!d->refused)
			log_error("the lease is back, but not the disks: %s", d->e.text);
		d->refused = true;
	}
	return 0;
}
