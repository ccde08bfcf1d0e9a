/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report - what a host that came back really has (docs/ha.md, "A host that comes back").
 *
 * A report comes in parts, each about a range of the record's slots, for a host may have more VMMs
 * than one entry holds.  The record knows how far it has come, and the next part begins there:
 * one that is lost is sent again, one that comes twice or late begins elsewhere and is nothing.
 * Nothing is placed on a host whose report is due, so what was said of a slot stays true.
 *
 * What the record gives to it and the report does not name is placed again at once, so what is
 * left out must be certain: absence counts only where nothing can be hidden.
 */
#include "ha/core/core_int.h"

#include <assert.h>

static bool something_is_missing(struct ha_core *c)
{
	for (uint32_t i = 0; i < c->rec.n_domains; i++) {
		const struct ha_domain *d = &c->rec.domains[i];
		const struct ha_vmm *v;

		if (!d->used || d->owner != c->me)
			continue;
		v = ha_vmm_find(c, d->name);
		if (!v || v->incarnation != d->incarnation)
			return true;
	}
	return false;
}

/*
 * What the record gives to us and a daemon before us may have started is not here.  That we
 * do not find it proves nothing: its run directory may have been moved or hidden.  But no page
 * says more than the lease of that daemon, so W after it nothing of it can write (rule G).
 */
static bool may_be_hidden(struct ha_core *c)
{
	struct ha_timing t;
	uint64_t due;

	if (!c->unseen || MUTANT(M_ABSENT_AT_ONCE) || !something_is_missing(c))
		return false;
	ha_agreed_of(c, c->me, &t);
	due = c->boot_ms + t.lease + t.gate;
	if (c->now >= due)
		return false;
	ha_wake_at(c, due);
	return true;
}

/* The VMM of domain @i here, if it is what the record says of this host. */
static const struct ha_vmm *named(struct ha_core *c, uint32_t i)
{
	const struct ha_vmm *v = ha_vmm_find(c, c->rec.domains[i].name);
	struct ha_domain *d;
	enum ha_role role = v ? ha_vmm_role(c, v, &d) : R_STALE;

	/* What ended is told by EXITED or ABORT, with its reason; so it counts as known here. */
	return role == R_RUNNER || role == R_INCOMING ? v : NULL;
}

void ha_report(struct ha_core *c)
{
	int slot = ha_record_slot(&c->rec, c->me);
	struct ha_entry *e;

	if (slot < 0 || !c->rec.nodes[slot].report_due || may_be_hidden(c))
		return;
	assert(c->listed); /* what is not listed yet would count as gone */
	e = ha_log_prepare(c, HA_E_REPORT, "", 0);
	if (!e)
		return;
	e->from = c->rec.nodes[slot].reported;
	e->to = HA_REPORT_END;
	for (uint32_t i = e->from; i < c->rec.n_domains; i++) {
		const struct ha_seat *s = &c->rec.index.seat[i];
		const struct ha_vmm *v;

		if (s->owner != c->me && s->target != c->me)
			continue;
		if (e->n_items == HA_REPORT_ITEMS) {
			e->to = i;
			break;
		}
		v = named(c, i);
		if (!v)
			continue;
		ha_copy(e->items[e->n_items].name, sizeof(e->items[0].name), v->name);
		e->items[e->n_items++].incarnation = v->incarnation;
	}
	ha_log_propose(c, e);
}
