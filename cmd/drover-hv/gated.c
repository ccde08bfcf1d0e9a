/* SPDX-License-Identifier: Apache-2.0 */
/* gated - this VMM and its gate (rule G, hv/gate/gate.h): what the gate asks of it, and what comes of that. */
#include "cmd/drover-hv/vmm.h"

static int post(void *arg, void (*fn)(void *), void *fn_arg)
{
	struct drover_hv *v = arg;

	return loop_post(v->loop, fn, fn_arg);
}

static uint64_t incarnation(void *arg)
{
	struct drover_hv *v = arg;

	return v->incarnation;
}

/* Not in the middle of a migration: there the disks belong to its handover (rule H). */
static bool stands_still(void *arg)
{
	struct drover_hv *v = arg;

	return v->state == VMM_GATED || v->state == VMM_PAUSED;
}

static void changed(void *arg)
{
	vmm_update_state(arg);
}

static void lost(void *arg, const char *why)
{
	vmm_end(arg, VMM_END_FAILED, EXIT_REFUSED, why);
}

int vmm_gate_open(struct drover_hv *v, struct err *e)
{
	struct gate_owner owner = {
		.arg = v,
		.post = post,
		.incarnation = incarnation,
		.stands_still = stands_still,
		.changed = changed,
		.lost = lost,
	};
	struct gate *g;
	int ret;

	if (!v->opt.lease)
		return 0;
	ret = gate_create(&g, v->machine, &owner, v->opt.lease, e);
	if (!ret)
		__atomic_store_n(&v->gate, g, __ATOMIC_RELEASE);
	return ret;
}

bool vmm_may_submit(void *arg)
{
	struct drover_hv *v = arg;

	return gate_allows(__atomic_load_n(&v->gate, __ATOMIC_ACQUIRE));
}
