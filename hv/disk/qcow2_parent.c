/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_parent - what an image lies on.
 *
 * Which file that is the domain's file says: the name in the header is text from a file, and never opened.  Its format is
 * what the header says, for that is how the image was made; where it says nothing, nobody looks what it might be, for the
 * guest of a raw disk writes there what it likes.
 */
#include "hv/disk/qcow2_int.h"

#include <errno.h>
#include <string.h>

static int parent_format(const struct qcow2_layout *l, const char **out, struct err *e)
{
	const struct qcow2_header *h = &l->h;

	*out = qcow2_format_name(h->backing_format);
	if (*out)
		return 0;
	if (!h->backing_format[0])
		return qcow2_wrong(l, e, "does not say of what format its parent '%.200s' is, and nobody guesses; say it: qemu-img rebase -u -F "
					 "raw|qcow2|vpc -b PARENT IMAGE",
				   h->backing);
	return qcow2_wrong(l, e, "its parent is of the format '%s', expected raw, qcow2 or vpc", h->backing_format);
}

int qcow2_parent_open(struct qcow2_image *q, const struct block_open_args *a, struct err *e)
{
	struct block_open_args up = *a;
	const char *format;
	int ret;

	if (!q->l.h.backing_at && a->n_parents)
		return qcow2_wrong(&q->l, e, "has no parent, but %s was given as one", a->parents[0].path);
	if (!q->l.h.backing_at)
		return 0;
	if (!a->n_parents)
		return err_set(e, -ENOENT, "disk %s: qcow2: differs from a parent, '%.200s', which was not given", a->path, q->l.h.backing);
	up.fd = a->parents[0].fd;
	up.path = a->parents[0].path;
	up.readonly = true;
	up.parents = a->parents + 1;
	up.n_parents = a->n_parents - 1;
	up.event_fd = &q->image.block.event_fd;
	ret = image_check_parents(a, "qcow2", e);
	if (!ret)
		ret = parent_format(&q->l, &format, e);
	return ret ? ret : block_open_on(strcmp(format, "raw") ? format : "plain", &up, &q->image.parent, e);
}
