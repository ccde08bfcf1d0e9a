/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_beat - does a VMM still answer?
 *
 * A process that is stopped, or hangs in the kernel, keeps its socket: what it said last
 * would be shown for ever as what it is.  So each is asked again and again, one question at
 * a time.  Beats are counted, not milliseconds: after a pause of this daemon the answer that
 * lies in the socket is read before a second beat can be missed.
 *
 * Nothing is done about it but to say so.  The guest does not run either, or runs well; which
 * of both, and what to do, is not ours to guess.
 */
#include "ha/vmm/vmm_int.h"

#include <assert.h>

#define BEAT_MS 2000
#define MISSED_BEATS 2

static void on_beat(void *data);

static void arm(struct vmm *v)
{
	assert(!v->beat_armed);
	v->beat_armed = qb_loop_timer_add(v->loop, QB_LOOP_LOW, BEAT_MS * QB_TIME_NS_IN_MSEC, v, on_beat,
					  &v->beat_timer) == 0;
}

static void on_answer(void *arg, int code, json_t *ret, const char *text)
{
	struct vmm *v = arg;

	v->beat_sent = false;
	if (v->beats_missed >= MISSED_BEATS)
		vmm_say(v, (struct vmm_news){ .what = VMM_SAID_ANSWERS });
	v->beats_missed = 0;
}

static void on_beat(void *data)
{
	struct vmm *v = data;

	v->beat_armed = false;
	if (v->pidfd < 0)
		return;
	arm(v);
	if (!v->client || v->client_lost)
		v->beat_sent = false; /* vmm.c sees to that */
	else if (!v->beat_sent)
		v->beat_sent = vmm_client_execute(v->client, "query", NULL, on_answer, v) == 0;
	else if (++v->beats_missed == MISSED_BEATS)
		vmm_say(v, (struct vmm_news){ .what = VMM_SAID_HANGS });
}

void vmm_beat_start(struct vmm *v)
{
	if (!v->beat_armed)
		arm(v);
}

void vmm_beat_stop(struct vmm *v)
{
	if (v->beat_armed)
		qb_loop_timer_del(v->loop, v->beat_timer);
	v->beat_armed = false;
}

bool vmm_answers(const struct vmm *v)
{
	return v->beats_missed < MISSED_BEATS;
}
