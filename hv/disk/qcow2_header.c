/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_header - the header of an image, read and believed only after a look at each number of it (rule S).
 *
 * What we do not know how to read is refused by its name.  All that is known here of other places of the file is that
 * they may be there: whether tables lie on each other is seen when they are read (qcow2_refs_load.c, qcow2.c).
 */
#include "hv/disk/qcow2_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int qcow2_wrong(const struct qcow2_layout *l, struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(e, -EINVAL, fmt, ap);
	va_end(ap);
	err_prefix(e, "disk %s: qcow2", l->path); /* and ": " */
	return -EINVAL;
}

int qcow2_read_at(const struct qcow2_layout *l, int fd, void *buf, size_t len, uint64_t at, const char *what, struct err *e)
{
	ssize_t n = image_pread(fd, buf, len, at);

	if (n < 0)
		return err_set(e, (int)n, "disk %s: qcow2: reading its %s: %s", l->path, what, strerror((int)-n));
	if ((size_t)n < len)
		return qcow2_wrong(l, e, "%s at byte %llu: the file ends after %zd bytes of it, expected %zu", what,
				   (unsigned long long)at, n, len);
	return 0;
}

const char *qcow2_format_name(const char *word)
{
	/* "vpc" is QEMU's name for VHD */
	static const char *const names[][2] = { { "raw", "raw" }, { "qcow2", "qcow2" }, { "vpc", "vhd" }, { "vhd", "vhd" } };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(word, names[i][0]))
			return names[i][1];
	return NULL;
}

/* --- bytes --- */

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}

/* [QCOW2], Header; @p has QCOW2_HEADER_3 + 8 bytes */
static void header_get(const uint8_t *p, struct qcow2_header *h)
{
	*h = (struct qcow2_header){
		.version = get32(p + 4),
		.backing_at = get64(p + 8),
		.backing_len = get32(p + 16),
		.bits = get32(p + 20),
		.size = get64(p + 24),
		.crypt = get32(p + 32),
		.l1_size = get32(p + 36),
		.l1_at = get64(p + 40),
		.table_at = get64(p + 48),
		.table_clusters = get32(p + 56),
		.snapshots = get32(p + 60),
		.snapshots_at = get64(p + 64),
		.order = 4,
		.length = QCOW2_HEADER_2,
	};
	if (h->version < 3)
		return;
	h->incompatible = get64(p + 72);
	h->compatible = get64(p + 80);
	h->autoclear = get64(p + 88);
	h->order = get32(p + 96);
	h->length = get32(p + 100);
	h->compression = h->length > QCOW2_HEADER_3 ? p[104] : 0;
}

/* --- what we know how to read --- */

static int unknown(const struct qcow2_layout *l, struct err *e, const char *what)
{
	return err_set(e, -EOPNOTSUPP, "disk %s: qcow2: %s; convert it (qemu-img convert -O qcow2)", l->path, what);
}

static int check_features(const struct qcow2_layout *l, struct err *e)
{
	const struct qcow2_header *h = &l->h;
	uint64_t more = h->incompatible & ~(QCOW2_DIRTY | QCOW2_CORRUPT | QCOW2_DATA_FILE | QCOW2_COMPRESSION | QCOW2_EXTENDED_L2);

	if (h->incompatible & QCOW2_CORRUPT)
		return qcow2_wrong(l, e, "is marked as corrupt, and what it shows may be anything (qemu-img check -r all mends what can be mended)");
	if (h->crypt)
		return unknown(l, e, h->crypt == 1 ? "is encrypted (AES), which is not supported" : "is encrypted (LUKS), which is not supported");
	if (h->incompatible & QCOW2_DATA_FILE)
		return unknown(l, e, "has its data in an external file, which is not supported");
	if (h->incompatible & QCOW2_EXTENDED_L2)
		return unknown(l, e, "has extended L2 entries (subclusters), which are not supported");
	if (more)
		return err_set(e, -EOPNOTSUPP, "disk %s: qcow2: incompatible features 0x%llx, of which none is known", l->path,
			       (unsigned long long)more);
	if (!(h->incompatible & QCOW2_COMPRESSION) != !h->compression)
		return qcow2_wrong(l, e, "compression type %u, and its incompatible feature is %s; expected both or neither", h->compression,
				   h->compression ? "not set" : "set");
	if (h->compression == 1)
		return unknown(l, e, "is compressed by zstd, which is not supported");
	if (h->compression)
		return qcow2_wrong(l, e, "compression type %u, expected 0 (zlib)", h->compression);
	return 0;
}

static int check_sizes(struct qcow2_layout *l, struct err *e)
{
	const struct qcow2_header *h = &l->h;

	if (h->bits < QCOW2_BITS_MIN || h->bits > QCOW2_BITS_MAX)
		return qcow2_wrong(l, e, "clusters of 2^%u bytes, expected 2^%u to 2^%u", h->bits, QCOW2_BITS_MIN, QCOW2_BITS_MAX);
	l->cluster = 1u << h->bits;
	l->l2_entries = l->cluster / 8;
	if (h->version >= 3 && (h->length < QCOW2_HEADER_3 || h->length % 8 || h->length > l->cluster))
		return qcow2_wrong(l, e, "a header of %u bytes, expected a multiple of 8 from %u to a cluster of %u", h->length,
				   QCOW2_HEADER_3, l->cluster);
	if (h->order > QCOW2_ORDER_MAX)
		return qcow2_wrong(l, e, "refcounts of 2^%u bits, expected 2^0 to 2^%u", h->order, QCOW2_ORDER_MAX);
	if (!h->size || h->size % IMAGE_SECTOR || h->size > 1ull << 61)
		return qcow2_wrong(l, e, "a size of %llu bytes, expected whole sectors of 512, at least one and at most 2^61 bytes of them",
				   (unsigned long long)h->size);
	l->guest_clusters = (h->size + l->cluster - 1) >> h->bits;
	return 0;
}

/* --- where things are --- */

static int check_place(const struct qcow2_layout *l, uint64_t at, uint64_t len, const char *what, struct err *e)
{
	if (at % l->cluster || !at)
		return qcow2_wrong(l, e, "its %s at byte %llu, expected a whole cluster of %u behind the first", what, (unsigned long long)at,
				   l->cluster);
	if (at > l->file_size || len > l->file_size - at)
		return qcow2_wrong(l, e, "its %s, %llu bytes at byte %llu, expected all of it in the file, which has %llu", what,
				   (unsigned long long)len, (unsigned long long)at, (unsigned long long)l->file_size);
	return 0;
}

static int check_tables(struct qcow2_layout *l, struct err *e)
{
	const struct qcow2_header *h = &l->h;
	uint64_t l1 = (l->guest_clusters + l->l2_entries - 1) / l->l2_entries;
	int ret;

	if (h->l1_size < l1 || h->l1_size > QCOW2_L1_BYTES / 8)
		return qcow2_wrong(l, e, "an L1 table of %u entries, expected at least the %llu that %llu bytes need, and at most %u", h->l1_size,
				   (unsigned long long)l1, (unsigned long long)h->size, QCOW2_L1_BYTES / 8);
	l->l1_used = (uint32_t)l1;
	if (!h->table_clusters || (uint64_t)h->table_clusters << h->bits > QCOW2_TABLE_BYTES)
		return qcow2_wrong(l, e, "a refcount table of %u clusters, expected at least one, and at most %u bytes of them", h->table_clusters,
				   QCOW2_TABLE_BYTES);
	if (h->snapshots > QCOW2_SNAPSHOTS_MAX)
		return qcow2_wrong(l, e, "%u internal snapshots, expected at most %u", h->snapshots, QCOW2_SNAPSHOTS_MAX);
	ret = check_place(l, h->l1_at, h->l1_size * 8ull, "L1 table", e);
	if (!ret)
		ret = check_place(l, h->table_at, 8, "refcount table", e);
	if (!ret && h->snapshots)
		ret = check_place(l, h->snapshots_at, h->snapshots * 40ull, "snapshot table", e);
	return ret;
}

/* --- extensions --- */

static int extension(struct qcow2_layout *l, uint32_t type, const uint8_t *p, uint32_t len, struct err *e)
{
	struct qcow2_header *h = &l->h;

	switch (type) {
	case QCOW2_EXT_BACKING_FORMAT:
		if (len >= sizeof(h->backing_format))
			return qcow2_wrong(l, e, "a backing format of %u letters, expected at most %zu", len, sizeof(h->backing_format) - 1);
		memcpy(h->backing_format, p, len);
		h->backing_format[len] = '\0';
		return 0;
	case QCOW2_EXT_BITMAPS:
		if (len != 24)
			return qcow2_wrong(l, e, "a bitmaps extension of %u bytes, expected 24", len);
		h->bitmaps_size = get64(p + 8);
		h->bitmaps_at = get64(p + 16);
		return 0;
	default: return 0;
	}
}

static int extensions(struct qcow2_layout *l, const uint8_t *p, uint32_t end, struct err *e)
{
	uint32_t at = l->h.length, type, len;
	int ret = 0;

	while (!ret && at + 8 <= end) {
		type = get32(p + at);
		len = get32(p + at + 4);
		at += 8;
		if (type == QCOW2_EXT_END)
			return 0;
		if (len > end - at)
			return qcow2_wrong(l, e, "a header extension of %u bytes at byte %u, expected all of it before byte %u", len, at - 8, end);
		ret = extension(l, type, p + at, len, e);
		at += (len + 7) / 8 * 8;
	}
	return ret;
}

static int read_extensions(struct qcow2_layout *l, int fd, struct err *e)
{
	struct qcow2_header *h = &l->h;
	uint32_t end = l->cluster;
	uint8_t *p;
	int ret;

	if (h->backing_at) {
		if (!h->backing_len || h->backing_len >= QCOW2_NAME_MAX || h->backing_at < h->length || h->backing_at > l->cluster ||
		    h->backing_len > l->cluster - h->backing_at)
			return qcow2_wrong(l, e, "the name of its backing file, %u bytes at byte %llu, expected 1 to %u of them in the first cluster",
					   h->backing_len, (unsigned long long)h->backing_at, QCOW2_NAME_MAX - 1);
		end = (uint32_t)h->backing_at;
	}
	if (end > l->file_size)
		end = (uint32_t)l->file_size;
	p = malloc(l->cluster);
	if (!p)
		return err_set(e, -ENOMEM, "disk %s: no memory", l->path);
	ret = qcow2_read_at(l, fd, p, end, 0, "header", e);
	if (!ret)
		ret = extensions(l, p, end, e);
	free(p);
	if (!ret && h->backing_at)
		ret = qcow2_read_at(l, fd, h->backing, h->backing_len, h->backing_at, "backing file's name", e);
	return ret;
}

/* --- the door --- */

static int check_magic(struct qcow2_layout *l, struct err *e)
{
	if (l->file_size < QCOW2_HEADER_3 + 8)
		return qcow2_wrong(l, e, "a file of %llu bytes, expected a header and tables", (unsigned long long)l->file_size);
	if (get32(l->head) != QCOW2_MAGIC)
		return qcow2_wrong(l, e, "no header at its start, expected 'QFI\\xfb'");
	header_get(l->head, &l->h);
	if (l->h.version != 2 && l->h.version != 3)
		return qcow2_wrong(l, e, "version %u, expected 2 or 3", l->h.version);
	return 0;
}

int qcow2_layout_read(int fd, const char *path, struct qcow2_layout *l, struct err *e)
{
	struct stat st;
	ssize_t n;
	int ret;

	*l = (struct qcow2_layout){ .path = path };
	if (fstat(fd, &st))
		return err_errno(e, "disk %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "disk %s: a qcow2 in something that is no file, expected a regular file", path);
	l->file_size = (uint64_t)st.st_size;
	if (posix_memalign((void **)&l->head, IMAGE_ALIGN, IMAGE_SECTOR)) {
		l->head = NULL;
		return err_set(e, -ENOMEM, "disk %s: no memory", path);
	}
	memset(l->head, 0, IMAGE_SECTOR);
	n = image_pread(fd, l->head, IMAGE_SECTOR, 0);
	if (n < 0)
		return err_set(e, (int)n, "disk %s: qcow2: reading its header: %s", path, strerror((int)-n));
	ret = check_magic(l, e);
	if (!ret)
		ret = check_features(l, e);
	if (!ret)
		ret = check_sizes(l, e);
	if (!ret)
		ret = check_tables(l, e);
	return ret ? ret : read_extensions(l, fd, e);
}

void qcow2_layout_end(struct qcow2_layout *l)
{
	free(l->head);
	l->head = NULL;
}
