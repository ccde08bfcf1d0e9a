/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_blk_int - what virtio_blk.c (the device), _request.c (its requests) and _disk.c (its disk) share. */
#ifndef DROVER_HV_VIRTIO_VIRTIO_BLK_INT_H
#define DROVER_HV_VIRTIO_VIRTIO_BLK_INT_H

#include "hv/disk/block.h"
#include "hv/disk/disk_record.h"
#include "hv/virtio/virtio_int.h"

#define BLK_QUEUE_SIZE 128
#define BLK_SECTOR 512u
#define BLK_ID_LEN 20
#define BLK_DISCARD_MAX (1u << 22) /* sectors: 2 GiB at a time */

/* VIRTIO 1.2 5.2.3 */
#define BLK_F_FLUSH (1ull << 9)

struct blk_request {
	struct block_req io;
	struct virtio_blk *blk;
	struct blk_request *next; /* in the free list */
	uint32_t type;
	uint64_t sector;
	bool again; /* it had failed, and is being tried again */
	uint32_t data_len;
	struct virtq_elem el;
	struct iovec iov[VIRTQ_SEGS_MAX];
};

/* A disk that was ours: what its record said, and which file it was; a block device's record is its own. */
struct disk_mine {
	struct disk_holder record;
	bool file;
	dev_t dev;
	ino_t ino;
};

/* What an image lies on, opened: its parents, nearest first. */
struct blk_lower {
	unsigned int n;
	struct block_parent at[BLOCK_PARENTS_MAX];
	struct disk_lock *locks[BLOCK_PARENTS_MAX]; /* NULL: only looked at */
};

struct virtio_blk {
	struct virtio_dev v; /* first: state tables point here */
	char *path;
	char **parents; /* names of what it lies on, nearest first */
	size_t n_parents;
	bool readonly, report_errors;
	enum domain_format format;
	enum domain_direct direct;
	char serial[BLK_ID_LEN + 1];
	struct disk_lock *lock; /* NULL: not prepared */
	struct block *block;    /* the same open file; NULL: not prepared */
	struct blk_lower lower; /* ... and those it lies on */
	bool owned;             /* committed: the guest may use it */
	bool has_wrote;         /* it was ours: the record said ... */
	struct disk_mine wrote; /* ... this, last */
	bool had_before;        /* the same when the disk was prepared, for undo */
	struct disk_mine before;
	int owed;          /* of the disk that was closed last, block_owed() */
	bool ran;          /* a guest has had it: its contents say nothing about its format */
	uint64_t capacity; /* bytes, as the guest knows it; 0 = not opened yet */
	uint32_t sector_size;
	struct blk_request *requests, *free;
	unsigned int in_flight;
	struct blk_request *stalled, **stalled_end; /* failed writes, to be tried again, in order */
	unsigned int n_again;                       /* of those, how many are in flight */
	bool stopped;                               /* a write failed since the last start: nothing is taken */
	bool held;                                  /* the machine has been told so */
	bool starved;                               /* the ring has more, but all requests were in use */
	uint64_t reads, writes, flushes, discards, errors, read_bytes, write_bytes;
};

static inline struct virtio_blk *virtio_blk_of(struct virtio_dev *v)
{
	return (struct virtio_blk *)v;
}

/* virtio_blk_request.c: the hooks of struct virtio_ops that deal with requests */

/**
 * virtio_blk_kick() - kick(): try again what failed before, then take requests, a ring's worth at most
 * Those that write are taken only while the gate is open (rule G); else they are looked at again later.
 */
void virtio_blk_kick(struct virtio_dev *v, unsigned int q);
/** virtio_blk_event() - event(): the disk has answers; nothing when it was released meanwhile */
void virtio_blk_event(struct virtio_dev *v, unsigned int s, uint32_t events);
/** virtio_blk_forget() - the guest wants to hear no more of writes that wait */
void virtio_blk_forget(struct virtio_blk *d);

/* virtio_blk_config.c */
/** virtio_blk_publish() - write the configuration space (VIRTIO 1.2 5.2.4) anew; does not tell the driver */
void virtio_blk_publish(struct virtio_blk *d);

/* virtio_blk_lower.c */
/** virtio_blk_lower_name() - keep the names of its parents; -ENOMEM; virtio_blk_lower_forget() them in either case */
int virtio_blk_lower_name(struct virtio_blk *d, const struct virtio_blk_conf *c);
void virtio_blk_lower_forget(struct virtio_blk *d);
/**
 * virtio_blk_lower_take() - open and lock all parents, to be read; virtio_blk_lower_end() them
 * @probe: only look at them, and lock nothing
 * Return: as disk_broker_prepare(); there are none after an error.
 */
int virtio_blk_lower_take(const struct virtio_blk *d, bool probe, struct blk_lower *l, struct err *e);
/** virtio_blk_lower_end() - close them; their image is closed already */
void virtio_blk_lower_end(struct blk_lower *l);

/* virtio_blk_disk.c */
/** virtio_blk_drop() - close and unlock the disk; without its thread, or with its lock */
void virtio_blk_drop(struct virtio_blk *d);
/** virtio_blk_learn() - the guest gets to see the disk that is open */
void virtio_blk_learn(struct virtio_blk *d);
/** virtio_blk_fits() - -EINVAL when @b cannot be what the guest knows: it may have grown, no more */
int virtio_blk_fits(const struct virtio_blk *d, const struct block *b, struct err *e);

#endif
