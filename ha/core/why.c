/* SPDX-License-Identifier: Apache-2.0 */
/* why - in words: what a lost host's debt and each domain wait for. No state without an exit. */
#include "ha/core/core_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static unsigned long long tenths(uint64_t at, uint64_t now)
{
	return at > now ? (unsigned long long)((at - now + 99) / 100) : 0;
}

void ha_why_node(const struct ha_core *c, uint32_t slot, uint64_t now, char *buf, size_t size)
{
	const struct ha_node_rec *n = &c->rec.nodes[slot];
	uint64_t at = ha_proof_passed_at(c, n->id);
	unsigned long long t = tenths(at, now);
	uint32_t passed = ha_set_count(n->passed & c->rec.members);
	uint32_t members = ha_set_count(c->rec.members);

	buf[0] = 0;
	/* Proved dead for its domains; that it is off is an order, which no waiting carries out. */
	if (n->debt && n->fence_ordered && !ha_record_may_run(&c->rec, n->id))
		snprintf(buf, size,
			 "an operator's order to fence it (%u attempts failed): its return or confirm ends that too, and no domain "
			 "waits for it",
			 n->fence_attempts);
	else if (n->debt && n->apart)
		snprintf(buf, size,
			 "proof of death: fencing (%u attempts failed), or an operator's word (confirm): it was taken "
			 "out with others, who may be a majority",
			 n->fence_attempts);
	else if (n->debt && now < at)
		snprintf(buf, size,
			 "proof of death: fencing (%u attempts failed), or its lease is over in "
			 "%llu.%llu s",
			 n->fence_attempts, t / 10, t % 10);
	else if (n->debt)
		snprintf(buf, size,
			 "proof of death: fencing (%u attempts failed), or %u of %u hosts that "
			 "have waited its lease out",
			 n->fence_attempts, passed, members);
	else if (n->report_due)
		snprintf(buf, size, "its report of what runs there");
	else if (ha_set_has(c->rec.members, slot) && !n->leased)
		snprintf(buf, size, "its lease: nothing runs there without, and nothing is placed there");
}

/*
 * corosync may call a host quorate that is alone (two_node, last_man_standing); the record
 * changes by a majority of all votes only (rule L), and says so instead of "no quorum".
 */
void ha_why_no_view(const struct ha_core *c, char *buf, size_t size)
{
	unsigned long long votes = ha_group_votes(c), needed = ha_majority(c);

	if (c->peers[c->self].foreign)
		snprintf(buf, size, "this host's record is that of another cluster, so it takes no part here (its log says more)");
	else if (c->form.stage == ST_ALONE)
		snprintf(buf, size, "this host is not in the cluster's group");
	else if (c->form.lacks)
		snprintf(buf, size, "%s: %s",
			 votes < needed ? "the hosts here are a majority with the witness's vote alone" :
					  "a host here has lost its record, and the witness has to say that it did not go on alone",
			 c->asking.text[0] ? c->asking.text : "it is being asked");
	else if (votes < needed)
		snprintf(buf, size, "droverd runs on hosts with %llu vote%s here, a majority is %llu%s%s", votes,
			 votes == 1 ? "" : "s", needed,
			 c->quorate ? "; corosync's quorum alone is not enough" : "",
			 ha_agree_kept_by_witness(c) ? "; the hosts of corosync.conf are all here: if the others are gone for ever, "
						       "take the witness out of cluster.yaml too" :
						       "");
	else if (c->form.unlike)
		snprintf(buf, size, "corosync.conf has other hosts or votes on some hosts than on others: a new cluster begins when it is the same on all");
	else
		snprintf(buf, size, "the hosts are agreeing on a view of the cluster");
}

/* Why no host fits: the first reason of each, shortened to what a line holds. */
static void why_waiting(const struct ha_core *c, const struct ha_domain *d, char *buf, size_t size)
{
	size_t len = (size_t)snprintf(buf, size, "a host");
	int n = 0;

	for (uint32_t i = 0; i < HA_NODES_MAX && c->rec.nodes[i].id && len < size; i++) {
		const char *no = ha_place_why_not(&c->rec, d, c->rec.nodes[i].id);

		if (no)
			len += (size_t)snprintf(buf + len, size - len, "%s %s %s",
						n++ ? ";" : ":",
						ha_core_node_name(c, c->rec.nodes[i].id), no);
	}
}

int ha_core_why(const struct ha_core *c, const char *name, uint64_t now, char *buf, size_t size)
{
	int i = ha_record_find(&c->rec, name), slot;
	size_t len;
	const struct ha_domain *d;

	buf[0] = 0;
	if (i < 0)
		return -ENOENT;
	d = &c->rec.domains[i];
	slot = ha_record_slot(&c->rec, d->owner);
	if (c->form.stage != ST_STANDS) {
		len = (size_t)snprintf(buf, size, "a view of the cluster: ");
		if (len < size)
			ha_why_no_view(c, buf + len, size - len);
		return 0;
	}
	if (slot >= 0 && (c->rec.nodes[slot].debt || c->rec.nodes[slot].report_due)) {
		len = (size_t)snprintf(buf, size, "%s: ", ha_core_node_name(c, d->owner));

		if (len < size)
			ha_why_node(c, (uint32_t)slot, now, buf + len, size - len);
		return 0;
	}
	switch (d->phase) {
	case HA_STOPPED:
	case HA_RUNNING:
		break;
	case HA_WAITING:
		why_waiting(c, d, buf, size);
		break;
	case HA_STARTING:
		snprintf(buf, size, "%s to start it (%d at once)", ha_core_node_name(c, d->owner),
			 HA_STARTS_MAX);
		break;
	case HA_STOPPING:
		/* The guest is asked in the first case only; what holds up a killed process is the kernel. */
		if (d->force_stop)
			snprintf(buf, size, "%s to end its VMM by force; a process that a disk does not answer to ends when that does",
				 ha_core_node_name(c, d->owner));
		else
			snprintf(buf, size, "its guest to power off on %s", ha_core_node_name(c, d->owner));
		break;
	case HA_MIGRATING:
		snprintf(buf, size,
			 d->move == HA_MOVE_INTENT ? "%s to listen" : "the migration to %s",
			 ha_core_node_name(c, d->target));
		break;
	case HA_BACKOFF:
		snprintf(buf, size,
			 "the pause after %u failures in a row (`drover clear %s` ends it)",
			 d->failures, d->name);
		break;
	}
	return 0;
}
