/* SPDX-License-Identifier: Apache-2.0 */
/*
 * texts - see texts.h.
 *
 * Each text has the slot of its domain in front of it, so that they can be gone through in the
 * order in which they stand.  What a domain that is gone left behind is closed up when the end is
 * reached, which is after as many bytes as there is room for.
 */
#include "ha/core/record/texts.h"

#include "ha/core/record/model.h"

#include <assert.h>
#include <string.h>

#define GONE UINT32_MAX

bool ha_text_fits(const struct ha_record *r, uint32_t len)
{
	return len <= HA_CONFS_MAX && r->texts.live <= HA_CONFS_MAX - len;
}

/* What a text takes: room for its length at least, for when it is gone. */
static uint32_t room_of(uint32_t len)
{
	return HA_TEXT_HEAD + (len > sizeof(uint32_t) ? len : (uint32_t)sizeof(uint32_t));
}

/* What is gone says in the place of its text how much room it takes. */
static void close_up(struct ha_record *r)
{
	struct ha_texts *t = &r->texts;
	uint32_t to = 0, len;

	for (uint32_t at = 0; at < t->used; at += len) {
		uint32_t i;

		memcpy(&i, t->bytes + at, sizeof(i));
		if (i == GONE) {
			memcpy(&len, t->bytes + at + HA_TEXT_HEAD, sizeof(len));
			continue;
		}
		assert(i < r->n_domains && r->domains[i].conf_at == at);
		len = room_of(r->domains[i].conf_len);
		memmove(t->bytes + to, t->bytes + at, len);
		r->domains[i].conf_at = to;
		to += len;
	}
	t->used = to;
}

void ha_text_put(struct ha_record *r, uint32_t i, const void *text, uint32_t len)
{
	struct ha_texts *t = &r->texts;

	assert(ha_text_fits(r, len) && i < r->n_domains);
	if (sizeof(t->bytes) - t->used < room_of(len))
		close_up(r);
	assert(sizeof(t->bytes) - t->used >= room_of(len));
	memcpy(t->bytes + t->used, &i, sizeof(i));
	if (len)
		memcpy(t->bytes + t->used + HA_TEXT_HEAD, text, len);
	r->domains[i].conf_at = t->used;
	r->domains[i].conf_len = len;
	t->used += room_of(len);
	t->live += len;
}

void ha_text_drop(struct ha_record *r, uint32_t i)
{
	struct ha_texts *t = &r->texts;
	uint8_t *at = t->bytes + r->domains[i].conf_at;
	uint32_t room = room_of(r->domains[i].conf_len), gone = GONE;

	assert(t->live >= r->domains[i].conf_len);
	t->live -= r->domains[i].conf_len;
	memcpy(at, &gone, sizeof(gone));
	memcpy(at + HA_TEXT_HEAD, &room, sizeof(room));
}

const char *ha_text(const struct ha_record *r, uint32_t i)
{
	return (const char *)r->texts.bytes + r->domains[i].conf_at + HA_TEXT_HEAD;
}
