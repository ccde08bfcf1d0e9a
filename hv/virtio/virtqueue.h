/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtqueue - the split virtqueue of VIRTIO 1.2 2.7, device side.
 *
 *   descriptor table   16 bytes each {addr, len, flags, next}   guest writes
 *   available ring     {flags, idx, ring[size], used_event}     guest writes
 *   used ring          {flags, idx, {id, len}[size], avail_event}   we write
 *
 * Everything the guest writes may change under our hands: each field is read
 * once into a local, then checked, then used (rule S).  Every buffer is checked
 * to be RAM before a pointer to it exists.  What is wrong is told in words and
 * is fatal for the queue: the caller marks the device DEVICE_NEEDS_RESET.
 *
 * Our own writes to the used ring are marked dirty (rule D).
 */
#ifndef DROVER_HV_VIRTIO_VIRTQUEUE_H
#define DROVER_HV_VIRTIO_VIRTQUEUE_H

#include "base/err.h"
#include "hv/memory/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define VIRTQ_SIZE_MAX 256 /* ours; the standard allows 32768 */
#define VIRTQ_SEGS_MAX 256 /* buffers of one chain: a legal chain is never longer than its queue */

struct virtq {
	/* what the guest set up */
	uint16_t size_max; /* what we offer */
	uint16_t size;     /* power of two, 1..size_max */
	uint16_t vector;   /* MSI-X vector or VIRTQ_NO_VECTOR */
	bool enabled;
	uint64_t desc, avail, used; /* gpa */
	/* where we are */
	uint16_t last_avail;    /* next entry of the available ring to take */
	uint16_t used_idx;      /* next entry of the used ring to write */
	uint16_t signalled_idx; /* used_idx when the guest was last interrupted */
	bool signalled_valid;   /* false until then: the first one always interrupts */
	/* negotiated, and pointers that virtq_map() checked */
	bool event_idx, indirect;
	const uint8_t *desc_host, *avail_host;
	uint8_t *used_host;
};

#define VIRTQ_NO_VECTOR 0xffff

/* One chain taken from the ring.  Readable buffers come first (VIRTIO 1.2 2.7.4.2). */
struct virtq_elem {
	uint16_t head;
	uint16_t n_out, n_in;     /* iov[0..n_out) we read, iov[n_out..n_out+n_in) we write */
	uint32_t out_len, in_len; /* bytes; a chain of more than 4 GiB is refused */
	struct iovec iov[VIRTQ_SEGS_MAX];
	uint64_t gpa[VIRTQ_SEGS_MAX];
};

/** virtq_reset() - as after power-on; size_max is kept */
void virtq_reset(struct virtq *q);

/** virtq_map() - check addresses and size, fetch host pointers; -EINVAL with what is wrong */
int virtq_map(struct virtq *q, struct gmem *m, struct err *e);

/** virtq_pop() - 1 and a chain in @el, 0 when the ring is empty, -EINVAL when it makes no sense */
int virtq_pop(struct virtq *q, struct gmem *m, struct virtq_elem *el, struct err *e);

/** virtq_unpop() - put back what virtq_pop() returned last */
void virtq_unpop(struct virtq *q);

/** virtq_push() - give a chain back; @len bytes were written to its buffers and marked dirty */
void virtq_push(struct virtq *q, struct gmem *m, uint16_t head, uint32_t len);

/* A chain that is given back: its head, and how many bytes were written to it. */
struct virtq_used {
	uint16_t head;
	uint32_t len;
};
/** virtq_push_many() - give @n chains, at most the ring's size, back; the guest sees all at once (VIRTIO 1.2 2.7.8.2) */
void virtq_push_many(struct virtq *q, struct gmem *m, const struct virtq_used *u, unsigned int n);

/** virtq_should_interrupt() - after pushes: whether the guest asked to hear of them */
bool virtq_should_interrupt(struct virtq *q);

/** virtq_kicks() - ask the guest for kicks, or say that none are needed while we look anyway */
void virtq_kicks(struct virtq *q, struct gmem *m, bool wanted);

/** virtq_empty() - nothing to take; call after virtq_kicks(true) and look again if false */
bool virtq_empty(struct virtq *q);

/* Bytes in or out of a chain, by offset.  Return how many of @len there are from @offset on. */

/** virtq_read() - copy out of the readable buffers */
size_t virtq_read(const struct virtq_elem *el, size_t offset, void *buf, size_t len);
/** virtq_write() - copy into the writable buffers and mark them dirty */
size_t virtq_write(const struct virtq_elem *el, struct gmem *m, size_t offset, const void *buf,
		   size_t len);
/** virtq_dirty() - the first @len bytes of the writable buffers were written */
void virtq_dirty(const struct virtq_elem *el, struct gmem *m, size_t offset, size_t len);

#endif
