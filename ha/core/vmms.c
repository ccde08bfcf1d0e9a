/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmms - the table of this host's VMMs: what they said last (reconcile.c does
 * something about it).  One VMM per domain.
 */
#include "ha/core/core_int.h"

#include <assert.h>
#include <string.h>

bool ha_vmm_comes_up(const struct ha_vmm *v)
{
	return v->state == V_LAUNCH && !v->doomed_ms;
}

void ha_vmm_doom(struct ha_core *c, struct ha_vmm *v)
{
	if (v->doomed_ms)
		return;
	c->n_launching -= ha_vmm_comes_up(v);
	v->doomed_ms = c->now;
}

struct ha_vmm *ha_vmm_find(struct ha_core *c, const char *name)
{
	for (uint32_t k = ha_names_first(&c->vmm_names, name); k; k = ha_names_next(&c->vmm_names, k))
		if (!strcmp(c->vmms[k - 1].name, name))
			return &c->vmms[k - 1];
	return NULL;
}

struct ha_vmm *ha_vmm_add(struct ha_core *c, const char *name, uint64_t incarnation,
			  enum ha_vmm_state state)
{
	struct ha_vmm *v = NULL;

	for (uint32_t i = 0; c->used_vmms < c->n_vmms && i < c->n_vmms && !v; i++)
		if (!c->vmms[i].used)
			v = &c->vmms[i];
	if (!v && c->n_vmms < VMMS_MAX)
		v = &c->vmms[c->n_vmms++];
	if (!v)
		return NULL;
	assert(!ha_vmm_find(c, name)); /* one VMM per domain and host */
	memset(v, 0, sizeof(*v));
	v->used = true;
	ha_copy(v->name, sizeof(v->name), name);
	ha_names_add(&c->vmm_names, v->name, (uint32_t)(v - c->vmms));
	v->incarnation = incarnation;
	v->state = state;
	v->since_ms = c->now;
	c->used_vmms++;
	c->n_launching += state == V_LAUNCH;
	ha_rest_wake(c, name);
	return v;
}

void ha_vmm_drop(struct ha_core *c, struct ha_vmm *v)
{
	assert(v->used && v >= c->vmms && v < c->vmms + c->n_vmms);
	v->used = false;
	c->used_vmms--;
	c->n_launching -= ha_vmm_comes_up(v);
	ha_rest_wake(c, v->name);
	ha_bits_drop(&c->awake_vmms, (uint32_t)(v - c->vmms));
	ha_names_drop(&c->vmm_names, v->name, (uint32_t)(v - c->vmms));
	while (c->n_vmms && !c->vmms[c->n_vmms - 1].used)
		c->n_vmms--;
	assert(!ha_vmm_find(c, v->name));
}

static void set_state(struct ha_core *c, struct ha_vmm *v, enum ha_vmm_state s)
{
	if (v->state == s)
		return;
	c->n_launching -= ha_vmm_comes_up(v);
	v->state = s;
	c->n_launching += ha_vmm_comes_up(v);
	v->since_ms = c->now;
}

void ha_vmm_event(struct ha_core *c, const struct ha_event *ev)
{
	struct ha_vmm *v;

	if (!ev->vmm.domain || !ha_name_valid(ev->vmm.domain))
		return;
	v = ha_vmm_find(c, ev->vmm.domain);
	ha_rest_wake(c, ev->vmm.domain);
	if (ev->vmm.what == HA_VMM_EXITED) {
		/* Incarnation 0: the shell knows only that there is no such VMM. */
		if (!v || (ev->vmm.incarnation && ev->vmm.incarnation != v->incarnation))
			return;
		set_state(c, v, V_GONE);
		v->rc = ev->vmm.rc;
		v->end = ev->vmm.end;
		/* Whoever has it killed knows better why than the corpse. */
		if (v->end != HA_END_KILLED || !v->kill_why)
			ha_copy(v->text, sizeof(v->text), ev->vmm.text);
		else
			ha_copy(v->text, sizeof(v->text), v->kill_why);
		return;
	}
	if (v && v->incarnation != ev->vmm.incarnation) {
		/* One VMM per domain and host: the other one must have ended unseen. */
		ha_vmm_drop(c, v);
		v = NULL;
	}
	if (!v)
		v = ha_vmm_add(c, ev->vmm.domain, ev->vmm.incarnation, V_UP);
	if (!v) {
		ha_out_note(c, HA_ALARM, "more VMMs here than can be looked after: %s",
			    ev->vmm.domain);
		return;
	}
	switch (ev->vmm.what) {
	case HA_VMM_STARTING:
		if (v->state == V_GONE)
			break;
		set_state(c, v, V_LAUNCH);
		break;
	case HA_VMM_INCOMING:
		set_state(c, v, V_INCOMING);
		ha_copy(v->addr, sizeof(v->addr), ev->vmm.addr);
		break;
	case HA_VMM_RUNNING:
	case HA_VMM_HELD:
	case HA_VMM_GATED:
		/* Its own again after a migration that failed or was aborted. */
		v->ask_abort = false;
		/* fall through */
	case HA_VMM_PAUSED:
		v->held = ev->vmm.what == HA_VMM_HELD;
		set_state(c, v, V_UP);
		v->seen_up = true;
		break;
	case HA_VMM_MIGRATE_FAILED:
		v->move_failed = true;
		ha_copy(v->text, sizeof(v->text), ev->vmm.text);
		break;
	case HA_VMM_ASK_COMMIT:
		v->ask_commit = true;
		break;
	case HA_VMM_ASK_ABORT:
		v->ask_abort = true;
		break;
	case HA_VMM_EXITED:
		break;
	}
}
