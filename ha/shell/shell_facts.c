/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shell_facts - tell the group of this host (facts.h): a moment after each view, when the epoch has formed and
 * hosts that joined listen.
 */
#include "ha/shell/shell_int.h"

#define SETTLE_MS 1000

static void on_facts_due(void *data);

void shell_facts_due(struct shell *s)
{
	if (s->facts_armed)
		qb_loop_timer_del(s->loop, s->facts_timer);
	s->facts_armed = qb_loop_timer_add(s->loop, QB_LOOP_LOW, SETTLE_MS * QB_TIME_NS_IN_MSEC, s, on_facts_due,
					   &s->facts_timer) == 0;
}

void shell_facts_stop(struct shell *s)
{
	if (s->facts_armed)
		qb_loop_timer_del(s->loop, s->facts_timer);
	s->facts_armed = false;
}

/* A host that is outside of the group tells when it is in again; a ring that is saturated has better things to carry. */
static void on_facts_due(void *data)
{
	char message[FACTS_MESSAGE_MAX];
	struct shell *s = data;
	json_t *cpu;
	size_t n;

	s->facts_armed = false;
	if (!s->connected || !s->cpg || store_failing(s->store) || !s->host_cpu)
		return;
	if (cpglink_busy(s->cpg)) {
		shell_facts_due(s);
		return;
	}
	cpu = s->host_cpu();
	n = facts_note(s->facts, s->me, cpu, message);
	json_decref(cpu);
	if (n)
		cpglink_mcast(s->cpg, message, n);
}

json_t *shell_host_cpu(const struct shell *s, uint32_t node)
{
	return facts_cpu(s->facts, node);
}
