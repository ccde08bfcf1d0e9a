/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_refs_load - refcounts read when an image is opened to be written to: the table, then each block it names. */
#include "hv/disk/qcow2_int.h"

#include <errno.h>
#include <string.h>

/* The table may end with the file, in its last cluster. */
static int read_table(struct qcow2_refs *r, int fd, struct err *e)
{
	const struct qcow2_layout *l = r->l;
	size_t len = (size_t)l->h.table_clusters << l->h.bits;
	ssize_t n = image_pread(fd, r->table.now, len, l->h.table_at);

	if (n < 0)
		return err_set(e, (int)n, "disk %s: qcow2: reading its refcount table: %s", l->path, strerror((int)-n));
	if (len - (size_t)n >= l->cluster)
		return qcow2_wrong(l, e, "its refcount table, %zu bytes at byte %llu, expected all of it in the file, which has %llu", len,
				   (unsigned long long)l->h.table_at, (unsigned long long)l->file_size);
	r->at = l->h.table_at;
	return 0;
}

static int read_block(struct qcow2_refs *r, uint32_t i, int fd, struct err *e)
{
	const struct qcow2_layout *l = r->l;
	uint64_t at = qcow2_table_get(&r->table, i);
	ssize_t n;
	int ret;

	if (at % l->cluster || at >= l->file_size)
		return qcow2_wrong(l, e, "refcount block %u at byte %llu, expected a whole cluster of %u in the file, which has %llu", i,
				   (unsigned long long)at, l->cluster, (unsigned long long)l->file_size);
	ret = qcow2_refs_block_new(r, i);
	if (ret == -EFBIG)
		return err_set(e, ret, "disk %s: qcow2: more than %llu bytes of refcounts, expected a file of so many clusters at most", l->path,
			       QCOW2_REFS_BYTES);
	if (ret)
		return err_set(e, ret, "disk %s: no memory for its refcounts", l->path);
	n = image_pread(fd, r->blocks[i].counts, l->cluster, at);
	return n < 0 ? err_set(e, (int)n, "disk %s: qcow2: reading its refcounts: %s", l->path, strerror((int)-n)) : 0;
}

static int claim(struct qcow2_refs *r, uint64_t at, uint64_t n, const char *what, struct err *e)
{
	if (qcow2_refs_claim(r, at / r->l->cluster, n))
		return 0;
	return qcow2_wrong(r->l, e, "%s at byte %llu, expected it to be counted, and no other table to lie there", what, (unsigned long long)at);
}

static int claim_all(struct qcow2_refs *r, struct err *e)
{
	const struct qcow2_layout *l = r->l;
	int ret = claim(r, 0, 1, "its header", e);

	if (!ret)
		ret = claim(r, l->h.table_at, l->h.table_clusters, "its refcount table", e);
	if (!ret)
		ret = claim(r, l->h.l1_at, (l->h.l1_size * 8ull + l->cluster - 1) / l->cluster, "its L1 table", e);
	if (!ret && l->h.snapshots)
		ret = claim(r, l->h.snapshots_at, 1, "its snapshot table", e);
	for (uint32_t i = 0; !ret && i < r->table.entries; i++)
		if (r->table.now[i])
			ret = claim(r, qcow2_table_get(&r->table, i), 1, "a refcount block", e);
	return ret;
}

int qcow2_refs_load(struct qcow2_refs *r, const struct qcow2_layout *l, int fd, struct err *e)
{
	int ret = qcow2_refs_init(r, l, l->h.table_clusters * l->l2_entries);

	if (ret)
		return err_set(e, ret, "disk %s: no memory for its refcounts", l->path);
	ret = read_table(r, fd, e);
	for (uint32_t i = 0; !ret && i < r->table.entries; i++)
		if (r->table.now[i])
			ret = read_block(r, i, fd, e);
	/* Whatever lies behind the counts' end is not to be taken for zeroes. */
	r->end = (l->file_size + l->cluster - 1) >> l->h.bits;
	r->hint = 1;
	return ret ? ret : claim_all(r, e);
}
