/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_create - new images (qcow2.h), and what an image says of itself.
 *
 *     cluster 0   header
 *     1           refcount table
 *     2           its first block
 *     3 ..        L1 table, all 0
 */
#include "hv/disk/qcow2_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TABLE_AT 1u
#define BLOCK_AT 2u
#define L1_AT 3u

struct making {
	int fd;
	const char *path;
	const struct qcow2_new *n;
	uint32_t version, bits, order;
	uint64_t size, l1; /* l1: entries */
	struct err *e;
};

static int put(const struct making *m, const void *p, size_t len, uint64_t at)
{
	return image_pwrite(m->fd, m->path, "qcow2", p, len, at, m->e);
}

static uint64_t l1_clusters(const struct making *m)
{
	return (m->l1 * 8 + (1u << m->bits) - 1) >> m->bits;
}

/* --- sizes --- */

static int check_names(const struct making *m)
{
	const struct qcow2_new *n = m->n;

	if (!n->backing)
		return 0;
	if (!n->backing[0] || strlen(n->backing) >= QCOW2_NAME_MAX || strlen(n->backing) > (1u << m->bits) / 2)
		return err_set(m->e, -EINVAL, "disk %s: qcow2: the name of its parent has %zu letters, expected 1 to %u, and no more than half a cluster",
			       m->path, strlen(n->backing), QCOW2_NAME_MAX - 1);
	if (!n->backing_format || !qcow2_format_name(n->backing_format))
		return err_set(m->e, -EINVAL, "disk %s: qcow2: its parent's format '%s', expected raw, qcow2 or vhd", m->path,
			       n->backing_format ? n->backing_format : "");
	return 0;
}

/* One block counts all that is made here, or the image is of no use: half of it is left. */
static int check_new(struct making *m)
{
	const struct qcow2_new *n = m->n;
	uint32_t cluster = n->cluster ? n->cluster : QCOW2_CLUSTER_DEFAULT;
	uint64_t per_l2;
	struct stat st;

	if (fstat(m->fd, &st))
		return err_errno(m->e, "disk %s", m->path);
	if (!S_ISREG(st.st_mode) || st.st_size)
		return err_set(m->e, -EINVAL, "disk %s: expected an empty file to make a qcow2 of", m->path);
	if ((cluster & (cluster - 1)) || cluster < 1u << QCOW2_BITS_MIN || cluster > 1u << QCOW2_BITS_MAX)
		return err_set(m->e, -EINVAL, "disk %s: qcow2: clusters of %u bytes, expected a power of two from %u to %u", m->path, cluster,
			       1u << QCOW2_BITS_MIN, 1u << QCOW2_BITS_MAX);
	m->bits = (uint32_t)__builtin_ctz(cluster);
	m->version = n->version ? n->version : 3;
	m->order = n->refcount_order ? n->refcount_order : 4;
	if ((m->version != 2 && m->version != 3) || m->order > QCOW2_ORDER_MAX || (m->version == 2 && m->order != 4))
		return err_set(m->e, -EINVAL, "disk %s: qcow2: version %u with refcounts of 2^%u bits, expected 2, with 2^4, or 3", m->path, m->version,
			       m->order);
	per_l2 = (uint64_t)cluster / 8 * cluster;
	m->size = (n->size + IMAGE_SECTOR - 1) / IMAGE_SECTOR * IMAGE_SECTOR;
	m->l1 = (m->size + per_l2 - 1) / per_l2;
	if (!n->size || n->size > 1ull << 61 || m->l1 > QCOW2_L1_BYTES / 8 || L1_AT + l1_clusters(m) > (cluster * 8ull >> m->order) / 2)
		return err_set(m->e, -EINVAL, "disk %s: qcow2: %llu bytes in clusters of %u, expected at least one, and larger clusters for so many",
			       m->path, (unsigned long long)n->size, cluster);
	return check_names(m);
}

/* --- bytes --- */

static void put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, 4);
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, 8);
}

/* QEMU's name for it: "vpc" is VHD. */
static const char *their_name(const char *format)
{
	return strcmp(format, "vhd") != 0 ? format : "vpc";
}

static void put_backing(const struct making *m, uint8_t *p, uint32_t at)
{
	const char *format;

	if (!m->n->backing)
		return;
	format = their_name(m->n->backing_format);
	put32(p + at, QCOW2_EXT_BACKING_FORMAT);
	put32(p + at + 4, (uint32_t)strlen(format));
	memcpy(p + at + 8, format, strlen(format));
	at += 8 + 8 + 8; /* its text, at most 8 bytes; the end of extensions is 8 of 0 */
	put64(p + 8, at);
	put32(p + 16, (uint32_t)strlen(m->n->backing));
	memcpy(p + at, m->n->backing, strlen(m->n->backing));
}

static int put_header(const struct making *m)
{
	uint32_t cluster = 1u << m->bits, length = m->version == 2 ? QCOW2_HEADER_2 : QCOW2_HEADER_3 + 8;
	uint8_t *p = calloc(1, cluster);
	int ret;

	if (!p)
		return err_set(m->e, -ENOMEM, "disk %s: no memory", m->path);
	put32(p, QCOW2_MAGIC);
	put32(p + 4, m->version);
	put32(p + 20, m->bits);
	put64(p + 24, m->size);
	put32(p + 36, (uint32_t)m->l1);
	put64(p + 40, (uint64_t)L1_AT << m->bits);
	put64(p + QCOW2_TABLE_AT, (uint64_t)TABLE_AT << m->bits);
	put32(p + QCOW2_TABLE_AT + 8, 1);
	if (m->version >= 3) {
		put32(p + 96, m->order);
		put32(p + 100, length);
	}
	put_backing(m, p, length);
	ret = put(m, p, cluster, 0);
	free(p);
	return ret;
}

static int put_refcounts(const struct making *m)
{
	uint32_t cluster = 1u << m->bits;
	uint8_t *p = calloc(2, cluster);
	int ret;

	if (!p)
		return err_set(m->e, -ENOMEM, "disk %s: no memory", m->path);
	put64(p, (uint64_t)BLOCK_AT << m->bits);
	for (uint32_t i = 0; i < L1_AT + l1_clusters(m); i++)
		qcow2_refs_put(p + cluster, i, m->order, 1);
	ret = put(m, p, 2ull * cluster, (uint64_t)TABLE_AT << m->bits);
	free(p);
	return ret;
}

/* The header last: what is half there is no image. */
int qcow2_create(int fd, const char *path, const struct qcow2_new *n, struct err *e)
{
	struct making m = { .fd = fd, .path = path, .n = n, .e = e };
	int ret = check_new(&m);

	if (!ret && ftruncate(fd, (off_t)((L1_AT + l1_clusters(&m)) << m.bits)))
		ret = err_errno(e, "disk %s: qcow2: writing it", path);
	if (!ret)
		ret = put_refcounts(&m);
	if (!ret && fsync(fd))
		ret = err_errno(e, "disk %s: qcow2: writing it", path);
	if (!ret)
		ret = put_header(&m);
	if (!ret && fsync(fd))
		ret = err_errno(e, "disk %s: qcow2: writing it", path);
	return ret;
}

/* --- what there is --- */

int qcow2_info(int fd, const char *path, struct qcow2_info *out, struct err *e)
{
	struct qcow2_layout l;
	int ret = qcow2_layout_read(fd, path, &l, e);

	*out = (struct qcow2_info){ 0 };
	if (!ret) {
		*out = (struct qcow2_info){
			.version = l.h.version,
			.cluster = l.cluster,
			.refcount_bits = 1u << l.h.order,
			.size = l.h.size,
			.file_size = l.file_size,
			.snapshots = l.h.snapshots,
			.lazy = l.h.compatible & QCOW2_LAZY,
			.dirty = l.h.incompatible & QCOW2_DIRTY,
		};
		memcpy(out->backing, l.h.backing, sizeof(out->backing));
		memcpy(out->backing_format, l.h.backing_format, sizeof(out->backing_format));
	}
	qcow2_layout_end(&l);
	return ret;
}
