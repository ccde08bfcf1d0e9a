/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 - the format's row: an image opened and closed.
 *
 * Nothing is written by opening: whoever opens may not own the disk yet.  All counts are read where the image may be written to,
 * for who takes a cluster must know that it is free; an image that is only read does without, and so does not mind
 * whether its counts are right.
 */
#include "hv/disk/qcow2_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TRIES_MAX 5

static void qcow2_destroy(struct image *im)
{
	struct qcow2_image *q = qcow2_of(im);

	image_exit(im);
	qcow2_zips_exit(q);
	qcow2_copies_exit(q);
	qcow2_places_exit(q);
	qcow2_l2_exit(q);
	qcow2_refs_exit(&q->refs);
	qcow2_table_exit(&q->l1);
	qcow2_layout_end(&q->l);
	free(q->frees);
	free(q);
}

static const struct image_format qcow2_ops = {
	.map = qcow2_map,
	.mapped = qcow2_mapped,
	.dirty = qcow2_dirty,
	.unsaved = qcow2_unsaved,
	.begin = qcow2_flush_begin,
	.write = qcow2_flush_write,
	.end = qcow2_flush_end,
	.destroy = qcow2_destroy,
	.copies = true,
};

/* --- L1 --- */

static int check_l1(const struct qcow2_image *q, uint32_t i, struct err *e)
{
	uint64_t entry = qcow2_table_get(&q->l1, i), place = entry & QCOW2_PLACE;

	if (!entry)
		return 0;
	if (entry & QCOW2_L1_RESERVED)
		return qcow2_wrong(&q->l, e, "L1 entry %u is 0x%016llx, expected no bits that mean nothing", i, (unsigned long long)entry);
	if (place % q->l.cluster || !place || place >= q->l.file_size)
		return qcow2_wrong(&q->l, e, "L2 table %u at byte %llu, expected a whole cluster of %u in the file, which has %llu", i,
				   (unsigned long long)place, q->l.cluster, (unsigned long long)q->l.file_size);
	return 0;
}

static int claim_l2(struct qcow2_image *q, uint32_t i, struct err *e)
{
	uint64_t place = qcow2_table_get(&q->l1, i) & QCOW2_PLACE;

	if (q->readonly || !place || qcow2_refs_claim(&q->refs, place >> q->l.h.bits, 1))
		return 0;
	return qcow2_wrong(&q->l, e, "L2 table %u at byte %llu, expected it to be counted, and no other table to lie there", i,
			   (unsigned long long)place);
}

static int read_l1(struct qcow2_image *q, int fd, struct err *e)
{
	int ret = qcow2_table_init(&q->l1, q->l.h.l1_size);

	if (ret)
		return err_set(e, ret, "disk %s: no memory for its L1 table", q->l.path);
	ret = qcow2_read_at(&q->l, fd, q->l1.now, q->l.h.l1_size * 8ull, q->l.h.l1_at, "L1 table", e);
	for (uint32_t i = 0; !ret && i < q->l.h.l1_size; i++)
		ret = check_l1(q, i, e);
	return ret;
}

/* --- open --- */

static int check_dirty(const struct qcow2_image *q, struct err *e)
{
	if (q->readonly || !(q->l.h.incompatible & QCOW2_DIRTY))
		return 0;
	return qcow2_wrong(&q->l, e, "is marked as dirty: a program that counts clusters late (lazy_refcounts) did not end well, and its refcounts "
				     "are not right; qemu-img check -r all mends them");
}

/* L1 first: what it refers to is counted when it does, and counts are read after it. */
static int read_tables(struct qcow2_image *q, int fd, struct err *e)
{
	int ret = qcow2_layout_read(fd, q->l.path, &q->l, e);

	if (!ret)
		ret = check_dirty(q, e);
	if (!ret)
		ret = read_l1(q, fd, e);
	if (!ret && !q->readonly)
		ret = qcow2_refs_load(&q->refs, &q->l, fd, e);
	for (uint32_t i = 0; !ret && i < q->l.h.l1_size; i++)
		ret = claim_l2(q, i, e);
	return ret;
}

static void forget_tables(struct qcow2_image *q)
{
	qcow2_refs_exit(&q->refs);
	qcow2_table_exit(&q->l1);
	qcow2_layout_end(&q->l);
	q->refs = (struct qcow2_refs){ 0 };
}

/*
 * Somebody may be writing to it: where a domain will arrive, its disk is looked at before.  At each moment the file is sound,
 * but we take several; what seems to lie behind its end may be there now.
 */
static int read_all(struct qcow2_image *q, const struct block_open_args *a, struct err *e)
{
	unsigned int tries = TRIES_MAX;
	struct stat st;
	int ret;

	q->l.path = a->path;
	while ((ret = read_tables(q, a->fd, e)) == -EINVAL && --tries && !fstat(a->fd, &st) && (uint64_t)st.st_size != q->l.file_size)
		forget_tables(q);
	return ret;
}

static int take_room(struct qcow2_image *q, struct err *e)
{
	int ret = qcow2_l2_init(q);

	if (!ret)
		ret = qcow2_zips_init(q);
	if (!ret && !q->readonly)
		ret = qcow2_copies_init(q);
	if (!ret && !q->readonly)
		ret = qcow2_places_init(q, q->image.depth + q->n_copies);
	if (!ret && !q->readonly) {
		q->frees = calloc(QCOW2_FREES_MAX, sizeof(*q->frees));
		ret = q->frees ? 0 : -ENOMEM;
	}
	return ret ? err_set(e, ret, "disk %s: no memory for its tables", q->l.path) : 0;
}

static int qcow2_open(const struct block_open_args *a, struct block **out, struct err *e)
{
	struct qcow2_image *q = calloc(1, sizeof(*q));
	int ret;

	if (!q)
		return err_set(e, -ENOMEM, "disk %s: no memory", a->path);
	q->readonly = a->readonly;
	ret = image_init(&q->image, &qcow2_ops, a, e);
	if (!ret)
		ret = read_all(q, a, e);
	if (!ret)
		ret = take_room(q, e);
	if (!ret)
		ret = qcow2_parent_open(q, a, e);
	if (ret) {
		qcow2_destroy(&q->image);
		return ret;
	}
	q->image.block.size = q->l.h.size;
	*out = &q->image.block;
	return 0;
}

const struct block_format block_qcow2 = {
	.name = "qcow2",
	.open = qcow2_open,
	IMAGE_BLOCK_HOOKS,
};
