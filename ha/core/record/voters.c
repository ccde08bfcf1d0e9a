/* SPDX-License-Identifier: Apache-2.0 */
/* voters - see voters.h. */
#include "ha/core/record/voters.h"

#include <assert.h>
#include <string.h>

/* Where @id stands, or would. */
static uint32_t place_of(const struct ha_voters *l, uint32_t id)
{
	uint32_t i = 0;

	while (i < l->n && l->of[i].id < id)
		i++;
	return i;
}

static bool stands_at(const struct ha_voters *l, uint32_t i, uint32_t id)
{
	return i < l->n && l->of[i].id == id;
}

uint32_t ha_voters_of(const struct ha_voters *l, uint32_t id)
{
	uint32_t i = place_of(l, id);

	return stands_at(l, i, id) ? l->of[i].votes : 0;
}

uint64_t ha_voters_hosts(const struct ha_voters *l)
{
	uint64_t votes = 0;

	for (uint32_t i = 0; i < l->n; i++)
		votes += l->of[i].votes;
	return votes;
}

uint64_t ha_voters_total(const struct ha_voters *l)
{
	return ha_voters_hosts(l) + (l->witness != 0);
}

uint64_t ha_voters_majority(const struct ha_voters *l)
{
	return ha_voters_total(l) / 2 + 1;
}

bool ha_voters_same(const struct ha_voters *a, const struct ha_voters *b)
{
	return a->witness == b->witness && ha_voters_same_hosts(a, b);
}

bool ha_voters_same_hosts(const struct ha_voters *a, const struct ha_voters *b)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (a->of[i].id != b->of[i].id || a->of[i].votes != b->of[i].votes)
			return false;
	return true;
}

uint64_t ha_voters_hash(const struct ha_voters *l)
{
	uint64_t h = ha_hash_u64(l->n, l->witness);

	for (uint32_t i = 0; i < l->n; i++)
		h = ha_hash_u64(ha_hash_u64(h, l->of[i].id), l->of[i].votes);
	return h;
}

void ha_voters_set(struct ha_voters *l, uint32_t id, uint32_t votes)
{
	uint32_t i = place_of(l, id), behind = l->n - i;

	assert(id && l->n <= HA_NODES_MAX);
	if (stands_at(l, i, id) && votes) {
		l->of[i].votes = votes;
	} else if (stands_at(l, i, id)) {
		memmove(&l->of[i], &l->of[i + 1], (behind - 1) * sizeof(l->of[0]));
		l->n--;
	} else if (votes && l->n < HA_NODES_MAX) {
		memmove(&l->of[i + 1], &l->of[i], behind * sizeof(l->of[0]));
		l->of[i] = (struct ha_voter){ .id = id, .votes = votes };
		l->n++;
	}
}

bool ha_voters_step(struct ha_voters *l, uint32_t id, bool more)
{
	uint32_t votes = ha_voters_of(l, id);

	if (more ? votes == UINT32_MAX || (!votes && l->n == HA_NODES_MAX) : !votes || ha_voters_hosts(l) == 1)
		return false;
	ha_voters_set(l, id, more ? votes + 1 : votes - 1);
	return true;
}

bool ha_voters_witness(struct ha_voters *l, uint64_t id, bool more)
{
	if (!id || !l->n || l->witness != (more ? 0 : id))
		return false;
	l->witness = more ? id : 0;
	return true;
}

void ha_voters_put(struct ha_writer *w, const struct ha_voters *l)
{
	ha_put_u64(w, l->witness);
	ha_put_u32(w, l->n);
	for (uint32_t i = 0; i < l->n; i++) {
		ha_put_u32(w, l->of[i].id);
		ha_put_u32(w, l->of[i].votes);
	}
}

void ha_voters_get(struct ha_reader *r, struct ha_voters *l)
{
	uint32_t last = 0;

	l->version = 0;
	l->witness = ha_get_u64(r);
	l->n = ha_get_u32(r);
	if (l->n > HA_NODES_MAX)
		r->bad = true;
	for (uint32_t i = 0; i < l->n && !r->bad; i++) {
		l->of[i].id = ha_get_u32(r);
		l->of[i].votes = ha_get_u32(r);
		if (l->of[i].id <= last || !l->of[i].votes)
			r->bad = true;
		last = l->of[i].id;
	}
	if (l->witness && !l->n)
		r->bad = true; /* a witness alone decides nothing */
	if (r->bad)
		l->n = 0;
}
