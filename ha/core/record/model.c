/* SPDX-License-Identifier: Apache-2.0 */
/* model - looking things up in the record, its digest, and its words. */
#include "ha/core/record/model.h"
#include "ha/core/record/codec.h"
#include "ha/core/record/mutants.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const char *ha_phase_str(enum ha_phase p)
{
	switch (p) {
	case HA_STOPPED: return "stopped";
	case HA_WAITING: return "waiting";
	case HA_STARTING: return "starting";
	case HA_RUNNING: return "running";
	case HA_STOPPING: return "stopping";
	case HA_MIGRATING: return "migrating";
	case HA_BACKOFF: return "backoff";
	}
	return "?";
}

static const char *ha_move_str(enum ha_move m)
{
	switch (m) {
	case HA_MOVE_NONE: return "none";
	case HA_MOVE_INTENT: return "intent";
	case HA_MOVE_READY: return "ready";
	}
	return "?";
}

const char *ha_end_str(enum ha_end e)
{
	switch (e) {
	case HA_END_FAILED: return "failed";
	case HA_END_POWEROFF: return "powered off by its guest";
	case HA_END_ASKED: return "was told to end";
	case HA_END_MOVED: return "moved away";
	case HA_END_KILLED: return "had to be killed";
	case HA_END_ABSENT: return "its VMM is not there";
	case HA_ENDS: break;
	}
	return "?";
}

int ha_record_find(const struct ha_record *r, const char *name)
{
	for (uint32_t k = ha_names_first(&r->index.names, name); k; k = ha_names_next(&r->index.names, k)) {
		assert(k <= r->n_domains && r->domains[k - 1].used);
		if (!strcmp(r->domains[k - 1].name, name))
			return (int)(k - 1);
	}
	return -1;
}

int ha_record_find_group(const struct ha_record *r, const char *name)
{
	for (int i = 0; i < HA_GROUPS_MAX; i++)
		if (r->groups[i].used && !strcmp(r->groups[i].name, name))
			return i;
	return -1;
}

int ha_nodes_slot(const struct ha_node_rec *nodes, uint32_t id)
{
	/* Hosts are often numbered from 1 and came in that order. */
	if (id && nodes[(id - 1) % HA_NODES_MAX].id == id)
		return (int)((id - 1) % HA_NODES_MAX);
	for (int i = 0; id && i < HA_NODES_MAX && nodes[i].id; i++)
		if (nodes[i].id == id)
			return i;
	return -1;
}

int ha_record_slot(const struct ha_record *r, uint32_t id)
{
	return ha_nodes_slot(r->nodes, id);
}

static uint64_t hash_set(uint64_t h, ha_set s)
{
	return ha_hash_u64(ha_hash_u64(h, (uint64_t)s), (uint64_t)(s >> 64));
}

static uint64_t hash_str(uint64_t h, const char *s)
{
	return ha_hash(h, s, strlen(s));
}

void ha_claim_print(const struct ha_claim *claims, uint32_t which, char *buf, size_t size)
{
	unsigned int n = 0; /* the how manieth of its kind */

	assert(claims[which].kind < HA_CLAIM_KINDS);
	for (uint32_t i = 0; i < which; i++)
		n += claims[i].kind == claims[which].kind;
	switch (claims[which].kind) {
	case HA_CLAIM_UUID:
		snprintf(buf, size, "uuid");
		break;
	case HA_CLAIM_MAC:
		snprintf(buf, size, "nics[%u].mac", n);
		break;
	case HA_CLAIM_DISK:
		snprintf(buf, size, "disks[%u].path", n);
		break;
	case HA_CLAIM_PARENT:
		snprintf(buf, size, "disks[].parents[%u]", n);
		break;
	case HA_CLAIM_KINDS:
		break;
	}
}

enum ha_claim_kind ha_claim_space(enum ha_claim_kind k)
{
	return k == HA_CLAIM_PARENT ? HA_CLAIM_DISK : k;
}

static bool clashes(const struct ha_domain *d, const struct ha_claim *a)
{
	assert(d->n_claims <= HA_CLAIMS_MAX);
	for (uint32_t i = 0; i < d->n_claims; i++)
		if (ha_claim_space(d->claims[i].kind) == ha_claim_space(a->kind) && d->claims[i].key == a->key &&
		    !(d->claims[i].shared && a->shared))
			return true;
	return false;
}

uint64_t ha_record_debt(const struct ha_record *r, uint32_t id)
{
	int slot = ha_record_slot(r, id);

	return slot < 0 ? 0 : r->nodes[slot].debt;
}

bool ha_record_is_member(const struct ha_record *r, uint32_t id)
{
	int slot = ha_record_slot(r, id);

	return slot >= 0 && ha_set_has(r->members, slot);
}

bool ha_record_may_run(const struct ha_record *r, uint32_t id)
{
	int slot = ha_record_slot(r, id);

	assert(!r->index.edits.n);
	return slot >= 0 && r->index.owned[slot];
}

ha_set ha_record_workers(const struct ha_record *r)
{
	ha_set set = 0;

	for (uint32_t i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++)
		if (ha_set_has(r->members, i) && r->nodes[i].leased)
			set |= ha_set_of(i);
	/* Nobody yet: who gets a lease first does what needs one. */
	return set && !MUTANT(M_LEASELESS) ? set : r->members;
}

int ha_record_claimed(const struct ha_record *r, const struct ha_claim *claims, uint32_t n,
		      uint32_t *which)
{
	uint64_t bits = 0;

	for (uint32_t k = 0; k < n; k++)
		bits |= ha_index_claim(&claims[k]);
	for (uint32_t i = 0; i < r->n_domains; i++)
		for (*which = 0; (r->index.seat[i].claims & bits) && *which < n; ++*which)
			if (clashes(&r->domains[i], &claims[*which]))
				return (int)i;
	return -1;
}

uint64_t ha_domain_hash(const struct ha_domain *d, uint32_t slot)
{
	uint64_t h = ha_hash_u64(0, slot);
	uint64_t v[] = {
		d->wanted,
		d->ha,
		d->owner,
		d->incarnation,
		d->last_incarnation,
		d->phase,
		d->force_stop,
		d->paused,
		d->move,
		d->dry_run,
		d->target,
		d->target_incarnation,
		d->moved_from,
		d->moved_incarnation,
		d->failures,
		d->max_restart,
		d->moves,
		d->size.memory,
		d->size.cpus,
		(uint64_t)d->exit_code,
		d->conf_hash,
		d->conf_len,
	};

	for (uint32_t i = 0; i < d->n_claims; i++)
		h = ha_hash_u64(ha_hash_u64(h, d->claims[i].key),
				(uint64_t)d->claims[i].kind << 1 | d->claims[i].shared);
	h = hash_str(h, d->name);
	h = hash_str(h, d->group);
	h = hash_str(h, d->addr);
	h = hash_set(hash_str(h, d->reason), d->avoid);
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		h = ha_hash_u64(h, v[i]);
	return h;
}

uint64_t ha_record_hash(const struct ha_record *r)
{
	uint64_t h = hash_set(r->epoch, r->members);

	h = ha_hash_u64(ha_hash_u64(h, r->cluster), r->incarnation_floor);
	h = ha_hash_u64(ha_hash_u64(h, r->token | (uint64_t)r->level << 32), r->token_changes);
	h = ha_hash_u64(h, r->leaned);
	h = ha_hash_u64(ha_hash_u64(h, r->voters.version), ha_voters_hash(&r->voters));
	for (int i = 0; i < HA_NODES_MAX && r->nodes[i].id; i++) {
		const struct ha_node_rec *n = &r->nodes[i];

		h = ha_hash_u64(h, n->id);
		h = ha_hash_u64(h, n->report_due | (uint64_t)n->maintenance << 1 |
					   (uint64_t)n->fence_ordered << 2 |
					   (uint64_t)n->leased << 3 |
					   (uint64_t)n->parted << 4 | (uint64_t)n->left << 5 |
					   (uint64_t)n->grace << 6 | (uint64_t)n->apart << 7);
		h = ha_hash_u64(ha_hash_u64(h, n->reported), n->debt);
		h = hash_set(h, n->passed);
		h = ha_hash_u64(h, n->fence_attempts);
		h = ha_hash_u64(ha_hash_u64(h, n->last_op), n->last_in);
		h = ha_hash_u64(ha_hash_u64(h, n->token), n->uses);
		h = ha_hash_u64(ha_hash_u64(h, n->size.memory), n->size.cpus);
	}
	for (int i = 0; i < HA_GROUPS_MAX; i++) {
		const struct ha_group *g = &r->groups[i];

		if (!g->used)
			continue;
		h = hash_str(ha_hash_u64(h, i), g->name);
		h = ha_hash_u64(h, g->restricted);
		for (uint32_t j = 0; j < g->n_hosts; j++)
			h = ha_hash_u64(ha_hash_u64(h, g->hosts[j].node),
					(uint32_t)g->hosts[j].priority);
	}
	assert(!r->index.edits.n);
	return ha_hash_u64(ha_hash_u64(h, r->n_domains), r->index.sum);
}

size_t ha_domain_print(const struct ha_domain *d, char *buf, size_t size)
{
	char more[HA_ADDR_MAX + 80] = "";
	int n;

	if (d->phase == HA_MIGRATING)
		snprintf(more, sizeof(more), "%s to node %u.%llu %s%s%s", d->dry_run ? " dry run" : "", d->target,
			 (unsigned long long)d->target_incarnation, ha_move_str(d->move),
			 d->addr[0] ? " at " : "", d->addr);
	else if (d->failures)
		snprintf(more, sizeof(more), " %u failures", d->failures);
	n = snprintf(buf, size, "%s.%llu %s%s owner %u%s%s%s%s", d->name,
		     (unsigned long long)d->incarnation, ha_phase_str(d->phase), d->paused ? " paused" : "", d->owner,
		     d->wanted ? " wanted" : "", more, d->reason[0] ? ": " : "", d->reason);
	return n < 0 ? 0 : (size_t)n;
}
