/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history - see history.h: a ring of lines, numbered from 1.
 */
#include "ha/shell/history.h"

#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

void history_add(struct history *h, const char *level, const char *text)
{
	struct history_line *l;
	struct timespec t;

	if (h->next_seq == 0)
		h->next_seq = 1;
	l = &h->lines[h->next_seq % HISTORY_MAX];
	assert(l->seq < h->next_seq);
	l->seq = h->next_seq++;
	l->boot_ms = clock_ms();
	clock_gettime(CLOCK_REALTIME, &t);
	l->wall_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	l->level = level;
	text_copy(l->text, sizeof(l->text), text);
}

uint64_t history_first(const struct history *h)
{
	if (h->next_seq == 0)
		return 0;
	return h->next_seq > HISTORY_MAX ? h->next_seq - HISTORY_MAX : 1;
}

const struct history_line *history_get(const struct history *h, uint64_t seq)
{
	const struct history_line *l = &h->lines[seq % HISTORY_MAX];

	return seq > 0 && l->seq == seq ? l : NULL;
}
