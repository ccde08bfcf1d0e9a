/* SPDX-License-Identifier: Apache-2.0 */
/* block - what is the same for disks of every format (block.h); the formats are rows of a table. */
#include "hv/disk/block_format.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const struct block_format *const formats[] = { &block_raw };

static const struct block_format *find(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!strcmp(formats[i]->name, name))
			return formats[i];
	return NULL;
}

int block_open(const char *format, int fd, const char *path, bool readonly, bool direct, unsigned int depth,
	       struct block **out, struct err *e)
{
	struct block_open_args a = { .fd = fd, .path = path, .readonly = readonly, .direct = direct, .depth = depth };
	const struct block_format *f = find(format);
	int ret;

	if (!f)
		return err_set(e, -EINVAL, "disk %s: format '%s', expected raw", path, format);
	assert(fd >= 0 && depth && !(depth & (depth - 1)));
	ret = f->open(&a, out, e);
	if (ret)
		return ret;
	(*out)->format = f;
	(*out)->path = path;
	(*out)->readonly = readonly;
	return 0;
}

void block_close(struct block *b)
{
	if (b)
		b->format->close(b);
}

int block_queue(struct block *b, struct block_req *r)
{
	if (r->op == BLOCK_FLUSH)
		return b->format->queue(b, r);
	if (b->readonly && r->op != BLOCK_READ)
		return -EROFS;
	if (!r->len || r->offset % b->sector || r->len % b->sector || r->offset > b->size ||
	    r->len > b->size - r->offset)
		return -EINVAL;
	return b->format->queue(b, r);
}

void block_kick(struct block *b)
{
	b->format->kick(b);
}

void block_reap(struct block *b)
{
	b->format->reap(b);
}

int block_flush_result(struct block *b, int res)
{
	int owed = atomic_exchange(&b->owed, 0);

	return res < 0 ? res : owed;
}

int block_flush(struct block *b, struct err *e)
{
	int owed = atomic_load(&b->owed);

	if (!owed && !b->readonly) {
		owed = b->format->flush(b);
		if (owed)
			atomic_store(&b->owed, owed);
	}
	return owed ? err_set(e, owed, "disk %s: flush: %s", b->path, strerror(-owed)) : 0;
}

int block_owed(const struct block *b)
{
	return atomic_load(&b->owed);
}

void block_owe(struct block *b, int error)
{
	atomic_store(&b->owed, error);
}

uint64_t block_size(const struct block *b)
{
	return b->size;
}

uint32_t block_sector_size(const struct block *b)
{
	return b->sector;
}

int block_event_fd(const struct block *b)
{
	return b->event_fd;
}
