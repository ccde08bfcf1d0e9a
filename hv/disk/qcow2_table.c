/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_table - a table that is in memory as a whole, and is written by sectors: as it was when the flush began. */
#include "hv/disk/qcow2_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PER_SECTOR (IMAGE_SECTOR / 8)

static size_t room(uint32_t entries)
{
	return (entries * 8ull + IMAGE_ALIGN - 1) / IMAGE_ALIGN * IMAGE_ALIGN;
}

int qcow2_table_init(struct qcow2_table *t, uint32_t entries)
{
	t->entries = entries;
	t->n_sectors = (entries + PER_SECTOR - 1) / PER_SECTOR;
	t->now = aligned_alloc(IMAGE_ALIGN, room(entries));
	t->going = aligned_alloc(IMAGE_ALIGN, room(entries));
	t->sectors = calloc(1, t->n_sectors);
	if (!t->now || !t->going || !t->sectors)
		return -ENOMEM;
	memset(t->now, 0, room(entries));
	return 0;
}

void qcow2_table_exit(struct qcow2_table *t)
{
	free(t->now);
	free(t->going);
	free(t->sectors);
	*t = (struct qcow2_table){ 0 };
}

int qcow2_table_grow(struct qcow2_table *t, uint32_t entries)
{
	struct qcow2_table more = { 0 };

	assert(entries >= t->entries);
	if (qcow2_table_init(&more, entries)) {
		qcow2_table_exit(&more);
		return -ENOMEM;
	}
	memcpy(more.now, t->now, t->entries * 8ull);
	memset(more.sectors, QCOW2_IS_DIRTY, more.n_sectors);
	more.dirty = true;
	qcow2_table_exit(t);
	*t = more;
	return 0;
}

void qcow2_table_set(struct qcow2_table *t, uint32_t i, uint64_t entry)
{
	assert(i < t->entries);
	t->now[i] = htobe64(entry);
	t->sectors[i / PER_SECTOR] |= QCOW2_IS_DIRTY;
	t->dirty = true;
}

void qcow2_table_begin(struct qcow2_table *t)
{
	t->next = 0;
	if (!t->dirty)
		return;
	t->dirty = false;
	for (uint32_t i = 0; i < t->n_sectors; i++) {
		if (t->sectors[i] != QCOW2_IS_DIRTY)
			continue;
		memcpy(t->going + (size_t)i * PER_SECTOR, t->now + (size_t)i * PER_SECTOR, IMAGE_SECTOR);
		t->sectors[i] = QCOW2_IS_GOING;
	}
}

bool qcow2_table_next(struct qcow2_table *t, uint64_t at, struct image_meta *out)
{
	while (t->next < t->n_sectors) {
		uint32_t i = t->next++;

		if (!(t->sectors[i] & QCOW2_IS_GOING))
			continue;
		*out = (struct image_meta){ at + (uint64_t)i * IMAGE_SECTOR, t->going + (size_t)i * PER_SECTOR, IMAGE_SECTOR };
		return true;
	}
	return false;
}

void qcow2_table_end(struct qcow2_table *t, int ret)
{
	for (uint32_t i = 0; i < t->n_sectors; i++) {
		if (!(t->sectors[i] & QCOW2_IS_GOING))
			continue;
		t->sectors[i] &= (uint8_t)~QCOW2_IS_GOING;
		if (ret) {
			t->sectors[i] |= QCOW2_IS_DIRTY;
			t->dirty = true;
		}
	}
}
