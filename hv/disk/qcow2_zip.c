/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_zip - compressed clusters: read, decompressed, and the last ones kept.
 *
 * Nobody writes compressed ones here: what is written to becomes a cluster like any other.
 */
#include "hv/disk/qcow2_int.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#define WINDOW_BITS (-15) /* raw deflate; QEMU's window is 2^12, and a larger one reads that too */

static size_t in_size(const struct qcow2_image *q)
{
	return 2ull * q->l.cluster; /* [QCOW2], Compressed Clusters Descriptor: cluster_bits - 8 bits of sectors */
}

int qcow2_zips_init(struct qcow2_image *q)
{
	q->n_zips = QCOW2_ZIPS_BYTES / q->l.cluster;
	q->n_zips = q->n_zips < 2 ? 2 : q->n_zips > QCOW2_ZIPS_MAX ? QCOW2_ZIPS_MAX :
								     q->n_zips;
	q->zips = calloc(q->n_zips, sizeof(*q->zips));
	for (unsigned int i = 0; q->zips && i < q->n_zips; i++)
		q->zips[i].q = q;
	return q->zips ? 0 : -ENOMEM;
}

void qcow2_zips_exit(struct qcow2_image *q)
{
	for (unsigned int i = 0; q->zips && i < q->n_zips; i++) {
		free(q->zips[i].in);
		free(q->zips[i].out);
	}
	free(q->zips);
}

/* Most images have none: memory is taken when the first ones come. */
static int zip_room(struct qcow2_zip *z)
{
	if (!z->in && posix_memalign((void **)&z->in, IMAGE_ALIGN, in_size(z->q)))
		z->in = NULL;
	if (!z->out)
		z->out = malloc(z->q->l.cluster);
	return z->in && z->out ? 0 : -ENOMEM;
}

static int decompress(struct qcow2_zip *z, size_t skip, size_t len)
{
	z_stream s = { .next_in = z->in + skip, .avail_in = (uInt)(len - skip), .next_out = z->out, .avail_out = z->q->l.cluster };
	int ret;

	if (inflateInit2(&s, WINDOW_BITS) != Z_OK)
		return -ENOMEM;
	ret = inflate(&s, Z_FINISH);
	inflateEnd(&s);
	/* "decompression stops when it has produced a cluster of data" */
	return (ret == Z_STREAM_END || ret == Z_BUF_ERROR || ret == Z_OK) && !s.avail_out ? 0 : -EIO;
}

static void loaded(struct image_io *io, int ret)
{
	struct qcow2_zip *z = (struct qcow2_zip *)io;
	uint32_t len, skip;
	uint64_t at;

	z->loading = false;
	z->mark = 0;
	if (!ret && !z->stale) {
		qcow2_zip_span(&z->q->l, z->entry, &at, &len, &skip);
		ret = decompress(z, skip, len);
	}
	z->failed = ret;
	z->unread = true;
	if (z->stale)
		z->used = false;
	image_wake(&z->q->image);
	if (ret)
		z->used = false;
}

static int load(struct qcow2_zip *z, uint64_t entry)
{
	uint32_t len, skip;
	uint64_t at;
	int ret = zip_room(z);

	if (ret)
		return ret;
	qcow2_zip_span(&z->q->l, entry, &at, &len, &skip);
	z->iov = (struct iovec){ z->in, len };
	z->io.req = (struct block_req){ .op = BLOCK_READ, .offset = at, .len = len, .iov = &z->iov, .n_iov = 1, .past_end = true };
	z->io.done = loaded;
	z->entry = entry;
	z->stale = false;
	z->failed = 0;
	ret = image_io_start(&z->q->image, &z->io);
	z->used = z->loading = !ret;
	z->mark = ret ? 0 : qcow2_mark(z->q);
	return ret;
}

static struct qcow2_zip *find(struct qcow2_image *q, uint64_t entry)
{
	for (unsigned int i = 0; i < q->n_zips; i++)
		if (q->zips[i].used && !q->zips[i].stale && q->zips[i].entry == entry)
			return &q->zips[i];
	return NULL;
}

static bool may_go(const struct qcow2_zip *z, bool unread)
{
	return !z->loading && (unread || !z->unread);
}

/* One that somebody waits for is taken from him only where there would be none else, ever: he may have given up. */
static struct qcow2_zip *take(struct qcow2_image *q)
{
	struct qcow2_zip *best = NULL;
	bool unread = true;

	for (unsigned int i = 0; i < q->n_zips; i++)
		unread &= q->zips[i].used && may_go(&q->zips[i], true) && q->zips[i].unread;
	for (unsigned int i = 0; i < q->n_zips; i++) {
		struct qcow2_zip *z = &q->zips[i];

		if (!z->used)
			return z;
		if (may_go(z, unread) && (!best || z->last < best->last))
			best = z;
	}
	return best;
}

int qcow2_zip_get(struct qcow2_image *q, uint64_t entry, const uint8_t **out)
{
	struct qcow2_zip *z = find(q, entry);

	*out = NULL;
	if (!z) {
		z = take(q);
		return z ? load(z, entry) : 0;
	}
	if (z->loading)
		return 0;
	z->unread = false;
	z->last = ++q->use_clock;
	*out = z->out;
	return z->failed;
}

void qcow2_zip_forget(struct qcow2_image *q, uint64_t entry)
{
	struct qcow2_zip *z = find(q, entry);

	if (!z)
		return;
	z->stale = true;
	z->unread = false;
	z->used = z->loading;
}
