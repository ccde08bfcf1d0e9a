/* SPDX-License-Identifier: Apache-2.0 */
/* block - what is the same for disks of every format (block.h), once they are open. */
#include "hv/disk/block_format.h"

#include <errno.h>
#include <string.h>

void block_close(struct block *b)
{
	if (b)
		b->format->close(b);
}

int block_queue(struct block *b, struct block_req *r)
{
	r->kept = false;
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
	bool kept = false;
	int ret = 0, owed;

	/* Also where something was lost before: what can be saved is, and nothing is under way afterwards. */
	if (!b->readonly)
		ret = b->format->flush(b, &kept);
	if (ret && !kept)
		atomic_store(&b->owed, ret);
	owed = atomic_load(&b->owed);
	ret = owed ? owed : ret;
	return ret ? err_set(e, ret, "disk %s: flush: %s", b->path, strerror(-ret)) : 0;
}

int block_owed(const struct block *b)
{
	return atomic_load(&b->owed);
}

int block_leaves(struct block *b)
{
	int owed = block_owed(b);

	return owed || !b->format->unsaved || !b->format->unsaved(b) ? owed : -EIO;
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
