/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd - the format's row: an image opened and closed.
 *
 * Those with tables; fixed ones are opened by vhd_fixed.c.
 * Nothing is written by opening: whoever opens may not own the disk yet.
 */
#include "hv/disk/vhd_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void vhd_destroy(struct image *im)
{
	struct vhd_image *v = vhd_of(im);

	image_exit(im);
	vhd_bitmaps_exit(v);
	vhd_read_end(&v->l);
	free(v->sectors);
	free(v->full);
	free(v->footer);
	free(v);
}

static const struct image_format vhd_ops = {
	.map = vhd_map,
	.mapped = vhd_mapped,
	.dirty = vhd_dirty,
	.unsaved = vhd_unsaved,
	.begin = vhd_flush_begin,
	.write = vhd_flush_write,
	.end = vhd_flush_end,
	.destroy = vhd_destroy,
};

static int take_tables(struct vhd_image *v, struct err *e)
{
	struct vhd_layout *l = &v->l;

	v->full = calloc(1, (l->blocks + 7) / 8);
	v->sectors = calloc(1, (vhd_bat_sectors(l) + 7) / 8);
	if (posix_memalign((void **)&v->footer, IMAGE_ALIGN, VHD_FOOTER_SIZE))
		v->footer = NULL;
	if (!v->full || !v->sectors || !v->footer || vhd_bitmaps_init(v))
		return err_set(e, -ENOMEM, "disk %s: no memory for its tables", l->path);
	memcpy(v->footer, l->footer_bytes, VHD_FOOTER_SIZE);
	return 0;
}

/*
 * Where only larger units can be written, the last of them may hold the footer and reach behind it: it is put at
 * the end of a unit with the first flush.
 */
static bool footer_stays(const struct vhd_image *v)
{
	return !v->l.footer_lost && v->l.file_size % v->image.inner->sector == 0;
}

static int tables_open(const struct block_open_args *a, struct vhd_layout *l, struct block **out, struct err *e)
{
	struct vhd_image *v = calloc(1, sizeof(*v));
	int ret;

	if (!v) {
		vhd_read_end(l);
		return err_set(e, -ENOMEM, "disk %s: no memory", a->path);
	}
	v->l = *l;
	ret = image_init(&v->image, &vhd_ops, a, e);
	if (!ret)
		ret = take_tables(v, e);
	if (!ret && l->footer.kind == VHD_DIFFERENCING)
		ret = vhd_parent_open(v, a, e);
	if (ret) {
		vhd_destroy(&v->image);
		return ret;
	}
	v->image.block.size = l->footer.size;
	v->footer_end = footer_stays(v) ? l->end : UINT64_MAX;
	*out = &v->image.block;
	return 0;
}

static int vhd_open(const struct block_open_args *a, struct block **out, struct err *e)
{
	struct vhd_layout l;
	int ret = vhd_read(a->fd, a->path, &l, e);

	if (!ret && a->n_parents && l.footer.kind != VHD_DIFFERENCING)
		ret = err_set(e, -EINVAL, "disk %s: VHD: has no parent, but %s was given as one", a->path, a->parents[0].path);
	if (!ret && l.footer.kind != VHD_FIXED)
		return tables_open(a, &l, out, e);
	if (!ret)
		ret = vhd_fixed_open(a, &l, out, e);
	vhd_read_end(&l);
	return ret;
}

const struct block_format block_vhd = {
	.name = "vhd",
	.open = vhd_open,
	IMAGE_BLOCK_HOOKS,
};
