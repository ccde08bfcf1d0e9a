/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd_bitmap - the bitmaps of some blocks in memory: those in use, those that are dirty, those used last.
 *
 * How many there are is fixed when the image is opened.  Who finds none free has to wait until the dirty ones are
 * written; so there is never more to write than fits here.
 */
#include "hv/disk/vhd_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- room --- */

int vhd_bitmaps_init(struct vhd_image *v)
{
	size_t size = v->l.bitmap_size;
	unsigned int n = VHD_BITMAPS_BYTES / v->l.bitmap_size;

	n = n > VHD_BITMAPS_MAX ? VHD_BITMAPS_MAX : n;
	v->n_maps = n < VHD_BITMAPS_MIN ? VHD_BITMAPS_MIN : n;
	if (v->n_maps > v->l.blocks)
		v->n_maps = v->l.blocks;
	v->maps = calloc(v->n_maps, sizeof(*v->maps));
	if (!v->maps || posix_memalign(&v->room, IMAGE_ALIGN, 2 * size * v->n_maps))
		return -ENOMEM;
	for (unsigned int i = 0; i < v->n_maps; i++) {
		v->maps[i].v = v;
		v->maps[i].bits = (uint8_t *)v->room + 2 * size * i;
		v->maps[i].going = v->maps[i].bits + size;
	}
	return 0;
}

void vhd_bitmaps_exit(struct vhd_image *v)
{
	free(v->maps);
	free(v->room);
}

static struct vhd_bitmap **bucket(struct vhd_image *v, uint32_t block)
{
	return &v->hash[block % VHD_HASH];
}

static struct vhd_bitmap *find(struct vhd_image *v, uint32_t block)
{
	struct vhd_bitmap *m = *bucket(v, block);

	while (m && m->block != block)
		m = m->next;
	return m;
}

static void forget(struct vhd_bitmap *m)
{
	struct vhd_bitmap **p = bucket(m->v, m->block);

	assert(m->used && !m->users && !m->dirty && !m->is_going && !m->loading);
	while (*p != m)
		p = &(*p)->next;
	*p = m->next;
	m->used = false;
}

/* One that is free, or that has not been used for longest; NULL: each is in use or dirty. */
static struct vhd_bitmap *take(struct vhd_image *v)
{
	struct vhd_bitmap *best = NULL;

	for (unsigned int i = 0; i < v->n_maps; i++) {
		struct vhd_bitmap *m = &v->maps[i];

		if (!m->used)
			return m;
		if (!m->users && !m->dirty && !m->is_going && !m->loading && !m->failed && (!best || m->last < best->last))
			best = m;
	}
	if (best)
		forget(best);
	return best;
}

/* --- bits --- */

uint64_t vhd_bitmap_run(const struct vhd_bitmap *m, uint64_t first, uint64_t n, bool *set)
{
	uint64_t i = first + 1, end = first + n;

	*set = vhd_bit(m->bits, first);
	while (i < end) {
		if (i % 8 == 0 && end - i >= 8 && m->bits[i / 8] == (*set ? 0xff : 0))
			i += 8;
		else if (vhd_bit(m->bits, i) == *set)
			i++;
		else
			break;
	}
	return i - first;
}

/* A block with all bits set needs no bitmap any more to be read or written. */
static void note_full(struct vhd_bitmap *m)
{
	uint64_t sectors = m->v->l.header.block_size / VHD_SECTOR;
	bool set;

	if (vhd_bitmap_run(m, 0, sectors, &set) == sectors && set)
		vhd_bit_set(m->v->full, m->block);
}

/* --- reading --- */

static void loaded(struct image_io *io, int ret)
{
	struct vhd_bitmap *m = (struct vhd_bitmap *)io;
	struct image *im = &m->v->image;

	m->loading = false;
	m->failed = ret;
	if (!ret)
		note_full(m);
	image_wake(im);
	/* Who waited has been told; the next one may try again. */
	if (ret)
		forget(m);
}

static int load(struct vhd_bitmap *m)
{
	struct vhd_image *v = m->v;
	int ret;

	m->iov = (struct iovec){ m->bits, v->l.bitmap_size };
	m->io.req = (struct block_req){
		.op = BLOCK_READ,
		.offset = (uint64_t)v->l.bat[m->block] * VHD_SECTOR,
		.len = v->l.bitmap_size,
		.iov = &m->iov,
		.n_iov = 1,
		.past_end = true, /* its block may be there since a moment ago, and on its way to the disk */
	};
	m->io.done = loaded;
	m->loading = true;
	ret = image_io_start(&v->image, &m->io);
	if (ret) {
		m->loading = false;
		forget(m);
	}
	return ret;
}

int vhd_bitmap_get(struct vhd_image *v, uint32_t block, bool fresh, struct vhd_bitmap **out)
{
	struct vhd_bitmap *m = find(v, block);
	int ret = 0;

	if (!m) {
		m = take(v);
		if (!m)
			return -EAGAIN;
		m->block = block;
		m->used = true;
		m->failed = 0;
		m->fresh = fresh;
		m->next = *bucket(v, block);
		*bucket(v, block) = m;
		if (fresh)
			memset(m->bits, 0, v->l.bitmap_size);
		else
			ret = load(m);
		if (ret)
			return ret;
	}
	m->last = ++v->clock;
	*out = m;
	return m->failed;
}

/* --- changing --- */

void vhd_bitmap_dirty(struct vhd_bitmap *m)
{
	m->v->n_dirty += !m->dirty;
	m->dirty = true;
}

void vhd_bitmap_fill(struct vhd_bitmap *m, uint64_t first, uint64_t n)
{
	bool set;

	if (vhd_bitmap_run(m, first, n, &set) == n && set)
		return;
	for (uint64_t i = first; i < first + n; i++)
		vhd_bit_set(m->bits, i);
	vhd_bitmap_dirty(m);
	note_full(m);
}
