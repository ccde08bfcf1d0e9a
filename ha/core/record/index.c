/* SPDX-License-Identifier: Apache-2.0 */
/* index - see index.h. */
#include "ha/core/record/index.h"

#include "ha/core/record/codec.h"
#include "ha/core/record/model.h"
#include "ha/core/record/mutants.h"

#include <string.h>

static void mark(struct ha_marks *m, uint32_t i)
{
	if (ha_bits_has(&m->in, i))
		return;
	ha_bits_add(&m->in, i);
	assert(m->n < HA_DOMAINS_MAX);
	m->at[m->n++] = (uint16_t)i;
}

static uint32_t unmark(struct ha_marks *m)
{
	uint32_t i = m->at[--m->n];

	ha_bits_drop(&m->in, i);
	return i;
}

struct ha_domain *ha_record_edit(struct ha_record *r, uint32_t i)
{
	assert(i < r->n_domains);
	mark(&r->index.edits, i);
	return &r->domains[i];
}

uint32_t ha_record_extend(struct ha_record *r)
{
	uint32_t i = r->n_domains++;

	assert(i < HA_DOMAINS_MAX);
	r->domains[i].used = false;
	r->index.seat[i] = (struct ha_seat){ 0 };
	r->index.hash[i] = 0;
	return i;
}

uint64_t ha_index_claim(const struct ha_claim *a)
{
	return 1ull << (ha_hash_u64(ha_claim_space(a->kind), a->key) & 63);
}

static struct ha_seat seat_of(const struct ha_domain *d)
{
	struct ha_seat s = { 0 };

	if (!d->used)
		return s;
	s.used = true;
	s.owner = d->owner;
	s.moving = d->phase == HA_MIGRATING;
	s.target = s.moving && d->target != d->owner ? d->target : 0;
	s.waiting = d->phase == HA_WAITING;
	for (uint32_t k = 0; k < d->n_claims; k++)
		s.claims |= ha_index_claim(&d->claims[k]);
	return s;
}

static void count(struct ha_record *r, const struct ha_seat *s, uint32_t by)
{
	int owner = ha_record_slot(r, s->owner), target = ha_record_slot(r, s->target);

	if (owner >= 0) {
		r->index.owned[owner] += by;
		r->index.load[owner] += by;
	}
	if (target >= 0)
		r->index.load[target] += by;
}

/* A slot behind the last domain is no domain: it was taken off the end. */
static void seat(struct ha_record *r, uint32_t i)
{
	struct ha_index *x = &r->index;
	struct ha_seat s = seat_of(&r->domains[i]);
	uint64_t h = r->domains[i].used ? ha_domain_hash(&r->domains[i], i) : 0;

	count(r, &x->seat[i], -1u);
	if (!MUTANT(M_STALE_COUNT))
		count(r, &s, 1);
	x->used += s.used - x->seat[i].used;
	x->seat[i] = s;
	ha_bits_set(&x->waiting, i, s.waiting);
	ha_bits_drop(&x->tried, i);
	x->sum += h - x->hash[i];
	x->hash[i] = h;
}

void ha_index_follow(struct ha_record *r)
{
	while (r->index.edits.n) {
		uint32_t i = unmark(&r->index.edits);

		seat(r, i);
		mark(&r->index.news, i);
	}
}

void ha_index_build(struct ha_record *r)
{
	struct ha_index *x = &r->index;

	memset(x, 0, offsetof(struct ha_index, edits));
	x->edits.n = x->news.n = 0;
	memset(&x->edits.in, 0, sizeof(x->edits.in));
	memset(&x->news.in, 0, sizeof(x->news.in));
	ha_names_clear(&x->names);
	for (uint32_t i = 0; i < r->n_domains; i++) {
		r->index.seat[i] = (struct ha_seat){ 0 };
		r->index.hash[i] = 0;
		if (r->domains[i].used)
			ha_names_add(&r->index.names, r->domains[i].name, i);
		seat(r, i);
		mark(&r->index.news, i);
	}
}

void ha_index_retry(struct ha_record *r)
{
	memset(&r->index.tried, 0, sizeof(r->index.tried));
}

int ha_index_next_news(struct ha_record *r)
{
	return r->index.news.n ? (int)unmark(&r->index.news) : -1;
}

#define HOLDS(what)                   \
	do {                          \
		if (!(what))          \
			return #what; \
	} while (0)

const char *ha_index_wrong(const struct ha_record *r)
{
	const struct ha_index *x = &r->index;
	uint32_t owned[HA_NODES_MAX] = { 0 }, load[HA_NODES_MAX] = { 0 };
	uint64_t sum = 0, texts = 0;
	uint32_t used = 0;

	HOLDS(!x->edits.n);
	for (uint32_t i = 0; i < r->n_domains; i++) {
		const struct ha_domain *d = &r->domains[i];
		struct ha_seat s = seat_of(d);
		int owner = ha_record_slot(r, s.owner), target = ha_record_slot(r, s.target);

		HOLDS(x->seat[i].owner == s.owner && x->seat[i].target == s.target);
		HOLDS(x->seat[i].claims == s.claims);
		HOLDS(x->seat[i].waiting == s.waiting && x->seat[i].moving == s.moving);
		HOLDS(ha_bits_has(&x->waiting, i) == s.waiting);
		HOLDS(s.waiting || !ha_bits_has(&x->tried, i));
		HOLDS(x->hash[i] == (d->used ? ha_domain_hash(d, i) : 0));
		HOLDS(!d->used || ha_record_find(r, d->name) == (int)i);
		sum += x->hash[i];
		used += d->used;
		texts += d->used ? d->conf_len : 0;
		if (owner >= 0)
			owned[owner]++, load[owner]++;
		if (target >= 0)
			load[target]++;
	}
	HOLDS(ha_bits_next(&x->waiting, r->n_domains) == HA_BITS_END);
	HOLDS(x->sum == sum && x->used == used);
	HOLDS(r->texts.live == texts);
	HOLDS(!memcmp(x->owned, owned, sizeof(owned)) && !memcmp(x->load, load, sizeof(load)));
	return NULL;
}
