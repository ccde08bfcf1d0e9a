/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_write - where a guest's bytes go.
 *
 *     its own cluster, counted once            in place
 *     whole clusters, in any other case        new ones, as many in a row as there are
 *     part of one that has nothing but zeroes  a new one at the end of the file, which reads as zeroes
 *     part of any other                        copied first (qcow2_copy.c), then in place
 *
 * Zeroes and discards of whole clusters change their entries alone where the format has a way to say that.
 */
#include "hv/disk/qcow2_int.h"

#include <assert.h>
#include <errno.h>

/* A write, or a change of entries, that has found its slice. */
struct change {
	struct qcow2_image *q;
	struct qcow2_l2 *s;
	uint64_t guest; /* its first cluster */
	uint64_t entry;
	enum qcow2_kind kind;
	bool own; /* DATA that may be written in place */
};

static int look(struct change *c, uint64_t guest)
{
	c->guest = guest;
	c->entry = qcow2_l2_entry(c->q, c->s, guest);
	c->kind = qcow2_entry_kind(c->q, guest, c->entry);
	c->own = false;
	if (c->kind == QCOW2_LIE)
		return -EIO;
	return c->kind == QCOW2_DATA ? qcow2_entry_own(c->q, c->entry, &c->own) : 0;
}

/* Clusters behind the first one that may be written in place in one piece with it. */
static uint64_t own_run(struct change c, uint64_t n)
{
	uint64_t first = c.guest, place = c.entry & QCOW2_PLACE, i = 1;

	while (i < n && !look(&c, first + i) && c.own && (c.entry & QCOW2_PLACE) == place + (i << c.q->l.h.bits))
		i++;
	return i;
}

/* ... whose old contents do not matter, and that nobody else is about to change. */
static uint64_t other_run(struct change c, uint64_t n)
{
	uint64_t first = c.guest, i = 1;

	while (i < n && !qcow2_place_find(c.q, first + i) && !look(&c, first + i) && !c.own)
		i++;
	return i;
}

/* Whole clusters at the start of @x; 0: it does not even have one. */
static uint64_t whole(const struct qcow2_image *q, const struct image_extent *x, uint64_t guest)
{
	uint64_t n = qcow2_map_more(q, x, guest), all = x->len >> q->l.h.bits;

	if (x->at % q->l.cluster)
		return 0;
	return n < all ? n : all;
}

static void in_place(const struct change *c, struct image_req *r, struct image_extent *x)
{
	qcow2_map_data(c->q, r, x, c->guest, (c->entry & QCOW2_PLACE) >> c->q->l.h.bits,
		       own_run(*c, qcow2_map_more(c->q, x, c->guest)));
}

/* --- new clusters --- */

static int write_new(const struct change *c, struct image_req *r, struct image_extent *x, uint64_t n)
{
	struct qcow2_image *q = c->q;
	uint32_t got = (uint32_t)other_run(*c, n);
	uint64_t host;
	int ret;

	if (!q->free_places)
		return qcow2_map_wait(q, r, x, 0);
	ret = qcow2_alloc(q, &host, &got);
	if (ret)
		return qcow2_map_wait(q, r, x, ret);
	r->held = qcow2_place_new(q, c->s, c->guest, host, got);
	qcow2_map_data(q, r, x, c->guest, host, got);
	return 0;
}

static int write_fresh(const struct change *c, struct image_req *r, struct image_extent *x)
{
	struct qcow2_image *q = c->q;
	struct qcow2_place *p;
	uint64_t host;
	int ret;

	if (!q->free_places)
		return qcow2_map_wait(q, r, x, 0);
	ret = qcow2_alloc_fresh(q, 1, false, &host);
	if (ret)
		return qcow2_map_wait(q, r, x, ret);
	p = qcow2_place_new(q, c->s, c->guest, host, 1);
	p->shared = true;
	r->held = p;
	qcow2_map_data(q, r, x, c->guest, host, 1);
	return 0;
}

static bool reads_as_zeroes(const struct change *c)
{
	return c->kind == QCOW2_ZEROES || (c->kind == QCOW2_NOTHING && !qcow2_below(c->q, c->guest));
}

/* Somebody has its cluster: beside him, or after him. */
static int join(struct qcow2_image *q, struct image_req *r, struct image_extent *x, struct qcow2_place *p)
{
	if (!p->shared)
		return qcow2_map_wait(q, r, x, 0);
	p->users++;
	r->held = p;
	qcow2_map_data(q, r, x, p->guest, p->host, 1);
	return 0;
}

int qcow2_map_write(struct qcow2_image *q, struct image_req *r, struct image_extent *x)
{
	uint64_t guest = x->at >> q->l.h.bits, n;
	struct qcow2_place *p = qcow2_place_find(q, guest);
	struct change c = { .q = q };
	int ret;

	x->where = IMAGE_ZEROES;
	if (p)
		return join(q, r, x, p);
	if (q->n_frees > QCOW2_FREES_MAX / 2)
		return image_wait_for_flush(&q->image, r, x);
	ret = qcow2_l2_get(q, r, x, guest, true, &c.s);
	if (ret || x->where == IMAGE_WAIT)
		return ret;
	ret = look(&c, guest);
	if (ret)
		return ret;
	n = whole(q, x, guest);
	if (c.own)
		in_place(&c, r, x);
	else if (n)
		return write_new(&c, r, x, n);
	else if (reads_as_zeroes(&c) && !qcow2_alloc_reuses(q))
		return write_fresh(&c, r, x);
	else
		return qcow2_map_wait(q, r, x, qcow2_copy_cluster(q, c.s, guest, false));
	return 0;
}

/* --- zeroes and discards --- */

/* What entry says that there are zeroes?  false: version 2 has none where a parent would show through. */
static bool zero_entry(const struct change *c, uint64_t *entry)
{
	bool below = qcow2_below(c->q, c->guest);

	*entry = below ? QCOW2_ZERO : 0;
	return !below || c->q->l.h.version >= 3;
}

/* Entries alone are changed, of as many clusters as are alike in that. */
static int change_entries(struct change *c, struct image_req *r, struct image_extent *x, uint64_t n)
{
	uint64_t first = c->guest, entry, i = 0;

	for (; i < n && !qcow2_place_find(c->q, first + i) && !look(c, first + i) && zero_entry(c, &entry); i++) {
		if (c->own && r->guest->op == BLOCK_ZERO && !r->guest->unmap)
			break;
		if (c->kind != QCOW2_NOTHING || (entry && r->guest->op == BLOCK_ZERO))
			qcow2_l2_set(c->q, c->s, first + i, entry);
		if (c->q->n_frees > QCOW2_FREES_MAX / 2) {
			i++;
			break;
		}
	}
	qcow2_map_clip(c->q, x, first, i);
	x->where = IMAGE_ZEROES;
	return 0;
}

/* Nothing has to be done for @n clusters. */
static void pass(struct qcow2_image *q, struct image_extent *x, uint64_t guest, uint64_t n)
{
	qcow2_map_clip(q, x, guest, n);
	x->where = IMAGE_ZEROES;
}

static int zero_found(struct change *c, struct image_req *r, struct image_extent *x)
{
	bool discard = r->guest->op == BLOCK_DISCARD, keep = c->own && !discard && !r->guest->unmap;
	struct qcow2_image *q = c->q;
	uint64_t n = whole(q, x, c->guest), entry;

	if (n && !keep && zero_entry(c, &entry))
		return change_entries(c, r, x, n);
	if (discard || reads_as_zeroes(c)) {
		pass(q, x, c->guest, 1);
		return 0;
	}
	if (!c->own)
		return qcow2_map_wait(q, r, x, qcow2_copy_cluster(q, c->s, c->guest, n != 0));
	in_place(c, r, x);
	return 0;
}

int qcow2_map_zero(struct qcow2_image *q, struct image_req *r, struct image_extent *x)
{
	uint64_t guest = x->at >> q->l.h.bits;
	struct change c = { .q = q };
	int ret;

	x->where = IMAGE_ZEROES;
	if (qcow2_place_find(q, guest))
		return qcow2_map_wait(q, r, x, 0);
	if (q->n_frees > QCOW2_FREES_MAX / 2)
		return image_wait_for_flush(&q->image, r, x);
	if (!(qcow2_l1_entry(q, guest) & QCOW2_PLACE) && (r->guest->op == BLOCK_DISCARD || !qcow2_below(q, guest))) {
		pass(q, x, guest, q->l.l2_entries - guest % q->l.l2_entries);
		return 0;
	}
	ret = qcow2_l2_get(q, r, x, guest, true, &c.s);
	if (ret || x->where == IMAGE_WAIT)
		return ret;
	ret = look(&c, guest);
	return ret ? ret : zero_found(&c, r, x);
}
