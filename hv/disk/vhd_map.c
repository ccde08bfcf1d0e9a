/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd_map - where a guest's bytes lie in a dynamic or differencing image.
 *
 * A block gets its place when it is first written to, behind all others.  There the file has never been written,
 * so what is not written now reads as zeroes.  The place is in memory at once, and on the disk with the next flush.
 *
 *     dynamic        all bits of a new block's bitmap are set: its zeroes are as good as data.  Reads do not look at
 *                    bitmaps at all: "all sectors within a block whose bits are zero must contain zeroes"
 *     differencing   a bit is set when its sector has arrived, not before: until then a reader must find the parent's
 */
#include "hv/disk/vhd_int.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static bool is_read(const struct image_req *r)
{
	return r->guest->op == BLOCK_READ;
}

static bool differs(const struct vhd_image *v)
{
	return v->l.footer.kind == VHD_DIFFERENCING;
}

static void data_at(const struct vhd_image *v, uint32_t block, struct image_extent *x)
{
	x->where = IMAGE_DATA;
	x->file = (uint64_t)v->l.bat[block] * VHD_SECTOR + v->l.bitmap_size + x->at % v->l.header.block_size;
}

/* The block's bitmap, for @r to wait for or to use.  *@out is NULL: it has to wait. */
static int get_bitmap(struct vhd_image *v, struct image_req *r, struct image_extent *x, uint32_t block, bool fresh,
		      struct vhd_bitmap **out)
{
	int ret = vhd_bitmap_get(v, block, fresh, out);

	if (!ret && !(*out)->loading)
		return 0;
	if (!ret)
		x->where = IMAGE_WAIT;
	else if (ret == -EAGAIN)
		ret = image_wait_for_flush(&v->image, r, x);
	*out = NULL;
	return ret;
}

static void hold(struct image_req *r, struct vhd_bitmap *m)
{
	m->users++;
	r->held = m;
}

/* --- reading --- */

static int map_read(struct vhd_image *v, struct image_req *r, struct image_extent *x, uint32_t block)
{
	uint64_t first = x->at % v->l.header.block_size / VHD_SECTOR;
	struct vhd_bitmap *m;
	bool set;
	int ret;

	if (!differs(v) || vhd_bit(v->full, block)) {
		data_at(v, block, x);
		return 0;
	}
	ret = get_bitmap(v, r, x, block, false, &m);
	if (ret || !m)
		return ret;
	x->len = vhd_bitmap_run(m, first, x->len / VHD_SECTOR, &set) * VHD_SECTOR;
	if (set)
		data_at(v, block, x);
	else
		x->where = IMAGE_PARENT;
	return 0;
}

/* --- writing --- */

/* So that data lies on whole 4 KiB; the footer's place is in front of that, in the bitmap or in the gap before it. */
static uint64_t next_place(const struct vhd_layout *l)
{
	return (l->end + l->bitmap_size + IMAGE_ALIGN - 1) / IMAGE_ALIGN * IMAGE_ALIGN - l->bitmap_size;
}

static int place_block(struct vhd_image *v, uint32_t block, struct vhd_bitmap *m)
{
	struct vhd_layout *l = &v->l;
	uint64_t at = next_place(l);

	if (at / VHD_SECTOR >= VHD_NO_BLOCK)
		return -ENOSPC;
	l->bat[block] = (uint32_t)(at / VHD_SECTOR);
	l->end = at + l->bitmap_size + l->header.block_size;
	l->allocated++;
	m->fresh = true;
	vhd_bitmap_dirty(m);
	if (!differs(v))
		vhd_bitmap_fill(m, 0, l->header.block_size / VHD_SECTOR);
	return 0;
}

static int map_write(struct vhd_image *v, struct image_req *r, struct image_extent *x, uint32_t block)
{
	bool fresh = v->l.bat[block] == VHD_NO_BLOCK;
	struct vhd_bitmap *m = NULL;
	int ret = 0;

	/* The footer at the end will be out of place with the first block: its copy must be good before. */
	if (fresh && v->l.head_lost)
		return image_wait_for_flush(&v->image, r, x);
	if (fresh || !vhd_bit(v->full, block)) {
		ret = get_bitmap(v, r, x, block, fresh, &m);
		if (ret || !m)
			return ret;
	}
	if (fresh)
		ret = place_block(v, block, m);
	if (ret)
		return ret;
	if (m)
		hold(r, m);
#ifdef MUTANT_BITS_EARLY
	if (m)
		vhd_bitmap_fill(m, x->at % v->l.header.block_size / VHD_SECTOR, x->len / VHD_SECTOR);
#endif
	data_at(v, block, x);
	return 0;
}

int vhd_map(struct image *im, struct image_req *r, struct image_extent *x)
{
	struct vhd_image *v = vhd_of(im);
	uint32_t size = v->l.header.block_size, block = (uint32_t)(x->at / size);
	uint64_t left = size - x->at % size;
	bool placed = v->l.bat[block] != VHD_NO_BLOCK;

	assert(block < v->l.blocks);
	if (x->len > left)
		x->len = left;
	switch (r->guest->op) {
	case BLOCK_READ:
		if (placed)
			return map_read(v, r, x, block);
		x->where = differs(v) ? IMAGE_PARENT : IMAGE_ZEROES;
		return 0;
	case BLOCK_ZERO:
		if (placed || differs(v))
			return map_write(v, r, x, block);
		break;
	case BLOCK_WRITE:
		return map_write(v, r, x, block);
	default: /* BLOCK_DISCARD: the block keeps its place, the file system has the rest */
		if (placed) {
			data_at(v, block, x);
			return 0;
		}
	}
	x->where = IMAGE_ZEROES;
	return 0;
}

void vhd_mapped(struct image *im, struct image_req *r, int ret)
{
	struct vhd_image *v = vhd_of(im);
	struct vhd_bitmap *m = r->held;

	if (!m)
		return;
	assert(!is_read(r) && m->users);
	r->held = NULL;
	m->users--;
	if (!ret && !vhd_bit(v->full, m->block))
		vhd_bitmap_fill(m, r->x.at % v->l.header.block_size / VHD_SECTOR, r->x.len / VHD_SECTOR);
}
