/* SPDX-License-Identifier: Apache-2.0 */
/* block_open - disks opened; their formats are rows of a table. */
#include "hv/disk/block_format.h"
#include "hv/disk/plain.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

static const struct block_format *const formats[] = { &block_raw, &block_vhd, &block_qcow2, &block_plain };

static const struct block_format *find(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!strcmp(formats[i]->name, name))
			return formats[i];
	return NULL;
}

unsigned int block_ring_depth(const char *format, unsigned int depth)
{
	const struct block_format *f = find(format);

	return f && f->ring_depth ? f->ring_depth(depth) : depth;
}

/*
 * Before anything of it is read: what this host's page cache knows of a block device, or of a file, may be older than
 * what the host wrote that had it last.  O_NONBLOCK would make requests fail that have to wait (disk_lock.c).
 * #syscalls:main,gate,engine fcntl(1=F_GETFL) fcntl(1=F_SETFL)
 */
static int set_flags(const struct block_open_args *a, struct err *e)
{
	int flags = fcntl(a->fd, F_GETFL), want;

	if (flags < 0)
		return err_errno(e, "disk %s", a->path);
	want = (flags & ~(O_DIRECT | O_NONBLOCK)) | (a->direct ? O_DIRECT : 0);
	if (want == flags || !fcntl(a->fd, F_SETFL, want))
		return 0;
	if (errno == EINVAL && a->direct)
		return err_set(e, -EOPNOTSUPP, "disk %s: its file system cannot do without the page cache "
					       "(O_DIRECT)",
			       a->path);
	return err_errno(e, "disk %s: flags", a->path);
}

int block_open_on(const char *format, const struct block_open_args *a, struct block **out, struct err *e)
{
	const struct block_format *f = find(format);
	int ret;

	if (!f)
		return err_set(e, -EINVAL, "disk %s: format '%s', expected raw, vhd or qcow2", a->path, format);
	assert(a->fd >= 0 && a->depth && !(a->depth & (a->depth - 1)));
	ret = set_flags(a, e);
	if (!ret)
		ret = f->open(a, out, e);
	if (ret)
		return ret;
	if (!(*out)->format)
		(*out)->format = f;
	(*out)->path = a->path;
	(*out)->readonly = a->readonly;
	return 0;
}

int block_open(const char *format, int fd, const char *path, bool readonly, bool direct, unsigned int depth,
	       struct block **out, struct err *e)
{
	struct block_open_args a = { .fd = fd, .path = path, .readonly = readonly, .direct = direct, .depth = depth };

	return block_open_on(format, &a, out, e);
}
