/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_order - what an operator orders of one VMM (vmm.h).
 *
 * Said once, and not again on the next connection: whether an order was obeyed whose answer got lost is not known, and
 * whoever gave it is told that, not obeyed twice.
 */
#include "ha/vmm/vmm_int.h"

#include <errno.h>
#include <stdlib.h>

struct vmm_orders {
	struct vmm_orders *next;
	struct vmm *v;
	uint64_t number;
	vmm_ordered done;
	void *arg;
};

/* It is in no list any more. */
static void end_order(struct vmm_orders *o, int code, const json_t *ret, const char *text)
{
	o->done(o->arg, o->number, code, ret, text);
	free(o);
}

static void on_answer(void *arg, int code, json_t *ret, const char *text)
{
	struct vmm_orders *o = arg, **p;

	for (p = &o->v->orders; *p != o; p = &(*p)->next)
		;
	*p = o->next;
	end_order(o, code, ret, text);
}

void vmm_orders_end(struct vmm *v)
{
	while (v->orders) {
		struct vmm_orders *o = v->orders;

		v->orders = o->next;
		end_order(o, EXIT_ERROR, NULL, "its VMM hung up without an answer; it may have obeyed");
	}
}

int vmm_order(struct vmm *v, const char *command, json_t *arguments, uint64_t number, vmm_ordered done, void *arg)
{
	struct vmm_orders *o;
	int rc;

	if (!v->client || v->client_lost || !v->greeted) {
		json_decref(arguments);
		return -ENOTCONN;
	}
	o = calloc(1, sizeof(*o));
	if (!o) {
		json_decref(arguments);
		return -ENOMEM;
	}
	*o = (struct vmm_orders){ .next = v->orders, .v = v, .number = number, .done = done, .arg = arg };
	v->orders = o;
	rc = vmm_client_execute(v->client, command, arguments, on_answer, o);
	if (rc) {
		v->orders = o->next;
		free(o);
	}
	return rc;
}
