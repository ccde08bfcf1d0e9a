/* SPDX-License-Identifier: Apache-2.0 */
/* plain - see plain.h: an image whose pieces all lie where they are. */
#include "hv/disk/plain.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int plain_map(struct image *im, struct image_req *r, struct image_extent *x)
{
	x->where = IMAGE_DATA;
	x->file = x->at;
	return 0;
}

static void plain_mapped(struct image *im, struct image_req *r, int ret)
{
}

static bool plain_dirty(const struct image *im)
{
	return false;
}

static void plain_begin(struct image *im)
{
}

static bool plain_write(struct image *im, unsigned int phase, struct image_meta *out)
{
	return false;
}

static void plain_end(struct image *im, int ret)
{
}

static void plain_destroy(struct image *im)
{
	image_exit(im);
	free(im);
}

static const struct image_format plain_ops = {
	.map = plain_map,
	.mapped = plain_mapped,
	.dirty = plain_dirty,
	.unsaved = plain_dirty,
	.begin = plain_begin,
	.write = plain_write,
	.end = plain_end,
	.destroy = plain_destroy,
};

int plain_image_open(const struct block_open_args *a, struct block **out, struct err *e)
{
	struct image *im = calloc(1, sizeof(*im));
	int ret;

	if (!im)
		return err_set(e, -ENOMEM, "disk %s: no memory", a->path);
	ret = image_init(im, &plain_ops, a, e);
	if (ret)
		plain_destroy(im);
	else
		*out = &im->block;
	return ret;
}

/* As raw where that can be: the ring alone, and no copies. #syscalls:main,gate,engine lseek */
static int plain_open(const struct block_open_args *a, struct block **out, struct err *e)
{
	const struct block_format *below = a->below ? a->below : &block_raw;
	struct block_open_args inner = *a;
	off_t end = lseek(a->fd, 0, SEEK_END);
	int ret;

	if (end < 0)
		return err_errno(e, "disk %s: size", a->path);
	if (!end)
		return err_set(e, -EINVAL, "disk %s: is empty", a->path);
	if (a->n_parents)
		return err_set(e, -EINVAL, "disk %s: is raw and has no parent, but %s was given as one", a->path, a->parents[0].path);
	inner.inner = true;
	ret = below->open(&inner, out, e);
	if (ret)
		return ret;
	(*out)->format = below;
	if ((*out)->sector != IMAGE_SECTOR || end % IMAGE_SECTOR) {
		below->close(*out);
		ret = plain_image_open(a, out, e);
	}
	if (!ret)
		(*out)->size = ((uint64_t)end + IMAGE_SECTOR - 1) / IMAGE_SECTOR * IMAGE_SECTOR;
	return ret;
}

const struct block_format block_plain = {
	.name = "plain",
	.open = plain_open,
	IMAGE_BLOCK_HOOKS,
};
