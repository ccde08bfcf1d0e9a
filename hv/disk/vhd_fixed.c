/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd_fixed - an image without tables is a raw disk with a footer behind it, so it is opened as that, and costs what
 * raw costs.  Only where the storage takes larger units than sectors of 512 bytes is it an image (hv/disk/image.h), all
 * of it in one place: every VHD has sectors of 512 bytes, wherever it lies, for its guest and for those made from it.
 */
#include "hv/disk/plain.h"
#include "hv/disk/vhd_int.h"

#include <errno.h>

/* The last unit would reach into the footer, and behind it: then the file would not end with it any more. */
static int check_end(const struct block_open_args *a, uint64_t size, uint32_t unit, struct err *e)
{
	if (a->readonly || size % unit == 0)
		return 0;
	return err_set(e, -EINVAL, "disk %s: VHD: fixed, of %llu bytes; expected a multiple of the %u bytes that its storage takes at once "
				   "without the page cache, or `direct: false`",
		       a->path, (unsigned long long)size, unit);
}

int vhd_fixed_open(const struct block_open_args *a, const struct vhd_layout *l, struct block **out, struct err *e)
{
	const struct block_format *below = a->below ? a->below : &block_raw;
	struct block_open_args inner = *a;
	uint64_t size = l->footer.size;
	int ret;

	inner.inner = true;
	ret = below->open(&inner, out, e);
	if (ret)
		return ret;
	if ((*out)->sector == VHD_SECTOR) {
		(*out)->format = below;
		(*out)->size = size;
		return 0;
	}
	ret = check_end(a, size, (*out)->sector, e);
	below->close(*out);
	*out = NULL;
	if (!ret)
		ret = plain_image_open(a, out, e);
	if (!ret)
		(*out)->size = size;
	return ret;
}
