/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_copy - a cluster on its way to a place of its own, before a part of it is written.
 *
 *     of the parent's, shared with a snapshot, compressed, zeroes ──> buffer ──> a cluster of the file ──> L2
 *     an L2 table that a snapshot refers to too                   ──> buffer ──> a cluster of the file ──> L1
 *
 * Whoever wants to write waits, and then finds a cluster that it may write in place.  What is copied is on stable storage
 * before L2 says so there, like anything that a guest writes; an fdatasync that fails may lose it for good (struct
 * image_format.copies).
 */
#include "hv/disk/qcow2_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AN_L2 (1ull << 63) /* of failed_at: no cluster of the guest's */

int qcow2_copies_init(struct qcow2_image *q)
{
	q->n_copies = QCOW2_COPIES_BYTES / q->l.cluster;
	q->n_copies = q->n_copies < 2 ? 2 : q->n_copies > QCOW2_COPIES_MAX ? QCOW2_COPIES_MAX :
									     q->n_copies;
	q->copies = calloc(q->n_copies, sizeof(*q->copies));
	for (unsigned int i = 0; q->copies && i < q->n_copies; i++)
		q->copies[i].q = q;
	return q->copies ? 0 : -ENOMEM;
}

void qcow2_copies_exit(struct qcow2_image *q)
{
	for (unsigned int i = 0; q->copies && i < q->n_copies; i++)
		free(q->copies[i].buf);
	free(q->copies);
}

/* *@out NULL: none is free, wait */
static int take(struct qcow2_image *q, struct qcow2_copy **out)
{
	struct qcow2_copy *c = q->copies;

	while (c < q->copies + q->n_copies && c->used)
		c++;
	*out = NULL;
	if (c == q->copies + q->n_copies)
		return 0;
	if (!c->buf && posix_memalign((void **)&c->buf, IMAGE_ALIGN, q->l.cluster)) {
		c->buf = NULL;
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

/* --- the end --- */

static void l2_moved(struct qcow2_copy *c)
{
	struct qcow2_image *q = c->q;
	uint64_t was = qcow2_table_get(&q->l1, c->l1) & QCOW2_PLACE;

	qcow2_table_set(&q->l1, c->l1, c->host << q->l.h.bits | QCOW2_COPIED);
	qcow2_free(q, was >> q->l.h.bits, 1);
}

static void end(struct qcow2_copy *c, int ret)
{
	struct qcow2_image *q = c->q;

	c->used = false;
	c->mark = 0;
	if (c->place)
		qcow2_place_end(q, c->place, ret);
	else if (ret)
		qcow2_alloc_back(q, c->host, 1);
	else
		l2_moved(c);
}

/* Who waits asks again, and, where it failed, is told so instead of starting it once more. */
static void end_and_wake(struct qcow2_copy *c, int ret)
{
	struct qcow2_image *q = c->q;

	q->failed_at = c->place ? c->place->guest : AN_L2 | c->l1;
	q->failed = ret;
	end(c, ret);
	image_wake(&q->image);
	q->failed = 0;
}

/* --- there --- */

static void written(struct image_io *io, int ret)
{
	end_and_wake((struct qcow2_copy *)io, ret);
}

static int put(struct qcow2_copy *c)
{
	struct qcow2_image *q = c->q;

	c->mark = 0;
	c->iov = (struct iovec){ c->buf, q->l.cluster };
	c->io.req = (struct block_req){ .op = BLOCK_WRITE, .offset = c->host << q->l.h.bits, .len = q->l.cluster, .iov = &c->iov, .n_iov = 1 };
	c->io.done = written;
	return image_io_start(&q->image, &c->io);
}

/* --- from where it was --- */

static void has_read(struct qcow2_copy *c, int ret)
{
	if (!ret)
		ret = put(c);
	if (ret)
		end_and_wake(c, ret);
}

static void file_read(struct image_io *io, int ret)
{
	has_read((struct qcow2_copy *)io, ret);
}

static void parent_read(struct block_req *b, int ret)
{
	has_read((struct qcow2_copy *)b, ret);
}

static int read_file(struct qcow2_copy *c, uint64_t at)
{
	struct qcow2_image *q = c->q;

	c->mark = qcow2_mark(q);
	c->iov = (struct iovec){ c->buf, q->l.cluster };
	c->io.req = (struct block_req){ .op = BLOCK_READ, .offset = at, .len = q->l.cluster, .iov = &c->iov, .n_iov = 1, .past_end = true };
	c->io.done = file_read;
	return image_io_start(&q->image, &c->io);
}

/* Neither the parent nor the disk needs to end with a cluster. */
static int read_parent(struct qcow2_copy *c, uint64_t guest)
{
	struct qcow2_image *q = c->q;
	uint64_t at = guest << q->l.h.bits, size = block_size(q->image.parent), len;

	size = size < q->l.h.size ? size : q->l.h.size;
	len = size - at < q->l.cluster ? size - at : q->l.cluster;
	memset(c->buf + len, 0, q->l.cluster - len);
	c->iov = (struct iovec){ c->buf, len };
	c->io.req = (struct block_req){ .op = BLOCK_READ, .offset = at, .len = len, .iov = &c->iov, .n_iov = 1, .done = parent_read };
	return block_queue(q->image.parent, &c->io.req);
}

static int start(struct qcow2_copy *c, enum qcow2_kind kind, uint64_t guest, uint64_t entry)
{
	switch (kind) {
	case QCOW2_DATA: return read_file(c, entry & QCOW2_PLACE);
	case QCOW2_ZIPPED: return put(c); /* filled already */
	case QCOW2_NOTHING:
		if (qcow2_below(c->q, guest))
			return read_parent(c, guest);
		break;
	default: break;
	}
	memset(c->buf, 0, c->q->l.cluster);
	return put(c);
}

/* --- the door --- */

/* A compressed one has to be there before anything is taken. */
static int fill_zipped(struct qcow2_image *q, struct qcow2_copy *c, uint64_t entry, bool *wait)
{
	const uint8_t *p;
	int ret = qcow2_zip_get(q, entry, &p);

	*wait = !ret && !p;
	if (!ret && p)
		memcpy(c->buf, p, q->l.cluster);
	return ret;
}

int qcow2_copy_cluster(struct qcow2_image *q, struct qcow2_l2 *s, uint64_t guest, bool zero)
{
	uint64_t entry = qcow2_l2_entry(q, s, guest), host;
	enum qcow2_kind kind = zero ? QCOW2_ZEROES : qcow2_entry_kind(q, guest, entry);
	struct qcow2_copy *c;
	uint32_t n = 1;
	bool wait = false;
	int ret;

	if (q->failed && q->failed_at == guest)
		return q->failed;
	ret = kind == QCOW2_LIE ? -EIO : take(q, &c);
	if (ret || !c || !q->free_places)
		return ret;
	if (kind == QCOW2_ZIPPED)
		ret = fill_zipped(q, c, entry, &wait);
	if (ret || wait)
		return ret;
	ret = qcow2_alloc(q, &host, &n);
	if (ret)
		return ret;
	c->used = true;
	c->host = host;
	c->place = qcow2_place_new(q, s, guest, host, 1);
	ret = start(c, kind, guest, entry);
	if (ret)
		end(c, ret);
	return ret;
}

int qcow2_copy_l2(struct qcow2_image *q, uint32_t l1)
{
	struct qcow2_copy *c;
	int ret;

	if (q->failed && q->failed_at == (AN_L2 | l1))
		return q->failed;
	for (c = q->copies; c < q->copies + q->n_copies; c++)
		if (c->used && !c->place && c->l1 == l1)
			return 0;
	ret = take(q, &c);
	if (ret || !c)
		return ret;
	ret = qcow2_alloc_fresh(q, 1, true, &c->host);
	if (ret)
		return ret;
	c->used = true;
	c->place = NULL;
	c->l1 = l1;
	ret = read_file(c, qcow2_table_get(&q->l1, l1) & QCOW2_PLACE);
	if (ret)
		end(c, ret);
	return ret;
}
