/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_hold - a domain whose disk cannot be written waits instead of breaking.
 *
 * No space, a path that is down, a thin pool that is full: an error that the host can
 * mend is no answer to a guest, which would take its disk for broken.  So the device
 * keeps the request (hv/virtio/virtio_blk_request.c), the domain is held with the reason in its
 * state, and the write is tried again every RETRY_NS or with `resume`.  When it succeeds,
 * the domain goes on as if the disk had been slow.
 */
#include "cmd/drover-hv/vmm.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>

#define RETRY_NS (2 * NS_PER_SEC)

struct disk_news {
	struct drover_hv *v;
	bool held;
	char why[200];
};

static void on_news(void *arg)
{
	const struct disk_news *n = arg;
	struct drover_hv *v = n->v;
	struct err e;

	if (n->held) {
		if (!(machine_holders(v->machine) & HOLD_DISK))
			log_error("%s: the domain waits; tried again every %d s, and by `resume`", n->why,
				  (int)(RETRY_NS / NS_PER_SEC));
		snprintf(v->disk_why, sizeof(v->disk_why), "%s", n->why);
		machine_hold_nowait(v->machine, HOLD_DISK);
		loop_timer_set(v->disk_timer, clock_ns() + RETRY_NS);
	} else if (machine_holders(v->machine) & HOLD_DISK) {
		if (machine_release(v->machine, HOLD_DISK, &e))
			log_error("the disk can be written again, but the domain does not go on: %s", e.text);
		else
			log_info("the disk can be written again");
	}
	vmm_update_state(v);
}

void disk_hold_event(void *arg, bool held, const char *why)
{
	struct drover_hv *v = arg;
	struct disk_news n = { .v = v, .held = held };

	text_copy(n.why, sizeof(n.why), why);
	/* Without memory the guest waits for its disk all the same, but runs. */
	loop_post_copy(v->loop, on_news, &n, sizeof(n));
}

static void try_again(void *arg)
{
	struct drover_hv *v = arg;
	struct err e;

	if (!(machine_holders(v->machine) & HOLD_DISK))
		return;
	if (machine_disks_retry(v->machine, &e))
		log_error("%s", e.text);
	loop_timer_set(v->disk_timer, clock_ns() + RETRY_NS);
}

int disk_hold_retry(struct drover_hv *v, struct err *e)
{
	int ret = machine_disks_retry(v->machine, e);

	return ret ? ret : err_set(e, -EBUSY, "%s; it is tried again now, and the domain goes on when "
					      "it is written",
				   v->disk_why);
}

int disk_hold_init(struct drover_hv *v, struct err *e)
{
	return loop_timer_create(v->loop, try_again, v, &v->disk_timer, e);
}
