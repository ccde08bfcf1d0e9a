/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd_flush - what of an image's tables is written in which order (image.h has the fdatasyncs between).
 *
 *     data                         the guest's, before all of this
 *     0  the footer's copy         only where it is damaged: the footer that was good may be overwritten next
 *     1  footer, bitmaps           a new block's bitmap is where the old footer was; its copy is good meanwhile
 *     2  block table               of new blocks, which are all there now
 *
 * A bitmap before its data would show zeroes where the parent had something; a table before its bitmaps would
 * show whatever lay there; a table before the footer, a block behind the end of the file.
 */
#include "hv/disk/vhd_int.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#define PER_SECTOR (VHD_SECTOR / 4u)

bool vhd_dirty(const struct image *im)
{
	const struct vhd_image *v = (const struct vhd_image *)im;

	return v->n_dirty || v->going || v->footer_end != v->l.end || v->l.head_lost;
}

/* A footer that is missing or out of place is nobody's data: its copy at the start is good. */
bool vhd_unsaved(const struct image *im)
{
	const struct vhd_image *v = (const struct vhd_image *)im;

	return v->n_dirty || v->going;
}

/* --- what is written --- */

static void bitmap_goes(struct vhd_bitmap *m)
{
	struct vhd_image *v = m->v;

	memcpy(m->going, m->bits, v->l.bitmap_size);
#ifdef MUTANT_NO_SNAPSHOT
	m->going = m->bits;
#endif
	m->dirty = false;
	v->n_dirty--;
	m->is_going = true;
	m->was_fresh = m->fresh;
	if (!m->fresh)
		return;
	m->fresh = false;
	v->l.bat_disk[m->block] = htobe32(v->l.bat[m->block]);
	vhd_bit_set(v->sectors, m->block / PER_SECTOR);
}

void vhd_flush_begin(struct image *im)
{
	struct vhd_image *v = vhd_of(im);

	assert(!v->going);
	for (unsigned int i = 0; i < v->n_maps; i++)
		if (v->maps[i].dirty)
			bitmap_goes(&v->maps[i]);
	v->going = true;
	v->end_goes = v->l.end;
	v->footer_written = v->end_goes == v->footer_end;
#ifdef MUTANT_FOOTER_STAYS
	v->footer_written = true;
#endif
	v->copy_written = !v->l.head_lost;
	v->next_map = 0;
	v->next_sector = 0;
}

static bool write_footer(struct vhd_image *v, uint64_t at, bool *written, struct image_meta *out)
{
	if (*written)
		return false;
	*written = true;
	*out = (struct image_meta){ at, v->footer, VHD_FOOTER_SIZE };
	return true;
}

static bool write_bitmap(struct vhd_image *v, struct image_meta *out)
{
	while (v->next_map < v->n_maps) {
		struct vhd_bitmap *m = &v->maps[v->next_map++];

		if (m->is_going) {
			*out = (struct image_meta){ (uint64_t)v->l.bat[m->block] * VHD_SECTOR, m->going, v->l.bitmap_size };
			return true;
		}
	}
	return false;
}

static bool write_table(struct vhd_image *v, struct image_meta *out)
{
	while (v->next_sector < vhd_bat_sectors(&v->l)) {
		uint32_t i = v->next_sector++;

		if (vhd_bit(v->sectors, i)) {
			*out = (struct image_meta){ v->l.header.table_at + i * (uint64_t)VHD_SECTOR,
						    v->l.bat_disk + i * PER_SECTOR, VHD_SECTOR };
			return true;
		}
	}
	return false;
}

bool vhd_flush_write(struct image *im, unsigned int phase, struct image_meta *out)
{
	struct vhd_image *v = vhd_of(im);

#ifdef MUTANT_BAT_FIRST
	phase = phase == 1 ? 2 : phase == 2 ? 1 :
					      phase;
#endif
	switch (phase) {
	case 0: return write_footer(v, 0, &v->copy_written, out);
	case 1: return write_footer(v, vhd_footer_place(v->end_goes), &v->footer_written, out) || write_bitmap(v, out);
	case 2: return write_table(v, out);
	default: return false;
	}
}

/* --- the end --- */

/* What of it is on the disk nobody knows: all of it will be written again. */
static void bitmap_back(struct vhd_bitmap *m)
{
	m->fresh |= m->was_fresh;
	vhd_bitmap_dirty(m);
}

void vhd_flush_end(struct image *im, int ret)
{
	struct vhd_image *v = vhd_of(im);

	for (unsigned int i = 0; i < v->n_maps; i++) {
		struct vhd_bitmap *m = &v->maps[i];

		if (m->is_going && ret)
			bitmap_back(m);
		m->is_going = false;
	}
	v->going = false;
	if (ret) {
		v->footer_end = UINT64_MAX;
		return;
	}
	memset(v->sectors, 0, (vhd_bat_sectors(&v->l) + 7) / 8);
	v->footer_end = v->end_goes;
	v->l.head_lost = false;
}
