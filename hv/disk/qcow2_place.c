/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_place - clusters of the file that were taken for a guest's, from then until its data has arrived.
 *
 * L2 has them when that is so and not before: until then a reader must find what was there, and so must whoever opens the image
 * after a cut.  Nobody else changes these guest clusters meanwhile, but for those who write to other parts of one in which
 * nothing was and nothing is.
 */
#include "hv/disk/qcow2_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int qcow2_places_init(struct qcow2_image *q, unsigned int n)
{
	q->places = calloc(n, sizeof(*q->places));
	if (!q->places)
		return -ENOMEM;
	for (unsigned int i = 0; i < n; i++) {
		q->places[i].next = q->free_places;
		q->free_places = &q->places[i];
	}
	return 0;
}

void qcow2_places_exit(struct qcow2_image *q)
{
	free(q->places);
}

struct qcow2_place *qcow2_place_find(const struct qcow2_image *q, uint64_t guest)
{
	struct qcow2_place *p = q->active;

	while (p && (guest < p->guest || guest >= p->guest + p->n))
		p = p->next;
	return p;
}

struct qcow2_place *qcow2_place_new(struct qcow2_image *q, struct qcow2_l2 *s, uint64_t guest, uint64_t host, uint32_t n)
{
	struct qcow2_place *p = q->free_places;

	if (!p)
		return NULL;
	q->free_places = p->next;
	*p = (struct qcow2_place){ .l2 = s, .guest = guest, .host = host, .n = n, .users = 1, .next = q->active };
	q->active = p;
	s->users++;
#ifdef MUTANT_ENTRY_EARLY
	p->done = true;
	for (uint32_t i = 0; i < n; i++)
		qcow2_l2_set(q, s, guest + i, (host + i) << q->l.h.bits | QCOW2_COPIED);
#endif
	return p;
}

static void leave(struct qcow2_image *q, struct qcow2_place *p)
{
	struct qcow2_place **at = &q->active;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->next = q->free_places;
	q->free_places = p;
	p->l2->users--;
}

void qcow2_place_end(struct qcow2_image *q, struct qcow2_place *p, int ret)
{
	assert(p->users);
	if (!ret && !p->done) {
		p->done = true;
		for (uint32_t i = 0; i < p->n; i++)
			qcow2_l2_set(q, p->l2, p->guest + i, (p->host + i) << q->l.h.bits | QCOW2_COPIED);
	}
	if (--p->users)
		return;
	if (!p->done)
		qcow2_alloc_back(q, p->host, p->n);
	leave(q, p);
}
