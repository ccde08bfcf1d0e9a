/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image - what disk images have in common that keep tables of where a guest's bytes lie.
 *
 * An image is a block (block_format.h) on top of another one, raw over the same open file, so the ring,
 * the copies for O_DIRECT and the tries are raw's.  A request is cut into pieces, one after the other; for
 * each the format says by map() what lies there:
 *
 *     guest ──> image_queue() ──> map() ──> data at this place of the file ──> inner block
 *                    ^              ├─────> zeroes
 *                    │              ├─────> look in the parent ──────────────> block of the parent
 *                    │              ├─────> at hand: it was decompressed
 *                    └── next piece └─────> wait: a table is being read, or there is no room for one
 *
 * Tables are changed in memory, after the data they speak of has arrived, and reach the disk when the guest flushes:
 *
 *     begin()   what is dirty now is what will be written; what comes later is for the next time
 *     fdatasync the data that the tables speak of
 *     phase 0   writes, in any order; then fdatasync
 *     phase 1   writes that say where those of phase 0 are; then fdatasync; and so on
 *     end()
 *
 * So whatever is on the disk speaks only of what is there too, wherever the power goes.  A phase that has
 * nothing to write costs nothing: where no table changed a flush is one fdatasync.  Nothing is written
 * but within a request that the guest waits for: a flush, a durable write, or a write that found no room for a
 * table.  So once nothing is in flight, nothing is written (rule G).
 *
 * Threads: one, that of the disk's device, but for block_flush(), which any may call: it joins those who wait for
 * a flush, under `lock`, and leaves what guests are to be told to the device's thread.
 */
#ifndef DROVER_HV_DISK_IMAGE_H
#define DROVER_HV_DISK_IMAGE_H

#include "hv/disk/block_format.h"

#include <pthread.h>

#define IMAGE_SECTOR 512u /* of every image, whatever its file lies on */
#define IMAGE_META_IOS 8u /* writes of tables at once */
#define IMAGE_ALIGN 4096u /* of buffers and pieces, good for O_DIRECT anywhere */
#define IMAGE_PHASES_MAX 6u

struct image;
struct image_req;

/* The first vectors of a list, cut off where a piece ends. */
struct image_cut {
	unsigned int n;
	struct iovec last; /* as it was */
	size_t used;       /* bytes of it */
};

/* A transfer of the file. */
struct image_io {
	struct block_req req; /* filled as for block_queue(), without done; any whole sectors of the file */
	struct image *im;
	void (*done)(struct image_io *io, int ret);
	/* image_edge.c's */
	struct block_req part;
	struct iovec part_iov;
	struct image_cut cut;
	uint64_t at, left;
	struct iovec *iov;
	unsigned int n_iov;
	struct image_io *next;
};

enum image_where {
	IMAGE_DATA,   /* in the file */
	IMAGE_ZEROES, /* nowhere: reads as zeroes; a write of zeroes, or a discard, has nothing to do */
	IMAGE_PARENT, /* READ: in the parent */
	IMAGE_MEMORY, /* READ: at ->memory, until map() is called again */
	IMAGE_WAIT,   /* not known yet: image_wake() asks again */
};

/* A part of a request, and where it lies. */
struct image_extent {
	uint64_t at, len; /* of the disk, bytes; map() makes @len less where the rest lies elsewhere */
	uint64_t file;    /* DATA: offset in the file */
	const uint8_t *memory;
	enum image_where where;
};

/* A request of the guest's on its way. */
struct image_req {
	struct image_io io;
	struct block_req *guest; /* NULL: block_flush() */
	struct image_extent x;   /* the piece in flight */
	uint64_t at, left;       /* what comes behind it */
	struct iovec *iov;       /* ... in the guest's vectors */
	unsigned int n_iov;
	struct image_cut cut; /* the piece in flight */
	void *held;           /* the format's: what map() has taken for the piece in flight */
	uint64_t mark;        /* the format's: since when it is in flight, 0: is not */
	bool no_room;         /* map() found no room for a table, and waits until some were written */
	bool finished;        /* without @guest */
	bool kept;            /* ... */
	int ret;
	struct image_req *next;
};

/* A write of a table. */
struct image_meta {
	uint64_t file;
	void *data; /* stays as it is until end() */
	size_t len; /* whole sectors */
};

/* What makes images of a kind what they are.  All hooks are called with image.lock held, and none of them waits. */
struct image_format {
	/*
	 * Where is @x->at, for an operation @r->guest->op?  @x->len > 0 on entry and return.  A write of data is answered
	 * with DATA or WAIT; what it takes for the piece is in @r->held, and mapped() gives it back.
	 * Return: 0; the request fails with a negative errno, and nothing is taken.
	 */
	int (*map)(struct image *im, struct image_req *r, struct image_extent *x);
	/* The piece @r->x, of data in the file, has ended with @ret (0 or -errno): say so in the tables. */
	void (*mapped)(struct image *im, struct image_req *r, int ret);
	/* Is there anything that end() has not seen written? */
	bool (*dirty)(const struct image *im);
	/* ... without which a guest's data is lost? */
	bool (*unsaved)(const struct image *im);
	void (*begin)(struct image *im);
	/* The next write of phase 0 to IMAGE_PHASES_MAX - 1; false: no more in this one. */
	bool (*write)(struct image *im, unsigned int phase, struct image_meta *out);
	/* All is on stable storage; or, -errno, nobody knows what of it: it is dirty as before. */
	void (*end)(struct image *im, int ret);
	void (*destroy)(struct image *im);
	/*
	 * Writing moves what nobody wrote: the rest of a unit, out of a parent.  What a failed fdatasync loses of that no guest
	 * writes again, and the kernel tells of it once; so from then on each flush fails, until the image is opened anew.
	 */
	bool copies;
};

/* Tables on their way to the disk. */
struct image_flush {
	bool running, wrote; /* wrote: since the last fdatasync */
	bool tables;         /* there were dirty ones */
	bool kept;           /* it failed because one could not be written: data is durable, and tables are in memory */
	unsigned int phase, in_flight;
	int ret;
	struct image_req *now, *next; /* who waits for this one, and for the one after it */
	struct image_io sync;
	struct image_io ios[IMAGE_META_IOS];
	struct iovec iov[IMAGE_META_IOS];
	bool busy[IMAGE_META_IOS];
};

/* Where the file takes only larger pieces than ours (image_edge.c). */
struct image_edge {
	uint32_t unit;                         /* bytes; IMAGE_SECTOR: there is nothing to do */
	uint8_t *bounce;                       /* one unit */
	uint64_t changes;                      /* the unit that is being read, changed and written; UINT64_MAX: none */
	struct image_io *ragged, **ragged_end; /* one after the other, the first is under way */
	struct image_io *whole;                /* writes in flight of whole units */
	struct image_io *held, **held_end;     /* writes of whole units that wait for `changes` */
	bool working;
};

struct image {
	struct block block; /* first */
	const struct image_format *ops;
	struct block *inner, *parent; /* parent: NULL for an image of its own */
	int lost;                     /* an fdatasync failed where ops->copies: with this */
	unsigned int depth;           /* of reqs */
	pthread_mutex_t lock;
	pthread_cond_t flushed; /* a block_flush() is done */
	struct image_req *reqs, *free;
	struct image_req *waiting, **waiting_end;
	struct block_req *finished, **finished_end; /* for block_reap() to tell of */
	struct image_flush flush;
	struct image_edge edge;
};

/** image_of() - the image that is this block */
static inline struct image *image_of(struct block *b)
{
	return (struct image *)b;
}

/**
 * image_init() - open the inner block and make @im ready; its block.size is the caller's to set
 * @im: all zero but for what is the format's; image_exit() it, also after an error
 * @a: of the image; read during the call only
 */
int image_init(struct image *im, const struct image_format *ops, const struct block_open_args *a, struct err *e);
/** image_exit() - close parent and inner block, and give back what image_init() took; not @im itself */
void image_exit(struct image *im);

/* Hooks of struct block_format that are the same for all images. */
void image_close(struct block *b);
int image_flush(struct block *b, bool *kept);
bool image_unsaved(struct block *b);
int image_queue(struct block *b, struct block_req *r);
void image_kick(struct block *b);
void image_reap(struct block *b);
unsigned int image_ring_depth(unsigned int depth);
#define IMAGE_BLOCK_HOOKS               \
	.ring_depth = image_ring_depth, \
	.close = image_close,           \
	.flush = image_flush,           \
	.unsaved = image_unsaved,       \
	.queue = image_queue,           \
	.kick = image_kick,             \
	.reap = image_reap

/* For formats, with the lock held. */

/**
 * image_io_start() - begin a transfer of the file; @io->req and @io->done are filled
 * Return: 0: @io->done will be called, later; else it will not.
 */
int image_io_start(struct image *im, struct image_io *io);
/** image_wake() - what requests waited for may be there: ask map() again */
void image_wake(struct image *im);
/** image_flush_start() - have what is dirty written; nothing when that is under way */
void image_flush_start(struct image *im);
/**
 * image_wait_for_flush() - map() has found no room for @r: something has to be written first, or what is in use has to come free
 * Return: 0 and IMAGE_WAIT in @x; -errno: it cannot be written, and whoever waits is told.
 */
int image_wait_for_flush(struct image *im, struct image_req *r, struct image_extent *x);

/**
 * image_pread() - read @len bytes at @at of an open file, which may have O_DIRECT; waits
 * Return: how many, less only at the end of the file; -errno.
 */
ssize_t image_pread(int fd, void *buf, size_t len, uint64_t at);
/**
 * image_pwrite() - write @len bytes at @at of a new image's file; waits
 * @kind: what it is called in errors: "qcow2", "VHD"
 * Return: 0; -errno, -ENOSPC when less was written.
 */
int image_pwrite(int fd, const char *path, const char *kind, const void *buf, size_t len, uint64_t at, struct err *e);
/**
 * image_check_parents() - are there no more than BLOCK_PARENTS_MAX, and none that is the image's own file?
 * @kind: as for image_pwrite()
 * Return: 0; -E2BIG, -ELOOP; -errno of fstat().
 */
int image_check_parents(const struct block_open_args *a, const char *kind, struct err *e);

#endif
