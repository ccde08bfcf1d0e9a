/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_check - all tables of an image walked through, and each reference to a cluster counted (qcow2.h).
 *
 * Then the counts of the image are held against these.  More than there are references is a leak; less is wrong: whoever takes
 * a cluster that is called free would write over what is in use.
 */
#include "hv/disk/qcow2_int.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 20u /* that are told */

struct walk {
	struct qcow2_layout l;
	int fd;
	uint64_t clusters; /* of the file */
	uint32_t *seen;    /* references to each */
	uint64_t *buf;     /* an L2 table */
	uint64_t told;
	struct qcow2_checked *out;
	void (*tell)(void *arg, const char *line);
	void *arg;
	struct err *e;
};

static void wrong(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void wrong(struct walk *w, const char *fmt, ...)
{
	char line[200];
	va_list ap;

	w->out->wrong++;
	if (!w->tell || w->told++ >= LINES_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	w->tell(w->arg, line);
}

static int no_memory(const struct walk *w)
{
	return err_set(w->e, -ENOMEM, "disk %s: no memory to check it", w->l.path);
}

/* --- references --- */

/* @len bytes at @at are referred to by @what; false: they cannot be. */
static bool refer(struct walk *w, uint64_t at, uint64_t len, bool whole, const char *what, uint64_t which)
{
	uint64_t first = at >> w->l.h.bits, last = (at + len - 1) >> w->l.h.bits;

	if (!len)
		return true;
	if (whole && at % w->l.cluster) {
		wrong(w, "%s %llu at byte %llu, expected a whole cluster of %u", what, (unsigned long long)which, (unsigned long long)at,
		      w->l.cluster);
		return false;
	}
	if (last >= w->clusters || last < first) {
		wrong(w, "%s %llu, %llu bytes at byte %llu, expected all of it in the file, which has %llu", what, (unsigned long long)which,
		      (unsigned long long)len, (unsigned long long)at, (unsigned long long)w->l.file_size);
		return false;
	}
	for (; first <= last; first++)
		w->seen[first] += w->seen[first] != UINT32_MAX;
	return true;
}

/* What lies behind the end of the file is 0. */
static int get(const struct walk *w, void *buf, size_t len, uint64_t at)
{
	ssize_t n = image_pread(w->fd, buf, len, at);

	if (n < 0)
		return err_set(w->e, (int)n, "disk %s: qcow2: reading a table at byte %llu: %s", w->l.path, (unsigned long long)at,
			       strerror((int)-n));
	memset((uint8_t *)buf + n, 0, len - (size_t)n);
	return 0;
}

/* --- L1 and L2 --- */

static void check_entry(struct walk *w, uint64_t guest, uint64_t entry, bool active)
{
	uint64_t place = entry & QCOW2_PLACE, at;
	uint32_t len, skip;

	if (entry & QCOW2_ZIP) {
		if (!qcow2_zip_span(&w->l, entry, &at, &len, &skip))
			wrong(w, "compressed cluster %llu lies behind 2^56 bytes", (unsigned long long)guest);
		else
			refer(w, at, len, false, "compressed cluster", guest);
	} else if (entry & ~(QCOW2_PLACE | QCOW2_COPIED | (w->l.h.version >= 3 ? QCOW2_ZERO : 0)) ||
		   (!place && (entry & QCOW2_COPIED))) {
		wrong(w, "cluster %llu has the entry 0x%016llx, expected no bits that mean nothing", (unsigned long long)guest,
		      (unsigned long long)entry);
	} else if (place) {
		refer(w, place, w->l.cluster, true, "cluster", guest);
	}
	if (active && entry && !(entry == QCOW2_ZERO && w->l.h.version >= 3) && guest < w->l.guest_clusters)
		w->out->allocated++;
}

static int check_l2(struct walk *w, uint64_t first, uint64_t at, bool active)
{
	int ret = get(w, w->buf, w->l.cluster, at);

	for (uint32_t i = 0; !ret && i < w->l.l2_entries; i++)
		if (w->buf[i])
			check_entry(w, first + i, be64toh(w->buf[i]), active);
	return ret;
}

static int check_l1(struct walk *w, uint64_t at, uint32_t size, bool active, uint64_t which)
{
	uint64_t *l1, place;
	int ret;

	if (!refer(w, at, size * 8ull, true, active ? "L1 table" : "L1 table of snapshot", which) || !size)
		return 0;
	l1 = malloc(size * 8ull);
	if (!l1)
		return no_memory(w);
	ret = get(w, l1, size * 8ull, at);
	for (uint32_t i = 0; !ret && i < size; i++) {
		place = be64toh(l1[i]) & QCOW2_PLACE;
		if ((be64toh(l1[i]) & QCOW2_L1_RESERVED) || (!place && l1[i]))
			wrong(w, "L1 entry %u is 0x%016llx, expected no bits that mean nothing", i, (unsigned long long)be64toh(l1[i]));
		if (place && refer(w, place, w->l.cluster, true, "L2 table", i))
			ret = check_l2(w, (uint64_t)i * w->l.l2_entries, place, active);
	}
	free(l1);
	return ret;
}

/* --- snapshots and bitmaps --- */

static uint64_t big(const uint8_t *p, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | *p++;
	return v;
}

/* [QCOW2], Snapshots */
static int check_snapshots(struct walk *w)
{
	uint64_t at = w->l.h.snapshots_at, end;
	uint8_t p[40];
	int ret = 0;

	for (uint32_t i = 0; !ret && i < w->l.h.snapshots; i++) {
		ret = get(w, p, sizeof(p), at);
		end = at + 40 + big(p + 36, 4) + big(p + 12, 2) + big(p + 14, 2);
		at = (end + 7) / 8 * 8;
		if (at > w->l.file_size || at - w->l.h.snapshots_at > QCOW2_SNAPSHOTS_BYTES || big(p + 8, 4) > QCOW2_L1_BYTES / 8) {
			wrong(w, "snapshot %u: its entry, or its L1 table of %llu entries, is larger than can be", i, (unsigned long long)big(p + 8, 4));
			return ret;
		}
		if (!ret)
			ret = check_l1(w, big(p, 8), (uint32_t)big(p + 8, 4), false, i);
	}
	refer(w, w->l.h.snapshots_at, at - w->l.h.snapshots_at, true, "snapshot table", 0);
	return ret;
}

static int check_bitmap(struct walk *w, uint64_t at, uint32_t size, uint64_t which)
{
	uint64_t entry;
	int ret = 0;

	if (!refer(w, at, size * 8ull, true, "table of bitmap", which))
		return 0;
	for (uint32_t i = 0; !ret && i < size; i++) {
		ret = get(w, &entry, 8, at + i * 8ull);
		entry = be64toh(entry) & QCOW2_PLACE;
		if (!ret && entry)
			refer(w, entry, w->l.cluster, true, "part of bitmap", which);
	}
	return ret;
}

/* [QCOW2], Bitmaps; without their autoclear bit they are nobody's. */
static int check_bitmaps(struct walk *w)
{
	uint64_t at = w->l.h.bitmaps_at, end = at + w->l.h.bitmaps_size;
	uint8_t p[24];
	int ret = 0;

	if (!w->l.h.bitmaps_size || !(w->l.h.autoclear & 1) || !refer(w, at, w->l.h.bitmaps_size, true, "directory of bitmaps", 0))
		return 0;
	for (uint64_t i = 0; !ret && at + 24 <= end; i++) {
		ret = get(w, p, sizeof(p), at);
		if (!ret)
			ret = check_bitmap(w, big(p, 8), (uint32_t)big(p + 8, 4), i);
		at = (at + 24 + big(p + 18, 2) + big(p + 20, 4) + 7) / 8 * 8;
	}
	return ret;
}

/* --- counts --- */

/* Blocks refer to themselves, or to each other: all of them come before the counts are held against anything. */
static int check_table(struct walk *w, uint64_t *table, uint32_t entries)
{
	int ret = get(w, table, entries * 8ull, w->l.h.table_at);

	if (!refer(w, w->l.h.table_at, (uint64_t)w->l.h.table_clusters << w->l.h.bits, true, "refcount table", 0))
		return ret;
	for (uint32_t i = 0; !ret && i < entries; i++)
		if (table[i] && !refer(w, be64toh(table[i]), w->l.cluster, true, "refcount block", i))
			table[i] = 0;
	return ret;
}

static void compare(struct walk *w, uint64_t host, uint64_t count)
{
	uint32_t seen = host < w->clusters ? w->seen[host] : 0;

	if (count > seen)
		w->out->leaks++;
	else if (count < seen)
		wrong(w, "cluster %llu of the file is referred to %u times, but counted %llu", (unsigned long long)host, seen,
		      (unsigned long long)count);
	if (host < w->clusters)
		w->seen[host] = count > 1 ? 2 : (uint32_t)count; /* for check_copied() */
}

static int compare_all(struct walk *w, const uint64_t *table, uint32_t entries)
{
	uint64_t per_block = w->l.cluster * 8ull >> w->l.h.order;
	uint8_t *block = (uint8_t *)w->buf;
	int ret = 0;

	for (uint64_t b = 0; !ret && (b < entries || b * per_block < w->clusters); b++) {
		bool has = b < entries && table[b];

		if (!has && b * per_block >= w->clusters)
			continue;
		memset(block, 0, w->l.cluster);
		if (has)
			ret = get(w, block, w->l.cluster, be64toh(table[b]));
		for (uint64_t i = 0; !ret && i < per_block; i++)
			compare(w, b * per_block + i, qcow2_refs_count(block, (uint32_t)i, w->l.h.order));
	}
	return ret;
}

/* --- who says that it is referred to once --- */

/* Who believes that writes in place.  That nobody says so of what is counted once costs a copy, and no more. */
static void check_copied(struct walk *w, uint64_t entry, const char *what, uint64_t which)
{
	uint64_t place = entry & QCOW2_PLACE;

	if (!(entry & QCOW2_COPIED) || (entry & QCOW2_ZIP) || place >> w->l.h.bits >= w->clusters || w->seen[place >> w->l.h.bits] == 1)
		return;
	wrong(w, "%s %llu says that it is referred to once, but it is counted otherwise", what, (unsigned long long)which);
}

static int check_flags(struct walk *w)
{
	uint64_t l1, place;
	int ret = 0;

	for (uint32_t i = 0; !ret && i < w->l.h.l1_size; i++) {
		ret = get(w, &l1, 8, w->l.h.l1_at + i * 8ull);
		l1 = be64toh(l1);
		place = l1 & QCOW2_PLACE;
		check_copied(w, l1, "L2 table", i);
		if (!place || place % w->l.cluster || place >> w->l.h.bits >= w->clusters)
			continue;
		if (!ret)
			ret = get(w, w->buf, w->l.cluster, place);
		for (uint32_t k = 0; !ret && k < w->l.l2_entries; k++)
			check_copied(w, be64toh(w->buf[k]), "cluster", (uint64_t)i * w->l.l2_entries + k);
	}
	return ret;
}

static int walk_all(struct walk *w)
{
	uint32_t entries = w->l.h.table_clusters * w->l.l2_entries;
	uint64_t *table = malloc(entries * 8ull);
	int ret = table ? check_table(w, table, entries) : no_memory(w);

	refer(w, 0, w->l.cluster, true, "header", 0);
	if (!ret)
		ret = check_l1(w, w->l.h.l1_at, w->l.h.l1_size, true, 0);
	if (!ret && w->l.h.snapshots)
		ret = check_snapshots(w);
	if (!ret)
		ret = check_bitmaps(w);
	if (!ret)
		ret = compare_all(w, table, entries);
	if (!ret)
		ret = check_flags(w);
	free(table);
	return ret;
}

int qcow2_check(int fd, const char *path, struct qcow2_checked *out, void (*tell)(void *arg, const char *line), void *arg, struct err *e)
{
	struct walk w = { .fd = fd, .out = out, .tell = tell, .arg = arg, .e = e };
	int ret = qcow2_layout_read(fd, path, &w.l, e);

	*out = (struct qcow2_checked){ 0 };
	if (!ret) {
		out->clusters = w.l.guest_clusters;
		w.clusters = (w.l.file_size + w.l.cluster - 1) >> w.l.h.bits;
		w.seen = calloc(w.clusters, sizeof(*w.seen));
		w.buf = malloc(w.l.cluster);
		ret = w.seen && w.buf ? walk_all(&w) : no_memory(&w);
	}
	free(w.seen);
	free(w.buf);
	qcow2_layout_end(&w.l);
	return ret;
}
